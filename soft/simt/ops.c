/* SPDX-License-Identifier: MIT */
#include "soft/simt/ops.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "soft/simt/lanes.h"

#define FAMILIES(X)                                                                                \
    X(integer)                                                                                     \
    X(bits)                                                                                        \
    X(select)                                                                                      \
    X(float)                                                                                       \
    X(half)                                                                                        \
    X(convert)                                                                                     \
    X(memory)                                                                                      \
    X(atomic)                                                                                      \
    X(warp)                                                                                        \
    X(matrix)                                                                                      \
    X(fragment) X(async) X(narrow) X(packed) X(wide) X(video) X(texture) X(line) X(fused) X(tensor)

#define DECLARE(family)                                                                            \
    extern const struct vgpu_op vgpu_ops_##family##_baseline[];                                    \
    extern const struct vgpu_op vgpu_ops_##family##_v3[];                                          \
    extern const struct vgpu_op vgpu_ops_##family##_v4[];
FAMILIES(DECLARE)

#define BASELINE(family) vgpu_ops_##family##_baseline,
#define V3(family)       vgpu_ops_##family##_v3,
#define V4(family)       vgpu_ops_##family##_v4,

static const struct vgpu_op *const baseline[] = {FAMILIES(BASELINE) NULL};
static const struct vgpu_op *const v3[] = {FAMILIES(V3) NULL};
static const struct vgpu_op *const v4[] = {FAMILIES(V4) NULL};

/* Names to handlers, for the processor this runs on: made once, read only after that. */
#define SLOTS 4096u
static const struct vgpu_op *slots[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* By what they need of a processor: each has all that those before it have. */
static const struct {
    const char *name;
    const struct vgpu_op *const *families;
} levels[] = {{"baseline", baseline}, {"v3", v3}, {"v4", v4}};

static unsigned limit = 2; /* an index of levels[] */

int vgpu_ops_limit(const char *most)
{
    for (unsigned n = 0; n < sizeof(levels) / sizeof(levels[0]); n++) {
        if (strcmp(levels[n].name, most) == 0) {
            limit = n;
            return 0;
        }
    }
    return -EINVAL;
}

static uint32_t slot_of(const char *name)
{
    uint32_t h = 2166136261u;

    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return (h ^ h >> 16) & (SLOTS - 1);
}

/* Not every compiler knows "f16c" in __builtin_cpu_supports(). */
static bool has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

static unsigned processor_level(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2") || !has_f16c())
        return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl")
               ? 2
               : 1;
}

static void fill_slots(void)
{
    unsigned level = processor_level();
    const struct vgpu_op *const *families = levels[level < limit ? level : limit].families;

    for (; *families != NULL; families++) {
        for (const struct vgpu_op *op = *families; op->name != NULL; op++) {
            uint32_t at = slot_of(op->name);

            while (slots[at] != NULL)
                at = (at + 1) & (SLOTS - 1);
            slots[at] = op;
        }
    }
}

const char *vgpu_ops_level(void)
{
    unsigned level = processor_level();

    return levels[level < limit ? level : limit].name;
}

vgpu_handler vgpu_ops_find(const char *name)
{
    uint32_t at = slot_of(name);

    pthread_once(&once, fill_slots);
    for (; slots[at] != NULL; at = (at + 1) & (SLOTS - 1)) {
        if (strcmp(slots[at]->name, name) == 0)
            return slots[at]->run;
    }
    return NULL;
}

vgpu_handler vgpu_ops_find_for(const char *way, const char *name)
{
    char both[64];

    snprintf(both, sizeof(both), "%s_%s", way, name);
    return vgpu_ops_find(both);
}
