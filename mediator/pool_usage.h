/* SPDX-License-Identifier: MIT */
/** What the VMs of a pool have used while they were in it. */
#ifndef VGPU_MEDIATOR_POOL_USAGE_H
#define VGPU_MEDIATOR_POOL_USAGE_H

#include <stdint.h>

struct vgpu_mediator;
struct vgpu_vm;
struct vgpu_counters;

struct vgpu_pool_usage {
    uint64_t gpu_nanoseconds;
    uint64_t calls;
    uint64_t bytes_to_device;
    uint64_t bytes_from_device;
};

/** Adds what the VM has used since the last time to the pool that it is in now: to be called every
 *  second, and before its pool changes. */
void vgpu_pool_usage_add(struct vgpu_mediator *mediator, struct vgpu_vm *vm,
                         const struct vgpu_counters *counters);

#endif
