/* SPDX-License-Identifier: MIT */
/* Parameters of nodes, from the program's form to that of the wire. */
#include <string.h>

#include "guest/code/code.h"
#include "guest/code/launch.h"
#include "guest/graph/graph.h"
#include "guest/memory/copy.h"
#include "guest/memory/host_memory.h"
#include "guest/memory/pages.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "guest/stream/event.h"
#include "guest/stream/upcall.h"

/* ---- the older forms ---- */

void vgpu_kernel_newer(const CUDA_KERNEL_NODE_PARAMS_v1 *from, CUDA_KERNEL_NODE_PARAMS_v2 *to)
{
    *to = (CUDA_KERNEL_NODE_PARAMS_v2){
        .func = from->func,
        .gridDimX = from->gridDimX,
        .gridDimY = from->gridDimY,
        .gridDimZ = from->gridDimZ,
        .blockDimX = from->blockDimX,
        .blockDimY = from->blockDimY,
        .blockDimZ = from->blockDimZ,
        .sharedMemBytes = from->sharedMemBytes,
        .kernelParams = from->kernelParams,
        .extra = from->extra,
    };
}

void vgpu_kernel_parameters(const CUDA_KERNEL_NODE_PARAMS_v2 *kernel, CUgraphNodeParams *out)
{
    static_assert(sizeof(out->kernel) == sizeof(*kernel), "the third form is the second");
    *out = (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_KERNEL};
    memcpy(&out->kernel, kernel, sizeof(*kernel));
}

void vgpu_memset_parameters(const CUDA_MEMSET_NODE_PARAMS_v1 *fill, CUcontext context,
                            CUgraphNodeParams *out)
{
    *out = (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_MEMSET};
    out->memset = (CUDA_MEMSET_NODE_PARAMS_v2){.dst = fill->dst,
                                               .pitch = fill->pitch,
                                               .value = fill->value,
                                               .elementSize = fill->elementSize,
                                               .width = fill->width,
                                               .height = fill->height,
                                               .ctx = context};
}

void vgpu_operations_parameters(const CUDA_BATCH_MEM_OP_NODE_PARAMS_v1 *operations,
                                CUgraphNodeParams *out)
{
    *out = (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP};
    out->memOp = (CUDA_BATCH_MEM_OP_NODE_PARAMS_v2){.ctx = operations->ctx,
                                                    .count = operations->count,
                                                    .paramArray = operations->paramArray,
                                                    .flags = operations->flags};
}

/* ---- to the wire ---- */

/* The id of a context, or of the caller's for NULL. */
static CUresult find_context(const struct vgpu_caller *caller, CUcontext handle, uint32_t *id)
{
    *id = caller->context;
    if (handle == NULL)
        return CUDA_SUCCESS;
    const struct vgpu_object *context =
        vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_CONTEXT);
    if (context == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *id = context->id;
    return CUDA_SUCCESS;
}

static CUresult encode_kernel(const struct vgpu_caller *caller,
                              const CUDA_KERNEL_NODE_PARAMS_v3 *kernel,
                              struct vgpu_node_message *message)
{
    struct vgpu_wire_kernel *wire = &message->node.kernel;
    const void *handle = kernel->func ? (const void *)kernel->func : (const void *)kernel->kern;
    const struct vgpu_function *function = vgpu_object_find(
        &vgpu_process()->objects, handle, kernel->func ? VGPU_KIND_LAUNCHABLE : VGPU_KIND_KERNEL);
    if (function == NULL)
        return kernel->func || kernel->kern ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    CUresult error = find_context(caller, kernel->func ? NULL : kernel->ctx, &wire->context);
    if (error)
        return error;
    if (function->info->parameter_bytes > sizeof(message->tail))
        return CUDA_ERROR_NOT_SUPPORTED;
    wire->function = function->object.id;
    wire->grid[0] = kernel->gridDimX;
    wire->grid[1] = kernel->gridDimY;
    wire->grid[2] = kernel->gridDimZ;
    wire->block[0] = kernel->blockDimX;
    wire->block[1] = kernel->blockDimY;
    wire->block[2] = kernel->blockDimZ;
    wire->shared_bytes = kernel->sharedMemBytes;
    message->node.tail_bytes = function->info->parameter_bytes;
    return vgpu_launch_pack(function->info, kernel->kernelParams, kernel->extra, message->tail);
}

/* One side of a copy, before it is known what kind of memory it is in. */
struct side {
    CUmemorytype type;
    CUdeviceptr device;
    const void *host;
    CUarray array;
    struct vgpu_wire_place place;
};

/* Ordinary memory of the program is known to nobody, and neither is what graphs allocate. */
static bool is_host(CUdeviceptr address)
{
    struct vgpu_range range;
    if (vgpu_ranges_find(&vgpu_process()->ranges, address, &range))
        return vgpu_range_is_host(&range);
    return vgpu_pages_are_there((const void *)(uintptr_t)address, 1);
}

/* How far from its start a side is touched. False if that overflows. */
static bool reach(const struct side *side, const CUDA_MEMCPY3D *copy, size_t *bytes)
{
    size_t row, slice, last;
    const struct vgpu_wire_place *place = &side->place;
    return !__builtin_add_overflow(place->x, copy->WidthInBytes, &row) &&
           !__builtin_mul_overflow(place->height, place->pitch, &slice) &&
           !__builtin_add_overflow(place->y, copy->Height ? copy->Height - 1 : 0, &last) &&
           !__builtin_mul_overflow(last, place->pitch, &last) &&
           !__builtin_add_overflow(row, last, &row) &&
           !__builtin_add_overflow(place->z, copy->Depth ? copy->Depth - 1 : 0, &last) &&
           !__builtin_mul_overflow(last, slice, &last) && !__builtin_add_overflow(row, last, bytes);
}

/* Ordinary memory: the graph gets a shadow of it, in which rows and planes are packed. */
static CUresult place_shadow(const struct vgpu_caller *caller, struct side *side, bool out,
                             const CUDA_MEMCPY3D *copy, struct vgpu_shadow_set *shadows)
{
    struct vgpu_wire_place *place = &side->place;
    size_t plane = place->pitch * place->height; /* the caller knows that none of this overflows */
    const struct vgpu_shadow_shape shape = {.host = (char *)(uintptr_t)side->host +
                                                    place->z * plane + place->y * place->pitch +
                                                    place->x,
                                            .width = copy->WidthInBytes,
                                            .height = copy->Height,
                                            .depth = copy->Depth,
                                            .pitch = place->pitch,
                                            .plane = plane,
                                            .out = out};
    void *memory;
    CUresult error = vgpu_shadow_make(caller, &shape, shadows, &memory);
    if (error)
        return error;
    *place = (struct vgpu_wire_place){.address = (uintptr_t)memory,
                                      .pitch = copy->WidthInBytes,
                                      .height = copy->Height,
                                      .type = CU_MEMORYTYPE_HOST};
    return CUDA_SUCCESS;
}

/* Memory of the host must be shared: the graph reads and writes it whenever it runs. */
static CUresult place_side(const struct vgpu_caller *caller, struct side *side, bool out,
                           const CUDA_MEMCPY3D *copy, struct vgpu_shadow_set *shadows)
{
    size_t bytes;
    if (side->type == CU_MEMORYTYPE_UNIFIED) {
        side->type = is_host(side->device) ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        side->host = (const void *)(uintptr_t)side->device;
    }
    side->place.type = side->type;
    if (side->type == CU_MEMORYTYPE_DEVICE) {
        side->place.address = side->device;
        return CUDA_SUCCESS;
    }
    if (side->type == CU_MEMORYTYPE_ARRAY) {
        const struct vgpu_object *array =
            vgpu_object_find(&vgpu_process()->objects, side->array, VGPU_KIND_ARRAY);
        side->place.array = array ? array->id : 0;
        return array ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
    }
    if (side->type != CU_MEMORYTYPE_HOST)
        return CUDA_ERROR_INVALID_VALUE;
    side->place.address = (uintptr_t)side->host;
    if (!reach(side, copy, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_host_is_shared(side->host, bytes) ? CUDA_SUCCESS
                                                  : place_shadow(caller, side, out, copy, shadows);
}

static CUresult encode_copy(const struct vgpu_caller *caller, const CUDA_MEMCPY_NODE_PARAMS *node,
                            struct vgpu_shadow_set *shadows, struct vgpu_node_message *message)
{
    const CUDA_MEMCPY3D *copy = &node->copyParams;
    struct vgpu_wire_copy *wire = &message->node.copy;
    struct side from = {.type = copy->srcMemoryType,
                        .device = copy->srcDevice,
                        .host = copy->srcHost,
                        .array = copy->srcArray,
                        .place = {.x = copy->srcXInBytes,
                                  .y = copy->srcY,
                                  .z = copy->srcZ,
                                  .lod = copy->srcLOD,
                                  .pitch = copy->srcPitch,
                                  .height = copy->srcHeight}};
    struct side to = {.type = copy->dstMemoryType,
                      .device = copy->dstDevice,
                      .host = copy->dstHost,
                      .array = copy->dstArray,
                      .place = {.x = copy->dstXInBytes,
                                .y = copy->dstY,
                                .z = copy->dstZ,
                                .lod = copy->dstLOD,
                                .pitch = copy->dstPitch,
                                .height = copy->dstHeight}};
    CUresult error = place_side(caller, &from, false, copy, shadows);
    if (error == CUDA_SUCCESS)
        error = place_side(caller, &to, true, copy, shadows);
    if (error)
        return error;
    wire->source = from.place;
    wire->destination = to.place;
    wire->width = copy->WidthInBytes;
    wire->height = copy->Height;
    wire->depth = copy->Depth;
    return find_context(caller, node->copyCtx, &wire->context);
}

static CUresult encode_memset(const struct vgpu_caller *caller,
                              const CUDA_MEMSET_NODE_PARAMS_v2 *fill,
                              struct vgpu_node_message *message)
{
    message->node.memset = (struct vgpu_wire_memset){.address = fill->dst,
                                                     .pitch = fill->pitch,
                                                     .width = fill->width,
                                                     .height = fill->height,
                                                     .value = fill->value,
                                                     .element = fill->elementSize};
    return find_context(caller, fill->ctx, &message->node.memset.context);
}

static CUresult encode_host(const CUDA_HOST_NODE_PARAMS_v2 *host, struct vgpu_node_message *message)
{
    if (host->fn == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_upcall_register(
        &(struct vgpu_upcall){.host = host->fn, .data = host->userData, .use = VGPU_UPCALL_OFTEN},
        &message->node.host.upcall);
}

void vgpu_node_forget(const struct vgpu_node_message *message)
{
    if (message->node.type == CU_GRAPH_NODE_TYPE_HOST)
        vgpu_upcall_forget(message->node.host.upcall);
}

static CUresult encode_child(const CUDA_CHILD_GRAPH_NODE_PARAMS *child,
                             struct vgpu_node_message *message)
{
    const struct vgpu_graph *graph = vgpu_graph_find(child->graph);
    if (graph == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    message->node.child = (struct vgpu_wire_child){graph->object.id, child->ownership};
    return CUDA_SUCCESS;
}

static CUresult encode_event(CUgraphNodeType type, CUevent handle,
                             struct vgpu_node_message *message)
{
    struct vgpu_event *event = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_EVENT);
    if (event == NULL)
        return handle ? CUDA_ERROR_INVALID_HANDLE : CUDA_ERROR_INVALID_VALUE;
    if (type == CU_GRAPH_NODE_TYPE_EVENT_RECORD)
        vgpu_event_in_graph(event);
    message->node.event.event = event->object.id;
    return CUDA_SUCCESS;
}

static CUresult encode_alloc(const CUDA_MEM_ALLOC_NODE_PARAMS_v2 *alloc,
                             struct vgpu_node_message *message)
{
    size_t bytes;
    if (__builtin_mul_overflow(alloc->accessDescCount, sizeof(*alloc->accessDescs), &bytes) ||
        bytes > sizeof(message->tail) || (bytes && alloc->accessDescs == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    message->node.alloc =
        (struct vgpu_wire_alloc){.bytes = alloc->bytesize, .pool = alloc->poolProps};
    if (bytes)
        memcpy(message->tail, alloc->accessDescs, bytes);
    message->node.tail_bytes = (uint32_t)bytes;
    return CUDA_SUCCESS;
}

static CUresult encode_operations(const struct vgpu_caller *caller,
                                  const CUDA_BATCH_MEM_OP_NODE_PARAMS_v2 *operations,
                                  struct vgpu_node_message *message)
{
    size_t bytes;
    if (__builtin_mul_overflow((size_t)operations->count, sizeof(*operations->paramArray),
                               &bytes) ||
        bytes > sizeof(message->tail) || (bytes && operations->paramArray == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    message->node.operations.flags = operations->flags;
    if (bytes)
        memcpy(message->tail, operations->paramArray, bytes);
    message->node.tail_bytes = (uint32_t)bytes;
    return find_context(caller, operations->ctx, &message->node.operations.context);
}

static CUresult encode_conditional(const struct vgpu_caller *caller,
                                   const CUDA_CONDITIONAL_NODE_PARAMS *conditional,
                                   struct vgpu_node_message *message)
{
    message->node.conditional =
        (struct vgpu_wire_conditional){.handle = conditional->handle, .type = conditional->type};
    return find_context(caller, conditional->ctx, &message->node.conditional.context);
}

CUresult vgpu_node_encode(const struct vgpu_caller *caller, const CUgraphNodeParams *parameters,
                          struct vgpu_shadow_set *shadows, struct vgpu_node_message *message)
{
    memset(&message->node, 0, sizeof(message->node));
    message->node.type = parameters->type;
    switch (parameters->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        return encode_kernel(caller, &parameters->kernel, message);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return encode_copy(caller, &parameters->memcpy, shadows, message);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return encode_memset(caller, &parameters->memset, message);
    case CU_GRAPH_NODE_TYPE_HOST:
        return encode_host(&parameters->host, message);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return encode_child(&parameters->graph, message);
    case CU_GRAPH_NODE_TYPE_EMPTY:
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD: /* the event is in the same place */
        return encode_event(parameters->type, parameters->eventRecord.event, message);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        return encode_alloc(&parameters->alloc, message);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        message->node.free.address = parameters->free.dptr;
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        return encode_operations(caller, &parameters->memOp, message);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return encode_conditional(caller, &parameters->conditional, message);
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL:
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}
