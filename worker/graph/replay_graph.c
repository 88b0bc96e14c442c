/* SPDX-License-Identifier: MIT */
/* Graphs: their life, their nodes and edges. */
#include <string.h>

#include "worker/context.h"
#include "worker/graph/graph_list.h"
#include "worker/graph/graph_node.h"
#include "worker/stream/upcall.h"
#include "worker/worker.h"

/* A graph that lies in a node goes with it. */
CUresult vgpu_replay_cuGraphDestroy(struct vgpu_worker *worker,
                                    struct vgpu_call_cuGraphDestroy *call)
{
    if (worker->handles.table[call->graph_id].owner)
        return CUDA_ERROR_INVALID_VALUE;
    return worker->driver->cuGraphDestroy(call->graph);
}

/* ---- nodes ---- */

/* A node that the driver keeps keeps its id. */
CUresult vgpu_replay_cuGraphDestroyNode(struct vgpu_worker *worker,
                                        struct vgpu_call_cuGraphDestroyNode *call)
{
    CUresult error = worker->driver->cuGraphDestroyNode(call->node);
    if (error == CUDA_SUCCESS)
        vgpu_handles_remove(worker, call->node_id);
    return error;
}

static CUresult read_node(struct vgpu_worker *worker, const uint8_t *bytes, uint32_t length,
                          struct vgpu_node_message *message, struct vgpu_node_parameters *out)
{
    *out = (struct vgpu_node_parameters){0};
    memset(&message->node, 0, sizeof(message->node));
    if (length > sizeof(*message))
        return vgpu_worker_blame(worker, "a node that is too long");
    memcpy(message, bytes, length);
    return vgpu_node_decode(worker, message, length, out);
}

/* The ids that the bodies of a conditional node shall have. */
static CUresult check_bodies(struct vgpu_worker *worker, const struct vgpu_node_message *message,
                             uint32_t node_id, uint32_t *ids, uint32_t *count)
{
    *count = message->node.tail_bytes / (uint32_t)sizeof(*ids);
    memcpy(ids, message->tail, message->node.tail_bytes);
    for (uint32_t i = 0; i < *count; i++) {
        bool taken = !vgpu_handles_free(worker, ids[i]) || ids[i] == node_id;
        for (uint32_t j = 0; j < i; j++)
            taken |= ids[j] == ids[i];
        if (taken)
            return vgpu_worker_blame(worker, "an id that is taken, for a body");
    }
    return CUDA_SUCCESS;
}

static void add_bodies(struct vgpu_worker *worker, const CUDA_CONDITIONAL_NODE_PARAMS *conditional,
                       uint32_t node_id, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count && conditional->phGraph_out; i++) {
        worker->handles.named = 0;
        vgpu_handles_add(worker, VGPU_KIND_GRAPH, ids[i], conditional->phGraph_out[i]);
        vgpu_handles_give(worker, ids[i], node_id);
    }
}

/* The node has its id at once, not when the call returns: other ids go with it. */
static void keep_node(struct vgpu_worker *worker, struct vgpu_call_vgpuGraphAddNode *call,
                      const struct vgpu_node_message *message,
                      const struct vgpu_node_parameters *node, const uint32_t *bodies,
                      uint32_t body_count)
{
    const struct vgpu_wire_child *child = &message->node.child;
    if (node->parameters.type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
        add_bodies(worker, &node->parameters.conditional, call->node_id, bodies, body_count);
    if (node->parameters.type == CU_GRAPH_NODE_TYPE_GRAPH &&
        child->ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE)
        vgpu_handles_give(worker, child->graph, call->node_id);
    if (node->parameters.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC)
        call->address = node->parameters.alloc.dptr;
    worker->handles.named = call->graph_id;
}

/* A host node is only there with what tells the guest of its end. */
static CUresult bind_function(struct vgpu_worker *worker, struct vgpu_call_vgpuGraphAddNode *call,
                              void *data)
{
    CUuserObject object = NULL;
    CUresult error = vgpu_upcall_bind(worker, call->graph, data, &object);
    if (error)
        worker->driver->cuGraphDestroyNode(call->node);
    else
        worker->handles.table[call->node_id].function = object;
    return error;
}

CUresult vgpu_replay_vgpuGraphAddNode(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuGraphAddNode *call)
{
    struct vgpu_node_message message;
    struct vgpu_node_parameters node;
    struct vgpu_node_list list = {0};
    uint32_t bodies[VGPU_BODIES_MAX], body_count = 0;
    CUresult error = read_node(worker, call->parameters, call->parameters_bytes, &message, &node);
    if (error == CUDA_SUCCESS && node.parameters.type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
        error = check_bodies(worker, &message, call->node_id, bodies, &body_count);
    if (error == CUDA_SUCCESS)
        error = vgpu_node_list_read(worker, call->dependencies, call->dependencies_bytes, &list);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuGraphAddNode(
            &call->node, call->graph, list.count ? list.from : NULL, list.count ? list.data : NULL,
            list.count, &node.parameters);
    if (error == CUDA_SUCCESS && node.parameters.type == CU_GRAPH_NODE_TYPE_HOST)
        error = bind_function(worker, call, node.parameters.host.userData);
    if (error == CUDA_SUCCESS)
        keep_node(worker, call, &message, &node, bodies, body_count);
    vgpu_node_list_free(&list);
    return error;
}

/* The graph itself no longer calls what the node called before. */
static CUresult replace_function(struct vgpu_worker *worker, uint32_t node_id, void *data)
{
    struct vgpu_handle *node = &worker->handles.table[node_id];
    CUuserObject object = NULL;
    CUgraph graph;
    CUresult error = vgpu_handles_find(worker, VGPU_KIND_GRAPH, node->owner, (void **)&graph);
    if (error == CUDA_SUCCESS)
        error = vgpu_upcall_bind(worker, graph, data, &object);
    if (error)
        return error;
    if (node->function)
        worker->driver->cuGraphReleaseUserObject(graph, node->function, 1);
    node->function = object;
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuGraphNodeSet(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuGraphNodeSet *call)
{
    struct vgpu_node_message message;
    struct vgpu_node_parameters node;
    CUresult error = read_node(worker, call->parameters, call->parameters_bytes, &message, &node);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuGraphNodeSetParams(call->node, &node.parameters);
    if (error == CUDA_SUCCESS && node.parameters.type == CU_GRAPH_NODE_TYPE_HOST)
        error = replace_function(worker, call->node_id, node.parameters.host.userData);
    return error;
}

static CUresult set_in_exec(struct vgpu_worker *worker, CUgraphExec exec, CUgraphNode node,
                            const uint8_t *parameters, uint32_t bytes)
{
    struct vgpu_node_message message;
    struct vgpu_node_parameters read;
    CUresult error = read_node(worker, parameters, bytes, &message, &read);
    return error ? error : worker->driver->cuGraphExecNodeSetParams(exec, node, &read.parameters);
}

CUresult vgpu_replay_vgpuGraphExecNodeSet(struct vgpu_worker *worker,
                                          struct vgpu_call_vgpuGraphExecNodeSet *call)
{
    return set_in_exec(worker, call->exec, call->node, call->parameters, call->parameters_bytes);
}

CUresult vgpu_replay_vgpuGraphExecNodeSetAgain(struct vgpu_worker *worker,
                                               struct vgpu_call_vgpuGraphExecNodeSetAgain *call)
{
    return set_in_exec(worker, call->exec, call->node, call->parameters, call->parameters_bytes);
}

CUresult vgpu_replay_vgpuGraphNodeGet(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuGraphNodeGet *call)
{
    struct vgpu_node_message message;
    CUresult error = vgpu_node_encode(worker, call->node, &message);
    if (error)
        return error;
    uint32_t total = (uint32_t)sizeof(message.node) + message.node.tail_bytes;
    uint32_t left = call->first < total ? total - call->first : 0;
    call->total = total;
    call->part_bytes = left < call->part_capacity ? left : call->part_capacity;
    memcpy(call->part, (const uint8_t *)&message + (left ? call->first : 0), call->part_bytes);
    return CUDA_SUCCESS;
}

/* The graph of a child node; a node has one, and so one id. */
CUresult
vgpu_replay_cuGraphChildGraphNodeGetGraph(struct vgpu_worker *worker,
                                          struct vgpu_call_cuGraphChildGraphNodeGetGraph *call)
{
    CUresult error = worker->driver->cuGraphChildGraphNodeGetGraph(call->node, &call->graph);
    if (error == CUDA_SUCCESS && vgpu_graph_names_find(&worker->graph_names, call->graph))
        return CUDA_ERROR_INVALID_VALUE;
    worker->handles.named = call->node_id;
    return error;
}

/* ---- topology ---- */

typedef CUresult list_nodes(const struct vgpu_driver *driver, void *object, size_t count,
                            struct vgpu_node_list *list, size_t *got);

/* Asks for the count, then for the list. */
static CUresult fetch(const struct vgpu_driver *driver, list_nodes *ask, void *object,
                      struct vgpu_node_list *list)
{
    size_t count = 0;
    CUresult error = ask(driver, object, 0, NULL, &count);
    if (error)
        return error;
    error = vgpu_node_list_make(list, count);
    if (error == CUDA_SUCCESS && count)
        error = ask(driver, object, count, list, &count);
    if (error == CUDA_SUCCESS && count < list->count)
        list->count = count;
    return error;
}

static CUresult all_nodes(const struct vgpu_driver *driver, void *graph, size_t count,
                          struct vgpu_node_list *list, size_t *got)
{
    *got = count;
    return driver->cuGraphGetNodes(graph, list ? list->from : NULL, got);
}

static CUresult root_nodes(const struct vgpu_driver *driver, void *graph, size_t count,
                           struct vgpu_node_list *list, size_t *got)
{
    *got = count;
    return driver->cuGraphGetRootNodes(graph, list ? list->from : NULL, got);
}

static CUresult all_edges(const struct vgpu_driver *driver, void *graph, size_t count,
                          struct vgpu_node_list *list, size_t *got)
{
    *got = count;
    return driver->cuGraphGetEdges(graph, list ? list->from : NULL, list ? list->to : NULL,
                                   list ? list->data : NULL, got);
}

static CUresult dependencies(const struct vgpu_driver *driver, void *node, size_t count,
                             struct vgpu_node_list *list, size_t *got)
{
    *got = count;
    return driver->cuGraphNodeGetDependencies(node, list ? list->from : NULL,
                                              list ? list->data : NULL, got);
}

static CUresult dependents(const struct vgpu_driver *driver, void *node, size_t count,
                           struct vgpu_node_list *list, size_t *got)
{
    *got = count;
    return driver->cuGraphNodeGetDependentNodes(node, list ? list->from : NULL,
                                                list ? list->data : NULL, got);
}

/* A part of a list, from the entry with number `first` on, and how long the list is. */
static CUresult answer(const struct vgpu_worker *worker, list_nodes *which, void *object,
                       uint32_t first, uint32_t *total, uint8_t *reply, uint32_t room,
                       uint32_t *bytes)
{
    struct vgpu_node_list list = {0};
    CUresult error = fetch(worker->driver, which, object, &list);
    if (error == CUDA_SUCCESS) {
        *total = (uint32_t)list.count;
        *bytes = vgpu_node_list_write(worker, &list, first, reply, room);
    }
    vgpu_node_list_free(&list);
    return error;
}

CUresult vgpu_replay_vgpuGraphNodes(struct vgpu_worker *worker,
                                    struct vgpu_call_vgpuGraphNodes *call)
{
    return answer(worker, call->roots ? root_nodes : all_nodes, call->graph, call->first,
                  &call->total, call->list, call->list_capacity, &call->list_bytes);
}

CUresult vgpu_replay_vgpuGraphEdges(struct vgpu_worker *worker,
                                    struct vgpu_call_vgpuGraphEdges *call)
{
    return answer(worker, all_edges, call->graph, call->first, &call->total, call->list,
                  call->list_capacity, &call->list_bytes);
}

CUresult vgpu_replay_vgpuNodeNeighbours(struct vgpu_worker *worker,
                                        struct vgpu_call_vgpuNodeNeighbours *call)
{
    return answer(worker, call->dependents ? dependents : dependencies, call->node, call->first,
                  &call->total, call->list, call->list_capacity, &call->list_bytes);
}

/* Nodes that the driver made itself get ids of the guest's choice. */
CUresult vgpu_replay_vgpuGraphNameNodes(struct vgpu_worker *worker,
                                        struct vgpu_call_vgpuGraphNameNodes *call)
{
    struct vgpu_node_list list = {0};
    uint32_t id, count = call->ids_bytes / (uint32_t)sizeof(id);
    CUresult error = fetch(worker->driver, all_nodes, call->graph, &list);
    for (size_t i = 0; i < list.count && error == CUDA_SUCCESS; i++) {
        if (vgpu_graph_names_find(&worker->graph_names, list.from[i]))
            continue;
        if (call->used == count) {
            call->missing++;
            continue;
        }
        memcpy(&id, call->ids + call->used * sizeof(id), sizeof(id));
        if (!vgpu_handles_free(worker, id)) {
            error = vgpu_worker_blame(worker, "an id that is taken, for a node");
            break;
        }
        worker->handles.named = call->graph_id;
        vgpu_handles_add(worker, VGPU_KIND_NODE, id, list.from[i]);
        call->used++;
    }
    vgpu_node_list_free(&list);
    return error;
}

CUresult vgpu_replay_vgpuGraphConnect(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuGraphConnect *call)
{
    const struct vgpu_driver *driver = worker->driver;
    struct vgpu_node_list list;
    CUresult error = vgpu_node_list_read(worker, call->edges, call->edges_bytes, &list);
    if (error == CUDA_SUCCESS)
        error = (call->remove ? driver->cuGraphRemoveDependencies : driver->cuGraphAddDependencies)(
            call->graph, list.from, list.to, list.data, list.count);
    vgpu_node_list_free(&list);
    return error;
}

CUresult vgpu_replay_vgpuGraphFindInClone(struct vgpu_worker *worker,
                                          struct vgpu_call_vgpuGraphFindInClone *call)
{
    CUgraphNode node = NULL;
    CUresult error = worker->driver->cuGraphNodeFindInClone(&node, call->original, call->clone);
    call->node = vgpu_graph_names_find(&worker->graph_names, node);
    return error;
}

/* ---- attributes, handles and objects ---- */

CUresult vgpu_replay_vgpuKernelNodeGetAttribute(struct vgpu_worker *worker,
                                                struct vgpu_call_vgpuKernelNodeGetAttribute *call)
{
    CUlaunchAttributeValue value = {0};
    CUresult error = worker->driver->cuGraphKernelNodeGetAttribute(
        call->node, (CUlaunchAttributeID)call->attribute, &value);
    memcpy(call->value, &value, sizeof(value));
    call->value_bytes = sizeof(value);
    return error;
}

CUresult vgpu_replay_vgpuKernelNodeSetAttribute(struct vgpu_worker *worker,
                                                struct vgpu_call_vgpuKernelNodeSetAttribute *call)
{
    CUlaunchAttributeValue value;
    if (call->value_bytes != sizeof(value))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&value, call->value, sizeof(value));
    return worker->driver->cuGraphKernelNodeSetAttribute(
        call->node, (CUlaunchAttributeID)call->attribute, &value);
}

CUresult
vgpu_replay_cuGraphConditionalHandleCreate(struct vgpu_worker *worker,
                                           struct vgpu_call_cuGraphConditionalHandleCreate *call)
{
    CUgraphConditionalHandle handle = 0;
    CUresult error = worker->driver->cuGraphConditionalHandleCreate(
        &handle, call->graph, worker->current->object, call->initial, call->flags);
    call->handle = handle;
    return error;
}

CUresult vgpu_replay_vgpuGraphRetainUserObject(struct vgpu_worker *worker,
                                               struct vgpu_call_vgpuGraphRetainUserObject *call)
{
    /* References that are moved are no longer the guest's to release. */
    if (call->flags & CU_GRAPH_USER_OBJECT_MOVE) {
        CUresult error = vgpu_user_object_spend(worker, call->object_id, call->count);
        if (error)
            return error;
    }
    return worker->driver->cuGraphRetainUserObject(call->graph, call->object, call->count,
                                                   call->flags);
}
