/* SPDX-License-Identifier: MIT */
/**
 * The folder of images that all workers share (worker/code/image_cache.h says what is in it). The
 * mediator makes it, hands it out, and keeps it below its size: what was not used for longest goes
 * first. A thread does that, because a disk can take its time.
 */
#ifndef VGPU_MEDIATOR_IMAGES_H
#define VGPU_MEDIATOR_IMAGES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mediator/loop.h"
#include "protocol/worker.h"

struct vgpu_mediator;

struct vgpu_images {
    struct vgpu_mediator *mediator;
    int folder;     /* -1: there is no cache */
    uint64_t limit; /* bytes */
    uint64_t bytes; /* after the last sweep */
    struct vgpu_timer timer;
    /** A sweep: the thread's, until it says by the event that it has ended. */
    pthread_t thread;
    bool is_sweeping;
    struct vgpu_source swept;
    uint64_t sweep_limit, sweep_left; /* bytes */
};

/** Opens the cache that is configured and starts to sweep it. A cache that cannot be had is a line
 *  in the log and no error: all works without. */
void vgpu_images_open(struct vgpu_images *images, struct vgpu_mediator *mediator);
void vgpu_images_close(struct vgpu_images *images);

/** What a worker may store until the next sweep, bytes. */
uint64_t vgpu_images_room(const struct vgpu_images *images);

/** Removes the files that were not used for longest until `limit` bytes are left, and what dead
 *  workers have left behind. Returns how many bytes are left. */
uint64_t vgpu_images_sweep(int folder, uint64_t limit);

#endif
