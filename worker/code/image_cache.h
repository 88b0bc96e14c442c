/* SPDX-License-Identifier: MIT */
/**
 * The host's cache of images: a folder that all workers share, a file per image, named by the
 * SHA-256 of its content. A worker believes neither the guest, whose bytes it hashes before it
 * stores them, nor the folder, whose files it hashes after it has read them. Who knows the hash of
 * an image can have it loaded: only who had the image knows it. What can be learnt of another VM is
 * that somebody has loaded an image that one has oneself. For the worker's thread.
 */
#ifndef VGPU_WORKER_IMAGE_CACHE_H
#define VGPU_WORKER_IMAGE_CACHE_H

#include <stdbool.h>

#include "image/hash.h"
#include "protocol/worker.h"
#include "worker/code/image_buffer.h"

struct vgpu_image_cache {
    int folder;                          /* descriptor; -1: there is no cache */
    struct vgpu_worker_images *counters; /* in the worker's page */
};

/**
 * Gets an image: true if `buffer` has it. A file that is not what it is called is deleted and
 * counted. The buffer is empty after false.
 */
bool vgpu_image_cache_load(const struct vgpu_image_cache *cache, const struct vgpu_image_hash *hash,
                           struct vgpu_image_buffer *buffer);

/** Keeps an image under `hash`, which the caller has computed from these bytes. An image that does
 *  not fit what this worker may still store, or that cannot be written, is not kept. */
void vgpu_image_cache_store(const struct vgpu_image_cache *cache,
                            const struct vgpu_image_hash *hash,
                            const struct vgpu_image_buffer *buffer);

#endif
