/* SPDX-License-Identifier: MIT */
/**
 * Graphs, their nodes, and executable graphs. A graph's nodes end with it, and the graphs that lie
 * in a node end with the node. Nodes that the host's driver made (by a capture or a clone) get
 * handles when somebody asks for them. As in CUDA, one thread at a time works on a graph.
 */
#ifndef VGPU_GUEST_GRAPH_H
#define VGPU_GUEST_GRAPH_H

#include "interop/driver_api.h"

#include "guest/graph/shadow.h"
#include "guest/process/caller.h"
#include "guest/process/objects.h"
#include "guest/stream/upcall.h"
#include "protocol/graph.h"

struct vgpu_graph {
    struct vgpu_object object;
    struct vgpu_node *nodes;  /* that have handles; a list */
    struct vgpu_node *parent; /* that it lies in, or NULL */
    struct vgpu_graph *next;  /* in the same node */
    bool unnamed;             /* the driver may have made nodes that have no handles yet */
    struct vgpu_graph_needs needs;
    struct {
        unsigned long long exec; /* serial number; 0: none, or the graph has changed since */
        uint32_t node;
    } taken; /* by an executable graph, for what is in a child node */
};

/** A node as the host's driver has taken it in an executable graph: the same with other values of a
 *  kernel's parameters, with other memory to copy or to fill, or with a child graph that was taken
 *  before will be taken, too, so that nobody need wait for that. */
struct vgpu_taken_node {
    unsigned long long exec; /* serial number of the executable graph; 0: none yet */
    struct vgpu_wire_node shape;
};

struct vgpu_node {
    struct vgpu_object object;
    struct vgpu_graph *graph;
    struct vgpu_node *next, *previous; /* in the graph */
    struct vgpu_graph *children;       /* graphs that lie in it */
    void *kept;                        /* what was answered about its parameters points here */
    struct vgpu_taken_node taken;
};

/** Memory of the program that a node of an executable graph was given later. */
struct vgpu_exec_part;

/** A function that such a node was given. */
struct vgpu_exec_host;

struct vgpu_graph_exec {
    struct vgpu_object object;
    cuuint64_t flags;          /* those that it tells of what it was instantiated with */
    unsigned long long serial; /* another one after each update of the whole */
    bool updated;              /* as a whole: its nodes may use what those of its graph do not */
    uint64_t launches;         /* so far */
    bool judged;               /* it allocates or frees memory: the driver says if it may now */
    struct vgpu_exec_part *parts;
    struct vgpu_exec_host *hosts;
    struct vgpu_upcall_list retired; /* functions that it will not call again */
    struct vgpu_graph_needs needs;
};

/** What is behind a handle, or NULL. */
struct vgpu_graph *vgpu_graph_find(CUgraph handle);
struct vgpu_node *vgpu_node_find(CUgraphNode handle);
struct vgpu_graph_exec *vgpu_graph_exec_find(CUgraphExec handle);

/** The handle of the node with this id, or NULL. */
CUgraphNode vgpu_node_handle(uint32_t id);

/** A graph that is not published yet, in a node (or NULL: it stands alone). NULL: no memory. */
struct vgpu_graph *vgpu_graph_take(struct vgpu_node *parent);
/** Ends a graph and all in it, whether it was published or not; the host is not told. */
void vgpu_graph_end(struct vgpu_graph *graph);
/** A graph that stood alone lies in a node now. */
void vgpu_graph_move(struct vgpu_graph *graph, struct vgpu_node *parent);

/** After any change: no executable graph has taken the graph, or those around it, as they are now.
 */
void vgpu_graph_changed(struct vgpu_graph *graph);

/** A change that brings something that is needed: the graphs around it need it, too. False: no
 *  memory. */
bool vgpu_graph_gains(struct vgpu_graph *graph, const struct vgpu_graph_needs *more);
/** The other way round, for shadows. */
void vgpu_graph_loses(struct vgpu_graph *graph, const struct vgpu_shadow_set *less);

/** A node of a graph that is not published yet; NULL: no memory. */
struct vgpu_node *vgpu_node_take(struct vgpu_graph *graph);
/** Ends a node and the graphs in it, whether it was published or not; the host is not told. */
void vgpu_node_end(struct vgpu_node *node);

/** The graph of a child node, whose handle is made when it is first asked for. */
CUresult vgpu_node_child(const struct vgpu_caller *caller, struct vgpu_node *node,
                         struct vgpu_graph **graph);

/** What the host says of a node. INVALID_VALUE: it is none. */
CUresult vgpu_node_fetch(CUgraphNode handle, struct vgpu_node **node,
                         struct vgpu_node_message *message);
/** Adds the shadows that a node uses, as far as that is known, to `some`. */
void vgpu_node_shadows(const struct vgpu_node *node, const struct vgpu_node_message *message,
                       struct vgpu_shadow_set *some);

/** A node of an executable graph copies from and to `now` from now on. False: no memory. */
bool vgpu_exec_place(struct vgpu_graph_exec *exec, const struct vgpu_node *node,
                     CUgraphNodeType type, const struct vgpu_shadow_set *now);
/** A host node of an executable graph calls a function from now on, whose id is `upcall`. */
CUresult vgpu_exec_call(struct vgpu_graph_exec *exec, const struct vgpu_node *node,
                        uint32_t upcall);
/** Forgets what single nodes were given. */
void vgpu_exec_forget_parts(struct vgpu_graph_exec *exec);

/** Sees to it that all nodes of a graph have handles. */
CUresult vgpu_graph_name_nodes(const struct vgpu_caller *caller, struct vgpu_graph *graph);

/* ---- lists ---- */

/** Nodes (`to` is NULL) or pairs of nodes in wire form; free *edges, whatever is returned.
 *  CUDA_ERROR_INVALID_VALUE: one is no node, or an array is missing. */
CUresult vgpu_edges_pack(const CUgraphNode *from, const CUgraphNode *to,
                         const CUgraphEdgeData *data, size_t count, struct vgpu_wire_edge **edges);

/** Asks the host for a part of a list. */
typedef CUresult vgpu_edges_page(const struct vgpu_caller *caller, void *argument, uint32_t first,
                                 struct vgpu_wire_edge *page, size_t room, size_t *bytes,
                                 uint32_t *total);

/** Fetches a whole list, page by page; free *edges after CUDA_SUCCESS. */
CUresult vgpu_edges_fetch(const struct vgpu_caller *caller, vgpu_edges_page *fetch, void *argument,
                          struct vgpu_wire_edge **edges, size_t *count);

/** The node at this place among a graph's nodes, or NULL. */
CUgraphNode vgpu_graph_node_at(const struct vgpu_caller *caller, struct vgpu_graph *graph,
                               uint32_t place);

/** The edges that fit into one record beside a node of any length. */
#define VGPU_EDGES_MOST 1024u

/* ---- parameters ---- */

/**
 * Puts a node's parameters into wire form. Ordinary memory of the program gets shadows in
 * `shadows`. Host functions are registered (vgpu_node_forget if the
 * message is not sent after all), the bodies of a conditional node are not. INVALID_VALUE,
 * INVALID_HANDLE, NOT_SUPPORTED, OUT_OF_MEMORY.
 */
CUresult vgpu_node_encode(const struct vgpu_caller *caller, const CUgraphNodeParams *parameters,
                          struct vgpu_shadow_set *shadows, struct vgpu_node_message *message);
void vgpu_node_forget(const struct vgpu_node_message *message);

/** Parameters of one kind of node, in the form for all kinds. */
void vgpu_kernel_newer(const CUDA_KERNEL_NODE_PARAMS_v1 *from, CUDA_KERNEL_NODE_PARAMS_v2 *to);
void vgpu_kernel_parameters(const CUDA_KERNEL_NODE_PARAMS_v2 *kernel, CUgraphNodeParams *out);
void vgpu_memset_parameters(const CUDA_MEMSET_NODE_PARAMS_v1 *fill, CUcontext context,
                            CUgraphNodeParams *out);
void vgpu_operations_parameters(const CUDA_BATCH_MEM_OP_NODE_PARAMS_v1 *operations,
                                CUgraphNodeParams *out);

/** Bytes of a message. */
static inline size_t vgpu_node_bytes(const struct vgpu_node_message *message)
{
    return sizeof(message->node) + message->node.tail_bytes;
}

#endif
