/* SPDX-License-Identifier: MIT */
/* Streams that write values to memory and wait for them. */
#include "guest/memory/copy.h"
#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

#define OPERATIONS_MAX 255u /* of a batch */

/* The first version is there only where the device says so; of a write it takes a hint, which has
 * no effect here. */
enum version { FIRST = 1, SECOND = 2 };

static bool has(CUdevice_attribute attribute)
{
    return vgpu_process_attribute(vgpu_process(), attribute) != 0;
}

static CUresult check_version(enum version version, unsigned int bytes)
{
    if (version == FIRST && !has(CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (bytes == 8 && !has(version == FIRST ? CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1
                                            : CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS))
        return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

/* *known is cleared if only the driver can judge the address. */
static CUresult check_place(CUdeviceptr address, unsigned int bytes, bool *known)
{
    return address % bytes ? CUDA_ERROR_INVALID_VALUE : vgpu_copy_check(address, bytes, known);
}

static CUresult check_wait(CUdeviceptr address, unsigned int bytes, unsigned int flags, bool *known)
{
    const unsigned int condition = CU_STREAM_WAIT_VALUE_NOR; /* the last of them: all bits */
    if (flags & ~(condition | CU_STREAM_WAIT_VALUE_FLUSH))
        return CUDA_ERROR_INVALID_VALUE;
    if ((flags & condition) == CU_STREAM_WAIT_VALUE_NOR &&
        !has(CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (flags & CU_STREAM_WAIT_VALUE_FLUSH && !has(CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES))
        return CUDA_ERROR_NOT_SUPPORTED;
    return check_place(address, bytes, known);
}

static CUresult check_write(CUdeviceptr address, unsigned int bytes, unsigned int flags,
                            enum version version, bool *known)
{
    unsigned int hints = version == FIRST ? CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER : 0u;
    if (flags & ~hints)
        return CUDA_ERROR_INVALID_VALUE;
    return check_place(address, bytes, known);
}

/* After it was sent. The work itself is not waited for: it may be what waits. */
static CUresult finish(const struct vgpu_caller *caller, struct vgpu_stream *stream, CUresult error,
                       bool known)
{
    if (error)
        return error;
    vgpu_stream_submitted(stream);
    return known ? CUDA_SUCCESS : vgpu_caller_ask(caller);
}

#define VALUE_FUNCTION(name, message, type, bytes, version, check, sent_flags)                     \
    CUresult name(CUstream handle, CUdeviceptr address, type value, unsigned int flags)            \
    {                                                                                              \
        struct vgpu_caller caller;                                                                 \
        struct vgpu_stream *stream;                                                                \
        bool known = true;                                                                         \
        CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);                       \
        if (error == CUDA_SUCCESS)                                                                 \
            error = check_version(version, bytes);                                                 \
        if (error == CUDA_SUCCESS)                                                                 \
            error = check;                                                                         \
        if (error)                                                                                 \
            return error;                                                                          \
        error = vgpu_send_##message(caller.channel, caller.context, stream->object.id, address,    \
                                    value, sent_flags);                                            \
        return finish(&caller, stream, error, known);                                              \
    }                                                                                              \
    VGPU_PTSZ(name, (CUstream stream, CUdeviceptr address, type value, unsigned int flags),        \
              (vgpu_per_thread(stream), address, value, flags))

#define WAIT_FUNCTION(name, message, type, bytes, version)                                         \
    VALUE_FUNCTION(name, message, type, bytes, version, check_wait(address, bytes, flags, &known), \
                   flags)
#define WRITE_FUNCTION(name, message, type, bytes, version)                                        \
    VALUE_FUNCTION(name, message, type, bytes, version,                                            \
                   check_write(address, bytes, flags, version, &known),                            \
                   CU_STREAM_WRITE_VALUE_DEFAULT)

WAIT_FUNCTION(cuStreamWaitValue32, cuStreamWaitValue32, cuuint32_t, 4, FIRST)
WAIT_FUNCTION(cuStreamWaitValue32_v2, cuStreamWaitValue32, cuuint32_t, 4, SECOND)
WAIT_FUNCTION(cuStreamWaitValue64, cuStreamWaitValue64, cuuint64_t, 8, FIRST)
WAIT_FUNCTION(cuStreamWaitValue64_v2, cuStreamWaitValue64, cuuint64_t, 8, SECOND)
WRITE_FUNCTION(cuStreamWriteValue32, cuStreamWriteValue32, cuuint32_t, 4, FIRST)
WRITE_FUNCTION(cuStreamWriteValue32_v2, cuStreamWriteValue32, cuuint32_t, 4, SECOND)
WRITE_FUNCTION(cuStreamWriteValue64, cuStreamWriteValue64, cuuint64_t, 8, FIRST)
WRITE_FUNCTION(cuStreamWriteValue64_v2, cuStreamWriteValue64, cuuint64_t, 8, SECOND)

/* ---- several at once ---- */

static CUresult check_operation(CUstreamBatchMemOpParams *operation, enum version version,
                                bool *known)
{
    unsigned int bytes = operation->operation == CU_STREAM_MEM_OP_WAIT_VALUE_64 ||
                                 operation->operation == CU_STREAM_MEM_OP_WRITE_VALUE_64
                             ? 8
                             : 4;
    CUresult error = check_version(version, bytes);
    if (error)
        return error;
    switch (operation->operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        return check_wait(operation->waitValue.address, bytes, operation->waitValue.flags, known);
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        error = check_write(operation->writeValue.address, bytes, operation->writeValue.flags,
                            version, known);
        operation->writeValue.flags = CU_STREAM_WRITE_VALUE_DEFAULT;
        return error;
    case CU_STREAM_MEM_OP_BARRIER:
        return version == SECOND &&
                       operation->memoryBarrier.flags <= CU_STREAM_MEMORY_BARRIER_TYPE_GPU
                   ? CUDA_SUCCESS
                   : CUDA_ERROR_INVALID_VALUE;
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        if (operation->flushRemoteWrites.flags != 0)
            return CUDA_ERROR_INVALID_VALUE;
        return has(CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES) ? CUDA_SUCCESS
                                                                : CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult batch(CUstream handle, unsigned int count,
                      const CUstreamBatchMemOpParams *operations, unsigned int flags,
                      enum version version)
{
    CUstreamBatchMemOpParams sent[OPERATIONS_MAX];
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    bool known = true;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (count > OPERATIONS_MAX || (count && operations == NULL) || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < count && error == CUDA_SUCCESS; i++) {
        sent[i] = operations[i];
        error = check_operation(&sent[i], version, &known);
    }
    if (error || count == 0)
        return error;
    error = vgpu_send_cuStreamBatchMemOp(caller.channel, caller.context, stream->object.id, sent,
                                         count * sizeof(*sent));
    return finish(&caller, stream, error, known);
}

CUresult cuStreamBatchMemOp(CUstream stream, unsigned int count,
                            CUstreamBatchMemOpParams *operations, unsigned int flags)
{
    return batch(stream, count, operations, flags, FIRST);
}

CUresult cuStreamBatchMemOp_v2(CUstream stream, unsigned int count,
                               CUstreamBatchMemOpParams *operations, unsigned int flags)
{
    return batch(stream, count, operations, flags, SECOND);
}

#define BATCH_PTSZ(name)                                                                           \
    VGPU_PTSZ(name,                                                                                \
              (CUstream stream, unsigned int count, CUstreamBatchMemOpParams *operations,          \
               unsigned int flags),                                                                \
              (vgpu_per_thread(stream), count, operations, flags))

BATCH_PTSZ(cuStreamBatchMemOp)
BATCH_PTSZ(cuStreamBatchMemOp_v2)
