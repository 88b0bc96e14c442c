/* SPDX-License-Identifier: MIT */
/* What a context says of itself and may be told: its number, flags, preferences for caches and
 * shared memory. */
#include "tests/driver_api/check.h"

/* Old programs still ask the deprecated ones. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* Of cudaProfiler.h, which is not where cuda.h is. */
CUresult CUDAAPI cuProfilerStart(void);
CUresult CUDAAPI cuProfilerStop(void);

#define UNKNOWN_FLAG 0x40000000u

static unsigned long long id_of(CUcontext context)
{
    unsigned long long id = 0;
    CHECK(cuCtxGetId(context, &id));
    return id;
}

static void test_ids(CUcontext primary)
{
    CUcontext one, other;
    CHECK(cuCtxCreate(&one, NULL, 0, 0));
    CHECK(cuCtxCreate(&other, NULL, 0, 0));
    unsigned long long first = id_of(one), second = id_of(other);
    EXPECT(first != second && first != id_of(primary) && second != id_of(primary));
    EXPECT(id_of(NULL) == second); /* the current one's */
    CHECK(cuCtxSetCurrent(primary));
    EXPECT(id_of(NULL) == id_of(primary));
    EXPECT(id_of(one) == first);
    CHECK(cuCtxDestroy(other));
    CHECK(cuCtxCreate(&other, NULL, 0, 0)); /* numbers are not given twice */
    EXPECT(id_of(other) != first && id_of(other) != second);
    EXPECT(cuCtxGetId(one, NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuCtxDestroy(one));
    CHECK(cuCtxDestroy(other));
    CHECK(cuCtxSetCurrent(primary));
}

static unsigned int schedule(void)
{
    unsigned int flags = UNKNOWN_FLAG;
    CHECK(cuCtxGetFlags(&flags));
    EXPECT(!(flags & UNKNOWN_FLAG));
    return flags & CU_CTX_SCHED_MASK;
}

static void test_flags(CUcontext primary)
{
    static const unsigned int schedules[] = {CU_CTX_SCHED_YIELD, CU_CTX_SCHED_BLOCKING_SYNC,
                                             CU_CTX_SCHED_SPIN};
    CUcontext context;
    CHECK(cuCtxCreate(&context, NULL, CU_CTX_SCHED_SPIN, 0));
    EXPECT(schedule() == CU_CTX_SCHED_SPIN);
    for (int i = 0; i < 3; i++) {
        CHECK(cuCtxSetFlags(schedules[i]));
        EXPECT(schedule() == schedules[i]);
    }
    EXPECT(cuCtxSetFlags(UNKNOWN_FLAG) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(schedule() == CU_CTX_SCHED_SPIN);
    CHECK(cuCtxSetCurrent(primary));
    CHECK(cuCtxSetFlags(CU_CTX_SCHED_YIELD));
    CHECK(cuCtxSetCurrent(context));
    EXPECT(schedule() == CU_CTX_SCHED_SPIN); /* it was the other one's */
    CHECK(cuCtxDestroy(context));
    CHECK(cuCtxSetCurrent(primary));
    EXPECT(schedule() == CU_CTX_SCHED_YIELD);
    CHECK(cuCtxSetFlags(CU_CTX_SCHED_AUTO));
}

/* A preference, which the device need not take: what is told back is a preference, too. */
static void test_caches(void)
{
    static const CUfunc_cache preferences[] = {CU_FUNC_CACHE_PREFER_SHARED, CU_FUNC_CACHE_PREFER_L1,
                                               CU_FUNC_CACHE_PREFER_EQUAL,
                                               CU_FUNC_CACHE_PREFER_NONE};
    CUfunc_cache config = (CUfunc_cache)99;
    CHECK(cuCtxGetCacheConfig(&config));
    EXPECT(config == CU_FUNC_CACHE_PREFER_NONE);
    for (int i = 0; i < 4; i++) {
        CHECK(cuCtxSetCacheConfig(preferences[i]));
        config = (CUfunc_cache)99;
        CHECK(cuCtxGetCacheConfig(&config));
        EXPECT(config == preferences[i] || config == CU_FUNC_CACHE_PREFER_NONE);
    }
    EXPECT(cuCtxSetCacheConfig((CUfunc_cache)99) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuCtxGetCacheConfig(NULL) == CUDA_ERROR_INVALID_VALUE);
}

/* The banks' size is fixed since long ago: it is told, and setting it does nothing. */
static void test_banks(void)
{
    CUsharedconfig before = (CUsharedconfig)99, after = (CUsharedconfig)99;
    CHECK(cuCtxGetSharedMemConfig(&before));
    EXPECT(before == CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE ||
           before == CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE);
    CHECK(cuCtxSetSharedMemConfig(CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE));
    CHECK(cuCtxSetSharedMemConfig(CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE));
    CHECK(cuCtxGetSharedMemConfig(&after));
    EXPECT(after == before);
    EXPECT(cuCtxSetSharedMemConfig((CUsharedconfig)99) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuCtxGetSharedMemConfig(NULL) == CUDA_ERROR_INVALID_VALUE);
}

/* Lines of the cache may persist where the device says how many. */
static void test_persisting_lines(void)
{
    int most = 0;
    CHECK(cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE, 0));
    CUresult error = cuCtxResetPersistingL2Cache();
    EXPECT(error == CUDA_SUCCESS || (most == 0 && error == CUDA_ERROR_NOT_SUPPORTED));
}

/* What was not made in a green context is of none. */
static void test_green_contexts(void)
{
    CUgreenCtx green = (CUgreenCtx)1;
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamGetGreenCtx(stream, &green));
    EXPECT(green == NULL);
    green = (CUgreenCtx)1;
    CHECK(cuStreamGetGreenCtx(NULL, &green));
    EXPECT(green == NULL);
    green = (CUgreenCtx)1;
    CHECK(cuStreamGetGreenCtx(CU_STREAM_LEGACY, &green));
    EXPECT(green == NULL);
    EXPECT(cuStreamGetGreenCtx(stream, NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamDestroy(stream));
}

/* Whoever writes past the driver may ask for that where the device says so. */
static void test_writes_of_others(void)
{
    int options = 0;
    CHECK(cuDeviceGetAttribute(&options, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_FLUSH_WRITES_OPTIONS,
                               0));
    CUresult error = cuFlushGPUDirectRDMAWrites(CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX,
                                                CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TO_OWNER);
    EXPECT(error == CUDA_SUCCESS || (!(options & CU_FLUSH_GPU_DIRECT_RDMA_WRITES_OPTION_HOST) &&
                                     error == CUDA_ERROR_NOT_SUPPORTED));
    EXPECT(cuFlushGPUDirectRDMAWrites((CUflushGPUDirectRDMAWritesTarget)99,
                                      (CUflushGPUDirectRDMAWritesScope)99) != CUDA_SUCCESS);
}

/* A profiler is told when to look; that none is there is no error. */
static void test_profiler(void)
{
    CHECK(cuProfilerStart());
    CHECK(cuProfilerStart()); /* it is on already, and stays so */
    CHECK(cuProfilerStop());
    CHECK(cuProfilerStop());
}

/* Without a current context there is nothing to ask. */
static void test_without_context(CUcontext primary)
{
    CUsharedconfig banks;
    CUfunc_cache cache;
    CUcontext current = primary;
    unsigned long long id;
    while (current) { /* what is current may have others below it */
        CHECK(cuCtxSetCurrent(NULL));
        CHECK(cuCtxGetCurrent(&current));
    }
    EXPECT(cuCtxGetId(NULL, &id) == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxSetFlags(CU_CTX_SCHED_AUTO) == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxGetCacheConfig(&cache) == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxSetCacheConfig(CU_FUNC_CACHE_PREFER_L1) == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxGetSharedMemConfig(&banks) == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxSetSharedMemConfig(CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE) ==
           CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxResetPersistingL2Cache() == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuProfilerStart() == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuProfilerStop() == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(cuCtxSetCurrent(primary));
}

int main(void)
{
    CUcontext primary = check_context();
    test_ids(primary);
    test_flags(primary);
    test_caches();
    test_banks();
    test_persisting_lines();
    test_green_contexts();
    test_writes_of_others();
    test_profiler();
    test_without_context(primary);
    printf("context_settings: all is well\n");
    return 0;
}
