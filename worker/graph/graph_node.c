/* SPDX-License-Identifier: MIT */
/* From the wire to the driver. */
#include "worker/graph/graph_node.h"

#include <string.h>

#include "worker/context.h"
#include "worker/stream/upcall.h"
#include "worker/worker.h"

/* A context that is named, or the current one. */
static CUresult find_context(struct vgpu_worker *worker, uint32_t id, CUcontext *context)
{
    if (id)
        return vgpu_handles_find(worker, VGPU_KIND_CONTEXT, id, (void **)context);
    *context = worker->current->object;
    return CUDA_SUCCESS;
}

static CUresult decode_kernel(struct vgpu_worker *worker, struct vgpu_node_message *message,
                              struct vgpu_node_parameters *out)
{
    const struct vgpu_wire_kernel *wire = &message->node.kernel;
    CUDA_KERNEL_NODE_PARAMS_v3 *kernel = &out->parameters.kernel;
    void *object;
    CUresult error = vgpu_handles_find(worker, VGPU_KIND_LAUNCHABLE, wire->function, &object);
    if (error)
        return error;
    const struct vgpu_handle *handle = &worker->handles.table[wire->function];
    /* The driver would read past the end of a shorter block. */
    if (message->node.tail_bytes != handle->parameter_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (handle->kind == VGPU_KIND_KERNEL) {
        kernel->kern = object;
        error = find_context(worker, wire->context, &kernel->ctx);
    } else {
        kernel->func = object;
    }
    kernel->gridDimX = wire->grid[0];
    kernel->gridDimY = wire->grid[1];
    kernel->gridDimZ = wire->grid[2];
    kernel->blockDimX = wire->block[0];
    kernel->blockDimY = wire->block[1];
    kernel->blockDimZ = wire->block[2];
    kernel->sharedMemBytes = wire->shared_bytes;
    out->kernel_bytes = message->node.tail_bytes;
    out->extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
    out->extra[1] = message->tail;
    out->extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
    out->extra[3] = &out->kernel_bytes;
    out->extra[4] = CU_LAUNCH_PARAM_END;
    kernel->extra = out->kernel_bytes ? out->extra : NULL;
    return error;
}

/* How far from its start a place is touched. False if that overflows. */
static bool reach(const struct vgpu_wire_place *place, const struct vgpu_wire_copy *copy,
                  uint64_t *bytes)
{
    uint64_t plane, rows, planes;
    return copy->height && copy->depth &&
           !__builtin_add_overflow(place->y, copy->height - 1, &rows) &&
           !__builtin_mul_overflow(rows, place->pitch, &rows) &&
           !__builtin_mul_overflow(place->height, place->pitch, &plane) &&
           !__builtin_add_overflow(place->z, copy->depth - 1, &planes) &&
           !__builtin_mul_overflow(planes, plane, &planes) &&
           !__builtin_add_overflow(rows, planes, bytes) &&
           !__builtin_add_overflow(*bytes, place->x, bytes) &&
           !__builtin_add_overflow(*bytes, copy->width, bytes);
}

/* Memory of the host must be the guest's. The array is NULL where there is none. */
static CUresult check_place(struct vgpu_worker *worker, const struct vgpu_wire_place *place,
                            const struct vgpu_wire_copy *copy, CUarray *array)
{
    uint64_t bytes;
    *array = NULL;
    switch (place->type) {
    case CU_MEMORYTYPE_DEVICE:
        return CUDA_SUCCESS;
    case CU_MEMORYTYPE_ARRAY:
        return vgpu_handles_find(worker, VGPU_KIND_ARRAY, place->array, (void **)array);
    case CU_MEMORYTYPE_HOST:
        if (!reach(place, copy, &bytes) || !vgpu_mappings_hold(worker, place->address, bytes))
            return CUDA_ERROR_INVALID_VALUE;
        worker->mappings.in_graphs = true;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult decode_copy(struct vgpu_worker *worker, const struct vgpu_node_message *message,
                            struct vgpu_node_parameters *out)
{
    const struct vgpu_wire_copy *wire = &message->node.copy;
    const struct vgpu_wire_place *from = &wire->source, *to = &wire->destination;
    CUDA_MEMCPY_NODE_PARAMS *copy = &out->parameters.memcpy;
    CUarray from_array, to_array;
    CUresult error = check_place(worker, from, wire, &from_array);
    if (error == CUDA_SUCCESS)
        error = check_place(worker, to, wire, &to_array);
    if (error)
        return error;
    copy->copyParams = (CUDA_MEMCPY3D){
        .srcXInBytes = from->x,
        .srcY = from->y,
        .srcZ = from->z,
        .srcLOD = from->lod,
        .srcMemoryType = (CUmemorytype)from->type,
        .srcHost = (const void *)(uintptr_t)from->address,
        .srcDevice = from->address,
        .srcArray = from_array,
        .srcPitch = from->pitch,
        .srcHeight = from->height,
        .dstXInBytes = to->x,
        .dstY = to->y,
        .dstZ = to->z,
        .dstLOD = to->lod,
        .dstMemoryType = (CUmemorytype)to->type,
        .dstHost = (void *)(uintptr_t)to->address,
        .dstDevice = to->address,
        .dstArray = to_array,
        .dstPitch = to->pitch,
        .dstHeight = to->height,
        .WidthInBytes = wire->width,
        .Height = wire->height,
        .Depth = wire->depth,
    };
    return find_context(worker, wire->context, &copy->copyCtx);
}

static CUresult decode_memset(struct vgpu_worker *worker, const struct vgpu_node_message *message,
                              struct vgpu_node_parameters *out)
{
    const struct vgpu_wire_memset *wire = &message->node.memset;
    out->parameters.memset = (CUDA_MEMSET_NODE_PARAMS_v2){
        .dst = wire->address,
        .pitch = wire->pitch,
        .value = wire->value,
        .elementSize = wire->element,
        .width = wire->width,
        .height = wire->height,
    };
    return find_context(worker, wire->context, &out->parameters.memset.ctx);
}

static CUresult decode_host(struct vgpu_worker *worker, const struct vgpu_node_message *message,
                            struct vgpu_node_parameters *out)
{
    void *data = vgpu_upcall_data(worker, message->node.host.upcall);
    out->parameters.host = (CUDA_HOST_NODE_PARAMS_v2){.fn = vgpu_upcall_run, .userData = data};
    return data ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult decode_child(struct vgpu_worker *worker, const struct vgpu_node_message *message,
                             struct vgpu_node_parameters *out)
{
    const struct vgpu_wire_child *wire = &message->node.child;
    CUDA_CHILD_GRAPH_NODE_PARAMS *child = &out->parameters.graph;
    child->ownership = (CUgraphChildGraphNodeOwnership)wire->ownership;
    CUresult error =
        vgpu_handles_find(worker, VGPU_KIND_GRAPH, wire->graph, (void **)&child->graph);
    /* A graph that a node has already is not to be given away again. */
    if (error == CUDA_SUCCESS && wire->ownership == CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE &&
        worker->handles.table[wire->graph].owner)
        error = CUDA_ERROR_NOT_SUPPORTED;
    return error;
}

static CUresult decode_event(struct vgpu_worker *worker, const struct vgpu_node_message *message,
                             struct vgpu_node_parameters *out)
{
    /* The two kinds of node have the same parameters, in the same place. */
    return vgpu_handles_find(worker, VGPU_KIND_EVENT, message->node.event.event,
                             (void **)&out->parameters.eventRecord.event);
}

static CUresult decode_alloc(const struct vgpu_node_message *message,
                             struct vgpu_node_parameters *out)
{
    CUDA_MEM_ALLOC_NODE_PARAMS_v2 *alloc = &out->parameters.alloc;
    size_t count = message->node.tail_bytes / sizeof(CUmemAccessDesc);
    if (message->node.tail_bytes % sizeof(CUmemAccessDesc) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    alloc->poolProps = message->node.alloc.pool;
    alloc->poolProps.win32SecurityAttributes = NULL;
    alloc->bytesize = message->node.alloc.bytes;
    alloc->accessDescCount = count;
    alloc->accessDescs = count ? (const CUmemAccessDesc *)(const void *)message->tail : NULL;
    return CUDA_SUCCESS;
}

static CUresult decode_operations(struct vgpu_worker *worker, struct vgpu_node_message *message,
                                  struct vgpu_node_parameters *out)
{
    CUDA_BATCH_MEM_OP_NODE_PARAMS_v2 *operations = &out->parameters.memOp;
    uint32_t bytes = message->node.tail_bytes;
    if (bytes % sizeof(CUstreamBatchMemOpParams) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    operations->count = (unsigned int)(bytes / sizeof(CUstreamBatchMemOpParams));
    operations->paramArray = (CUstreamBatchMemOpParams *)(void *)message->tail;
    operations->flags = message->node.operations.flags;
    return find_context(worker, message->node.operations.context, &operations->ctx);
}

static CUresult decode_conditional(struct vgpu_worker *worker,
                                   const struct vgpu_node_message *message,
                                   struct vgpu_node_parameters *out)
{
    const struct vgpu_wire_conditional *wire = &message->node.conditional;
    CUDA_CONDITIONAL_NODE_PARAMS *conditional = &out->parameters.conditional;
    uint32_t count = message->node.tail_bytes / (uint32_t)sizeof(uint32_t);
    if (count == 0 || count > VGPU_BODIES_MAX || message->node.tail_bytes % sizeof(uint32_t) != 0)
        return CUDA_ERROR_INVALID_VALUE;
    conditional->handle = wire->handle;
    conditional->type = (CUgraphConditionalNodeType)wire->type;
    conditional->size = count;
    return find_context(worker, wire->context, &conditional->ctx);
}

CUresult vgpu_node_decode(struct vgpu_worker *worker, struct vgpu_node_message *message,
                          uint32_t bytes, struct vgpu_node_parameters *out)
{
    *out = (struct vgpu_node_parameters){0};
    if (bytes < sizeof(message->node) || bytes > sizeof(*message) ||
        message->node.tail_bytes != bytes - sizeof(message->node))
        return vgpu_worker_blame(worker, "a node of another length than it says");
    out->parameters.type = (CUgraphNodeType)message->node.type;
    switch (out->parameters.type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        return decode_kernel(worker, message, out);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return decode_copy(worker, message, out);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return decode_memset(worker, message, out);
    case CU_GRAPH_NODE_TYPE_HOST:
        return decode_host(worker, message, out);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return decode_child(worker, message, out);
    case CU_GRAPH_NODE_TYPE_EMPTY:
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return decode_event(worker, message, out);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        return decode_alloc(message, out);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        out->parameters.free.dptr = message->node.free.address;
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        return decode_operations(worker, message, out);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return decode_conditional(worker, message, out);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}
