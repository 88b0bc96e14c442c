/* SPDX-License-Identifier: MIT */
/** What CUDA programs of the tests share: device 0's context, and checks that end the program with
 * a line of output. */
#ifndef VGPU_TESTS_CHECK_H
#define VGPU_TESTS_CHECK_H

#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>

static inline void check_call(CUresult error, const char *what, const char *file, int line)
{
    const char *name = NULL;
    if (error == CUDA_SUCCESS)
        return;
    cuGetErrorName(error, &name);
    printf("FAIL %s:%d: %s: %s (%d)\n", file, line, what, name ? name : "?", (int)error);
    exit(1);
}

static inline void check_true(int condition, const char *what, const char *file, int line)
{
    if (condition)
        return;
    printf("FAIL %s:%d: %s\n", file, line, what);
    exit(1);
}

#define CHECK(call)       check_call((call), #call, __FILE__, __LINE__)
#define EXPECT(condition) check_true((condition), #condition, __FILE__, __LINE__)

static inline CUcontext check_context(void)
{
    CUcontext context;
    CHECK(cuInit(0));
    CHECK(cuDevicePrimaryCtxRetain(&context, 0));
    CHECK(cuCtxSetCurrent(context));
    return context;
}

static inline CUfunction check_function(CUmodule module, const char *name)
{
    CUfunction function;
    CHECK(cuModuleGetFunction(&function, module, name));
    return function;
}

static inline CUdeviceptr check_memory(size_t bytes)
{
    CUdeviceptr address;
    CHECK(cuMemAlloc(&address, bytes));
    return address;
}

#endif
