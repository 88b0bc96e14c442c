/* SPDX-License-Identifier: MIT */
/* Allocating and freeing in order with a stream. */
#include <stdlib.h>

#include "interop/per_thread.h"
#include "soft/driver/graph/capture.h"
#include "soft/driver/graph/graph_memory.h"
#include "soft/driver/memory/allocation.h"
#include "soft/driver/memory/memory_pool.h"

/* Frees that the stream has not come to yet make room, too. */
static void wait_for_stream(struct vgpu_stream *stream)
{
    struct vgpu_mark end = {.stream = stream};

    pthread_mutex_lock(&vgpu_driver()->lock);
    end.sequence = stream->submitted;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_mark_wait(&end);
}

/* Memory that is there earlier than the stream gets to it harms nobody. */
static CUresult allocate(CUdeviceptr *out, size_t size, CUmemoryPool handle, CUstream stream_handle)
{
    struct vgpu_memory_pool *pool = NULL;
    struct vgpu_context *context;
    struct vgpu_stream *stream;
    uint64_t address;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS && !out)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_stream_resolve(context, stream_handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (handle)
        result = vgpu_memory_pool_take(handle, &pool);
    else
        pool = vgpu_memory_pool_current(stream->context->device);
    if (result == CUDA_SUCCESS && size == 0) { /* nothing has no place, and may be freed */
        address = 0;
        vgpu_object_put(pool);
    } else if (result == CUDA_SUCCESS && vgpu_capture_has(stream)) {
        result = vgpu_graph_memory_capture_alloc(stream, pool->device, size, &address);
        vgpu_object_put(pool);
    } else if (result == CUDA_SUCCESS) {
        result = vgpu_memory_pool_allocate(pool, size, &address);
        if (result == CUDA_ERROR_OUT_OF_MEMORY) {
            wait_for_stream(stream);
            result = vgpu_memory_pool_allocate(pool, size, &address);
        }
        vgpu_object_put(pool);
    }
    if (result == CUDA_SUCCESS)
        *out = address;
    vgpu_object_put(stream);
    return result;
}

CUresult cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
{
    return allocate(dptr, bytesize, NULL, hStream);
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool,
                                 CUstream hStream)
{
    return pool ? allocate(dptr, bytesize, pool, hStream) : CUDA_ERROR_INVALID_VALUE;
}

struct free_task {
    struct vgpu_task task;
    uint64_t address;
};

enum {
    FREED_KINDS =
        1u << VGPU_ALLOCATION_POOL | 1u << VGPU_ALLOCATION_DEVICE | 1u << VGPU_ALLOCATION_MANAGED,
};

/* Also when the context has failed or ends: the memory is a pool's, and nobody else can free it. */
static CUresult free_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)context;
    return vgpu_allocation_free(((struct free_task *)task)->address, FREED_KINDS);
}

static CUresult free_in(struct vgpu_stream *stream, const struct vgpu_allocation *found)
{
    struct free_task *task;
    CUresult result;

    if (vgpu_capture_has(stream))
        return vgpu_graph_memory_capture_free(stream, found->address);
    if (found->kind == VGPU_ALLOCATION_GRAPH)
        return vgpu_graph_memory_free_in(stream, found->address);
    result = vgpu_allocation_set_freed(found->address, FREED_KINDS, true);
    if (result != CUDA_SUCCESS)
        return result;
    task = calloc(1, sizeof(*task));
    if (task) {
        task->task.run = free_run;
        task->task.always = true;
        task->address = found->address;
        result = vgpu_stream_submit(stream, &task->task, VGPU_SUBMIT_INSTANT, NULL);
    } else {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result != CUDA_SUCCESS)
        vgpu_allocation_set_freed(found->address, FREED_KINDS, false);
    return result;
}

CUresult cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream)
{
    struct vgpu_allocation found;
    struct vgpu_context *context;
    struct vgpu_stream *stream;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (dptr == 0)
        return CUDA_SUCCESS;
    if (!vgpu_allocation_find(dptr, &found) || found.address != dptr ||
        !((FREED_KINDS | 1u << VGPU_ALLOCATION_GRAPH) & 1u << found.kind))
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_stream_resolve(context, hStream, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    result = free_in(stream, &found);
    vgpu_object_put(stream);
    return result;
}

VGPU_PTSZ(cuMemAllocAsync, (CUdeviceptr * address, size_t size, CUstream stream),
          (address, size, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemAllocFromPoolAsync,
          (CUdeviceptr * address, size_t size, CUmemoryPool pool, CUstream stream),
          (address, size, pool, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemFreeAsync, (CUdeviceptr address, CUstream stream),
          (address, vgpu_per_thread(stream)))
