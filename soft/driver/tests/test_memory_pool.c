/* SPDX-License-Identifier: MIT */
#include "driver_test.h"

static cuuint64_t bytes_of(CUmemoryPool pool, CUmemPool_attribute attribute)
{
    cuuint64_t value = 0;

    assert_cuda(cuMemPoolGetAttribute(pool, attribute, &value));
    return value;
}

static void a_pool_of_ones_own_counts_for_itself(void **state)
{
    CUmemPoolProps properties = {
        .allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
        .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
        .maxSize = 1 << 20,
    };
    CUmemoryPool own, standard, found;
    CUdeviceptr memory, more;
    cuuint64_t zero = 0, one = 1;

    (void)state;
    assert_cuda(cuDeviceGetDefaultMemPool(&standard, 0));
    assert_cuda(cuMemPoolCreate(&own, &properties));
    assert_cuda(cuMemAllocFromPoolAsync(&memory, 4096, own, NULL));
    assert_int_equal(bytes_of(own, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 4096);
    assert_int_equal(bytes_of(standard, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
    assert_cuda(cuPointerGetAttribute(&found, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, memory));
    assert_ptr_equal(found, own);
    assert_cuda_error(cuMemAllocFromPoolAsync(&more, 1 << 20, own, NULL), CUDA_ERROR_OUT_OF_MEMORY);
    assert_cuda(cuMemFreeAsync(memory, NULL));
    assert_cuda(cuStreamSynchronize(NULL));
    assert_int_equal(bytes_of(own, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 0);
    assert_int_equal(bytes_of(own, CU_MEMPOOL_ATTR_USED_MEM_HIGH), 4096);
    assert_cuda_error(cuMemPoolSetAttribute(own, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &one),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemPoolSetAttribute(own, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &zero));
    assert_int_equal(bytes_of(own, CU_MEMPOOL_ATTR_USED_MEM_HIGH), 0);

    assert_cuda(cuDeviceSetMemPool(0, own));
    assert_cuda(cuMemAllocAsync(&memory, 100, NULL));
    assert_int_equal(bytes_of(own, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), 100);
    /* A destroyed pool lives on in its memory. */
    assert_cuda(cuMemPoolDestroy(own));
    assert_cuda(cuDeviceGetMemPool(&found, 0));
    assert_ptr_equal(found, standard);
    assert_cuda(cuMemsetD8(memory, 1, 100));
    assert_cuda(cuMemFree(memory));
    assert_cuda_error(cuMemPoolDestroy(own), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemPoolDestroy(standard), CUDA_ERROR_INVALID_VALUE);
}

static void managed_pools_give_managed_memory(void **state)
{
    CUmemLocation location = {.type = CU_MEM_LOCATION_TYPE_DEVICE};
    unsigned int managed = 0;
    CUmemoryPool pool, device_pool;
    CUdeviceptr memory;

    (void)state;
    assert_cuda(cuMemGetDefaultMemPool(&pool, &location, CU_MEM_ALLOCATION_TYPE_MANAGED));
    assert_cuda(cuMemAllocFromPoolAsync(&memory, 64, pool, NULL));
    assert_cuda(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, memory));
    assert_int_equal(managed, 1);
    assert_cuda(cuMemFreeAsync(memory, NULL));
    assert_cuda(cuDeviceGetDefaultMemPool(&device_pool, 0));
    assert_cuda_error(cuMemSetMemPool(&location, CU_MEM_ALLOCATION_TYPE_MANAGED, device_pool),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemSetMemPool(&location, CU_MEM_ALLOCATION_TYPE_PINNED, device_pool));
    assert_cuda_error(cuDeviceSetMemPool(0, pool), CUDA_ERROR_INVALID_VALUE);
    location.type = CU_MEM_LOCATION_TYPE_HOST;
    assert_cuda_error(cuMemGetDefaultMemPool(&pool, &location, CU_MEM_ALLOCATION_TYPE_PINNED),
                      CUDA_ERROR_NOT_SUPPORTED);
}

static void room_that_the_stream_frees_is_used_again(void **state)
{
    enum { MOST = 200 << 20 };
    CUdeviceptr memory, again;
    CUstream stream;

    (void)state;
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuMemAllocAsync(&memory, MOST, stream));
    assert_cuda(cuMemsetD8Async(memory, 1, MOST, stream));
    assert_cuda(cuMemFreeAsync(memory, stream));
    assert_cuda(cuMemAllocAsync(&again, MOST, stream));
    assert_cuda(cuMemFreeAsync(again, stream));
    assert_cuda(cuStreamSynchronize(stream));
}

static void what_a_stream_will_free_is_not_freed_again(void **state)
{
    CUdeviceptr memory, plain;
    uint32_t *gate;
    CUstream stream;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&gate, 64, 0));
    *gate = 0;
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuMemAllocAsync(&memory, 100, stream));
    assert_cuda(cuMemAlloc(&plain, 100));
    assert_cuda(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)gate, 1, 0));
    assert_cuda(cuMemFreeAsync(memory, stream));
    assert_cuda(cuMemFreeAsync(plain, stream));
    assert_cuda_error(cuMemFreeAsync(memory, stream), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemFreeAsync(plain, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemFree(memory), CUDA_ERROR_INVALID_VALUE);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    assert_cuda(cuStreamSynchronize(stream));
    assert_cuda_error(cuMemFreeAsync(memory, stream), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuStreamDestroy(stream));
    assert_cuda(cuMemFreeHost(gate));
}

static void access_is_the_devices_own(void **state)
{
    CUmemAccessDesc access = {.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
                              .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemAccess_flags flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    CUmemoryPool pool;
    int reuse = 5;

    (void)state;
    assert_cuda(cuDeviceGetDefaultMemPool(&pool, 0));
    assert_cuda(cuMemPoolGetAccess(&flags, pool, &access.location));
    assert_int_equal(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    assert_cuda(cuMemPoolSetAccess(pool, &access, 1));
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    assert_cuda_error(cuMemPoolSetAccess(pool, &access, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &reuse));
    assert_int_equal(reuse, 1);
    assert_cuda(cuMemPoolTrimTo(pool, 0));
    assert_cuda_error(cuMemPoolTrimTo((CUmemoryPool)&pool, 0), CUDA_ERROR_INVALID_VALUE);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(a_pool_of_ones_own_counts_for_itself),
        in_context(managed_pools_give_managed_memory),
        in_context(room_that_the_stream_frees_is_used_again),
        in_context(what_a_stream_will_free_is_not_freed_again),
        in_context(access_is_the_devices_own),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
