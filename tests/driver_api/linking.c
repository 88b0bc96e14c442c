/* SPDX-License-Identifier: MIT */
/* The linker: code in several texts becomes one image; what compiler and linker say of it. */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

#define HEADER ".version 6.4\n.target sm_75\n.address_size 64\n"

static char caller[] = HEADER ".extern .func (.param .b32 result) twice(.param .b32 value);\n"
                              ".extern .global .align 4 .u32 shared_count;\n"
                              ".visible .entry use(.param .u64 out, .param .u32 value)\n"
                              "{\n"
                              "    .reg .b32 %r<4>;\n"
                              "    .reg .b64 %rd<3>;\n"
                              "    ld.param.u64 %rd1, [out];\n"
                              "    cvta.to.global.u64 %rd2, %rd1;\n"
                              "    ld.param.u32 %r1, [value];\n"
                              "    {\n"
                              "    .param .b32 argument;\n"
                              "    .param .b32 answer;\n"
                              "    st.param.b32 [argument], %r1;\n"
                              "    call.uni (answer), twice, (argument);\n"
                              "    ld.param.b32 %r2, [answer];\n"
                              "    }\n"
                              "    ld.global.u32 %r3, [shared_count];\n"
                              "    add.s32 %r2, %r2, %r3;\n"
                              "    st.global.u32 [%rd2], %r2;\n"
                              "    ret;\n"
                              "}\n";

static char callee[] = HEADER ".visible .global .align 4 .u32 shared_count = 100;\n"
                              ".visible .func (.param .b32 result) twice(.param .b32 value)\n"
                              "{\n"
                              "    .reg .b32 %r<3>;\n"
                              "    ld.param.b32 %r1, [value];\n"
                              "    add.s32 %r2, %r1, %r1;\n"
                              "    st.param.b32 [result], %r2;\n"
                              "    ret;\n"
                              "}\n";

static char broken[] = HEADER ".visible .entry broken() { add.s32 nonsense; }\n";

static CUresult add(CUlinkState state, char *text, const char *name)
{
    return cuLinkAddData(state, CU_JIT_INPUT_PTX, text, strlen(text) + 1, name, 0, NULL, NULL);
}

static unsigned int use(CUmodule module, unsigned int value)
{
    CUfunction function = check_function(module, "use");
    CUdeviceptr out = check_memory(4);
    void *parameters[] = {&out, &value};
    unsigned int result = 0;
    CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(&result, out, 4));
    CHECK(cuMemFree(out));
    return result;
}

static void test_two_texts(void)
{
    CUlinkState state;
    CUmodule module;
    void *image = NULL, *copy;
    size_t bytes = 0;
    CHECK(cuLinkCreate(0, NULL, NULL, &state));
    CHECK(add(state, caller, "caller.ptx"));
    CHECK(add(state, callee, NULL));
    CHECK(cuLinkComplete(state, &image, &bytes));
    EXPECT(image != NULL && bytes > 0);
    CHECK(cuModuleLoadData(&module, image));
    EXPECT(use(module, 21) == 142);
    CHECK(cuModuleUnload(module));
    /* The bytes are all of it: they can be kept, and loaded when the linker is gone. */
    copy = calloc(1, bytes + 1);
    memcpy(copy, image, bytes);
    CHECK(cuLinkDestroy(state));
    CHECK(cuModuleLoadData(&module, copy));
    EXPECT(use(module, 3) == 106);
    CHECK(cuModuleUnload(module));
    free(copy);
}

static void test_files(void)
{
    char path[] = "/tmp/vgpu-linking-XXXXXX";
    CUlinkState state;
    CUmodule module;
    void *image;
    int file = mkstemp(path);
    EXPECT(file >= 0 && write(file, callee, strlen(callee)) == (ssize_t)strlen(callee));
    close(file);
    CHECK(cuLinkCreate(0, NULL, NULL, &state));
    EXPECT(cuLinkAddFile(state, CU_JIT_INPUT_PTX, "/nonexistent/code.ptx", 0, NULL, NULL) ==
           CUDA_ERROR_FILE_NOT_FOUND);
    CHECK(cuLinkAddFile(state, CU_JIT_INPUT_PTX, path, 0, NULL, NULL));
    CHECK(add(state, caller, "caller.ptx"));
    CHECK(cuLinkComplete(state, &image, NULL));
    CHECK(cuModuleLoadData(&module, image));
    EXPECT(use(module, 1) == 102);
    CHECK(cuModuleUnload(module));
    CHECK(cuLinkDestroy(state));
    unlink(path);
}

/* The compiler's words come into the program's buffers, and their length into its options. */
static void test_words(void)
{
    static char information[8192], errors[8192];
    CUjit_option options[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_LOG_VERBOSE};
    void *values[] = {information, (void *)sizeof(information), errors, (void *)sizeof(errors),
                      (void *)1};
    CUlinkState state;
    CHECK(cuLinkCreate(5, options, values, &state));
    EXPECT(add(state, broken, "broken.ptx") == CUDA_ERROR_INVALID_PTX);
    EXPECT(strlen(errors) > 0);
    EXPECT((size_t)values[3] > 0 && (size_t)values[3] <= sizeof(errors));
    CHECK(cuLinkDestroy(state));
}

static void test_missing(void)
{
    static char errors[4096];
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {errors, (void *)sizeof(errors)};
    CUlinkState state;
    void *image;
    size_t bytes;
    CHECK(cuLinkCreate(2, options, values, &state));
    CHECK(add(state, caller, "caller.ptx"));
    EXPECT(cuLinkComplete(state, &image, &bytes) != CUDA_SUCCESS);
    EXPECT(strstr(errors, "twice") != NULL);
    CHECK(cuLinkDestroy(state));
}

static void test_wrong(void)
{
    CUlinkState state;
    CUjit_option option = CU_JIT_MAX_REGISTERS;
    EXPECT(cuLinkCreate(0, NULL, NULL, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLinkCreate(1, &option, NULL, &state) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuLinkCreate(0, NULL, NULL, &state));
    EXPECT(cuLinkAddData(state, CU_JIT_INPUT_PTX, NULL, 10, NULL, 0, NULL, NULL) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLinkAddData(state, (CUjitInputType)77, caller, sizeof(caller), NULL, 0, NULL, NULL) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuLinkDestroy(state));
}

int main(void)
{
    check_context();
    test_two_texts();
    test_files();
    test_words();
    test_missing();
    test_wrong();
    printf("linking: all right\n");
    return 0;
}
