/* SPDX-License-Identifier: MIT */
/* Copies in all directions, of sizes around every boundary of their way, and what they must not
 * touch. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/check.h"

#define MIB   (1u << 20)
#define GUARD 64u

static uint32_t random_state = 1;

static unsigned char next_byte(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (unsigned char)(random_state >> 24);
}

static unsigned char *made(size_t bytes)
{
    unsigned char *memory = malloc(bytes + 1);
    EXPECT(memory != NULL);
    for (size_t i = 0; i < bytes; i++)
        memory[i] = next_byte();
    return memory;
}

static int all(const unsigned char *memory, unsigned char value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (memory[i] != value)
            return 0;
    }
    return 1;
}

/* Up, across, down; each between guards that have to stay. */
static void round_trip(size_t bytes, size_t shift, CUstream stream)
{
    unsigned char *source = made(bytes), *back = calloc(1, bytes + 2 * GUARD);
    CUdeviceptr first = check_memory(bytes + 2 * GUARD + shift);
    CUdeviceptr second = check_memory(bytes + 2 * GUARD + shift);
    size_t whole = bytes + 2 * GUARD + shift;
    CHECK(cuMemsetD8(first, 0xa5, whole));
    CHECK(cuMemsetD8(second, 0x5a, whole));
    if (stream) {
        CHECK(cuStreamSynchronize(NULL));
        CHECK(cuMemcpyHtoDAsync(first + GUARD + shift, source, bytes, stream));
        CHECK(cuMemcpyDtoDAsync(second + GUARD, first + GUARD + shift, bytes, stream));
        CHECK(cuMemcpyDtoHAsync(back, second, bytes + 2 * GUARD, stream));
        CHECK(cuStreamSynchronize(stream));
    } else {
        CHECK(cuMemcpyHtoD(first + GUARD + shift, source, bytes));
        CHECK(cuMemcpyDtoD(second + GUARD, first + GUARD + shift, bytes));
        CHECK(cuMemcpyDtoH(back, second, bytes + 2 * GUARD));
    }
    EXPECT(memcmp(back + GUARD, source, bytes) == 0);
    EXPECT(all(back, 0x5a, GUARD) && all(back + GUARD + bytes, 0x5a, GUARD));
    CHECK(cuMemcpyDtoH(back, first + bytes + GUARD + shift, GUARD));
    EXPECT(all(back, 0xa5, GUARD));
    CHECK(cuMemFree(first));
    CHECK(cuMemFree(second));
    free(source);
    free(back);
}

static void test_sizes(void)
{
    static const size_t sizes[] = {
        1,     2,     3,       4,   255,     4096,        16383,   16384,       16385,    65535,
        65536, 65537, MIB - 1, MIB, MIB + 1, 4 * MIB - 1, 4 * MIB, 9 * MIB + 7, 65u * MIB};
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        round_trip(sizes[i], 0, NULL);
        if (sizes[i] <= 9 * MIB + 7)
            round_trip(sizes[i], 3, stream);
    }
    CHECK(cuStreamDestroy(stream));
}

static void test_unified(void)
{
    unsigned char *source = made(100000), *back = calloc(1, 100000), *other = calloc(1, 100000);
    CUdeviceptr first = check_memory(100000), second = check_memory(100000);
    CHECK(cuMemcpy(first, (CUdeviceptr)(uintptr_t)source, 100000));
    CHECK(cuMemcpy(second, first, 100000));
    CHECK(cuMemcpy((CUdeviceptr)(uintptr_t)back, second, 100000));
    CHECK(cuMemcpy((CUdeviceptr)(uintptr_t)other, (CUdeviceptr)(uintptr_t)back, 100000));
    EXPECT(memcmp(source, back, 100000) == 0 && memcmp(source, other, 100000) == 0);
    CHECK(cuMemFree(first));
    CHECK(cuMemFree(second));
    free(source);
    free(back);
    free(other);
}

/* Async copies of pageable memory: the source may change as soon as the call returns. */
static void test_source_reuse(void)
{
    enum { ROUNDS = 40, BYTES = 100000 };
    unsigned char *memory = malloc(BYTES), *back = malloc((size_t)ROUNDS * BYTES);
    CUdeviceptr device = check_memory((size_t)ROUNDS * BYTES);
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < ROUNDS; i++) {
        memset(memory, i + 1, BYTES);
        CHECK(cuMemcpyHtoDAsync(device + (size_t)i * BYTES, memory, BYTES, stream));
    }
    CHECK(cuMemcpyDtoHAsync(back, device, (size_t)ROUNDS * BYTES, stream));
    CHECK(cuStreamSynchronize(stream));
    for (int i = 0; i < ROUNDS; i++)
        EXPECT(all(back + (size_t)i * BYTES, (unsigned char)(i + 1), BYTES));
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFree(device));
    free(memory);
    free(back);
}

struct block {
    size_t x, y, pitch, width, height;
};

/* One block out of a host image into pitched memory, across, and back into another host image. */
static void copy_block(const struct block *host, size_t width, size_t height)
{
    size_t image = host->pitch * (host->y + height);
    unsigned char *source = made(image), *back = malloc(image);
    CUdeviceptr first, second;
    size_t pitch, second_pitch;
    CHECK(cuMemAllocPitch(&first, &pitch, width + 16, height + 2, 4));
    CHECK(cuMemAllocPitch(&second, &second_pitch, width, height, 8));
    EXPECT(pitch >= width + 16 && second_pitch >= width);
    memset(back, 0x77, image);
    CUDA_MEMCPY2D up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = source,
                        .srcXInBytes = host->x,
                        .srcY = host->y,
                        .srcPitch = host->pitch,
                        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = first,
                        .dstXInBytes = 16,
                        .dstY = 2,
                        .dstPitch = pitch,
                        .WidthInBytes = width,
                        .Height = height};
    CUDA_MEMCPY2D across = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                            .srcDevice = first,
                            .srcXInBytes = 16,
                            .srcY = 2,
                            .srcPitch = pitch,
                            .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                            .dstDevice = second,
                            .dstPitch = second_pitch,
                            .WidthInBytes = width,
                            .Height = height};
    CUDA_MEMCPY2D down = {.srcMemoryType = CU_MEMORYTYPE_UNIFIED,
                          .srcDevice = second,
                          .srcPitch = second_pitch,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = back,
                          .dstXInBytes = host->x,
                          .dstY = host->y,
                          .dstPitch = host->pitch,
                          .WidthInBytes = width,
                          .Height = height};
    CHECK(cuMemcpy2D(&up));
    CHECK(cuMemcpy2DUnaligned(&across));
    CHECK(cuMemcpy2DAsync(&down, NULL));
    CHECK(cuStreamSynchronize(NULL));
    for (size_t y = 0; y < host->y + height; y++) {
        const unsigned char *row = back + y * host->pitch;
        size_t touched = y < host->y ? 0 : width;
        EXPECT(!touched || memcmp(row + host->x, source + y * host->pitch + host->x, width) == 0);
        EXPECT(all(row, 0x77, host->x));
        EXPECT(all(row + host->x + touched, 0x77, host->pitch - host->x - touched));
    }
    CHECK(cuMemFree(first));
    CHECK(cuMemFree(second));
    free(source);
    free(back);
}

static void test_rows(void)
{
    copy_block(&(struct block){.x = 0, .y = 0, .pitch = 64}, 64, 16);
    copy_block(&(struct block){.x = 5, .y = 3, .pitch = 1001}, 333, 77);
    copy_block(&(struct block){.x = 1, .y = 1, .pitch = 5000}, 4096, 900); /* several chunks */
    copy_block(&(struct block){.x = 7, .y = 0, .pitch = 3 * MIB}, 2 * MIB + 9,
               3); /* a row is larger */
}

/* Planes of both sides are `rows` rows of `pitch` bytes, of which some are copied. */
static void copy_box(size_t width, size_t height, size_t depth, size_t pitch, size_t rows)
{
    size_t image = pitch * rows * depth;
    unsigned char *source = made(image), *back = malloc(image);
    CUdeviceptr device = check_memory(image);
    memset(back, 0x77, image);
    CUDA_MEMCPY3D up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = source,
                        .srcPitch = pitch,
                        .srcHeight = rows,
                        .srcXInBytes = 2,
                        .srcY = 1,
                        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = device,
                        .dstPitch = pitch,
                        .dstHeight = rows - 1,
                        .WidthInBytes = width,
                        .Height = height,
                        .Depth = depth};
    CUDA_MEMCPY3D down = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                          .srcDevice = device,
                          .srcPitch = pitch,
                          .srcHeight = rows - 1,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = back,
                          .dstPitch = width + 1,
                          .dstHeight = height,
                          .WidthInBytes = width,
                          .Height = height,
                          .Depth = depth};
    CHECK(cuMemcpy3D(&up));
    CHECK(cuMemcpy3D(&down));
    for (size_t row = 0; row < height * depth; row++) {
        const unsigned char *from = source + (row / height * rows + row % height + 1) * pitch + 2;
        EXPECT(memcmp(back + row * (width + 1), from, width) == 0);
        EXPECT(back[row * (width + 1) + width] == 0x77);
    }
    CHECK(cuMemFree(device));
    free(source);
    free(back);
}

static void test_boxes(void)
{
    copy_box(30, 7, 5, 64, 9);
    copy_box(30, 8, 5, 64, 9);              /* one plane begins where the last one ends */
    copy_box(1000, 70, 40, 1100, 71);       /* several chunks, whose ends are in planes */
    copy_box(1000, 70, 40, 1100, 75);       /* a chunk for each plane, more than there are */
    copy_box(MIB + 5, 2, 3, MIB + 4096, 5); /* several chunks for each row */
}

/* Beyond what 32 bits tell: rows that are farther apart, and copies so far from the beginning. */
static void test_far(void)
{
    enum { WIDTH = 3000 };
    const size_t pitch = ((size_t)4 << 30) + 4096;
    unsigned char *source = made(2 * WIDTH), *back = calloc(2, WIDTH);
    CUdeviceptr device;
    if (cuMemAlloc(&device, pitch + WIDTH) != CUDA_SUCCESS) {
        printf("copies: no room for 4 GiB\n");
        free(source);
        free(back);
        return;
    }
    CUDA_MEMCPY2D up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                        .srcHost = source,
                        .srcPitch = WIDTH,
                        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                        .dstDevice = device,
                        .dstPitch = pitch,
                        .WidthInBytes = WIDTH,
                        .Height = 2};
    CUresult error = cuMemcpy2D(&up);
    EXPECT(error == CUDA_SUCCESS || error == CUDA_ERROR_INVALID_VALUE); /* a GPU's largest pitch */
    if (error) {
        CHECK(cuMemcpyHtoD(device, source, WIDTH));
        CHECK(cuMemcpyHtoD(device + pitch, source + WIDTH, WIDTH));
    }
    CHECK(cuMemcpyDtoH(back + WIDTH, device + pitch, WIDTH));
    CHECK(cuMemcpyDtoH(back, device, WIDTH));
    EXPECT(memcmp(source, back, 2 * WIDTH) == 0);
    CHECK(cuMemcpyDtoD(device + pitch - 1, device + 1, 1));
    CHECK(cuMemcpyDtoH(back, device + pitch - 1, 1));
    EXPECT(back[0] == source[1]);
    CHECK(cuMemFree(device));
    free(source);
    free(back);
}

static void test_fills(void)
{
    enum { BYTES = 4096 };
    unsigned char back[BYTES];
    CUdeviceptr device = check_memory(BYTES);
    CHECK(cuMemsetD8(device, 0x11, BYTES));
    CHECK(cuMemsetD16(device + 2, 0x2233, 10));
    CHECK(cuMemsetD32Async(device + 100, 0x44556677, 10, NULL));
    CHECK(cuMemsetD2D8(device + 1024, 64, 0x99, 3, 5));
    CHECK(cuMemcpyDtoH(back, device, BYTES));
    EXPECT(back[1] == 0x11 && back[2] == 0x33 && back[3] == 0x22 && back[22] == 0x11);
    EXPECT(back[99] == 0x11 && back[100] == 0x77 && back[139] == 0x44 && back[140] == 0x11);
    for (int y = 0; y < 5; y++)
        EXPECT(back[1024 + 64 * y] == 0x99 && back[1024 + 64 * y + 2] == 0x99 &&
               back[1024 + 64 * y + 3] == 0x11);
    CHECK(cuMemFree(device));
}

static void test_host_memory(void)
{
    enum { BYTES = 300000 };
    void *memory;
    unsigned char *back = calloc(1, BYTES);
    CUdeviceptr device = check_memory(BYTES);
    CHECK(cuMemHostAlloc(&memory, BYTES, CU_MEMHOSTALLOC_PORTABLE));
    memset(memory, 0x42, BYTES);
    CHECK(cuMemcpyHtoDAsync(device, memory, BYTES, NULL));
    CHECK(cuStreamSynchronize(NULL));
    CHECK(cuMemHostRegister(back, BYTES, 0));
    CHECK(cuMemcpyDtoHAsync(back, device, BYTES, NULL));
    CHECK(cuStreamSynchronize(NULL));
    EXPECT(all(back, 0x42, BYTES));
    CHECK(cuMemHostUnregister(back));
    CHECK(cuMemFreeHost(memory));
    CHECK(cuMemFree(device));
    free(back);
}

/* Many copies in one call, and copies that name contexts. */
static void test_batches_and_peers(void)
{
    enum { BYTES = 10000 };
    unsigned char *source = made(BYTES), *back = calloc(1, BYTES);
    CUdeviceptr first = check_memory(BYTES), second = check_memory(BYTES);
    CUcontext context;
    CUstream stream;
    CHECK(cuCtxGetCurrent(&context));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr to[] = {first, first + 4000},
                from[] = {(uintptr_t)source, (uintptr_t)source + 4000};
    size_t sizes[] = {4000, BYTES - 4000}, start = 0;
    CUmemcpyAttributes attributes = {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    CHECK(cuMemcpyBatchAsync(to, from, sizes, 2, &attributes, &start, 1, stream));
    CHECK(cuMemcpyPeerAsync(second, context, first, context, BYTES, stream));
    CUDA_MEMCPY3D_BATCH_OP op = {
        .src = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER, .op.ptr = {.ptr = second}},
        .dst = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER, .op.ptr = {.ptr = (uintptr_t)back}},
        .extent = {100, BYTES / 100, 1},
        .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM};
    CHECK(cuMemcpy3DBatchAsync(1, &op, 0, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(memcmp(source, back, BYTES) == 0);
    EXPECT(cuMemcpyBatchAsync(to, from, sizes, 0, &attributes, &start, 1, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemsetD8(first, 0x12, BYTES));
    CHECK(cuMemcpyPeer(second, context, first, context, BYTES));
    CHECK(cuMemcpyDtoH(back, second, BYTES));
    EXPECT(all(back, 0x12, BYTES));
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFree(first));
    CHECK(cuMemFree(second));
    free(source);
    free(back);
}

static void test_accounting(void)
{
    size_t before, during, after, total;
    CUdeviceptr device;
    CHECK(cuMemGetInfo(&before, &total));
    device = check_memory(64u * MIB);
    CHECK(cuMemGetInfo(&during, &total));
    CHECK(cuMemFree(device));
    CHECK(cuMemGetInfo(&after, &total));
    EXPECT(before <= total && during + 64u * MIB <= before + 2 * MIB && after + 2 * MIB >= before);
}

/* Large copies of several threads at once, each way, into memory that nobody has touched yet. */
struct one_of_many {
    CUcontext context;
    unsigned char first;
};

static void fill(unsigned char *memory, size_t bytes, unsigned int seed)
{
    for (size_t i = 0; i < bytes; i++)
        memory[i] = (unsigned char)(i * 31 + (i >> 12) * 7 + seed);
}

static void *copy_much(void *argument)
{
    const struct one_of_many *one = argument;
    enum { BYTES = 13 * MIB + 4099, ROUNDS = 3 };
    unsigned char *source = malloc(BYTES);
    CUstream stream;
    CHECK(cuCtxSetCurrent(one->context));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr memory = check_memory(BYTES);
    for (unsigned int round = 0; round < ROUNDS; round++) {
        unsigned char *back = malloc(BYTES + 2 * GUARD);
        fill(source, BYTES, one->first + round);
        CHECK(cuMemcpyHtoDAsync(memory, source, BYTES, stream));
        memset(source, 0, BYTES); /* the copy has it */
        memset(back, 0x5a, GUARD);
        memset(back + GUARD + BYTES, 0x5a, GUARD);
        CHECK(cuMemcpyDtoHAsync(back + GUARD, memory, BYTES, stream));
        CHECK(cuStreamSynchronize(stream));
        fill(source, BYTES, one->first + round);
        EXPECT(memcmp(back + GUARD, source, BYTES) == 0);
        EXPECT(all(back, 0x5a, GUARD) && all(back + GUARD + BYTES, 0x5a, GUARD));
        free(back);
    }
    CHECK(cuMemFree(memory));
    CHECK(cuStreamDestroy(stream));
    free(source);
    return NULL;
}

static void test_crowd(CUcontext context)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct one_of_many ones[THREADS];
    for (unsigned int i = 0; i < THREADS; i++) {
        ones[i] = (struct one_of_many){context, (unsigned char)(i * 50)};
        EXPECT(pthread_create(&threads[i], NULL, copy_much, &ones[i]) == 0);
    }
    for (unsigned int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
}

int main(void)
{
    CUcontext context = check_context();
    test_sizes();
    test_unified();
    test_source_reuse();
    test_rows();
    test_boxes();
    test_far();
    test_fills();
    test_host_memory();
    test_batches_and_peers();
    test_crowd(context);
    test_accounting();
    printf("copies: all right\n");
    return 0;
}
