/* SPDX-License-Identifier: MIT */
/* Modules of fat binaries, which hold code for several GPUs. */
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/check.h"

enum { IS_PTX = 1, NEWER_THAN_ALL = 999 };

/* The container as nvcc's fatbinary writes it, with entries that are not compressed. */
struct header {
    uint32_t magic;
    uint16_t version, own_bytes;
    uint64_t rest;
};

struct entry {
    uint16_t kind, version;
    uint32_t own_bytes;
    uint64_t code_bytes;
    uint32_t compressed_bytes, options;
    uint16_t minor, major; /* of PTX */
    uint32_t architecture;
    uint64_t name, flags, unused[2], options_place, unused_too;
};

_Static_assert(sizeof(struct header) == 16 && sizeof(struct entry) == 80, "the container's layout");

static char *add(char *at, const char *ptx, unsigned int architecture)
{
    struct entry entry = {.kind = IS_PTX,
                          .version = 0x101,
                          .own_bytes = sizeof(entry),
                          .code_bytes = (strlen(ptx) + 8) / 8 * 8,
                          .options = 0x40,
                          .minor = 4,
                          .major = 6,
                          .architecture = architecture,
                          .flags = 0x11,
                          .options_place = 0x48};
    memcpy(at, &entry, sizeof(entry));
    strcpy(at + sizeof(entry), ptx);
    return at + sizeof(entry) + entry.code_bytes;
}

/* A fat binary of two texts, which are for the architectures of so much at least. */
static char *pack(const char *first, unsigned int first_for, const char *second,
                  unsigned int second_for)
{
    char *all = calloc(1, strlen(first) + strlen(second) + 1024);
    struct header header = {.magic = 0xba55ed50, .version = 1, .own_bytes = sizeof(header)};
    EXPECT(all != NULL);
    char *end = add(add(all + sizeof(header), first, first_for), second, second_for);
    header.rest = (uint64_t)(end - all) - sizeof(header);
    memcpy(all, &header, sizeof(header));
    return all;
}

static const char other_ptx[] = ".version 6.4\n.target sm_52\n.address_size 64\n"
                                ".visible .entry other()\n{\nret;\n}\n";

static void expect_runs(CUmodule module)
{
    CUdeviceptr out = check_memory(64 * 4);
    CUfunction function = check_function(module, "fill");
    unsigned int back[64], value = 30;
    int count = 64;
    void *parameters[] = {&out, &value, &count};
    CHECK(cuLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(back, out, sizeof(back)));
    for (unsigned int i = 0; i < 64; i++)
        EXPECT(back[i] == 30 + i);
    CHECK(cuMemFree(out));
}

/* Of the code that this GPU can run, that of the newest architecture is taken. */
static void test_newest_is_taken(void)
{
    char *fat = pack(other_ptx, 52, kernels_ptx, 75),
         *turned = pack(kernels_ptx, 75, other_ptx, 52);
    char *for_later = pack(other_ptx, NEWER_THAN_ALL, kernels_ptx, 75);
    CUfunction function;
    CUmodule module;
    CHECK(cuModuleLoadFatBinary(&module, fat));
    EXPECT(cuModuleGetFunction(&function, module, "other") == CUDA_ERROR_NOT_FOUND);
    expect_runs(module);
    CHECK(cuModuleUnload(module));
    CHECK(cuModuleLoadFatBinary(&module, turned));
    expect_runs(module);
    CHECK(cuModuleUnload(module));
    CHECK(cuModuleLoadFatBinary(&module, for_later));
    memset(for_later, 0, sizeof(struct header)); /* it was read when it was loaded */
    expect_runs(module);
    CHECK(cuModuleUnload(module));
    free(fat);
    free(turned);
    free(for_later);
}

static void test_refusals(void)
{
    char *fat = pack(other_ptx, NEWER_THAN_ALL, other_ptx, NEWER_THAN_ALL);
    CUmodule module;
    EXPECT(cuModuleLoadFatBinary(&module, fat) == CUDA_ERROR_NO_BINARY_FOR_GPU);
    free(fat);
    fat = pack("this is no code\n", 75, "neither is this\n", 52);
    EXPECT(cuModuleLoadFatBinary(&module, fat) != CUDA_SUCCESS);
    EXPECT(cuModuleLoadFatBinary(NULL, fat) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleLoadFatBinary(&module, NULL) == CUDA_ERROR_INVALID_VALUE);
    free(fat);
}

int main(void)
{
    check_context();
    test_newest_is_taken();
    test_refusals();
    printf("fat_binaries: all is well\n");
    return 0;
}
