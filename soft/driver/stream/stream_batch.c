/* SPDX-License-Identifier: MIT */
/* cuStreamBatchMemOp, cuStreamWaitValue*, cuStreamWriteValue*: one task of one operation or more.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "interop/per_thread.h"
#include "soft/driver/graph/capture.h"
#include "soft/driver/memory/allocation.h"
#include "soft/driver/stream/batch_task.h"

enum { OPERATIONS_MAX = 255 };

struct batch_task {
    struct vgpu_task task;
    CUcontext context; /* as the program named it */
    unsigned int flags;
    unsigned int count;
    CUstreamBatchMemOpParams operations[];
};

static unsigned int bytes_of(const CUstreamBatchMemOpParams *operation)
{
    return operation->operation == CU_STREAM_MEM_OP_WAIT_VALUE_32 ||
                   operation->operation == CU_STREAM_MEM_OP_WRITE_VALUE_32
               ? 4
               : 8;
}

static bool is_wait(const CUstreamBatchMemOpParams *operation)
{
    return operation->operation == CU_STREAM_MEM_OP_WAIT_VALUE_32 ||
           operation->operation == CU_STREAM_MEM_OP_WAIT_VALUE_64;
}

static bool is_write(const CUstreamBatchMemOpParams *operation)
{
    return operation->operation == CU_STREAM_MEM_OP_WRITE_VALUE_32 ||
           operation->operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
}

/* ---- running ---- */

static void write_value(const CUstreamBatchMemOpParams *operation)
{
    void *place = (void *)(uintptr_t)operation->writeValue.address;

    /* Release: who reads the value with acquire sees all earlier work of the stream. */
    if (bytes_of(operation) == 4)
        __atomic_store_n((uint32_t *)place, operation->writeValue.value, __ATOMIC_RELEASE);
    else
        __atomic_store_n((uint64_t *)place, operation->writeValue.value64, __ATOMIC_RELEASE);
}

static bool is_satisfied(const CUstreamBatchMemOpParams *wait)
{
    const void *place = (const void *)(uintptr_t)wait->waitValue.address;
    bool word = bytes_of(wait) == 4;
    /* Acquire pairs with the release of whoever writes the value. */
    uint64_t now = word ? __atomic_load_n((const uint32_t *)place, __ATOMIC_ACQUIRE)
                        : __atomic_load_n((const uint64_t *)place, __ATOMIC_ACQUIRE);
    uint64_t value = word ? wait->waitValue.value : wait->waitValue.value64;

    switch (wait->waitValue.flags & 3) {
    case CU_STREAM_WAIT_VALUE_GEQ:
        /* Cyclic: the difference counts, as a signed number of the value's size. */
        return word ? (int32_t)(uint32_t)(now - value) >= 0 : (int64_t)(now - value) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
        return now == value;
    case CU_STREAM_WAIT_VALUE_AND:
        return (now & value) != 0;
    default: {
        uint64_t nor = ~(now | value);
        return word ? (uint32_t)nor != 0 : nor != 0;
    }
    }
}

static CUresult wait_for(const CUstreamBatchMemOpParams *wait, const struct vgpu_context *context)
{
    const struct timespec pause = {.tv_nsec = 50000};

    for (int tries = 0; !is_satisfied(wait); tries++) {
        if (vgpu_context_cancelled(context))
            return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        if (tries < 100)
            sched_yield();
        else
            nanosleep(&pause, NULL);
    }
    return CUDA_SUCCESS;
}

static CUresult batch_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct batch_task *batch = (const struct batch_task *)task;
    CUresult result = CUDA_SUCCESS;

    /* Barriers are nothing to do: tasks of a stream are in order, and so is what they see. */
    for (unsigned int i = 0; i < batch->count && result == CUDA_SUCCESS; i++) {
        const CUstreamBatchMemOpParams *operation = &batch->operations[i];
        if (is_wait(operation))
            result = wait_for(operation, context);
        else if (is_write(operation))
            write_value(operation);
    }
    return result;
}

/* ---- tasks ---- */

static CUresult check_place(CUdeviceptr address, unsigned int bytes, unsigned int flags,
                            unsigned int known)
{
    if (flags & ~known || address % bytes)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_allocation_check(address, bytes, VGPU_SIDE_DEVICE);
}

static CUresult check_wait(const CUstreamBatchMemOpParams *wait)
{
    const unsigned int conditions = CU_STREAM_WAIT_VALUE_NOR, flush = CU_STREAM_WAIT_VALUE_FLUSH;

    if (wait->waitValue.flags & ~(conditions | flush))
        return CUDA_ERROR_INVALID_VALUE;
    if (wait->waitValue.flags & flush)
        return CUDA_ERROR_NOT_SUPPORTED; /* as the device's attribute says */
    return check_place(wait->waitValue.address, bytes_of(wait), wait->waitValue.flags, conditions);
}

static CUresult check(const CUstreamBatchMemOpParams *operation)
{
    switch (operation->operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        return check_wait(operation);
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        return check_place(operation->writeValue.address, 4, operation->writeValue.flags, 0);
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        return check_place(operation->writeValue.address, 8, operation->writeValue.flags, 0);
    case CU_STREAM_MEM_OP_BARRIER:
        return operation->memoryBarrier.flags <= CU_STREAM_MEMORY_BARRIER_TYPE_GPU
                   ? CUDA_SUCCESS
                   : CUDA_ERROR_INVALID_VALUE;
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        return CUDA_ERROR_NOT_SUPPORTED; /* as the device's attribute says */
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult create(const CUDA_BATCH_MEM_OP_NODE_PARAMS *params, struct vgpu_task **task)
{
    size_t bytes = params->count * sizeof(*params->paramArray);
    struct batch_task *batch = calloc(1, sizeof(*batch) + bytes);

    if (!batch)
        return CUDA_ERROR_OUT_OF_MEMORY;
    batch->task = (struct vgpu_task){
        .is_node = true, .type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, .run = batch_run};
    batch->context = params->ctx;
    batch->flags = params->flags;
    batch->count = params->count;
    if (bytes)
        memcpy(batch->operations, params->paramArray, bytes);
    *task = &batch->task;
    return CUDA_SUCCESS;
}

CUresult vgpu_batch_task_create(const CUDA_BATCH_MEM_OP_NODE_PARAMS *batch, struct vgpu_task **task)
{
    CUresult result = CUDA_SUCCESS;

    if (batch->count > OPERATIONS_MAX || (batch->count && !batch->paramArray) || batch->flags)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < batch->count && result == CUDA_SUCCESS; i++)
        result = check(&batch->paramArray[i]);
    return result == CUDA_SUCCESS ? create(batch, task) : result;
}

void vgpu_batch_task_params(const struct vgpu_task *task, CUDA_BATCH_MEM_OP_NODE_PARAMS *params)
{
    struct batch_task *batch = (struct batch_task *)task;

    *params = (CUDA_BATCH_MEM_OP_NODE_PARAMS){.ctx = batch->context,
                                              .count = batch->count,
                                              .paramArray = batch->operations,
                                              .flags = batch->flags};
}

bool vgpu_batch_task_is_ready(const struct vgpu_task *task)
{
    const struct batch_task *batch = (const struct batch_task *)task;

    return batch->count == 0 || !is_wait(&batch->operations[0]) ||
           is_satisfied(&batch->operations[0]);
}

/* ---- calls ---- */

static CUresult submit(struct vgpu_context *context, CUstream stream, struct vgpu_task *task)
{
    const struct batch_task *batch = (const struct batch_task *)task;
    enum vgpu_submission how = VGPU_SUBMIT_INSTANT;

    for (unsigned int i = 0; i < batch->count; i++) {
        if (is_wait(&batch->operations[i]))
            how = VGPU_SUBMIT_ASYNC;
    }
    return vgpu_stream_submit_to(context, stream, task, how);
}

CUresult cuStreamBatchMemOp_v2(CUstream stream, unsigned int count,
                               CUstreamBatchMemOpParams *operations, unsigned int flags)
{
    struct vgpu_context *context;
    struct vgpu_task *task = NULL;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_batch_task_create(&(CUDA_BATCH_MEM_OP_NODE_PARAMS){.ctx = (CUcontext)context,
                                                                         .count = count,
                                                                         .paramArray = operations,
                                                                         .flags = flags},
                                        &task);
    return result == CUDA_SUCCESS ? submit(context, stream, task) : result;
}

/* The versions differ in what a device had to support. */
CUresult cuStreamBatchMemOp(CUstream stream, unsigned int count,
                            CUstreamBatchMemOpParams *operations, unsigned int flags)
{
    return cuStreamBatchMemOp_v2(stream, count, operations, flags);
}

/* One operation; a write's flags may have the bits in `hints`. */
static CUresult submit_one(CUstream stream, CUstreamBatchMemOpParams *operation, unsigned int hints)
{
    struct vgpu_context *context;
    struct vgpu_task *task = NULL;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS && is_wait(operation))
        result = check_wait(operation);
    else if (result == CUDA_SUCCESS)
        result = check_place(operation->writeValue.address, bytes_of(operation),
                             operation->writeValue.flags, hints);
    if (result == CUDA_SUCCESS)
        result = create(&(CUDA_BATCH_MEM_OP_NODE_PARAMS){.ctx = (CUcontext)context,
                                                         .count = 1,
                                                         .paramArray = operation},
                        &task);
    return result == CUDA_SUCCESS ? submit(context, stream, task) : result;
}

#define VALUE_FUNCTION(name, type, member, kind, place, hints)                                     \
    CUresult name(CUstream stream, CUdeviceptr address, type value, unsigned int flags)            \
    {                                                                                              \
        return submit_one(stream,                                                                  \
                          &(CUstreamBatchMemOpParams){.place = {.operation = kind,                 \
                                                                .address = address,                \
                                                                .member = value,                   \
                                                                .flags = flags}},                  \
                          hints);                                                                  \
    }                                                                                              \
    VGPU_PTSZ(name, (CUstream stream, CUdeviceptr address, type value, unsigned int flags),        \
              (vgpu_per_thread(stream), address, value, flags))

/* The first version of a write takes a hint, which changes nothing. */
#define WRITE_FUNCTION(name, type, member, bits, hints)                                            \
    VALUE_FUNCTION(name, type, member, CU_STREAM_MEM_OP_WRITE_VALUE_##bits, writeValue, hints)
#define WAIT_FUNCTION(name, type, member, bits)                                                    \
    VALUE_FUNCTION(name, type, member, CU_STREAM_MEM_OP_WAIT_VALUE_##bits, waitValue, 0)

WRITE_FUNCTION(cuStreamWriteValue32, cuuint32_t, value, 32, CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER)
WRITE_FUNCTION(cuStreamWriteValue32_v2, cuuint32_t, value, 32, 0)
WRITE_FUNCTION(cuStreamWriteValue64, cuuint64_t, value64, 64,
               CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER)
WRITE_FUNCTION(cuStreamWriteValue64_v2, cuuint64_t, value64, 64, 0)
WAIT_FUNCTION(cuStreamWaitValue32, cuuint32_t, value, 32)
WAIT_FUNCTION(cuStreamWaitValue32_v2, cuuint32_t, value, 32)
WAIT_FUNCTION(cuStreamWaitValue64, cuuint64_t, value64, 64)
WAIT_FUNCTION(cuStreamWaitValue64_v2, cuuint64_t, value64, 64)

#define BATCH_PTSZ(name)                                                                           \
    VGPU_PTSZ(name,                                                                                \
              (CUstream stream, unsigned int count, CUstreamBatchMemOpParams *operations,          \
               unsigned int flags),                                                                \
              (vgpu_per_thread(stream), count, operations, flags))

BATCH_PTSZ(cuStreamBatchMemOp)
BATCH_PTSZ(cuStreamBatchMemOp_v2)
