/* SPDX-License-Identifier: MIT */
/** What every entry point needs before it can send: the channel and the thread's current context. */
#ifndef VGPU_GUEST_CALLER_H
#define VGPU_GUEST_CALLER_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

struct vgpu_channel;

struct vgpu_caller {
    struct vgpu_channel *channel;
    uint32_t context; /* id of the current context */
};

/** CUDA_ERROR_NOT_INITIALIZED, INVALID_CONTEXT, CONTEXT_IS_DESTROYED, or a sticky error. */
CUresult vgpu_caller_enter(struct vgpu_caller *caller);

/** Wire id of a stream handle; 0, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD are known; with
 *  `per_thread` a null handle means the thread's own stream. CUDA_ERROR_INVALID_HANDLE. */
CUresult vgpu_caller_stream(const struct vgpu_caller *caller, CUstream stream, bool per_thread,
                            uint32_t *id);

#endif
