/* SPDX-License-Identifier: MIT */
/* Virtual memory management: addresses that memory is mapped to piece by piece. */
#include <string.h>

#include "tests/driver_api/check.h"

static CUmemAllocationProp of_device(void)
{
    CUmemAllocationProp properties;
    memset(&properties, 0, sizeof(properties));
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    return properties;
}

static const CUmemAccessDesc read_write = {
    .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0},
    .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};

static size_t granularity(void)
{
    CUmemAllocationProp properties = of_device();
    size_t least = 0, best = 0;
    CHECK(cuMemGetAllocationGranularity(&least, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    CHECK(cuMemGetAllocationGranularity(&best, &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
    EXPECT(least >= 4096 && (least & (least - 1)) == 0 && best % least == 0);
    return least;
}

static CUdeviceptr reserve(size_t bytes)
{
    CUdeviceptr address = 0;
    CHECK(cuMemAddressReserve(&address, bytes, 0, 0, 0));
    EXPECT(address != 0);
    return address;
}

static CUmemGenericAllocationHandle create(size_t bytes)
{
    CUmemAllocationProp properties = of_device();
    CUmemGenericAllocationHandle handle = 0;
    CHECK(cuMemCreate(&handle, bytes, &properties, 0));
    return handle;
}

/* A segment that grows and shrinks at its end, as allocators of frameworks do it. */
static void test_growing(size_t step)
{
    enum { STEPS = 5 };
    CUmemGenericAllocationHandle handles[STEPS];
    CUdeviceptr start = reserve(STEPS * step);
    CUfunction fill = check_function(check_module(), "fill");
    unsigned int value = 9, *back = malloc(STEPS * step);
    int count = (int)(STEPS * step / 4);
    for (size_t i = 0; i < STEPS; i++) {
        handles[i] = create(step);
        CHECK(cuMemMap(start + i * step, step, 0, handles[i], 0));
        CHECK(cuMemSetAccess(start + i * step, step, &read_write, 1));
        CHECK(cuMemRelease(handles[i])); /* the mapping keeps it */
    }
    void *parameters[] = {&start, &value, &count};
    CHECK(cuLaunchKernel(fill, (unsigned int)(count + 127) / 128, 1, 1, 128, 1, 1, 0, NULL,
                         parameters, NULL));
    CHECK(cuMemcpyDtoH(back, start, STEPS * step)); /* across all of them */
    for (int i = 0; i < count; i++)
        EXPECT(back[i] == value + (unsigned int)i);
    CHECK(cuMemcpyHtoD(start + step / 2, back, 3 * step));
    CHECK(cuMemsetD8(start + step - 1, 0xee, 2));
    CHECK(cuMemcpyDtoH(back, start, STEPS * step));
    EXPECT(((unsigned char *)back)[step - 1] == 0xee && ((unsigned char *)back)[step] == 0xee);
    EXPECT(back[step / 8] == 9 && back[7 * step / 8 - 1] == 9 + 3 * step / 4 - 1);
    CHECK(cuMemUnmap(start + (STEPS - 1) * step, step));
    CHECK(cuMemUnmap(start, 2 * step)); /* two at once */
    CHECK(cuMemUnmap(start + 2 * step, 2 * step));
    CHECK(cuMemAddressFree(start, STEPS * step));
    free(back);
}

static void test_two_addresses_for_one_memory(size_t step)
{
    CUdeviceptr first = reserve(step), second = reserve(step);
    CUmemGenericAllocationHandle handle = create(step);
    unsigned int word = 0;
    CHECK(cuMemMap(first, step, 0, handle, 0));
    CHECK(cuMemMap(second, step, 0, handle, 0));
    CHECK(cuMemSetAccess(first, step, &read_write, 1));
    CHECK(cuMemSetAccess(second, step, &read_write, 1));
    CHECK(cuMemsetD32(first, 0x12345678, 1));
    CHECK(cuCtxSynchronize());
    CHECK(cuMemcpyDtoH(&word, second, 4));
    EXPECT(word == 0x12345678);
    CHECK(cuMemUnmap(first, step));
    CHECK(cuMemcpyDtoH(&word, second, 4));
    EXPECT(word == 0x12345678);
    CHECK(cuMemUnmap(second, step));
    CHECK(cuMemMap(first, step, 0, handle, 0)); /* what it holds stays with it */
    CHECK(cuMemSetAccess(first, step, &read_write, 1));
    word = 0;
    CHECK(cuMemcpyDtoH(&word, first, 4));
    EXPECT(word == 0x12345678);
    CHECK(cuMemUnmap(first, step));
    CHECK(cuMemRelease(handle));
    CHECK(cuMemAddressFree(first, step));
    CHECK(cuMemAddressFree(second, step));
}

static void test_handles(size_t step)
{
    CUdeviceptr address = reserve(2 * step);
    CUmemGenericAllocationHandle handle = create(step), again = 0;
    CUmemAllocationProp found;
    CHECK(cuMemGetAllocationPropertiesFromHandle(&found, handle));
    EXPECT(found.type == CU_MEM_ALLOCATION_TYPE_PINNED &&
           found.location.type == CU_MEM_LOCATION_TYPE_DEVICE && found.location.id == 0);
    EXPECT(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)address) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemMap(address, step, 0, handle, 0));
    CHECK(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(address + 100)));
    EXPECT(again == handle);
    CHECK(cuMemRelease(handle));
    CHECK(cuMemMap(address + step, step, 0, again, 0));
    CHECK(cuMemRelease(again));
    CHECK(cuMemUnmap(address, 2 * step));
    CHECK(cuMemAddressFree(address, 2 * step));
}

static void test_access(size_t step)
{
    CUdeviceptr address = reserve(step);
    CUmemGenericAllocationHandle handle = create(step);
    CUmemAccessDesc access = read_write;
    unsigned long long flags = 99;
    CHECK(cuMemMap(address, step, 0, handle, 0));
    CHECK(cuMemGetAccess(&flags, &access.location, address));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_NONE);
    CHECK(cuMemSetAccess(address, step, &access, 1));
    CHECK(cuMemGetAccess(&flags, &access.location, address + step / 2));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    EXPECT(cuMemSetAccess(address, 2 * step, &access, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemSetAccess(address, step, NULL, 1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemUnmap(address, step));
    CHECK(cuMemRelease(handle));
    CHECK(cuMemAddressFree(address, step));
}

static void test_pointers(size_t step)
{
    CUdeviceptr address = reserve(4 * step), start = 0;
    CUmemGenericAllocationHandle handle = create(step);
    size_t bytes = 0;
    unsigned int mapped = 7;
    CUcontext context = (CUcontext)1, current;
    CHECK(cuCtxGetCurrent(&current));
    EXPECT(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, address) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, address) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemMap(address + step, step, 0, handle, 0));
    CHECK(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, address + step));
    EXPECT(mapped == 1); /* also before anybody may use it */
    EXPECT(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, address) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemSetAccess(address + step, step, &read_write, 1));
    CHECK(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, address + step));
    EXPECT(mapped == 1);
    CHECK(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, address + step));
    CHECK(cuPointerGetAttribute(&bytes, CU_POINTER_ATTRIBUTE_RANGE_SIZE, address + step));
    EXPECT(start == address && bytes == 4 * step);
    CHECK(cuMemGetAddressRange(&start, &bytes, address + step + 5));
    EXPECT(start == address + step && bytes == step);
    CHECK(cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, address + step));
    EXPECT(context != current);
    CHECK(cuMemUnmap(address + step, step));
    CHECK(cuMemRelease(handle));
    CHECK(cuMemAddressFree(address, 4 * step));
}

static void test_refusals(size_t step)
{
    CUmemAllocationProp properties = of_device();
    CUmemGenericAllocationHandle handle = 0;
    CUdeviceptr address = 0;
    EXPECT(cuMemAddressReserve(&address, 0, 0, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAddressReserve(&address, step + 1, 0, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAddressReserve(NULL, step, 0, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAddressReserve(&address, step, 0, 0, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAddressFree(0x123000, step) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemCreate(&handle, step + 1, &properties, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemCreate(&handle, 0, &properties, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemCreate(&handle, step, &properties, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemCreate(&handle, step, NULL, 0) == CUDA_ERROR_INVALID_VALUE);
    properties.location.id = 99;
    EXPECT(cuMemCreate(&handle, step, &properties, 0) == CUDA_ERROR_INVALID_DEVICE);
    properties = of_device();
    EXPECT(cuMemCreate(&handle, (size_t)1 << 50, &properties, 0) == CUDA_ERROR_OUT_OF_MEMORY);
    handle = create(step);
    address = reserve(2 * step);
    EXPECT(cuMemMap(address + 1, step, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemMap(address, 2 * step, 0, handle, 0) == CUDA_ERROR_NOT_SUPPORTED);
    CHECK(cuMemMap(address, step, 0, handle, 0));
    EXPECT(cuMemMap(address, step, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAddressFree(address, 2 * step) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemUnmap(address, step));
    CHECK(cuMemAddressFree(address, 2 * step));
    CHECK(cuMemRelease(handle));
    EXPECT(cuMemRelease(handle) == CUDA_ERROR_INVALID_VALUE);
}

int main(void)
{
    check_context();
    size_t step = granularity();
    int supported = 0;
    CHECK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED,
                               0));
    EXPECT(supported == 1);
    test_growing(step);
    test_two_addresses_for_one_memory(step);
    test_handles(step);
    test_access(step);
    test_pointers(step);
    test_refusals(step);
    printf("virtual memory: all is well\n");
    return 0;
}
