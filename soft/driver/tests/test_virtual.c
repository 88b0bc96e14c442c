/* SPDX-License-Identifier: MIT */
#include <unistd.h>

#include "driver_test.h"

enum { MIB = 1 << 20, UNIT = 2 * MIB };

static const CUmemAllocationProp on_device = {
    .type = CU_MEM_ALLOCATION_TYPE_PINNED,
    .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
};

static CUresult give_access(CUdeviceptr address, size_t size, CUmemAccess_flags access)
{
    CUmemAccessDesc wanted = {.location = on_device.location, .flags = access};

    return cuMemSetAccess(address, size, &wanted, 1);
}

static CUresult poke(CUdeviceptr where, int value)
{
    void *arguments[] = {&where, &value};
    CUfunction function;
    CUmodule module;
    CUresult result;

    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "poke"));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
    result = cuCtxSynchronize();
    cuModuleUnload(module);
    return result;
}

static void memory_is_mapped_side_by_side_and_twice(void **state)
{
    CUmemGenericAllocationHandle first, second;
    size_t unit, before, after, total;
    CUdeviceptr range, again;
    int value = 0;

    (void)state;
    assert_cuda(cuMemGetAllocationGranularity(&unit, &on_device, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    assert_int_equal(unit, UNIT);
    assert_cuda(cuMemGetInfo(&before, &total));
    assert_cuda(cuMemAddressReserve(&range, 8 * UNIT, 0, 0, 0));
    assert_cuda(cuMemAddressReserve(&again, 2 * UNIT, 64 * MIB, 0, 0));
    assert_int_equal(again % (64 * MIB), 0);
    assert_cuda(cuMemCreate(&first, UNIT, &on_device, 0));
    assert_cuda(cuMemCreate(&second, 2 * UNIT, &on_device, 0));
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(before - after, 3 * UNIT);
    assert_cuda(cuMemMap(range, UNIT, 0, first, 0));
    assert_cuda(cuMemMap(range + UNIT, 2 * UNIT, 0, second, 0));
    assert_cuda(cuMemMap(again, 2 * UNIT, 0, second, 0));
    assert_cuda(give_access(range, 3 * UNIT, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
    assert_cuda(give_access(again, 2 * UNIT, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));

    assert_cuda(cuMemsetD32(range, 7, 3 * UNIT / 4));
    assert_cuda(poke(range + 2 * UNIT, 99));
    assert_cuda(cuMemcpyDtoH(&value, again + UNIT, 4));
    assert_int_equal(value, 99);
    assert_cuda_error(cuMemsetD8(range, 0, 3 * UNIT + 1), CUDA_ERROR_INVALID_VALUE);

    assert_cuda(cuMemRelease(first));
    assert_cuda(cuMemRelease(second));
    assert_cuda_error(cuMemRelease(second), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemUnmap(range, 3 * UNIT));
    assert_cuda(cuMemcpyDtoH(&value, again + UNIT, 4));
    assert_cuda_error(cuMemAddressFree(again, 2 * UNIT), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemUnmap(again, 2 * UNIT));
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(before, after);
    assert_cuda_error(cuMemAddressFree(range, UNIT), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemAddressFree(range, 8 * UNIT));
    assert_cuda(cuMemAddressFree(again, 2 * UNIT));
}

static void what_is_not_accessible_faults(void **state)
{
    CUmemGenericAllocationHandle memory;
    unsigned long long access = 77;
    CUdeviceptr range;
    int value;

    (void)state;
    assert_cuda(cuMemAddressReserve(&range, 2 * UNIT, 0, 0, 0));
    assert_cuda(cuMemCreate(&memory, UNIT, &on_device, 0));
    assert_cuda_error(cuMemcpyDtoH(&value, range, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(give_access(range, UNIT, CU_MEM_ACCESS_FLAGS_PROT_READWRITE),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemMap(range, UNIT, 0, memory, 0));
    assert_cuda(cuMemGetAccess(&access, &on_device.location, range));
    assert_int_equal(access, CU_MEM_ACCESS_FLAGS_PROT_NONE);
    assert_cuda_error(cuMemcpyDtoH(&value, range, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(give_access(range, UNIT, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
    assert_cuda(cuMemGetAccess(&access, &on_device.location, range + 5));
    assert_int_equal(access, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    assert_cuda(poke(range, 5));
    assert_cuda(give_access(range, UNIT, CU_MEM_ACCESS_FLAGS_PROT_NONE));
    assert_cuda_error(poke(range, 6), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_cuda(cuMemUnmap(range, UNIT));
    assert_cuda(cuMemRelease(memory));
    assert_cuda(cuMemAddressFree(range, 2 * UNIT));
}

static void a_handle_comes_back_from_its_address(void **state)
{
    CUmemGenericAllocationHandle memory, same;
    CUmemAllocationProp properties;
    CUdeviceptr range;

    (void)state;
    assert_cuda(cuMemAddressReserve(&range, UNIT, 0, 0, 0));
    assert_cuda(cuMemCreate(&memory, UNIT, &on_device, 0));
    assert_cuda(cuMemMap(range, UNIT, 0, memory, 0));
    assert_cuda(cuMemRelease(memory));
    assert_cuda_error(cuMemGetAllocationPropertiesFromHandle(&properties, memory),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemRetainAllocationHandle(&same, (void *)(uintptr_t)(range + 100)));
    assert_int_equal(same, memory);
    assert_cuda(cuMemGetAllocationPropertiesFromHandle(&properties, memory));
    assert_int_equal(properties.location.type, CU_MEM_LOCATION_TYPE_DEVICE);
    assert_cuda(cuMemRelease(same));
    assert_cuda(cuMemUnmap(range, UNIT));
    assert_cuda_error(cuMemRetainAllocationHandle(&same, (void *)(uintptr_t)range),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemAddressFree(range, UNIT));
}

static void a_file_descriptor_stands_for_memory(void **state)
{
    CUmemAllocationProp properties = on_device;
    CUmemGenericAllocationHandle memory, shared;
    CUdeviceptr one, two;
    int file, value = 0;

    (void)state;
    assert_cuda(cuMemCreate(&memory, UNIT, &properties, 0));
    assert_cuda_error(
        cuMemExportToShareableHandle(&file, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
        CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemRelease(memory));
    properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    assert_cuda(cuMemCreate(&memory, UNIT, &properties, 0));
    assert_cuda(
        cuMemExportToShareableHandle(&file, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    assert_cuda(cuMemImportFromShareableHandle(&shared, (void *)(intptr_t)file,
                                               CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    close(file);
    assert_cuda(cuMemAddressReserve(&one, UNIT, 0, 0, 0));
    assert_cuda(cuMemAddressReserve(&two, UNIT, 0, 0, 0));
    assert_cuda(cuMemMap(one, UNIT, 0, memory, 0));
    assert_cuda(cuMemMap(two, UNIT, 0, shared, 0));
    assert_cuda(give_access(one, UNIT, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
    assert_cuda(give_access(two, UNIT, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
    assert_cuda(cuMemsetD32(one + 4, 123, 1));
    assert_cuda(cuMemcpyDtoH(&value, two + 4, 4));
    assert_int_equal(value, 123);
    assert_cuda(cuMemUnmap(one, UNIT));
    assert_cuda(cuMemUnmap(two, UNIT));
    assert_cuda(cuMemRelease(memory));
    assert_cuda(cuMemRelease(shared));
    assert_cuda(cuMemAddressFree(one, UNIT));
    assert_cuda(cuMemAddressFree(two, UNIT));
}

static void attributes_tell_range_and_mapping(void **state)
{
    CUmemGenericAllocationHandle memory;
    CUdeviceptr range, base;
    CUcontext context;
    int mapped = 7;
    size_t size;

    (void)state;
    assert_cuda(cuMemAddressReserve(&range, 4 * UNIT, 0, 0, 0));
    assert_cuda(cuMemCreate(&memory, UNIT, &on_device, 0));
    assert_cuda(cuMemMap(range + UNIT, UNIT, 0, memory, 0));
    assert_cuda(cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, range + UNIT));
    assert_int_equal(base, range);
    assert_cuda(cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, range + UNIT));
    assert_int_equal(size, 4 * UNIT);
    assert_cuda(
        cuPointerGetAttribute(&base, CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR, range + UNIT + 1));
    assert_int_equal(base, range + UNIT);
    assert_cuda(cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, range + UNIT));
    assert_null(context);
    assert_cuda(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, range + UNIT));
    assert_int_equal(mapped, 1);
    assert_cuda_error(cuPointerGetAttribute(&mapped, CU_POINTER_ATTRIBUTE_MAPPED, range),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemUnmap(range + UNIT, UNIT));
    assert_cuda(cuMemRelease(memory));
    assert_cuda(cuMemAddressFree(range, 4 * UNIT));
}

static void wrong_sizes_and_places_are_refused(void **state)
{
    CUmemAllocationProp properties = on_device;
    CUmemGenericAllocationHandle memory;
    size_t free_bytes, total;
    CUdeviceptr range, wide;

    (void)state;
    assert_cuda(cuMemGetInfo(&free_bytes, &total));
    assert_cuda_error(cuMemCreate(&memory, UNIT + 1, &on_device, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemCreate(&memory, total + UNIT, &on_device, 0), CUDA_ERROR_OUT_OF_MEMORY);
    properties.location.id = 5;
    assert_cuda_error(cuMemCreate(&memory, UNIT, &properties, 0), CUDA_ERROR_INVALID_DEVICE);
    properties = on_device;
    properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_FABRIC;
    assert_cuda_error(cuMemCreate(&memory, UNIT, &properties, 0), CUDA_ERROR_NOT_SUPPORTED);
    assert_cuda_error(cuMemAddressReserve(&range, UNIT, 3, 0, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemAddressReserve(&range, 100, 0, 0, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemCreate(&memory, UNIT, &on_device, 0));
    assert_cuda(cuMemAddressReserve(&range, UNIT, 0, 0, 0));
    assert_cuda_error(cuMemMap(range, 2 * UNIT, 0, memory, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemAddressReserve(&wide, 2 * UNIT, 0, 0, 0));
    assert_cuda_error(cuMemMap(wide, 2 * UNIT, 0, memory, 0), CUDA_ERROR_NOT_SUPPORTED);
    assert_cuda_error(cuMemMap(wide, UNIT, UNIT, memory, 0), CUDA_ERROR_NOT_SUPPORTED);
    assert_cuda(cuMemAddressFree(wide, 2 * UNIT));
    assert_cuda_error(cuMemMap(range + UNIT, UNIT, 0, memory, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemMap(range, UNIT, 0, 0x1234, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemMap(range, UNIT, 0, memory, 0));
    assert_cuda_error(cuMemMap(range, UNIT, 0, memory, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemUnmap(range, UNIT / 2), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemFree(range), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemUnmap(range, UNIT));
    assert_cuda(cuMemRelease(memory));
    assert_cuda(cuMemAddressFree(range, UNIT));
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(memory_is_mapped_side_by_side_and_twice),
        in_context(what_is_not_accessible_faults),
        in_context(a_handle_comes_back_from_its_address),
        in_context(a_file_descriptor_stands_for_memory),
        in_context(attributes_tell_range_and_mapping),
        in_context(wrong_sizes_and_places_are_refused),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
