/* SPDX-License-Identifier: MIT */
#include "soft/jit/ops.h"

#include <pthread.h>
#include <stdlib.h>

#include "soft/simt/ops.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define WIDTHS(X, ...) X(16, __VA_ARGS__) X(32, __VA_ARGS__) X(64, __VA_ARGS__)

#define SAME(N, name, rule, what)     {name "_b" #N, rule, N, N, false, what},
#define SIGNED(N, name, rule, what)   {name "_s" #N, rule, N, N, true, what},
#define UNSIGNED(N, name, rule, what) {name "_u" #N, rule, N, N, false, what},
#define ORDER(N, name, less)                                                                       \
    {"setp_" name "_u" #N, JIT_RULE_TEST, 0, N, false, "u" less},                                  \
        {"setp_" name "_s" #N, JIT_RULE_TEST, 0, N, true, "s" less},
#define EXTENSION(S, A, sign)                                                                      \
    {"ext_" S "_" #A "_16", JIT_RULE_CONVERT, 16, A, sign, S},                                     \
        {"ext_" S "_" #A "_32", JIT_RULE_CONVERT, 32, A, sign, S},                                 \
        {"ext_" S "_" #A "_64", JIT_RULE_CONVERT, 64, A, sign, S},
#define FLOATS(name, what)                                                                         \
    {name "_f32", JIT_RULE_FLOAT, 32, 32, false, what},                                            \
        {name "_f64", JIT_RULE_FLOAT, 64, 64, false, what},
#define FLOAT_TEST(name, what)                                                                     \
    {"setp_" name "_f32", JIT_RULE_FLOAT_TEST, 0, 32, false, what},                                \
        {"setp_" name "_f64", JIT_RULE_FLOAT_TEST, 0, 64, false, what},
#define MEMORY(T, R, M, sign)                                                                      \
    {"ld_" T "_" #R, JIT_RULE_LOAD, R, M, sign, NULL},                                             \
        {"ldp_" T "_" #R, JIT_RULE_PARAMETER, R, M, sign, NULL},
#define TO_MEMORY(M, R) {"st_b" #M "_" #R, JIT_RULE_STORE, R, M, false, NULL},
#define ATOM(name, what)                                                                           \
    {"atom_" name "32", JIT_RULE_ATOM, 32, 32, false, what},                                       \
        {"atom_" name "64", JIT_RULE_ATOM, 64, 64, false, what},
#define SPECIAL(name) {"sreg_" name, JIT_RULE_SPECIAL, 32, 0, false, name},

/* clang-format off */
static const struct jit_op table[] = {
    WIDTHS(SAME, "mov", JIT_RULE_MOVE, NULL)
    WIDTHS(SAME, "add", JIT_RULE_ADD, "add") WIDTHS(SAME, "sub", JIT_RULE_SUB, "sub")
    WIDTHS(SAME, "mul_lo", JIT_RULE_MUL, "mul") WIDTHS(SAME, "mad_lo", JIT_RULE_MAD, "mad")
    WIDTHS(SIGNED, "min", JIT_RULE_FLAT, "slt") WIDTHS(SIGNED, "max", JIT_RULE_FLAT, "sgt")
    WIDTHS(UNSIGNED, "min", JIT_RULE_FLAT, "ult") WIDTHS(UNSIGNED, "max", JIT_RULE_FLAT, "ugt")
    WIDTHS(SIGNED, "neg", JIT_RULE_FLAT, "neg") WIDTHS(SIGNED, "abs", JIT_RULE_FLAT, "abs")
    WIDTHS(SAME, "or", JIT_RULE_FLAT, "or") WIDTHS(SAME, "xor", JIT_RULE_FLAT, "xor")
    WIDTHS(SAME, "not", JIT_RULE_FLAT, "not") WIDTHS(SAME, "and", JIT_RULE_AND, "and")
    WIDTHS(SAME, "shl", JIT_RULE_SHL, "shl")
    WIDTHS(UNSIGNED, "shr", JIT_RULE_SHR, "lshr") WIDTHS(SIGNED, "shr", JIT_RULE_SHR, "ashr")
    {"mul_hi_u32", JIT_RULE_FLAT, 32, 32, false, "high"},
    {"mul_hi_s32", JIT_RULE_FLAT, 32, 32, true, "high"},
    {"pack_64_32", JIT_RULE_FLAT, 64, 32, false, "pack"},
    {"mul_wide_u16", JIT_RULE_MUL_WIDE, 32, 16, false, "mul"},
    {"mul_wide_s16", JIT_RULE_MUL_WIDE, 32, 16, true, "mul"},
    {"mul_wide_u32", JIT_RULE_MUL_WIDE, 64, 32, false, "mul"},
    {"mul_wide_s32", JIT_RULE_MUL_WIDE, 64, 32, true, "mul"},
    {"mad_wide_u16", JIT_RULE_MAD_WIDE, 32, 16, false, "mad"},
    {"mad_wide_s16", JIT_RULE_MAD_WIDE, 32, 16, true, "mad"},
    {"mad_wide_u32", JIT_RULE_MAD_WIDE, 64, 32, false, "mad"},
    {"mad_wide_s32", JIT_RULE_MAD_WIDE, 64, 32, true, "mad"},
    EXTENSION("u8", 16, false) EXTENSION("s8", 16, true)
    EXTENSION("u16", 16, false) EXTENSION("s16", 16, true)
    EXTENSION("u8", 32, false) EXTENSION("s8", 32, true)
    EXTENSION("u16", 32, false) EXTENSION("s16", 32, true)
    EXTENSION("u8", 64, false) EXTENSION("s8", 64, true)
    EXTENSION("u16", 64, false) EXTENSION("s16", 64, true)
    {"ext_u32_32_64", JIT_RULE_EXTEND, 64, 32, false, "zext"},
    {"ext_s32_32_64", JIT_RULE_EXTEND, 64, 32, true, "sext"},
    {"ext_u32_64_32", JIT_RULE_CUT, 32, 64, false, "trunc"},
    {"ext_s32_64_32", JIT_RULE_CUT, 32, 64, false, "trunc"},
    FLOATS("add", "fadd") FLOATS("sub", "fsub") FLOATS("mul", "fmul") FLOATS("div", "fdiv")
    FLOATS("fma", "fma") FLOATS("sqrt", "sqrt") FLOATS("neg", "fneg") FLOATS("abs", "fabs")
    {"rsqrt_f32", JIT_RULE_FLOAT, 32, 32, false, "rsqrt"},
    {"rcp_f32", JIT_RULE_FLOAT, 32, 32, false, "rcp"},
    {"rcp_f64", JIT_RULE_FLOAT, 64, 64, false, "rcp"},
    {"min_f32", JIT_RULE_FLOAT, 32, 32, false, "min"},
    {"max_f32", JIT_RULE_FLOAT, 32, 32, false, "max"},
    {"cvt_f32_s32", JIT_RULE_FLOAT, 32, 32, true, "itof"},
    {"cvt_f32_u32", JIT_RULE_FLOAT, 32, 32, false, "itof"},
    {"cvt_s32_f32", JIT_RULE_FLOAT, 32, 32, true, "ftoi"},
    {"cvt_u32_f32", JIT_RULE_FLOAT, 32, 32, false, "ftoi"},
    WIDTHS(SAME, "selp", JIT_RULE_SELECT, NULL)
    WIDTHS(ORDER, "lt", "lt") WIDTHS(ORDER, "le", "le")
    WIDTHS(ORDER, "gt", "gt") WIDTHS(ORDER, "ge", "ge")
    WIDTHS(SAME, "setp_eq", JIT_RULE_TEST, "eq") WIDTHS(SAME, "setp_ne", JIT_RULE_TEST, "ne")
    FLOAT_TEST("eq", "oeq") FLOAT_TEST("ne", "one") FLOAT_TEST("lt", "olt")
    FLOAT_TEST("le", "ole") FLOAT_TEST("gt", "ogt") FLOAT_TEST("ge", "oge")
    FLOAT_TEST("equ", "ueq") FLOAT_TEST("neu", "une") FLOAT_TEST("ltu", "ult")
    FLOAT_TEST("leu", "ule") FLOAT_TEST("gtu", "ugt") FLOAT_TEST("geu", "uge")
    FLOAT_TEST("num", "ord") FLOAT_TEST("nan", "uno")
    {"mov_pred", JIT_RULE_LOGIC, 0, 0, false, "mov"},
    {"not_pred", JIT_RULE_LOGIC, 0, 0, false, "not"},
    {"and_pred", JIT_RULE_LOGIC, 0, 0, false, "and"},
    {"or_pred", JIT_RULE_LOGIC, 0, 0, false, "or"},
    {"xor_pred", JIT_RULE_LOGIC, 0, 0, false, "xor"},
    MEMORY("u8", 16, 8, false) MEMORY("u8", 32, 8, false) MEMORY("u8", 64, 8, false)
    MEMORY("s8", 16, 8, true) MEMORY("s8", 32, 8, true) MEMORY("s8", 64, 8, true)
    MEMORY("u16", 16, 16, false) MEMORY("u16", 32, 16, false) MEMORY("u16", 64, 16, false)
    MEMORY("s16", 32, 16, true) MEMORY("s16", 64, 16, true)
    MEMORY("u32", 32, 32, false) MEMORY("u32", 64, 32, false) MEMORY("s32", 64, 32, true)
    MEMORY("u64", 64, 64, false)
    TO_MEMORY(8, 16) TO_MEMORY(8, 32) TO_MEMORY(8, 64) TO_MEMORY(16, 16) TO_MEMORY(16, 32)
    TO_MEMORY(16, 64) TO_MEMORY(32, 32) TO_MEMORY(32, 64) TO_MEMORY(64, 64)
    ATOM("add_b", "add") ATOM("and_b", "and") ATOM("or_b", "or") ATOM("xor_b", "xor")
    ATOM("exch_b", "exch") ATOM("min_u", "ult") ATOM("max_u", "ugt") ATOM("min_s", "slt")
    ATOM("max_s", "sgt")
    SPECIAL("tid") SPECIAL("ntid") SPECIAL("ctaid") SPECIAL("nctaid") SPECIAL("laneid")
    SPECIAL("number") SPECIAL("dynamic_shared")
    {"shfl", JIT_RULE_SHUFFLE, 32, 32, false, NULL},
};
/* clang-format on */

struct found {
    vgpu_handler plain;
    const struct jit_op *op;
};

static struct found sorted[COUNT(table)];
static size_t found_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int by_handler(const void *a, const void *b)
{
    uintptr_t first = (uintptr_t)((const struct found *)a)->plain;
    uintptr_t second = (uintptr_t)((const struct found *)b)->plain;

    return (first > second) - (first < second);
}

/* Compilers give one body to functions that do the same, such as mov_b32 of two types: what is then
   found under one address does the same, too. */
static void find_all(void)
{
    for (size_t i = 0; i < COUNT(table); i++) {
        vgpu_handler plain = vgpu_ops_find(table[i].name);

        if (plain != NULL)
            sorted[found_count++] = (struct found){plain, &table[i]};
    }
    qsort(sorted, found_count, sizeof(sorted[0]), by_handler);
}

const struct jit_op *jit_op_of(vgpu_handler plain)
{
    struct found key = {.plain = plain};
    const struct found *f;

    pthread_once(&once, find_all);
    f = bsearch(&key, sorted, found_count, sizeof(sorted[0]), by_handler);
    return f != NULL ? f->op : NULL;
}
