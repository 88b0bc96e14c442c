/* SPDX-License-Identifier: MIT */
/* Boxes that are copied between memory of two contexts, of the host, and arrays. */
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/check.h"

/* A block of memory that boxes are in. */
enum { WIDTH = 96, HEIGHT = 12, DEPTH = 6, BYTES = WIDTH * HEIGHT * DEPTH };
/* A box, and where it starts in what it comes from and goes to. */
enum { BOX_WIDTH = 40, BOX_HEIGHT = 5, BOX_DEPTH = 3 };
enum { FROM_X = 16, FROM_Y = 2, FROM_Z = 1, TO_X = 33, TO_Y = 6, TO_Z = 2 };

static unsigned char source[BYTES], expected[BYTES], got[BYTES];

static size_t place(size_t x, size_t y, size_t z)
{
    return (z * HEIGHT + y) * WIDTH + x;
}

static void prepare(unsigned char background, size_t to_x)
{
    for (size_t i = 0; i < BYTES; i++)
        source[i] = (unsigned char)((i * 131 + (i >> 8) * 29) & 0xff);
    memset(expected, background, BYTES);
    for (size_t z = 0; z < BOX_DEPTH; z++) {
        for (size_t y = 0; y < BOX_HEIGHT; y++)
            memcpy(expected + place(to_x, TO_Y + y, TO_Z + z),
                   source + place(FROM_X, FROM_Y + y, FROM_Z + z), BOX_WIDTH);
    }
}

static CUDA_MEMCPY3D_PEER box(size_t to_x)
{
    return (CUDA_MEMCPY3D_PEER){.srcXInBytes = FROM_X,
                                .srcY = FROM_Y,
                                .srcZ = FROM_Z,
                                .srcPitch = WIDTH,
                                .srcHeight = HEIGHT,
                                .dstXInBytes = to_x,
                                .dstY = TO_Y,
                                .dstZ = TO_Z,
                                .dstPitch = WIDTH,
                                .dstHeight = HEIGHT,
                                .WidthInBytes = BOX_WIDTH,
                                .Height = BOX_HEIGHT,
                                .Depth = BOX_DEPTH};
}

/* Runs a copy at once, then in a stream, between a fill and a read of the destination there. */
static void expect_copied(const CUDA_MEMCPY3D_PEER *copy, CUdeviceptr to, CUstream stream)
{
    memset(got, 0, BYTES);
    CHECK(cuMemsetD8(to, 7, BYTES));
    CHECK(cuCtxSynchronize());
    CHECK(cuMemcpy3DPeer(copy));
    CHECK(cuCtxSynchronize());
    CHECK(cuMemcpyDtoH(got, to, BYTES));
    EXPECT(memcmp(got, expected, BYTES) == 0);
    memset(got, 0, BYTES);
    CHECK(cuMemsetD8Async(to, 7, BYTES, stream));
    CHECK(cuMemcpy3DPeerAsync(copy, stream));
    CHECK(cuMemcpyDtoHAsync(got, to, BYTES, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(memcmp(got, expected, BYTES) == 0);
}

static void test_between_contexts(CUcontext first, CUcontext second, CUstream stream)
{
    CUdeviceptr from, to;
    CUDA_MEMCPY3D_PEER copy = box(TO_X);
    prepare(7, TO_X);
    CHECK(cuCtxSetCurrent(second));
    from = check_memory(BYTES);
    CHECK(cuMemcpyHtoD(from, source, BYTES));
    CHECK(cuCtxSynchronize());
    CHECK(cuCtxSetCurrent(first));
    to = check_memory(BYTES);
    copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = from;
    copy.srcContext = second;
    copy.dstDevice = to;
    copy.dstContext = first;
    expect_copied(&copy, to, stream);
    /* Within one context, and from the host's memory. */
    copy.srcContext = first;
    CHECK(cuMemcpyHtoD(to, source, 1));
    CUdeviceptr own = check_memory(BYTES);
    CHECK(cuMemcpyHtoD(own, source, BYTES));
    copy.srcDevice = own;
    expect_copied(&copy, to, stream);
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = source;
    expect_copied(&copy, to, stream);
    CHECK(cuMemFree(from));
    CHECK(cuMemFree(own));
    CHECK(cuMemFree(to));
}

/* A copy without a stream comes after the work of the contexts that it is between, and before what
 * they do next; contexts do not wait for each other by themselves. */
static void test_order(CUcontext first, CUcontext second)
{
    CUDA_MEMCPY3D_PEER copy = box(TO_X);
    unsigned int rounds = 20000000;
    CUdeviceptr from, hidden, to = check_memory(BYTES), beside = check_memory(4);
    CUmodule own_module = check_module();
    CUfunction own_busy = check_function(own_module, "busy");
    void *own_parameters[] = {&beside, &rounds};
    prepare(7, TO_X);
    CHECK(cuMemsetD8(to, 7, BYTES));
    CHECK(cuCtxSetCurrent(second));
    CUmodule module = check_module();
    CUfunction busy = check_function(module, "busy");
    from = check_memory(BYTES);
    hidden = check_memory(BYTES);
    void *parameters[] = {&from, &rounds};
    CHECK(cuMemcpyHtoD(hidden, source, BYTES));
    for (int round = 0; round < 2; round++) {
        CHECK(cuMemsetD8(from, 1, BYTES));
        CHECK(cuCtxSynchronize());
        CHECK(cuLaunchKernel(busy, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
        CHECK(cuMemcpyDtoDAsync(from, hidden, BYTES, NULL));
        CHECK(cuCtxSetCurrent(first));
        CHECK(cuLaunchKernel(own_busy, 1, 1, 1, 1, 1, 1, 0, NULL, own_parameters, NULL));
        if (round == 0) {
            copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
            copy.srcDevice = from;
            copy.srcContext = second;
            copy.dstDevice = to;
            copy.dstContext = first;
            CHECK(cuMemcpy3DPeer(&copy));
        } else {
            CHECK(cuMemcpyPeer(to, first, from, second, BYTES));
        }
        CHECK(cuCtxSetCurrent(second));
        CHECK(cuMemsetD8Async(from, 2, BYTES, NULL)); /* too late to be copied */
        CHECK(cuCtxSynchronize());
        CHECK(cuCtxSetCurrent(first));
        CHECK(cuCtxSynchronize());
        CHECK(cuMemcpyDtoH(got, to, BYTES));
        EXPECT(memcmp(got, round == 0 ? expected : source, BYTES) == 0);
        CHECK(cuCtxSetCurrent(second));
    }
    CHECK(cuMemFree(hidden));
    CHECK(cuMemFree(from));
    CHECK(cuModuleUnload(module));
    CHECK(cuCtxSetCurrent(first));
    CHECK(cuModuleUnload(own_module));
    CHECK(cuMemFree(beside));
    CHECK(cuMemFree(to));
}

/* A box of an array, which knows its own context: the copy's is not asked for. */
static void test_arrays(CUcontext first, CUcontext second, CUstream stream)
{
    const CUDA_ARRAY3D_DESCRIPTOR shape = {WIDTH, HEIGHT, DEPTH, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0};
    CUDA_MEMCPY3D_PEER up = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                             .srcHost = source,
                             .srcContext = second,
                             .srcPitch = WIDTH,
                             .srcHeight = HEIGHT,
                             .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                             .WidthInBytes = WIDTH,
                             .Height = HEIGHT,
                             .Depth = DEPTH};
    CUDA_MEMCPY3D_PEER copy = box(TO_X);
    CUdeviceptr to = check_memory(BYTES);
    prepare(7, TO_X);
    CHECK(cuCtxSetCurrent(second));
    CHECK(cuArray3DCreate(&up.dstArray, &shape));
    CHECK(cuMemcpy3DPeer(&up));
    CHECK(cuCtxSynchronize());
    CHECK(cuCtxSetCurrent(first));
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = up.dstArray;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = to;
    copy.dstContext = first;
    expect_copied(&copy, to, stream);
    CHECK(cuArrayDestroy(up.dstArray));
    CHECK(cuMemFree(to));
}

/* It cannot be captured: what has been captured so far is lost. */
static void test_captured(CUcontext first, CUcontext second, CUstream stream)
{
    CUDA_MEMCPY3D_PEER copy = box(TO_X);
    CUdeviceptr to = check_memory(BYTES);
    CUgraph graph;
    CHECK(cuCtxSetCurrent(second));
    CUdeviceptr from = check_memory(BYTES);
    CHECK(cuCtxSetCurrent(first));
    copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = from;
    copy.srcContext = second;
    copy.dstDevice = to;
    copy.dstContext = first;
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    EXPECT(cuMemcpy3DPeerAsync(&copy, stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    EXPECT(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    CHECK(cuMemcpy3DPeerAsync(&copy, stream));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemFree(from));
    CHECK(cuMemFree(to));
}

static void test_refusals(CUcontext first, CUstream stream)
{
    CUDA_MEMCPY3D_PEER copy = box(TO_X);
    CUdeviceptr memory = check_memory(BYTES);
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = source;
    copy.srcContext = copy.dstContext = first;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = memory;
    copy.dstPitch = TO_X + BOX_WIDTH - 1; /* rows would overlap */
    EXPECT(cuMemcpy3DPeer(&copy) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemcpy3DPeerAsync(&copy, stream) == CUDA_ERROR_INVALID_VALUE);
    copy.dstPitch = WIDTH;
    copy.dstHeight = TO_Y + BOX_HEIGHT - 1; /* and here layers */
    EXPECT(cuMemcpy3DPeer(&copy) == CUDA_ERROR_INVALID_VALUE);
    copy.dstZ = 0;
    copy.Depth = 1; /* of one layer, too: a height of rows that are not all in it */
    EXPECT(cuMemcpy3DPeer(&copy) == CUDA_ERROR_INVALID_VALUE);
    copy.dstHeight = 0;
    CHECK(cuMemcpy3DPeer(&copy));
    copy.dstHeight = HEIGHT;
    copy.dstMemoryType = (CUmemorytype)99;
    EXPECT(cuMemcpy3DPeerAsync(&copy, stream) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemFree(memory));
}

int main(void)
{
    CUcontext first = check_context(), second;
    CUstream stream;
    CHECK(cuCtxCreate(&second, NULL, 0, 0));
    CHECK(cuCtxSetCurrent(first));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    test_between_contexts(first, second, stream);
    test_order(first, second);
    test_arrays(first, second, stream);
    test_captured(first, second, stream);
    test_refusals(first, stream);
    CHECK(cuStreamDestroy(stream));
    CHECK(cuCtxDestroy(second));
    printf("peer_copies: all is well\n");
    return 0;
}
