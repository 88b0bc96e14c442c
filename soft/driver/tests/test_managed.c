/* SPDX-License-Identifier: MIT */
#include "driver_test.h"

enum { PAGE = 4096 };

static const CUmemLocation host = {.type = CU_MEM_LOCATION_TYPE_HOST};
static const CUmemLocation device = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};

static int number(CUmem_range_attribute attribute, CUdeviceptr address, size_t size)
{
    int value = -77;

    assert_cuda(cuMemRangeGetAttribute(&value, sizeof(value), attribute, address, size));
    return value;
}

static void variables_are_used_by_host_and_kernels(void **state)
{
    static const char ptx[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                              ".visible .global .attribute(.managed) .align 4 .u32 both = 5;\n"
                              ".visible .global .align 4 .u32 own;\n"
                              ".visible .entry twice()\n{\n"
                              ".reg .b32 %r<2>;\n"
                              "ld.global.u32 %r1, [both];\n"
                              "add.u32 %r1, %r1, %r1;\n"
                              "st.global.u32 [both], %r1;\nret;\n}\n";
    unsigned int managed = 0;
    CUdeviceptr address;
    CUfunction function;
    CUlibrary library;
    CUmodule module;
    size_t size;

    (void)state;
    assert_cuda(cuLibraryLoadData(&library, ptx, NULL, NULL, 0, NULL, NULL, 0));
    assert_cuda(cuLibraryGetManaged(&address, &size, library, "both"));
    assert_int_equal(size, 4);
    assert_int_equal(*(int *)(uintptr_t)address, 5);
    assert_cuda_error(cuLibraryGetManaged(&address, &size, library, "own"), CUDA_ERROR_NOT_FOUND);
    *(int *)(uintptr_t)address = 21;
    assert_cuda(cuLibraryGetModule(&module, library));
    assert_cuda(cuModuleGetFunction(&function, module, "twice"));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    assert_cuda(cuCtxSynchronize());
    assert_int_equal(*(int *)(uintptr_t)address, 42);
    assert_cuda(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, address));
    assert_int_equal(managed, 1);
    assert_cuda(cuMemPrefetchAsync(address, size, device, 0, NULL));
    assert_cuda_error(cuMemFree(address), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuModuleGetGlobal(&address, &size, module, "own"));
    assert_cuda(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, address));
    assert_int_equal(managed, 0);
    assert_cuda(cuLibraryUnload(library));
}

/* As where a library that has the runtime in it was unloaded, and another one is used. */
static void variables_are_found_under_a_context_that_has_ended(void **state)
{
    static const char ptx[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
                              ".visible .global .attribute(.managed) .align 4 .u32 both = 5;\n";
    CUcontext context;
    CUlibrary library;
    CUdeviceptr address;
    size_t size;

    (void)state;
    assert_cuda(cuDevicePrimaryCtxRetain(&context, 1));
    assert_cuda(cuCtxPushCurrent(context));
    assert_cuda(cuDevicePrimaryCtxRelease(1));
    assert_cuda_error(cuMemAlloc(&address, 4), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    assert_cuda(cuLibraryLoadData(&library, ptx, NULL, NULL, 0, NULL, NULL, 0));
    assert_cuda(cuLibraryGetManaged(&address, &size, library, "both"));
    assert_int_equal(*(int *)(uintptr_t)address, 5);
    assert_cuda(cuLibraryUnload(library));
    assert_cuda(cuCtxPopCurrent(&context));
}

static void advice_is_kept_by_page(void **state)
{
    CUdeviceptr memory;
    int accessors[3];

    (void)state;
    assert_cuda(cuMemAllocManaged(&memory, 10 * PAGE, CU_MEM_ATTACH_GLOBAL));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory, 10 * PAGE), 0);
    assert_cuda(cuMemAdvise(memory + 2 * PAGE + 5, 3 * PAGE, CU_MEM_ADVISE_SET_READ_MOSTLY, host));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory + 2 * PAGE, 4 * PAGE), 1);
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory + 2 * PAGE, 4 * PAGE + 1),
                     0);
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory + PAGE, PAGE + 1), 0);
    assert_cuda(cuMemAdvise(memory + 3 * PAGE, PAGE, CU_MEM_ADVISE_UNSET_READ_MOSTLY, host));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory + 2 * PAGE, 2 * PAGE), 0);
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory + 4 * PAGE, PAGE), 1);

    assert_cuda(cuMemAdvise(memory, 10 * PAGE, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, device));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, memory, 10 * PAGE), 0);
    assert_cuda(cuMemAdvise(memory, PAGE, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, host));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, memory, PAGE),
                     CU_DEVICE_CPU);
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, memory, 2 * PAGE),
                     CU_DEVICE_INVALID);
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE, memory, PAGE),
                     CU_MEM_LOCATION_TYPE_HOST);

    assert_cuda(cuMemAdvise(memory, 2 * PAGE, CU_MEM_ADVISE_SET_ACCESSED_BY, device));
    assert_cuda(cuMemAdvise(memory, PAGE, CU_MEM_ADVISE_SET_ACCESSED_BY, host));
    assert_cuda(cuMemRangeGetAttribute(accessors, sizeof(accessors),
                                       CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, memory, 2 * PAGE));
    assert_int_equal(accessors[0], 0);
    assert_int_equal(accessors[1], CU_DEVICE_INVALID);

    /* Another allocation at the same place has had no advice. */
    assert_cuda(cuMemFree(memory));
    assert_cuda(cuMemAllocManaged(&memory, 10 * PAGE, CU_MEM_ATTACH_GLOBAL));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory + 4 * PAGE, PAGE), 0);
    assert_cuda(cuMemFree(memory));
}

static void prefetches_are_remembered(void **state)
{
    CUmemLocation places[] = {device, host};
    size_t sizes[] = {PAGE, PAGE}, starts[] = {0, 1};
    CUdeviceptr memory, ranges[2];
    CUstream stream;

    (void)state;
    assert_cuda(cuStreamCreate(&stream, 0));
    assert_cuda(cuMemAllocManaged(&memory, 4 * PAGE, CU_MEM_ATTACH_GLOBAL));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, memory, PAGE),
                     CU_DEVICE_INVALID);
    assert_cuda(cuMemPrefetchAsync(memory, 4 * PAGE, device, 0, stream));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, memory, 4 * PAGE), 0);
    ranges[0] = memory + 2 * PAGE;
    ranges[1] = memory + 3 * PAGE;
    assert_cuda(cuMemPrefetchBatchAsync(ranges, sizes, 2, places, starts, 2, 0, stream));
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, memory, 3 * PAGE), 0);
    assert_int_equal(number(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, memory + 3 * PAGE, PAGE),
                     CU_DEVICE_CPU);
    assert_cuda(cuMemDiscardBatchAsync(ranges, sizes, 2, 0, stream));
    starts[1] = 0;
    assert_cuda(cuMemPrefetchBatchAsync(ranges, sizes, 2, places, starts, 2, 0, stream));
    assert_int_equal(
        number(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, memory + 2 * PAGE, 2 * PAGE),
        CU_DEVICE_CPU);
    assert_cuda_error(cuMemPrefetchBatchAsync(ranges, sizes, 2, places, starts, 1, 0, NULL),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemPrefetchAsync(memory, 5 * PAGE, device, 0, stream),
                      CUDA_ERROR_INVALID_VALUE);
    places[0].id = 9;
    assert_cuda_error(cuMemPrefetchAsync(memory, PAGE, places[0], 0, stream),
                      CUDA_ERROR_INVALID_DEVICE);
    assert_cuda(cuStreamAttachMemAsync(stream, memory, 0, CU_MEM_ATTACH_SINGLE));
    assert_cuda(cuStreamAttachMemAsync(stream, memory, 4 * PAGE, CU_MEM_ATTACH_GLOBAL));
    assert_cuda_error(cuStreamAttachMemAsync(stream, memory, PAGE, CU_MEM_ATTACH_GLOBAL),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuStreamAttachMemAsync(NULL, memory, 0, CU_MEM_ATTACH_SINGLE),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemFree(memory));
    assert_cuda(cuMemAlloc(&memory, PAGE));
    assert_cuda_error(cuMemPrefetchAsync(memory, PAGE, device, 0, stream),
                      CUDA_ERROR_INVALID_VALUE);
}

static void every_device_reaches_managed_memory(void **state)
{
    CUcontext own, other;
    CUdeviceptr memory;
    int value = 31;
    void *arguments[] = {&memory, &value};
    CUfunction function;
    CUmodule module;

    (void)state;
    assert_cuda(cuMemAllocManaged(&memory, 4, CU_MEM_ATTACH_GLOBAL));
    assert_cuda(cuCtxGetCurrent(&own));
    assert_cuda(cuDevicePrimaryCtxRetain(&other, 1));
    assert_cuda(cuCtxSetCurrent(other));
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "poke"));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
    assert_cuda(cuCtxSynchronize());
    assert_int_equal(*(int *)(uintptr_t)memory, 31);
    /* What is not managed is the other's own. */
    assert_cuda(cuCtxSetCurrent(own));
    assert_cuda(cuMemFree(memory));
    assert_cuda(cuMemAlloc(&memory, 4));
    assert_cuda(cuCtxSetCurrent(other));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
    assert_cuda_error(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_cuda(cuDevicePrimaryCtxReset(1));
    assert_cuda(cuCtxSetCurrent(own));
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(variables_are_used_by_host_and_kernels),
        in_context(variables_are_found_under_a_context_that_has_ended),
        in_context(advice_is_kept_by_page),
        in_context(prefetches_are_remembered),
        in_context(every_device_reaches_managed_memory),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    setenv("VGPU_SOFT_DEVICES", "2", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
