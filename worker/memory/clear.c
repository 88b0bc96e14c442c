/* SPDX-License-Identifier: MIT */
#include "worker/memory/clear.h"

#include "worker/context.h"
#include "worker/worker.h"

CUresult vgpu_clear_stream(struct vgpu_worker *worker, CUstream *stream)
{
    struct vgpu_context *context = worker->current;
    CUresult error = CUDA_SUCCESS;
    *stream = NULL; /* of a context that is borrowed, and in which nothing else happens */
    if (context == NULL)
        return CUDA_SUCCESS;
    if (context->scrub == NULL)
        error =
            worker->driver->cuStreamCreateWithPriority(&context->scrub, CU_STREAM_NON_BLOCKING, 0);
    *stream = context->scrub;
    return error;
}

CUresult vgpu_clear(struct vgpu_worker *worker, CUdeviceptr address, uint64_t bytes)
{
    const struct vgpu_driver *driver = worker->driver;
    CUstream stream;
    if (driver->is_software)
        return CUDA_SUCCESS;
    CUresult error = vgpu_clear_stream(worker, &stream);
    if (error == CUDA_SUCCESS)
        error = driver->cuMemsetD8Async(address, 0, bytes, stream);
    if (error == CUDA_SUCCESS)
        error = driver->cuStreamSynchronize(stream);
    return error;
}

static CUresult clear_mapped(struct vgpu_worker *worker, CUmemGenericAllocationHandle physical,
                             CUdeviceptr address, uint64_t bytes)
{
    const struct vgpu_driver *driver = worker->driver;
    const CUmemAccessDesc access = {.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
                                    .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    bool borrowed;
    CUresult error = driver->cuMemMap(address, bytes, 0, physical, 0);
    if (error)
        return error;
    error = driver->cuMemSetAccess(address, bytes, &access, 1);
    if (error == CUDA_SUCCESS) {
        error = vgpu_context_borrow(worker, &borrowed);
        if (error == CUDA_SUCCESS)
            error = vgpu_clear(worker, address, bytes);
        if (borrowed)
            vgpu_context_give_back(worker);
    }
    driver->cuMemUnmap(address, bytes);
    return error;
}

CUresult vgpu_clear_physical(struct vgpu_worker *worker, CUmemGenericAllocationHandle physical,
                             uint64_t bytes)
{
    const struct vgpu_driver *driver = worker->driver;
    CUdeviceptr address = 0;
    if (driver->is_software)
        return CUDA_SUCCESS;
    CUresult error = driver->cuMemAddressReserve(&address, bytes, 0, 0, 0);
    if (error)
        return error;
    error = clear_mapped(worker, physical, address, bytes);
    driver->cuMemAddressFree(address, bytes);
    return error;
}
