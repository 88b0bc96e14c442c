/* SPDX-License-Identifier: MIT */
/* Memory of the host that the device reaches: page-locked, at the same address on both sides. */
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/words.h"

static CUfunction busy;

static void launch_busy(CUdeviceptr scratch, CUstream stream)
{
    unsigned int rounds = 3000000;
    void *parameters[] = {&scratch, &rounds};
    CHECK(cuLaunchKernel(busy, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

static void expect_words(const unsigned int *words, unsigned int first, unsigned int step)
{
    for (unsigned int i = 0; i < WORDS; i++)
        EXPECT(words[i] == first + i * step);
}

static unsigned int *pinned(size_t bytes)
{
    void *memory;
    CHECK(cuMemHostAlloc(&memory, bytes, CU_MEMHOSTALLOC_DEVICEMAP));
    return memory;
}

/* Kernels read and write it where the program does. */
static void test_kernels(void)
{
    unsigned int *a = pinned(WORDS * 4), *b = pinned(WORDS * 4);
    CUdeviceptr seen;
    CHECK(cuMemHostGetDevicePointer(&seen, a, 0));
    EXPECT(seen == address_of(a));
    CHECK(cuMemHostGetDevicePointer(&seen, b + 5, 0));
    EXPECT(seen == address_of(b + 5));
    for (unsigned int i = 0; i < WORDS; i++)
        b[i] = i;
    launch_fill(address_of(a), 100, NULL);
    launch_add(address_of(a), address_of(b), NULL);
    CHECK(cuCtxSynchronize());
    expect_words(a, 100, 4);
    for (unsigned int i = 0; i < WORDS; i++) /* and again, with what the program wrote since */
        b[i] = 1;
    launch_add(address_of(a), address_of(b), NULL);
    CHECK(cuCtxSynchronize());
    expect_words(a, 103, 4);
    CHECK(cuMemFreeHost(a));
    CHECK(cuMemFreeHost(b));
}

/* The copy takes what is there when the stream gets to it. */
static void test_copies_in_stream_order(void)
{
    unsigned int *a = pinned(WORDS * 4), *b = pinned(WORDS * 4);
    CUdeviceptr device = check_memory(WORDS * 4), scratch = check_memory(4);
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    memset(a, 0, WORDS * 4);
    memset(b, 0, WORDS * 4);
    launch_busy(scratch, stream);
    launch_fill(address_of(a), 3, stream);
    CHECK(cuMemcpyHtoDAsync(device, a, WORDS * 4, stream));
    launch_add(device, address_of(a), stream);
    CHECK(cuMemcpyDtoHAsync(b, device, WORDS * 4, stream));
    CHECK(cuMemcpyAsync(address_of(a), address_of(b), WORDS * 4, stream));
    CHECK(cuStreamSynchronize(stream));
    expect_words(b, 12, 4);
    expect_words(a, 12, 4);
    CHECK(cuMemsetD32Async(address_of(a), 9, WORDS, stream));
    CHECK(cuMemcpyDtoDAsync(device, address_of(a), WORDS * 4, stream));
    CHECK(cuMemcpyDtoDAsync(address_of(b), device, WORDS * 4, stream));
    CHECK(cuStreamSynchronize(stream));
    expect_words(b, 9, 0);
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFreeHost(a));
    CHECK(cuMemFreeHost(b));
    CHECK(cuMemFree(device));
    CHECK(cuMemFree(scratch));
}

/* A synchronous copy is done when it returns, whatever its size. */
static void test_synchronous_copies(void)
{
    static const size_t sizes[] = {4, 65536, 5 * MIB};
    unsigned char *memory = (unsigned char *)pinned(5 * MIB);
    CUdeviceptr device = check_memory(5 * MIB);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(memory, 1, sizes[i]);
        CHECK(cuMemcpyHtoD(device, memory, sizes[i]));
        memset(memory, 2, sizes[i]);
        CHECK(cuMemcpyDtoH(memory, device, sizes[i]));
        EXPECT(memory[0] == 1 && memory[sizes[i] - 1] == 1);
        memset(memory, 3, sizes[i]);
        CHECK(cuMemcpy(device, address_of(memory), sizes[i]));
        memset(memory, 4, sizes[i]);
        CHECK(cuMemcpy(address_of(memory), device, sizes[i]));
        EXPECT(memory[0] == 3 && memory[sizes[i] - 1] == 3);
    }
    CHECK(cuMemFreeHost(memory));
    CHECK(cuMemFree(device));
}

/* Many pieces of all sizes: apart from each other, aligned, and whole again when freed. */
static void test_many(void)
{
    enum { PIECES = 200 };
    static unsigned char *pieces[PIECES];
    size_t sizes[PIECES];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PIECES; i++) {
            sizes[i] = (size_t)(i * 7919 % 50000 + 1) * (i % 50 == 0 ? 400 : 1);
            pieces[i] = (unsigned char *)pinned(sizes[i]);
            EXPECT((uintptr_t)pieces[i] % 512 == 0);
            memset(pieces[i], i, sizes[i]);
        }
        for (int i = 0; i < PIECES; i++) {
            for (size_t at = 0; at < sizes[i]; at++)
                EXPECT(pieces[i][at] == (unsigned char)i);
            CHECK(cuMemFreeHost(pieces[i]));
        }
    }
}

static void test_large(void)
{
    enum { BYTES = 200 * MIB };
    unsigned char *memory = (unsigned char *)pinned(BYTES);
    CUdeviceptr device = check_memory(BYTES);
    memory[BYTES - 1] = 77;
    CHECK(cuMemcpyHtoDAsync(device, memory, BYTES, NULL));
    CHECK(cuCtxSynchronize());
    memory[BYTES - 1] = 0;
    CHECK(cuMemcpyDtoHAsync(memory, device, BYTES, NULL));
    CHECK(cuCtxSynchronize());
    EXPECT(memory[BYTES - 1] == 77);
    CHECK(cuMemFreeHost(memory));
    CHECK(cuMemFree(device));
}

/* What was freed can be had again, although all that was ever allocated is more than a VM's window
 * holds. */
static void test_given_back(void)
{
    enum { BYTES = 300 * MIB, TIMES = 8 };
    CUdeviceptr device = check_memory(4);
    for (int i = 0; i < TIMES; i++) {
        unsigned char *memory = (unsigned char *)pinned(BYTES);
        memory[BYTES - 1] = (unsigned char)(i + 1);
        CHECK(cuMemcpyHtoD(device, memory + BYTES - 1, 1));
        memory[0] = 0;
        CHECK(cuMemcpyDtoH(memory, device, 1));
        EXPECT(memory[0] == i + 1);
        CHECK(cuMemFreeHost(memory));
    }
    CHECK(cuMemFree(device));
}

/* Rows and planes of it, in the stream's order. */
static void test_boxes(void)
{
    enum { WIDTH = 200, HEIGHT = 30, DEPTH = 4, PITCH = 256, BYTES = PITCH * HEIGHT * DEPTH };
    unsigned char *a = (unsigned char *)pinned(BYTES), *b = (unsigned char *)pinned(BYTES);
    CUdeviceptr device = check_memory(BYTES), scratch = check_memory(4);
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    memset(b, 0x55, BYTES);
    launch_busy(scratch, stream);
    CHECK(cuMemsetD8Async(address_of(a), 0x21, BYTES, stream));
    CUDA_MEMCPY3D up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = a,
                        .srcPitch = PITCH,
                        .srcHeight = HEIGHT,
                        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = device,
                        .dstPitch = WIDTH,
                        .dstHeight = HEIGHT,
                        .WidthInBytes = WIDTH,
                        .Height = HEIGHT,
                        .Depth = DEPTH};
    CUDA_MEMCPY3D down = {.srcMemoryType = CU_MEMORYTYPE_UNIFIED,
                          .srcDevice = device,
                          .srcPitch = WIDTH,
                          .srcHeight = HEIGHT,
                          .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
                          .dstDevice = address_of(b),
                          .dstPitch = PITCH,
                          .dstHeight = HEIGHT,
                          .WidthInBytes = WIDTH,
                          .Height = HEIGHT,
                          .Depth = DEPTH};
    CHECK(cuMemcpy3DAsync(&up, stream));
    CHECK(cuMemcpy3DAsync(&down, stream));
    CHECK(cuStreamSynchronize(stream));
    for (int i = 0; i < BYTES; i++)
        EXPECT(b[i] == (i % PITCH < WIDTH ? 0x21 : 0x55));
    memset(a, 1, BYTES);
    CHECK(cuMemcpy3D(&up));
    memset(a, 2, BYTES); /* a synchronous copy has what was there */
    CHECK(cuMemcpy3D(&down));
    for (int i = 0; i < BYTES; i++)
        EXPECT(b[i] == (i % PITCH < WIDTH ? 1 : 0x55));
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFreeHost(a));
    CHECK(cuMemFreeHost(b));
    CHECK(cuMemFree(device));
    CHECK(cuMemFree(scratch));
}

/* A captured copy uses the program's memory, of whichever kind, each time that the graph runs. */
static void test_captured_copies(void)
{
    unsigned int *source = pinned(WORDS * 4), *plain = malloc(WORDS * 4), *back = malloc(WORDS * 4);
    CUdeviceptr device = check_memory(WORDS * 4);
    CUgraph graph;
    CUgraphExec executable;
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    memset(plain, 0, WORDS * 4);
    memset(back, 0, WORDS * 4);
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CHECK(cuMemcpyHtoDAsync(device, source, WORDS * 4, stream));
    CHECK(cuMemcpyHtoDAsync(device + 4, plain, 4, stream));
    CHECK(cuMemcpyDtoHAsync(back, device, WORDS * 4, stream));
    CHECK(cuStreamEndCapture(stream, &graph));
    CHECK(cuGraphInstantiate(&executable, graph, 0));
    for (unsigned int round = 1; round < 4; round++) {
        for (unsigned int i = 0; i < WORDS; i++)
            source[i] = round * 1000 + i;
        plain[0] = round;
        CHECK(cuGraphLaunch(executable, stream));
        CHECK(cuStreamSynchronize(stream));
        EXPECT(back[1] == round && back[2] == round * 1000 + 2);
        EXPECT(back[WORDS - 1] == round * 1000 + WORDS - 1);
    }
    CHECK(cuGraphExecDestroy(executable));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFreeHost(source));
    CHECK(cuMemFree(device));
    free(plain);
    free(back);
}

/* It belongs to the context that it was allocated in, and is reached from all. */
static void test_contexts(CUcontext primary)
{
    unsigned int *mine = pinned(WORDS * 4), *theirs;
    CUcontext other;
    CHECK(cuCtxCreate(&other, NULL, 0, 0));
    theirs = pinned(WORDS * 4);
    memset(theirs, 0x11, WORDS * 4);
    CHECK(cuMemsetD8(address_of(mine), 0x22, WORDS * 4));
    CHECK(cuCtxSynchronize());
    EXPECT(mine[7] == 0x22222222);
    CHECK(cuCtxSetCurrent(primary));
    CHECK(cuMemcpyDtoD(address_of(mine), address_of(theirs), WORDS * 4));
    CHECK(cuCtxSynchronize());
    EXPECT(mine[7] == 0x11111111);
    CHECK(cuCtxDestroy(other));
    EXPECT(cuMemFreeHost(theirs) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemsetD8(address_of(mine), 0x33, WORDS * 4));
    CHECK(cuCtxSynchronize());
    EXPECT(mine[7] == 0x33333333);
    CHECK(cuMemFreeHost(mine));
}

int main(void)
{
    CUcontext context = check_context();
    CUmodule module = check_module();
    words_load(module);
    busy = check_function(module, "busy");
    test_kernels();
    test_copies_in_stream_order();
    test_synchronous_copies();
    test_many();
    test_large();
    test_given_back();
    test_boxes();
    test_captured_copies();
    test_contexts(context);
    printf("host memory: all right\n");
    return 0;
}
