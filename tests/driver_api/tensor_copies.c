/* SPDX-License-Identifier: MIT */
/* What copies of boxes of tensors bring: places, steps, swizzles, what is beyond, reductions; and
 * what is no place for a box. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

enum { SKIPPED = 77 };

enum { WIDTH = 40, HEIGHT = 20, PITCH = 192 }; /* of the tensor: words, rows, bytes */
enum { SHARED = 4096 };                        /* bytes, for boxes and what is between their rows */

static CUresult encode(CUtensorMap *map, CUdeviceptr memory, const cuuint32_t box[2],
                       const cuuint32_t steps[2], CUtensorMapSwizzle swizzle,
                       CUtensorMapFloatOOBfill fill)
{
    const cuuint64_t dimensions[] = {WIDTH, HEIGHT}, strides[] = {PITCH};

    return cuTensorMapEncodeTiled(
        map, fill ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32 : CU_TENSOR_MAP_DATA_TYPE_INT32, 2,
        (void *)memory, dimensions, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, fill);
}

/*
 * load: one thread brings a box from (x, y), of which a barrier expects `bytes` bytes, and all of
 * shared memory goes to `out`.
 * put: the other way round, with an instruction that is filled in.
 */
static const char text[] =
    ".version 8.6\n.target sm_90\n.address_size 64\n"
    ".visible .entry load(.param .align 64 .b8 map[128], .param .s32 x, .param .s32 y,\n"
    "                     .param .u32 bytes, .param .u64 out)\n{\n"
    ".reg .b32 %%r<12>;\n.reg .b64 %%d<6>;\n.reg .pred %%p<4>;\n"
    ".shared .align 1024 .b8 box[4096];\n.shared .align 8 .b64 barrier;\n"
    "mov.u32 %%r1, box;\nmov.u32 %%r2, barrier;\nmov.u32 %%r3, %%tid.x;\nld.param.u32 %%r4, "
    "[bytes];\nshl.b32 %%r7, %%r3, 2;\n"
    "fill:\nadd.u32 %%r8, %%r1, %%r7;\nst.shared.u32 [%%r8], -1;\nadd.u32 %%r7, %%r7, 128;\n"
    "setp.lt.u32 %%p3, %%r7, 4096;\n@%%p3 bra fill;\nfence.proxy.async.shared::cta;\n"
    "bar.sync 0;\n"
    "setp.ne.u32 %%p1, %%r3, 0;\n@%%p1 bra ready;\nmbarrier.init.shared.b64 [%%r2], "
    "1;\nfence.proxy.async.shared::cta;\n"
    "mov.b64 %%d1, map;\ncvta.param.u64 %%d2, %%d1;\nld.param.s32 %%r5, [x];\nld.param.s32 %%r6, "
    "[y];\n"
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%%r1], "
    "[%%d2, {%%r5, %%r6}], [%%r2];\n"
    "mbarrier.arrive.expect_tx.shared.b64 _, [%%r2], %%r4;\nready:\nbar.sync 0;\n"
    "wait:\nmbarrier.try_wait.parity.shared.b64 %%p2, [%%r2], 0;\n@!%%p2 bra wait;\n"
    "ld.param.u64 %%d3, [out];\nshl.b32 %%r7, %%r3, 2;\n"
    "again:\nadd.u32 %%r8, %%r1, %%r7;\n"
    "ld.shared.u32 %%r9, [%%r8];\ncvt.u64.u32 %%d4, %%r7;\nadd.u64 %%d4, %%d3, %%d4;\n"
    "st.global.u32 [%%d4], %%r9;\nadd.u32 %%r7, %%r7, 128;\nsetp.lt.u32 %%p3, %%r7, 4096;\n"
    "@%%p3 bra again;\nret;\n}\n"
    ".visible .entry put(.param .align 64 .b8 map[128], .param .s32 x, .param .s32 y)\n{\n"
    ".reg .b32 %%r<12>;\n.reg .b64 %%d<6>;\n.reg .pred %%p<4>;\n"
    ".shared .align 1024 .b8 box[4096];\n"
    "mov.u32 %%r1, box;\nmov.u32 %%r3, %%tid.x;\nshl.b32 %%r7, %%r3, 2;\n"
    "again:\nadd.u32 %%r8, %%r1, %%r7;\nshr.u32 %%r9, %%r7, 2;\nadd.u32 %%r9, %%r9, 1000;\n"
    "st.shared.u32 [%%r8], %%r9;\nadd.u32 %%r7, %%r7, 128;\nsetp.lt.u32 %%p3, %%r7, 4096;\n"
    "@%%p3 bra again;\nfence.proxy.async.shared::cta;\nbar.sync 0;\nsetp.ne.u32 %%p1, %%r3, "
    "0;\n@%%p1 exit;\n"
    "mov.b64 %%d1, map;\ncvta.param.u64 %%d2, %%d1;\nld.param.s32 %%r5, [x];\nld.param.s32 %%r6, "
    "[y];\n"
    "%s [%%d2, {%%r5, %%r6}], [%%r1];\n"
    "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nret;\n}\n";

struct tensor {
    CUmodule module;
    CUdeviceptr memory, out;
    int words[HEIGHT][PITCH / 4];
};

static void prepare(struct tensor *t, const char *put)
{
    char ptx[8192];

    snprintf(ptx, sizeof(ptx), text, put);
    CHECK(cuModuleLoadData(&t->module, ptx));
    CHECK(cuMemAlloc(&t->memory, sizeof(t->words)));
    CHECK(cuMemAlloc(&t->out, SHARED));
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < PITCH / 4; x++)
            t->words[y][x] = 100 * y + x;
    }
    CHECK(cuMemcpyHtoD(t->memory, t->words, sizeof(t->words)));
}

static bool is_supported(void)
{
    int supported = 0;

    CHECK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED, 0));
    return supported;
}

static CUresult try(struct tensor *t, const char *kernel, CUtensorMap *map, int x, int y,
                    unsigned int bytes)
{
    void *parameters[] = {map, &x, &y, &bytes, &t->out};
    CUfunction function;

    CHECK(cuModuleGetFunction(&function, t->module, kernel));
    CHECK(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, NULL, parameters, NULL));
    return cuCtxSynchronize();
}

static void run(struct tensor *t, const char *kernel, CUtensorMap *map, int x, int y,
                unsigned int bytes)
{
    CHECK(try(t, kernel, map, x, y, bytes));
}

#define STORE "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group"
#define ADD   "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group"
#define MAX   "cp.reduce.async.bulk.tensor.2d.global.shared::cta.max.tile.bulk_group"

/* Where word `n` of a row is in shared memory. When 16 bytes are exchanged within `span`, each row
 * takes so much, whatever it has. */
static int place(int row, int n, int row_bytes, int span)
{
    int address = row * (span ? span : row_bytes) + 4 * n, mask = span / 16 - 1;

    return (span ? address ^ (address >> 7 & mask) << 4 : address) / 4;
}

/* Where an H200 puts the first 16 bytes, row by row, of rows that are narrower than the span. */
static const struct {
    int row_bytes, span, count;
    unsigned char units[32];
} measured[] = {
    {16, 32, 16, {0, 2, 4, 6, 9, 11, 13, 15, 16, 18, 20, 22, 25, 27, 29, 31}},
    {32, 64, 32, {0,  1,  4,  5,  9,  8,  13, 12, 18, 19, 22, 23, 27, 26, 31, 30,
                  32, 33, 36, 37, 41, 40, 45, 44, 50, 51, 54, 55, 59, 58, 63, 62}},
    {16, 64, 16, {0, 4, 9, 13, 18, 22, 27, 31, 32, 36, 41, 45, 50, 54, 59, 63}},
    {48, 64, 27, {0,  1,  2,  4,  5,  6,  9,  8,  11, 13, 12, 15, 18, 19,
                  16, 22, 23, 20, 27, 26, 25, 31, 30, 29, 32, 33, 34}},
    {64, 128, 32, {0,  1,  2,  3,  9,  8,  11, 10, 18, 19, 16, 17, 27, 26, 25, 24,
                   36, 37, 38, 39, 45, 44, 47, 46, 54, 55, 52, 53, 63, 62, 61, 60}},
    {32, 128, 18, {0, 1, 9, 8, 18, 19, 27, 26, 36, 37, 45, 44, 54, 55, 63, 62, 64, 65}},
    {96, 128, 18, {0, 1, 2, 3, 4, 5, 9, 8, 11, 10, 13, 12, 18, 19, 16, 17, 22, 23}},
};

static void narrow_rows_are_where_an_h200_puts_them(void)
{
    for (size_t n = 0; n < sizeof(measured) / sizeof(measured[0]); n++) {
        int units = measured[n].row_bytes / 16;

        for (int k = 0; k < measured[n].count; k++)
            EXPECT(place(k / units, k % units * 4, measured[n].row_bytes, measured[n].span) ==
                   4 * measured[n].units[k]);
    }
}

static void boxes_are_loaded(void)
{
    static const struct {
        int x, y;
        cuuint32_t box[2], steps[2];
        CUtensorMapSwizzle swizzle;
        int span;
    } cases[] = {
        {0, 0, {16, 8}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {8, 3, {8, 4}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {-4, -2, {12, 6}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {28, 15, {16, 8}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {4, 2, {16, 8}, {2, 3}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {4, 1, {8, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_32B, 32},
        {4, 1, {16, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_64B, 64},
        {4, 1, {32, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_128B, 128},
        {0, 0, {4, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_32B, 32},
        {0, 0, {8, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_64B, 64},
        {0, 0, {4, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_64B, 64},
        {0, 0, {12, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_64B, 64},
        {0, 0, {16, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_128B, 128},
        {0, 0, {8, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_128B, 128},
        {0, 0, {24, 16}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_128B, 128},
        {-4, 15, {12, 20}, {1, 2}, CU_TENSOR_MAP_SWIZZLE_128B, 128},
        {100, 100, {16, 4}, {1, 1}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
    };
    static CUtensorMap map;
    static struct tensor t;
    int got[SHARED / 4];

    prepare(&t, STORE);
    for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        int wide = (int)cases[n].box[0]; /* its step is not looked at */
        int high = (int)((cases[n].box[1] + cases[n].steps[1] - 1) / cases[n].steps[1]);

        CHECK(encode(&map, t.memory, cases[n].box, cases[n].steps, cases[n].swizzle,
                     CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
        run(&t, "load", &map, cases[n].x, cases[n].y, (unsigned int)(4 * wide * high));
        CHECK(cuMemcpyDtoH(got, t.out, sizeof(got)));
        for (int k = 0; k < wide * high; k++) {
            int x = cases[n].x + k % wide;
            int y = cases[n].y + k / wide * (int)cases[n].steps[1];
            bool inside = x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT;

            EXPECT(got[place(k / wide, k % wide, 4 * wide, cases[n].span)] ==
                   (inside ? 100 * y + x : 0));
        }
    }
}

static void what_is_beyond_may_be_nan(void)
{
    static const cuuint32_t box[] = {8, 2}, steps[] = {1, 1};
    static CUtensorMap map;
    static struct tensor t;
    unsigned int got[16];

    prepare(&t, STORE);
    CHECK(encode(&map, t.memory, box, steps, CU_TENSOR_MAP_SWIZZLE_NONE,
                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA));
    run(&t, "load", &map, WIDTH - 4, HEIGHT - 1, sizeof(got));
    CHECK(cuMemcpyDtoH(got, t.out, sizeof(got)));
    EXPECT((int)got[3] == 100 * (HEIGHT - 1) + WIDTH - 1);
    for (int n = 4; n < 16; n++)
        EXPECT((got[n] & 0x7fffffff) > 0x7f800000);
}

static void boxes_are_stored_and_reduced(void)
{
    static const struct {
        const char *instruction;
        int kind; /* 0: stored, 1: added, 2: the greater one */
        int x, y;
        cuuint32_t box[2];
        CUtensorMapSwizzle swizzle;
        int span;
    } cases[] = {
        {STORE, 0, 28, 15, {16, 8}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {ADD, 1, 28, 15, {16, 8}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {MAX, 2, 28, 15, {16, 8}, CU_TENSOR_MAP_SWIZZLE_NONE, 0},
        {STORE, 0, 4, 1, {32, 16}, CU_TENSOR_MAP_SWIZZLE_128B, 128},
        {STORE, 0, 0, 0, {16, 16}, CU_TENSOR_MAP_SWIZZLE_128B, 128},
        {STORE, 0, 8, 3, {4, 16}, CU_TENSOR_MAP_SWIZZLE_32B, 32},
        {ADD, 1, 32, 7, {12, 16}, CU_TENSOR_MAP_SWIZZLE_64B, 64},
    };
    static const cuuint32_t steps[] = {1, 1};
    static CUtensorMap map;
    static struct tensor t;

    for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        int wide = (int)cases[n].box[0], high = (int)cases[n].box[1];

        prepare(&t, cases[n].instruction);
        CHECK(encode(&map, t.memory, cases[n].box, steps, cases[n].swizzle,
                     CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
        run(&t, "put", &map, cases[n].x, cases[n].y, 0);
        CHECK(cuMemcpyDtoH(t.words, t.memory, sizeof(t.words)));
        for (int y = 0; y < HEIGHT; y++) {
            for (int x = 0; x < PITCH / 4; x++) {
                int row = y - cases[n].y, word = x - cases[n].x;
                bool hit = x < WIDTH && row >= 0 && row < high && word >= 0 && word < wide;
                int old = 100 * y + x;
                int put = hit ? 1000 + place(row, word, 4 * wide, cases[n].span) : 0;

                EXPECT(t.words[y][x] == (!hit                 ? old
                                         : cases[n].kind == 0 ? put
                                         : cases[n].kind == 1 ? old + put
                                         : old > put          ? old
                                                              : put));
            }
        }
    }
}

static void rows_are_no_longer_than_the_span(void)
{
    static const cuuint32_t box[] = {32, 16}, steps[] = {1, 1};
    static CUtensorMap map;
    static struct tensor t;

    prepare(&t, STORE);
    EXPECT(encode(&map, t.memory, box, steps, CU_TENSOR_MAP_SWIZZLE_64B,
                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_ERROR_INVALID_VALUE);
}

/* Boxes begin at a multiple of 16 bytes of a row, even where all of the box is beyond the tensor;
 * those that are stored, not before it in any dimension. */
static const struct misplaced {
    const char *kernel, *instruction;
    int x, y;
} misplaced[] = {
    {"load", STORE, 5, 3},  {"load", STORE, -3, -2}, {"load", STORE, 101, 100},
    {"put", STORE, 30, 15}, {"put", STORE, -4, -2},  {"put", STORE, -4, 2},
    {"put", STORE, 4, -2},  {"put", ADD, 30, 15},    {"put", ADD, -4, 2},
    {"put", MAX, 4, -2},
};

/* Ends the context, so each has a process, before this one has initialised anything. */
static void misplaced_boxes_are_refused(void)
{
    for (size_t n = 0; n < sizeof(misplaced) / sizeof(misplaced[0]); n++) {
        const struct misplaced *c = &misplaced[n];
        static const cuuint32_t box[] = {8, 4}, steps[] = {1, 1};
        static CUtensorMap map;
        static struct tensor t;
        int status = 0;
        pid_t child = fork();

        if (child == 0) {
            check_context();
            if (!is_supported())
                exit(0);
            prepare(&t, c->instruction);
            CHECK(encode(&map, t.memory, box, steps, CU_TENSOR_MAP_SWIZZLE_NONE,
                         CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE));
            EXPECT(try(&t, c->kernel, &map, c->x, c->y, 128) == CUDA_ERROR_ILLEGAL_INSTRUCTION);
            exit(0);
        }
        EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
}

int main(void)
{
    misplaced_boxes_are_refused();
    check_context();
    if (!is_supported())
        return SKIPPED;
    narrow_rows_are_where_an_h200_puts_them();
    boxes_are_loaded();
    what_is_beyond_may_be_nan();
    boxes_are_stored_and_reduced();
    rows_are_no_longer_than_the_span();
    printf("tensor_copies: all right\n");
    return 0;
}
