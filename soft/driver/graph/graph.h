/* SPDX-License-Identifier: MIT */
/**
 * Graphs: nodes that share tasks (stream.h), in a structure that only changes under one lock for
 * all graphs and captures. What an executable graph runs is a graph, too: a copy without handles,
 * that nobody changes while a launch holds it.
 *
 * Unless a function says otherwise, it is called with the graphs' lock held. That lock comes before
 * the driver's.
 */
#ifndef VGPU_SOFT_DRIVER_GRAPH_H
#define VGPU_SOFT_DRIVER_GRAPH_H

#include "soft/driver/code/links.h"
#include "soft/driver/stream/stream.h"

enum { VGPU_NODE_ATTRIBUTES = 17 }; /* launch attributes have ids below this */

struct vgpu_node {
    struct vgpu_object object;
    struct vgpu_graph *graph;
    size_t index; /* in the graph's nodes */
    CUgraphNodeType type;
    struct vgpu_task *task; /* with a reference; NULL for an empty node and those with bodies */
    struct vgpu_links dependencies, dependents;
    struct vgpu_graph **bodies; /* of a child graph node or a conditional one */
    size_t body_count;
    struct vgpu_condition *condition; /* of a conditional node, with a reference */
    CUgraphConditionalNodeType condition_type;
    uint64_t id;
    uint64_t source;         /* id of the node that this one is a copy of, or 0 */
    bool disabled;           /* in an executable graph */
    bool moved;              /* the child graph was given to the node, not copied */
    uint32_t attributes_set; /* bits */
    CUlaunchAttributeValue attributes[VGPU_NODE_ATTRIBUTES]; /* of a kernel node */
};

struct vgpu_graph {
    struct vgpu_object object;
    uint64_t id;
    uint64_t source;          /* id of the graph that this one is a copy of, or 0 */
    struct vgpu_node **nodes; /* as they were added; topological order in an executable graph */
    size_t count;
    size_t room;
    struct vgpu_node *parent;          /* whose body this graph is, or NULL */
    bool published;                    /* it and its nodes are handles */
    unsigned int capturing;            /* captures that add to it */
    unsigned int executables;          /* how many there are of it */
    struct vgpu_held_object *held;     /* user objects */
    struct vgpu_condition *conditions; /* made for it */
};

/** Any thread may call these two. */
void vgpu_graphs_lock(void);
void vgpu_graphs_unlock(void);

/** NULL if out of memory. The caller has the reference, or the handle table if `published`. */
struct vgpu_graph *vgpu_graph_create(bool published);

/** Ends the handles of a graph and what is in it, and gives the table's reference back. */
void vgpu_graph_close(struct vgpu_graph *graph);

/** What is behind a handle, without a reference; NULL if it is none. */
struct vgpu_graph *vgpu_graph_find(CUgraph handle);
struct vgpu_node *vgpu_node_find(CUgraphNode handle);

/** The outermost graph that this one is a body in. */
struct vgpu_graph *vgpu_graph_root(struct vgpu_graph *graph);

/** True if the graph or one of its bodies at any depth has a node of the type. */
bool vgpu_graph_contains(const struct vgpu_graph *graph, CUgraphNodeType type);
bool vgpu_graph_has_memory_nodes(const struct vgpu_graph *graph);

/**
 * Adds a node. Takes over the reference of `task`, also on errors. Errors: OUT_OF_MEMORY;
 * NOT_SUPPORTED for a type that a conditional body may not have; INVALID_VALUE for edge data that
 * the nodes do not allow.
 */
CUresult vgpu_graph_add(struct vgpu_graph *graph, CUgraphNodeType type, struct vgpu_task *task,
                        const struct vgpu_links *dependencies, struct vgpu_node **node);

/** Gives a node that was just added a copy of `child` as its body; OUT_OF_MEMORY. */
CUresult vgpu_node_copy_body(struct vgpu_node *node, const struct vgpu_graph *child);

/** Gives a node that was just added `count` bodies that are empty and published as its graph is. */
CUresult vgpu_node_add_bodies(struct vgpu_node *node, size_t count);

/** Takes a node out of its graph and ends it. */
void vgpu_graph_remove(struct vgpu_node *node);

/**
 * A copy of a graph and all bodies. Its nodes are copies of the nodes, or with `of_source` of what
 * those are copies of. NULL if out of memory.
 */
struct vgpu_graph *vgpu_graph_copy(const struct vgpu_graph *graph, bool published, bool of_source);

/**
 * Puts the nodes in an order in which dependencies come first, in bodies, too. INVALID_VALUE if
 * there is none: then `*cyclic` is a node that depends on itself. OUT_OF_MEMORY.
 */
CUresult vgpu_graph_sort(struct vgpu_graph *graph, struct vgpu_node **cyclic);

/** The node in `graph` or one of its bodies that is a copy of node `source`, or NULL. */
struct vgpu_node *vgpu_graph_find_copy(const struct vgpu_graph *graph, uint64_t source);

/** Replaces what the node does; takes over the reference of `task`. */
void vgpu_node_set_task(struct vgpu_node *node, struct vgpu_task *task);

#endif
