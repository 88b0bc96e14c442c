/* SPDX-License-Identifier: MIT */
#include <sys/mman.h>

#include "driver_test.h"

enum { PAGE = 4096 };

static CUresult poke(CUdeviceptr where, int value)
{
    void *arguments[] = {&where, &value};
    CUfunction function;
    CUmodule module;

    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "poke"));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
    return cuCtxSynchronize();
}

static char *map(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

static void kernels_reach_registered_pages_at_their_own_address(void **state)
{
    char *memory = map(4 * PAGE);
    CUdeviceptr device;

    (void)state;
    assert_cuda(cuMemHostRegister(memory + PAGE, PAGE, CU_MEMHOSTREGISTER_DEVICEMAP));
    assert_cuda(cuMemHostRegister(memory + 3 * PAGE, PAGE, CU_MEMHOSTREGISTER_PORTABLE));
    assert_cuda(cuMemHostGetDevicePointer(&device, memory + PAGE + 8, 0));
    assert_int_equal(device, (uintptr_t)(memory + PAGE + 8));
    assert_cuda(poke(device, 41));
    assert_int_equal(*(int *)(void *)(memory + PAGE + 8), 41);
    assert_cuda(poke((uintptr_t)memory + 3 * PAGE, 42));
    assert_int_equal(*(int *)(void *)(memory + 3 * PAGE), 42);
    assert_cuda_error(cuMemHostGetDevicePointer(&device, memory + 2 * PAGE, 0),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemHostUnregister(memory + PAGE));
    assert_cuda_error(poke((uintptr_t)memory + PAGE, 43), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(*(int *)(void *)(memory + PAGE), 0);
    munmap(memory, 4 * PAGE);
}

static void many_ranges_are_registered_in_any_order(void **state)
{
    enum { RANGES = 20000, STEP = 7919 /* prime to it */ };
    char *memory = map((size_t)2 * RANGES * PAGE);

    (void)state;
    for (size_t i = 0; i < RANGES; i++)
        assert_cuda(cuMemHostRegister(memory + i * STEP % RANGES * 2 * PAGE, PAGE, 0));
    assert_cuda(poke((uintptr_t)memory + (size_t)(RANGES - 1) * 2 * PAGE, 7));
    for (size_t i = 0; i < RANGES; i++)
        assert_cuda(cuMemHostUnregister(memory + i * STEP % RANGES * 2 * PAGE));
    assert_cuda_error(cuMemHostUnregister(memory), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    munmap(memory, (size_t)2 * RANGES * PAGE);
}

static void flags_are_checked_and_told_back(void **state)
{
    unsigned int flags;
    char *memory = map(PAGE);
    void *allocated;

    (void)state;
    assert_cuda(cuMemAllocHost(&allocated, 100));
    assert_cuda(cuMemHostGetFlags(&flags, allocated));
    assert_int_equal(flags, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
    assert_cuda(cuMemFreeHost(allocated));
    assert_cuda_error(cuMemHostRegister(memory, PAGE, 0x100), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemHostRegister(memory, 0, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemHostGetFlags(&flags, memory), CUDA_ERROR_INVALID_VALUE);
    munmap(memory, PAGE);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(kernels_reach_registered_pages_at_their_own_address),
        in_context(many_ranges_are_registered_in_any_order),
        in_context(flags_are_checked_and_told_back),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
