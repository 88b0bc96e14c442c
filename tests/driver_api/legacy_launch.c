/* SPDX-License-Identifier: MIT */
/* What older programs call: launches in several steps, attached contexts, first versions. */
#include <limits.h>

#include "tests/driver_api/check.h"

/* cuda.h gives these names to the newest versions. */
CUresult first_context_create(CUcontext *context, unsigned int flags,
                              CUdevice device) __asm__("cuCtxCreate");
CUresult first_device_total_mem(unsigned int *bytes, CUdevice device) __asm__("cuDeviceTotalMem");
CUresult first_memory_alloc(unsigned int *address, unsigned int bytes) __asm__("cuMemAlloc");
CUresult first_memory_info(unsigned int *unused, unsigned int *total) __asm__("cuMemGetInfo");

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { WORDS = 1024 };

static unsigned int word_at(CUdeviceptr memory, unsigned int index)
{
    unsigned int word;
    CHECK(cuMemcpyDtoH(&word, memory + index * sizeof(word), sizeof(word)));
    return word;
}

static void set_parameters(CUfunction fill, CUdeviceptr memory, unsigned int value)
{
    CHECK(cuParamSetv(fill, 0, &memory, sizeof(memory)));
    CHECK(cuParamSeti(fill, 8, value));
    CHECK(cuParamSeti(fill, 12, WORDS));
    CHECK(cuParamSetSize(fill, 16));
}

static void test_launches(CUmodule module, CUdeviceptr memory)
{
    CUfunction fill = check_function(module, "fill");
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
    CHECK(cuFuncSetBlockShape(fill, 128, 1, 1));
    CHECK(cuFuncSetSharedSize(fill, 0));
    set_parameters(fill, memory, 100);
    CHECK(cuLaunchGrid(fill, WORDS / 128, 1));
    EXPECT(word_at(memory, WORDS - 1) == 100 + WORDS - 1);
    set_parameters(fill, memory, 500);
    CHECK(cuLaunchGridAsync(fill, 2, 1, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(word_at(memory, 255) == 755 && word_at(memory, 256) == 356);
    set_parameters(fill, memory, 900);
    CHECK(cuLaunch(fill));
    EXPECT(word_at(memory, 127) == 1027 && word_at(memory, 128) == 628);
    CHECK(cuStreamDestroy(stream));
}

static void test_wrong_values(CUmodule module)
{
    CUfunction fill = check_function(module, "fill");
    EXPECT(cuFuncSetBlockShape(fill, 0, 1, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuFuncSetBlockShape(fill, 1, -1, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLaunchGrid(fill, 0, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLaunchCooperativeKernelMultiDevice(NULL, 1, 0) == CUDA_ERROR_INVALID_VALUE);
}

static void test_attached(CUdevice device)
{
    CUcontext context, attached, current;
    CHECK(cuCtxCreate(&context, NULL, 0, device));
    CHECK(cuCtxAttach(&attached, 0));
    EXPECT(attached == context);
    EXPECT(cuCtxAttach(&attached, 1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuCtxDetach(context));
    CHECK(cuCtxGetCurrent(&current));
    EXPECT(current == context); /* its maker still has it */
    CHECK(cuCtxSynchronize());
    CHECK(cuCtxDestroy(context));
}

/* No context is made any more in which addresses have 32 bits. */
static void test_first_versions(CUdevice device)
{
    CUcontext context;
    unsigned int narrow, narrow_total, address;
    size_t wide;
    CHECK(cuDeviceTotalMem(&wide, device));
    CHECK(first_device_total_mem(&narrow, device));
    EXPECT(narrow == (wide > UINT_MAX ? UINT_MAX : wide));
    EXPECT(first_context_create(&context, 0, device) == CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT(first_memory_info(&narrow, &narrow_total) == CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(first_memory_alloc(&address, 64) == CUDA_ERROR_INVALID_CONTEXT);
}

static void test_before_start(void)
{
    CUcontext context;
    unsigned int address;
    EXPECT(first_context_create(&context, 0, 0) == CUDA_ERROR_NOT_INITIALIZED);
    EXPECT(first_memory_alloc(&address, 64) == CUDA_ERROR_NOT_INITIALIZED);
}

int main(void)
{
    CUdevice device;
    test_before_start();
    check_context();
    CHECK(cuDeviceGet(&device, 0));
    CUmodule module = check_module();
    CUdeviceptr memory = check_memory(WORDS * 4);
    test_wrong_values(module);
    test_launches(module, memory);
    test_attached(device);
    test_first_versions(device);
    return 0;
}
