/* SPDX-License-Identifier: MIT */
/* Nodes of executable graphs: whether they run, and with what. */
#include <string.h>

#include "guest/graph/graph.h"
#include "guest/process/process.h"
#include "protocol/send.h"

static CUresult find_both(struct vgpu_caller *caller, CUgraphExec exec_handle,
                          CUgraphNode node_handle, struct vgpu_graph_exec **exec,
                          struct vgpu_node **node)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    *exec = vgpu_graph_exec_find(exec_handle);
    *node = vgpu_node_find(node_handle);
    return *exec && *node ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphNodeSetEnabled(CUgraphExec exec_handle, CUgraphNode node_handle,
                               unsigned int enabled)
{
    struct vgpu_caller caller;
    struct vgpu_graph_exec *exec;
    struct vgpu_node *node;
    CUresult error = find_both(&caller, exec_handle, node_handle, &exec, &node);
    if (error)
        return error;
    exec->needs.partial |= !enabled;
    return vgpu_process_note(
        vgpu_process(), vgpu_send_cuGraphNodeSetEnabled(caller.channel, caller.context,
                                                        exec->object.id, node->object.id, enabled));
}

CUresult cuGraphNodeGetEnabled(CUgraphExec exec_handle, CUgraphNode node_handle,
                               unsigned int *enabled)
{
    struct vgpu_caller caller;
    struct vgpu_graph_exec *exec;
    struct vgpu_node *node;
    CUresult error = find_both(&caller, exec_handle, node_handle, &exec, &node);
    if (error)
        return error;
    if (enabled == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_process_note(
        vgpu_process(), vgpu_send_cuGraphNodeGetEnabled(caller.channel, caller.context,
                                                        exec->object.id, node->object.id, enabled));
}

/* Memory of the device that is the caller's context's, or no context's. */
static bool is_ours(const struct vgpu_caller *caller, CUdeviceptr address, uint64_t bytes)
{
    struct vgpu_range range;
    return vgpu_ranges_find(&vgpu_process()->ranges, address, &range) &&
           !vgpu_range_is_host(&range) &&
           (range.context == NULL || range.context == caller->current) &&
           bytes <= range.bytes - (address - range.start);
}

static bool is_linear(const struct vgpu_caller *caller, const struct vgpu_wire_place *place,
                      uint64_t bytes)
{
    return place->type == CU_MEMORYTYPE_DEVICE && place->x == 0 && place->y == 0 && place->z == 0 &&
           is_ours(caller, place->address, bytes);
}

/* Programs that update a graph before each launch change only what its kernels are given, what
 * is copied and filled, and which of a few graphs is in a child node. False: the driver has to
 * judge each time. */
static bool shape_of(const struct vgpu_caller *caller, const struct vgpu_wire_node *wire,
                     struct vgpu_wire_node *shape)
{
    uint64_t bytes;
    memset(shape, 0, sizeof(*shape));
    shape->type = wire->type;
    switch (wire->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        shape->kernel = wire->kernel;
        return true;
    case CU_GRAPH_NODE_TYPE_MEMSET:
        shape->memset = wire->memset;
        shape->memset.address = 0;
        return wire->memset.height == 1 && wire->memset.element &&
               wire->memset.address % wire->memset.element == 0 &&
               !__builtin_mul_overflow(wire->memset.width, wire->memset.element, &bytes) &&
               is_ours(caller, wire->memset.address, bytes);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        shape->copy = wire->copy;
        shape->copy.source.address = shape->copy.destination.address = 0;
        return wire->copy.height == 1 && wire->copy.depth == 1 &&
               is_linear(caller, &wire->copy.source, wire->copy.width) &&
               is_linear(caller, &wire->copy.destination, wire->copy.width);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return true;
    default:
        return false;
    }
}

/* Of two shapes, which were zero, padding included, before they were filled in. */
static bool is_same(const void *shape, const void *other)
{
    return memcmp(shape, other, sizeof(struct vgpu_wire_node)) == 0;
}

static bool was_taken(const struct vgpu_graph_exec *exec, const struct vgpu_node *node,
                      const struct vgpu_wire_node *shape, const struct vgpu_graph *child)
{
    return node->taken.exec == exec->serial && is_same(&node->taken.shape, shape) &&
           (child == NULL ||
            (child->taken.exec == exec->serial && child->taken.node == node->object.id));
}

/* What the driver has taken. */
static void note_taken(struct vgpu_graph_exec *exec, struct vgpu_node *node,
                       const struct vgpu_wire_node *shape, struct vgpu_graph *child)
{
    node->taken.exec = exec->serial;
    memcpy(&node->taken.shape, shape, sizeof(*shape));
    if (child == NULL)
        return;
    child->taken.exec = exec->serial;
    child->taken.node = node->object.id;
}

/* `child`: NULL, or the graph that a child node is given. */
static CUresult send_to_exec(const struct vgpu_caller *caller, struct vgpu_graph_exec *exec,
                             struct vgpu_node *node, const struct vgpu_node_message *message,
                             struct vgpu_graph *child)
{
    size_t bytes = vgpu_node_bytes(message);
    struct vgpu_wire_node shape;
    bool foreseen = shape_of(caller, &message->node, &shape);
    if (foreseen && was_taken(exec, node, &shape, child))
        return vgpu_send_vgpuGraphExecNodeSetAgain(
            caller->channel, caller->context, exec->object.id, node->object.id, message, bytes);
    CUresult error = vgpu_send_vgpuGraphExecNodeSet(
        caller->channel, caller->context, exec->object.id, node->object.id, message, bytes);
    if (error == CUDA_SUCCESS && foreseen)
        note_taken(exec, node, &shape, child);
    return vgpu_process_note(vgpu_process(), error);
}

/* What the driver has taken, or will take, means for what is known here. */
static CUresult settle_set(struct vgpu_graph_exec *exec, const struct vgpu_node *node,
                           const struct vgpu_graph *child, const struct vgpu_node_message *message,
                           const struct vgpu_shadow_set *shadows)
{
    CUgraphNodeType type = (CUgraphNodeType)message->node.type;
    if (type == CU_GRAPH_NODE_TYPE_HOST)
        return vgpu_exec_call(exec, node, message->node.host.upcall);
    if (child) {
        exec->needs.hosts |= child->needs.hosts;
        exec->needs.partial |= child->needs.partial;
        shadows = &child->needs.shadows;
    } else if (type != CU_GRAPH_NODE_TYPE_MEMCPY) {
        return CUDA_SUCCESS;
    }
    return vgpu_exec_place(exec, node, type, shadows) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphExecNodeSetParams(CUgraphExec exec_handle, CUgraphNode node_handle,
                                  CUgraphNodeParams *parameters)
{
    struct vgpu_node_message message;
    struct vgpu_shadow_set shadows = {0};
    struct vgpu_graph *child = NULL;
    struct vgpu_caller caller;
    struct vgpu_graph_exec *exec;
    struct vgpu_node *node;
    CUresult error = find_both(&caller, exec_handle, node_handle, &exec, &node);
    if (error)
        return error;
    if (parameters == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_node_encode(&caller, parameters, &shadows, &message);
    if (error == CUDA_SUCCESS && parameters->type == CU_GRAPH_NODE_TYPE_GRAPH)
        child = vgpu_graph_find(parameters->graph.graph);
    if (error == CUDA_SUCCESS) {
        error = send_to_exec(&caller, exec, node, &message, child);
        if (error)
            vgpu_node_forget(&message);
        else
            error = settle_set(exec, node, child, &message, &shadows);
    }
    vgpu_shadow_set_clear(&shadows);
    return error;
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS_v2 *kernel)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_KERNEL};
    if (kernel == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_kernel_parameters(kernel, &parameters);
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_KERNEL_NODE_PARAMS_v1 *kernel)
{
    CUDA_KERNEL_NODE_PARAMS_v2 newer;
    if (kernel == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_kernel_newer(kernel, &newer);
    return cuGraphExecKernelNodeSetParams_v2(exec, node, &newer);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMCPY3D *copy, CUcontext context)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEMCPY};
    if (copy == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    parameters.memcpy.copyCtx = context;
    parameters.memcpy.copyParams = *copy;
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMSET_NODE_PARAMS *fill, CUcontext context)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEMSET};
    if (fill == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_memset_parameters(fill, context, &parameters);
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}

CUresult cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                      const CUDA_HOST_NODE_PARAMS *host)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_HOST};
    if (host == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    parameters.host = (CUDA_HOST_NODE_PARAMS_v2){host->fn, host->userData};
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}

CUresult cuGraphExecChildGraphNodeSetParams(CUgraphExec exec, CUgraphNode node, CUgraph graph)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_GRAPH, .graph.graph = graph};
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}

CUresult cuGraphExecEventRecordNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD,
                                    .eventRecord.event = event};
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}

CUresult cuGraphExecEventWaitNodeSetEvent(CUgraphExec exec, CUgraphNode node, CUevent event)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT,
                                    .eventWait.event = event};
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}

CUresult cuGraphExecBatchMemOpNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                            const CUDA_BATCH_MEM_OP_NODE_PARAMS *operations)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP};
    if (operations == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_operations_parameters(operations, &parameters);
    return cuGraphExecNodeSetParams(exec, node, &parameters);
}
