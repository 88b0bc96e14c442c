/* SPDX-License-Identifier: MIT */
/* Managed variables are read and written by this process itself: the guest has copies of them. */
#include <string.h>

#include "worker/worker.h"

/* The guest names an address: it must be all managed memory of the driver's, which the CPU may use
 * whatever the GPU does. */
static CUresult check(const struct vgpu_worker *worker, CUdeviceptr address, uint64_t bytes)
{
    const struct vgpu_driver *driver = worker->driver;
    CUdeviceptr start = 0;
    size_t size = 0;
    int managed = 0, concurrent = 0;
    if (driver->cuPointerGetAttribute == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult error =
        driver->cuDeviceGetAttribute(&concurrent, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 0);
    if (error == CUDA_SUCCESS && !concurrent)
        error = CUDA_ERROR_NOT_SUPPORTED;
    if (error == CUDA_SUCCESS)
        error = driver->cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, address);
    if (error == CUDA_SUCCESS)
        error =
            driver->cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, address);
    if (error == CUDA_SUCCESS)
        error = driver->cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, address);
    if (error)
        return error;
    return managed && address >= start && address - start <= size &&
                   bytes <= size - (address - start)
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
}

CUresult vgpu_replay_vgpuManagedRead(struct vgpu_worker *worker,
                                     struct vgpu_call_vgpuManagedRead *call)
{
    CUresult error = call->bytes <= call->data_capacity ? check(worker, call->address, call->bytes)
                                                        : CUDA_ERROR_INVALID_VALUE;
    if (error)
        return error;
    memcpy(call->data, (const void *)(uintptr_t)call->address, call->bytes);
    call->data_bytes = call->bytes;
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuManagedWrite(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuManagedWrite *call)
{
    CUresult error = check(worker, call->address, call->data_bytes);
    if (error == CUDA_SUCCESS)
        memcpy((void *)(uintptr_t)call->address, call->data, call->data_bytes);
    return error;
}
