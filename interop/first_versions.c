/* SPDX-License-Identifier: MIT */
/*
 * The first versions of functions, from when device addresses and sizes had 32 bits, by means of
 * the second ones. An address that does not fit is as good as no memory. Copies are not here.
 */
#include "interop/driver_api.h"

#include <limits.h>
#include <stdint.h>

static unsigned int clamped(size_t size)
{
    return size > UINT_MAX ? UINT_MAX : (unsigned int)size;
}

static CUresult narrow(CUdeviceptr address, CUdeviceptr_v1 *out)
{
    if (address > UINT32_MAX)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *out = (CUdeviceptr_v1)address;
    return CUDA_SUCCESS;
}

/* Hands out new memory, or gives it back. */
static CUresult hand_out(CUdeviceptr address, CUdeviceptr_v1 *out)
{
    CUresult error = narrow(address, out);
    if (error)
        cuMemFree_v2(address);
    return error;
}

CUresult cuCtxCreate(CUcontext *context, unsigned int flags, CUdevice device)
{
    return cuCtxCreate_v2(context, flags, device);
}

CUresult cuDeviceTotalMem(unsigned int *bytes, CUdevice device)
{
    size_t wide;
    CUresult error = cuDeviceTotalMem_v2(bytes ? &wide : NULL, device);
    if (error == CUDA_SUCCESS)
        *bytes = clamped(wide);
    return error;
}

CUresult cuModuleGetGlobal(CUdeviceptr_v1 *address, unsigned int *bytes, CUmodule module,
                           const char *name)
{
    CUdeviceptr wide = 0;
    size_t size = 0;
    CUresult error =
        cuModuleGetGlobal_v2(address ? &wide : NULL, bytes ? &size : NULL, module, name);
    if (error == CUDA_SUCCESS && address)
        error = narrow(wide, address);
    if (error == CUDA_SUCCESS && bytes)
        *bytes = clamped(size);
    return error;
}

CUresult cuMemGetInfo(unsigned int *unused, unsigned int *total)
{
    size_t wide_unused, wide_total;
    CUresult error = cuMemGetInfo_v2(unused ? &wide_unused : NULL, total ? &wide_total : NULL);
    if (error)
        return error;
    *unused = clamped(wide_unused);
    *total = clamped(wide_total);
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr_v1 *address, unsigned int bytes)
{
    CUdeviceptr wide;
    CUresult error = cuMemAlloc_v2(address ? &wide : NULL, bytes);
    return error ? error : hand_out(wide, address);
}

CUresult cuMemAllocPitch(CUdeviceptr_v1 *address, unsigned int *pitch, unsigned int width,
                         unsigned int height, unsigned int element)
{
    CUdeviceptr wide;
    size_t wide_pitch;
    CUresult error = cuMemAllocPitch_v2(address ? &wide : NULL, pitch ? &wide_pitch : NULL, width,
                                        height, element);
    if (error)
        return error;
    *pitch = clamped(wide_pitch);
    return hand_out(wide, address);
}

CUresult cuMemFree(CUdeviceptr_v1 address)
{
    return cuMemFree_v2(address);
}

CUresult cuMemGetAddressRange(CUdeviceptr_v1 *base, unsigned int *bytes, CUdeviceptr_v1 address)
{
    CUdeviceptr wide = 0;
    size_t size = 0;
    CUresult error = cuMemGetAddressRange_v2(&wide, &size, address);
    if (error == CUDA_SUCCESS && base)
        error = narrow(wide, base);
    if (error == CUDA_SUCCESS && bytes)
        *bytes = clamped(size);
    return error;
}

CUresult cuMemAllocHost(void **address, unsigned int bytes)
{
    return cuMemAllocHost_v2(address, bytes);
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr_v1 *address, void *memory, unsigned int flags)
{
    CUdeviceptr wide;
    CUresult error = cuMemHostGetDevicePointer_v2(address ? &wide : NULL, memory, flags);
    return error ? error : narrow(wide, address);
}

#define FILL(name, type)                                                                           \
    CUresult name(CUdeviceptr_v1 address, type value, unsigned int count)                          \
    {                                                                                              \
        return name##_v2(address, value, count);                                                   \
    }
#define FILL_ROWS(name, type)                                                                      \
    CUresult name(CUdeviceptr_v1 address, unsigned int pitch, type value, unsigned int width,      \
                  unsigned int height)                                                             \
    {                                                                                              \
        return name##_v2(address, pitch, value, width, height);                                    \
    }

FILL(cuMemsetD8, unsigned char)
FILL(cuMemsetD16, unsigned short)
FILL(cuMemsetD32, unsigned int)
FILL_ROWS(cuMemsetD2D8, unsigned char)
FILL_ROWS(cuMemsetD2D16, unsigned short)
FILL_ROWS(cuMemsetD2D32, unsigned int)
