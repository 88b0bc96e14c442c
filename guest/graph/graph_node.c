/* SPDX-License-Identifier: MIT */
/* Nodes are added to graphs, and their parameters set. */
#include <stdlib.h>
#include <string.h>

#include "guest/graph/graph.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/* ---- adding ---- */

#define BODIES_MOST 8u

/* Graphs for the bodies of a conditional node; their ids cross with it. */
static CUresult take_bodies(struct vgpu_node *node, const CUDA_CONDITIONAL_NODE_PARAMS *conditional,
                            struct vgpu_node_message *message)
{
    uint32_t ids[BODIES_MOST];
    if (conditional->size == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (conditional->size > BODIES_MOST)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUgraph *handles = calloc(conditional->size, sizeof(CUgraph));
    if (handles == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    node->kept = handles;
    for (unsigned int i = 0; i < conditional->size; i++) {
        struct vgpu_graph *body = vgpu_graph_take(node);
        if (body == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        handles[i] = vgpu_object_handle(body);
        ids[i] = body->object.id;
    }
    message->node.tail_bytes = conditional->size * (uint32_t)sizeof(*ids);
    memcpy(message->tail, ids, message->node.tail_bytes);
    return CUDA_SUCCESS;
}

/* A node that gets only some of its edges goes again; where the driver does not let it go, it is a
 * node of the graph that the program may find. */
static CUresult send_node(const struct vgpu_caller *caller, struct vgpu_node *node,
                          const struct vgpu_node_message *message,
                          const struct vgpu_wire_edge *edges, size_t count, uint64_t *address)
{
    size_t first = count < VGPU_EDGES_MOST ? count : VGPU_EDGES_MOST;
    CUresult error = vgpu_send_vgpuGraphAddNode(
        caller->channel, caller->context, node->object.id, address, node->graph->object.id, message,
        vgpu_node_bytes(message), edges, first * sizeof(*edges));
    for (size_t i = first; i < count && error == CUDA_SUCCESS; i++) {
        const struct vgpu_wire_edge edge = {edges[i].from, node->object.id, edges[i].data};
        error = vgpu_send_vgpuGraphConnect(caller->channel, 0, node->graph->object.id, 0, &edge,
                                           sizeof(edge));
        if (error && vgpu_send_cuGraphDestroyNode(caller->channel, 0, node->object.id))
            vgpu_object_publish(&node->object, VGPU_KIND_NODE);
    }
    return vgpu_process_note(vgpu_process(), error);
}

/* Where the memory will be is known from here on, until other memory is there. If there is no room
 * to note it, it is as any address that only the driver knows. */
static void keep_range(const struct vgpu_caller *caller, uint64_t address, size_t bytes)
{
    struct vgpu_process *process = vgpu_process();
    const struct vgpu_range range = {.start = address,
                                     .bytes = bytes,
                                     .kind = VGPU_RANGE_GRAPH,
                                     .context = caller->current,
                                     .id = vgpu_process_new_id(process)};
    vgpu_ranges_add(&process->ranges, &range);
}

/* What a node that the host has made means for what is known here. */
static void settle_node(const struct vgpu_caller *caller, struct vgpu_node *node,
                        CUgraphNodeParams *parameters, uint64_t address,
                        struct vgpu_graph_needs *needs)
{
    for (struct vgpu_graph *body = node->children; body; body = body->next)
        vgpu_object_publish(&body->object, VGPU_KIND_GRAPH);
    if (parameters->type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
        parameters->conditional.phGraph_out = node->kept;
    if (parameters->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) {
        parameters->alloc.dptr = address;
        keep_range(caller, address, parameters->alloc.bytesize);
    }
    needs->hosts = parameters->type == CU_GRAPH_NODE_TYPE_HOST;
    needs->partial = parameters->type == CU_GRAPH_NODE_TYPE_CONDITIONAL ||
                     parameters->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD;
    vgpu_graph_gains(node->graph, needs);
    if (parameters->type == CU_GRAPH_NODE_TYPE_GRAPH) {
        struct vgpu_graph *child = vgpu_graph_find(parameters->graph.graph);
        vgpu_graph_gains(node->graph, &child->needs);
        if (parameters->graph.ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE)
            vgpu_graph_move(child, node);
    }
    vgpu_object_publish(&node->object, VGPU_KIND_NODE);
}

static CUresult add(CUgraphNode *handle, CUgraph graph_handle, const CUgraphNode *dependencies,
                    const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *parameters)
{
    struct vgpu_node_message message;
    struct vgpu_wire_edge *edges = NULL;
    struct vgpu_graph_needs needs = {0};
    struct vgpu_caller caller;
    uint64_t address = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct vgpu_graph *graph = vgpu_graph_find(graph_handle);
    if (handle == NULL || graph == NULL || parameters == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_edges_pack(dependencies, NULL, data, count, &edges);
    struct vgpu_node *node = error ? NULL : vgpu_node_take(graph);
    if (error == CUDA_SUCCESS && node == NULL)
        error = CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS)
        error = vgpu_node_encode(&caller, parameters, &needs.shadows, &message);
    if (error == CUDA_SUCCESS && parameters->type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
        error = take_bodies(node, &parameters->conditional, &message);
    if (error == CUDA_SUCCESS) {
        error = send_node(&caller, node, &message, edges, count, &address);
        if (error)
            vgpu_node_forget(&message);
    }
    if (error == CUDA_SUCCESS) {
        settle_node(&caller, node, parameters, address, &needs);
        *handle = vgpu_object_handle(node);
    } else if (node && vgpu_object_tag(&node->object) != VGPU_KIND_NODE) {
        vgpu_node_end(node);
    }
    vgpu_shadow_set_clear(&needs.shadows);
    free(edges);
    return error;
}

CUresult cuGraphAddNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                           const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *parameters)
{
    return add(node, graph, dependencies, data, count, parameters);
}

CUresult cuGraphAddNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                        size_t count, CUgraphNodeParams *parameters)
{
    return add(node, graph, dependencies, NULL, count, parameters);
}

CUresult cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                                 size_t count, const CUDA_KERNEL_NODE_PARAMS_v2 *kernel)
{
    CUgraphNodeParams parameters;
    if (kernel == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_kernel_parameters(kernel, &parameters);
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddKernelNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                              size_t count, const CUDA_KERNEL_NODE_PARAMS_v1 *kernel)
{
    CUDA_KERNEL_NODE_PARAMS_v2 newer;
    if (kernel == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_kernel_newer(kernel, &newer);
    return cuGraphAddKernelNode_v2(node, graph, dependencies, count, &newer);
}

CUresult cuGraphAddMemcpyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                              size_t count, const CUDA_MEMCPY3D *copy, CUcontext context)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEMCPY};
    if (copy == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    parameters.memcpy.copyCtx = context;
    parameters.memcpy.copyParams = *copy;
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                              size_t count, const CUDA_MEMSET_NODE_PARAMS *fill, CUcontext context)
{
    CUgraphNodeParams parameters;
    if (fill == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_memset_parameters(fill, context, &parameters);
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddHostNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                            size_t count, const CUDA_HOST_NODE_PARAMS *host)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_HOST};
    if (host == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    parameters.host = (CUDA_HOST_NODE_PARAMS_v2){host->fn, host->userData};
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddChildGraphNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                                  size_t count, CUgraph child)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_GRAPH, .graph.graph = child};
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                             size_t count)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_EMPTY};
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddEventRecordNode(CUgraphNode *node, CUgraph graph,
                                   const CUgraphNode *dependencies, size_t count, CUevent event)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD,
                                    .eventRecord.event = event};
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddEventWaitNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                                 size_t count, CUevent event)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT,
                                    .eventWait.event = event};
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddBatchMemOpNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                                  size_t count, const CUDA_BATCH_MEM_OP_NODE_PARAMS *operations)
{
    CUgraphNodeParams parameters;
    if (operations == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_operations_parameters(operations, &parameters);
    return add(node, graph, dependencies, NULL, count, &parameters);
}

CUresult cuGraphAddMemAllocNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                                size_t count, CUDA_MEM_ALLOC_NODE_PARAMS *alloc)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC};
    if (alloc == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    static_assert(sizeof(*alloc) == sizeof(parameters.alloc), "the second form is the first");
    memcpy(&parameters.alloc, alloc, sizeof(*alloc));
    CUresult error = add(node, graph, dependencies, NULL, count, &parameters);
    if (error == CUDA_SUCCESS)
        alloc->dptr = parameters.alloc.dptr;
    return error;
}

CUresult cuGraphAddMemFreeNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                               size_t count, CUdeviceptr address)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEM_FREE, .free.dptr = address};
    return add(node, graph, dependencies, NULL, count, &parameters);
}

/* ---- setting ---- */

/* What a node that the host has set anew means for what is known here. */
static void settle_set(struct vgpu_node *node, const CUgraphNodeParams *parameters,
                       const struct vgpu_graph_needs *needs, const struct vgpu_shadow_set *lost)
{
    vgpu_graph_loses(node->graph, lost);
    vgpu_graph_gains(node->graph, needs);
    if (parameters->type == CU_GRAPH_NODE_TYPE_HOST)
        vgpu_upcall_hurry(); /* what it called before may be gone */
    if (parameters->type == CU_GRAPH_NODE_TYPE_GRAPH)
        vgpu_graph_gains(node->graph, &vgpu_graph_find(parameters->graph.graph)->needs);
    /* What was answered before is no longer so. */
    free(node->kept);
    node->kept = NULL;
}

CUresult cuGraphNodeSetParams(CUgraphNode handle, CUgraphNodeParams *parameters)
{
    struct vgpu_node_message message;
    struct vgpu_graph_needs needs = {0};
    struct vgpu_shadow_set lost = {0};
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct vgpu_node *node = vgpu_node_find(handle);
    if (node == NULL || parameters == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (parameters->type == CU_GRAPH_NODE_TYPE_MEMCPY && node->graph->needs.shadows.count &&
        vgpu_node_fetch(handle, &node, &message) == CUDA_SUCCESS)
        vgpu_node_shadows(node, &message, &lost);
    error = vgpu_node_encode(&caller, parameters, &needs.shadows, &message);
    if (error == CUDA_SUCCESS) {
        error = vgpu_send_vgpuGraphNodeSet(caller.channel, caller.context, node->object.id,
                                           &message, vgpu_node_bytes(&message));
        if (error)
            vgpu_node_forget(&message);
        else
            settle_set(node, parameters, &needs, &lost);
        vgpu_process_note(vgpu_process(), error);
    }
    vgpu_shadow_set_clear(&needs.shadows);
    vgpu_shadow_set_clear(&lost);
    return error;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2 *kernel)
{
    CUgraphNodeParams parameters;
    if (kernel == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_kernel_parameters(kernel, &parameters);
    return cuGraphNodeSetParams(node, &parameters);
}

CUresult cuGraphKernelNodeSetParams(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1 *kernel)
{
    CUDA_KERNEL_NODE_PARAMS_v2 newer;
    if (kernel == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_kernel_newer(kernel, &newer);
    return cuGraphKernelNodeSetParams_v2(node, &newer);
}

CUresult cuGraphMemcpyNodeSetParams(CUgraphNode node, const CUDA_MEMCPY3D *copy)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEMCPY};
    if (copy == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    parameters.memcpy.copyParams = *copy;
    return cuGraphNodeSetParams(node, &parameters);
}

CUresult cuGraphMemsetNodeSetParams(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS *fill)
{
    CUgraphNodeParams parameters;
    if (fill == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_memset_parameters(fill, NULL, &parameters);
    return cuGraphNodeSetParams(node, &parameters);
}

CUresult cuGraphHostNodeSetParams(CUgraphNode node, const CUDA_HOST_NODE_PARAMS *host)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_HOST};
    if (host == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    parameters.host = (CUDA_HOST_NODE_PARAMS_v2){host->fn, host->userData};
    return cuGraphNodeSetParams(node, &parameters);
}

CUresult cuGraphEventRecordNodeSetEvent(CUgraphNode node, CUevent event)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD,
                                    .eventRecord.event = event};
    return cuGraphNodeSetParams(node, &parameters);
}

CUresult cuGraphEventWaitNodeSetEvent(CUgraphNode node, CUevent event)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT,
                                    .eventWait.event = event};
    return cuGraphNodeSetParams(node, &parameters);
}

CUresult cuGraphBatchMemOpNodeSetParams(CUgraphNode node,
                                        const CUDA_BATCH_MEM_OP_NODE_PARAMS *operations)
{
    CUgraphNodeParams parameters;
    if (operations == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_operations_parameters(operations, &parameters);
    return cuGraphNodeSetParams(node, &parameters);
}
