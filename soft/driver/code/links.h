/* SPDX-License-Identifier: MIT */
/** Sets of edges. The functions are called with the graphs' lock held (graph.h). */
#ifndef VGPU_SOFT_DRIVER_LINKS_H
#define VGPU_SOFT_DRIVER_LINKS_H

#include <stdbool.h>
#include <stddef.h>

#include "interop/driver_api.h"

struct vgpu_graph;
struct vgpu_node;

/** One end of an edge. */
struct vgpu_link {
    struct vgpu_node *node;
    CUgraphEdgeData data;
};

/** A set of edges with one end in common; zeroed is empty. */
struct vgpu_links {
    struct vgpu_link *list;
    size_t count;
    size_t room;
};

/** False if out of memory. */
bool vgpu_links_add(struct vgpu_links *links, struct vgpu_node *node, const CUgraphEdgeData *data);
/** Adds what is not in `links` yet; false if out of memory. */
bool vgpu_links_merge(struct vgpu_links *links, const struct vgpu_links *more);
struct vgpu_link *vgpu_links_find(const struct vgpu_links *links, const struct vgpu_node *node);
void vgpu_links_remove(struct vgpu_links *links, const struct vgpu_node *node);
void vgpu_links_clear(struct vgpu_links *links);

bool vgpu_edge_is_default(const CUgraphEdgeData *data);
/** Whether an edge from `from` to a node of type `to` may have the data. */
bool vgpu_edge_is_valid(const struct vgpu_node *from, CUgraphNodeType to,
                        const CUgraphEdgeData *data);

/** Reads a program's list of nodes in `graph`, none twice; `data` may be NULL. INVALID_VALUE or
 * OUT_OF_MEMORY. */
CUresult vgpu_links_read(struct vgpu_links *links, const struct vgpu_graph *graph,
                         const CUgraphNode *nodes, const CUgraphEdgeData *data, size_t count);

#endif
