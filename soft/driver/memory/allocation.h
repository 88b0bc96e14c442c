/* SPDX-License-Identifier: MIT */
/**
 * What memory a program has had from the driver or registered with it. A device pointer is a host
 * address, so copying is memcpy once it is known that all of a range belongs to one allocation.
 *
 * Any thread may call these.
 */
#ifndef VGPU_SOFT_DRIVER_ALLOCATION_H
#define VGPU_SOFT_DRIVER_ALLOCATION_H

#include <stdbool.h>

#include "soft/driver/context.h"

enum vgpu_allocation_kind {
    VGPU_ALLOCATION_DEVICE,     /* from the device's arena */
    VGPU_ALLOCATION_MANAGED,    /* too, and the program reads it, too */
    VGPU_ALLOCATION_POOL,       /* cuMemAllocAsync */
    VGPU_ALLOCATION_HOST,       /* cuMemHostAlloc */
    VGPU_ALLOCATION_REGISTERED, /* the program's own memory */
    VGPU_ALLOCATION_VIRTUAL,    /* cuMemMap */
    VGPU_ALLOCATION_GRAPH,      /* of an allocation node or a condition, which free it */
    VGPU_ALLOCATION_VARIABLE,   /* of a module, which frees it */
};

struct vgpu_memory_pool;
struct vgpu_physical;

struct vgpu_allocation {
    uint64_t address;
    size_t size;
    enum vgpu_allocation_kind kind;
    bool managed;
    bool sync_memops;             /* CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, told back */
    bool freed;                   /* by the program: a stream will come to it */
    unsigned int flags;           /* of cuMemHostAlloc, cuMemHostRegister or cuMemAllocManaged */
    struct vgpu_context *context; /* whom it dies with; NULL: a pool's, mapped, or not known */
    struct vgpu_device *device;
    uint64_t id;
    struct vgpu_memory_pool *pool;  /* with a reference, or NULL */
    struct vgpu_physical *physical; /* with a reference: what is mapped there, or NULL */
    CUmemAccess_flags access;       /* to what is mapped, for kernels and copies */
    uint32_t reach; /* bit by ordinal: other devices whose kernels were given access */
};

/** Allocates in the arena of the context's device. */
CUresult vgpu_allocation_create(struct vgpu_context *context, enum vgpu_allocation_kind kind,
                                size_t size, unsigned int flags, uint64_t *address);

/** Allocates in the arena of the pool's device; takes a reference to the pool. */
CUresult vgpu_allocation_create_pooled(struct vgpu_memory_pool *pool, struct vgpu_device *device,
                                       bool managed, size_t size, uint64_t *address);

/** Makes known a managed variable, which the caller has placed and frees. */
CUresult vgpu_allocation_add_variable(struct vgpu_context *context, uint64_t address, size_t size);

/** Makes known what is mapped at an address; takes over a reference to `physical`. */
CUresult vgpu_allocation_add_mapping(struct vgpu_device *device, uint64_t address, size_t size,
                                     struct vgpu_physical *physical);

/** Notes the access to a mapping that begins at `address`. */
void vgpu_allocation_set_access(uint64_t address, CUmemAccess_flags access);

/**
 * Lets kernels of `device`, which is not its own, reach the allocation that begins at `address`, or
 * no longer.
 */
CUresult vgpu_allocation_reach(uint64_t address, struct vgpu_device *device, bool reached);

/** Notes the attribute of the allocation that begins at `address`. */
void vgpu_allocation_set_sync_memops(uint64_t address, bool sync_memops);

/** Allocates page-locked host memory that kernels reach at its own address. */
CUresult vgpu_allocation_create_host(struct vgpu_context *context, size_t size, unsigned int flags,
                                     void **address);

/** Lets kernels reach the program's own memory. */
CUresult vgpu_allocation_register(struct vgpu_context *context, void *address, size_t size,
                                  unsigned int flags);

/**
 * Frees the allocation that begins at `address`, if it is of one of the kinds of which the bit
 * (1 << kind) is set; else CUDA_ERROR_INVALID_VALUE.
 */
CUresult vgpu_allocation_free(uint64_t address, unsigned int kinds);

/**
 * Before the stream that vgpu_allocation_free() is left to has come to it: from now on the memory
 * is not the program's to free (`freed`), or again, because that stream refused.
 * CUDA_ERROR_INVALID_VALUE if it is so already, or as vgpu_allocation_free().
 */
CUresult vgpu_allocation_set_freed(uint64_t address, unsigned int kinds, bool freed);

/**
 * Frees it after all work that may use the memory; `not_found` if there is no such allocation, or
 * the failure of its context.
 */
CUresult vgpu_allocation_free_when_idle(uint64_t address, unsigned int kinds, CUresult not_found);

/** Frees all that belongs to a context. */
void vgpu_allocation_free_all(struct vgpu_context *context);

/** Finds the allocation or module variable that holds `address`. */
bool vgpu_allocation_find(uint64_t address, struct vgpu_allocation *found);

enum vgpu_side {
    VGPU_SIDE_DEVICE, /* must be memory of the driver's or registered */
    VGPU_SIDE_HOST,   /* or any address of the program's that no device can have had */
};

/** Whether `size` bytes at `address` may be copied from or to; CUDA_ERROR_INVALID_VALUE if not. */
CUresult vgpu_allocation_check(uint64_t address, size_t size, enum vgpu_side side);

/** The allocation that begins at `address` or after it, in order of addresses. */
bool vgpu_allocation_next(uint64_t address, struct vgpu_allocation *found);

/** True if the program might free or change the memory as soon as an asynchronous call returns. */
bool vgpu_allocation_is_pageable(uint64_t address);

#endif
