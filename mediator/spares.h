/* SPDX-License-Identifier: MIT */
/**
 * Workers that wait with the driver initialised, which takes a GPU's driver a tenth of a second and
 * more. They have no context, so that they hold no memory of the GPU, and nothing of any VM.
 */
#ifndef VGPU_MEDIATOR_SPARES_H
#define VGPU_MEDIATOR_SPARES_H

#include "mediator/config.h"
#include "mediator/spawn.h"

struct vgpu_mediator;

struct vgpu_spares {
    struct vgpu_mediator *mediator;
    struct vgpu_spare {
        struct vgpu_worker worker;
        struct vgpu_spares *spares;
        bool runs; /* it has not been reaped */
    } table[VGPU_CONFIG_SPARES_MAX];
    struct vgpu_timer refill;
    uint32_t failures; /* spares that have died since one was of use */
};

/** Before all else: no spares. */
void vgpu_spares_init(struct vgpu_spares *spares, struct vgpu_mediator *mediator);

/** Starts as many as the configuration wants. `first`, which has the driver already, becomes one of
 *  them; it ends if none are wanted. */
void vgpu_spares_open(struct vgpu_spares *spares, struct vgpu_worker *first);

/**
 * Makes a spare, or a new process if there is none, the worker for this service, at a place where
 * none runs and whose callbacks are set. Others are started once nobody has asked for a while, so
 * that they do not get in the way. Returns 0 or a negative errno.
 */
int vgpu_spares_serve(struct vgpu_spares *spares, struct vgpu_worker *worker,
                      const struct vgpu_worker_service *service);

/** Ends them; none are started any more. */
void vgpu_spares_close(struct vgpu_spares *spares);

#endif
