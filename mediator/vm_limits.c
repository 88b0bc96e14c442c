/* SPDX-License-Identifier: MIT */
#include "mediator/vm_limits.h"

#include <stddef.h>

/* SQLite's integers have a sign. */
#define MOST_BYTES (1ull << 62)

const struct vgpu_limit vgpu_limits[VGPU_LIMITS] = {
    {"weight", 1, 100, 50, "a number from 1 to 100"},
    {"share_cap", 1, 100, 100, "per cent from 1 to 100; 100 is no cap"},
    {"memory", 0, MOST_BYTES, 0,
     "bytes with an optional K, M, G or T, 1% to 100% of the GPU's memory, or default"},
    {"rate", 0, 1000000000, 0, "calls a second from 1 to 1000000000, or 0 for no limit"},
    {"queue_depth", 0, 65536, 0, "calls from 1 to 65536, or 0 for no limit"},
    {"watchdog", 1, 86400, 30, "seconds from 1 to 86400"},
    {"fault_limit", 0, 1000, 3, "faults from 1 to 1000, or 0 for never"},
};

static const size_t vgpu_limit_offsets[VGPU_LIMITS] = {
    offsetof(struct vgpu_vm_limits, weight),      offsetof(struct vgpu_vm_limits, share_cap),
    offsetof(struct vgpu_vm_limits, memory),      offsetof(struct vgpu_vm_limits, rate),
    offsetof(struct vgpu_vm_limits, queue_depth), offsetof(struct vgpu_vm_limits, watchdog),
    offsetof(struct vgpu_vm_limits, fault_limit),
};

uint64_t *vgpu_limit_of(struct vgpu_vm_limits *limits, uint32_t which)
{
    return (uint64_t *)(void *)((char *)limits + vgpu_limit_offsets[which]);
}

void vgpu_limits_init(struct vgpu_vm_limits *limits)
{
    for (uint32_t i = 0; i < VGPU_LIMITS; i++)
        *vgpu_limit_of(limits, i) = vgpu_limits[i].initial;
}
