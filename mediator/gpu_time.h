/* SPDX-License-Identifier: MIT */
/**
 * The GPU time of VMs. A worker measures its own with events; while workers use the GPU at the same
 * time, whether their kernels run side by side or take turns, each measures all of it. So each
 * moment is shared equally by the workers that measured it, seen in slots of a millisecond
 * (protocol/busy.h). No VM gets more than the time that passed, and all VMs together get the time
 * in which the GPU was busy. Work that waits on the GPU for something counts as work.
 */
#ifndef VGPU_MEDIATOR_GPU_TIME_H
#define VGPU_MEDIATOR_GPU_TIME_H

#include <stdint.h>

struct vgpu_channel;
struct vgpu_mediator;
struct vgpu_worker_page;

/** Of a worker. */
struct vgpu_gpu_share {
    uint64_t measured; /* nanoseconds of its page that were accounted */
    uint64_t seen;     /* nanoseconds of its page at the last look */
    uint64_t worked;   /* nanoseconds in which the GPU worked for it and that were not accounted */
    uint64_t shared;   /* of these, its share */
    uint64_t active;   /* vgpu_loop_now() when it last had or measured work */
    uint64_t rested;   /* and when all was last accounted */
};

/** Accounts what all workers have measured since the last time, to their VMs' gpu_nanoseconds. Has
 *  to be called at least every 4 seconds. */
void vgpu_gpu_time_count(struct vgpu_mediator *mediator);

/** The channel's worker has ended, its page is still there: accounts all of it, and what it had on
 *  the GPU when it ended. */
void vgpu_gpu_time_end(struct vgpu_mediator *mediator, struct vgpu_channel *channel);

#endif
