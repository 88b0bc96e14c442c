/* SPDX-License-Identifier: MIT */
#include "protocol/call_class.h"

const uint8_t vgpu_call_classes[VGPU_CALL_MAX + 1] = {
    [VGPU_CALL_vgpuLaunch] = VGPU_CLASS_LAUNCH,
    [VGPU_CALL_cuGraphLaunch] = VGPU_CLASS_LAUNCH,
    [VGPU_CALL_vgpuGraphLaunchJudged] = VGPU_CLASS_LAUNCH,

    [VGPU_CALL_vgpuCopyToDevice] = VGPU_CLASS_COPY_IN,
    [VGPU_CALL_vgpuCopyInline] = VGPU_CLASS_COPY_IN,
    [VGPU_CALL_vgpuCopyFromHost] = VGPU_CLASS_COPY_IN,
    [VGPU_CALL_vgpuManagedWrite] = VGPU_CLASS_COPY_IN,

    [VGPU_CALL_vgpuCopyFromDevice] = VGPU_CLASS_COPY_OUT,
    [VGPU_CALL_vgpuCopyToHost] = VGPU_CLASS_COPY_OUT,
    [VGPU_CALL_vgpuManagedRead] = VGPU_CLASS_COPY_OUT,

    [VGPU_CALL_vgpuCopyBox] = VGPU_CLASS_COPY,
    [VGPU_CALL_cuMemcpyDtoDAsync] = VGPU_CLASS_COPY,
    [VGPU_CALL_cuMemsetD8Async] = VGPU_CLASS_COPY,
    [VGPU_CALL_cuMemsetD16Async] = VGPU_CLASS_COPY,
    [VGPU_CALL_cuMemsetD32Async] = VGPU_CLASS_COPY,
    [VGPU_CALL_cuMemsetD2D8Async] = VGPU_CLASS_COPY,
    [VGPU_CALL_cuMemsetD2D16Async] = VGPU_CLASS_COPY,
    [VGPU_CALL_cuMemsetD2D32Async] = VGPU_CLASS_COPY,

    [VGPU_CALL_cuMemAlloc] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemFree] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemAllocPitch] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_vgpuHostMap] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_vgpuHostUnmap] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemPoolCreate] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemPoolDestroy] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemPoolTrimTo] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemAllocFromPoolAsync] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemFreeAsync] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_vgpuMemFreeAsyncUnknown] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuArray3DCreate] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuArrayDestroy] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMipmappedArrayCreate] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMipmappedArrayDestroy] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemAddressReserve] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemAddressFree] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemCreate] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemRelease] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemMap] = VGPU_CLASS_ALLOC,
    [VGPU_CALL_cuMemUnmap] = VGPU_CLASS_ALLOC,

    [VGPU_CALL_vgpuFence] = VGPU_CLASS_SYNC,
    [VGPU_CALL_vgpuFenceContext] = VGPU_CLASS_SYNC,
    [VGPU_CALL_vgpuEventRecord] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuEventRecordWithFlags] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuEventQuery] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuEventElapsedTime] = VGPU_CLASS_SYNC,
    [VGPU_CALL_vgpuContextRecord] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuCtxWaitEvent] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuStreamWaitEvent] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuStreamQuery] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuStreamWaitValue32] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuStreamWaitValue64] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuStreamWriteValue32] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuStreamWriteValue64] = VGPU_CLASS_SYNC,
    [VGPU_CALL_cuStreamBatchMemOp] = VGPU_CLASS_SYNC,

    [VGPU_CALL_vgpuImageAppend] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuModuleLoadData] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuModuleUnload] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuLibraryLoadData] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuLibraryUnload] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuLibraryGetModule] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuLinkCreate] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuLinkAddData] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuLinkComplete] = VGPU_CLASS_MODULE,
    [VGPU_CALL_cuLinkDestroy] = VGPU_CLASS_MODULE,
};

const char *vgpu_call_class_name(enum vgpu_call_class which)
{
    static const char *const names[VGPU_CALL_CLASSES] = {
        [VGPU_CLASS_OTHER] = "other",        [VGPU_CLASS_LAUNCH] = "launch",
        [VGPU_CLASS_COPY_IN] = "memcpy_h2d", [VGPU_CLASS_COPY_OUT] = "memcpy_d2h",
        [VGPU_CLASS_COPY] = "memcpy_d2d",    [VGPU_CLASS_ALLOC] = "alloc",
        [VGPU_CLASS_SYNC] = "sync",          [VGPU_CLASS_MODULE] = "module",
    };

    return names[which];
}
