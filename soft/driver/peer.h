/* SPDX-License-Identifier: MIT */
/** Access of one device's kernels to another device's memory. */
#ifndef VGPU_SOFT_DRIVER_PEER_H
#define VGPU_SOFT_DRIVER_PEER_H

#include <stdbool.h>

#include "soft/driver/driver.h"

/** Whether a context of `device` has enabled access to one of `peer`. Any thread. */
bool vgpu_peer_reaches(const struct vgpu_device *device, const struct vgpu_device *peer);

/** Ends the access of a context that goes, and of others to it. Takes the driver's lock. */
void vgpu_peer_forget(struct vgpu_context *context);

#endif
