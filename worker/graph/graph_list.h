/* SPDX-License-Identifier: MIT */
/** Lists of nodes between the wire and the driver. For the worker's one thread. */
#ifndef VGPU_WORKER_GRAPH_LIST_H
#define VGPU_WORKER_GRAPH_LIST_H

#include <cuda.h>
#include <stdint.h>

#include "protocol/graph.h"

struct vgpu_worker;

/** Nodes, or pairs of nodes, and what is said of the edges between them. */
struct vgpu_node_list {
    CUgraphNode *from, *to; /* `to` is NULL where there is one node in each entry */
    CUgraphEdgeData *data;
    size_t count;
};

/** Reads edges that came from the ring: every node is known. Free it, whatever is returned. */
CUresult vgpu_node_list_read(struct vgpu_worker *worker, const uint8_t *bytes, uint32_t length,
                             struct vgpu_node_list *list);

/** Makes room for `count` entries. CUDA_ERROR_OUT_OF_MEMORY. */
CUresult vgpu_node_list_make(struct vgpu_node_list *list, size_t count);
void vgpu_node_list_free(struct vgpu_node_list *list);

/** Writes as many entries as fit, from the one with number `first` on, with the ids of the nodes (0
 *  of one without a name). Returns the bytes. */
uint32_t vgpu_node_list_write(const struct vgpu_worker *worker, const struct vgpu_node_list *list,
                              size_t first, uint8_t *reply, uint32_t room);

#endif
