/* SPDX-License-Identifier: MIT */
/* Images, modules, libraries, kernels and their attributes. */
#include <string.h>

#include "tests/driver_api/cases.h"

static const char header[] = ".version 6.4\n.target sm_75\n.address_size 64\n";

static CUresult load(const void *image)
{
    CUmodule module;
    return cuModuleLoadData(&module, image);
}

CASE(load_null)
{
    return load(NULL);
}

CASE(load_empty)
{
    return load("");
}

CASE(load_text)
{
    return load("this is no code at all, and long enough to be looked at as an image");
}

CASE(load_header_only)
{
    return load(header);
}

CASE(load_syntax)
{
    static char text[256];
    strcpy(text, header);
    strcat(text, ".visible .entry broken() { add.s32 nonsense; }\n");
    return load(text);
}

CASE(load_unknown_instruction)
{
    static char text[256];
    strcpy(text, header);
    strcat(text, ".visible .entry broken() { .reg .b32 %r<4>; frobnicate.u32 %r1, %r2; ret; }\n");
    return load(text);
}

CASE(load_cut)
{
    static char text[65536];
    size_t length = strlen(test_ptx);
    memcpy(text, test_ptx, length / 2);
    return load(text);
}

CASE(load_new_version)
{
    return load(".version 99.0\n.target sm_75\n.address_size 64\n");
}

CASE(load_new_target)
{
    return load(".version 6.4\n.target sm_999\n.address_size 64\n");
}

CASE(load_elf_cut)
{
    static const char image[64] = "\177ELF\2\1\1\x33\7";
    return load(image);
}

CASE(load_fatbin_cut)
{
    static const unsigned char image[64] = {0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0, 40};
    return load(image);
}

CASE(load_fatbin_empty)
{
    static const unsigned char image[64] = {0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0, 0};
    return load(image);
}

CASE(load_file_missing)
{
    CUmodule module;
    return cuModuleLoad(&module, "/nonexistent/module.ptx");
}

CASE(load_log)
{
    /* The compiler's words come back in the program's buffer, with their length. */
    static char log[4096], text[256];
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)sizeof(log)};
    CUmodule module;
    CUresult error;
    strcpy(text, header);
    strcat(text, ".visible .entry broken() { add.s32 nonsense; }\n");
    error = cuModuleLoadDataEx(&module, text, 2, options, values);
    return strlen(log) > 0 && (size_t)values[1] > 0 && (size_t)values[1] <= sizeof(log)
               ? error
               : CUDA_ERROR_UNKNOWN;
}

CASE(load_log_tiny)
{
    static char log[16], text[256];
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)8};
    CUmodule module;
    CUresult error;
    strcpy(text, header);
    strcat(text, ".visible .entry broken() { add.s32 nonsense; }\n");
    error = cuModuleLoadDataEx(&module, text, 2, options, values);
    return log[8] == 0 && memchr(log, 0, 8) ? error : CUDA_ERROR_UNKNOWN;
}

CASE(load_log_names_instruction)
{
    /* What the target has not is refused at once, with the line and the instruction. */
    static char log[4096];
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)sizeof(log)};
    CUmodule module;
    CUresult error = cuModuleLoadDataEx(&module,
                                        ".version 8.0\n.target sm_80\n.address_size 64\n"
                                        ".visible .entry warpgroup()\n{\n"
                                        "    wgmma.fence.sync.aligned;\n    ret;\n}\n",
                                        2, options, values);
    return strstr(log, "line 6") && strstr(log, "wgmma.fence") ? error : CUDA_ERROR_UNKNOWN;
}

CASE(unload_null)
{
    return cuModuleUnload(NULL);
}

CASE(unload_twice)
{
    CUmodule module = test_module();
    NEED(cuModuleUnload(module));
    return cuModuleUnload(module);
}

CASE(function_missing)
{
    CUfunction function;
    return cuModuleGetFunction(&function, test_module(), "no_such_kernel");
}

CASE(function_name_null)
{
    CUfunction function;
    return cuModuleGetFunction(&function, test_module(), NULL);
}

CASE(function_null)
{
    return cuModuleGetFunction(NULL, test_module(), "fill");
}

CASE(function_unloaded)
{
    CUmodule module = test_module();
    CUfunction function;
    NEED(cuModuleUnload(module));
    return cuModuleGetFunction(&function, module, "fill");
}

CASE(function_same_handle)
{
    CUmodule module = test_module();
    CUfunction first, second;
    NEED(cuModuleGetFunction(&first, module, "fill"));
    NEED(cuModuleGetFunction(&second, module, "fill"));
    return first == second ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(global_missing)
{
    CUdeviceptr address;
    size_t bytes;
    return cuModuleGetGlobal(&address, &bytes, test_module(), "no_such_variable");
}

CASE(global_right)
{
    CUdeviceptr address = 0;
    size_t bytes = 0;
    NEED(cuModuleGetGlobal(&address, &bytes, test_module(), "table"));
    NEED(cuMemsetD8(address, 1, bytes));
    return address && bytes == 4096 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(global_nulls)
{
    return cuModuleGetGlobal(NULL, NULL, test_module(), "table");
}

CASE(global_beyond)
{
    CUdeviceptr address = 0;
    size_t bytes = 0;
    static char data[1 << 20];
    NEED(cuModuleGetGlobal(&address, &bytes, test_module(), "counter"));
    return cuMemcpyHtoD(address, data, 4 << 18);
}

CASE(module_function_count)
{
    unsigned int count = 0;
    NEED(cuModuleGetFunctionCount(&count, test_module()));
    return count == 9 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

static CUlibrary library(void)
{
    CUlibrary handle;
    NEED(cuLibraryLoadData(&handle, test_ptx, NULL, NULL, 0, NULL, NULL, 0));
    return handle;
}

CASE(library_null)
{
    CUlibrary handle;
    return cuLibraryLoadData(&handle, NULL, NULL, NULL, 0, NULL, NULL, 0);
}

CASE(library_syntax)
{
    /* A driver may look at the text only when somebody asks for a kernel. */
    CUlibrary handle;
    CUkernel kernel;
    CUresult error =
        cuLibraryLoadData(&handle, "this is no code at all, and long enough for an image", NULL,
                          NULL, 0, NULL, NULL, 0);
    if (error == CUDA_SUCCESS)
        error = cuLibraryGetKernel(&kernel, handle, "fill");
    return error ? CUDA_ERROR_INVALID_IMAGE : CUDA_SUCCESS;
}

CASE(library_unload_twice)
{
    CUlibrary handle = library();
    NEED(cuLibraryUnload(handle));
    return cuLibraryUnload(handle);
}

CASE(library_unload_null)
{
    return cuLibraryUnload(NULL);
}

CASE(kernel_missing)
{
    CUkernel kernel;
    return cuLibraryGetKernel(&kernel, library(), "no_such_kernel");
}

CASE(kernel_same_handle)
{
    CUlibrary handle = library();
    CUkernel first, second;
    NEED(cuLibraryGetKernel(&first, handle, "fill"));
    NEED(cuLibraryGetKernel(&second, handle, "fill"));
    return first == second ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(kernel_count)
{
    unsigned int count = 0;
    NEED(cuLibraryGetKernelCount(&count, library()));
    return count == 9 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(kernel_function)
{
    CUkernel kernel;
    CUfunction function;
    NEED(cuLibraryGetKernel(&kernel, library(), "count_threads"));
    NEED(cuKernelGetFunction(&function, kernel));
    NEED(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    return cuCtxSynchronize();
}

CASE(kernel_launched_itself)
{
    CUkernel kernel;
    NEED(cuLibraryGetKernel(&kernel, library(), "count_threads"));
    NEED(cuLaunchKernel((CUfunction)kernel, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
    return cuCtxSynchronize();
}

CASE(kernel_unloaded)
{
    CUlibrary handle = library();
    CUkernel kernel;
    CUfunction function;
    NEED(cuLibraryGetKernel(&kernel, handle, "fill"));
    NEED(cuLibraryUnload(handle));
    return cuKernelGetFunction(&function, kernel);
}

CASE(library_global)
{
    CUdeviceptr address = 0;
    size_t bytes = 0;
    NEED(cuLibraryGetGlobal(&address, &bytes, library(), "table"));
    return address && bytes == 4096 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(library_global_missing)
{
    CUdeviceptr address;
    size_t bytes;
    return cuLibraryGetGlobal(&address, &bytes, library(), "no_such_variable");
}

CASE(library_managed_missing)
{
    CUdeviceptr address;
    size_t bytes;
    return cuLibraryGetManaged(&address, &bytes, library(), "table");
}

CASE(attribute_number)
{
    int value;
    return cuFuncGetAttribute(&value, (CUfunction_attribute)99, test_kernel("fill"));
}

CASE(attribute_null_function)
{
    int value;
    return cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, NULL);
}

CASE(attribute_threads)
{
    int value = 0;
    NEED(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, test_kernel("fill")));
    return value == 1024 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(attribute_read_only)
{
    return cuFuncSetAttribute(test_kernel("fill"), CU_FUNC_ATTRIBUTE_NUM_REGS, 12);
}

CASE(attribute_shared_too_large)
{
    return cuFuncSetAttribute(test_kernel("fill"), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                              10 << 20);
}

CASE(attribute_shared_negative)
{
    return cuFuncSetAttribute(test_kernel("fill"), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                              -1);
}

CASE(attribute_shared_kept)
{
    CUfunction function = test_kernel("dynamic_shared");
    int value = 0;
    NEED(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 40000));
    NEED(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function));
    return value == 40000 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(parameter_info)
{
    CUfunction function = test_kernel("fill");
    size_t offset = 0, bytes = 0;
    NEED(cuFuncGetParamInfo(function, 2, &offset, &bytes));
    return offset == 12 && bytes == 4 ? cuFuncGetParamInfo(function, 3, &offset, &bytes)
                                      : CUDA_ERROR_UNKNOWN;
}

const struct test_case module_cases[] = {
    {"load_null", load_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"load_empty", load_empty, CUDA_ERROR_INVALID_IMAGE, READY},
    {"load_text", load_text, CUDA_ERROR_INVALID_IMAGE, READY},
    {"load_header_only", load_header_only, CUDA_SUCCESS, READY},
    {"load_syntax", load_syntax, CUDA_ERROR_INVALID_PTX, READY},
    {"load_unknown_instruction", load_unknown_instruction, CUDA_ERROR_INVALID_PTX, READY},
    {"load_cut", load_cut, CUDA_ERROR_INVALID_PTX, READY},
    {"load_new_version", load_new_version, CUDA_ERROR_UNSUPPORTED_PTX_VERSION, READY},
    {"load_new_target", load_new_target, CUDA_ERROR_INVALID_PTX, READY},
    {"load_elf_cut", load_elf_cut, CUDA_ERROR_INVALID_IMAGE, READY},
    {"load_fatbin_cut", load_fatbin_cut, CUDA_ERROR_INVALID_IMAGE, FATAL},
    {"load_fatbin_empty", load_fatbin_empty, CUDA_ERROR_NO_BINARY_FOR_GPU, READY},
    {"load_file_missing", load_file_missing, CUDA_ERROR_FILE_NOT_FOUND, READY},
    {"load_log", load_log, CUDA_ERROR_INVALID_PTX, READY},
    {"load_log_names_instruction", load_log_names_instruction, CUDA_ERROR_INVALID_PTX, READY},
    {"load_log_tiny", load_log_tiny, CUDA_ERROR_INVALID_PTX, READY},
    {"unload_null", unload_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"unload_twice", unload_twice, CUDA_ERROR_INVALID_HANDLE, READY},
    {"function_missing", function_missing, CUDA_ERROR_NOT_FOUND, READY},
    {"function_name_null", function_name_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"function_null", function_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"function_unloaded", function_unloaded, CUDA_ERROR_INVALID_HANDLE, READY},
    {"function_same_handle", function_same_handle, CUDA_SUCCESS, READY},
    {"global_missing", global_missing, CUDA_ERROR_NOT_FOUND, READY},
    {"global_right", global_right, CUDA_SUCCESS, READY},
    {"global_nulls", global_nulls, CUDA_ERROR_INVALID_VALUE, READY},
    {"global_beyond", global_beyond, CUDA_ERROR_INVALID_VALUE, READY},
    {"module_function_count", module_function_count, CUDA_SUCCESS, READY},
    {"library_null", library_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"library_syntax", library_syntax, CUDA_ERROR_INVALID_IMAGE, READY},
    {"library_unload_twice", library_unload_twice, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"library_unload_null", library_unload_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"kernel_missing", kernel_missing, CUDA_ERROR_NOT_FOUND, READY},
    {"kernel_same_handle", kernel_same_handle, CUDA_SUCCESS, READY},
    {"kernel_count", kernel_count, CUDA_SUCCESS, READY},
    {"kernel_function", kernel_function, CUDA_SUCCESS, READY},
    {"kernel_launched_itself", kernel_launched_itself, CUDA_SUCCESS, READY},
    {"kernel_unloaded", kernel_unloaded, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"library_global", library_global, CUDA_SUCCESS, READY},
    {"library_global_missing", library_global_missing, CUDA_ERROR_NOT_FOUND, READY},
    {"library_managed_missing", library_managed_missing, CUDA_ERROR_NOT_FOUND, READY},
    {"attribute_number", attribute_number, CUDA_ERROR_INVALID_VALUE, READY},
    {"attribute_null_function", attribute_null_function, CUDA_ERROR_INVALID_HANDLE, READY},
    {"attribute_threads", attribute_threads, CUDA_SUCCESS, READY},
    {"attribute_read_only", attribute_read_only, CUDA_ERROR_INVALID_VALUE, READY},
    {"attribute_shared_too_large", attribute_shared_too_large, CUDA_ERROR_INVALID_VALUE, READY},
    {"attribute_shared_negative", attribute_shared_negative, CUDA_ERROR_INVALID_VALUE, READY},
    {"attribute_shared_kept", attribute_shared_kept, CUDA_SUCCESS, READY},
    {"parameter_info", parameter_info, CUDA_ERROR_INVALID_VALUE, READY},
    {0},
};
