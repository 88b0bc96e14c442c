/* SPDX-License-Identifier: MIT */
/**
 * Without a kernel module nobody tells the host that a guest process was killed. The reaper does: a
 * small process of its own that outlives ours and closes our channel when we end, however we end.
 */
#ifndef VGPU_GUEST_REAPER_H
#define VGPU_GUEST_REAPER_H

#include <stdint.h>

#include "protocol/registers.h"

struct vgpu_reaped {
    int resource0; /* descriptor that the locks of guest/channel/registers.h are on */
    volatile struct vgpu_registers *registers;
    void *window;
    uint32_t channel;
    uint32_t key;
};

/**
 * Starts it; returns a descriptor for vgpu_reaper_stop() or a negated errno. Call it from any
 * thread; the caller sees neither SIGCHLD nor a child in wait(). A forked child closes its copy of
 * the descriptor.
 */
int vgpu_reaper_start(const struct vgpu_reaped *reaped);

/** The channel was closed in order: the reaper ends without touching it. Closes `reaper`. */
void vgpu_reaper_stop(int reaper);

#endif
