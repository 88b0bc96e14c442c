/* SPDX-License-Identifier: MIT */
/* Memory pools. They are the driver's; which is current, and who reaches them, is known here. */
#include "guest/memory/pool.h"

#include "guest/graph/capture.h"
#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

static CUresult enter(struct vgpu_caller *caller)
{
    CUresult error = vgpu_caller_begin(caller);
    if (error)
        return error;
    return vgpu_process_attribute(vgpu_process(), CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)
               ? CUDA_SUCCESS
               : CUDA_ERROR_NOT_SUPPORTED;
}

static CUresult enter_pool(struct vgpu_caller *caller, CUmemoryPool handle, struct vgpu_pool **pool)
{
    CUresult error = enter(caller);
    if (error)
        return error;
    *pool = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_MEMPOOL);
    return *pool ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Has the host make a pool (NULL: take the device's own) for a new object. */
static CUresult make(const struct vgpu_caller *caller, const CUmemPoolProps *properties,
                     struct vgpu_pool **pool)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_pool *made = vgpu_object_take(&process->objects, sizeof(*made), NULL);
    CUresult error;
    if (made == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    made->device = properties == NULL;
    if (properties)
        error = vgpu_send_cuMemPoolCreate(caller->channel, 0, made->object.id, properties->maxSize,
                                          properties->usage);
    else
        error = vgpu_send_vgpuMemPoolDefault(caller->channel, 0, made->object.id);
    vgpu_process_note(process, error);
    if (error) {
        vgpu_object_put(&process->objects, &made->object);
        return error;
    }
    vgpu_object_publish(&made->object, VGPU_KIND_MEMPOOL);
    *pool = made;
    return CUDA_SUCCESS;
}

static CUresult find_own(const struct vgpu_caller *caller, struct vgpu_pool **pool)
{
    struct vgpu_device_pools *pools = &vgpu_process()->pools;
    CUresult error = CUDA_SUCCESS;
    pthread_mutex_lock(&pools->lock);
    if (pools->own == NULL)
        error = make(caller, NULL, &pools->own);
    *pool = pools->own;
    pthread_mutex_unlock(&pools->lock);
    return error;
}

static CUresult find_current(const struct vgpu_caller *caller, struct vgpu_pool **pool)
{
    struct vgpu_device_pools *pools = &vgpu_process()->pools;
    pthread_mutex_lock(&pools->lock);
    *pool = pools->current;
    pthread_mutex_unlock(&pools->lock);
    return *pool ? CUDA_SUCCESS : find_own(caller, pool);
}

/* ---- life ---- */

static bool all_zero(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

static CUresult check_properties(const CUmemPoolProps *properties)
{
    if (properties == NULL || properties->win32SecurityAttributes ||
        !all_zero(properties->reserved, sizeof(properties->reserved)))
        return CUDA_ERROR_INVALID_VALUE;
    if (properties->allocType == CU_MEM_ALLOCATION_TYPE_MANAGED)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (properties->allocType != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    switch (properties->location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        if (properties->location.id != 0)
            return CUDA_ERROR_INVALID_VALUE;
        /* Pools are not shared between processes, as the device's attribute says. */
        return properties->handleTypes ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuMemPoolCreate(CUmemoryPool *handle, const CUmemPoolProps *properties)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = check_properties(properties);
    if (error == CUDA_SUCCESS)
        error = make(&caller, properties, &pool);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(pool);
    return error;
}

CUresult cuMemPoolDestroy(CUmemoryPool handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter_pool(&caller, handle, &pool);
    if (error)
        return error;
    if (pool->device)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->pools.lock);
    if (process->pools.current == pool)
        process->pools.current = NULL;
    pthread_mutex_unlock(&process->pools.lock);
    error = vgpu_send_cuMemPoolDestroy(caller.channel, 0, pool->object.id);
    vgpu_object_put(&process->objects, &pool->object);
    return vgpu_process_note(process, error);
}

CUresult cuMemPoolTrimTo(CUmemoryPool handle, size_t keep)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter_pool(&caller, handle, &pool);
    if (error)
        return error;
    return vgpu_process_note(vgpu_process(),
                             vgpu_send_cuMemPoolTrimTo(caller.channel, 0, pool->object.id, keep));
}

/* ---- attributes ---- */

static bool is_number(CUmemPool_attribute attribute)
{
    return attribute == CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES ||
           attribute == CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC ||
           attribute == CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter_pool(&caller, handle, &pool);
    if (error)
        return error;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    uint64_t number = is_number(attribute) ? *(int *)value != 0 : *(cuuint64_t *)value;
    return vgpu_process_note(
        vgpu_process(),
        vgpu_send_cuMemPoolSetAttribute(caller.channel, 0, pool->object.id, attribute, number));
}

CUresult cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void *value)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    uint64_t number = 0;
    CUresult error = enter_pool(&caller, handle, &pool);
    if (error)
        return error;
    if (value == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(
        vgpu_process(),
        vgpu_send_cuMemPoolGetAttribute(caller.channel, 0, &number, pool->object.id, attribute));
    if (error)
        return error;
    if (is_number(attribute))
        *(int *)value = (int)number;
    else
        *(cuuint64_t *)value = number;
    return CUDA_SUCCESS;
}

/* ---- access: the device itself has it for good, and there is no other ---- */

CUresult cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc *map, size_t count)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter_pool(&caller, handle, &pool);
    if (error)
        return error;
    if (map == NULL && count)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++) {
        if (map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE || map[i].location.id != 0 ||
            map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
            return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool handle, CUmemLocation *location)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter_pool(&caller, handle, &pool);
    if (error)
        return error;
    if (flags == NULL || location == NULL || location->type != CU_MEM_LOCATION_TYPE_DEVICE ||
        location->id != 0)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return CUDA_SUCCESS;
}

/* No pool is made such that it could be exported. */
CUresult cuMemPoolExportToShareableHandle(void *shared, CUmemoryPool handle,
                                          CUmemAllocationHandleType type, unsigned long long flags)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter_pool(&caller, handle, &pool);
    (void)shared, (void)type, (void)flags;
    return error ? error : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemPoolExportPointer(CUmemPoolPtrExportData *shared, CUdeviceptr address)
{
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    (void)shared, (void)address;
    return error ? error : CUDA_ERROR_INVALID_VALUE;
}

/* ---- the device's pools ---- */

static CUresult answer(CUmemoryPool *handle,
                       CUresult (*find)(const struct vgpu_caller *, struct vgpu_pool **))
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = find(&caller, &pool);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(pool);
    return error;
}

static CUresult check_device(CUdevice device)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

/* There are pools of the device's memory only. */
static CUresult check_place(const CUmemLocation *location, CUmemAllocationType type)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    if (location == NULL ||
        (type != CU_MEM_ALLOCATION_TYPE_PINNED && type != CU_MEM_ALLOCATION_TYPE_MANAGED))
        return CUDA_ERROR_INVALID_VALUE;
    switch (location->type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        if (location->id != 0)
            return CUDA_ERROR_INVALID_DEVICE;
        return type == CU_MEM_ALLOCATION_TYPE_PINNED ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
        return CUDA_ERROR_NOT_SUPPORTED;
    case CU_MEM_LOCATION_TYPE_NONE:
        return type == CU_MEM_ALLOCATION_TYPE_MANAGED ? CUDA_ERROR_NOT_SUPPORTED
                                                      : CUDA_ERROR_INVALID_VALUE;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *handle, CUdevice device)
{
    CUresult error = check_device(device);
    return error ? error : answer(handle, find_own);
}

CUresult cuDeviceGetMemPool(CUmemoryPool *handle, CUdevice device)
{
    CUresult error = check_device(device);
    return error ? error : answer(handle, find_current);
}

CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool handle)
{
    struct vgpu_device_pools *pools = &vgpu_process()->pools;
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = check_device(device);
    if (error == CUDA_SUCCESS)
        error = enter_pool(&caller, handle, &pool);
    if (error)
        return error;
    pthread_mutex_lock(&pools->lock);
    pools->current = pool;
    pthread_mutex_unlock(&pools->lock);
    return CUDA_SUCCESS;
}

CUresult cuMemGetDefaultMemPool(CUmemoryPool *handle, CUmemLocation *location,
                                CUmemAllocationType type)
{
    CUresult error = check_place(location, type);
    return error ? error : answer(handle, find_own);
}

CUresult cuMemGetMemPool(CUmemoryPool *handle, CUmemLocation *location, CUmemAllocationType type)
{
    CUresult error = check_place(location, type);
    return error ? error : answer(handle, find_current);
}

CUresult cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool handle)
{
    CUresult error = check_place(location, type);
    return error ? error : cuDeviceSetMemPool(0, handle);
}

/* ---- memory: `pool` is NULL for the current one ---- */

static CUresult ask_for(const struct vgpu_caller *caller, uint64_t *start, size_t bytes,
                        const struct vgpu_pool *pool, struct vgpu_stream *stream)
{
    CUresult error = vgpu_process_note(
        vgpu_process(),
        vgpu_send_cuMemAllocFromPoolAsync(caller->channel, caller->context, start, bytes,
                                          pool->object.id, stream->object.id));
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

static CUresult allocate(CUdeviceptr *address, size_t bytes, struct vgpu_pool *pool,
                         CUstream handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    uint64_t start = 0;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (address == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes == 0) { /* nothing has no place, and may be freed */
        *address = 0;
        return CUDA_SUCCESS;
    }
    if (pool == NULL)
        error = find_current(&caller, &pool);
    if (error)
        return error;
    start = vgpu_freed_take(stream, pool, bytes);
    if (start == 0)
        error = ask_for(&caller, &start, bytes, pool, stream);
    if (error)
        return error;
    /* What a capture allocates is a node's. */
    bool captured = vgpu_capture_of(stream);
    const struct vgpu_range range = {.start = start,
                                     .bytes = bytes,
                                     .kind = captured ? VGPU_RANGE_GRAPH : VGPU_RANGE_DEVICE,
                                     .context = captured ? caller.current : NULL,
                                     .owner = captured ? NULL : pool,
                                     .id = vgpu_process_new_id(process)};
    if (!vgpu_ranges_add(&process->ranges, &range)) {
        vgpu_send_cuMemFreeAsync(caller.channel, caller.context, start, stream->object.id);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *address = start;
    return CUDA_SUCCESS;
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream stream)
{
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    return error ? error : allocate(address, bytes, NULL, stream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t bytes, CUmemoryPool handle,
                                 CUstream stream)
{
    struct vgpu_caller caller;
    struct vgpu_pool *pool;
    CUresult error = enter_pool(&caller, handle, &pool);
    return error ? error : allocate(address, bytes, pool, stream);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct vgpu_range range;
    CUresult error = enter(&caller);
    if (error == CUDA_SUCCESS)
        error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error || address == 0)
        return error;
    bool known = vgpu_ranges_remove(&vgpu_process()->ranges, address, VGPU_RANGE_DEVICE, &range);
    if (known && range.owner && range.start == address && !vgpu_capture_any() &&
        vgpu_freed_keep(&caller, stream, range.owner, address, range.bytes))
        return CUDA_SUCCESS;
    vgpu_freed_tell(caller.channel); /* the driver judges what is free already */
    /* Of what only the driver can judge, its judgement is this call's; in a capture, its end tells
     * of it. */
    if (known || vgpu_capture_of(stream))
        error =
            vgpu_send_cuMemFreeAsync(caller.channel, caller.context, address, stream->object.id);
    else
        error = vgpu_process_note(vgpu_process(),
                                  vgpu_send_vgpuMemFreeAsyncUnknown(caller.channel, caller.context,
                                                                    address, stream->object.id));
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

VGPU_PTSZ(cuMemAllocAsync, (CUdeviceptr * address, size_t bytes, CUstream stream),
          (address, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemAllocFromPoolAsync,
          (CUdeviceptr * address, size_t bytes, CUmemoryPool pool, CUstream stream),
          (address, bytes, pool, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemFreeAsync, (CUdeviceptr address, CUstream stream),
          (address, vgpu_per_thread(stream)))
