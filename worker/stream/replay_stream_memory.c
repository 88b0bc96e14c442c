/* SPDX-License-Identifier: MIT */
/* Values that streams write and wait for, and attributes of streams. Whether an address is one that
 * the GPU may reach is the driver's to check: it knows what is mapped for it. */
#include <string.h>

#include "worker/stream/wait.h"
#include "worker/worker.h"

#define OPERATIONS_MAX 255u

CUresult vgpu_replay_cuStreamWriteValue32(struct vgpu_worker *worker,
                                          struct vgpu_call_cuStreamWriteValue32 *call)
{
    const struct vgpu_driver *driver = worker->driver;
    return driver->cuStreamWriteValue32
               ? driver->cuStreamWriteValue32(call->stream, call->address, call->value, call->flags)
               : CUDA_ERROR_NOT_SUPPORTED;
}

CUresult vgpu_replay_cuStreamWaitValue32(struct vgpu_worker *worker,
                                         struct vgpu_call_cuStreamWaitValue32 *call)
{
    vgpu_usage_cover_stream(worker, call->stream);
    CUresult error =
        worker->driver->cuStreamWaitValue32(call->stream, call->address, call->value, call->flags);
    if (error == CUDA_SUCCESS)
        vgpu_wait_place(worker, call->stream);
    return error;
}

CUresult vgpu_replay_cuStreamWaitValue64(struct vgpu_worker *worker,
                                         struct vgpu_call_cuStreamWaitValue64 *call)
{
    vgpu_usage_cover_stream(worker, call->stream);
    CUresult error =
        worker->driver->cuStreamWaitValue64(call->stream, call->address, call->value, call->flags);
    if (error == CUDA_SUCCESS)
        vgpu_wait_place(worker, call->stream);
    return error;
}

static bool is_operation(CUstreamBatchMemOpType type)
{
    switch (type) {
    case CU_STREAM_MEM_OP_WAIT_VALUE_32:
    case CU_STREAM_MEM_OP_WAIT_VALUE_64:
    case CU_STREAM_MEM_OP_WRITE_VALUE_32:
    case CU_STREAM_MEM_OP_WRITE_VALUE_64:
    case CU_STREAM_MEM_OP_BARRIER:
    case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
        return true;
    default:
        return false;
    }
}

CUresult vgpu_replay_cuStreamBatchMemOp(struct vgpu_worker *worker,
                                        struct vgpu_call_cuStreamBatchMemOp *call)
{
    CUstreamBatchMemOpParams operations[OPERATIONS_MAX];
    unsigned int count = call->operations_bytes / sizeof(*operations);
    if (call->operations_bytes % sizeof(*operations) != 0 || count > OPERATIONS_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(operations, call->operations, call->operations_bytes);
    bool waits = false;
    for (unsigned int i = 0; i < count; i++) {
        if (!is_operation(operations[i].operation))
            return CUDA_ERROR_INVALID_VALUE;
        waits |= operations[i].operation == CU_STREAM_MEM_OP_WAIT_VALUE_32 ||
                 operations[i].operation == CU_STREAM_MEM_OP_WAIT_VALUE_64;
    }
    if (waits)
        vgpu_usage_cover_stream(worker, call->stream);
    CUresult error = worker->driver->cuStreamBatchMemOp(call->stream, count, operations, 0);
    if (error == CUDA_SUCCESS && waits)
        vgpu_wait_place(worker, call->stream);
    return error;
}

CUresult vgpu_replay_cuStreamGetAttribute(struct vgpu_worker *worker,
                                          struct vgpu_call_cuStreamGetAttribute *call)
{
    CUstreamAttrValue value;
    memset(&value, 0, sizeof(value)); /* the driver fills in the member, the guest gets all */
    CUresult error =
        worker->driver->cuStreamGetAttribute(call->stream, (CUstreamAttrID)call->attribute, &value);
    memcpy(call->value, &value, sizeof(value));
    call->value_bytes = sizeof(value);
    return error;
}

CUresult vgpu_replay_cuStreamSetAttribute(struct vgpu_worker *worker,
                                          struct vgpu_call_cuStreamSetAttribute *call)
{
    CUstreamAttrValue value;
    if (call->value_bytes != sizeof(value))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&value, call->value, sizeof(value));
    switch ((CUstreamAttrID)call->attribute) {
    case CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_STREAM_ATTRIBUTE_PRIORITY:
    case CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_STREAM_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        vgpu_launch_chain_leave_out(worker, call->stream);
        return worker->driver->cuStreamSetAttribute(call->stream, (CUstreamAttrID)call->attribute,
                                                    &value);
    default: /* the others are not a stream's; one that names an object must not get through */
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult vgpu_replay_cuStreamCopyAttributes(struct vgpu_worker *worker,
                                            struct vgpu_call_cuStreamCopyAttributes *call)
{
    vgpu_launch_chain_leave_out(worker, call->target);
    return worker->driver->cuStreamCopyAttributes(call->target, call->source);
}
