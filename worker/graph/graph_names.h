/* SPDX-License-Identifier: MIT */
/**
 * The ids of the driver's graphs and nodes, found by the driver's handles: a driver tells of nodes
 * that it made itself, and whoever asks for them knows ids only. For the worker's one thread.
 */
#ifndef VGPU_WORKER_GRAPH_NAMES_H
#define VGPU_WORKER_GRAPH_NAMES_H

#include <stddef.h>
#include <stdint.h>

struct vgpu_graph_name {
    const void *object; /* NULL: the entry is free */
    uint32_t id;
};

struct vgpu_graph_names {
    struct vgpu_graph_name *table; /* open addressing; `room` is 0 or a power of two */
    size_t count, room;
};

void vgpu_graph_names_destroy(struct vgpu_graph_names *names);

/** The id of a graph or node, or 0. */
uint32_t vgpu_graph_names_find(const struct vgpu_graph_names *names, const void *object);

/** Without memory the object has no name: who asks for it gets 0. */
void vgpu_graph_names_add(struct vgpu_graph_names *names, const void *object, uint32_t id);
void vgpu_graph_names_remove(struct vgpu_graph_names *names, const void *object);

#endif
