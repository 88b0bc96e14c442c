/* SPDX-License-Identifier: MIT */
#include "mediator/reload.h"

#include <stddef.h>
#include <string.h>

#include "mediator/log.h"
#include "mediator/registry.h"

/* What was opened, started or shared when the mediator began. */
#define FIXED(key, member)                                                                         \
    {                                                                                              \
        key, offsetof(struct vgpu_config, member), sizeof(((struct vgpu_config *)0)->member),      \
            false                                                                                  \
    }
#define FIXED_TEXT(key, member)                                                                    \
    {                                                                                              \
        key, offsetof(struct vgpu_config, member), sizeof(((struct vgpu_config *)0)->member), true \
    }

static const struct vgpu_reload_fixed {
    const char *key;
    size_t offset;
    size_t size;
    bool text;
} vgpu_reload_fixed[] = {
    FIXED_TEXT("device-socket", device_socket),
    FIXED_TEXT("process-socket", process_socket),
    FIXED_TEXT("admin-socket", admin_socket),
    FIXED_TEXT("admin-group", admin_group),
    FIXED("driver", driver),
    FIXED_TEXT("cuda-library", cuda_library),
    FIXED_TEXT("soft-library", soft_library),
    FIXED_TEXT("image-cache", image_cache),
    FIXED_TEXT("store", store),
    FIXED("metrics", metrics),
    FIXED("scheduler", scheduler),
    FIXED("slice", slice),
};

static bool vgpu_reload_differs(const struct vgpu_reload_fixed *fixed, const char *one,
                                const char *other)
{
    return fixed->text ? strcmp(one, other) != 0 : memcmp(one, other, fixed->size) != 0;
}

/** Carries over what is fixed. */
static uint32_t vgpu_reload_keep(const struct vgpu_config *now, struct vgpu_config *fresh)
{
    uint32_t kept = 0;

    for (size_t i = 0; i < sizeof(vgpu_reload_fixed) / sizeof(*vgpu_reload_fixed); i++) {
        const struct vgpu_reload_fixed *fixed = &vgpu_reload_fixed[i];
        const char *old = (const char *)now + fixed->offset;
        char *new = (char *)fresh + fixed->offset;

        if (!vgpu_reload_differs(fixed, old, new))
            continue;
        kept++;
        vgpu_log(VGPU_LOG_WARNING,
                 "%s has changed, which takes effect when the mediator is started again",
                 fixed->key);
        memcpy(new, old, fixed->size);
    }
    return kept;
}

uint32_t vgpu_reload(struct vgpu_mediator *mediator, struct vgpu_config *fresh)
{
    struct vgpu_config former = mediator->config;
    uint32_t kept = vgpu_reload_keep(&former, fresh);

    mediator->config = *fresh;
    fresh->vms = NULL;
    vgpu_config_destroy(&former);
    vgpu_log_limit(mediator->config.log_level);
    mediator->images.limit = mediator->config.image_cache_size;
    for (struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next)
        vgpu_registry_refresh(mediator, vm);
    return kept;
}
