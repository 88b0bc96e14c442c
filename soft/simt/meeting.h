/* SPDX-License-Identifier: MIT */
/**
 * The barrier of a cooperative grid. Device code makes it itself, of a word that blocks add to and
 * look at until it says that all have come; what is here keeps blocks that look from taking the
 * processors of those that they wait for, and finds out when nobody can come any more.
 */
#ifndef VGPU_SOFT_MEETING_H
#define VGPU_SOFT_MEETING_H

#include <pthread.h>

#include "soft/simt/block.h"

/* A block that has found the same so often, and nothing else, waits there. */
#define VGPU_MEETING_LOOKS 256u

struct vgpu_meeting {
    pthread_mutex_t lock;
    pthread_cond_t changed;  /* the word's highest bit */
    _Atomic uint32_t asleep; /* relaxed: who is missed wakes by itself */
    uint32_t blocks;         /* in all */
    uint32_t there;          /* blocks that have not ended */
    uint32_t value;          /* what the word was at the last look ... */
    uint32_t waiting;        /* ... and how many of them wait for it to change */
    uint64_t changes;        /* of `value` */
    /* What device code sees: a size, and the word. */
    _Alignas(64) uint32_t workspace[VGPU_WORKSPACE_BYTES / sizeof(uint32_t)];
};

/** For a grid of so many blocks; NULL when out of memory. */
struct vgpu_meeting *vgpu_meeting_create(uint32_t blocks);
void vgpu_meeting_destroy(struct vgpu_meeting *meeting);

/**
 * Waits for as long as the word is `value`, and a little longer; the block does nothing else
 * meanwhile. Returns 0, or how many blocks have ended if all others wait here, too,
 * and none can go on.
 */
uint32_t vgpu_meeting_wait(struct vgpu_grid *grid, uint32_t value);

/** A block has ended. */
void vgpu_meeting_leave(struct vgpu_meeting *meeting);

#endif
