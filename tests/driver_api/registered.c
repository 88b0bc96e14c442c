/* SPDX-License-Identifier: MIT */
/* Memory of the program's own that it registers: reached by the device, and its own again after. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/driver_api/words.h"

enum { PAGE = 4096 };

static CUfunction write_to;

static void launch_write(const unsigned int *word)
{
    CUdeviceptr address;
    CHECK(cuMemHostGetDevicePointer(&address, (void *)word, 0));
    void *parameters[] = {&address};
    CHECK(cuLaunchKernel(write_to, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
}

static void expect_words(const unsigned int *words, unsigned int first)
{
    for (unsigned int i = 0; i < WORDS; i++)
        EXPECT(words[i] == first + i);
}

/* Its contents stay when it is registered and when it no longer is; in between both sides see what
 * the other writes. The whole allocation is malloc's, not pages of our own. */
static void test_contents(void)
{
    unsigned int *memory = malloc(WORDS * 4 + 100);
    CUdeviceptr device = check_memory(WORDS * 4), seen;
    for (unsigned int i = 0; i < WORDS; i++)
        memory[i] = 1000 + i;
    CHECK(cuMemHostRegister(memory, WORDS * 4, CU_MEMHOSTREGISTER_DEVICEMAP));
    expect_words(memory, 1000);
    CHECK(cuMemHostGetDevicePointer(&seen, memory + 3, 0));
    EXPECT(seen == address_of(memory + 3));
    CHECK(cuMemcpyHtoDAsync(device, memory, WORDS * 4, NULL));
    launch_fill(address_of(memory), 77, NULL);
    CHECK(cuCtxSynchronize());
    expect_words(memory, 77);
    CHECK(cuMemcpyDtoHAsync(memory, device, WORDS * 4, NULL));
    CHECK(cuCtxSynchronize());
    expect_words(memory, 1000);
    memory[5] = 1;
    CHECK(cuMemHostUnregister(memory));
    EXPECT(memory[5] == 1 && memory[6] == 1006);
    memory[6] = 2;
    CHECK(cuMemcpyHtoD(device, memory, WORDS * 4));
    memory[6] = 3;
    CHECK(cuMemcpyDtoH(memory, device, WORDS * 4));
    EXPECT(memory[5] == 1 && memory[6] == 2);
    free(memory);
    CHECK(cuMemFree(device));
}

static void test_errors(void)
{
    char *memory = malloc(3 * MIB);
    unsigned int flags;
    memset(memory, 0, 3 * MIB);
    CHECK(cuMemHostRegister(memory + MIB, MIB, CU_MEMHOSTREGISTER_PORTABLE));
    EXPECT(cuMemHostRegister(memory + MIB, MIB, 0) == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    EXPECT(cuMemHostRegister(memory, 3 * MIB, 0) == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    EXPECT(cuMemHostRegister(memory + MIB + MIB / 2, MIB, 0) ==
           CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    EXPECT(cuMemHostRegister(NULL, MIB, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemHostRegister(memory, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemHostRegister(memory, MIB / 2, 0x1000) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemHostGetFlags(&flags, memory + MIB));
    EXPECT(cuMemHostUnregister(memory) == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    CHECK(cuMemHostUnregister(memory + MIB));
    EXPECT(cuMemHostUnregister(memory + MIB) == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    free(memory);
}

/* Two pieces of one page, and what lies between and around them. */
static void test_neighbours(void)
{
    unsigned int *page =
        mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(page != MAP_FAILED);
    for (unsigned int i = 0; i < 3 * PAGE / 4; i++)
        page[i] = i + 5;
    CHECK(cuMemHostRegister(page, PAGE, CU_MEMHOSTREGISTER_DEVICEMAP));
    CHECK(cuMemHostRegister(page + PAGE / 4, 2 * PAGE, CU_MEMHOSTREGISTER_DEVICEMAP));
    launch_write(page + 10);
    launch_write(page + PAGE / 4 + 10);
    CHECK(cuCtxSynchronize());
    CHECK(cuMemHostUnregister(page));
    launch_write(page + PAGE / 4 + 11);
    CHECK(cuCtxSynchronize());
    CHECK(cuMemHostUnregister(page + PAGE / 4));
    for (unsigned int i = 0; i < 3 * PAGE / 4; i++) {
        int written = i == 10 || i == PAGE / 4 + 10 || i == PAGE / 4 + 11;
        EXPECT(page[i] == (written ? 1 : i + 5));
    }
    munmap(page, 3 * PAGE);
}

/* Memory that other processes share can be registered, too. */
static void test_shared_mapping(void)
{
    unsigned int *memory =
        mmap(NULL, WORDS * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CUdeviceptr device = check_memory(WORDS * 4);
    EXPECT(memory != MAP_FAILED);
    CHECK(cuMemHostRegister(memory, WORDS * 4, CU_MEMHOSTREGISTER_PORTABLE));
    launch_fill(device, 9, NULL);
    CHECK(cuMemcpyDtoHAsync(memory, device, WORDS * 4, NULL));
    CHECK(cuCtxSynchronize());
    expect_words(memory, 9);
    CHECK(cuMemHostUnregister(memory));
    munmap(memory, WORDS * 4);
    CHECK(cuMemFree(device));
}

/* A forked child has memory of its own there. */
static void test_fork(void)
{
    unsigned int *memory = malloc(WORDS * 4);
    int status;
    for (unsigned int i = 0; i < WORDS; i++)
        memory[i] = i;
    CHECK(cuMemHostRegister(memory, WORDS * 4, 0));
    pid_t child = fork();
    if (child == 0) {
        for (unsigned int i = 0; i < WORDS; i++) {
            if (memory[i] != i)
                _exit(1);
            memory[i] = 0;
        }
        _exit(0);
    }
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    expect_words(memory, 0);
    CHECK(cuMemHostUnregister(memory));
    expect_words(memory, 0);
    free(memory);
}

/* Others that pin memory afterwards get none that the program still has somewhere. */
static void pin_more(void)
{
    for (int i = 0; i < 4; i++) {
        void *pinned;
        CHECK(cuMemHostAlloc(&pinned, 2 * MIB, 0));
        memset(pinned, 99, 2 * MIB);
    }
}

static unsigned char *map_pages(void *where, unsigned char value)
{
    unsigned char *memory = mmap(where, MIB, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED : 0), -1, 0);
    EXPECT(memory != MAP_FAILED);
    memset(memory, value, MIB);
    return memory;
}

static void expect_value(const unsigned char *memory, size_t bytes, unsigned char value)
{
    for (size_t i = 0; i < bytes; i++)
        EXPECT(memory[i] == value);
}

/* The program moves what it has registered, cuts it, or puts something else there. */
static void test_moved(void)
{
    unsigned char *memory = map_pages(NULL, 7), *place = map_pages(NULL, 0);
    CHECK(cuMemHostRegister(memory, MIB, 0));
    EXPECT(mremap(memory, MIB, MIB, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    map_pages(memory, 8);
    CHECK(cuMemHostUnregister(memory));
    unsigned char *half = map_pages(NULL, 9);
    CHECK(cuMemHostRegister(half, MIB, 0));
    munmap(half + MIB / 2, MIB / 2);
    CHECK(cuMemHostUnregister(half));
    pin_more();
    expect_value(place, MIB, 7);
    expect_value(memory, MIB, 8);
    expect_value(half, MIB / 2, 9);
    CHECK(cuMemHostRegister(memory, MIB, 0));
    CHECK(cuMemHostUnregister(memory));
    munmap(memory, MIB);
    munmap(place, MIB);
    munmap(half, MIB / 2);
}

/* Pages that are replaced as a whole, if at all; where the machine has such. */
static void test_huge_pages(void)
{
    size_t bytes = 4 * MIB;
    unsigned char *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    CUdeviceptr device = check_memory(bytes);
    if (memory == MAP_FAILED)
        return;
    memset(memory, 6, bytes);
    for (int whole = 0; whole < 2; whole++) {
        unsigned char *start = whole ? memory : memory + PAGE;
        CHECK(cuMemHostRegister(start, whole ? bytes : MIB, 0));
        CHECK(cuMemcpyHtoDAsync(device, memory, bytes, NULL));
        CHECK(cuCtxSynchronize());
        memset(memory, 0, bytes);
        CHECK(cuMemcpyDtoH(memory, device, bytes));
        CHECK(cuMemHostUnregister(start));
        expect_value(memory, bytes, 6);
    }
    munmap(memory, bytes);
    CHECK(cuMemFree(device));
}

/* It may never say that it is freed: a child has there what its parent has. */
static void test_fork_after_free(void)
{
    unsigned char *memory = map_pages(NULL, 7);
    int status;
    CHECK(cuMemHostRegister(memory, MIB, 0));
    munmap(memory, MIB);
    map_pages(memory, 8);
    pid_t child = fork();
    if (child == 0) {
        for (size_t i = 0; i < MIB; i++) {
            if (memory[i] != 8)
                _exit(1);
        }
        _exit(0);
    }
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(cuMemHostUnregister(memory));
    expect_value(memory, MIB, 8);
    munmap(memory, MIB);
}

/* What a context has registered ends with it, and the memory is the program's. */
static void test_context_end(CUcontext primary)
{
    unsigned int *memory = malloc(WORDS * 4);
    CUcontext other;
    memset(memory, 0, WORDS * 4);
    CHECK(cuCtxCreate(&other, NULL, 0, 0));
    CHECK(cuMemHostRegister(memory, WORDS * 4, CU_MEMHOSTREGISTER_PORTABLE));
    CHECK(cuMemsetD8(address_of(memory), 0x44, WORDS * 4));
    CHECK(cuCtxSynchronize());
    CHECK(cuCtxDestroy(other));
    CHECK(cuCtxSetCurrent(primary));
    EXPECT(memory[0] == 0x44444444);
    memory[0] = 1;
    CHECK(cuMemHostRegister(memory, WORDS * 4, 0));
    CHECK(cuMemHostUnregister(memory));
    EXPECT(memory[0] == 1 && memory[1] == 0x44444444);
    free(memory);
}

int main(void)
{
    CUcontext context = check_context();
    CUmodule module = check_module();
    words_load(module);
    write_to = check_function(module, "write_to");
    test_contents();
    test_errors();
    test_neighbours();
    test_shared_mapping();
    test_fork();
    test_moved();
    test_huge_pages();
    test_fork_after_free();
    test_context_end(context);
    printf("registered memory: all right\n");
    return 0;
}
