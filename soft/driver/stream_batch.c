/* SPDX-License-Identifier: MIT */
/* cuStreamBatchMemOp: one operation after the other, once all of them are known to be right. */
#include "interop/per_thread.h"
#include "soft/driver/allocation.h"

enum { OPERATIONS_MAX = 255 };

static CUresult check_place(CUdeviceptr address, unsigned int bytes, unsigned int flags,
                            unsigned int known)
{
    if (flags & ~known || address % bytes)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_allocation_check(address, bytes, VGPU_SIDE_DEVICE);
}

static CUresult check(const CUstreamBatchMemOpParams *operation)
{
    const unsigned int conditions = CU_STREAM_WAIT_VALUE_NOR;

    switch (operation->operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        return check_place(operation->waitValue.address, 4, operation->waitValue.flags, conditions);
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        return check_place(operation->waitValue.address, 8, operation->waitValue.flags, conditions);
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

static CUresult submit(CUstream stream, const CUstreamBatchMemOpParams *operation)
{
    switch (operation->operation) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
        return cuStreamWaitValue32_v2(stream, operation->waitValue.address,
                                      operation->waitValue.value, operation->waitValue.flags);
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        return cuStreamWaitValue64_v2(stream, operation->waitValue.address,
                                      operation->waitValue.value64, operation->waitValue.flags);
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
        return cuStreamWriteValue32_v2(stream, operation->writeValue.address,
                                       operation->writeValue.value, 0);
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        return cuStreamWriteValue64_v2(stream, operation->writeValue.address,
                                       operation->writeValue.value64, 0);
    default: /* tasks of a stream are in order, and so is the memory that they see */
        return CUDA_SUCCESS;
    }
}

CUresult cuStreamBatchMemOp_v2(CUstream stream, unsigned int count,
                               CUstreamBatchMemOpParams *operations, unsigned int flags)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (count > OPERATIONS_MAX || (count && !operations) || flags)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < count && result == CUDA_SUCCESS; i++)
        result = check(&operations[i]);
    for (unsigned int i = 0; i < count && result == CUDA_SUCCESS; i++)
        result = submit(stream, &operations[i]);
    return result;
}

/* The versions differ in what a device had to support. */
CUresult cuStreamBatchMemOp(CUstream stream, unsigned int count,
                            CUstreamBatchMemOpParams *operations, unsigned int flags)
{
    return cuStreamBatchMemOp_v2(stream, count, operations, flags);
}

#define BATCH_PTSZ(name)                                                                           \
    VGPU_PTSZ(name,                                                                                \
              (CUstream stream, unsigned int count, CUstreamBatchMemOpParams *operations,          \
               unsigned int flags),                                                                \
              (vgpu_per_thread(stream), count, operations, flags))

BATCH_PTSZ(cuStreamBatchMemOp)
BATCH_PTSZ(cuStreamBatchMemOp_v2)
