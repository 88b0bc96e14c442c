/* SPDX-License-Identifier: MIT */
#include "driver_test.h"

#include <time.h>
#include <unistd.h>

static CUmodule module;

static int module_opens(void **state)
{
    context_opens(state);
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    return 0;
}

static CUfunction function_of(const char *name)
{
    CUfunction function;

    assert_cuda(cuModuleGetFunction(&function, module, name));
    return function;
}

static CUresult launch(CUfunction function, unsigned int blocks, unsigned int threads,
                       void **parameters)
{
    return cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, NULL, parameters, NULL);
}

static void vectors_are_added(void **state)
{
    enum { COUNT = 10000 };
    static float a[COUNT], b[COUNT], sum[COUNT];
    CUdeviceptr pa, pb, psum;
    unsigned int n = COUNT;
    void *parameters[] = {&psum, &pa, &pb, &n};

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        a[i] = (float)i;
        b[i] = 0.5f * (float)i;
    }
    assert_cuda(cuMemAlloc(&pa, sizeof(a)));
    assert_cuda(cuMemAlloc(&pb, sizeof(b)));
    assert_cuda(cuMemAlloc(&psum, sizeof(sum)));
    assert_cuda(cuMemcpyHtoD(pa, a, sizeof(a)));
    assert_cuda(cuMemcpyHtoD(pb, b, sizeof(b)));
    assert_cuda(launch(function_of("vector_add"), (COUNT + 255) / 256, 256, parameters));
    assert_cuda(cuMemcpyDtoH(sum, psum, sizeof(sum)));
    for (int i = 0; i < COUNT; i++)
        assert_true(sum[i] == a[i] + b[i]);
}

struct twelve {
    int x, y, z;
};

static void parameters_come_one_by_one_or_in_a_buffer(void **state)
{
    struct twelve s = {10, 20, 30};
    unsigned char c = 1;
    unsigned short h = 400;
    uint64_t l = 2000, sum = 0;
    CUdeviceptr out;
    void *parameters[] = {&out, &c, &l, &s, &h};
    unsigned char block[64] = {0};
    size_t size = 38;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, block, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    CUfunction function = function_of("mixed");

    (void)state;
    assert_cuda(cuMemAlloc(&out, 8));
    assert_cuda(launch(function, 1, 1, parameters));
    assert_cuda(cuMemcpyDtoH(&sum, out, 8));
    assert_int_equal(sum, 2461);

    l = 3000;
    memcpy(block, &out, 8);
    block[8] = c;
    memcpy(block + 16, &l, 8);
    memcpy(block + 24, &s, 12);
    memcpy(block + 36, &h, 2);
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra));
    assert_cuda(cuMemcpyDtoH(&sum, out, 8));
    assert_int_equal(sum, 3461);
    size = 64;
    assert_cuda_error(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra),
                      CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    size = 38;
    assert_cuda_error(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, extra),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(launch(function, 1, 1, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void limits_are_those_of_the_device_and_the_kernel(void **state)
{
    CUfunction limited = function_of("limited"), words = function_of("shared_words");
    CUdeviceptr out;
    void *parameters[] = {&out};
    int value = 0;

    (void)state;
    assert_cuda(cuMemAlloc(&out, 4));
    assert_cuda_error(launch(limited, 0, 1, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(launch(limited, 1, 0, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(launch(limited, 1, 1025, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(launch(limited, 1, 65, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(launch(limited, 1, 64, NULL));
    assert_cuda_error(cuLaunchKernel(limited, 1, 65536, 1, 1, 1, 1, 0, NULL, NULL, NULL),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuLaunchKernel(limited, 1, 1, 1, 1, 1, 65, 0, NULL, NULL, NULL),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuLaunchKernel(words, 1, 1, 1, 1, 1, 1, 60000, NULL, parameters, NULL),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuFuncSetAttribute(words, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 60000));
    assert_cuda(cuLaunchKernel(words, 1, 1, 1, 1, 1, 1, 60000, NULL, parameters, NULL));
    assert_cuda(cuMemcpyDtoH(&value, out, 4));
    assert_int_equal(value, 60000);
    assert_cuda_error(launch((CUfunction)0x1234, 1, 1, NULL), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(launch(NULL, 1, 1, NULL), CUDA_ERROR_INVALID_HANDLE);
}

static void a_kernel_of_a_library_is_launched_like_a_function(void **state)
{
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE};
    CUlaunchConfig config = {1, 1, 1, 1, 1, 1, 0, NULL, &attribute, 1};
    CUlibrary library;
    CUkernel kernel;
    CUdeviceptr out;
    int value = 99, back = 0;
    void *parameters[] = {&out, &value};

    (void)state;
    assert_cuda(cuMemAlloc(&out, 4));
    assert_cuda(cuLibraryLoadData(&library, test_ptx, NULL, NULL, 0, NULL, NULL, 0));
    assert_cuda(cuLibraryGetKernel(&kernel, library, "poke"));
    assert_cuda(cuLaunchKernelEx(&config, (CUfunction)kernel, parameters, NULL));
    assert_cuda(cuMemcpyDtoH(&back, out, 4));
    assert_int_equal(back, 99);
    attribute.value.cooperative = 1;
    assert_cuda(cuLaunchKernelEx(&config, (CUfunction)kernel, parameters, NULL));
    config.gridDimX = 1 << 20;
    assert_cuda_error(cuLaunchKernelEx(&config, (CUfunction)kernel, parameters, NULL),
                      CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    assert_cuda(cuLibraryUnload(library));
}

static void a_fault_stays_with_its_context(void **state)
{
    CUdeviceptr wild = 0x10, memory;
    int value = 1;
    void *parameters[] = {&wild, &value};
    CUcontext current, other;
    CUmodule its_module;
    CUevent event;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&current));
    assert_cuda(cuEventCreate(&event, 0));
    assert_cuda(launch(function_of("poke"), 1, 1, parameters));
    assert_cuda_error(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_cuda_error(cuMemAlloc(&memory, 4), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_cuda_error(cuEventQuery(event), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_cuda_error(cuStreamSynchronize(NULL), CUDA_ERROR_ILLEGAL_ADDRESS);
    /* Others are not touched. */
    assert_cuda(cuCtxCreate(&other, NULL, 0, 0));
    assert_cuda(cuMemAlloc(&memory, 4));
    assert_cuda(cuModuleLoadData(&its_module, test_ptx));
    assert_cuda(cuCtxDestroy(other));
    /* A reset heals. */
    assert_cuda(cuDevicePrimaryCtxReset(0));
    assert_cuda(cuDevicePrimaryCtxRetain(&current, 0));
    assert_cuda(cuMemAlloc(&memory, 4));
}

static void memory_that_was_freed_is_out_of_reach_for_kernels(void **state)
{
    CUdeviceptr memory;
    int value = 1;
    void *parameters[] = {&memory, &value};

    (void)state;
    assert_cuda(cuMemAlloc(&memory, 4 << 20));
    assert_cuda(launch(function_of("poke"), 1, 1, parameters));
    assert_cuda(cuCtxSynchronize());
    assert_cuda(cuMemFree(memory));
    assert_cuda(launch(function_of("poke"), 1, 1, parameters));
    assert_cuda_error(cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void a_launch_returns_before_the_kernel_ends(void **state)
{
    CUdeviceptr pflag;
    int *flag;
    void *parameters[] = {&pflag};
    CUstream stream;
    CUevent event;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&flag, 4, 0));
    assert_cuda(cuMemHostGetDevicePointer(&pflag, flag, 0));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuEventCreate(&event, 0));
    assert_cuda(cuLaunchKernel(function_of("spin"), 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda_error(cuEventQuery(event), CUDA_ERROR_NOT_READY);
    __atomic_store_n(flag, 1, __ATOMIC_RELEASE);
    assert_cuda(cuEventSynchronize(event));
}

static void a_kernel_that_never_ends_ends_with_its_context(void **state)
{
    CUcontext context;
    CUdeviceptr pflag;
    CUmodule own;
    CUfunction spin;
    void *parameters[] = {&pflag};

    (void)state;
    assert_cuda(cuCtxCreate(&context, NULL, 0, 0));
    assert_cuda(cuModuleLoadData(&own, test_ptx));
    assert_cuda(cuModuleGetFunction(&spin, own, "spin"));
    assert_cuda(cuMemAlloc(&pflag, 4));
    assert_cuda(cuMemsetD32(pflag, 0, 1));
    assert_cuda(launch(spin, 1, 1, parameters));
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_cuda(cuCtxDestroy(context));
}

static void occupancy_is_bounded_by_threads_and_shared_memory(void **state)
{
    int blocks, threads, grid;
    size_t dynamic;
    CUfunction function = function_of("vector_add");

    (void)state;
    assert_cuda(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 256, 0));
    assert_int_equal(blocks, 6);
    assert_cuda(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 32, 40 << 10));
    assert_int_equal(blocks, 5);
    assert_cuda(cuOccupancyMaxPotentialBlockSize(&grid, &threads, function, NULL, 0, 0));
    assert_int_equal(threads, 768);
    assert_int_equal(grid, 2 * (int)sysconf(_SC_NPROCESSORS_ONLN));
    assert_cuda(cuOccupancyAvailableDynamicSMemPerBlock(&dynamic, function, 2, 256));
    assert_int_equal(dynamic, 48 << 10); /* as much as the kernel may have */
    assert_cuda(cuOccupancyAvailableDynamicSMemPerBlock(&dynamic, function, 6, 256));
    assert_int_equal(dynamic, 38 << 10);
    assert_cuda_error(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 0, 0),
                      CUDA_ERROR_INVALID_VALUE);
}

#define in_module(test) cmocka_unit_test_setup_teardown(test, module_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_module(vectors_are_added),
        in_module(parameters_come_one_by_one_or_in_a_buffer),
        in_module(limits_are_those_of_the_device_and_the_kernel),
        in_module(a_kernel_of_a_library_is_launched_like_a_function),
        in_module(a_fault_stays_with_its_context),
        in_module(memory_that_was_freed_is_out_of_reach_for_kernels),
        in_module(a_launch_returns_before_the_kernel_ends),
        in_module(a_kernel_that_never_ends_ends_with_its_context),
        in_module(occupancy_is_bounded_by_threads_and_shared_memory),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
