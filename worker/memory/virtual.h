/* SPDX-License-Identifier: MIT */
/**
 * Physical memory that the guest made, and where it is mapped: it is charged to the VM until its
 * handle is released and nothing maps it. For the worker's thread.
 */
#ifndef VGPU_WORKER_VIRTUAL_H
#define VGPU_WORKER_VIRTUAL_H

#include <cuda.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_worker;

/** Behind a handle id of kind VGPU_KIND_PHYSICAL. */
struct vgpu_physical {
    CUmemGenericAllocationHandle object;
    uint64_t bytes;    /* as charged */
    uint32_t mappings; /* the id cannot be given up while there is one */
};

struct vgpu_virtual_mapping {
    CUdeviceptr address;
    uint64_t bytes;
    struct vgpu_physical *physical;
};

/** Zeroed, it is empty. */
struct vgpu_virtual {
    struct vgpu_virtual_mapping *table; /* by address; they do not overlap */
    size_t count, room;
};

/** Frees what the worker knows of physical memory; the memory goes with the process. */
void vgpu_virtual_destroy(struct vgpu_worker *worker);

#endif
