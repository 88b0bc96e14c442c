/* SPDX-License-Identifier: MIT */
/* What is left of a context after its kernel wrote where it must not. */
#include <stdint.h>

#include "tests/driver_api/cases.h"

static char host[64];

CASE(dead_synchronize)
{
    test_kill_context();
    return cuCtxSynchronize();
}

CASE(dead_alloc)
{
    CUdeviceptr address;
    test_kill_context();
    return cuMemAlloc(&address, 16);
}

CASE(dead_free)
{
    CUdeviceptr address = test_memory(16);
    test_kill_context();
    return cuMemFree(address);
}

CASE(dead_upload)
{
    CUdeviceptr address = test_memory(64);
    test_kill_context();
    return cuMemcpyHtoD(address, host, 64);
}

CASE(dead_upload_wild)
{
    test_kill_context();
    return cuMemcpyHtoD(0x123456789000, host, 64);
}

CASE(dead_launch)
{
    CUfunction function = test_kernel("count_threads");
    test_kill_context();
    return cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

CASE(dead_launch_null)
{
    test_kill_context();
    return cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

CASE(dead_stream_query)
{
    CUstream stream;
    NEED(cuStreamCreate(&stream, 0));
    test_kill_context();
    return cuStreamQuery(stream);
}

CASE(dead_stream_create)
{
    CUstream stream;
    test_kill_context();
    return cuStreamCreate(&stream, 0);
}

CASE(dead_stream_destroy)
{
    CUstream stream;
    NEED(cuStreamCreate(&stream, 0));
    test_kill_context();
    return cuStreamDestroy(stream);
}

CASE(dead_event_create)
{
    CUevent event;
    test_kill_context();
    return cuEventCreate(&event, 0);
}

CASE(dead_event_record)
{
    CUevent event;
    NEED(cuEventCreate(&event, 0));
    test_kill_context();
    return cuEventRecord(event, NULL);
}

CASE(dead_event_query)
{
    CUevent event;
    NEED(cuEventCreate(&event, 0));
    NEED(cuEventRecord(event, NULL));
    test_kill_context();
    return cuEventQuery(event);
}

CASE(dead_event_destroy)
{
    CUevent event;
    NEED(cuEventCreate(&event, 0));
    test_kill_context();
    return cuEventDestroy(event);
}

CASE(dead_module_load)
{
    CUmodule module;
    test_kill_context();
    return cuModuleLoadData(&module, test_ptx);
}

CASE(dead_module_unload)
{
    CUmodule module = test_module();
    test_kill_context();
    return cuModuleUnload(module);
}

CASE(dead_function)
{
    CUmodule module = test_module();
    CUfunction function;
    test_kill_context();
    return cuModuleGetFunction(&function, module, "fill");
}

CASE(dead_attribute)
{
    CUfunction function = test_kernel("fill");
    int value;
    test_kill_context();
    return cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, function);
}

CASE(dead_info)
{
    size_t free, total;
    test_kill_context();
    return cuMemGetInfo(&free, &total);
}

CASE(dead_limit)
{
    size_t value;
    test_kill_context();
    return cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE);
}

CASE(dead_pointer)
{
    CUdeviceptr address = test_memory(64);
    CUmemorytype type;
    test_kill_context();
    return cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address);
}

CASE(dead_device)
{
    CUdevice device;
    test_kill_context();
    return cuCtxGetDevice(&device);
}

CASE(dead_flags)
{
    unsigned int flags;
    test_kill_context();
    return cuCtxGetFlags(&flags);
}

CASE(dead_host_alloc)
{
    void *memory;
    test_kill_context();
    return cuMemHostAlloc(&memory, 4096, 0);
}

CASE(dead_destroy)
{
    CUcontext context;
    NEED(cuCtxGetCurrent(&context));
    test_kill_context();
    return cuCtxDestroy(context);
}

CASE(dead_new_context)
{
    CUcontext context;
    test_kill_context();
    return cuCtxCreate(&context, NULL, 0, 0);
}

CASE(dead_then_new_context)
{
    /* The error is the process's: not even a new context helps. */
    CUcontext context;
    NEED(cuCtxGetCurrent(&context));
    test_kill_context();
    NEED(cuCtxDestroy(context));
    return cuCtxCreate(&context, NULL, 0, 0);
}

CASE(dead_primary_reset)
{
    CUcontext context;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuCtxSetCurrent(context));
    test_kill_context();
    NEED(cuDevicePrimaryCtxReset(0));
    return cuDevicePrimaryCtxRetain(&context, 0);
}

CASE(dead_trap)
{
    NEED(cuLaunchKernel(test_kernel("trap"), 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    return cuCtxSynchronize();
}

CASE(dead_misaligned)
{
    CUdeviceptr address = test_memory(64) + 1;
    void *parameters[] = {&address};
    NEED(cuLaunchKernel(test_kernel("write_to"), 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    return cuCtxSynchronize();
}

CASE(dead_by_copy)
{
    /* The copy after the kernel is the one that hears of it. */
    CUfunction function = test_kernel("write_to");
    CUdeviceptr nowhere = 0x10, address = test_memory(64);
    void *parameters[] = {&nowhere};
    NEED(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    return cuMemcpyDtoH(host, address, 64);
}

const struct test_case dead_cases[] = {
    {"dead_synchronize", dead_synchronize, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_alloc", dead_alloc, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_free", dead_free, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_upload", dead_upload, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_upload_wild", dead_upload_wild, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_launch", dead_launch, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_launch_null", dead_launch_null, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_stream_query", dead_stream_query, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_stream_create", dead_stream_create, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_stream_destroy", dead_stream_destroy, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_event_create", dead_event_create, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_event_record", dead_event_record, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_event_query", dead_event_query, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_event_destroy", dead_event_destroy, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_module_load", dead_module_load, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_module_unload", dead_module_unload, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_function", dead_function, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_attribute", dead_attribute, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_info", dead_info, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_limit", dead_limit, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_pointer", dead_pointer, CUDA_SUCCESS, READY},
    {"dead_device", dead_device, CUDA_SUCCESS, READY},
    {"dead_flags", dead_flags, CUDA_SUCCESS, READY},
    {"dead_host_alloc", dead_host_alloc, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_destroy", dead_destroy, CUDA_SUCCESS, READY},
    {"dead_new_context", dead_new_context, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_then_new_context", dead_then_new_context, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {"dead_primary_reset", dead_primary_reset, CUDA_ERROR_ILLEGAL_ADDRESS, INITIALISED},
    {"dead_trap", dead_trap, CUDA_ERROR_LAUNCH_FAILED, READY},
    {"dead_misaligned", dead_misaligned, CUDA_ERROR_MISALIGNED_ADDRESS, READY},
    {"dead_by_copy", dead_by_copy, CUDA_ERROR_ILLEGAL_ADDRESS, READY},
    {0},
};
