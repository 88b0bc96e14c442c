/* SPDX-License-Identifier: MIT */
/* Memory that is set to elements of one, two and four bytes, in rows and in streams: every byte of
 * it is looked at, what is between the rows and around them, too. */
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/check.h"

enum { BYTES = 1 << 17, BEFORE = 0xa5 };

/* Where rows are: `skip` elements into the memory; width and skip count elements. */
struct rows {
    size_t skip, pitch, width, height;
};

/* A function for elements of `bytes` bytes; those that know no stream are given NULL. */
struct way {
    unsigned int bytes;
    unsigned int value;
    CUresult (*fill)(CUdeviceptr to, const struct rows *rows, unsigned int value, CUstream stream);
};

#define WAYS(bits, type)                                                                           \
    static CUresult now_##bits(CUdeviceptr to, const struct rows *rows, unsigned int value,        \
                               CUstream stream)                                                    \
    {                                                                                              \
        CHECK(cuStreamSynchronize(stream));                                                        \
        CUresult error =                                                                           \
            cuMemsetD2D##bits(to, rows->pitch, (type)value, rows->width, rows->height);            \
        CHECK(cuStreamSynchronize(NULL));                                                          \
        return error;                                                                              \
    }                                                                                              \
    static CUresult later_##bits(CUdeviceptr to, const struct rows *rows, unsigned int value,      \
                                 CUstream stream)                                                  \
    {                                                                                              \
        return cuMemsetD2D##bits##Async(to, rows->pitch, (type)value, rows->width, rows->height,   \
                                        stream);                                                   \
    }                                                                                              \
    static CUresult line_##bits(CUdeviceptr to, const struct rows *rows, unsigned int value,       \
                                CUstream stream)                                                   \
    {                                                                                              \
        return cuMemsetD##bits##Async(to, (type)value, rows->width * rows->height, stream);        \
    }

WAYS(8, unsigned char)
WAYS(16, unsigned short)
WAYS(32, unsigned int)

/* Of all values each byte differs from the others, so that none may be taken for another. */
static const struct way in_rows[] = {
    {1, 0x11, now_8},      {1, 0x12, later_8},      {2, 0x2122, now_16},
    {2, 0x3132, later_16}, {4, 0x41424344, now_32}, {4, 0x51525354, later_32},
};
static const struct way in_line[] = {
    {1, 0x61, line_8}, {2, 0x7172, line_16}, {4, 0x81828384, line_32}};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* What the memory holds after rows of it were set. */
static void set(unsigned char *bytes, const struct way *way, const struct rows *rows)
{
    for (size_t y = 0; y < rows->height; y++) {
        unsigned char *row = bytes + rows->skip * way->bytes + y * rows->pitch;
        for (size_t x = 0; x < rows->width; x++)
            memcpy(row + x * way->bytes, &way->value, way->bytes); /* the least bytes are first */
    }
}

/* Elements of an earlier fill are set over, so that the order in the stream shows, too. */
static void expect_set(CUdeviceptr memory, const struct way *way, const struct rows *rows,
                       CUstream stream)
{
    static unsigned char expected[BYTES], got[BYTES];
    memset(expected, BEFORE, BYTES);
    set(expected, way, rows);
    CHECK(cuMemsetD8Async(memory, BEFORE, BYTES, stream));
    CHECK(way->fill(memory + rows->skip * way->bytes, rows, way->value, stream));
    CHECK(cuMemcpyDtoHAsync(got, memory, BYTES, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(memcmp(expected, got, BYTES) == 0);
}

static void test_rows(CUdeviceptr memory, CUstream stream)
{
    static const struct rows shapes[] = {
        {0, 512, 100, 9},   /* with room between them */
        {3, 512, 125, 200}, /* not at the start of a line */
        {5, 128, 1, 999},   /* columns */
        {1, 260, 65, 77},   /* a pitch that is a multiple of 4 and of no more */
        {0, 65536, 3, 2},   /* far apart, to the last byte that there is */
        {7, 0, 1000, 1},    /* of one row the pitch is not used */
    };
    for (size_t way = 0; way < COUNT(in_rows); way++) {
        for (size_t shape = 0; shape < COUNT(shapes); shape++)
            expect_set(memory, &in_rows[way], &shapes[shape], stream);
        const struct rows whole = {0, 1024, 1024 / in_rows[way].bytes, BYTES / 1024};
        expect_set(memory, &in_rows[way], &whole, stream);
    }
}

static void test_lines(CUdeviceptr memory, CUstream stream)
{
    for (size_t way = 0; way < COUNT(in_line); way++) {
        static const size_t widths[] = {1, 2, 7, 64, 1001, 30000};
        for (size_t i = 0; i < COUNT(widths); i++) {
            const struct rows line = {i, 0, widths[i], 1};
            expect_set(memory, &in_line[way], &line, stream);
        }
        const struct rows all = {0, 0, BYTES / in_line[way].bytes, 1};
        expect_set(memory, &in_line[way], &all, stream);
    }
}

/* Of a capture they become nodes that say what was asked for, and do it at each launch. */
static void test_captured(CUdeviceptr memory, CUstream stream)
{
    static const struct rows rows = {3, 512, 60, 9};
    static unsigned char expected[BYTES], got[BYTES];
    for (size_t i = 1; i < COUNT(in_rows); i += 2) { /* those that know a stream */
        const struct way *way = &in_rows[i];
        CUDA_MEMSET_NODE_PARAMS is;
        CUgraphNode node;
        CUgraphExec exec;
        CUgraph graph;
        size_t nodes = 0;
        CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        CHECK(way->fill(memory + rows.skip * way->bytes, &rows, way->value, stream));
        CHECK(cuStreamEndCapture(stream, &graph));
        CHECK(cuGraphGetNodes(graph, NULL, &nodes));
        EXPECT(nodes == 1);
        CHECK(cuGraphGetNodes(graph, &node, &nodes));
        CHECK(cuGraphMemsetNodeGetParams(node, &is));
        EXPECT(is.dst == memory + rows.skip * way->bytes && is.pitch == rows.pitch);
        EXPECT(is.value == way->value && is.elementSize == way->bytes);
        EXPECT(is.width == rows.width && is.height == rows.height);
        CHECK(cuGraphInstantiate(&exec, graph, 0));
        memset(expected, BEFORE, BYTES);
        set(expected, way, &rows);
        for (int launch = 0; launch < 2; launch++) {
            CHECK(cuMemsetD8Async(memory, BEFORE, BYTES, stream));
            CHECK(cuGraphLaunch(exec, stream));
            CHECK(cuMemcpyDtoHAsync(got, memory, BYTES, stream));
            CHECK(cuStreamSynchronize(stream));
            EXPECT(memcmp(expected, got, BYTES) == 0);
        }
        CHECK(cuGraphExecDestroy(exec));
        CHECK(cuGraphDestroy(graph));
    }
}

/* The last row ends where the memory does, and what would follow it is not asked for. */
static void test_end(CUstream stream)
{
    enum { PITCH = 4096, ROWS = 256, WIDTH = 100 };
    const size_t bytes = (size_t)PITCH * ROWS;
    CUdeviceptr memory = check_memory(bytes);
    CUdeviceptr start = memory + PITCH - (CUdeviceptr)WIDTH * 4;
    CHECK(cuMemsetD2D32Async(start, PITCH, 9, WIDTH, ROWS, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(cuMemsetD2D32Async(start, PITCH, 9, WIDTH + 1, ROWS, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D16Async(start, PITCH, 9, WIDTH, ROWS + 1, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D8(start, PITCH, 9, WIDTH, ROWS + 1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemFree(memory));
}

static void test_alignment(CUdeviceptr memory, CUstream stream)
{
    EXPECT(cuMemsetD16Async(memory + 1, 7, 8, stream) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D16(memory + 1, 64, 7, 8, 2) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D16Async(memory + 1, 64, 7, 8, 2, stream) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D16Async(memory, 65, 7, 8, 2, stream) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D32(memory + 2, 64, 7, 8, 2) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D32Async(memory + 2, 64, 7, 8, 2, stream) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D32(memory, 66, 7, 8, 2) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D32Async(memory, 66, 7, 8, 2, stream) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D16(memory, 32, 7, 17, 2) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D8Async(memory, 32, 7, 33, 2, stream) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(stream));
}

int main(void)
{
    CUstream stream;
    check_context();
    CUdeviceptr memory = check_memory(BYTES);
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    test_rows(memory, stream);
    test_lines(memory, stream);
    test_rows(memory, CU_STREAM_PER_THREAD);
    test_captured(memory, stream);
    test_end(stream);
    test_alignment(memory, stream);
    test_lines(memory, stream); /* all is well after all that */
    CHECK(cuMemFree(memory));
    CHECK(cuStreamDestroy(stream));
    printf("fills: all is well\n");
    return 0;
}
