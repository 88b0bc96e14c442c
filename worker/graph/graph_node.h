/* SPDX-License-Identifier: MIT */
/** Parameters of nodes between the wire and the driver. For the worker's one thread. */
#ifndef VGPU_WORKER_GRAPH_NODE_H
#define VGPU_WORKER_GRAPH_NODE_H

#include <cuda.h>

#include "protocol/graph.h"

struct vgpu_worker;

/** A node's parameters as the driver takes them, and the memory that they point to. */
struct vgpu_node_parameters {
    CUgraphNodeParams parameters;
    size_t kernel_bytes; /* what `extra` points to */
    void *extra[5];
};

/** The most bodies of a conditional node. */
#define VGPU_BODIES_MAX 8u

/**
 * Translates what came from the ring, after checking it: handles are known, lengths fit, host
 * memory is the guest's. `message` is a private copy, and must last as long as the result is used.
 */
CUresult vgpu_node_decode(struct vgpu_worker *worker, struct vgpu_node_message *message,
                          uint32_t bytes, struct vgpu_node_parameters *out);

/** Asks the driver for a node's parameters. An object that the guest does not know gets id 0. */
CUresult vgpu_node_encode(struct vgpu_worker *worker, CUgraphNode node,
                          struct vgpu_node_message *out);

#endif
