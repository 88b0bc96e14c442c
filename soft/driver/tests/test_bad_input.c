/* SPDX-License-Identifier: MIT */
/*
 * What no call may do with bad input is crash. A table of calls, each with what it must answer;
 * then handles of the wrong kind, freed and wild, for every call that takes one.
 */
#include "driver_test.h"

#define WILD ((void *)0x123456789abcull)

struct row {
    const char *call;
    CUresult got;
    CUresult expected;
};

#define ROW(call, expected)                                                                        \
    {                                                                                              \
#call, call, expected                                                                      \
    }

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].got != rows[i].expected)
            fail_msg("%s gave %d and not %d", rows[i].call, (int)rows[i].got,
                     (int)rows[i].expected);
    }
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof(rows[0]))

static void null_outputs_are_refused(void **state)
{
    const CUresult bad = CUDA_ERROR_INVALID_VALUE;
    CUevent event;
    CUmodule module;

    (void)state;
    assert_cuda(cuEventCreate(&event, 0));
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    const struct row rows[] = {
        ROW(cuDriverGetVersion(NULL), bad),
        ROW(cuDeviceGetCount(NULL), bad),
        ROW(cuDeviceGetName(NULL, 10, 0), bad),
        ROW(cuDeviceTotalMem(NULL, 0), bad),
        ROW(cuDeviceGetUuid(NULL, 0), bad),
        ROW(cuDeviceGetAttribute(NULL, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0), bad),
        ROW(cuDeviceGetPCIBusId(NULL, 10, 0), bad),
        ROW(cuDevicePrimaryCtxRetain(NULL, 0), bad),
        ROW(cuDevicePrimaryCtxGetState(0, NULL, NULL), bad),
        ROW(cuDeviceGetDefaultMemPool(NULL, 0), bad),
        ROW(cuCtxCreate(NULL, NULL, 0, 0), bad),
        ROW(cuCtxGetCurrent(NULL), bad),
        ROW(cuCtxGetDevice(NULL), bad),
        ROW(cuCtxGetFlags(NULL), bad),
        ROW(cuCtxGetId(NULL, NULL), bad),
        ROW(cuCtxSetFlags(CU_CTX_SCHED_SPIN | CU_CTX_SCHED_YIELD), bad),
        ROW(cuDevicePrimaryCtxSetFlags(0, CU_CTX_SCHED_SPIN | CU_CTX_SCHED_YIELD), bad),
        ROW(cuCtxGetLimit(NULL, CU_LIMIT_STACK_SIZE), bad),
        ROW(cuMemAlloc(NULL, 4), bad),
        ROW(cuMemAllocManaged(NULL, 4, CU_MEM_ATTACH_GLOBAL), bad),
        ROW(cuMemHostAlloc(NULL, 4, 0), bad),
        ROW(cuMemGetInfo(NULL, NULL), CUDA_SUCCESS), /* NVIDIA's driver takes it */
        ROW(cuMemAllocAsync(NULL, 4, NULL), bad),
        ROW(cuMemHostGetDevicePointer(NULL, WILD, 0), bad),
        ROW(cuPointerGetAttribute(NULL, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 0), bad),
        ROW(cuPointerGetAttributes(1, NULL, NULL, 0), bad),
        ROW(cuStreamCreate(NULL, 0), bad),
        ROW(cuStreamGetId(NULL, NULL), bad),
        ROW(cuStreamIsCapturing(NULL, NULL), bad),
        ROW(cuLaunchHostFunc(NULL, NULL, NULL), bad),
        ROW(cuStreamAddCallback(NULL, NULL, NULL, 0), bad),
        ROW(cuEventCreate(NULL, 0), bad),
        ROW(cuEventElapsedTime(NULL, event, event), bad),
        ROW(cuModuleGetFunction(NULL, module, "poke"), bad),
        ROW(cuModuleGetFunctionCount(NULL, module), bad),
        ROW(cuModuleGetGlobal(NULL, NULL, module, "table"), bad),
        ROW(cuModuleGetLoadingMode(NULL), bad),
        ROW(cuLibraryLoadData(NULL, test_ptx, NULL, NULL, 0, NULL, NULL, 0), bad),
        ROW(cuLibraryLoadData(NULL, NULL, NULL, NULL, 0, NULL, NULL, 0), bad),
        ROW(cuLaunchKernelEx(NULL, NULL, NULL, NULL), bad),
        ROW(cuMemcpy2D(NULL), bad),
        ROW(cuMemcpy3D(NULL), bad),
        ROW(cuGetErrorName(CUDA_SUCCESS, NULL), bad),
    };
    CHECK(rows);
}

/* Asks every call that takes a handle about one that is none of its kind. */
static void refuse_handle(void *handle)
{
    const CUresult bad = CUDA_ERROR_INVALID_HANDLE;
    unsigned long long id;
    unsigned int number;
    CUfunction function;
    CUdeviceptr address;
    const char *name;
    CUkernel kernel;
    CUmodule module;
    float time;
    size_t size;
    int value;

    const struct row rows[] = {
        ROW(cuStreamSynchronize(handle), bad),
        ROW(cuStreamQuery(handle), bad),
        ROW(cuStreamGetId(handle, &id), bad),
        ROW(cuStreamDestroy(handle), bad),
        ROW(cuMemsetD8Async(0, 0, 0, handle), bad),
        ROW(cuEventQuery(handle), bad),
        ROW(cuEventSynchronize(handle), bad),
        ROW(cuEventRecord(handle, NULL), bad),
        ROW(cuEventElapsedTime(&time, handle, handle), bad),
        ROW(cuEventDestroy(handle), bad),
        ROW(cuStreamWaitEvent(NULL, handle, 0), bad),
        ROW(cuModuleGetFunction(&function, handle, "poke"), bad),
        ROW(cuModuleGetGlobal(&address, &size, handle, "table"), bad),
        ROW(cuModuleGetFunctionCount(&number, handle), bad),
        ROW(cuModuleUnload(handle), bad),
        ROW(cuLibraryGetKernel(&kernel, handle, "poke"), bad),
        ROW(cuLibraryGetModule(&module, handle), bad),
        ROW(cuLibraryUnload(handle), bad),
        ROW(cuKernelGetFunction(&function, handle), bad),
        ROW(cuKernelGetName(&name, handle), bad),
        ROW(cuFuncGetName(&name, handle), bad),
        ROW(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, handle), bad),
        ROW(cuLaunchKernel(handle, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL), bad),
        ROW(cuCtxSetCurrent(handle), CUDA_ERROR_INVALID_CONTEXT),
        ROW(cuCtxPushCurrent(handle), CUDA_ERROR_INVALID_CONTEXT),
        ROW(cuCtxDestroy(handle), CUDA_ERROR_INVALID_CONTEXT),
        ROW(cuMemPoolTrimTo(handle, 0), CUDA_ERROR_INVALID_VALUE),
        ROW(cuMemFreeHost(handle), CUDA_ERROR_INVALID_VALUE),
        ROW(cuMemFree((CUdeviceptr)(uintptr_t)handle), CUDA_ERROR_INVALID_VALUE),
    };
    CHECK(rows);
}

static void wild_and_freed_handles_are_refused(void **state)
{
    CUstream stream;
    CUevent event;
    char local[64] = "not a handle";

    (void)state;
    refuse_handle(WILD);
    refuse_handle((void *)7);
    refuse_handle(local);
    refuse_handle((void *)(UINTPTR_MAX - 1));
    assert_cuda(cuStreamCreate(&stream, 0));
    assert_cuda(cuStreamDestroy(stream));
    refuse_handle(stream);
    assert_cuda(cuEventCreate(&event, 0));
    assert_cuda(cuEventDestroy(event));
    refuse_handle(event);
}

static void a_handle_of_another_kind_is_refused(void **state)
{
    CUfunction function;
    const char *name;
    CUmodule module;
    CUstream stream;
    CUevent event;

    (void)state;
    assert_cuda(cuStreamCreate(&stream, 0));
    assert_cuda(cuEventCreate(&event, 0));
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "poke"));
    const struct row rows[] = {
        ROW(cuStreamQuery((CUstream)event), CUDA_ERROR_INVALID_HANDLE),
        ROW(cuEventQuery((CUevent)stream), CUDA_ERROR_INVALID_HANDLE),
        ROW(cuModuleUnload((CUmodule)function), CUDA_ERROR_INVALID_HANDLE),
        ROW(cuFuncGetName(&name, (CUfunction)module), CUDA_ERROR_INVALID_HANDLE),
        ROW(cuCtxSetCurrent((CUcontext)module), CUDA_ERROR_INVALID_CONTEXT),
        ROW(cuStreamQuery(stream), CUDA_SUCCESS),
        ROW(cuEventQuery(event), CUDA_SUCCESS),
    };
    CHECK(rows);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(null_outputs_are_refused),
        in_context(wild_and_freed_handles_are_refused),
        in_context(a_handle_of_another_kind_is_refused),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
