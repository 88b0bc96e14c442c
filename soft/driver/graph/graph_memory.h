/* SPDX-License-Identifier: MIT */
/**
 * Memory that graphs allocate and free. It is there, at its address, from when its node is made
 * until no graph knows it; launches only say whether it counts as allocated.
 */
#ifndef VGPU_SOFT_DRIVER_GRAPH_MEMORY_H
#define VGPU_SOFT_DRIVER_GRAPH_MEMORY_H

#include "soft/driver/graph/graph.h"

/** Device memory that cuMemFree does not free; it may go with its context before it is freed. */
struct vgpu_graph_block {
    uint64_t address;
    uint64_t id; /* of the allocation: the address may be another's later */
};

/** Any thread may call these three. */
CUresult vgpu_graph_block_create(struct vgpu_context *context, size_t size,
                                 struct vgpu_graph_block *block);
bool vgpu_graph_block_is_there(const struct vgpu_graph_block *block);
void vgpu_graph_block_free(const struct vgpu_graph_block *block);

/**
 * Add nodes, without the graphs' lock. The first fills in `params->dptr`. Errors: INVALID_VALUE;
 * NOT_SUPPORTED for memory of other kinds than the device's own; INVALID_DEVICE.
 */
CUresult vgpu_graph_memory_add_alloc(CUgraphNode *out, CUgraph graph, const CUgraphNode *nodes,
                                     const CUgraphEdgeData *data, size_t count,
                                     CUDA_MEM_ALLOC_NODE_PARAMS *params);
CUresult vgpu_graph_memory_add_free(CUgraphNode *out, CUgraph graph, const CUgraphNode *nodes,
                                    const CUgraphEdgeData *data, size_t count, CUdeviceptr address);

/** What an allocation node was created from, or the one that a free node is for. */
void vgpu_graph_memory_params(const struct vgpu_task *task, CUDA_MEM_ALLOC_NODE_PARAMS *params);

/** What a capturing stream does for cuMemAllocAsync: a node, whose memory is at `*address`. */
CUresult vgpu_graph_memory_capture_alloc(struct vgpu_stream *stream, struct vgpu_device *device,
                                         size_t size, uint64_t *address);
/** And for cuMemFreeAsync. */
CUresult vgpu_graph_memory_capture_free(struct vgpu_stream *stream, uint64_t address);

/** Frees memory that a launch has allocated; INVALID_VALUE if there is none at the address. Called
 * without the graphs' lock. */
CUresult vgpu_graph_memory_free(uint64_t address);
/** The same when the stream has done all that was submitted to it so far. */
CUresult vgpu_graph_memory_free_in(struct vgpu_stream *stream, uint64_t address);

/**
 * Notes what a launch of the plan allocates and frees, with the graphs' lock held. INVALID_VALUE,
 * and nothing noted, if something is allocated already that the launch would allocate, unless
 * `auto_free`, or is not that it would free.
 */
CUresult vgpu_graph_memory_launch(const struct vgpu_graph *plan, bool auto_free);

#endif
