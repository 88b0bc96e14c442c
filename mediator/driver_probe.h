/* SPDX-License-Identifier: MIT */
/** Which driver the workers use, and what it says about itself. */
#ifndef VGPU_MEDIATOR_DRIVER_PROBE_H
#define VGPU_MEDIATOR_DRIVER_PROBE_H

#include "mediator/config.h"
#include "protocol/worker.h"

struct vgpu_worker;

struct vgpu_driver {
    char library[256]; /* what workers open */
    struct vgpu_worker_probe probe;
};

/** "NVIDIA" or "vgpu software GPU". */
const char *vgpu_driver_name(const struct vgpu_driver *driver);

/**
 * Starts a worker per candidate, waits for its answer (at most a minute) and logs which driver was
 * taken and why. Returns 0 and the worker that has answered, which runs without a loop; or -ENODEV
 * when no driver that the configuration allows works.
 */
int vgpu_driver_choose(const struct vgpu_config *config, struct vgpu_driver *driver,
                       struct vgpu_worker *worker);

#endif
