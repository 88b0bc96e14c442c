/* SPDX-License-Identifier: MIT */
/* Memory pools, and memory that is allocated and freed in a stream's order. */
#include "worker/memory/pool.h"
#include "worker/worker.h"

CUresult vgpu_replay_cuMemPoolCreate(struct vgpu_worker *worker,
                                     struct vgpu_call_cuMemPoolCreate *call)
{
    const struct vgpu_driver *driver = worker->driver;
    struct vgpu_pool *pool;
    CUmemoryPool object;
    CUmemPoolProps properties = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                                 .handleTypes = CU_MEM_HANDLE_TYPE_NONE,
                                 .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
                                 .maxSize = call->most,
                                 .usage = (unsigned short)call->usage};
    CUresult error = driver->cuMemPoolCreate(&object, &properties);
    if (error)
        return error;
    error = vgpu_pool_take(worker, object, false, &pool);
    if (error)
        driver->cuMemPoolDestroy(object);
    else
        call->pool = pool;
    return error;
}

CUresult vgpu_replay_vgpuMemPoolDefault(struct vgpu_worker *worker,
                                        struct vgpu_call_vgpuMemPoolDefault *call)
{
    struct vgpu_pool *pool = worker->pools.first;
    CUmemoryPool object;
    while (pool && !pool->device)
        pool = pool->next;
    if (pool) {
        call->pool = pool;
        return CUDA_SUCCESS;
    }
    CUresult error = worker->driver->cuDeviceGetDefaultMemPool(&object, 0);
    if (error == CUDA_SUCCESS)
        error = vgpu_pool_take(worker, object, true, &pool);
    if (error == CUDA_SUCCESS)
        call->pool = pool;
    return error;
}

CUresult vgpu_replay_cuMemPoolDestroy(struct vgpu_worker *worker,
                                      struct vgpu_call_cuMemPoolDestroy *call)
{
    struct vgpu_pool *pool = call->pool;
    if (!pool->device)
        vgpu_pool_leave(worker, pool);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_cuMemPoolTrimTo(struct vgpu_worker *worker,
                                     struct vgpu_call_cuMemPoolTrimTo *call)
{
    return vgpu_pool_trim(worker, call->pool, call->keep);
}

CUresult vgpu_replay_cuMemPoolSetAttribute(struct vgpu_worker *worker,
                                           struct vgpu_call_cuMemPoolSetAttribute *call)
{
    struct vgpu_pool *pool = call->pool;
    int choice = call->value != 0;
    switch (call->attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        pool->threshold = call->value;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        return worker->driver->cuMemPoolSetAttribute(pool->object,
                                                     (CUmemPool_attribute)call->attribute, &choice);
    default: /* all others are of this type, or the driver refuses them by their number */
        return worker->driver->cuMemPoolSetAttribute(
            pool->object, (CUmemPool_attribute)call->attribute, &call->value);
    }
}

CUresult vgpu_replay_cuMemPoolGetAttribute(struct vgpu_worker *worker,
                                           struct vgpu_call_cuMemPoolGetAttribute *call)
{
    struct vgpu_pool *pool = call->pool;
    cuuint64_t value = 0; /* an int of the little end is as good */
    if (call->attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) {
        call->value = pool->threshold;
        return CUDA_SUCCESS;
    }
    /* As if somebody had synchronised, which the guest most probably has. */
    vgpu_pools_tidy(worker);
    CUresult error = worker->driver->cuMemPoolGetAttribute(
        pool->object, (CUmemPool_attribute)call->attribute, &value);
    call->value = value;
    return error;
}

CUresult vgpu_replay_cuMemAllocFromPoolAsync(struct vgpu_worker *worker,
                                             struct vgpu_call_cuMemAllocFromPoolAsync *call)
{
    CUdeviceptr address = 0;
    if (call->bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult error = vgpu_pool_allocate(worker, call->pool, call->bytes, call->stream, &address);
    call->address = address;
    return error;
}

static CUresult free_in_order(struct vgpu_worker *worker, CUdeviceptr address, CUstream stream)
{
    CUresult error = worker->driver->cuMemFreeAsync(address, stream);
    if (error == CUDA_SUCCESS) {
        vgpu_ledger_remove(&worker->ledger, address); /* if it is from cuMemAlloc */
        worker->pools.untidy = true;
    }
    return error;
}

CUresult vgpu_replay_cuMemFreeAsync(struct vgpu_worker *worker,
                                    struct vgpu_call_cuMemFreeAsync *call)
{
    return free_in_order(worker, call->address, call->stream);
}

/* What the guest does not know may be a graph's: the driver judges. */
CUresult vgpu_replay_vgpuMemFreeAsyncUnknown(struct vgpu_worker *worker,
                                             struct vgpu_call_vgpuMemFreeAsyncUnknown *call)
{
    return free_in_order(worker, call->address, call->stream);
}
