/* SPDX-License-Identifier: MIT */
/* Copies between contexts: whoever can copy at all reaches the memory of both. */
#include <stdbool.h>

#include "interop/copy.h"
#include "interop/per_thread.h"

static CUresult check_contexts(CUcontext one, CUcontext other)
{
    CUresult result = vgpu_copy_check_context(one);

    return result == CUDA_SUCCESS ? vgpu_copy_check_context(other) : result;
}

/* Copies that know no stream come after the work of both contexts, and before what these do next.
 * Of the current one that is so already: its default stream does the copy. */
static CUresult settle(CUcontext context)
{
    CUcontext current = NULL;
    CUresult result = cuCtxGetCurrent(&current);

    if (result != CUDA_SUCCESS || !context || context == current)
        return result;
    result = cuCtxPushCurrent_v2(context);
    if (result != CUDA_SUCCESS)
        return result;
    result = cuStreamSynchronize(CU_STREAM_LEGACY);
    cuCtxPopCurrent_v2(NULL);
    return result;
}

static CUresult settle_both(CUcontext one, CUcontext other)
{
    CUresult result = settle(one);

    return result == CUDA_SUCCESS && other != one ? settle(other) : result;
}

/* Whether a context has work that the default stream of the current one does not wait for. */
static bool is_elsewhere(CUcontext context)
{
    CUcontext current = NULL;

    return context && cuCtxGetCurrent(&current) == CUDA_SUCCESS && context != current;
}

/* After such a copy: what comes next in the other contexts does not wait for it. */
static CUresult finish(CUresult result, CUcontext one, CUcontext other, CUstream stream)
{
    if (result != CUDA_SUCCESS || !(is_elsewhere(one) || is_elsewhere(other)))
        return result;
    return cuStreamSynchronize(stream);
}

static CUresult copy_peer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                          CUcontext from_context, size_t bytes, CUstream stream)
{
    CUresult result = check_contexts(to_context, from_context);

    if (result == CUDA_SUCCESS)
        result = settle_both(to_context, from_context);
    if (result != CUDA_SUCCESS)
        return result;
    result = stream == CU_STREAM_PER_THREAD ? cuMemcpyDtoD_v2_ptds(to, from, bytes)
                                            : cuMemcpyDtoD_v2(to, from, bytes);
    return finish(result, to_context, from_context, stream);
}

VGPU_PTDS(cuMemcpyPeer, copy_peer,
          (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
           size_t bytes),
          to, to_context, from, from_context, bytes)

CUresult cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                           CUcontext srcContext, size_t ByteCount, CUstream hStream)
{
    CUresult result = check_contexts(dstContext, srcContext);

    return result == CUDA_SUCCESS ? cuMemcpyDtoDAsync_v2(dstDevice, srcDevice, ByteCount, hStream)
                                  : result;
}

VGPU_PTSZ(cuMemcpyPeerAsync,
          (CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
           size_t bytes, CUstream stream),
          (to, to_context, from, from_context, bytes, vgpu_per_thread(stream)))

/* The context that a side names, which for an array means nothing: that knows its own. */
static CUcontext context_of(CUmemorytype type, CUcontext context)
{
    return type == CU_MEMORYTYPE_ARRAY ? NULL : context;
}

/* The same copy between places of which it does not matter whose they are. */
static CUresult as_3d(const CUDA_MEMCPY3D_PEER *copy, CUDA_MEMCPY3D *box)
{
    CUresult result;

    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    result = check_contexts(context_of(copy->srcMemoryType, copy->srcContext),
                            context_of(copy->dstMemoryType, copy->dstContext));
    if (result != CUDA_SUCCESS)
        return result;
    *box = (CUDA_MEMCPY3D){
        .srcXInBytes = copy->srcXInBytes,
        .srcY = copy->srcY,
        .srcZ = copy->srcZ,
        .srcLOD = copy->srcLOD,
        .srcMemoryType = copy->srcMemoryType,
        .srcHost = copy->srcHost,
        .srcDevice = copy->srcDevice,
        .srcArray = copy->srcArray,
        .srcPitch = copy->srcPitch,
        .srcHeight = copy->srcHeight,
        .dstXInBytes = copy->dstXInBytes,
        .dstY = copy->dstY,
        .dstZ = copy->dstZ,
        .dstLOD = copy->dstLOD,
        .dstMemoryType = copy->dstMemoryType,
        .dstHost = copy->dstHost,
        .dstDevice = copy->dstDevice,
        .dstArray = copy->dstArray,
        .dstPitch = copy->dstPitch,
        .dstHeight = copy->dstHeight,
        .WidthInBytes = copy->WidthInBytes,
        .Height = copy->Height,
        .Depth = copy->Depth,
    };
    return CUDA_SUCCESS;
}

static CUresult copy_3d_peer(const CUDA_MEMCPY3D_PEER *copy, CUstream stream)
{
    CUDA_MEMCPY3D box;
    CUcontext from, to;
    CUresult result = as_3d(copy, &box);

    if (result != CUDA_SUCCESS)
        return result;
    from = context_of(copy->srcMemoryType, copy->srcContext);
    to = context_of(copy->dstMemoryType, copy->dstContext);
    result = settle_both(from, to);
    if (result != CUDA_SUCCESS)
        return result;
    result = stream == CU_STREAM_PER_THREAD ? cuMemcpy3D_v2_ptds(&box) : cuMemcpy3D_v2(&box);
    return finish(result, from, to, stream);
}

VGPU_PTDS(cuMemcpy3DPeer, copy_3d_peer, (const CUDA_MEMCPY3D_PEER *copy), copy)

CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *pCopy, CUstream hStream)
{
    CUDA_MEMCPY3D box;
    CUresult result = as_3d(pCopy, &box);

    if (result == CUDA_SUCCESS)
        result = vgpu_copy_refuse_capture(hStream);
    return result == CUDA_SUCCESS ? cuMemcpy3DAsync_v2(&box, hStream) : result;
}

VGPU_PTSZ(cuMemcpy3DPeerAsync, (const CUDA_MEMCPY3D_PEER *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
