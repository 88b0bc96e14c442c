/* SPDX-License-Identifier: MIT */
/* cuStream* beyond creating and destroying: waiting, values in memory, properties. */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "interop/per_thread.h"
#include "soft/driver/allocation.h"
#include "soft/driver/capture.h"

/* Resolves a stream for a call that needs no more than its name. */
static CUresult enter(CUstream handle, struct vgpu_stream **stream)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    return result == CUDA_SUCCESS ? vgpu_stream_resolve(context, handle, stream) : result;
}

/* ---- waiting ---- */

static CUresult nothing_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)task;
    return vgpu_context_usable(context);
}

CUresult cuStreamSynchronize(CUstream hStream)
{
    struct vgpu_stream *stream;
    struct vgpu_task *task;
    CUresult result = enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_check_wait(stream);
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(stream);
        return result;
    }
    /* A task, so that the legacy stream waits for the streams that it waits for. */
    task = calloc(1, sizeof(*task));
    if (task) {
        task->run = nothing_run;
        result = vgpu_stream_submit(stream, task, VGPU_SUBMIT_SYNC, NULL);
    } else {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_object_put(stream);
    return result;
}

/* For the legacy stream: the blocking streams count, too. */
static bool is_idle(const struct vgpu_stream *stream)
{
    bool idle = stream->completed == stream->submitted;

    if (stream != stream->context->legacy)
        return idle;
    for (const struct vgpu_stream *other = stream->context->streams; other && idle;
         other = other->next)
        idle = other->non_blocking || other->completed == other->submitted;
    return idle;
}

CUresult cuStreamQuery(CUstream hStream)
{
    struct vgpu_stream *stream;
    CUresult result = enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_check_wait(stream);
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(stream);
        return result;
    }
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (!is_idle(stream))
        result = CUDA_ERROR_NOT_READY;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    if (result == CUDA_SUCCESS)
        result = vgpu_context_usable(stream->context);
    vgpu_object_put(stream);
    return result;
}

/* ---- values in memory ---- */

struct value_task {
    struct vgpu_task task;
    uint64_t address;
    uint64_t value;
    unsigned int bytes; /* 4 or 8 */
    unsigned int flags; /* of a wait */
};

static CUresult write_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct value_task *write = (const struct value_task *)task;
    void *place = (void *)(uintptr_t)write->address;

    (void)context;
    /* Release: who reads the value with acquire sees all earlier work of the stream. */
    if (write->bytes == 4)
        __atomic_store_n((uint32_t *)place, (uint32_t)write->value, __ATOMIC_RELEASE);
    else
        __atomic_store_n((uint64_t *)place, write->value, __ATOMIC_RELEASE);
    return CUDA_SUCCESS;
}

static bool value_satisfies(const struct value_task *wait)
{
    const void *place = (const void *)(uintptr_t)wait->address;
    /* Acquire pairs with the release of whoever writes the value. */
    uint64_t now = wait->bytes == 4 ? __atomic_load_n((const uint32_t *)place, __ATOMIC_ACQUIRE)
                                    : __atomic_load_n((const uint64_t *)place, __ATOMIC_ACQUIRE);

    switch (wait->flags & 3) {
    case CU_STREAM_WAIT_VALUE_GEQ:
        /* Cyclic: the difference counts, as a signed number of the value's size. */
        return wait->bytes == 4 ? (int32_t)(uint32_t)(now - wait->value) >= 0
                                : (int64_t)(now - wait->value) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
        return now == wait->value;
    case CU_STREAM_WAIT_VALUE_AND:
        return (now & wait->value) != 0;
    default: {
        uint64_t nor = ~(now | wait->value);
        return wait->bytes == 4 ? (uint32_t)nor != 0 : nor != 0;
    }
    }
}

static CUresult wait_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct value_task *wait = (const struct value_task *)task;
    const struct timespec pause = {.tv_nsec = 50000};

    for (int tries = 0; !value_satisfies(wait); tries++) {
        if (vgpu_context_cancelled(context))
            return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        if (tries < 100)
            sched_yield();
        else
            nanosleep(&pause, NULL);
    }
    return CUDA_SUCCESS;
}

static CUresult submit_value(CUstream stream, CUdeviceptr address, uint64_t value,
                             unsigned int bytes, unsigned int flags, bool write)
{
    const unsigned int known =
        write ? CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER : 3 | CU_STREAM_WAIT_VALUE_FLUSH;
    struct vgpu_context *context;
    struct value_task *task;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if ((flags & ~known) || address % bytes)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_allocation_check(address, bytes, VGPU_SIDE_DEVICE);
    if (result != CUDA_SUCCESS)
        return result;
    task = calloc(1, sizeof(*task));
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    task->task.run = write ? write_run : wait_run;
    task->address = address;
    task->value = bytes == 4 ? (uint32_t)value : value;
    task->bytes = bytes;
    task->flags = flags;
    return vgpu_stream_submit_to(context, stream, &task->task,
                                 write ? VGPU_SUBMIT_INSTANT : VGPU_SUBMIT_ASYNC);
}

/* The two versions of each function differ in what a device had to support. */
#define VALUE_FUNCTION(name, type, bytes, write)                                                   \
    CUresult name(CUstream stream, CUdeviceptr address, type value, unsigned int flags)            \
    {                                                                                              \
        return submit_value(stream, address, value, bytes, flags, write);                          \
    }                                                                                              \
    VGPU_PTSZ(name, (CUstream stream, CUdeviceptr address, type value, unsigned int flags),        \
              (vgpu_per_thread(stream), address, value, flags))

VALUE_FUNCTION(cuStreamWriteValue32, cuuint32_t, 4, true)
VALUE_FUNCTION(cuStreamWriteValue32_v2, cuuint32_t, 4, true)
VALUE_FUNCTION(cuStreamWriteValue64, cuuint64_t, 8, true)
VALUE_FUNCTION(cuStreamWriteValue64_v2, cuuint64_t, 8, true)
VALUE_FUNCTION(cuStreamWaitValue32, cuuint32_t, 4, false)
VALUE_FUNCTION(cuStreamWaitValue32_v2, cuuint32_t, 4, false)
VALUE_FUNCTION(cuStreamWaitValue64, cuuint64_t, 8, false)
VALUE_FUNCTION(cuStreamWaitValue64_v2, cuuint64_t, 8, false)

/* ---- properties ---- */

/* Reads one number of a stream; `out` may not be NULL. */
#define STREAM_PROPERTY(name, type, out, expression)                                               \
    CUresult name(CUstream handle, type *out)                                                      \
    {                                                                                              \
        struct vgpu_stream *stream;                                                                \
        CUresult result = enter(handle, &stream);                                                  \
        if (result != CUDA_SUCCESS)                                                                \
            return result;                                                                         \
        if (out)                                                                                   \
            *out = expression;                                                                     \
        else                                                                                       \
            result = CUDA_ERROR_INVALID_VALUE;                                                     \
        vgpu_object_put(stream);                                                                   \
        return result;                                                                             \
    }                                                                                              \
    VGPU_PTSZ(name, (CUstream handle, type * out), (vgpu_per_thread(handle), out))

STREAM_PROPERTY(cuStreamGetFlags, unsigned int, flags, stream->flags)
STREAM_PROPERTY(cuStreamGetPriority, int, priority, stream->priority)
STREAM_PROPERTY(cuStreamGetId, unsigned long long, id, stream->id)
STREAM_PROPERTY(cuStreamGetDevice, CUdevice, device, stream->context->device->ordinal)
STREAM_PROPERTY(cuStreamGetCtx, CUcontext, context, (CUcontext)stream->context)

CUresult cuStreamGetCtx_v2(CUstream hStream, CUcontext *pCtx, CUgreenCtx *pGreenCtx)
{
    if (pGreenCtx)
        *pGreenCtx = NULL;
    return cuStreamGetCtx(hStream, pCtx);
}

VGPU_PTSZ(cuStreamSynchronize, (CUstream stream), (vgpu_per_thread(stream)))
VGPU_PTSZ(cuStreamQuery, (CUstream stream), (vgpu_per_thread(stream)))
VGPU_PTSZ(cuStreamGetCtx_v2, (CUstream stream, CUcontext *context, CUgreenCtx *green),
          (vgpu_per_thread(stream), context, green))
