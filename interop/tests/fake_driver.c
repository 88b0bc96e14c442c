/* SPDX-License-Identifier: MIT */
#include "interop/tests/fake_driver.h"

#include <stdint.h>
#include <string.h>

CUcontext fake_current;
struct vgpu_local_storage fake_storage;

CUresult vgpu_interop_primary_context(CUdevice device, CUcontext *context)
{
    if (device < 0 || device >= FAKE_DEVICES)
        return CUDA_ERROR_INVALID_DEVICE;
    *context = (CUcontext)((char *)FAKE_CONTEXT + device);
    return CUDA_SUCCESS;
}

struct vgpu_local_storage *vgpu_interop_local_storage(CUcontext context)
{
    return context == FAKE_CONTEXT ? &fake_storage : NULL;
}

CUresult cuDriverGetVersion(int *version)
{
    *version = FAKE_VERSION;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    *count = FAKE_DEVICES;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
    memset(uuid, 0x40 + device, sizeof(*uuid));
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    *value = (int)attribute * 10 + device;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = fake_current;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext context, unsigned long long *id)
{
    *id = (unsigned long long)(uintptr_t)context + 1;
    return CUDA_SUCCESS;
}

CUresult cuStreamGetId(CUstream stream, unsigned long long *id)
{
    *id = (unsigned long long)(uintptr_t)stream + 100;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule module)
{
    *count = (unsigned int)(uintptr_t)module;
    return CUDA_SUCCESS;
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int count, CUmodule module)
{
    (void)module;
    for (unsigned int i = 0; i < count; i++)
        functions[i] = (CUfunction)(uintptr_t)(0x100 + i);
    return CUDA_SUCCESS;
}
