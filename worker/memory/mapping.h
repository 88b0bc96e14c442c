/* SPDX-License-Identifier: MIT */
/**
 * Memory that the guest's process, this one and the GPU have at the same address: extents of the
 * window, registered with the driver. For the worker's one thread.
 */
#ifndef VGPU_WORKER_MAPPING_H
#define VGPU_WORKER_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

struct vgpu_worker;
struct vgpu_context;

struct vgpu_mapping {
    uint8_t *address;
    uint64_t bytes;
    uint32_t extent;            /* its number among the channel's */
    struct vgpu_context *owner; /* that it is registered in, for all; NULL: none could */
};

struct vgpu_mappings {
    struct vgpu_mapping *table; /* by address */
    uint32_t count, room;
    bool in_graphs; /* a graph may use what is mapped long after that has gone */
};

/** Registers what has no owner in a context that is current and new. */
void vgpu_mappings_attach(struct vgpu_worker *worker, struct vgpu_context *context);

/** Lets go of what is registered in a context that is current and about to end; another context
 *  takes it over when it is attached. */
void vgpu_mappings_detach(struct vgpu_worker *worker, const struct vgpu_context *context);

/** True if all of the range is memory that the guest shares. */
bool vgpu_mappings_hold(const struct vgpu_worker *worker, uint64_t address, uint64_t bytes);

/** Unmaps all, after the last context has ended. */
void vgpu_mappings_destroy(struct vgpu_worker *worker);

#endif
