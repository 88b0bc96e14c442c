/* SPDX-License-Identifier: MIT */
/** Tells the log and the events what becomes of the GPU's health. */
#ifndef VGPU_MEDIATOR_HEALTH_WATCH_H
#define VGPU_MEDIATOR_HEALTH_WATCH_H

#include "mediator/health.h"

struct vgpu_mediator;

/** What was told already. */
struct vgpu_health_told {
    const char *trouble; /* NULL: nothing, or that it is well again */
    uint32_t xid_count;
    struct vgpu_health_xid xid[VGPU_HEALTH_XIDS];
};

/** To be called every second or so by the loop's thread; waits like vgpu_health_look(). */
void vgpu_health_watch(struct vgpu_mediator *mediator);

#endif
