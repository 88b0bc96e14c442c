/* SPDX-License-Identifier: MIT */
/*
 * Memory of other processes, devices and APIs: a software device shares nothing with them. What
 * would make a handle is not supported; what takes one can only have been given a wrong one.
 */
#include "interop/per_thread.h"
#include "soft/driver/driver.h"

static CUresult refuse(CUresult result)
{
    CUresult ready = vgpu_driver_ready();

    return ready == CUDA_SUCCESS ? result : ready;
}

/* ---- legacy interprocess communication ---- */

CUresult cuIpcGetMemHandle(CUipcMemHandle *pHandle, CUdeviceptr dptr)
{
    (void)pHandle, (void)dptr;
    return refuse(CUDA_ERROR_NOT_SUPPORTED);
}

CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned int Flags)
{
    (void)pdptr, (void)handle, (void)Flags;
    return refuse(CUDA_ERROR_NOT_SUPPORTED);
}

CUresult cuIpcOpenMemHandle(CUdeviceptr *pdptr, CUipcMemHandle handle, unsigned int Flags)
{
    return cuIpcOpenMemHandle_v2(pdptr, handle, Flags);
}

CUresult cuIpcCloseMemHandle(CUdeviceptr dptr)
{
    (void)dptr;
    return refuse(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuIpcGetEventHandle(CUipcEventHandle *pHandle, CUevent event)
{
    (void)pHandle, (void)event;
    return refuse(CUDA_ERROR_NOT_SUPPORTED);
}

CUresult cuIpcOpenEventHandle(CUevent *phEvent, CUipcEventHandle handle)
{
    (void)phEvent, (void)handle;
    return refuse(CUDA_ERROR_NOT_SUPPORTED);
}

/* ---- external memory and semaphores ---- */

CUresult cuImportExternalMemory(CUexternalMemory *extMem_out,
                                const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *memHandleDesc)
{
    return refuse(extMem_out && memHandleDesc ? CUDA_ERROR_NOT_SUPPORTED
                                              : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuExternalMemoryGetMappedBuffer(CUdeviceptr *devPtr, CUexternalMemory extMem,
                                         const CUDA_EXTERNAL_MEMORY_BUFFER_DESC *bufferDesc)
{
    (void)devPtr, (void)extMem, (void)bufferDesc;
    return refuse(CUDA_ERROR_INVALID_HANDLE);
}

CUresult
cuExternalMemoryGetMappedMipmappedArray(CUmipmappedArray *mipmap, CUexternalMemory extMem,
                                        const CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC *mipmapDesc)
{
    (void)mipmap, (void)extMem, (void)mipmapDesc;
    return refuse(CUDA_ERROR_INVALID_HANDLE);
}

CUresult cuDestroyExternalMemory(CUexternalMemory extMem)
{
    (void)extMem;
    return refuse(CUDA_ERROR_INVALID_HANDLE);
}

CUresult cuImportExternalSemaphore(CUexternalSemaphore *extSem_out,
                                   const CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC *semHandleDesc)
{
    return refuse(extSem_out && semHandleDesc ? CUDA_ERROR_NOT_SUPPORTED
                                              : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuDestroyExternalSemaphore(CUexternalSemaphore extSem)
{
    (void)extSem;
    return refuse(CUDA_ERROR_INVALID_HANDLE);
}

CUresult cuSignalExternalSemaphoresAsync(const CUexternalSemaphore *extSemArray,
                                         const CUDA_EXTERNAL_SEMAPHORE_SIGNAL_PARAMS *paramsArray,
                                         unsigned int numExtSems, CUstream stream)
{
    (void)extSemArray, (void)paramsArray, (void)numExtSems, (void)stream;
    return refuse(CUDA_ERROR_INVALID_HANDLE);
}

CUresult cuWaitExternalSemaphoresAsync(const CUexternalSemaphore *extSemArray,
                                       const CUDA_EXTERNAL_SEMAPHORE_WAIT_PARAMS *paramsArray,
                                       unsigned int numExtSems, CUstream stream)
{
    (void)extSemArray, (void)paramsArray, (void)numExtSems, (void)stream;
    return refuse(CUDA_ERROR_INVALID_HANDLE);
}

VGPU_PTSZ(cuSignalExternalSemaphoresAsync,
          (const CUexternalSemaphore *semaphores,
           const CUDA_EXTERNAL_SEMAPHORE_SIGNAL_PARAMS *parameters, unsigned int count,
           CUstream stream),
          (semaphores, parameters, count, vgpu_per_thread(stream)))
VGPU_PTSZ(cuWaitExternalSemaphoresAsync,
          (const CUexternalSemaphore *semaphores,
           const CUDA_EXTERNAL_SEMAPHORE_WAIT_PARAMS *parameters, unsigned int count,
           CUstream stream),
          (semaphores, parameters, count, vgpu_per_thread(stream)))

/* ---- multicast ---- */

CUresult cuMulticastCreate(CUmemGenericAllocationHandle *mcHandle,
                           const CUmulticastObjectProp *prop)
{
    return refuse(mcHandle && prop ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMulticastGetGranularity(size_t *granularity, const CUmulticastObjectProp *prop,
                                   CUmulticastGranularity_flags option)
{
    (void)option;
    return refuse(granularity && prop ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMulticastAddDevice(CUmemGenericAllocationHandle mcHandle, CUdevice dev)
{
    (void)mcHandle, (void)dev;
    return refuse(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMulticastBindMem(CUmemGenericAllocationHandle mcHandle, size_t mcOffset,
                            CUmemGenericAllocationHandle memHandle, size_t memOffset, size_t size,
                            unsigned long long flags)
{
    (void)mcHandle, (void)mcOffset, (void)memHandle, (void)memOffset, (void)size, (void)flags;
    return refuse(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMulticastBindAddr(CUmemGenericAllocationHandle mcHandle, size_t mcOffset,
                             CUdeviceptr memptr, size_t size, unsigned long long flags)
{
    (void)mcHandle, (void)mcOffset, (void)memptr, (void)size, (void)flags;
    return refuse(CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMulticastUnbind(CUmemGenericAllocationHandle mcHandle, CUdevice dev, size_t mcOffset,
                           size_t size)
{
    (void)mcHandle, (void)dev, (void)mcOffset, (void)size;
    return refuse(CUDA_ERROR_INVALID_VALUE);
}

/* ---- decompression by hardware ---- */

CUresult cuMemBatchDecompressAsync(CUmemDecompressParams *paramsArray, size_t count,
                                   unsigned int flags, size_t *errorIndex, CUstream stream)
{
    (void)paramsArray, (void)count, (void)flags, (void)stream;
    if (errorIndex)
        *errorIndex = SIZE_MAX;
    return refuse(CUDA_ERROR_NOT_SUPPORTED);
}

VGPU_PTSZ(cuMemBatchDecompressAsync,
          (CUmemDecompressParams * parameters, size_t count, unsigned int flags, size_t *index,
           CUstream stream),
          (parameters, count, flags, index, vgpu_per_thread(stream)))
