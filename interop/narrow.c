/* SPDX-License-Identifier: MIT */
/*
 * The functions of before CUDA 3.2, whose sizes and addresses have 32 bits. Contexts for them are
 * of a kind of their own, and no driver makes one any more: cuCtxCreate finds no memory for it, and
 * what works in one has none to work in.
 */
#include <limits.h>

#include "interop/driver_api.h"

static CUresult refuse(CUresult why)
{
    int count;
    CUresult error = cuDeviceGetCount(&count); /* before cuInit, that is what is wrong */

    return error ? error : why;
}

/* Amounts of memory are told as far as they go. */
CUresult cuDeviceTotalMem(unsigned int *bytes, CUdevice dev)
{
    size_t all = 0;
    CUresult result = cuDeviceTotalMem_v2(bytes ? &all : NULL, dev);

    if (result == CUDA_SUCCESS && bytes)
        *bytes = all > UINT_MAX ? UINT_MAX : (unsigned int)all;
    return result;
}

CUresult cuCtxCreate(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
    (void)pctx, (void)flags, (void)dev;
    return refuse(CUDA_ERROR_OUT_OF_MEMORY);
}

/* A function that takes whatever its caller passes and reads none of it, which the calling
 * convention allows; in C it has another name, because it has not the parameters that cuda.h
 * declares. */
#define NO_CONTEXT(symbol)                                                                         \
    __attribute__((visibility("default"))) CUresult narrow_##symbol(void) __asm__(#symbol);        \
    CUresult narrow_##symbol(void)                                                                 \
    {                                                                                              \
        return refuse(CUDA_ERROR_INVALID_CONTEXT);                                                 \
    }

NO_CONTEXT(cuMemGetInfo)
NO_CONTEXT(cuMemAlloc)
NO_CONTEXT(cuMemAllocPitch)
NO_CONTEXT(cuMemFree)
NO_CONTEXT(cuMemGetAddressRange)
NO_CONTEXT(cuMemAllocHost)
NO_CONTEXT(cuMemHostGetDevicePointer)
NO_CONTEXT(cuModuleGetGlobal)
NO_CONTEXT(cuMemcpyHtoD)
NO_CONTEXT(cuMemcpyDtoH)
NO_CONTEXT(cuMemcpyDtoD)
NO_CONTEXT(cuMemcpyDtoA)
NO_CONTEXT(cuMemcpyAtoD)
NO_CONTEXT(cuMemcpyHtoA)
NO_CONTEXT(cuMemcpyAtoH)
NO_CONTEXT(cuMemcpyAtoA)
NO_CONTEXT(cuMemcpyHtoAAsync)
NO_CONTEXT(cuMemcpyAtoHAsync)
NO_CONTEXT(cuMemcpyHtoDAsync)
NO_CONTEXT(cuMemcpyDtoHAsync)
NO_CONTEXT(cuMemcpyDtoDAsync)
NO_CONTEXT(cuMemcpy2D)
NO_CONTEXT(cuMemcpy2DUnaligned)
NO_CONTEXT(cuMemcpy3D)
NO_CONTEXT(cuMemcpy2DAsync)
NO_CONTEXT(cuMemcpy3DAsync)
NO_CONTEXT(cuMemsetD8)
NO_CONTEXT(cuMemsetD16)
NO_CONTEXT(cuMemsetD32)
NO_CONTEXT(cuMemsetD2D8)
NO_CONTEXT(cuMemsetD2D16)
NO_CONTEXT(cuMemsetD2D32)
NO_CONTEXT(cuArrayCreate)
NO_CONTEXT(cuArray3DCreate)
NO_CONTEXT(cuArrayGetDescriptor)
NO_CONTEXT(cuArray3DGetDescriptor)
NO_CONTEXT(cuTexRefSetAddress)
NO_CONTEXT(cuTexRefSetAddress2D)
NO_CONTEXT(cuTexRefGetAddress)
