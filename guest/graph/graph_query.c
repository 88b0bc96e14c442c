/* SPDX-License-Identifier: MIT */
/* What the parameters of nodes are: the host is asked, who may have changed what the driver made.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/code/code.h"
#include "guest/code/launch.h"
#include "guest/graph/graph.h"
#include "guest/process/process.h"
#include "guest/stream/upcall.h"
#include "protocol/send.h"

/* Page by page. */
CUresult vgpu_node_fetch(CUgraphNode handle, struct vgpu_node **node,
                         struct vgpu_node_message *message)
{
    struct vgpu_caller caller;
    uint32_t total = 0, got = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    *node = vgpu_node_find(handle);
    if (*node == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    do {
        size_t bytes = 0;
        error =
            vgpu_send_vgpuGraphNodeGet(caller.channel, caller.context, &total, (*node)->object.id,
                                       got, (char *)message + got, sizeof(*message) - got, &bytes);
        got += (uint32_t)bytes;
        if (error == CUDA_SUCCESS && bytes == 0)
            error = CUDA_ERROR_UNKNOWN;
    } while (error == CUDA_SUCCESS && got < total);
    if (error)
        return vgpu_process_note(vgpu_process(), error);
    return vgpu_node_bytes(message) == got ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

/* The parameters of a node of this type. */
static CUresult fetch(CUgraphNode handle, CUgraphNodeType type, const void *out,
                      struct vgpu_node **node, struct vgpu_node_message *message)
{
    CUresult error = out ? vgpu_node_fetch(handle, node, message) : CUDA_ERROR_INVALID_VALUE;
    if (error == CUDA_SUCCESS && message->node.type != (uint32_t)type)
        error = CUDA_ERROR_INVALID_VALUE;
    return error;
}

void vgpu_node_shadows(const struct vgpu_node *node, const struct vgpu_node_message *message,
                       struct vgpu_shadow_set *some)
{
    const struct vgpu_shadow_set *all = &node->graph->needs.shadows;
    const struct vgpu_wire_copy *copy = &message->node.copy;
    if (message->node.type != CU_GRAPH_NODE_TYPE_MEMCPY)
        return;
    if (copy->source.type != CU_MEMORYTYPE_ARRAY)
        vgpu_shadow_set_pick(some, all, copy->source.address);
    if (copy->destination.type != CU_MEMORYTYPE_ARRAY)
        vgpu_shadow_set_pick(some, all, copy->destination.address);
}

/* Memory that lasts as long as the node, for what an answer points to. It is the same each time. */
static void *keep(struct vgpu_node *node, size_t bytes)
{
    if (node->kept == NULL)
        node->kept = malloc(bytes ? bytes : 1);
    return node->kept;
}

static void *handle_of(uint32_t id, enum vgpu_kind kind)
{
    void *object = vgpu_object_with_id(&vgpu_process()->objects, id, kind);
    return object ? vgpu_object_handle(object) : NULL;
}

/* ---- kernels ---- */

/* Pointers to the parameters, and behind them the block that they point into. */
static CUresult keep_parameters(struct vgpu_node *node, const struct vgpu_function_info *info,
                                const struct vgpu_node_message *message, void ***pointers)
{
    size_t table = info->parameter_count * sizeof(void *);
    size_t start = (table + 15) / 16 * 16;
    *pointers = keep(node, start + message->node.tail_bytes);
    if (*pointers == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    char *block = (char *)*pointers + start;
    memcpy(block, message->tail, message->node.tail_bytes);
    for (uint32_t i = 0; i < info->parameter_count; i++)
        (*pointers)[i] = block + info->parameter[i].offset;
    return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS_v2 *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    CUresult error = fetch(handle, CU_GRAPH_NODE_TYPE_KERNEL, out, &node, &message);
    if (error)
        return error;
    const struct vgpu_wire_kernel *wire = &message.node.kernel;
    const struct vgpu_function *function =
        vgpu_object_with_id(&vgpu_process()->objects, wire->function, VGPU_KIND_LAUNCHABLE);
    if (function == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    *out = (CUDA_KERNEL_NODE_PARAMS_v2){.gridDimX = wire->grid[0],
                                        .gridDimY = wire->grid[1],
                                        .gridDimZ = wire->grid[2],
                                        .blockDimX = wire->block[0],
                                        .blockDimY = wire->block[1],
                                        .blockDimZ = wire->block[2],
                                        .sharedMemBytes = wire->shared_bytes};
    if (function->object.tag == VGPU_KIND_KERNEL)
        out->kern = vgpu_object_handle(function);
    else
        out->func = vgpu_object_handle(function);
    out->ctx = handle_of(wire->context, VGPU_KIND_CONTEXT);
    return keep_parameters(node, function->info, &message, &out->kernelParams);
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode handle, CUDA_KERNEL_NODE_PARAMS_v1 *out)
{
    CUDA_KERNEL_NODE_PARAMS_v2 newer;
    if (out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult error = cuGraphKernelNodeGetParams_v2(handle, &newer);
    if (error)
        return error;
    *out = (CUDA_KERNEL_NODE_PARAMS_v1){
        /* Programs may use a kernel for a function. */
        .func = newer.func ? newer.func : (CUfunction)newer.kern,
        .gridDimX = newer.gridDimX,
        .gridDimY = newer.gridDimY,
        .gridDimZ = newer.gridDimZ,
        .blockDimX = newer.blockDimX,
        .blockDimY = newer.blockDimY,
        .blockDimZ = newer.blockDimZ,
        .sharedMemBytes = newer.sharedMemBytes,
        .kernelParams = newer.kernelParams,
    };
    return CUDA_SUCCESS;
}

/* ---- memory ---- */

/* The program's own memory in the place of its shadow, whatever the driver calls that. */
static void name_originals(const struct vgpu_graph *graph, const struct vgpu_wire_place *from,
                           const struct vgpu_wire_place *to, CUDA_MEMCPY3D *out)
{
    struct vgpu_shadow_shape shape;
    if (from->type != CU_MEMORYTYPE_ARRAY &&
        vgpu_shadow_look_up(&graph->needs.shadows, from->address, &shape)) {
        out->srcMemoryType = CU_MEMORYTYPE_HOST;
        out->srcHost = shape.host;
        out->srcPitch = shape.pitch;
        out->srcHeight = shape.pitch ? shape.plane / shape.pitch : 0;
    }
    if (to->type != CU_MEMORYTYPE_ARRAY &&
        vgpu_shadow_look_up(&graph->needs.shadows, to->address, &shape)) {
        out->dstMemoryType = CU_MEMORYTYPE_HOST;
        out->dstHost = shape.host;
        out->dstPitch = shape.pitch;
        out->dstHeight = shape.pitch ? shape.plane / shape.pitch : 0;
    }
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode handle, CUDA_MEMCPY3D *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    CUresult error = fetch(handle, CU_GRAPH_NODE_TYPE_MEMCPY, out, &node, &message);
    if (error)
        return error;
    const struct vgpu_wire_place *from = &message.node.copy.source;
    const struct vgpu_wire_place *to = &message.node.copy.destination;
    *out = (CUDA_MEMCPY3D){.srcXInBytes = from->x,
                           .srcY = from->y,
                           .srcZ = from->z,
                           .srcLOD = from->lod,
                           .srcMemoryType = (CUmemorytype)from->type,
                           .srcPitch = from->pitch,
                           .srcHeight = from->height,
                           .dstXInBytes = to->x,
                           .dstY = to->y,
                           .dstZ = to->z,
                           .dstLOD = to->lod,
                           .dstMemoryType = (CUmemorytype)to->type,
                           .dstPitch = to->pitch,
                           .dstHeight = to->height,
                           .WidthInBytes = message.node.copy.width,
                           .Height = message.node.copy.height,
                           .Depth = message.node.copy.depth};
    if (from->type == CU_MEMORYTYPE_HOST)
        out->srcHost = (const void *)(uintptr_t)from->address;
    else if (from->type == CU_MEMORYTYPE_ARRAY)
        out->srcArray = handle_of(from->array, VGPU_KIND_ARRAY);
    else
        out->srcDevice = from->address;
    if (to->type == CU_MEMORYTYPE_HOST)
        out->dstHost = (void *)(uintptr_t)to->address;
    else if (to->type == CU_MEMORYTYPE_ARRAY)
        out->dstArray = handle_of(to->array, VGPU_KIND_ARRAY);
    else
        out->dstDevice = to->address;
    name_originals(node->graph, from, to, out);
    return CUDA_SUCCESS;
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode handle, CUDA_MEMSET_NODE_PARAMS *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    CUresult error = fetch(handle, CU_GRAPH_NODE_TYPE_MEMSET, out, &node, &message);
    if (error)
        return error;
    const struct vgpu_wire_memset *wire = &message.node.memset;
    *out = (CUDA_MEMSET_NODE_PARAMS){.dst = wire->address,
                                     .pitch = wire->pitch,
                                     .value = wire->value,
                                     .elementSize = wire->element,
                                     .width = wire->width,
                                     .height = wire->height};
    return CUDA_SUCCESS;
}

CUresult cuGraphMemAllocNodeGetParams(CUgraphNode handle, CUDA_MEM_ALLOC_NODE_PARAMS *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    CUresult error = fetch(handle, CU_GRAPH_NODE_TYPE_MEM_ALLOC, out, &node, &message);
    if (error)
        return error;
    CUmemAccessDesc *descriptions = keep(node, message.node.tail_bytes);
    if (descriptions == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(descriptions, message.tail, message.node.tail_bytes);
    *out = (CUDA_MEM_ALLOC_NODE_PARAMS){
        .poolProps = message.node.alloc.pool,
        .accessDescs = message.node.tail_bytes ? descriptions : NULL,
        .accessDescCount = message.node.tail_bytes / sizeof(*descriptions),
        .bytesize = message.node.alloc.bytes,
        .dptr = message.node.alloc.address};
    return CUDA_SUCCESS;
}

CUresult cuGraphMemFreeNodeGetParams(CUgraphNode handle, CUdeviceptr *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    CUresult error = fetch(handle, CU_GRAPH_NODE_TYPE_MEM_FREE, out, &node, &message);
    if (error == CUDA_SUCCESS)
        *out = message.node.free.address;
    return error;
}

CUresult cuGraphBatchMemOpNodeGetParams(CUgraphNode handle, CUDA_BATCH_MEM_OP_NODE_PARAMS *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    CUresult error = fetch(handle, CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, out, &node, &message);
    if (error)
        return error;
    CUstreamBatchMemOpParams *operations = keep(node, message.node.tail_bytes);
    if (operations == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(operations, message.tail, message.node.tail_bytes);
    *out = (CUDA_BATCH_MEM_OP_NODE_PARAMS){
        .ctx = handle_of(message.node.operations.context, VGPU_KIND_CONTEXT),
        .count = message.node.tail_bytes / (unsigned int)sizeof(*operations),
        .paramArray = operations,
        .flags = message.node.operations.flags};
    return CUDA_SUCCESS;
}

/* ---- host functions and events ---- */

CUresult cuGraphHostNodeGetParams(CUgraphNode handle, CUDA_HOST_NODE_PARAMS *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    struct vgpu_upcall upcall;
    CUresult error = fetch(handle, CU_GRAPH_NODE_TYPE_HOST, out, &node, &message);
    if (error)
        return error;
    if (!vgpu_upcall_look_up(message.node.host.upcall, &upcall))
        return CUDA_ERROR_INVALID_VALUE;
    *out = (CUDA_HOST_NODE_PARAMS){upcall.host, upcall.data};
    return CUDA_SUCCESS;
}

static CUresult get_event(CUgraphNode handle, CUgraphNodeType type, CUevent *out)
{
    struct vgpu_node_message message;
    struct vgpu_node *node;
    CUresult error = fetch(handle, type, out, &node, &message);
    if (error == CUDA_SUCCESS)
        *out = handle_of(message.node.event.event, VGPU_KIND_EVENT);
    return error;
}

CUresult cuGraphEventRecordNodeGetEvent(CUgraphNode node, CUevent *event)
{
    return get_event(node, CU_GRAPH_NODE_TYPE_EVENT_RECORD, event);
}

CUresult cuGraphEventWaitNodeGetEvent(CUgraphNode node, CUevent *event)
{
    return get_event(node, CU_GRAPH_NODE_TYPE_WAIT_EVENT, event);
}

/* ---- attributes of kernel nodes ---- */

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                                       CUkernelNodeAttrValue *value)
{
    struct vgpu_caller caller;
    size_t bytes = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    const struct vgpu_node *node = vgpu_node_find(handle);
    if (node == NULL || value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    CUkernelNodeAttrValue answer;
    error = vgpu_send_vgpuKernelNodeGetAttribute(caller.channel, caller.context, node->object.id,
                                                 attribute, &answer, sizeof(answer), &bytes);
    if (error == CUDA_SUCCESS && bytes == sizeof(answer))
        *value = answer;
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuGraphKernelNodeSetAttribute(CUgraphNode handle, CUkernelNodeAttrID attribute,
                                       const CUkernelNodeAttrValue *value)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    const struct vgpu_node *node = vgpu_node_find(handle);
    if (node == NULL || value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_graph_changed(node->graph);
    return vgpu_process_note(vgpu_process(), vgpu_send_vgpuKernelNodeSetAttribute(
                                                 caller.channel, caller.context, node->object.id,
                                                 attribute, value, sizeof(*value)));
}

CUresult cuGraphKernelNodeCopyAttributes(CUgraphNode to_handle, CUgraphNode from_handle)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    const struct vgpu_node *to = vgpu_node_find(to_handle), *from = vgpu_node_find(from_handle);
    if (to == NULL || from == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_graph_changed(to->graph);
    return vgpu_process_note(
        vgpu_process(), vgpu_send_cuGraphKernelNodeCopyAttributes(caller.channel, caller.context,
                                                                  to->object.id, from->object.id));
}
