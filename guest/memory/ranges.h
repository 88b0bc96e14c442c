/* SPDX-License-Identifier: MIT */
/**
 * What memory the process has from CUDA, so that questions about pointers are answered without
 * asking the host. Ranges do not overlap. Any thread may call these.
 */
#ifndef VGPU_GUEST_RANGES_H
#define VGPU_GUEST_RANGES_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_context;

enum vgpu_range_kind {
    VGPU_RANGE_DEVICE = 1, /* from cuMemAlloc and the like */
    VGPU_RANGE_MAPPED,     /* by cuMemMap; `owner` is the physical memory */
    VGPU_RANGE_VARIABLE,   /* a __device__ variable of a module or library, `owner` */
    VGPU_RANGE_HOST,       /* from cuMemHostAlloc */
    VGPU_RANGE_REGISTERED, /* the program's own, cuMemHostRegister */
    VGPU_RANGE_MANAGED,    /* from cuMemAllocManaged: of the host, and shared */
    VGPU_RANGE_GRAPH,      /* of an allocation node: when it is there, the driver knows */
};

struct vgpu_range {
    CUdeviceptr start;
    size_t bytes;
    enum vgpu_range_kind kind;
    unsigned int flags;           /* of the function that it is from */
    bool sync_memops;             /* as cuPointerSetAttribute says */
    bool pieced;                  /* shared in several pieces: no copy goes across them */
    bool mirrored;                /* a managed variable */
    bool shared;                  /* the device reaches memory of the host at this address */
    struct vgpu_context *context; /* that it dies with; NULL: no context's */
    const void *owner;            /* the pool of memory that came from one */
    unsigned long long id;        /* never used twice */
};

struct vgpu_ranges {
    pthread_rwlock_t lock;
    struct vgpu_range *table; /* by start */
    size_t count, room;
    /** Frees what vgpu_ranges_forget takes out; it may not use the table. NULL: nothing to free. */
    void (*release)(const struct vgpu_range *range);
};

/** Whether the bytes are the host's, shared or not: a device that shares them reaches them, too. */
static inline bool vgpu_range_is_host(const struct vgpu_range *range)
{
    return range->kind == VGPU_RANGE_HOST || range->kind == VGPU_RANGE_REGISTERED ||
           range->kind == VGPU_RANGE_MANAGED;
}

/** Adds a range; what was known of the same memory is forgotten. False: no memory. */
bool vgpu_ranges_add(struct vgpu_ranges *ranges, const struct vgpu_range *range);

/** Copies out the range that `address` is in. */
bool vgpu_ranges_find(struct vgpu_ranges *ranges, CUdeviceptr address, struct vgpu_range *range);

/** Copies out the first range that has any of these bytes. */
bool vgpu_ranges_overlap(struct vgpu_ranges *ranges, CUdeviceptr start, size_t bytes,
                         struct vgpu_range *range);

/** Sets what is said of the range that `address` is in; false if there is none. */
bool vgpu_ranges_set_sync_memops(struct vgpu_ranges *ranges, CUdeviceptr address, bool sync);

/** Takes the range out that starts at `address` and has this kind. */
bool vgpu_ranges_remove(struct vgpu_ranges *ranges, CUdeviceptr address, enum vgpu_range_kind kind,
                        struct vgpu_range *range);

/** Takes out all ranges of a context or of an owner (the other is NULL), and releases them. */
void vgpu_ranges_forget(struct vgpu_ranges *ranges, const struct vgpu_context *context,
                        const void *owner);

#endif
