/* SPDX-License-Identifier: MIT */
/**
 * Values that conditional nodes look at. The handle is the address of a word of device memory,
 * which kernels write. The list of a graph is guarded by the graphs' lock; the rest any thread may
 * call.
 */
#ifndef VGPU_SOFT_DRIVER_CONDITION_H
#define VGPU_SOFT_DRIVER_CONDITION_H

#include "soft/driver/graph/graph_memory.h"

struct vgpu_condition {
    _Atomic unsigned int references;
    struct vgpu_condition *next; /* of the graph it was made for, which has a reference */
    struct vgpu_context *context;
    struct vgpu_graph_block word; /* its address is the handle */
    unsigned int initial;
    unsigned int flags;
    bool used; /* a node has it; guarded by the graphs' lock */
};

struct vgpu_condition *vgpu_condition_share(struct vgpu_condition *condition);
/** NULL does nothing. */
void vgpu_condition_put(struct vgpu_condition *condition);
/** Gives back and empties a graph's list. */
void vgpu_conditions_put(struct vgpu_condition **list);

/** Gives the condition its initial value, if it has one. */
void vgpu_condition_begin(const struct vgpu_condition *condition);
/** What it is now. */
unsigned int vgpu_condition_value(const struct vgpu_condition *condition);

#endif
