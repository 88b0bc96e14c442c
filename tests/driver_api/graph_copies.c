/* SPDX-License-Identifier: MIT */
/* What nodes copy and fill: boxes, arrays, memory whose kind is not told, and rows of all widths.
 */
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/graph_parts.h"

/* Bytes of the program: planes of rows, of which a box is copied. */
enum { PITCH = 64, ROWS = 8, PLANES = 4, X = 8, Y = 2, Z = 1, WIDTH = 16, HEIGHT = 3, DEPTH = 2 };

struct block {
    unsigned char bytes[PLANES][ROWS][PITCH];
};

static int is_in_box(int plane, int row, int column)
{
    return plane >= Z && plane < Z + DEPTH && row >= Y && row < Y + HEIGHT && column >= X &&
           column < X + WIDTH;
}

static void number(struct block *block, unsigned int first)
{
    unsigned char *bytes = &block->bytes[0][0][0];
    for (unsigned int i = 0; i < sizeof(block->bytes); i++)
        bytes[i] = (unsigned char)(first + i % 251);
}

/* `got` has the box of `from`, and all else is `rest`. */
static void expect_box(const struct block *got, const struct block *from, unsigned char rest)
{
    for (int plane = 0; plane < PLANES; plane++) {
        for (int row = 0; row < ROWS; row++) {
            for (int column = 0; column < PITCH; column++)
                EXPECT(got->bytes[plane][row][column] ==
                       (is_in_box(plane, row, column) ? from->bytes[plane][row][column] : rest));
        }
    }
}

static CUDA_MEMCPY3D box_in(const struct block *block, CUdeviceptr to)
{
    return (CUDA_MEMCPY3D){.srcXInBytes = X,
                           .srcY = Y,
                           .srcZ = Z,
                           .srcMemoryType = CU_MEMORYTYPE_HOST,
                           .srcHost = block,
                           .srcPitch = PITCH,
                           .srcHeight = ROWS,
                           .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                           .dstDevice = to,
                           .dstPitch = 32,
                           .dstHeight = 4,
                           .WidthInBytes = WIDTH,
                           .Height = HEIGHT,
                           .Depth = DEPTH};
}

static CUDA_MEMCPY3D box_out(struct block *block, CUdeviceptr from)
{
    return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                           .srcDevice = from,
                           .srcPitch = 32,
                           .srcHeight = 4,
                           .dstXInBytes = X,
                           .dstY = Y,
                           .dstZ = Z,
                           .dstMemoryType = CU_MEMORYTYPE_HOST,
                           .dstHost = block,
                           .dstPitch = PITCH,
                           .dstHeight = ROWS,
                           .WidthInBytes = WIDTH,
                           .Height = HEIGHT,
                           .Depth = DEPTH};
}

static CUgraph two_copies(const struct graph_setup *setup, const CUDA_MEMCPY3D *in,
                          const CUDA_MEMCPY3D *out, CUgraphNode *nodes)
{
    CUgraph graph = graph_make();
    CHECK(cuGraphAddMemcpyNode(&nodes[0], graph, NULL, 0, in, setup->context));
    CHECK(cuGraphAddMemcpyNode(&nodes[1], graph, nodes, 1, out, setup->context));
    return graph;
}

static void boxes_of_ordinary_memory(const struct graph_setup *setup)
{
    static struct block in, out;
    CUDA_MEMCPY3D to = box_in(&in, setup->first), from = box_out(&out, setup->first), got[2];
    CUgraphNode nodes[2];
    CUgraph graph = two_copies(setup, &to, &from, nodes), again;
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int round = 1; round < 4; round++) {
        number(&in, round);
        memset(&out, 0xee, sizeof(out));
        graph_launch(setup, exec);
        expect_box(&out, &in, 0xee);
    }
    CHECK(cuGraphExecDestroy(exec));
    /* What a node says of itself makes another one like it. */
    for (int i = 0; i < 2; i++)
        CHECK(cuGraphMemcpyNodeGetParams(nodes[i], &got[i]));
    again = two_copies(setup, &got[0], &got[1], nodes);
    CHECK(cuGraphDestroy(graph));
    number(&in, 9);
    memset(&out, 0xdd, sizeof(out));
    graph_run(setup, again);
    expect_box(&out, &in, 0xdd);
    CHECK(cuGraphDestroy(again));
}

static void arrays_and_ordinary_memory(const struct graph_setup *setup)
{
    static struct block in, out;
    const CUDA_ARRAY3D_DESCRIPTOR form = {.Width = WIDTH / 4,
                                          .Height = HEIGHT,
                                          .Depth = DEPTH,
                                          .Format = CU_AD_FORMAT_UNSIGNED_INT32,
                                          .NumChannels = 1};
    CUDA_MEMCPY3D to = box_in(&in, 0), from = box_out(&out, 0), got;
    CUgraphNode nodes[2];
    CUarray array;
    CHECK(cuArray3DCreate(&array, &form));
    to.dstMemoryType = from.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    to.dstArray = from.srcArray = array;
    to.dstPitch = to.dstHeight = from.srcPitch = from.srcHeight = 0;
    CUgraph graph = two_copies(setup, &to, &from, nodes);
    CHECK(cuGraphMemcpyNodeGetParams(nodes[0], &got));
    EXPECT(got.dstMemoryType == CU_MEMORYTYPE_ARRAY && got.dstArray == array);
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int round = 1; round < 3; round++) {
        number(&in, round);
        memset(&out, 0xee, sizeof(out));
        graph_launch(setup, exec);
        expect_box(&out, &in, 0xee);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuArrayDestroy(array));
}

/* A copy between two addresses, of which neither says what it is an address of. */
static CUDA_MEMCPY3D copy_any(CUdeviceptr to, CUdeviceptr from)
{
    CUDA_MEMCPY3D copy = graph_copy(to, from);
    copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
    return copy;
}

static void addresses_tell_what_they_are(const struct graph_setup *setup)
{
    static unsigned int in[GRAPH_COUNT], out[GRAPH_COUNT];
    unsigned int *pinned;
    CUgraph graph = graph_make();
    CUgraphNode nodes[6];
    CUDA_MEM_ALLOC_NODE_PARAMS alloc = {
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}},
        .bytesize = GRAPH_COUNT * 4};
    CHECK(cuMemHostAlloc((void **)&pinned, sizeof(in), 0));
    CHECK(cuGraphAddMemAllocNode(&nodes[0], graph, NULL, 0, &alloc));
    const CUdeviceptr places[] = {(CUdeviceptr)(uintptr_t)in, alloc.dptr,
                                  (CUdeviceptr)(uintptr_t)pinned, setup->first,
                                  (CUdeviceptr)(uintptr_t)out};
    for (int i = 0; i < 4; i++) {
        CUDA_MEMCPY3D copy = copy_any(places[i + 1], places[i]);
        CHECK(cuGraphAddMemcpyNode(&nodes[i + 1], graph, &nodes[i], 1, &copy, setup->context));
    }
    CHECK(cuGraphAddMemFreeNode(&nodes[5], graph, &nodes[4], 1, alloc.dptr));
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int round = 1; round < 3; round++) {
        for (unsigned int i = 0; i < GRAPH_COUNT; i++)
            in[i] = i * round;
        graph_launch(setup, exec);
        EXPECT(memcmp(in, out, sizeof(in)) == 0 && memcmp(in, pinned, sizeof(in)) == 0);
        graph_expect(setup->first, 0, round);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuMemFreeHost(pinned));
}

/* The same by a capture of the calls that copy boxes, rows, arrays and bytes. */
static void copies_that_are_captured(const struct graph_setup *setup)
{
    static struct block in, out, flat, copied;
    const CUDA_ARRAY_DESCRIPTOR form = {
        .Width = sizeof(in), .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};
    CUDA_MEMCPY3D to = box_in(&in, setup->first), from = box_out(&out, setup->first);
    CUDA_MEMCPY2D row = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                         .srcDevice = setup->first,
                         .srcPitch = 32,
                         .dstMemoryType = CU_MEMORYTYPE_HOST,
                         .dstHost = &flat,
                         .dstPitch = PITCH,
                         .WidthInBytes = WIDTH,
                         .Height = HEIGHT};
    CUstream stream = setup->stream;
    CUarray array;
    CUgraph graph;
    CHECK(cuArrayCreate(&array, &form));
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CHECK(cuMemcpy3DAsync(&to, stream));
    CHECK(cuMemcpy3DAsync(&from, stream));
    CHECK(cuMemcpy2DAsync(&row, stream));
    CHECK(cuMemcpyHtoAAsync(array, 0, &in, sizeof(in), stream));
    CHECK(cuMemcpyAtoHAsync(&copied, array, 0, sizeof(copied), stream));
    CHECK(cuStreamEndCapture(stream, &graph));
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int round = 1; round < 4; round++) {
        number(&in, round);
        memset(&out, 0xee, sizeof(out));
        memset(&flat, 0xee, sizeof(flat));
        graph_launch(setup, exec);
        expect_box(&out, &in, 0xee);
        EXPECT(memcmp(&copied, &in, sizeof(in)) == 0);
        for (int i = 0; i < HEIGHT; i++)
            EXPECT(memcmp(flat.bytes[0][i], &in.bytes[Z][Y + i][X], WIDTH) == 0 &&
                   flat.bytes[0][i][WIDTH] == 0xee);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuArrayDestroy(array));
}

/* ---- fills ---- */

static void expect_bytes(CUdeviceptr memory, size_t at, size_t count, unsigned char value)
{
    unsigned char got[GRAPH_COUNT * 4];
    CHECK(cuMemcpyDtoH(got, memory, sizeof(got)));
    for (size_t i = at; i < at + count; i++)
        EXPECT(got[i] == value);
}

static void rows_of_all_widths_are_filled(const struct graph_setup *setup)
{
    /* 3 rows of 5 elements every 40 bytes */
    CUDA_MEMSET_NODE_PARAMS set = {.pitch = 40, .width = 5, .height = 3};
    CUgraphNode node;
    for (unsigned int size = 1; size <= 4; size *= 2) {
        CUgraph graph = graph_make();
        set.dst = setup->first + 8;
        set.elementSize = size;
        set.value = 0xabababab >> (8 * (4 - size));
        CHECK(cuMemsetD8(setup->first, 0x11, GRAPH_COUNT * 4));
        CHECK(cuStreamSynchronize(NULL));
        CHECK(cuGraphAddMemsetNode(&node, graph, NULL, 0, &set, setup->context));
        graph_run(setup, graph);
        expect_bytes(setup->first, 0, 8, 0x11);
        for (unsigned int row = 0; row < 3; row++) {
            expect_bytes(setup->first, 8 + row * 40, (size_t)5 * size, 0xab);
            expect_bytes(setup->first, 8 + row * 40 + (size_t)5 * size, 40 - (size_t)5 * size,
                         0x11);
        }
        set.dst = setup->second;
        set.height = 1;
        set.width = 7;
        CHECK(cuMemsetD8(setup->second, 0x22, 64));
        CHECK(cuStreamSynchronize(NULL));
        CHECK(cuGraphMemsetNodeSetParams(node, &set));
        graph_run(setup, graph);
        expect_bytes(setup->second, 0, (size_t)7 * size, 0xab);
        expect_bytes(setup->second, (size_t)7 * size, 8, 0x22);
        CHECK(cuGraphDestroy(graph));
        set.height = 3;
        set.width = 5;
    }
    set.elementSize = 3;
    CUgraph graph = graph_make();
    EXPECT(cuGraphAddMemsetNode(&node, graph, NULL, 0, &set, setup->context) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphDestroy(graph));
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    boxes_of_ordinary_memory(&setup);
    arrays_and_ordinary_memory(&setup);
    rows_of_all_widths_are_filled(&setup);
    copies_that_are_captured(&setup);
    addresses_tell_what_they_are(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
