/* SPDX-License-Identifier: MIT */
/* Memory of the device. */
#include "guest/graph/capture.h"
#include "guest/memory/host_memory.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/* Takes new memory into the table; gives it back if that fails. */
static CUresult keep(const struct vgpu_caller *caller, CUdeviceptr address, size_t bytes)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_range range = {.start = address,
                               .bytes = bytes,
                               .kind = VGPU_RANGE_DEVICE,
                               .context = caller->current,
                               .id = vgpu_process_new_id(process)};
    if (vgpu_ranges_add(&process->ranges, &range))
        return CUDA_SUCCESS;
    vgpu_send_cuMemFree(caller->channel, caller->context, address);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes)
{
    struct vgpu_caller caller;
    uint64_t start = 0;
    CUresult error = vgpu_caller_enter_unsafe(&caller);
    if (error)
        return error;
    if (address == NULL || bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuMemAlloc(caller.channel, caller.context, &start, bytes));
    if (error == CUDA_SUCCESS)
        error = keep(&caller, start, bytes);
    if (error == CUDA_SUCCESS)
        *address = start;
    return error;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                            unsigned int element)
{
    struct vgpu_caller caller;
    uint64_t start = 0, row = 0;
    size_t bytes;
    CUresult error = vgpu_caller_enter_unsafe(&caller);
    if (error)
        return error;
    if (address == NULL || pitch == NULL || width == 0 || height == 0 ||
        (element != 4 && element != 8 && element != 16))
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuMemAllocPitch(caller.channel, caller.context, &start,
                                                        &row, width, height, element));
    if (error == CUDA_SUCCESS && __builtin_mul_overflow(row, height, &bytes))
        error = CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS)
        error = keep(&caller, start, bytes);
    if (error == CUDA_SUCCESS) {
        *address = start;
        *pitch = row;
    }
    return error;
}

CUresult cuMemFree_v2(CUdeviceptr address)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter_unsafe(&caller);
    if (error || address == 0)
        return error;
    if (vgpu_ranges_remove(&process->ranges, address, VGPU_RANGE_MANAGED, &range))
        return vgpu_host_free(&caller, &range);
    /* What we do not know may be a graph's: the driver judges. */
    if (!vgpu_ranges_remove(&process->ranges, address, VGPU_RANGE_DEVICE, &range))
        return vgpu_process_note(
            process, vgpu_send_vgpuMemFreeUnknown(caller.channel, caller.context, address));
    /* It may be another context's than the current one, or a pool's and so no context's. */
    if (range.context) {
        caller.current = range.context;
        caller.context = range.context->object.id;
    }
    /* Work that is under way may use it; what the host makes of it nobody has to wait for. While
     * there is a capture, which must be of the relaxed mode, only the host can wait. */
    if (!vgpu_capture_any())
        error = vgpu_context_wait(&caller);
    CUresult posted = vgpu_send_cuMemFree(caller.channel, caller.context, address);
    return error ? error : posted;
}
