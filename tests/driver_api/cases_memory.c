/* SPDX-License-Identifier: MIT */
/* Allocations, copies, fills, pointer queries. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/driver_api/cases.h"

enum { MIB = 1 << 20 };

static char host[2 * MIB];

CASE(alloc_zero)
{
    CUdeviceptr address;
    return cuMemAlloc(&address, 0);
}

CASE(alloc_huge)
{
    CUdeviceptr address;
    return cuMemAlloc(&address, (size_t)1 << 46);
}

CASE(alloc_wraps)
{
    CUdeviceptr address;
    return cuMemAlloc(&address, SIZE_MAX);
}

CASE(alloc_null)
{
    return cuMemAlloc(NULL, 16);
}

CASE(alloc_pitch_element)
{
    CUdeviceptr address;
    size_t pitch;
    return cuMemAllocPitch(&address, &pitch, 100, 10, 5);
}

CASE(alloc_pitch_zero)
{
    CUdeviceptr address;
    size_t pitch;
    return cuMemAllocPitch(&address, &pitch, 0, 10, 4);
}

CASE(free_null)
{
    return cuMemFree(0);
}

CASE(free_wild)
{
    return cuMemFree(0x123456789000);
}

CASE(free_twice)
{
    CUdeviceptr address = test_memory(MIB);
    NEED(cuMemFree(address));
    return cuMemFree(address);
}

CASE(free_inside)
{
    return cuMemFree(test_memory(MIB) + 256);
}

CASE(free_host_wild)
{
    return cuMemFreeHost(host + 64);
}

CASE(info_null)
{
    size_t total;
    return cuMemGetInfo(NULL, &total);
}

CASE(upload_beyond)
{
    return cuMemcpyHtoD(test_memory(MIB), host, MIB + 1);
}

CASE(upload_far_beyond)
{
    return cuMemcpyHtoD(test_memory(256 * 1024), host, 2 * MIB);
}

CASE(upload_small_beyond)
{
    /* Beyond what was asked for, but inside what the driver rounds it up to? */
    return cuMemcpyHtoD(test_memory(100), host, 200);
}

CASE(upload_inside_beyond)
{
    return cuMemcpyHtoD(test_memory(MIB) + MIB / 2, host, MIB);
}

CASE(upload_wild)
{
    return cuMemcpyHtoD(0x123456789000, host, 16);
}

CASE(upload_null)
{
    return cuMemcpyHtoD(0, host, 16);
}

CASE(upload_host_null)
{
    return cuMemcpyHtoD(test_memory(MIB), NULL, 16);
}

CASE(upload_nothing)
{
    return cuMemcpyHtoD(test_memory(MIB), host, 0);
}

CASE(upload_nothing_null)
{
    return cuMemcpyHtoD(0, NULL, 0);
}

CASE(upload_freed)
{
    CUdeviceptr address = test_memory(4 * MIB);
    NEED(cuMemFree(address));
    return cuMemcpyHtoD(address, host, 16);
}

CASE(upload_async_beyond)
{
    return cuMemcpyHtoDAsync(test_memory(MIB), host, 2 * MIB, NULL);
}

CASE(upload_async_wild)
{
    return cuMemcpyHtoDAsync(0x123456789000, host, 16, NULL);
}

CASE(download_beyond)
{
    return cuMemcpyDtoH(host, test_memory(MIB), MIB + 1);
}

CASE(download_wild)
{
    return cuMemcpyDtoH(host, 0x123456789000, 16);
}

CASE(download_null)
{
    return cuMemcpyDtoH(NULL, test_memory(MIB), 16);
}

CASE(device_copy_beyond)
{
    return cuMemcpyDtoD(test_memory(MIB), test_memory(2 * MIB), 2 * MIB);
}

CASE(device_copy_source_beyond)
{
    return cuMemcpyDtoD(test_memory(2 * MIB), test_memory(MIB), 2 * MIB);
}

CASE(device_copy_wild)
{
    return cuMemcpyDtoDAsync(test_memory(MIB), 0x123456789000, 16, NULL);
}

CASE(any_copy_host)
{
    char other[64];
    return cuMemcpy((CUdeviceptr)(uintptr_t)other, (CUdeviceptr)(uintptr_t)host, 64);
}

CASE(any_copy_beyond)
{
    return cuMemcpy(test_memory(MIB), (CUdeviceptr)(uintptr_t)host, 2 * MIB);
}

CASE(fill_beyond)
{
    return cuMemsetD8(test_memory(MIB), 0, MIB + 1);
}

CASE(fill_wild)
{
    return cuMemsetD8(0x123456789000, 0, 16);
}

CASE(fill_async_wild)
{
    return cuMemsetD8Async(0x123456789000, 0, 16, NULL);
}

CASE(fill_misaligned)
{
    return cuMemsetD32(test_memory(MIB) + 1, 0, 4);
}

CASE(fill_nothing)
{
    return cuMemsetD8(test_memory(MIB), 0, 0);
}

CASE(fill_2d_pitch)
{
    return cuMemsetD2D8(test_memory(MIB), 16, 0, 32, 4);
}

static CUresult copy_2d(size_t x, size_t pitch, size_t width, size_t height, CUmemorytype to)
{
    CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = host,
                          .srcPitch = pitch,
                          .dstMemoryType = to,
                          .dstXInBytes = x,
                          .dstPitch = pitch,
                          .WidthInBytes = width,
                          .Height = height};
    copy.dstDevice = test_memory(MIB);
    return cuMemcpy2D(&copy);
}

CASE(copy_2d_right)
{
    return copy_2d(0, 1024, 512, 1024, CU_MEMORYTYPE_DEVICE);
}

CASE(copy_2d_beyond)
{
    return copy_2d(0, 1024, 1024, 1500, CU_MEMORYTYPE_DEVICE);
}

CASE(copy_2d_pitch)
{
    return copy_2d(0, 100, 512, 10, CU_MEMORYTYPE_DEVICE);
}

CASE(copy_2d_offset_pitch)
{
    return copy_2d(1000, 1024, 512, 10, CU_MEMORYTYPE_DEVICE);
}

CASE(copy_2d_type)
{
    return copy_2d(0, 1024, 512, 10, (CUmemorytype)77);
}

CASE(copy_2d_nothing)
{
    return copy_2d(0, 1024, 0, 10, CU_MEMORYTYPE_DEVICE);
}

CASE(copy_2d_pitch_wraps)
{
    return copy_2d(0, SIZE_MAX / 2, 16, 4, CU_MEMORYTYPE_DEVICE);
}

CASE(copy_2d_null)
{
    return cuMemcpy2D(NULL);
}

CASE(range_wild)
{
    CUdeviceptr base;
    size_t bytes;
    return cuMemGetAddressRange(&base, &bytes, 0x123456789000);
}

CASE(range_right)
{
    CUdeviceptr address = test_memory(1000), base;
    size_t bytes;
    NEED(cuMemGetAddressRange(&base, &bytes, address + 999));
    return base == address && bytes == 1000 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(range_end)
{
    CUdeviceptr base;
    size_t bytes;
    return cuMemGetAddressRange(&base, &bytes, test_memory(2 * MIB) + 2 * MIB);
}

CASE(range_nulls)
{
    return cuMemGetAddressRange(NULL, NULL, test_memory(1000));
}

CASE(pointer_host_unknown)
{
    CUmemorytype type;
    return cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                 (CUdeviceptr)(uintptr_t)host);
}

CASE(pointer_type)
{
    CUmemorytype type = 0;
    NEED(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, test_memory(MIB) + 5));
    return type == CU_MEMORYTYPE_DEVICE ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(pointer_host_of_device)
{
    void *pointer;
    return cuPointerGetAttribute(&pointer, CU_POINTER_ATTRIBUTE_HOST_POINTER, test_memory(MIB));
}

CASE(pointer_attribute_wrong)
{
    int value;
    return cuPointerGetAttribute(&value, (CUpointer_attribute)999, test_memory(MIB));
}

CASE(pointer_context)
{
    CUcontext owner = NULL, context;
    NEED(cuCtxGetCurrent(&context));
    NEED(cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, test_memory(MIB)));
    return owner == context ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(pointer_many_unknown)
{
    CUmemorytype type = 77;
    void *data[] = {&type};
    CUpointer_attribute attribute = CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    NEED(cuPointerGetAttributes(1, &attribute, data, (CUdeviceptr)(uintptr_t)host));
    return type == 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(host_alloc_zero)
{
    void *memory;
    return cuMemHostAlloc(&memory, 0, 0);
}

CASE(host_alloc_flags)
{
    void *memory;
    return cuMemHostAlloc(&memory, 4096, 0x40000);
}

CASE(host_type)
{
    CUmemorytype type = 0;
    void *memory;
    NEED(cuMemHostAlloc(&memory, 4096, 0));
    NEED(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                               (CUdeviceptr)(uintptr_t)memory));
    return type == CU_MEMORYTYPE_HOST ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(host_free_twice)
{
    void *memory;
    NEED(cuMemHostAlloc(&memory, 4096, 0));
    NEED(cuMemFreeHost(memory));
    return cuMemFreeHost(memory);
}

CASE(host_register_twice)
{
    void *memory = aligned_alloc(4096, 8192);
    NEED(cuMemHostRegister(memory, 8192, 0));
    return cuMemHostRegister(memory, 8192, 0);
}

CASE(host_unregister_wild)
{
    return cuMemHostUnregister(host);
}

const struct test_case memory_cases[] = {
    {"alloc_zero", alloc_zero, CUDA_ERROR_INVALID_VALUE, READY},
    {"alloc_huge", alloc_huge, CUDA_ERROR_OUT_OF_MEMORY, READY},
    {"alloc_wraps", alloc_wraps, CUDA_ERROR_OUT_OF_MEMORY, READY},
    {"alloc_null", alloc_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"alloc_pitch_element", alloc_pitch_element, CUDA_ERROR_INVALID_VALUE, READY},
    {"alloc_pitch_zero", alloc_pitch_zero, CUDA_ERROR_INVALID_VALUE, READY},
    {"free_null", free_null, CUDA_SUCCESS, READY},
    {"free_wild", free_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"free_twice", free_twice, CUDA_ERROR_INVALID_VALUE, READY},
    {"free_inside", free_inside, CUDA_ERROR_INVALID_VALUE, READY},
    {"free_host_wild", free_host_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"info_null", info_null, CUDA_SUCCESS, READY},
    {"upload_beyond", upload_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_far_beyond", upload_far_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_small_beyond", upload_small_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_inside_beyond", upload_inside_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_wild", upload_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_null", upload_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_host_null", upload_host_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_nothing", upload_nothing, CUDA_SUCCESS, READY},
    {"upload_nothing_null", upload_nothing_null, CUDA_SUCCESS, READY},
    {"upload_freed", upload_freed, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_async_beyond", upload_async_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"upload_async_wild", upload_async_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"download_beyond", download_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"download_wild", download_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"download_null", download_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"device_copy_beyond", device_copy_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"device_copy_source_beyond", device_copy_source_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"device_copy_wild", device_copy_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"any_copy_host", any_copy_host, CUDA_SUCCESS, READY},
    {"any_copy_beyond", any_copy_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"fill_beyond", fill_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"fill_wild", fill_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"fill_async_wild", fill_async_wild, CUDA_ERROR_INVALID_VALUE, READY},
    {"fill_misaligned", fill_misaligned, CUDA_ERROR_INVALID_VALUE, READY},
    {"fill_nothing", fill_nothing, CUDA_SUCCESS, READY},
    {"fill_2d_pitch", fill_2d_pitch, CUDA_ERROR_INVALID_VALUE, READY},
    {"copy_2d_right", copy_2d_right, CUDA_SUCCESS, READY},
    {"copy_2d_beyond", copy_2d_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"copy_2d_pitch", copy_2d_pitch, CUDA_ERROR_INVALID_VALUE, READY},
    {"copy_2d_offset_pitch", copy_2d_offset_pitch, CUDA_ERROR_INVALID_VALUE, READY},
    {"copy_2d_type", copy_2d_type, CUDA_ERROR_INVALID_VALUE, READY},
    {"copy_2d_nothing", copy_2d_nothing, CUDA_SUCCESS, READY},
    {"copy_2d_pitch_wraps", copy_2d_pitch_wraps, CUDA_ERROR_INVALID_VALUE, READY},
    {"copy_2d_null", copy_2d_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"range_wild", range_wild, CUDA_ERROR_NOT_FOUND, READY},
    {"range_right", range_right, CUDA_SUCCESS, READY},
    {"range_end", range_end, CUDA_ERROR_NOT_FOUND, READY},
    {"range_nulls", range_nulls, CUDA_SUCCESS, READY},
    {"pointer_host_unknown", pointer_host_unknown, CUDA_ERROR_INVALID_VALUE, READY},
    {"pointer_type", pointer_type, CUDA_SUCCESS, READY},
    {"pointer_host_of_device", pointer_host_of_device, CUDA_ERROR_INVALID_VALUE, READY},
    {"pointer_attribute_wrong", pointer_attribute_wrong, CUDA_ERROR_INVALID_VALUE, READY},
    {"pointer_context", pointer_context, CUDA_SUCCESS, READY},
    {"pointer_many_unknown", pointer_many_unknown, CUDA_SUCCESS, READY},
    {"host_alloc_zero", host_alloc_zero, CUDA_SUCCESS, READY},
    {"host_alloc_flags", host_alloc_flags, CUDA_ERROR_INVALID_VALUE, READY},
    {"host_type", host_type, CUDA_SUCCESS, READY},
    {"host_free_twice", host_free_twice, CUDA_ERROR_INVALID_VALUE, READY},
    {"host_register_twice", host_register_twice, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, READY},
    {"host_unregister_wild", host_unregister_wild, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, READY},
    {0},
};
