/* SPDX-License-Identifier: MIT */
/**
 * How the host's GPU is, from NVIDIA's management library where there is one. A thread of its own
 * reads every second, because the library's functions take milliseconds, and do not return while a
 * GPU is in trouble; others only copy what it has found. For the loop's thread.
 */
#ifndef VGPU_MEDIATOR_HEALTH_H
#define VGPU_MEDIATOR_HEALTH_H

#include <stdbool.h>

#include "protocol/device_status.h"

#define VGPU_HEALTH_XIDS 16u

struct vgpu_health;

/** Errors of one number, as the driver's log has them. */
struct vgpu_health_xid {
    uint64_t number;
    uint64_t count; /* since the mediator started */
    uint64_t last;  /* seconds since 1970 */
};

struct vgpu_health_state {
    const char *trouble; /* what an administrator has to see to; NULL: nothing. A constant */
    uint64_t known;      /* bits by enum vgpu_reading */
    uint64_t reading[VGPU_READINGS];
    uint64_t memory_used; /* bytes, by whomever */
    uint32_t utilization; /* per cent of the last sample in which a kernel ran */
    bool has_memory;
    bool has_utilization;
    uint64_t age; /* nanoseconds since it was read, or was to be; 0: there is nobody to ask */
    uint32_t xid_count;
    struct vgpu_health_xid xid[VGPU_HEALTH_XIDS];
    char driver[80]; /* its version; "" if it is not known */
};

/** Opens the library, finds the GPU with this UUID and begins to read. NULL: there is none, which
 *  is no failure. */
struct vgpu_health *vgpu_health_open(const uint8_t uuid[16]);
/** Waits up to two seconds for the library; NULL: nothing happens. */
void vgpu_health_close(struct vgpu_health *health);

/** What is known now; of NULL: nothing, and no trouble. The first call may wait half a second for
 *  the first reading. */
void vgpu_health_look(struct vgpu_health *health, struct vgpu_health_state *state);

/** Fills in `known`, `reading` and the driver's version text; nothing if `health` is NULL. */
void vgpu_health_read(struct vgpu_health *health, struct vgpu_mailbox_device *device);

#endif
