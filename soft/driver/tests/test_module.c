/* SPDX-License-Identifier: MIT */
#include "driver_test.h"

#include <stdio.h>

static void functions_and_variables_are_found_by_name(void **state)
{
    int values[4];
    CUmodule module, owner;
    CUfunction function, again, all[8];
    const char *name;
    unsigned int count;
    CUdeviceptr address;
    size_t size, offset;
    int value;

    (void)state;
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "vector_add"));
    assert_cuda(cuModuleGetFunction(&again, module, "vector_add"));
    assert_ptr_equal(function, again);
    assert_cuda_error(cuModuleGetFunction(&again, module, "no_such_kernel"), CUDA_ERROR_NOT_FOUND);
    assert_cuda(cuFuncGetName(&name, function));
    assert_string_equal(name, "vector_add");
    assert_cuda(cuFuncGetModule(&owner, function));
    assert_ptr_equal(owner, module);
    assert_cuda(cuModuleGetFunctionCount(&count, module));
    assert_int_equal(count, 6);
    assert_cuda(cuModuleEnumerateFunctions(all, 6, module));
    for (int i = 0; i < 6; i++)
        assert_cuda(cuFuncGetName(&name, all[i]));

    assert_cuda(cuModuleGetGlobal(&address, &size, module, "table"));
    assert_int_equal(size, sizeof(values));
    assert_cuda(cuMemcpyDtoH(values, address, size));
    assert_int_equal(values[3], 40);
    assert_cuda_error(cuModuleGetGlobal(&address, &size, module, "nothing"), CUDA_ERROR_NOT_FOUND);
    assert_cuda_error(cuMemcpyDtoH(values, address, size + 1), CUDA_ERROR_INVALID_VALUE);

    assert_cuda(cuModuleGetFunction(&again, module, "mixed"));
    assert_cuda(cuFuncGetParamInfo(again, 2, &offset, &size));
    assert_int_equal(offset, 16);
    assert_int_equal(size, 8);
    assert_cuda(cuFuncGetParamInfo(again, 3, &offset, &size));
    assert_int_equal(offset, 24);
    assert_int_equal(size, 12);
    assert_cuda(cuFuncGetParamInfo(again, 4, &offset, NULL));
    assert_int_equal(offset, 36);
    assert_cuda_error(cuFuncGetParamInfo(again, 5, &offset, &size), CUDA_ERROR_INVALID_VALUE);

    assert_cuda(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_PTX_VERSION, function));
    assert_int_equal(value, 80);
    assert_cuda(cuModuleGetFunction(&again, module, "limited"));
    assert_cuda(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, again));
    assert_int_equal(value, 64);
    assert_cuda(cuModuleUnload(module));
    assert_cuda_error(cuModuleUnload(module), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuFuncGetName(&name, function), CUDA_ERROR_INVALID_HANDLE);
}

static void bad_images_are_refused_with_a_log(void **state)
{
    char log[400] = "unchanged";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_MAX_REGISTERS};
    void *values[] = {log, (void *)sizeof(log), (void *)32};
    const char *bad = ".version 8.0\n.target sm_80\n.address_size 64\n"
                      ".visible .entry broken()\n{\n    add.s32 %r1, %r2;\n    ret;\n}\n";
    CUmodule module;

    (void)state;
    assert_cuda_error(cuModuleLoadDataEx(&module, bad, 3, options, values), CUDA_ERROR_INVALID_PTX);
    assert_true(strlen(log) > 0 && strcmp(log, "unchanged") != 0);
    assert_int_equal((size_t)values[1], strlen(log));
    assert_cuda_error(cuModuleLoadData(&module, "this is not PTX"), CUDA_ERROR_INVALID_IMAGE);
    assert_cuda_error(cuModuleLoadData(&module, "\x80\x81\x82\x83\x84\x85"),
                      CUDA_ERROR_INVALID_IMAGE);
    assert_cuda_error(cuModuleLoadData(&module, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuModuleLoadData(NULL, test_ptx), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuModuleLoad(&module, "/nonexistent"), CUDA_ERROR_FILE_NOT_FOUND);
    options[0] = (CUjit_option)1000;
    assert_cuda_error(cuModuleLoadDataEx(&module, test_ptx, 1, options, values),
                      CUDA_ERROR_INVALID_VALUE);
}

/* Not at the first use of a kernel: the program hears which line of its text cannot run. */
static void what_is_not_supported_is_refused_when_it_is_loaded(void **state)
{
    char log[400] = "unchanged";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)sizeof(log)};
    const char *text = ".version 8.6\n.target sm_100a\n.address_size 64\n"
                       ".visible .entry good() { ret; }\n"
                       ".visible .entry other()\n{\n"
                       "    tcgen05.fence::before_thread_sync;\n    ret;\n}\n";
    CUlibrary library;
    CUmodule module;

    (void)state;
    assert_cuda_error(cuModuleLoadDataEx(&module, text, 2, options, values),
                      CUDA_ERROR_INVALID_PTX);
    assert_non_null(strstr(log, "line 7"));
    assert_non_null(strstr(log, "tcgen05.fence::before_thread_sync"));
    strcpy(log, "unchanged");
    assert_cuda_error(cuLibraryLoadData(&library, text, options, values, 2, NULL, NULL, 0),
                      CUDA_ERROR_INVALID_PTX);
    assert_non_null(strstr(log, "tcgen05.fence::before_thread_sync"));
    assert_cuda_error(cuModuleLoadData(&module, text), CUDA_ERROR_INVALID_PTX);
}

/* The folder of image/'s fixtures. */
static const char *images;

static const char *image_path(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", images, name);
    return path;
}

static void fatbins_are_loaded_from_files(void **state)
{
    static const char *const names[] = {"zstd.fatbin", "lz4.fatbin", "plain.fatbin"};
    CUfunction function;
    CUlibrary library;
    CUkernel kernel;
    CUmodule module;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_cuda(cuModuleLoad(&module, image_path(names[i])));
        assert_cuda(cuModuleGetFunction(&function, module, "scale"));
        assert_cuda(cuModuleUnload(module));
    }
    /* Code for another GPU only: it loads, and has nothing to run. */
    assert_cuda(cuModuleLoad(&module, image_path("cubin-only.fatbin")));
    assert_cuda_error(cuModuleGetFunction(&function, module, "scale"),
                      CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_cuda(cuModuleUnload(module));
    assert_cuda(cuLibraryLoadFromFile(&library, image_path("cubin-only.fatbin"), NULL, NULL, 0,
                                      NULL, NULL, 0));
    assert_cuda_error(cuLibraryGetKernel(&kernel, library, "scale"), CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_cuda_error(cuLibraryGetModule(&module, library), CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_cuda(cuLibraryUnload(library));
    assert_cuda_error(cuModuleLoad(&module, image_path("scale.cubin")),
                      CUDA_ERROR_NO_BINARY_FOR_GPU);
}

static void a_library_is_a_module_in_each_context(void **state)
{
    CUlibrary library, owner;
    CUkernel kernel, again;
    CUmodule first, second;
    CUfunction function;
    CUdeviceptr here, there;
    CUcontext other;
    unsigned int count;
    const char *name;
    int value;

    (void)state;
    assert_cuda(cuLibraryLoadData(&library, test_ptx, NULL, NULL, 0, NULL, NULL, 0));
    assert_cuda(cuLibraryGetKernel(&kernel, library, "poke"));
    assert_cuda(cuLibraryGetKernel(&again, library, "poke"));
    assert_ptr_equal(kernel, again);
    assert_cuda_error(cuLibraryGetKernel(&again, library, "nothing"), CUDA_ERROR_NOT_FOUND);
    assert_cuda(cuLibraryGetKernelCount(&count, library));
    assert_int_equal(count, 6);
    assert_cuda(cuKernelGetName(&name, kernel));
    assert_string_equal(name, "poke");
    assert_cuda(cuKernelGetLibrary(&owner, kernel));
    assert_ptr_equal(owner, library);
    assert_cuda(
        cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 65536, kernel, 0));
    assert_cuda(cuKernelGetFunction(&function, kernel));
    assert_cuda(
        cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function));
    assert_int_equal(value, 65536);
    assert_cuda_error(
        cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 1 << 20, kernel, 0),
        CUDA_ERROR_INVALID_VALUE);

    assert_cuda(cuLibraryGetGlobal(&here, NULL, library, "counter"));
    assert_cuda(cuLibraryGetModule(&first, library));
    assert_cuda(cuCtxCreate(&other, NULL, 0, 0));
    assert_cuda(cuLibraryGetModule(&second, library));
    assert_cuda(cuLibraryGetGlobal(&there, NULL, library, "counter"));
    assert_true(here != there);
    assert_ptr_not_equal(first, second);
    assert_cuda(cuCtxDestroy(other));
    assert_cuda(cuMemcpyDtoH(&value, here, sizeof(value)));
    assert_int_equal(value, 7);
    assert_cuda_error(cuMemcpyDtoH(&value, there, sizeof(value)), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuLibraryUnload(library));
    assert_cuda_error(cuLibraryUnload(library), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuKernelGetName(&name, kernel), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuModuleGetFunctionCount(&count, first), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuMemcpyDtoH(&value, here, sizeof(value)), CUDA_ERROR_INVALID_VALUE);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        in_context(functions_and_variables_are_found_by_name),
        in_context(bad_images_are_refused_with_a_log),
        in_context(what_is_not_supported_is_refused_when_it_is_loaded),
        in_context(fatbins_are_loaded_from_files),
        in_context(a_library_is_a_module_in_each_context),
    };
    if (count != 2)
        return 2;
    images = arguments[1];
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
