/* SPDX-License-Identifier: MIT */
/* Functions that are looked up by name and version, and texts of errors. */
#include <dlfcn.h>
#include <string.h>

#include "tests/driver_api/check.h"

/* The symbol that cuda.h's macros hide: it tells no status. */
#undef cuGetProcAddress
CUresult CUDAAPI cuGetProcAddress(const char *symbol, void **function, int version,
                                  cuuint64_t flags);

enum {
    LEGACY = CU_GET_PROC_ADDRESS_LEGACY_STREAM,
    PER_THREAD = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM,
    FOUND = CU_GET_PROC_ADDRESS_SUCCESS,
    UNKNOWN = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND,
    TOO_OLD = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT,
};

static void *look(const char *name, int version, cuuint64_t flags, int expected)
{
    CUdriverProcAddressQueryResult status = (CUdriverProcAddressQueryResult)99;
    void *function = (void *)1;
    CHECK(cuGetProcAddress_v2(name, &function, version, flags, &status));
    EXPECT((int)status == expected);
    EXPECT((function != NULL) == (expected == FOUND));
    return function;
}

/* What the program was linked with. */
static void *linked(const char *symbol)
{
    void *function = dlsym(RTLD_DEFAULT, symbol);
    EXPECT(function != NULL);
    return function;
}

static void test_versions(void)
{
    EXPECT(look("cuMemAlloc", 2000, LEGACY, FOUND) == linked("cuMemAlloc"));
    EXPECT(look("cuMemAlloc", 3020, LEGACY, FOUND) == linked("cuMemAlloc_v2"));
    EXPECT(look("cuMemAlloc", 12000, LEGACY, FOUND) == linked("cuMemAlloc_v2"));
    EXPECT(look("cuCtxCreate", 3020, LEGACY, FOUND) == linked("cuCtxCreate_v2"));
    EXPECT(look("cuCtxCreate", 11040, LEGACY, FOUND) == linked("cuCtxCreate_v3"));
    EXPECT(look("cuCtxCreate", 12050, LEGACY, FOUND) == linked("cuCtxCreate_v4"));
    EXPECT(look("cuStreamWaitValue64", 9000, LEGACY, FOUND) == linked("cuStreamWaitValue64"));
    EXPECT(look("cuStreamWaitValue64", 11070, LEGACY, FOUND) == linked("cuStreamWaitValue64_v2"));
    look("cuMemAllocAsync", 11010, LEGACY, TOO_OLD);
    EXPECT(look("cuMemAllocAsync", 11020, LEGACY, FOUND) == linked("cuMemAllocAsync"));
    look("cuMemPrefetchBatchAsync", 12000, LEGACY, TOO_OLD);
}

static void test_per_thread(void)
{
    EXPECT(look("cuLaunchKernel", 12000, LEGACY, FOUND) == linked("cuLaunchKernel"));
    EXPECT(look("cuLaunchKernel", 12000, PER_THREAD, FOUND) == linked("cuLaunchKernel_ptsz"));
    EXPECT(look("cuLaunchKernel", 12000, CU_GET_PROC_ADDRESS_DEFAULT, FOUND) ==
           linked("cuLaunchKernel"));
    EXPECT(look("cuMemcpyHtoD", 12000, PER_THREAD, FOUND) == linked("cuMemcpyHtoD_v2_ptds"));
    EXPECT(look("cuMemcpyHtoD", 12000, LEGACY, FOUND) == linked("cuMemcpyHtoD_v2"));
    EXPECT(look("cuStreamWaitValue64", 12000, PER_THREAD, FOUND) ==
           linked("cuStreamWaitValue64_v2_ptsz"));
    EXPECT(look("cuStreamWaitValue64", 11000, PER_THREAD, FOUND) ==
           linked("cuStreamWaitValue64_ptsz"));
    /* Not all functions have streams. */
    EXPECT(look("cuMemAlloc", 12000, PER_THREAD, FOUND) == linked("cuMemAlloc_v2"));
}

/* Names are base names: those of versions and twins are no functions. */
static void test_names(void)
{
    look("cuNoSuchFunction", 12000, LEGACY, UNKNOWN);
    look("", 12000, LEGACY, UNKNOWN);
    look("cumemalloc", 12000, LEGACY, UNKNOWN);
    look("printf", 12000, LEGACY, UNKNOWN);
}

static void test_refusals(void)
{
    CUdriverProcAddressQueryResult status;
    void *function;
    int version = 0;
    CHECK(cuDriverGetVersion(&version));
    look("cuMemAlloc", version, LEGACY, FOUND);
    EXPECT(cuGetProcAddress_v2("cuMemAlloc", &function, version + 1, LEGACY, &status) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGetProcAddress_v2("cuMemAlloc", &function, 12000, 1u << 20, &status) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGetProcAddress_v2("cuMemAlloc", &function, 12000, LEGACY, NULL));
    EXPECT(function == linked("cuMemAlloc_v2"));
}

/* The older one has its result only to say that there is none. */
static void test_without_status(void)
{
    void *function = NULL;
    CHECK(cuGetProcAddress("cuMemAlloc", &function, 11030, LEGACY));
    EXPECT(function == linked("cuMemAlloc_v2"));
    EXPECT(cuGetProcAddress("cuNoSuchFunction", &function, 11030, LEGACY) == CUDA_ERROR_NOT_FOUND);
    EXPECT(cuGetProcAddress("cuMemAllocAsync", &function, 11010, LEGACY) == CUDA_ERROR_NOT_FOUND);
    /* How the lookup itself is looked up says which of the two a program gets. */
    EXPECT(look("cuGetProcAddress", 11030, LEGACY, FOUND) == linked("cuGetProcAddress"));
    EXPECT(look("cuGetProcAddress", 12000, LEGACY, FOUND) == linked("cuGetProcAddress_v2"));
}

/* A function that was looked up is called like any other. */
static void test_calls(void)
{
    CUresult (*count_devices)(int *count) = NULL;
    int direct = -1, looked_up = -2;
    void *function = look("cuDeviceGetCount", 12000, LEGACY, FOUND);
    memcpy(&count_devices, &function, sizeof(function));
    CHECK(cuDeviceGetCount(&direct));
    CHECK(count_devices(&looked_up));
    EXPECT(direct == looked_up);
}

/* Each error has a text of its own and a name; what is none has neither. */
static void test_error_texts(void)
{
    static const CUresult errors[] = {CUDA_SUCCESS,
                                      CUDA_ERROR_INVALID_VALUE,
                                      CUDA_ERROR_OUT_OF_MEMORY,
                                      CUDA_ERROR_INVALID_CONTEXT,
                                      CUDA_ERROR_NOT_FOUND,
                                      CUDA_ERROR_NOT_READY,
                                      CUDA_ERROR_ILLEGAL_ADDRESS,
                                      CUDA_ERROR_LAUNCH_FAILED,
                                      CUDA_ERROR_NOT_SUPPORTED,
                                      CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                                      CUDA_ERROR_INVALID_CLUSTER_SIZE,
                                      CUDA_ERROR_UNKNOWN};
    enum { COUNT = sizeof(errors) / sizeof(errors[0]) };
    const char *texts[COUNT], *name, *text;
    for (int i = 0; i < COUNT; i++) {
        texts[i] = name = NULL;
        CHECK(cuGetErrorString(errors[i], &texts[i]));
        CHECK(cuGetErrorName(errors[i], &name));
        EXPECT(texts[i] && *texts[i] && name && strncmp(name, "CUDA_", 5) == 0);
        for (int other = 0; other < i; other++)
            EXPECT(strcmp(texts[i], texts[other]) != 0);
    }
    text = "before";
    EXPECT(cuGetErrorString((CUresult)4711, &text) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(text == NULL);
}

int main(void)
{
    test_versions(); /* before cuInit: it is how cuInit is found */
    CHECK(cuInit(0));
    test_versions();
    test_per_thread();
    test_names();
    test_refusals();
    test_without_status();
    test_calls();
    test_error_texts();
    printf("entry_points: all is well\n");
    return 0;
}
