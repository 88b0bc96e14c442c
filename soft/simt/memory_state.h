/* SPDX-License-Identifier: MIT */
/** What a vgpu_memory consists of; for memory.c and memory_reach.c alone. */
#ifndef VGPU_SOFT_MEMORY_STATE_H
#define VGPU_SOFT_MEMORY_STATE_H

#include <pthread.h>

#include "soft/simt/memory_pages.h"

#define VGPU_MAP_BYTES    ((size_t)1 << (VGPU_ADDRESS_BITS - VGPU_PAGE_BITS))
#define VGPU_MEMORY_PEERS 8

/* A range of the arena, used or free. Ranges cover the arena without gaps, in order. */
struct vgpu_range {
    struct vgpu_range *previous, *next;           /* by address */
    struct vgpu_range *previous_free, *next_free; /* in the list of free ranges */
    uint64_t start;
    size_t size;
    size_t wanted; /* what was asked for; 0: free */
    /* Of an exact memory: freed, and not to be used again yet. */
    bool stale;
    struct vgpu_range *next_stale;
};

struct vgpu_host_range {
    uint64_t start;
    size_t size;
};

struct vgpu_memory {
    pthread_mutex_t lock;
    uint8_t *arena;
    size_t size, free_bytes;
    uint8_t *pages;
    uint8_t *no_pages; /* of an exact memory, or NULL */
    struct vgpu_range *first_stale, **last_stale;
    size_t stale_bytes;
    struct vgpu_range *first, *first_free;
    struct vgpu_range **used; /* sorted by address */
    size_t used_count, used_capacity;
    struct vgpu_texture_table *textures;
    struct vgpu_host_range *hosts; /* sorted by address */
    size_t host_count, host_capacity;
    /* Other memories that kernels reach, too. Relaxed: who launches a kernel is ordered anyway. */
    struct vgpu_memory *_Atomic peers[VGPU_MEMORY_PEERS];
};

/** Address space that has memory once it is used, or NULL. */
void *vgpu_memory_reserve(size_t size);

/** Index of the first used range that starts after `address`. Lock held. */
size_t vgpu_memory_used_after(const struct vgpu_memory *memory, uint64_t address);

/** Index of the first host range that starts at `address` or after it. Lock held. */
size_t vgpu_memory_host_from(const struct vgpu_memory *memory, uint64_t address);

#endif
