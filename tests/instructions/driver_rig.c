/* SPDX-License-Identifier: MIT */
/* The rig of tests on a driver: the same kernels on any libcuda.so.1 and its device. */
#include <cuda.h>

#include "soft/tests/harness.h"

static void check(CUresult error, const char *what)
{
    const char *name = NULL;

    if (error == CUDA_SUCCESS)
        return;
    cuGetErrorName(error, &name);
    fail_msg("%s: %s (%d)", what, name != NULL ? name : "?", (int)error);
}

/* The device's primary context, made once: that takes longer than a kernel. */
static void use_context(void)
{
    CUcontext context;

    check(cuInit(0), "cuInit");
    check(cuCtxGetCurrent(&context), "cuCtxGetCurrent");
    if (context != NULL)
        return;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was said is to be read, whatever comes */
    check(cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
    check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
}

bool rig_try(struct rig *rig, const char *text)
{
    char log[1024] = "";
    CUjit_option options[2] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[2] = {log, (void *)(uintptr_t)sizeof(log)};
    CUmodule module;
    CUresult error;

    memset(rig, 0, sizeof(*rig));
    use_context();
    note_text(text);
    error = cuModuleLoadDataEx(&module, text, 2, options, values);
    rig->module = module;
    if (error == CUDA_ERROR_INVALID_PTX || error == CUDA_ERROR_NO_BINARY_FOR_GPU ||
        error == CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
        return false;
    if (error != CUDA_SUCCESS)
        printf("%s\n", log);
    check(error, "cuModuleLoadDataEx");
    return true;
}

void rig_load(struct rig *rig, const char *text)
{
    if (!rig_try(rig, text))
        skip();
}

void rig_drop(struct rig *rig)
{
    for (unsigned n = 0; n < rig->allocation_count; n++)
        check(cuMemFree((CUdeviceptr)(uintptr_t)rig->allocations[n]), "cuMemFree");
    check(cuModuleUnload(rig->module), "cuModuleUnload");
}

void *rig_allocate(struct rig *rig, size_t size)
{
    CUdeviceptr address = 0;

    assert_true(rig->allocation_count < COUNT(rig->allocations));
    check(cuMemAllocManaged(&address, size, CU_MEM_ATTACH_GLOBAL), "cuMemAllocManaged");
    memset((void *)(uintptr_t)address, 0, size);
    rig->allocations[rig->allocation_count++] = (void *)(uintptr_t)address;
    return (void *)(uintptr_t)address;
}

/* Bytes of the block of a kernel's parameters. */
static size_t parameter_bytes(CUfunction function)
{
    size_t end = 0, offset, size;

    for (size_t n = 0; cuFuncGetParamInfo(function, n, &offset, &size) == CUDA_SUCCESS; n++)
        end = offset + size;
    return end;
}

/* A context that a kernel has broken makes room for another. */
static void replace_context(void)
{
    cuCtxSetCurrent(NULL);
    cuDevicePrimaryCtxReset(0);
    cuDevicePrimaryCtxRelease(0);
}

static CUresult launch(struct rig *rig, const char *kernel, struct geometry geometry,
                       const void *parameters)
{
    CUfunction function;
    size_t size;
    CUresult error;

    check(cuModuleGetFunction(&function, rig->module, kernel), "cuModuleGetFunction");
    size = parameter_bytes(function);
    error = cuLaunchKernel(function, geometry.grid, SIDE(rig->grid_y), SIDE(rig->grid_z),
                           geometry.block, SIDE(rig->block_y), SIDE(rig->block_z), geometry.shared,
                           NULL, NULL,
                           (void *[]){CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)(uintptr_t)parameters,
                                      CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END});
    return error != CUDA_SUCCESS ? error : cuCtxSynchronize();
}

bool rig_runs(struct rig *rig, const char *kernel, struct geometry geometry, const void *parameters)
{
    CUresult error = launch(rig, kernel, geometry, parameters);
    const char *name = "?";

    if (error == CUDA_SUCCESS)
        return true;
    cuGetErrorName(error, &name);
    printf("%s: %s\n", kernel, name);
    replace_context();
    return false;
}

void rig_run(struct rig *rig, const char *kernel, struct geometry geometry, const void *parameters)
{
    CUresult error = launch(rig, kernel, geometry, parameters);

    if (error != CUDA_SUCCESS)
        replace_context();
    check(error, kernel);
}
