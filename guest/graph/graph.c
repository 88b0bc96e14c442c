/* SPDX-License-Identifier: MIT */
/* The life of graphs and nodes. */
#include "guest/graph/graph.h"

#include <limits.h>
#include <stdlib.h>

#include "guest/process/process.h"
#include "guest/stream/upcall.h"
#include "protocol/send.h"

struct vgpu_graph *vgpu_graph_find(CUgraph handle)
{
    return vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_GRAPH);
}

struct vgpu_node *vgpu_node_find(CUgraphNode handle)
{
    return vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_NODE);
}

struct vgpu_graph_exec *vgpu_graph_exec_find(CUgraphExec handle)
{
    return vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_EXEC);
}

CUgraphNode vgpu_node_handle(uint32_t id)
{
    void *node = vgpu_object_with_id(&vgpu_process()->objects, id, VGPU_KIND_NODE);
    return node ? vgpu_object_handle(node) : NULL;
}

/* ---- objects ---- */

static void end_graph(struct vgpu_object *object)
{
    struct vgpu_graph *graph = (struct vgpu_graph *)object;
    while (graph->nodes)
        vgpu_node_end(graph->nodes);
    vgpu_shadow_set_clear(&graph->needs.shadows);
}

struct vgpu_graph *vgpu_graph_take(struct vgpu_node *parent)
{
    struct vgpu_graph *graph = vgpu_object_take(&vgpu_process()->objects, sizeof(*graph), NULL);
    if (graph == NULL)
        return NULL;
    graph->object.end = end_graph;
    if (parent)
        vgpu_graph_move(graph, parent);
    return graph;
}

void vgpu_graph_move(struct vgpu_graph *graph, struct vgpu_node *parent)
{
    graph->parent = parent;
    graph->next = parent->children;
    parent->children = graph;
}

void vgpu_graph_end(struct vgpu_graph *graph)
{
    if (graph->parent) {
        struct vgpu_graph **link = &graph->parent->children;
        while (*link != graph)
            link = &(*link)->next;
        *link = graph->next;
    }
    vgpu_object_put(&vgpu_process()->objects, &graph->object);
}

/* The graph that it lies in, or NULL. */
static struct vgpu_graph *around(const struct vgpu_graph *graph)
{
    return graph->parent ? graph->parent->graph : NULL;
}

void vgpu_graph_changed(struct vgpu_graph *graph)
{
    for (; graph; graph = around(graph))
        graph->taken.exec = 0;
}

bool vgpu_graph_gains(struct vgpu_graph *graph, const struct vgpu_graph_needs *more)
{
    bool joined = true;
    for (; graph; graph = around(graph)) {
        graph->taken.exec = 0;
        graph->needs.hosts |= more->hosts;
        graph->needs.partial |= more->partial;
        joined &= vgpu_shadow_set_join(&graph->needs.shadows, &more->shadows);
    }
    return joined;
}

void vgpu_graph_loses(struct vgpu_graph *graph, const struct vgpu_shadow_set *less)
{
    for (; graph; graph = around(graph))
        vgpu_shadow_set_leave(&graph->needs.shadows, less);
}

static void end_node(struct vgpu_object *object)
{
    struct vgpu_node *node = (struct vgpu_node *)object;
    while (node->children)
        vgpu_graph_end(node->children);
    free(node->kept);
}

struct vgpu_node *vgpu_node_take(struct vgpu_graph *graph)
{
    struct vgpu_node *node = vgpu_object_take(&vgpu_process()->objects, sizeof(*node), NULL);
    if (node == NULL)
        return NULL;
    node->object.end = end_node;
    node->graph = graph;
    node->next = graph->nodes;
    if (node->next)
        node->next->previous = node;
    graph->nodes = node;
    return node;
}

void vgpu_node_end(struct vgpu_node *node)
{
    if (node->next)
        node->next->previous = node->previous;
    if (node->previous)
        node->previous->next = node->next;
    else
        node->graph->nodes = node->next;
    vgpu_object_put(&vgpu_process()->objects, &node->object);
}

/* ---- calls ---- */

CUresult cuGraphCreate(CUgraph *handle, unsigned int flags)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    if (handle == NULL || flags)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_graph *graph = vgpu_graph_take(NULL);
    if (graph == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = vgpu_send_cuGraphCreate(caller.channel, 0, graph->object.id, flags);
    if (error) {
        vgpu_graph_end(graph);
        return error;
    }
    vgpu_object_publish(&graph->object, VGPU_KIND_GRAPH);
    *handle = vgpu_object_handle(graph);
    return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph handle)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    struct vgpu_graph *graph = vgpu_graph_find(handle);
    if (graph == NULL || graph->parent)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuGraphDestroy(caller.channel, 0, graph->object.id);
    vgpu_graph_end(graph);
    vgpu_upcall_hurry();
    return error;
}

CUresult cuGraphClone(CUgraph *handle, CUgraph original_handle)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    const struct vgpu_graph *original = vgpu_graph_find(original_handle);
    if (handle == NULL || original == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_graph *graph = vgpu_graph_take(NULL);
    if (graph == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    graph->unnamed = true;
    error = vgpu_graph_gains(graph, &original->needs)
                ? vgpu_process_note(vgpu_process(),
                                    vgpu_send_cuGraphClone(caller.channel, 0, graph->object.id,
                                                           original->object.id))
                : CUDA_ERROR_OUT_OF_MEMORY;
    if (error) {
        vgpu_graph_end(graph);
        return error;
    }
    vgpu_object_publish(&graph->object, VGPU_KIND_GRAPH);
    *handle = vgpu_object_handle(graph);
    return CUDA_SUCCESS;
}

/* What a graph no longer uses without a node. True if that is not known. */
static bool find_lost(const struct vgpu_node *node, struct vgpu_shadow_set *lost)
{
    struct vgpu_node_message message;
    struct vgpu_node *same;
    if (node->graph->needs.shadows.count == 0)
        return false;
    if (vgpu_node_fetch(vgpu_object_handle(node), &same, &message))
        return true;
    vgpu_node_shadows(node, &message, lost);
    return message.node.type == CU_GRAPH_NODE_TYPE_GRAPH ||
           message.node.type == CU_GRAPH_NODE_TYPE_CONDITIONAL;
}

CUresult cuGraphDestroyNode(CUgraphNode handle)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    struct vgpu_shadow_set lost = {0};
    struct vgpu_node *node = vgpu_node_find(handle);
    if (node == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    bool partial = find_lost(node, &lost);
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuGraphDestroyNode(caller.channel, 0, node->object.id));
    if (error == CUDA_SUCCESS) {
        vgpu_graph_gains(node->graph, &(struct vgpu_graph_needs){.partial = partial});
        vgpu_graph_loses(node->graph, &lost);
        vgpu_node_end(node);
    }
    vgpu_shadow_set_clear(&lost);
    return error;
}

CUresult cuGraphNodeGetType(CUgraphNode handle, CUgraphNodeType *type)
{
    struct vgpu_caller caller;
    uint32_t value = 0;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    const struct vgpu_node *node = vgpu_node_find(handle);
    if (node == NULL || type == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(
        vgpu_process(), vgpu_send_cuGraphNodeGetType(caller.channel, 0, node->object.id, &value));
    if (error == CUDA_SUCCESS)
        *type = (CUgraphNodeType)value;
    return error;
}

CUresult cuGraphNodeFindInClone(CUgraphNode *handle, CUgraphNode original_handle,
                                CUgraph clone_handle)
{
    struct vgpu_caller caller;
    uint32_t id = 0;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    const struct vgpu_node *original = vgpu_node_find(original_handle);
    struct vgpu_graph *clone = vgpu_graph_find(clone_handle);
    if (handle == NULL || original == NULL || clone == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_graph_name_nodes(&caller, clone);
    if (error == CUDA_SUCCESS)
        error = vgpu_send_vgpuGraphFindInClone(caller.channel, 0, &id, original->object.id,
                                               clone->object.id);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_node_handle(id);
    return vgpu_process_note(vgpu_process(), error);
}

CUresult vgpu_node_child(const struct vgpu_caller *caller, struct vgpu_node *node,
                         struct vgpu_graph **graph)
{
    *graph = node->children;
    if (*graph)
        return CUDA_SUCCESS;
    *graph = vgpu_graph_take(node);
    if (*graph == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    (*graph)->unnamed = true;
    /* Which part of what the graph around it needs is of its own is not known. */
    (*graph)->needs.hosts = node->graph->needs.hosts;
    (*graph)->needs.partial = true;
    if (!vgpu_shadow_set_join(&(*graph)->needs.shadows, &node->graph->needs.shadows)) {
        vgpu_graph_end(*graph);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    CUresult error = vgpu_send_cuGraphChildGraphNodeGetGraph(caller->channel, 0,
                                                             (*graph)->object.id, node->object.id);
    if (error)
        vgpu_graph_end(*graph);
    else
        vgpu_object_publish(&(*graph)->object, VGPU_KIND_GRAPH);
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode handle, CUgraph *graph_handle)
{
    struct vgpu_caller caller;
    struct vgpu_graph *graph;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    struct vgpu_node *node = vgpu_node_find(handle);
    if (node == NULL || graph_handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_node_child(&caller, node, &graph);
    if (error == CUDA_SUCCESS)
        *graph_handle = vgpu_object_handle(graph);
    return error;
}

/* ---- what belongs to a graph ---- */

CUresult cuGraphConditionalHandleCreate(CUgraphConditionalHandle *handle, CUgraph graph_handle,
                                        CUcontext context_handle, unsigned int initial,
                                        unsigned int flags)
{
    struct vgpu_caller caller;
    uint64_t value = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    const struct vgpu_graph *graph = vgpu_graph_find(graph_handle);
    if (handle == NULL || graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (context_handle) {
        const struct vgpu_object *context =
            vgpu_object_find(&vgpu_process()->objects, context_handle, VGPU_KIND_CONTEXT);
        if (context == NULL)
            return CUDA_ERROR_INVALID_CONTEXT;
        caller.context = context->id;
    }
    error = vgpu_process_note(vgpu_process(), vgpu_send_cuGraphConditionalHandleCreate(
                                                  caller.channel, caller.context, &value,
                                                  graph->object.id, initial, flags));
    if (error == CUDA_SUCCESS)
        *handle = value;
    return error;
}

/* Finds the two, and checks the count. */
static CUresult enter_user_object(struct vgpu_caller *caller, CUgraph graph_handle,
                                  CUuserObject object_handle, unsigned int count,
                                  struct vgpu_graph **graph, struct vgpu_object **object)
{
    CUresult error = vgpu_caller_begin(caller);
    if (error)
        return error;
    *graph = vgpu_graph_find(graph_handle);
    *object = vgpu_object_find(&vgpu_process()->objects, object_handle, VGPU_KIND_USER_OBJECT);
    return *graph && *object && count && count <= INT_MAX ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphRetainUserObject(CUgraph graph_handle, CUuserObject object_handle,
                                 unsigned int count, unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_graph *graph;
    struct vgpu_object *object;
    CUresult error =
        enter_user_object(&caller, graph_handle, object_handle, count, &graph, &object);
    if (error)
        return error;
    return vgpu_process_note(
        vgpu_process(), vgpu_send_vgpuGraphRetainUserObject(caller.channel, 0, graph->object.id,
                                                            object->id, count, flags));
}

CUresult cuGraphReleaseUserObject(CUgraph graph_handle, CUuserObject object_handle,
                                  unsigned int count)
{
    struct vgpu_caller caller;
    struct vgpu_graph *graph;
    struct vgpu_object *object;
    CUresult error =
        enter_user_object(&caller, graph_handle, object_handle, count, &graph, &object);
    if (error)
        return error;
    error = vgpu_process_note(
        vgpu_process(),
        vgpu_send_cuGraphReleaseUserObject(caller.channel, 0, graph->object.id, object->id, count));
    vgpu_upcall_hurry();
    return error;
}
