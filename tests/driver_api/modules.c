/* SPDX-License-Identifier: MIT */
/* Modules, libraries, kernels, variables, parameters; contexts and what dies with them. */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

static void test_parameters(CUmodule module)
{
    static const unsigned long long expected[] = {11, 222, 3333, 44444, 5, 6, 77, 8, 99, 10};
    struct {
        char small;
        double wide;
        short last;
    } mixed = {77, 8.0, 99};
    unsigned long long values[10] = {0};
    CUfunction function = check_function(module, "parameters");
    CUdeviceptr out = check_memory(sizeof(values));
    char a = 11, h = 10;
    short b = 222;
    int c = 3333;
    long long d = 44444;
    float e = 5;
    double f = 6;
    void *parameters[] = {&out, &a, &b, &c, &d, &e, &f, &mixed, &h};
    CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(values, out, sizeof(values)));
    for (int i = 0; i < 10; i++)
        EXPECT(values[i] == expected[i]);
    size_t offset, bytes;
    CHECK(cuFuncGetParamInfo(function, 7, &offset, &bytes));
    EXPECT(offset == 40 && bytes == sizeof(mixed));
    EXPECT(cuFuncGetParamInfo(function, 9, &offset, &bytes) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemFree(out));
}

static void test_shared(CUmodule module)
{
    CUfunction function = check_function(module, "dynamic_shared");
    CUdeviceptr out = check_memory(4);
    unsigned int sum = 0, expected = 0;
    int words = 12000;
    void *parameters[] = {&out, &words};
    CHECK(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 48000));
    CHECK(cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 48000, NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(&sum, out, 4));
    for (int i = 0; i < words; i++)
        expected += (unsigned int)i * 7;
    EXPECT(sum == expected);
    CHECK(cuMemFree(out));
}

static void test_variables(CUmodule module)
{
    CUdeviceptr counter, scale, base;
    size_t bytes;
    int value = 0;
    CUmemorytype type = 0;
    CUfunction function = check_function(module, "count_threads");
    CHECK(cuModuleGetGlobal(&counter, &bytes, module, "counter"));
    EXPECT(bytes == sizeof(int));
    CHECK(cuMemsetD32(counter, 0, 1));
    for (int i = 0; i < 10; i++)
        CHECK(cuLaunchKernel(function, 4, 2, 1, 32, 2, 1, 0, NULL, NULL, NULL));
    CHECK(cuMemcpyDtoH(&value, counter, sizeof(value)));
    EXPECT(value == 10 * 4 * 2 * 64);
    CHECK(cuModuleGetGlobal(&scale, &bytes, module, "scale"));
    CHECK(cuMemcpyDtoH(&value, scale, sizeof(value)));
    EXPECT(value == 3);
    CHECK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, counter));
    EXPECT(type == CU_MEMORYTYPE_DEVICE);
    CHECK(cuModuleGetGlobal(&base, NULL, module, "table"));
    EXPECT(base != 0);
}

/* Two modules of one image have their own variables. */
static void test_separate(CUmodule module)
{
    CUmodule other = check_module();
    CUdeviceptr mine, theirs;
    int value = 0;
    CHECK(cuModuleGetGlobal(&mine, NULL, module, "counter"));
    CHECK(cuModuleGetGlobal(&theirs, NULL, other, "counter"));
    EXPECT(mine != theirs);
    CHECK(cuMemsetD32(mine, 1, 1));
    CHECK(cuMemsetD32(theirs, 2, 1));
    CHECK(cuMemcpyDtoH(&value, mine, sizeof(value)));
    EXPECT(value == 1);
    CHECK(cuModuleUnload(other));
    CHECK(cuMemcpyDtoH(&value, mine, sizeof(value)));
    EXPECT(value == 1);
}

static void test_library(void)
{
    CUlibrary library;
    CUkernel kernel, again;
    CUfunction function;
    CUmodule module;
    CUdeviceptr counter;
    size_t bytes, offset;
    const char *name;
    int value = 0;
    CHECK(cuLibraryLoadData(&library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuLibraryGetKernel(&kernel, library, "count_threads"));
    CHECK(cuLibraryGetKernel(&again, library, "count_threads"));
    EXPECT(kernel == again);
    CHECK(cuKernelGetName(&name, kernel));
    EXPECT(strcmp(name, "count_threads") == 0);
    CHECK(cuKernelGetFunction(&function, kernel));
    CHECK(cuKernelGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, 0));
    EXPECT(value > 0);
    EXPECT(cuKernelGetParamInfo(kernel, 0, &offset, &bytes) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuLibraryGetGlobal(&counter, &bytes, library, "counter"));
    CHECK(cuMemsetD32(counter, 0, 1));
    CHECK(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    CHECK(cuLaunchKernel((CUfunction)kernel, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL));
    CHECK(cuMemcpyDtoH(&value, counter, sizeof(value)));
    EXPECT(value == 64);
    CHECK(cuLibraryGetModule(&module, library));
    CHECK(cuModuleGetFunction(&function, module, "count_threads"));
    CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    CHECK(cuMemcpyDtoH(&value, counter, sizeof(value)));
    EXPECT(value == 65);
    CHECK(cuLibraryUnload(library));
}

/* Contexts are apart; what is made in one dies with it, and its memory comes back. */
static void test_contexts(void)
{
    CUcontext before, first, second, now;
    CUdeviceptr memory;
    CUmodule module;
    CUfunction function;
    CHECK(cuCtxGetCurrent(&before));
    CHECK(cuCtxCreate(&first, NULL, 0, 0));
    module = check_module();
    function = check_function(module, "count_threads");
    memory = check_memory(1 << 20);
    CHECK(cuCtxCreate(&second, NULL, 0, 0));
    EXPECT(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL) != CUDA_SUCCESS);
    CHECK(cuMemsetD8(memory, 1, 1 << 20)); /* addresses are the device's */
    CHECK(cuCtxSynchronize());
    CHECK(cuCtxPopCurrent(&now));
    EXPECT(now == second);
    CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    CHECK(cuCtxSynchronize());
    CHECK(cuCtxDestroy(first));
    CHECK(cuCtxGetCurrent(&now));
    EXPECT(now == before);
    CHECK(cuCtxSetCurrent(second));
    memory = check_memory(1 << 20);
    CHECK(cuMemFree(memory));
    CHECK(cuCtxDestroy(second));
    CHECK(cuCtxSetCurrent(before));
    CHECK(cuCtxSynchronize());
}

/* A module's functions, without knowing their names. */
static void test_enumerate(CUmodule module)
{
    CUfunction functions[32];
    CUkernel kernels[32];
    CUlibrary library;
    unsigned int count = 0, found = 0;
    const char *name;
    CHECK(cuModuleGetFunctionCount(&count, module));
    EXPECT(count > 4 && count <= 32);
    CHECK(cuModuleEnumerateFunctions(functions, count, module));
    for (unsigned int i = 0; i < count; i++) {
        CHECK(cuFuncGetName(&name, functions[i]));
        found += strcmp(name, "fill") == 0;
    }
    EXPECT(found == 1);
    CHECK(cuLibraryLoadData(&library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuLibraryGetKernelCount(&count, library));
    CHECK(cuLibraryEnumerateKernels(kernels, count, library));
    for (unsigned int i = 0; i < count; i++) {
        CHECK(cuKernelGetName(&name, kernels[i]));
        found += strcmp(name, "count_threads") == 0;
    }
    EXPECT(found == 2);
    CHECK(cuLibraryUnload(library));
}

static void test_many_modules(void)
{
    for (int i = 0; i < 100; i++) {
        CUmodule module = check_module();
        CUfunction function = check_function(module, "count_threads");
        CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
        CHECK(cuModuleUnload(module));
    }
}

/* Large enough to have a name on the host: loaded, and loaded again. */
static void test_large_image(void)
{
    size_t length = strlen(kernels_ptx), padding = 100000;
    char *text = malloc(length + padding + 1);
    CUlibrary library;
    CUmodule module;
    memcpy(text, kernels_ptx, length);
    memset(text + length, ' ', padding);
    text[length + padding] = 0;
    for (int i = 0; i < 3; i++) {
        CHECK(cuModuleLoadData(&module, text));
        check_function(module, "count_threads");
        CHECK(cuModuleUnload(module));
        CHECK(cuLibraryLoadData(&library, text, NULL, NULL, 0, NULL, NULL, 0));
        CHECK(cuLibraryUnload(library));
    }
    memcpy(text + length + padding / 2, "nonsense", 8); /* no longer what it was */
    EXPECT(cuModuleLoadData(&module, text) == CUDA_ERROR_INVALID_PTX);
    free(text);
}

static void test_files(void)
{
    char path[] = "/tmp/vgpu-modules-XXXXXX";
    CUlibrary library;
    CUkernel kernel;
    CUmodule module, again;
    CUlibrary owner;
    CUfunction function;
    void *address;
    int file = mkstemp(path);
    EXPECT(file >= 0);
    EXPECT(write(file, kernels_ptx, strlen(kernels_ptx)) == (ssize_t)strlen(kernels_ptx));
    close(file);
    CHECK(cuModuleLoad(&module, path));
    function = check_function(module, "count_threads");
    CHECK(cuFuncGetModule(&again, function));
    EXPECT(again == module);
    CHECK(cuFuncLoad(function));
    CUfunctionLoadingState loading = CU_FUNCTION_LOADING_STATE_UNLOADED;
    CHECK(cuFuncIsLoaded(&loading, function));
    EXPECT(loading == CU_FUNCTION_LOADING_STATE_LOADED);
    CHECK(cuModuleUnload(module));
    CHECK(cuLibraryLoadFromFile(&library, path, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuLibraryGetKernel(&kernel, library, "count_threads"));
    CHECK(cuKernelGetLibrary(&owner, kernel));
    EXPECT(owner == library);
    CHECK(cuKernelSetCacheConfig(kernel, CU_FUNC_CACHE_PREFER_L1, 0));
    EXPECT(cuLibraryGetUnifiedFunction(&address, library, "count_threads") != CUDA_SUCCESS);
    CHECK(cuLibraryUnload(library));
    unlink(path);
    EXPECT(cuLibraryLoadFromFile(&library, path, NULL, NULL, 0, NULL, NULL, 0) ==
           CUDA_ERROR_FILE_NOT_FOUND);
}

/* Options that change how code is compiled, and those that say something of it. */
static void test_options(void)
{
    CUjit_option options[] = {CU_JIT_MAX_REGISTERS, CU_JIT_WALL_TIME, CU_JIT_OPTIMIZATION_LEVEL,
                              CU_JIT_GENERATE_LINE_INFO};
    void *values[] = {(void *)32, NULL, (void *)4, (void *)1};
    CUmodule module;
    CHECK(cuModuleLoadDataEx(&module, kernels_ptx, 4, options, values));
    check_function(module, "fill");
    CHECK(cuModuleUnload(module));
    options[0] = (CUjit_option)1000;
    EXPECT(cuModuleLoadDataEx(&module, kernels_ptx, 4, options, values) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleLoadDataEx(&module, kernels_ptx, 1, NULL, NULL) == CUDA_ERROR_INVALID_VALUE);
}

static void test_primary_again(void)
{
    CUcontext first, second;
    CHECK(cuCtxGetCurrent(&first));
    for (int i = 0; i < 3; i++) {
        CHECK(cuDevicePrimaryCtxReset(0));
        CHECK(cuDevicePrimaryCtxRetain(&second, 0));
        EXPECT(first == second);
        CUmodule module = check_module();
        test_variables(module);
        CHECK(cuDevicePrimaryCtxRelease(0));
    }
}

int main(void)
{
    check_context();
    CUmodule module = check_module();
    test_parameters(module);
    test_shared(module);
    test_variables(module);
    test_separate(module);
    test_library();
    test_enumerate(module);
    test_contexts();
    test_many_modules();
    test_large_image();
    test_files();
    test_options();
    test_primary_again();
    printf("modules: all right\n");
    return 0;
}
