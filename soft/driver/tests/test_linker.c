/* SPDX-License-Identifier: MIT */
/* The linker's inputs that are files of other formats: host objects and archives with fatbins. */
#include "soft/driver/tests/driver_test.h"

#include <ar.h>
#include <elf.h>
#include <stdio.h>

#define HEADER ".version 8.0\n.target sm_80\n.address_size 64\n"

static char calls[] = HEADER
    ".extern .func (.param .b32 r) answer();\n"
    ".visible .entry k(.param .u64 p) { .reg .b64 q; .reg .b32 a; ld.param.u64 q, [p];\n"
    "{ .param .b32 r; call (r), answer; ld.param.b32 a, [r]; } st.global.b32 [q], a; ret; }\n";
static char answers[] =
    HEADER ".visible .func (.param .b32 r) answer() { st.param.b32 [r], 42; ret; }\n";

static size_t fatbin_of(char *text, uint8_t *to)
{
    CUlinkState state;
    void *fatbin;
    size_t size;

    assert_cuda(cuLinkCreate(0, NULL, NULL, &state));
    assert_cuda(cuLinkAddData(state, CU_JIT_INPUT_PTX, text, strlen(text), NULL, 0, NULL, NULL));
    assert_cuda(cuLinkComplete(state, &fatbin, &size));
    assert_true(size < 2000);
    memcpy(to, fatbin, size);
    assert_cuda(cuLinkDestroy(state));
    return size;
}

/* An object with one section beside that of names. */
static size_t object_of(char *text, const char *section, uint8_t *to)
{
    Elf64_Ehdr header = {.e_ident = ELFMAG,
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = 2,
                         .e_shstrndx = 1,
                         .e_shoff = sizeof(header)};
    Elf64_Shdr sections[2] = {{.sh_type = SHT_PROGBITS, .sh_offset = 512},
                              {.sh_type = SHT_STRTAB, .sh_offset = 256, .sh_size = 32}};

    memset(to, 0, 512);
    sections[0].sh_size = fatbin_of(text, to + 512);
    memcpy(to, &header, sizeof(header));
    memcpy(to + sizeof(header), sections, sizeof(sections));
    strcpy((char *)to + 256, section);
    return 512 + sections[0].sh_size;
}

static int answer_of(CUlinkState state)
{
    CUdeviceptr out;
    CUfunction function;
    CUmodule module;
    void *image, *parameters[] = {&out};
    int value = 0;

    assert_cuda(cuLinkComplete(state, &image, NULL));
    assert_cuda(cuModuleLoadData(&module, image));
    assert_cuda(cuModuleGetFunction(&function, module, "k"));
    assert_cuda(cuMemAlloc(&out, 4));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    assert_cuda(cuMemcpyDtoH(&value, out, 4));
    assert_cuda(cuMemFree(out));
    assert_cuda(cuModuleUnload(module));
    return value;
}

static CUlinkState linker_with_caller(void)
{
    CUlinkState state;

    assert_cuda(cuLinkCreate(0, NULL, NULL, &state));
    assert_cuda(cuLinkAddData(state, CU_JIT_INPUT_PTX, calls, sizeof(calls), NULL, 0, NULL, NULL));
    return state;
}

static void objects_are_searched_for_fatbins(void **state)
{
    static uint8_t object[4096];
    CUlinkState linker = linker_with_caller();
    size_t size = object_of(answers, "__nv_relfatbin", object);

    (void)state;
    assert_cuda(cuLinkAddData(linker, CU_JIT_INPUT_OBJECT, object, size, NULL, 0, NULL, NULL));
    assert_int_equal(answer_of(linker), 42);
    assert_cuda_error(cuLinkAddData(linker, CU_JIT_INPUT_OBJECT, object, size, NULL, 0, NULL, NULL),
                      CUDA_ERROR_INVALID_VALUE); /* it is complete */
    assert_cuda(cuLinkDestroy(linker));
    assert_cuda_error(cuLinkDestroy(linker), CUDA_ERROR_INVALID_HANDLE);
}

static void damaged_objects_are_refused(void **state)
{
    static uint8_t object[4096];
    CUlinkState linker = linker_with_caller();
    size_t size = object_of(answers, ".text", object);

    (void)state;
    assert_cuda_error(cuLinkAddData(linker, CU_JIT_INPUT_OBJECT, object, size, NULL, 0, NULL, NULL),
                      CUDA_ERROR_NO_BINARY_FOR_GPU);
    size = object_of(answers, ".nv_fatbin", object);
    /* Cut anywhere, or with any byte of the headers changed, it is at worst refused. */
    for (size_t cut = 1; cut < size; cut += 7) {
        uint8_t *copy = malloc(cut);
        memcpy(copy, object, cut);
        cuLinkAddData(linker, CU_JIT_INPUT_OBJECT, copy, cut, NULL, 0, NULL, NULL);
        free(copy);
    }
    for (size_t at = 0; at < 200; at++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, object, size);
        copy[at] ^= 0xff;
        cuLinkAddData(linker, CU_JIT_INPUT_OBJECT, copy, size, NULL, 0, NULL, NULL);
        free(copy);
    }
    assert_cuda(cuLinkDestroy(linker));
}

static void archives_are_searched_for_objects(void **state)
{
    static uint8_t archive[8192];
    CUlinkState linker = linker_with_caller();
    struct ar_hdr header;
    size_t size;

    (void)state;
    memset(&header, ' ', sizeof(header));
    memcpy(archive, ARMAG, SARMAG);
    memcpy(header.ar_size, "4", 1); /* a member that is no object */
    memcpy(archive + SARMAG, &header, sizeof(header));
    size = object_of(answers, "__nv_relfatbin", archive + SARMAG + 2 * sizeof(header) + 4);
    snprintf(header.ar_size, sizeof(header.ar_size), "%zu", size);
    memcpy(archive + SARMAG + sizeof(header) + 4, &header, sizeof(header));
    assert_cuda(cuLinkAddData(linker, CU_JIT_INPUT_LIBRARY, archive,
                              SARMAG + 2 * sizeof(header) + 4 + size, NULL, 0, NULL, NULL));
    assert_int_equal(answer_of(linker), 42);
    assert_cuda(cuLinkDestroy(linker));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(objects_are_searched_for_fatbins, context_opens,
                                        context_closes),
        cmocka_unit_test_setup_teardown(damaged_objects_are_refused, context_opens, context_closes),
        cmocka_unit_test_setup_teardown(archives_are_searched_for_objects, context_opens,
                                        context_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
