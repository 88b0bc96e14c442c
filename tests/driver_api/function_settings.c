/* SPDX-License-Identifier: MIT */
/* What may be set of kernels and of the functions that they are in a context. */
#include <string.h>

#include "tests/driver_api/check.h"

/* Old programs still ask the deprecated ones. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { KIB = 1024 };

static int of_function(CUfunction function, CUfunction_attribute attribute)
{
    int value = -1;
    CHECK(cuFuncGetAttribute(&value, attribute, function));
    return value;
}

static int of_kernel(CUkernel kernel, CUfunction_attribute attribute)
{
    int value = -1;
    CHECK(cuKernelGetAttribute(&value, attribute, kernel, 0));
    return value;
}

static void test_preferences(CUfunction function)
{
    for (int i = CU_FUNC_CACHE_PREFER_NONE; i <= CU_FUNC_CACHE_PREFER_EQUAL; i++)
        CHECK(cuFuncSetCacheConfig(function, (CUfunc_cache)i));
    EXPECT(cuFuncSetCacheConfig(function, (CUfunc_cache)99) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuFuncSetSharedMemConfig(function, CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE));
    CHECK(cuFuncSetSharedMemConfig(function, CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE));
    CHECK(cuFuncSetSharedMemConfig(function, CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE));
    EXPECT(cuFuncSetSharedMemConfig(function, (CUsharedconfig)99) == CUDA_ERROR_INVALID_VALUE);
}

/* The sum of what dynamic_shared writes to so many words. */
static CUresult sum_words(CUfunction function, unsigned int bytes, unsigned int *sum)
{
    CUdeviceptr out = check_memory(4);
    int words = (int)(bytes / 4);
    void *parameters[] = {&out, &words};
    CUresult error = cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, bytes, NULL, parameters, NULL);
    if (error == CUDA_SUCCESS)
        CHECK(cuMemcpyDtoH(sum, out, 4));
    CHECK(cuMemFree(out));
    return error;
}

static unsigned int expected_sum(unsigned int bytes)
{
    unsigned int sum = 0;
    for (unsigned int i = 0; i < bytes / 4; i++)
        sum += i * 7;
    return sum;
}

static CUkernel fresh_kernel(CUlibrary *library, const char *name)
{
    CUkernel kernel;
    CHECK(cuLibraryLoadData(library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuLibraryGetKernel(&kernel, *library, name));
    return kernel;
}

/* More shared memory than blocks may have unasked is there once the kernel was told so. */
static void test_kernel_attribute(void)
{
    const CUfunction_attribute most = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    const unsigned int wanted = 60 * KIB;
    CUlibrary library;
    CUkernel kernel = fresh_kernel(&library, "dynamic_shared");
    unsigned int sum = 0;
    int optin = 0;
    CHECK(cuDeviceGetAttribute(&optin, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0));
    EXPECT(optin >= 0);
    if ((unsigned int)optin >= wanted) {
        EXPECT(sum_words((CUfunction)kernel, wanted, &sum) == CUDA_ERROR_INVALID_VALUE);
        CHECK(cuKernelSetAttribute(most, (int)wanted, kernel, 0));
        EXPECT(of_kernel(kernel, most) == (int)wanted);
        CHECK(sum_words((CUfunction)kernel, wanted, &sum));
        EXPECT(sum == expected_sum(wanted));
        EXPECT(sum_words((CUfunction)kernel, wanted + 16, &sum) == CUDA_ERROR_INVALID_VALUE);
    }
    EXPECT(cuKernelSetAttribute(most, optin + 1, kernel, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_NUM_REGS, 8, kernel, 0) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuKernelSetAttribute((CUfunction_attribute)99, 8, kernel, 0) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuKernelSetAttribute(most, 8, kernel, 4711) == CUDA_ERROR_INVALID_DEVICE);
    CHECK(cuLibraryUnload(library));
}

/* What a function was told goes before what its kernel is told, whichever comes first; the kernel
 * tells what it was told itself. */
static void test_function_before_kernel(int function_first)
{
    const CUfunction_attribute most = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    CUlibrary library;
    CUkernel kernel = fresh_kernel(&library, "dynamic_shared");
    CUfunction function;
    unsigned int sum = 0;
    CHECK(cuKernelGetFunction(&function, kernel));
    if (function_first)
        CHECK(cuFuncSetAttribute(function, most, 8 * KIB));
    CHECK(cuKernelSetAttribute(most, 16 * KIB, kernel, 0));
    if (!function_first)
        CHECK(cuFuncSetAttribute(function, most, 8 * KIB));
    EXPECT(of_function(function, most) == 8 * KIB);
    EXPECT(of_kernel(kernel, most) == 16 * KIB);
    CHECK(cuKernelSetAttribute(most, 24 * KIB, kernel, 0));
    EXPECT(of_function(function, most) == 8 * KIB);
    EXPECT(of_kernel(kernel, most) == 24 * KIB);
    CHECK(sum_words(function, 8 * KIB, &sum));
    EXPECT(sum == expected_sum(8 * KIB));
    CHECK(cuLibraryUnload(library));
}

/* Clusters that a kernel requires since it was told so; what its code has said stays. */
static void test_required_clusters(void)
{
    static const char code[] = ".version 7.8\n.target sm_90\n.address_size 64\n"
                               ".visible .entry any()\n{\nret;\n}\n"
                               ".visible .entry pairs()\n.reqnctapercluster 2\n{\nret;\n}\n";
    const CUfunction_attribute width = CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH;
    const CUfunction_attribute height = CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT;
    const CUfunction_attribute depth = CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH;
    CUmodule module;
    CHECK(cuModuleLoadData(&module, code));
    CUfunction any = check_function(module, "any"), pairs = check_function(module, "pairs");
    EXPECT(of_function(any, width) == 0 && of_function(pairs, width) == 2);
    CHECK(cuLaunchKernel(any, 3, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    CHECK(cuFuncSetAttribute(any, width, 4));
    CHECK(cuFuncSetAttribute(any, height, 1));
    CHECK(cuFuncSetAttribute(any, depth, 1));
    EXPECT(of_function(any, width) == 4 && of_function(any, depth) == 1);
    CHECK(cuLaunchKernel(any, 8, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    EXPECT(cuLaunchKernel(any, 3, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL) != CUDA_SUCCESS);
    CHECK(cuFuncSetAttribute(any, width, 0));
    CHECK(cuFuncSetAttribute(any, height, 0));
    CHECK(cuFuncSetAttribute(any, depth, 0));
    CHECK(cuLaunchKernel(any, 3, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    /* The launch may ask, too: for a divisor of the grid, and not against the kernel. */
    CUlaunchAttribute wanted = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                                .value.clusterDim = {4, 1, 1}};
    CUlaunchConfig config = {.gridDimX = 8,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = 32,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .attrs = &wanted,
                             .numAttrs = 1};
    CHECK(cuLaunchKernelEx(&config, any, NULL, NULL));
    EXPECT(cuLaunchKernelEx(&config, pairs, NULL, NULL) != CUDA_SUCCESS);
    config.gridDimX = 6;
    EXPECT(cuLaunchKernelEx(&config, any, NULL, NULL) != CUDA_SUCCESS);
    CHECK(cuLaunchKernel(pairs, 6, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    EXPECT(cuLaunchKernel(pairs, 5, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL) != CUDA_SUCCESS);
    CHECK(cuFuncSetAttribute(pairs, width, 2)); /* as it is */
    EXPECT(cuFuncSetAttribute(pairs, width, 4) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuFuncSetAttribute(pairs, width, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuFuncSetAttribute(pairs, height, 2) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(of_function(pairs, width) == 2);
    CHECK(cuCtxSynchronize());
    CHECK(cuModuleUnload(module));
}

int main(void)
{
    check_context();
    CUfunction function = check_function(check_module(), "fill");
    test_preferences(function);
    test_kernel_attribute();
    test_function_before_kernel(0);
    test_function_before_kernel(1);
    int clusters = 0;
    CHECK(cuDeviceGetAttribute(&clusters, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 0));
    if (clusters)
        test_required_clusters();
    printf("function_settings: all is well\n");
    return 0;
}
