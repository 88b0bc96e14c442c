/* SPDX-License-Identifier: MIT */
/* From the driver to the wire. */
#include <string.h>

#include "worker/graph/graph_node.h"
#include "worker/stream/upcall.h"
#include "worker/worker.h"

/* The id of one of the guest's contexts, or 0. */
static uint32_t context_id(const struct vgpu_worker *worker, CUcontext context)
{
    return context ? vgpu_handles_id(worker, VGPU_KIND_CONTEXT, context) : 0;
}

/* The function or kernel that a node runs: drivers tell of a kernel as such, or as its function. */
static uint32_t function_id(const struct vgpu_worker *worker, const CUDA_KERNEL_NODE_PARAMS *kernel)
{
    const struct vgpu_handles *handles = &worker->handles;
    if (kernel->func == NULL)
        return vgpu_handles_id(worker, VGPU_KIND_KERNEL, kernel->kern);
    uint32_t known = vgpu_handles_id(worker, VGPU_KIND_LAUNCHABLE, kernel->func);
    for (uint32_t id = VGPU_HANDLE_FIRST; known == 0 && id < handles->end; id++) {
        CUfunction function;
        if (handles->table[id].kind == VGPU_KIND_KERNEL &&
            worker->driver->cuKernelGetFunction(&function, handles->table[id].object) ==
                CUDA_SUCCESS &&
            function == kernel->func)
            known = id;
    }
    return known;
}

/* Packs what the driver points to, one by one, as the parameters lie in a launch. */
static CUresult pack_each(const struct vgpu_worker *worker, const struct vgpu_handle *function,
                          void **values, uint8_t *block)
{
    const struct vgpu_driver *driver = worker->driver;
    for (size_t i = 0;; i++) {
        size_t offset, size, end;
        CUresult error = function->kind == VGPU_KIND_KERNEL
                             ? driver->cuKernelGetParamInfo(function->object, i, &offset, &size)
                             : driver->cuFuncGetParamInfo(function->object, i, &offset, &size);
        if (error) /* there is no such parameter */
            return error == CUDA_ERROR_INVALID_VALUE ? CUDA_SUCCESS : error;
        if (__builtin_add_overflow(offset, size, &end) || end > function->parameter_bytes ||
            values[i] == NULL)
            return CUDA_ERROR_INVALID_VALUE;
        memcpy(block + offset, values[i], size);
    }
}

static void pack_buffer(void **extra, uint8_t *block, size_t room)
{
    const void *buffer = NULL;
    size_t bytes = 0;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            buffer = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE)
            bytes = *(const size_t *)extra[1];
    }
    if (buffer)
        memcpy(block, buffer, bytes < room ? bytes : room);
}

static CUresult encode_kernel(struct vgpu_worker *worker, CUgraphNode node,
                              struct vgpu_node_message *out)
{
    CUDA_KERNEL_NODE_PARAMS kernel = {0};
    struct vgpu_wire_kernel *wire = &out->node.kernel;
    CUresult error = worker->driver->cuGraphKernelNodeGetParams(node, &kernel);
    if (error)
        return error;
    wire->function = function_id(worker, &kernel);
    wire->context = context_id(worker, kernel.ctx);
    wire->grid[0] = kernel.gridDimX;
    wire->grid[1] = kernel.gridDimY;
    wire->grid[2] = kernel.gridDimZ;
    wire->block[0] = kernel.blockDimX;
    wire->block[1] = kernel.blockDimY;
    wire->block[2] = kernel.blockDimZ;
    wire->shared_bytes = kernel.sharedMemBytes;
    if (wire->function == 0)
        return CUDA_SUCCESS;
    const struct vgpu_handle *function = &worker->handles.table[wire->function];
    if (function->parameter_bytes > sizeof(out->tail))
        return CUDA_ERROR_NOT_SUPPORTED;
    out->node.tail_bytes = function->parameter_bytes;
    memset(out->tail, 0, function->parameter_bytes);
    if (kernel.kernelParams && function->parameter_bytes)
        return pack_each(worker, function, kernel.kernelParams, out->tail);
    if (kernel.extra)
        pack_buffer(kernel.extra, out->tail, function->parameter_bytes);
    return CUDA_SUCCESS;
}

static uint32_t array_id(const struct vgpu_worker *worker, CUmemorytype type, CUarray array)
{
    return type == CU_MEMORYTYPE_ARRAY ? vgpu_handles_id(worker, VGPU_KIND_ARRAY, array) : 0;
}

static CUresult encode_copy(struct vgpu_worker *worker, CUgraphNode node,
                            struct vgpu_node_message *out)
{
    CUDA_MEMCPY3D copy = {0};
    CUresult error = worker->driver->cuGraphMemcpyNodeGetParams(node, &copy);
    if (error)
        return error;
    out->node.copy = (struct vgpu_wire_copy){
        .source = {.address = copy.srcMemoryType == CU_MEMORYTYPE_HOST ? (uintptr_t)copy.srcHost
                                                                       : copy.srcDevice,
                   .x = copy.srcXInBytes,
                   .y = copy.srcY,
                   .z = copy.srcZ,
                   .lod = copy.srcLOD,
                   .pitch = copy.srcPitch,
                   .height = copy.srcHeight,
                   .type = copy.srcMemoryType,
                   .array = array_id(worker, copy.srcMemoryType, copy.srcArray)},
        .destination = {.address = copy.dstMemoryType == CU_MEMORYTYPE_HOST
                                       ? (uintptr_t)copy.dstHost
                                       : copy.dstDevice,
                        .x = copy.dstXInBytes,
                        .y = copy.dstY,
                        .z = copy.dstZ,
                        .lod = copy.dstLOD,
                        .pitch = copy.dstPitch,
                        .height = copy.dstHeight,
                        .type = copy.dstMemoryType,
                        .array = array_id(worker, copy.dstMemoryType, copy.dstArray)},
        .width = copy.WidthInBytes,
        .height = copy.Height,
        .depth = copy.Depth,
    };
    return CUDA_SUCCESS;
}

static CUresult encode_memset(struct vgpu_worker *worker, CUgraphNode node,
                              struct vgpu_node_message *out)
{
    CUDA_MEMSET_NODE_PARAMS fill = {0};
    CUresult error = worker->driver->cuGraphMemsetNodeGetParams(node, &fill);
    out->node.memset = (struct vgpu_wire_memset){.address = fill.dst,
                                                 .pitch = fill.pitch,
                                                 .value = fill.value,
                                                 .element = fill.elementSize,
                                                 .width = fill.width,
                                                 .height = fill.height};
    return error;
}

static CUresult encode_host(struct vgpu_worker *worker, CUgraphNode node,
                            struct vgpu_node_message *out)
{
    CUDA_HOST_NODE_PARAMS host = {0};
    CUresult error = worker->driver->cuGraphHostNodeGetParams(node, &host);
    if (error)
        return error;
    const struct vgpu_upcall_slot *slot = host.userData;
    out->node.host.upcall = (uint32_t)(slot - worker->upcalls.slots);
    return CUDA_SUCCESS;
}

static CUresult encode_event(struct vgpu_worker *worker, CUgraphNode node,
                             struct vgpu_node_message *out)
{
    CUevent event = NULL;
    CUresult error = out->node.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD
                         ? worker->driver->cuGraphEventRecordNodeGetEvent(node, &event)
                         : worker->driver->cuGraphEventWaitNodeGetEvent(node, &event);
    if (error == CUDA_SUCCESS)
        out->node.event.event = vgpu_handles_id(worker, VGPU_KIND_EVENT, event);
    return error;
}

static CUresult encode_alloc(struct vgpu_worker *worker, CUgraphNode node,
                             struct vgpu_node_message *out)
{
    CUDA_MEM_ALLOC_NODE_PARAMS alloc = {0};
    size_t bytes;
    CUresult error = worker->driver->cuGraphMemAllocNodeGetParams(node, &alloc);
    if (error)
        return error;
    if (__builtin_mul_overflow(alloc.accessDescCount, sizeof(*alloc.accessDescs), &bytes) ||
        bytes > sizeof(out->tail))
        return CUDA_ERROR_NOT_SUPPORTED;
    out->node.alloc = (struct vgpu_wire_alloc){
        .bytes = alloc.bytesize, .address = alloc.dptr, .pool = alloc.poolProps};
    if (bytes && alloc.accessDescs)
        memcpy(out->tail, alloc.accessDescs, bytes);
    out->node.tail_bytes = alloc.accessDescs ? (uint32_t)bytes : 0;
    return CUDA_SUCCESS;
}

static CUresult encode_operations(struct vgpu_worker *worker, CUgraphNode node,
                                  struct vgpu_node_message *out)
{
    CUDA_BATCH_MEM_OP_NODE_PARAMS operations = {0};
    size_t bytes;
    CUresult error = worker->driver->cuGraphBatchMemOpNodeGetParams(node, &operations);
    if (error)
        return error;
    if (__builtin_mul_overflow((size_t)operations.count, sizeof(*operations.paramArray), &bytes) ||
        bytes > sizeof(out->tail))
        return CUDA_ERROR_NOT_SUPPORTED;
    out->node.operations = (struct vgpu_wire_memory_operations){
        .context = context_id(worker, operations.ctx), .flags = operations.flags};
    if (bytes)
        memcpy(out->tail, operations.paramArray, bytes);
    out->node.tail_bytes = (uint32_t)bytes;
    return CUDA_SUCCESS;
}

CUresult vgpu_node_encode(struct vgpu_worker *worker, CUgraphNode node,
                          struct vgpu_node_message *out)
{
    CUgraphNodeType type;
    CUdeviceptr address = 0;
    CUresult error = worker->driver->cuGraphNodeGetType(node, &type);
    if (error)
        return error;
    memset(&out->node, 0, sizeof(out->node));
    out->node.type = type;
    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        return encode_kernel(worker, node, out);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return encode_copy(worker, node, out);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return encode_memset(worker, node, out);
    case CU_GRAPH_NODE_TYPE_HOST:
        return encode_host(worker, node, out);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return encode_event(worker, node, out);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        return encode_alloc(worker, node, out);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        error = worker->driver->cuGraphMemFreeNodeGetParams(node, &address);
        out->node.free.address = address;
        return error;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        return encode_operations(worker, node, out);
    case CU_GRAPH_NODE_TYPE_GRAPH:
    case CU_GRAPH_NODE_TYPE_EMPTY:
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}
