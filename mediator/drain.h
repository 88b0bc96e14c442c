/* SPDX-License-Identifier: MIT */
/**
 * The end of a mediator that was asked to stop: it takes no new connections and opens no channels,
 * lets what is being computed finish, as long as that does not take too long, and then closes
 * everything, which guests see in the status of their device.
 */
#ifndef VGPU_MEDIATOR_DRAIN_H
#define VGPU_MEDIATOR_DRAIN_H

#include "mediator/loop.h"

struct vgpu_mediator;

struct vgpu_drain {
    struct vgpu_mediator *mediator;
    struct vgpu_timer timer;
    uint64_t end; /* vgpu_loop_now() when it has taken too long */
    void (*drained)(struct vgpu_drain *drain);
};

/** Calls `drained` as soon as no worker has anything to do, or after so many seconds. */
void vgpu_drain_start(struct vgpu_drain *drain, struct vgpu_mediator *mediator, uint32_t seconds);

/** Nobody is waited for any more. Nothing happens if nobody was. */
void vgpu_drain_stop(struct vgpu_drain *drain);

#endif
