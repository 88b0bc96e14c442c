/* SPDX-License-Identifier: MIT */
/**
 * Executable graphs: a copy of a graph in an order to run it in. A launch holds a reference to the
 * copy, and changes are made to another copy then, so launches under way are not affected.
 *
 * Functions are called with the graphs' lock held unless they say otherwise.
 */
#ifndef VGPU_SOFT_DRIVER_EXECUTABLE_H
#define VGPU_SOFT_DRIVER_EXECUTABLE_H

#include "soft/driver/graph/graph.h"

struct vgpu_executable {
    struct vgpu_object object;
    struct vgpu_graph *plan; /* with a reference; sorted, without handles */
    CUgraph graph;           /* what it was made of, as long as that has the id ... */
    uint64_t graph_id;
    cuuint64_t flags;
    struct vgpu_mark launched; /* the last launch, with a reference to the stream */
};

/** What is behind a handle, without a reference; NULL if it is none. */
struct vgpu_executable *vgpu_executable_find(CUgraphExec handle);

/** The plan, which no launch holds: it is copied if need be. NULL if out of memory. */
struct vgpu_graph *vgpu_executable_change(struct vgpu_executable *executable);

/**
 * Without the lock: the task of one launch of `plan`, whose reference it takes over. Events that
 * the launch records mean it from now on. NULL if out of memory.
 */
struct vgpu_task *vgpu_plan_task_create(struct vgpu_graph *plan, struct vgpu_context *context);

#endif
