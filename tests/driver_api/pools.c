/* SPDX-License-Identifier: MIT */
/* Memory that is allocated and freed in a stream's order, and the pools that it comes from. */
#include <string.h>

#include "tests/driver_api/check.h"

#define MIB ((size_t)1 << 20)

static CUmemPoolProps of_device(void)
{
    CUmemPoolProps properties;
    memset(&properties, 0, sizeof(properties));
    properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    return properties;
}

static cuuint64_t number(CUmemoryPool pool, CUmemPool_attribute attribute)
{
    cuuint64_t value = 1234567;
    CHECK(cuMemPoolGetAttribute(pool, attribute, &value));
    return value;
}

static void fill(CUfunction function, CUdeviceptr address, unsigned int value, int count,
                 CUstream stream)
{
    void *parameters[] = {&address, &value, &count};
    CHECK(cuLaunchKernel(function, (unsigned int)(count + 127) / 128, 1, 1, 128, 1, 1, 0, stream,
                         parameters, NULL));
}

static void expect_filled(CUdeviceptr address, unsigned int value, int count, CUstream stream)
{
    unsigned int *back = malloc((size_t)count * 4);
    CHECK(cuMemcpyDtoHAsync(back, address, (size_t)count * 4, stream));
    CHECK(cuStreamSynchronize(stream));
    for (int i = 0; i < count; i++)
        EXPECT(back[i] == value + (unsigned int)i);
    free(back);
}

static void test_default_pool(void)
{
    CUmemoryPool own, current, place;
    CUmemLocation location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
    int supported = 0;
    CHECK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 0));
    EXPECT(supported == 1);
    CHECK(cuDeviceGetDefaultMemPool(&own, 0));
    CHECK(cuDeviceGetMemPool(&current, 0));
    CHECK(cuMemGetDefaultMemPool(&place, &location, CU_MEM_ALLOCATION_TYPE_PINNED));
    EXPECT(own == current && own == place);
    EXPECT(cuMemPoolDestroy(own) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuDeviceGetDefaultMemPool(NULL, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(number(own, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) == 0);
}

static void test_stream_order(CUfunction function)
{
    CUstream first, second;
    CUevent done;
    CUdeviceptr one, two;
    const int count = 100000;
    CHECK(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&done, CU_EVENT_DISABLE_TIMING));
    for (unsigned int round = 0; round < 20; round++) {
        CHECK(cuMemAllocAsync(&one, (size_t)count * 4, first));
        fill(function, one, round, count, first);
        CHECK(cuEventRecord(done, first));
        CHECK(cuStreamWaitEvent(second, done, 0));
        CHECK(cuMemAllocAsync(&two, (size_t)count * 4, second));
        CHECK(cuMemcpyDtoDAsync(two, one, (size_t)count * 4, second));
        CHECK(cuMemFreeAsync(one, second));
        expect_filled(two, round, count, second);
        CHECK(cuMemFreeAsync(two, second));
    }
    CHECK(cuEventDestroy(done));
    CHECK(cuStreamDestroy(first));
    CHECK(cuStreamDestroy(second));
}

static void test_default_stream(CUfunction function)
{
    CUdeviceptr address;
    CHECK(cuMemAllocAsync(&address, 4000, NULL));
    fill(function, address, 7, 1000, NULL);
    expect_filled(address, 7, 1000, NULL);
    CHECK(cuMemFreeAsync(address, CU_STREAM_PER_THREAD));
    CHECK(cuCtxSynchronize());
}

/* What one function allocated the other may free. */
static void test_mixed_frees(void)
{
    CUdeviceptr address;
    CHECK(cuMemAlloc(&address, MIB));
    CHECK(cuMemFreeAsync(address, NULL));
    CHECK(cuMemAllocAsync(&address, MIB, NULL));
    CHECK(cuMemFree(address));
    CHECK(cuCtxSynchronize());
}

static void test_attributes(void)
{
    CUmemPoolProps properties = of_device();
    CUmemoryPool pool;
    CUdeviceptr address;
    cuuint64_t keep = UINT64_MAX;
    int no = 0, value = 7;
    CHECK(cuMemPoolCreate(&pool, &properties));
    EXPECT(number(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0);
    CHECK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
    EXPECT(number(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) == UINT64_MAX);
    CHECK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &value));
    EXPECT(value == 1);
    CHECK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &no));
    CHECK(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC, &value));
    EXPECT(value == 0);
    CHECK(cuMemAllocFromPoolAsync(&address, MIB, pool, NULL));
    EXPECT(number(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) >= MIB);
    EXPECT(number(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) >= MIB);
    EXPECT(number(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH) >= MIB);
    CHECK(cuMemFreeAsync(address, NULL));
    CHECK(cuStreamSynchronize(NULL));
    EXPECT(number(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0);
    CHECK(cuMemPoolTrimTo(pool, 0));
    EXPECT(number(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0);
    EXPECT(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &keep) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemPoolGetAttribute(pool, (CUmemPool_attribute)99, &keep) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, NULL) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemPoolDestroy(pool));
}

static void test_current_pool(void)
{
    CUmemPoolProps properties = of_device();
    CUmemoryPool own, pool, found = NULL;
    CUdeviceptr address;
    CUcontext context = (CUcontext)1;
    CHECK(cuMemPoolCreate(&pool, &properties));
    CHECK(cuDeviceGetDefaultMemPool(&own, 0));
    EXPECT(pool != own);
    CHECK(cuDeviceSetMemPool(0, pool));
    CHECK(cuDeviceGetMemPool(&found, 0));
    EXPECT(found == pool);
    CHECK(cuMemAllocAsync(&address, 100, NULL));
    found = NULL;
    CHECK(cuPointerGetAttribute(&found, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, address + 10));
    EXPECT(found == pool);
    CHECK(cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, address));
    EXPECT(context == NULL);
    CHECK(cuMemPoolDestroy(pool));
    CHECK(cuDeviceGetMemPool(&found, 0));
    EXPECT(found == own);
    CHECK(cuMemsetD8Async(address, 1, 100, NULL)); /* it outlives its pool */
    CHECK(cuMemFreeAsync(address, NULL));
    CHECK(cuStreamSynchronize(NULL));
}

static void test_access(void)
{
    CUmemPoolProps properties = of_device();
    CUmemoryPool pool;
    CUmemLocation location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
    CUmemAccessDesc access = {.location = location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemAccess_flags flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    CHECK(cuMemPoolCreate(&pool, &properties));
    CHECK(cuMemPoolGetAccess(&flags, pool, &location));
    EXPECT(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    CHECK(cuMemPoolSetAccess(pool, &access, 1));
    CHECK(cuMemPoolDestroy(pool));
}

/* In a capture both become nodes, and the memory is the graph's. */
static void test_capture(CUfunction function)
{
    const int count = 5000;
    CUdeviceptr result = check_memory((size_t)count * 4), inner;
    CUstream stream;
    CUgraph graph;
    CUgraphExec exec;
    size_t nodes = 0;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CHECK(cuMemAllocAsync(&inner, (size_t)count * 4, stream));
    fill(function, inner, 31, count, stream);
    CHECK(cuMemcpyDtoDAsync(result, inner, (size_t)count * 4, stream));
    CHECK(cuMemFreeAsync(inner, stream));
    CHECK(cuStreamEndCapture(stream, &graph));
    CHECK(cuGraphGetNodes(graph, NULL, &nodes));
    EXPECT(nodes == 4);
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; i++) {
        CHECK(cuMemsetD8Async(result, 0, (size_t)count * 4, stream));
        CHECK(cuGraphLaunch(exec, stream));
        expect_filled(result, 31, count, stream);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFree(result));
}

/* What was freed in a stream is there for who comes later in it, in the stream's order. */
static void test_given_out_again(CUfunction function)
{
    CUstream first, second;
    CUdeviceptr address, other, results = check_memory(64 * 4000);
    CHECK(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    for (unsigned int i = 0; i < 64; i++) {
        CHECK(cuMemAllocAsync(&address, 4000, first));
        fill(function, address, i, 1000, first);
        CHECK(cuMemcpyDtoDAsync(results + (CUdeviceptr)i * 4000, address, 4000, first));
        CHECK(cuMemFreeAsync(address, first));
    }
    for (unsigned int i = 0; i < 64; i++)
        expect_filled(results + (CUdeviceptr)i * 4000, i, 1000, first);
    /* Another stream does not wait for it. */
    CHECK(cuMemAllocAsync(&address, 4000, first));
    CHECK(cuMemFreeAsync(address, first));
    CHECK(cuMemAllocAsync(&other, 4000, second));
    fill(function, other, 3, 1000, second);
    expect_filled(other, 3, 1000, second);
    CHECK(cuMemFreeAsync(other, second));
    /* More than is kept, and a stream that goes. */
    CUdeviceptr many[40];
    for (int i = 0; i < 40; i++)
        CHECK(cuMemAllocAsync(&many[i], MIB, second));
    for (int i = 0; i < 40; i++)
        CHECK(cuMemFreeAsync(many[i], second));
    CHECK(cuStreamDestroy(second));
    CHECK(cuCtxSynchronize());
    CHECK(cuStreamDestroy(first));
    CHECK(cuMemFree(results));
}

static void test_nothing(void)
{
    CUdeviceptr address = 7;
    CHECK(cuMemAllocAsync(&address, 0, NULL));
    EXPECT(address == 0);
    CHECK(cuMemFreeAsync(address, NULL));
    CHECK(cuStreamSynchronize(NULL));
}

static void test_refusals(void)
{
    CUmemPoolProps properties = of_device();
    CUmemoryPool pool;
    CUdeviceptr address;
    EXPECT(cuMemAllocAsync(NULL, 1, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAllocAsync(&address, (size_t)1 << 50, NULL) == CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT(cuMemFreeAsync(0x1234500, NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemAllocAsync(&address, 100, NULL));
    CHECK(cuMemFreeAsync(address, NULL));
    EXPECT(cuMemFreeAsync(address, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemFree(address) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemPoolCreate(&pool, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemPoolCreate(NULL, &properties) == CUDA_ERROR_INVALID_VALUE);
    properties.reserved[3] = 1;
    EXPECT(cuMemPoolCreate(&pool, &properties) == CUDA_ERROR_INVALID_VALUE);
    properties = of_device();
    properties.location.id = 77;
    EXPECT(cuMemPoolCreate(&pool, &properties) != CUDA_SUCCESS);
    CHECK(cuMemAlloc(&address, 16)); /* all is well after all that */
    CHECK(cuMemFree(address));
}

int main(void)
{
    check_context();
    CUfunction function = check_function(check_module(), "fill");
    test_default_pool();
    test_stream_order(function);
    test_default_stream(function);
    test_mixed_frees();
    test_attributes();
    test_current_pool();
    test_access();
    test_capture(function);
    test_given_out_again(function);
    test_nothing();
    test_refusals();
    printf("pools: all is well\n");
    return 0;
}
