/* SPDX-License-Identifier: MIT */
/* cuMemcpy*: each is a box of rows from one kind of memory to another. */
#include "interop/copy.h"
#include "interop/per_thread.h"
#include "soft/driver/memory/copy.h"

/* ---- one row ---- */

/* One end of a copy of one row; an array's is given as it lies in its first row. */
struct row_end {
    CUmemorytype type;
    uint64_t address;
    CUarray array;
    size_t offset;
};

static struct row_end at_host(const void *address)
{
    return (struct row_end){.type = CU_MEMORYTYPE_HOST, .address = (uintptr_t)address};
}

static struct row_end at_device(CUdeviceptr address)
{
    return (struct row_end){.type = CU_MEMORYTYPE_DEVICE, .address = address};
}

static struct row_end at_any(CUdeviceptr address)
{
    return (struct row_end){.type = CU_MEMORYTYPE_UNIFIED, .address = address};
}

static struct row_end in_array(CUarray array, size_t offset)
{
    return (struct row_end){.type = CU_MEMORYTYPE_ARRAY, .array = array, .offset = offset};
}

static CUresult copy_row(struct row_end to, struct row_end from, size_t bytes, CUstream stream,
                         enum vgpu_copy_mode mode)
{
    CUDA_MEMCPY3D copy = {
        .srcXInBytes = from.offset,
        .srcMemoryType = from.type,
        .srcHost = (const void *)(uintptr_t)from.address,
        .srcDevice = from.address,
        .srcArray = from.array,
        .dstXInBytes = to.offset,
        .dstMemoryType = to.type,
        .dstHost = (void *)(uintptr_t)to.address,
        .dstDevice = to.address,
        .dstArray = to.array,
        .WidthInBytes = bytes,
        .Height = 1,
        .Depth = 1,
    };

    return vgpu_copy(&copy, stream, mode);
}

static CUresult htod(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    return copy_row(at_device(to), at_host(from), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult dtoh(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(at_host(to), at_device(from), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult dtod(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(at_device(to), at_device(from), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult any(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(at_any(to), at_any(from), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult dtoa(CUarray to, size_t offset, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(in_array(to, offset), at_device(from), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult atod(CUdeviceptr to, CUarray from, size_t offset, size_t bytes, CUstream stream)
{
    return copy_row(at_device(to), in_array(from, offset), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult htoa(CUarray to, size_t offset, const void *from, size_t bytes, CUstream stream)
{
    return copy_row(in_array(to, offset), at_host(from), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult atoh(void *to, CUarray from, size_t offset, size_t bytes, CUstream stream)
{
    return copy_row(at_host(to), in_array(from, offset), bytes, stream, VGPU_COPY_WAIT);
}

static CUresult atoa(CUarray to, size_t to_offset, CUarray from, size_t from_offset, size_t bytes,
                     CUstream stream)
{
    return copy_row(in_array(to, to_offset), in_array(from, from_offset), bytes, stream,
                    VGPU_COPY_WAIT);
}

VGPU_PTDS(cuMemcpyHtoD_v2, htod, (CUdeviceptr to, const void *from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpyDtoH_v2, dtoh, (void *to, CUdeviceptr from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpyDtoD_v2, dtod, (CUdeviceptr to, CUdeviceptr from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpy, any, (CUdeviceptr to, CUdeviceptr from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpyDtoA_v2, dtoa, (CUarray to, size_t offset, CUdeviceptr from, size_t bytes), to,
          offset, from, bytes)
VGPU_PTDS(cuMemcpyAtoD_v2, atod, (CUdeviceptr to, CUarray from, size_t offset, size_t bytes), to,
          from, offset, bytes)
VGPU_PTDS(cuMemcpyHtoA_v2, htoa, (CUarray to, size_t offset, const void *from, size_t bytes), to,
          offset, from, bytes)
VGPU_PTDS(cuMemcpyAtoH_v2, atoh, (void *to, CUarray from, size_t offset, size_t bytes), to, from,
          offset, bytes)
VGPU_PTDS(cuMemcpyAtoA_v2, atoa,
          (CUarray to, size_t to_offset, CUarray from, size_t from_offset, size_t bytes), to,
          to_offset, from, from_offset, bytes)

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(at_device(dstDevice), at_host(srcHost), ByteCount, hStream, VGPU_COPY_ASYNC);
}

CUresult cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(at_host(dstHost), at_device(srcDevice), ByteCount, hStream, VGPU_COPY_ASYNC);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(at_device(dstDevice), at_device(srcDevice), ByteCount, hStream,
                    VGPU_COPY_ASYNC);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream)
{
    return copy_row(at_any(dst), at_any(src), ByteCount, hStream, VGPU_COPY_ASYNC);
}

CUresult cuMemcpyHtoAAsync_v2(CUarray dstArray, size_t dstOffset, const void *srcHost,
                              size_t ByteCount, CUstream hStream)
{
    return copy_row(in_array(dstArray, dstOffset), at_host(srcHost), ByteCount, hStream,
                    VGPU_COPY_ASYNC);
}

CUresult cuMemcpyAtoHAsync_v2(void *dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(at_host(dstHost), in_array(srcArray, srcOffset), ByteCount, hStream,
                    VGPU_COPY_ASYNC);
}

VGPU_PTSZ(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyAsync, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyHtoAAsync_v2,
          (CUarray to, size_t offset, const void *from, size_t bytes, CUstream stream),
          (to, offset, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyAtoHAsync_v2,
          (void *to, CUarray from, size_t offset, size_t bytes, CUstream stream),
          (to, from, offset, bytes, vgpu_per_thread(stream)))

/* ---- boxes ---- */

static CUresult copy_2d(const CUDA_MEMCPY2D *copy, CUstream stream, enum vgpu_copy_mode mode)
{
    CUDA_MEMCPY3D box;

    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    box = vgpu_copy_as_box(copy);
    return vgpu_copy(&box, stream, mode);
}

static CUresult copy_2d_now(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return copy_2d(copy, stream, VGPU_COPY_WAIT);
}

static CUresult copy_3d_now(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return vgpu_copy(copy, stream, VGPU_COPY_WAIT);
}

VGPU_PTDS(cuMemcpy2D_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy2DUnaligned_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy3D_v2, copy_3d_now, (const CUDA_MEMCPY3D *copy), copy)

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *pCopy, CUstream hStream)
{
    return copy_2d(pCopy, hStream, VGPU_COPY_ASYNC);
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *pCopy, CUstream hStream)
{
    return vgpu_copy(pCopy, hStream, VGPU_COPY_ASYNC);
}

VGPU_PTSZ(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
