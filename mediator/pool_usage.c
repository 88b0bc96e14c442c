/* SPDX-License-Identifier: MIT */
#include "mediator/pool_usage.h"

#include "mediator/mediator.h"

/** Brings `pooled` up to `now`; counters never shrink. */
static void vgpu_pool_usage_move(uint64_t now, uint64_t *pooled, uint64_t *usage)
{
    *usage += now - *pooled;
    *pooled = now;
}

void vgpu_pool_usage_add(struct vgpu_mediator *mediator, struct vgpu_vm *vm,
                         const struct vgpu_counters *counters)
{
    struct vgpu_pool_usage *usage = &mediator->pool_usage[vm->pool - 'A'];
    struct vgpu_pool_usage *pooled = &vm->pooled;

    vgpu_pool_usage_move(counters->gpu_nanoseconds, &pooled->gpu_nanoseconds,
                         &usage->gpu_nanoseconds);
    vgpu_pool_usage_move(counters->calls, &pooled->calls, &usage->calls);
    vgpu_pool_usage_move(counters->bytes_to_device, &pooled->bytes_to_device,
                         &usage->bytes_to_device);
    vgpu_pool_usage_move(counters->bytes_from_device, &pooled->bytes_from_device,
                         &usage->bytes_from_device);
}
