/* SPDX-License-Identifier: MIT */
#include "soft/driver/pool.h"

#include <stdlib.h>

#include "interop/per_thread.h"
#include "soft/driver/allocation.h"
#include "soft/driver/stream.h"

struct vgpu_pool {
    struct vgpu_object object;
    struct vgpu_device *device;
    _Atomic uint64_t attributes[CU_MEMPOOL_ATTR_USED_MEM_HIGH + 1];
};

static void never_destroyed(struct vgpu_object *object)
{
    (void)object;
}

struct vgpu_pool *vgpu_pool_create_default(struct vgpu_device *device)
{
    struct vgpu_pool *pool =
        vgpu_object_create(VGPU_OBJECT_POOL, sizeof(*pool), NULL, never_destroyed);

    if (!pool)
        return NULL;
    pool->device = device;
    pool->attributes[CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = 1;
    pool->attributes[CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC] = 1;
    pool->attributes[CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES] = 1;
    vgpu_object_publish(pool);
    return pool;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool_out, CUdevice dev)
{
    struct vgpu_device *device = vgpu_device_get(dev);
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!pool_out)
        return CUDA_ERROR_INVALID_VALUE;
    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    *pool_out = (CUmemoryPool)device->pool;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice dev)
{
    return cuDeviceGetDefaultMemPool(pool, dev);
}

CUresult cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool)
{
    CUmemoryPool only;
    CUresult result = cuDeviceGetDefaultMemPool(&only, dev);

    if (result == CUDA_SUCCESS && pool != only)
        result = CUDA_ERROR_INVALID_VALUE;
    return result;
}

static CUresult find(CUmemoryPool handle, struct vgpu_pool **pool)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    *pool = vgpu_object_take(handle, VGPU_OBJECT_POOL);
    vgpu_object_put(*pool);
    return *pool ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static bool is_number(CUmemPool_attribute attribute)
{
    return attribute == CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES ||
           attribute == CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC ||
           attribute == CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
    struct vgpu_pool *found;
    CUresult result = find(pool, &found);

    if (result != CUDA_SUCCESS)
        return result;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    if (is_number(attr))
        found->attributes[attr] = *(int *)value != 0;
    else if (attr == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
        found->attributes[attr] = *(cuuint64_t *)value;
    else if (attr == CU_MEMPOOL_ATTR_USED_MEM_HIGH || attr == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)
        found->attributes[attr] = 0; /* all that may be set */
    else
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
    struct vgpu_pool *found;
    CUresult result = find(pool, &found);

    if (result != CUDA_SUCCESS)
        return result;
    if (!value || (unsigned int)attr > CU_MEMPOOL_ATTR_USED_MEM_HIGH)
        return CUDA_ERROR_INVALID_VALUE;
    if (is_number(attr))
        *(int *)value = (int)found->attributes[attr];
    else if (attr == CU_MEMPOOL_ATTR_USED_MEM_CURRENT ||
             attr == CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)
        *(cuuint64_t *)value = vgpu_allocation_total(found->device, VGPU_ALLOCATION_POOL);
    else
        *(cuuint64_t *)value = found->attributes[attr];
    return CUDA_SUCCESS;
}

/* The pool keeps nothing, so what is reserved is what is used. */
static void note_use(struct vgpu_pool *pool)
{
    uint64_t used = vgpu_allocation_total(pool->device, VGPU_ALLOCATION_POOL);

    if (used > pool->attributes[CU_MEMPOOL_ATTR_USED_MEM_HIGH])
        pool->attributes[CU_MEMPOOL_ATTR_USED_MEM_HIGH] = used;
    pool->attributes[CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH] =
        pool->attributes[CU_MEMPOOL_ATTR_USED_MEM_HIGH];
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t minBytesToKeep)
{
    struct vgpu_pool *found;

    (void)minBytesToKeep;
    return find(pool, &found);
}

CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
{
    struct vgpu_context *context;
    struct vgpu_stream *stream;
    uint64_t address;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS && !dptr)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_stream_resolve(context, hStream, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    /* Memory that is there earlier than the stream gets to it harms nobody. */
    result = vgpu_allocation_create(stream->context, VGPU_ALLOCATION_POOL, bytesize, 0, &address);
    if (result == CUDA_SUCCESS) {
        note_use(stream->context->device->pool);
        *dptr = address;
    }
    vgpu_object_put(stream);
    return result;
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool,
                                 CUstream hStream)
{
    struct vgpu_pool *found;
    CUresult result = find(pool, &found);

    return result == CUDA_SUCCESS ? cuMemAllocAsync(dptr, bytesize, hStream) : result;
}

struct free_task {
    struct vgpu_task task;
    uint64_t address;
};

static CUresult free_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)context;
    return vgpu_allocation_free(((struct free_task *)task)->address,
                                1u << VGPU_ALLOCATION_POOL | 1u << VGPU_ALLOCATION_DEVICE);
}

CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream)
{
    struct vgpu_allocation found;
    struct vgpu_context *context;
    struct free_task *task;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (dptr == 0)
        return CUDA_SUCCESS;
    if (!vgpu_allocation_find(dptr, &found) || found.address != dptr ||
        (found.kind != VGPU_ALLOCATION_POOL && found.kind != VGPU_ALLOCATION_DEVICE))
        return CUDA_ERROR_INVALID_VALUE;
    task = calloc(1, sizeof(*task));
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    task->task.run = free_run;
    task->address = dptr;
    return vgpu_stream_submit_to(context, hStream, &task->task, VGPU_SUBMIT_INSTANT);
}

VGPU_PTSZ(cuMemAllocAsync, (CUdeviceptr * address, size_t size, CUstream stream),
          (address, size, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemAllocFromPoolAsync,
          (CUdeviceptr * address, size_t size, CUmemoryPool pool, CUstream stream),
          (address, size, pool, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemFreeAsync, (CUdeviceptr address, CUstream stream),
          (address, vgpu_per_thread(stream)))
