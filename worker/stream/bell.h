/* SPDX-License-Identifier: MIT */
/**
 * Bells: what interrupts are on other GPUs. The software GPU works on the processors that the
 * worker would look at its marks on, and often on the very one, so that each look is taken from the
 * work that is looked at. It rings a bell behind each mark instead: guests are woken for fences at
 * once, and the worker when so many marks were reached that it has something to do.
 */
#ifndef VGPU_WORKER_BELL_H
#define VGPU_WORKER_BELL_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

struct vgpu_worker;
struct vgpu_mark;

struct vgpu_bell {
    uint32_t rung;   /* marks that were reached, counted by the GPU's threads */
    uint32_t seen;   /* of these, so many before the worker last looked at its marks */
    uint32_t wanted; /* the one that the worker is called for; not above `rung`: none */
};

/** Whether marks have bells on this driver. */
bool vgpu_bell_is_hung(const struct vgpu_worker *worker);

/** Hangs a bell behind a mark that was just placed. For the worker's thread, like all of this. */
CUresult vgpu_bell_hang(struct vgpu_worker *worker, const struct vgpu_mark *mark);

/** To be called before marks are looked at: only what rings from now on is news. */
void vgpu_bell_look(struct vgpu_worker *worker);

/** The worker sleeps: its doorbell rings when all marks with these batches (worker/lease.h) and
 *  those before them are reached. False if it must not sleep: they may be already. */
bool vgpu_bell_await(struct vgpu_worker *worker, uint32_t batch);

/** The worker is awake. */
void vgpu_bell_awake(struct vgpu_worker *worker);

#endif
