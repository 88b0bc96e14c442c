/* SPDX-License-Identifier: MIT */
/* Copies from and to arrays of one row, which are cases of those of rows and planes. */
#include "interop/driver_api.h"

#include "interop/per_thread.h"

static void set_source(CUDA_MEMCPY2D *copy, CUarray array, size_t offset)
{
    copy->srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy->srcArray = array;
    copy->srcXInBytes = offset;
}

static void set_destination(CUDA_MEMCPY2D *copy, CUarray array, size_t offset)
{
    copy->dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy->dstArray = array;
    copy->dstXInBytes = offset;
}

static CUresult now(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return stream == CU_STREAM_LEGACY ? cuMemcpy2D_v2(copy) : cuMemcpy2D_v2_ptds(copy);
}

static CUresult to_device(CUdeviceptr to, CUarray from, size_t offset, size_t bytes,
                          CUstream stream)
{
    CUDA_MEMCPY2D copy = {
        .dstMemoryType = CU_MEMORYTYPE_DEVICE, .dstDevice = to, .WidthInBytes = bytes, .Height = 1};
    set_source(&copy, from, offset);
    return now(&copy, stream);
}

static CUresult from_device(CUarray to, size_t offset, CUdeviceptr from, size_t bytes,
                            CUstream stream)
{
    CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcDevice = from,
                          .WidthInBytes = bytes,
                          .Height = 1};
    set_destination(&copy, to, offset);
    return now(&copy, stream);
}

static CUDA_MEMCPY2D for_host(void *to, CUarray from, size_t offset, size_t bytes)
{
    CUDA_MEMCPY2D copy = {
        .dstMemoryType = CU_MEMORYTYPE_HOST, .dstHost = to, .WidthInBytes = bytes, .Height = 1};
    set_source(&copy, from, offset);
    return copy;
}

static CUDA_MEMCPY2D of_host(CUarray to, size_t offset, const void *from, size_t bytes)
{
    CUDA_MEMCPY2D copy = {
        .srcMemoryType = CU_MEMORYTYPE_HOST, .srcHost = from, .WidthInBytes = bytes, .Height = 1};
    set_destination(&copy, to, offset);
    return copy;
}

static CUresult to_host(void *to, CUarray from, size_t offset, size_t bytes, CUstream stream)
{
    CUDA_MEMCPY2D copy = for_host(to, from, offset, bytes);
    return now(&copy, stream);
}

static CUresult from_host(CUarray to, size_t offset, const void *from, size_t bytes,
                          CUstream stream)
{
    CUDA_MEMCPY2D copy = of_host(to, offset, from, bytes);
    return now(&copy, stream);
}

static CUresult between(CUarray to, size_t to_offset, CUarray from, size_t from_offset,
                        size_t bytes, CUstream stream)
{
    CUDA_MEMCPY2D copy = {.WidthInBytes = bytes, .Height = 1};
    set_source(&copy, from, from_offset);
    set_destination(&copy, to, to_offset);
    return now(&copy, stream);
}

VGPU_PTDS(cuMemcpyAtoD_v2, to_device, (CUdeviceptr to, CUarray from, size_t offset, size_t bytes),
          to, from, offset, bytes)
VGPU_PTDS(cuMemcpyDtoA_v2, from_device, (CUarray to, size_t offset, CUdeviceptr from, size_t bytes),
          to, offset, from, bytes)
VGPU_PTDS(cuMemcpyAtoH_v2, to_host, (void *to, CUarray from, size_t offset, size_t bytes), to, from,
          offset, bytes)
VGPU_PTDS(cuMemcpyHtoA_v2, from_host, (CUarray to, size_t offset, const void *from, size_t bytes),
          to, offset, from, bytes)
VGPU_PTDS(cuMemcpyAtoA_v2, between,
          (CUarray to, size_t to_offset, CUarray from, size_t from_offset, size_t bytes), to,
          to_offset, from, from_offset, bytes)

CUresult cuMemcpyAtoHAsync_v2(void *to, CUarray from, size_t offset, size_t bytes, CUstream stream)
{
    CUDA_MEMCPY2D copy = for_host(to, from, offset, bytes);
    return cuMemcpy2DAsync_v2(&copy, stream);
}

CUresult cuMemcpyHtoAAsync_v2(CUarray to, size_t offset, const void *from, size_t bytes,
                              CUstream stream)
{
    CUDA_MEMCPY2D copy = of_host(to, offset, from, bytes);
    return cuMemcpy2DAsync_v2(&copy, stream);
}

VGPU_PTSZ(cuMemcpyAtoHAsync_v2,
          (void *to, CUarray from, size_t offset, size_t bytes, CUstream stream),
          (to, from, offset, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyHtoAAsync_v2,
          (CUarray to, size_t offset, const void *from, size_t bytes, CUstream stream),
          (to, offset, from, bytes, vgpu_per_thread(stream)))
