/* SPDX-License-Identifier: MIT */
/** What copy_batch.c and copy_peer.c ask the libcuda that they are a part of, and what the copies
 * of both have in common. Any thread may ask. */
#ifndef VGPU_INTEROP_COPY_H
#define VGPU_INTEROP_COPY_H

#include <stdbool.h>

#include "interop/driver_api.h"

/** What is known to be wrong with a copy, which is not made. */
CUresult vgpu_copy_check_3d(const CUDA_MEMCPY3D *copy, CUstream stream);

/** Makes it in the stream. With `during_call` the program may change the source when this returns.
 */
CUresult vgpu_copy_submit_3d(const CUDA_MEMCPY3D *copy, CUstream stream, bool during_call);

/** For what cannot be captured: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED if the stream captures, which
 * is over then. */
CUresult vgpu_copy_refuse_capture(CUstream stream);

/** CUDA_ERROR_INVALID_CONTEXT unless it lives; NULL is the current one. */
CUresult vgpu_copy_check_context(CUcontext context);

/** The box of one plane that a copy of rows is. */
static inline CUDA_MEMCPY3D vgpu_copy_as_box(const CUDA_MEMCPY2D *copy)
{
    return (CUDA_MEMCPY3D){
        .srcXInBytes = copy->srcXInBytes,
        .srcY = copy->srcY,
        .srcMemoryType = copy->srcMemoryType,
        .srcHost = copy->srcHost,
        .srcDevice = copy->srcDevice,
        .srcArray = copy->srcArray,
        .srcPitch = copy->srcPitch,
        .dstXInBytes = copy->dstXInBytes,
        .dstY = copy->dstY,
        .dstMemoryType = copy->dstMemoryType,
        .dstHost = copy->dstHost,
        .dstDevice = copy->dstDevice,
        .dstArray = copy->dstArray,
        .dstPitch = copy->dstPitch,
        .WidthInBytes = copy->WidthInBytes,
        .Height = copy->Height,
        .Depth = 1,
    };
}

#endif
