/* SPDX-License-Identifier: MIT */
/*
 * The functions of before CUDA 3.2, whose sizes and device pointers have 32 bits. Device memory has
 * no such addresses here, so there is none to allocate; host memory may have them.
 */
#include <limits.h>
#include <stdbool.h>

#include "interop/driver_api.h"

/* Stores an address or size that 32 bits can hold. */
static bool narrow(unsigned int *out, size_t value)
{
    if (value > UINT_MAX)
        return false;
    if (out)
        *out = (unsigned int)value;
    return true;
}

/* Amounts of memory are told as far as they go. */
static void saturate(unsigned int *out, size_t value)
{
    if (out)
        *out = value > UINT_MAX ? UINT_MAX : (unsigned int)value;
}

CUresult cuDeviceTotalMem(unsigned int *bytes, CUdevice dev)
{
    size_t all = 0;
    CUresult result = cuDeviceTotalMem_v2(bytes ? &all : NULL, dev);

    if (result == CUDA_SUCCESS)
        saturate(bytes, all);
    return result;
}

CUresult cuMemGetInfo(unsigned int *free_bytes, unsigned int *total)
{
    size_t wide_free, wide_total;
    CUresult result = cuMemGetInfo_v2(&wide_free, &wide_total);

    if (result == CUDA_SUCCESS) {
        saturate(free_bytes, wide_free);
        saturate(total, wide_total);
    }
    return result;
}

CUresult cuMemAlloc(CUdeviceptr_v1 *dptr, unsigned int bytesize)
{
    CUdeviceptr wide;
    CUresult result = cuMemAlloc_v2(dptr ? &wide : NULL, bytesize);

    if (result != CUDA_SUCCESS || narrow(dptr, wide))
        return result;
    cuMemFree_v2(wide);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemAllocPitch(CUdeviceptr_v1 *dptr, unsigned int *pPitch, unsigned int WidthInBytes,
                         unsigned int Height, unsigned int ElementSizeBytes)
{
    CUdeviceptr wide;
    size_t pitch;
    CUresult result = cuMemAllocPitch_v2(dptr ? &wide : NULL, pPitch ? &pitch : NULL, WidthInBytes,
                                         Height, ElementSizeBytes);

    if (result != CUDA_SUCCESS || (narrow(dptr, wide) && narrow(pPitch, pitch)))
        return result;
    cuMemFree_v2(wide);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemFree(CUdeviceptr_v1 dptr)
{
    return cuMemFree_v2(dptr);
}

CUresult cuMemGetAddressRange(CUdeviceptr_v1 *pbase, unsigned int *psize, CUdeviceptr_v1 dptr)
{
    CUdeviceptr base;
    size_t size;
    CUresult result = cuMemGetAddressRange_v2(&base, &size, dptr);

    if (result == CUDA_SUCCESS && (!narrow(pbase, base) || !narrow(psize, size)))
        result = CUDA_ERROR_INVALID_VALUE;
    return result;
}

CUresult cuMemAllocHost(void **pp, unsigned int bytesize)
{
    return cuMemAllocHost_v2(pp, bytesize);
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr_v1 *pdptr, void *p, unsigned int Flags)
{
    CUdeviceptr wide;
    CUresult result = cuMemHostGetDevicePointer_v2(pdptr ? &wide : NULL, p, Flags);

    if (result == CUDA_SUCCESS && !narrow(pdptr, wide))
        result = CUDA_ERROR_INVALID_VALUE;
    return result;
}

CUresult cuModuleGetGlobal(CUdeviceptr_v1 *dptr, unsigned int *bytes, CUmodule hmod,
                           const char *name)
{
    CUdeviceptr wide;
    size_t size;
    CUresult result = cuModuleGetGlobal_v2(&wide, &size, hmod, name);

    if (result == CUDA_SUCCESS && (!narrow(dptr, wide) || !narrow(bytes, size)))
        result = CUDA_ERROR_INVALID_VALUE;
    return result;
}

/* ---- copies ---- */

CUresult cuMemcpyHtoD(CUdeviceptr_v1 dstDevice, const void *srcHost, unsigned int ByteCount)
{
    return cuMemcpyHtoD_v2(dstDevice, srcHost, ByteCount);
}

CUresult cuMemcpyDtoH(void *dstHost, CUdeviceptr_v1 srcDevice, unsigned int ByteCount)
{
    return cuMemcpyDtoH_v2(dstHost, srcDevice, ByteCount);
}

CUresult cuMemcpyDtoD(CUdeviceptr_v1 dstDevice, CUdeviceptr_v1 srcDevice, unsigned int ByteCount)
{
    return cuMemcpyDtoD_v2(dstDevice, srcDevice, ByteCount);
}

CUresult cuMemcpyDtoA(CUarray dstArray, unsigned int dstOffset, CUdeviceptr_v1 srcDevice,
                      unsigned int ByteCount)
{
    return cuMemcpyDtoA_v2(dstArray, dstOffset, srcDevice, ByteCount);
}

CUresult cuMemcpyAtoD(CUdeviceptr_v1 dstDevice, CUarray srcArray, unsigned int srcOffset,
                      unsigned int ByteCount)
{
    return cuMemcpyAtoD_v2(dstDevice, srcArray, srcOffset, ByteCount);
}

CUresult cuMemcpyHtoA(CUarray dstArray, unsigned int dstOffset, const void *srcHost,
                      unsigned int ByteCount)
{
    return cuMemcpyHtoA_v2(dstArray, dstOffset, srcHost, ByteCount);
}

CUresult cuMemcpyAtoH(void *dstHost, CUarray srcArray, unsigned int srcOffset,
                      unsigned int ByteCount)
{
    return cuMemcpyAtoH_v2(dstHost, srcArray, srcOffset, ByteCount);
}

CUresult cuMemcpyAtoA(CUarray dstArray, unsigned int dstOffset, CUarray srcArray,
                      unsigned int srcOffset, unsigned int ByteCount)
{
    return cuMemcpyAtoA_v2(dstArray, dstOffset, srcArray, srcOffset, ByteCount);
}

CUresult cuMemcpyHtoAAsync(CUarray dstArray, unsigned int dstOffset, const void *srcHost,
                           unsigned int ByteCount, CUstream hStream)
{
    return cuMemcpyHtoAAsync_v2(dstArray, dstOffset, srcHost, ByteCount, hStream);
}

CUresult cuMemcpyAtoHAsync(void *dstHost, CUarray srcArray, unsigned int srcOffset,
                           unsigned int ByteCount, CUstream hStream)
{
    return cuMemcpyAtoHAsync_v2(dstHost, srcArray, srcOffset, ByteCount, hStream);
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr_v1 dstDevice, const void *srcHost, unsigned int ByteCount,
                           CUstream hStream)
{
    return cuMemcpyHtoDAsync_v2(dstDevice, srcHost, ByteCount, hStream);
}

CUresult cuMemcpyDtoHAsync(void *dstHost, CUdeviceptr_v1 srcDevice, unsigned int ByteCount,
                           CUstream hStream)
{
    return cuMemcpyDtoHAsync_v2(dstHost, srcDevice, ByteCount, hStream);
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr_v1 dstDevice, CUdeviceptr_v1 srcDevice,
                           unsigned int ByteCount, CUstream hStream)
{
    return cuMemcpyDtoDAsync_v2(dstDevice, srcDevice, ByteCount, hStream);
}

static const CUDA_MEMCPY2D *widen_2d(const CUDA_MEMCPY2D_v1 *copy, CUDA_MEMCPY2D *wide)
{
    if (!copy)
        return NULL;
    *wide = (CUDA_MEMCPY2D){
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
    };
    return wide;
}

static const CUDA_MEMCPY3D *widen_3d(const CUDA_MEMCPY3D_v1 *copy, CUDA_MEMCPY3D *wide)
{
    if (!copy)
        return NULL;
    *wide = (CUDA_MEMCPY3D){
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
    return wide;
}

CUresult cuMemcpy2D(const CUDA_MEMCPY2D_v1 *pCopy)
{
    CUDA_MEMCPY2D wide;

    return cuMemcpy2D_v2(widen_2d(pCopy, &wide));
}

CUresult cuMemcpy2DUnaligned(const CUDA_MEMCPY2D_v1 *pCopy)
{
    CUDA_MEMCPY2D wide;

    return cuMemcpy2DUnaligned_v2(widen_2d(pCopy, &wide));
}

CUresult cuMemcpy3D(const CUDA_MEMCPY3D_v1 *pCopy)
{
    CUDA_MEMCPY3D wide;

    return cuMemcpy3D_v2(widen_3d(pCopy, &wide));
}

CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D_v1 *pCopy, CUstream hStream)
{
    CUDA_MEMCPY2D wide;

    return cuMemcpy2DAsync_v2(widen_2d(pCopy, &wide), hStream);
}

CUresult cuMemcpy3DAsync(const CUDA_MEMCPY3D_v1 *pCopy, CUstream hStream)
{
    CUDA_MEMCPY3D wide;

    return cuMemcpy3DAsync_v2(widen_3d(pCopy, &wide), hStream);
}

/* ---- fills ---- */

CUresult cuMemsetD8(CUdeviceptr_v1 dstDevice, unsigned char uc, unsigned int N)
{
    return cuMemsetD8_v2(dstDevice, uc, N);
}

CUresult cuMemsetD16(CUdeviceptr_v1 dstDevice, unsigned short us, unsigned int N)
{
    return cuMemsetD16_v2(dstDevice, us, N);
}

CUresult cuMemsetD32(CUdeviceptr_v1 dstDevice, unsigned int ui, unsigned int N)
{
    return cuMemsetD32_v2(dstDevice, ui, N);
}

CUresult cuMemsetD2D8(CUdeviceptr_v1 dstDevice, unsigned int dstPitch, unsigned char uc,
                      unsigned int Width, unsigned int Height)
{
    return cuMemsetD2D8_v2(dstDevice, dstPitch, uc, Width, Height);
}

CUresult cuMemsetD2D16(CUdeviceptr_v1 dstDevice, unsigned int dstPitch, unsigned short us,
                       unsigned int Width, unsigned int Height)
{
    return cuMemsetD2D16_v2(dstDevice, dstPitch, us, Width, Height);
}

CUresult cuMemsetD2D32(CUdeviceptr_v1 dstDevice, unsigned int dstPitch, unsigned int ui,
                       unsigned int Width, unsigned int Height)
{
    return cuMemsetD2D32_v2(dstDevice, dstPitch, ui, Width, Height);
}

/* ---- arrays ---- */

CUresult cuArrayCreate(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR_v1 *pAllocateArray)
{
    CUDA_ARRAY_DESCRIPTOR wide;

    if (!pAllocateArray)
        return cuArrayCreate_v2(pHandle, NULL);
    wide = (CUDA_ARRAY_DESCRIPTOR){
        .Width = pAllocateArray->Width,
        .Height = pAllocateArray->Height,
        .Format = pAllocateArray->Format,
        .NumChannels = pAllocateArray->NumChannels,
    };
    return cuArrayCreate_v2(pHandle, &wide);
}

CUresult cuArray3DCreate(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR_v1 *pAllocateArray)
{
    CUDA_ARRAY3D_DESCRIPTOR wide;

    if (!pAllocateArray)
        return cuArray3DCreate_v2(pHandle, NULL);
    wide = (CUDA_ARRAY3D_DESCRIPTOR){
        .Width = pAllocateArray->Width,
        .Height = pAllocateArray->Height,
        .Depth = pAllocateArray->Depth,
        .Format = pAllocateArray->Format,
        .NumChannels = pAllocateArray->NumChannels,
        .Flags = pAllocateArray->Flags,
    };
    return cuArray3DCreate_v2(pHandle, &wide);
}

/* No extent of an array is beyond 32 bits. */
CUresult cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR_v1 *pArrayDescriptor, CUarray hArray)
{
    CUDA_ARRAY_DESCRIPTOR wide;
    CUresult result = cuArrayGetDescriptor_v2(pArrayDescriptor ? &wide : NULL, hArray);

    if (result == CUDA_SUCCESS)
        *pArrayDescriptor = (CUDA_ARRAY_DESCRIPTOR_v1){
            .Width = (unsigned int)wide.Width,
            .Height = (unsigned int)wide.Height,
            .Format = wide.Format,
            .NumChannels = wide.NumChannels,
        };
    return result;
}

CUresult cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR_v1 *pArrayDescriptor, CUarray hArray)
{
    CUDA_ARRAY3D_DESCRIPTOR wide;
    CUresult result = cuArray3DGetDescriptor_v2(pArrayDescriptor ? &wide : NULL, hArray);

    if (result == CUDA_SUCCESS)
        *pArrayDescriptor = (CUDA_ARRAY3D_DESCRIPTOR_v1){
            .Width = (unsigned int)wide.Width,
            .Height = (unsigned int)wide.Height,
            .Depth = (unsigned int)wide.Depth,
            .Format = wide.Format,
            .NumChannels = wide.NumChannels,
            .Flags = wide.Flags,
        };
    return result;
}

/* ---- texture references ---- */

CUresult cuTexRefSetAddress(unsigned int *ByteOffset, CUtexref hTexRef, CUdeviceptr_v1 dptr,
                            unsigned int bytes)
{
    size_t wide = 0;
    CUresult result = cuTexRefSetAddress_v2(ByteOffset ? &wide : NULL, hTexRef, dptr, bytes);

    if (result == CUDA_SUCCESS && ByteOffset)
        *ByteOffset = (unsigned int)wide; /* less than the alignment of textures */
    return result;
}

CUresult cuTexRefSetAddress2D(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR_v1 *desc,
                              CUdeviceptr_v1 dptr, unsigned int Pitch)
{
    CUDA_ARRAY_DESCRIPTOR wide;

    if (!desc)
        return cuTexRefSetAddress2D_v3(hTexRef, NULL, dptr, Pitch);
    wide = (CUDA_ARRAY_DESCRIPTOR){
        .Width = desc->Width,
        .Height = desc->Height,
        .Format = desc->Format,
        .NumChannels = desc->NumChannels,
    };
    return cuTexRefSetAddress2D_v3(hTexRef, &wide, dptr, Pitch);
}

CUresult cuTexRefGetAddress(CUdeviceptr_v1 *pdptr, CUtexref hTexRef)
{
    CUdeviceptr wide;
    CUresult result = cuTexRefGetAddress_v2(pdptr ? &wide : NULL, hTexRef);

    if (result == CUDA_SUCCESS && !narrow(pdptr, wide))
        result = CUDA_ERROR_INVALID_VALUE;
    return result;
}
