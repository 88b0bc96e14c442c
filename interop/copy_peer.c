/* SPDX-License-Identifier: MIT */
/* Copies between contexts: whoever can copy at all reaches the memory of both. */
#include "interop/copy.h"
#include "interop/per_thread.h"

static CUresult check_contexts(CUcontext one, CUcontext other)
{
    CUresult result = vgpu_copy_check_context(one);

    return result == CUDA_SUCCESS ? vgpu_copy_check_context(other) : result;
}

static CUresult copy_peer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                          CUcontext from_context, size_t bytes, CUstream stream)
{
    CUresult result = check_contexts(to_context, from_context);

    if (result != CUDA_SUCCESS)
        return result;
    return stream == CU_STREAM_PER_THREAD ? cuMemcpyDtoD_v2_ptds(to, from, bytes)
                                          : cuMemcpyDtoD_v2(to, from, bytes);
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

/* The same copy between places of which it does not matter whose they are. */
static CUresult as_3d(const CUDA_MEMCPY3D_PEER *copy, CUDA_MEMCPY3D *box)
{
    CUresult result;

    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    result = check_contexts(copy->srcContext, copy->dstContext);
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
    CUresult result = as_3d(copy, &box);

    if (result != CUDA_SUCCESS)
        return result;
    return stream == CU_STREAM_PER_THREAD ? cuMemcpy3D_v2_ptds(&box) : cuMemcpy3D_v2(&box);
}

VGPU_PTDS(cuMemcpy3DPeer, copy_3d_peer, (const CUDA_MEMCPY3D_PEER *copy), copy)

CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER *pCopy, CUstream hStream)
{
    CUDA_MEMCPY3D box;
    CUresult result = as_3d(pCopy, &box);

    return result == CUDA_SUCCESS ? cuMemcpy3DAsync_v2(&box, hStream) : result;
}

VGPU_PTSZ(cuMemcpy3DPeerAsync, (const CUDA_MEMCPY3D_PEER *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
