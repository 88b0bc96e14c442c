/* SPDX-License-Identifier: MIT */
/** How the host's GPU is, from NVIDIA's management library where there is one. One thread. */
#ifndef VGPU_MEDIATOR_HEALTH_H
#define VGPU_MEDIATOR_HEALTH_H

#include "protocol/device_status.h"

struct vgpu_health;

/** Opens the library and finds the GPU with this UUID. NULL: there is none, which is no failure. */
struct vgpu_health *vgpu_health_open(const uint8_t uuid[16]);
void vgpu_health_close(struct vgpu_health *health);

/** Fills in `known` and `reading` (at most a second old) and the driver's version text; nothing if
 *  `health` is NULL. */
void vgpu_health_read(struct vgpu_health *health, struct vgpu_mailbox_device *device);

#endif
