/* SPDX-License-Identifier: MIT */
/* Shadows, and sets of them. */
#include <stdlib.h>

#include "guest/graph/shadow_private.h"
#include "guest/process/process.h"

static void release(struct vgpu_shadow *shadow)
{
    struct vgpu_process *process = vgpu_process();
    /* acquire and release: the last one sees what the others did to it */
    if (__atomic_fetch_sub(&shadow->references, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    vgpu_arena_put(&process->arenas, process->channel, shadow->memory, shadow->bytes);
    free(shadow->known);
    free(shadow);
}

static bool make_room(struct vgpu_shadow_set *set, uint32_t more)
{
    uint32_t room = set->room ? set->room : 4;
    while (room < set->count + more)
        room *= 2;
    if (room == set->room)
        return true;
    struct vgpu_shadow_use *grown = reallocarray(set->list, room, sizeof(*grown));
    if (grown == NULL)
        return false;
    set->list = grown;
    set->room = room;
    return true;
}

CUresult vgpu_shadow_make(const struct vgpu_caller *caller, const struct vgpu_shadow_shape *shape,
                          struct vgpu_shadow_set *set, void **memory)
{
    size_t bytes;
    if (__builtin_mul_overflow(shape->width, shape->height, &bytes) ||
        __builtin_mul_overflow(bytes, shape->depth, &bytes) || bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_shadow *shadow = make_room(set, 1) ? malloc(sizeof(*shadow)) : NULL;
    if (shadow == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_arena_take(&vgpu_process()->arenas, caller, bytes, memory);
    if (error) {
        free(shadow);
        return error;
    }
    *shadow =
        (struct vgpu_shadow){.references = 1, .shape = *shape, .memory = *memory, .bytes = bytes};
    set->list[set->count++] = (struct vgpu_shadow_use){shadow, 1};
    return CUDA_SUCCESS;
}

struct vgpu_shadow_use *vgpu_shadow_set_find(const struct vgpu_shadow_set *set,
                                             const struct vgpu_shadow *shadow)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->list[i].shadow == shadow)
            return &set->list[i];
    }
    return NULL;
}

static struct vgpu_shadow *find_at(const struct vgpu_shadow_set *set, uint64_t address)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if ((uintptr_t)set->list[i].shadow->memory == address)
            return set->list[i].shadow;
    }
    return NULL;
}

bool vgpu_shadow_look_up(const struct vgpu_shadow_set *set, uint64_t address,
                         struct vgpu_shadow_shape *shape)
{
    const struct vgpu_shadow *shadow = find_at(set, address);
    if (shadow)
        *shape = shadow->shape;
    return shadow != NULL;
}

static bool add(struct vgpu_shadow_set *set, struct vgpu_shadow *shadow, uint32_t nodes)
{
    struct vgpu_shadow_use *use = vgpu_shadow_set_find(set, shadow);
    if (use) {
        use->nodes += nodes;
        return true;
    }
    if (!make_room(set, 1))
        return false;
    __atomic_fetch_add(&shadow->references, 1, __ATOMIC_RELAXED);
    set->list[set->count++] = (struct vgpu_shadow_use){shadow, nodes};
    return true;
}

bool vgpu_shadow_set_join(struct vgpu_shadow_set *to, const struct vgpu_shadow_set *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        if (!add(to, from->list[i].shadow, from->list[i].nodes))
            return false;
    }
    return true;
}

bool vgpu_shadow_set_leave(struct vgpu_shadow_set *set, const struct vgpu_shadow_set *less)
{
    bool all = true;
    for (uint32_t i = 0; i < less->count; i++) {
        struct vgpu_shadow_use *use = vgpu_shadow_set_find(set, less->list[i].shadow);
        all &= use != NULL;
        if (use == NULL)
            continue;
        if (use->nodes > less->list[i].nodes) {
            use->nodes -= less->list[i].nodes;
            continue;
        }
        release(use->shadow);
        *use = set->list[--set->count];
    }
    return all;
}

bool vgpu_shadow_set_pick(struct vgpu_shadow_set *some, const struct vgpu_shadow_set *set,
                          uint64_t address)
{
    struct vgpu_shadow *shadow = find_at(set, address);
    return shadow == NULL || add(some, shadow, 1);
}

void vgpu_shadow_set_clear(struct vgpu_shadow_set *set)
{
    while (set->count)
        release(set->list[--set->count].shadow);
    free(set->list);
    *set = (struct vgpu_shadow_set){0};
}
