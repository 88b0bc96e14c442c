/* SPDX-License-Identifier: MIT */
/* Atomics, shuffles, votes, matches, special registers, and control flow written by hand. */
#include "soft/tests/harness.h"

#include <math.h>

/* ---- atomics: many threads, results that do not depend on their order ---- */

struct atomic {
    const char *operation; /* after "atom." and the space */
    unsigned bits;
    uint64_t start;
    uint64_t (*operand)(uint64_t thread);
    uint64_t (*step)(uint64_t old, uint64_t operand);
};

static uint64_t number(uint64_t n)
{
    return n * 2654435761u % 1000003;
}

static uint64_t spread(uint64_t n)
{
    return n * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t whole_f32(uint64_t n)
{
    return of_f32((float)(n % 8));
}

static uint64_t whole_f64(uint64_t n)
{
    return of_f64((double)(n % 100));
}

static uint64_t seven(uint64_t n)
{
    (void)n;
    return 7;
}

#define STEP(name, EXPR)                                                                           \
    static uint64_t name(uint64_t a, uint64_t b)                                                   \
    {                                                                                              \
        return (uint64_t)(EXPR);                                                                   \
    }
STEP(add, a + b)
STEP(and_, a &b)
STEP(or_, a | b)
STEP(xor_, a ^ b)
STEP(min_u, a < b ? a : b)
STEP(max_u, a > b ? a : b)
STEP(min_s32, (int32_t)a < (int32_t)b ? a : b)
STEP(max_s64, (int64_t)a > (int64_t)b ? a : b)
STEP(inc, a >= b ? 0 : a + 1)
STEP(dec, a == 0 || a > b ? b : a - 1)
STEP(add_f32, of_f32(as_f32(a) + as_f32(b)))
STEP(add_f64, of_f64(as_f64(a) + as_f64(b)))
static void run_atomic(const struct atomic *t, const char *space, unsigned blocks)
{
    enum { BLOCK = 96 };
    char text[2048];
    struct rig rig;
    uint64_t *operands, *target, want = t->start, mask = UINT64_MAX >> (64 - t->bits);
    bool shared = strcmp(space, ".shared") == 0;

    snprintf(text, sizeof(text),
             HEADER ".shared .align 8 .b64 s;\n"
                    ".visible .entry k(.param .u64 p, .param .u64 q)\n{\n.reg .pred first;\n"
                    ".reg .b64 a, b, m;\n.reg .b32 r, x;\n.reg .b%u v, old;\n"
                    "ld.param.u64 a, [p];\nld.param.u64 b, [q];\n"
                    "mov.u32 r, %%ctaid.x;\nmov.u32 x, %%ntid.x;\n.reg .b32 y;\nmov.u32 y, "
                    "%%tid.x;\nmad.lo.u32 r, r, x, y;\n"
                    "mul.wide.u32 m, r, 8;\nadd.u64 a, a, m;\nld.global.b%u v, [a];\n"
                    "%s atom%s.%s old, [%s], v;\n%s red%s.%s [%s], v;\n%s\nret;\n}\n",
             t->bits, t->bits,
             shared ? "mov.u32 x, %tid.x; setp.eq.u32 first, x, 0; @first ld.global.b64 m, [b];"
                      "@first st.shared.b64 [s], m; bar.sync 0;"
                    : "",
             space, t->operation, shared ? "s" : "b", strstr(t->operation, "exch") ? "//" : "",
             space, t->operation, shared ? "s" : "b",
             shared ? "bar.sync 0; @first ld.shared.b64 m, [s]; @first st.global.b64 [b], m;" : "");
    rig_load(&rig, text);
    operands = rig_allocate(&rig, blocks * BLOCK * sizeof(*operands));
    target = rig_allocate(&rig, sizeof(*target));
    *target = t->start;
    for (unsigned n = 0; n < blocks * BLOCK; n++) {
        operands[n] = t->operand(n) & mask;
        want = t->step(want, operands[n]) & mask;
        want = t->step(want, operands[n]) & mask;
    }
    void *p[2] = {operands, target};
    rig_run(&rig, "k", (struct geometry){blocks, BLOCK, 0}, p);
    if ((*target & mask) != want)
        fail_msg("atom%s.%s: %llx, not %llx", space, t->operation, (unsigned long long)*target,
                 (unsigned long long)want);
    rig_drop(&rig);
}

static void atomic_operations(void **state)
{
    static const struct atomic table[] = {
        {"add.u32", 32, 5, number, add},
        {"add.s32", 32, 5, spread, add},
        {"add.u64", 64, 5, spread, add},
        {"relaxed.gpu.and.b32", 32, UINT32_MAX, spread, and_},
        {"and.b64", 64, UINT64_MAX, spread, and_},
        {"or.b32", 32, 0, number, or_},
        {"xor.b64", 64, 0, spread, xor_},
        {"xor.b32", 32, 0x55, number, xor_},
        {"min.u32", 32, UINT32_MAX, spread, min_u},
        {"min.s32", 32, 100, spread, min_s32},
        {"max.u64", 64, 0, spread, max_u},
        {"max.s64", 64, 0, spread, max_s64},
        {"inc.u32", 32, 3, seven, inc},
        {"dec.u32", 32, 3, seven, dec},
        {"add.f32", 32, 0, whole_f32, add_f32},
        {"add.f64", 64, 0, whole_f64, add_f64},
    };

    (void)state;
    for (size_t n = 0; n < COUNT(table); n++) {
        run_atomic(&table[n], ".global", 7);
        run_atomic(&table[n], "", 3);
        run_atomic(&table[n], ".shared", 1);
    }
}

/* Each thread adds by compare and exchange, and sees every value once through exch. */
static void compare_and_exchange(void **state)
{
    static const char text[] = HEADER
        ".visible .entry add(.param .u64 p)\n{\n.reg .pred again;\n.reg .b64 a;\n"
        ".reg .b32 old, seen, new;\nld.param.u64 a, [p];\nld.global.u32 seen, [a];\n"
        "l: mov.u32 old, seen;\nadd.u32 new, old, 3;\natom.global.cas.b32 seen, [a], old, new;\n"
        "setp.ne.u32 again, seen, old;\n@again bra l;\nret;\n}\n"
        ".visible .entry pass(.param .u64 p)\n{\n.reg .b64 a, m;\n.reg .b32 r, x;\n"
        "ld.param.u64 a, [p];\nmov.u32 r, %ctaid.x;\nmov.u32 x, %ntid.x;\n.reg .b32 y;\n"
        "mov.u32 y, %tid.x;\nmad.lo.u32 r, r, x, y;\nadd.u32 r, r, 1;\natom.global.exch.b32 x, "
        "[a], r;\n"
        "mul.wide.u32 m, r, 4;\nadd.u64 m, a, m;\nst.global.u32 [m], x;\nret;\n}\n";
    enum { N = 5 * 64 };
    struct rig rig;
    uint32_t *p, sum = 0;

    (void)state;
    rig_load(&rig, text);
    p = rig_allocate(&rig, (N + 1) * sizeof(*p));
    rig_run(&rig, "add", (struct geometry){5, 64, 0}, &p);
    assert_int_equal(*p, 3 * N);
    *p = 0;
    rig_run(&rig, "pass", (struct geometry){5, 64, 0}, &p);
    for (int i = 0; i <= N; i++)
        sum += p[i];
    assert_int_equal(sum, N * (N + 1) / 2);
    rig_drop(&rig);
}

static void short_atomics(void **state)
{
    static const char text[] =
        HEADER ".visible .entry k(.param .u64 p)\n{\n.reg .b64 a;\n.reg .b32 r;\n.reg .b16 h;\n"
               "ld.param.u64 a, [p];\nmov.u32 r, 0x40003c00;\n"
               "atom.global.add.noftz.f16x2 r, [a], r;\nmov.b16 h, 0x3f80;\n"
               "red.global.add.noftz.bf16 [a+4], h;\nmov.b16 h, 0x3800;\nred.global.add.noftz.f16 "
               "[a+6], h;\nret;\n}\n";
    struct rig rig;
    uint16_t *p;

    (void)state;
    rig_load(&rig, text);
    p = rig_allocate(&rig, 8);
    rig_run(&rig, "k", (struct geometry){2, 32, 0}, &p);
    assert_int_equal(p[0], 0x5400); /* 64 */
    assert_int_equal(p[1], 0x5800); /* 128 */
    assert_int_equal(p[2], 0x4280); /* 64 in bf16 */
    assert_int_equal(p[3], 0x5000); /* 32 */
    rig_drop(&rig);
}

/* ---- shuffles and votes ---- */

static const char collective[] = HEADER
    ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n.reg .b64 i, o, m, w;\n"
    ".reg .b32 v, d, b, c, r;\n.reg .pred p, q;\nld.param.u64 i, [in];\nld.param.u64 o, [out];\n"
    "mov.u32 r, %%tid.x;\nmul.wide.u32 m, r, 16;\nadd.u64 i, i, m;\nadd.u64 o, o, m;\n"
    "ld.global.u32 v, [i];\nld.global.u32 b, [i+4];\nld.global.u32 c, [i+8];\n"
    "setp.ne.u32 q, c, 0;\nmov.u32 d, 0;\n%s\n"
    "selp.u32 r, 1, 0, p;\nst.global.u32 [o], d;\nst.global.u32 [o+4], r;\nret;\n}\n";

static void gather(const char *body, uint32_t (*in)[4], uint32_t (*out)[4])
{
    char text[2048];
    struct rig rig;
    void *p[2];

    snprintf(text, sizeof(text), collective, body);
    rig_load(&rig, text);
    p[0] = rig_allocate(&rig, 32 * 16);
    p[1] = rig_allocate(&rig, 32 * 16);
    memcpy(p[0], in, 32 * 16);
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, p);
    memcpy(out, p[1], 32 * 16);
    rig_drop(&rig);
}

static void shuffles(void **state)
{
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    uint32_t in[32][4], out[32][4];
    char body[100];

    (void)state;
    for (int mode = 0; mode < 4; mode++) {
        for (int width = 4; width <= 32; width *= 2) {
            for (int l = 0; l < 32; l++) {
                in[l][0] = (uint32_t)random_bits();
                in[l][1] = (uint32_t)(random_bits() % (width + 2));
                in[l][2] = (uint32_t)(32 - width) << 8 | (mode == 0 ? 0 : 31);
            }
            snprintf(body, sizeof(body), "shfl.sync.%s.b32 d|p, v, b, c, -1;", modes[mode]);
            gather(body, in, out);
            for (int l = 0; l < 32; l++) {
                int base = l / width * width, inside = l % width, n = (int)(in[l][1] & 31);
                int from = mode == 0   ? inside - n
                           : mode == 1 ? inside + n
                           : mode == 2 ? (l ^ n) - base
                                       : n % width;
                bool good = mode == 2 ? from < width : from >= 0 && from < width;

                if (!good)
                    from = inside;
                /* Across a segment's start a butterfly still reads; only its end is a bound. */
                assert_int_equal(out[l][0], in[base + from][0]);
                assert_int_equal(out[l][1], good);
            }
        }
    }
}

static void votes_and_matches(void **state)
{
    uint32_t in[32][4], out[32][4], ballot = 0;

    (void)state;
    for (int l = 0; l < 32; l++) {
        in[l][0] = (uint32_t)(random_bits() % 4);
        in[l][1] = 0;
        in[l][2] = random_bits() & 1;
        ballot |= in[l][2] << l;
    }
    gather("vote.sync.ballot.b32 d, q, -1; vote.sync.any.pred p, !q, -1;", in, out);
    for (int l = 0; l < 32; l++) {
        assert_int_equal(out[l][0], ballot);
        assert_int_equal(out[l][1], ballot != UINT32_MAX);
    }
    gather("match.any.sync.b32 d, v, -1; setp.ge.u32 p, r, 0; vote.sync.all.pred p, p, -1;", in,
           out);
    for (int l = 0; l < 32; l++) {
        uint32_t same = 0;

        for (int k = 0; k < 32; k++)
            same |= (uint32_t)(in[k][0] == in[l][0]) << k;
        assert_int_equal(out[l][0], same);
        assert_int_equal(out[l][1], 1);
    }
    gather("cvt.u64.u32 w, b; match.all.sync.b64 d|p, w, -1;", in, out);
    assert_int_equal(out[11][0], UINT32_MAX);
    assert_int_equal(out[11][1], 1);
    gather("match.all.sync.b32 d|p, v, -1; vote.sync.uni.pred p, p, -1;", in, out);
    assert_int_equal(out[11][0], 0);
    assert_int_equal(out[11][1], 1);
    gather("redux.sync.add.u32 d, v, -1; elect.sync b|p, -1;", in, out);
    for (int l = 0; l < 32; l++) {
        uint32_t sum = 0;

        for (int k = 0; k < 32; k++)
            sum += in[k][0];
        assert_int_equal(out[l][0], sum);
        assert_int_equal(out[l][1], l == 0);
    }
    gather("sub.s32 v, v, 2; redux.sync.min.s32 d, v, -1; setp.lt.s32 p, d, 0;", in, out);
    assert_int_equal(out[5][0], (uint32_t)-2);
}

/* Two halves of a converged warp that vote among themselves, with masks of their own. */
static void groups_of_lanes(void **state)
{
    uint32_t in[32][4], out[32][4];

    (void)state;
    for (int l = 0; l < 32; l++) {
        in[l][0] = (uint32_t)l * 3;
        in[l][1] = l < 20 ? 0x000fffff : 0xfff00000;
        in[l][2] = l == 25;
    }
    gather("vote.sync.any.pred p, q, b; redux.sync.add.u32 d, v, b;", in, out);
    for (int l = 0; l < 32; l++) {
        assert_int_equal(out[l][1], l >= 20);
        assert_int_equal(out[l][0], l < 20 ? 3 * 190 : 3 * (496 - 190));
    }
}

static void special_registers(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 out)\n{\n.reg .b64 o, m;\n.reg .b32 r<16>;\n"
        "ld.param.u64 o, [out];\nmov.u32 r0, %ctaid.x;\nmov.u32 r1, %ntid.x;\n"
        "mov.u32 r9, %tid.x;\nmad.lo.u32 r2, r0, r1, r9;\nmul.wide.u32 m, r2, 32;\nadd.u64 o, o, "
        "m;\n"
        "mov.u32 r3, %laneid;\nmov.u32 r4, %warpid;\nmov.u32 r5, %lanemask_lt;\n"
        "mov.u32 r6, %lanemask_ge;\nmov.u32 r7, %nctaid.x;\nmov.u32 r8, %dynamic_smem_size;\n"
        "st.global.v4.u32 [o], {r2, r3, r4, r5};\nst.global.v4.u32 [o+16], {r6, r7, r8, r1};\n"
        "ret;\n}\n";
    struct rig rig;
    uint32_t(*out)[8];

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 3 * 80 * sizeof(*out));
    rig_run(&rig, "k", (struct geometry){3, 80, 100}, &out);
    for (uint32_t n = 0; n < 240; n++) {
        uint32_t thread = n % 80, lane = thread % 32;

        assert_int_equal(out[n][0], n);
        assert_int_equal(out[n][1], lane);
        assert_in_range(out[n][2], 0, 63); /* a place on the device */
        assert_int_equal(out[n][3], (1u << lane) - 1);
        assert_int_equal(out[n][4], UINT32_MAX << lane);
        assert_int_equal(out[n][5], 3);
        assert_int_equal(out[n][6], 100);
        assert_int_equal(out[n][7], 80);
    }
    rig_drop(&rig);
}

/* ---- control flow ---- */

static void tables_of_branches(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 out)\n{\n.reg .b64 o, m;\n.reg .b32 r, v;\n"
        "ld.param.u64 o, [out];\nmov.u32 r, %tid.x;\nmul.wide.u32 m, r, 4;\nadd.u64 o, o, m;\n"
        "rem.u32 v, r, 3;\nts: .branchtargets a, b, c;\nbrx.idx v, ts;\n"
        "a: mov.u32 v, 100;\nbra.uni end;\nb: mov.u32 v, 200;\nbra.uni end;\nc: add.u32 v, r, "
        "300;\n"
        "end: st.global.u32 [o], v;\nret;\n}\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 64 * sizeof(*out));
    rig_run(&rig, "k", (struct geometry){1, 64, 0}, &out);
    for (uint32_t n = 0; n < 64; n++)
        assert_int_equal(out[n], n % 3 == 0 ? 100 : n % 3 == 1 ? 200 : n + 300);
    rig_drop(&rig);
}

/* Arguments in registers, immediate arguments, two results, a call under a guard. */
static void calls_by_hand(void **state)
{
    static const char text[] = HEADER
        ".func (.reg .u32 sum, .reg .u64 product) both(.reg .u32 a, .reg .u32 b)\n"
        "{\nadd.u32 sum, a, b;\nmul.wide.u32 product, a, b;\nret;\n}\n"
        ".visible .entry k(.param .u64 out)\n{\n.reg .b64 o, m, w;\n.reg .b32 r, s;\n.reg .pred "
        "p;\n"
        "ld.param.u64 o, [out];\nmov.u32 r, %tid.x;\nmul.wide.u32 m, r, 16;\nadd.u64 o, o, m;\n"
        "setp.gt.u32 p, r, 10;\nmov.u32 s, 1;\nmov.u64 w, 2;\n@p call (s, w), both, (r, 7);\n"
        "cvt.u64.u32 m, s;\nst.global.v2.u64 [o], {m, w};\nret;\n}\n";
    struct rig rig;
    uint64_t(*out)[2];

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 48 * sizeof(*out));
    rig_run(&rig, "k", (struct geometry){1, 48, 0}, &out);
    for (uint32_t n = 0; n < 48; n++) {
        assert_int_equal(out[n][0], n > 10 ? n + 7 : 1);
        assert_int_equal(out[n][1], n > 10 ? n * 7 : 2);
    }
    rig_drop(&rig);
}

/* Lanes that are at one instruction with different masks do not meet there: half of the warp does
   it by itself first, while the other half waits for all. */
static void masks_are_agreed_on(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 out)\n{\n.reg .b64 o, a;\n.reg .b32 t, m, r;\n"
        ".reg .pred low, mine, done;\nld.param.u64 o, [out];\nmov.u32 t, %tid.x;\n"
        "mul.wide.u32 a, t, 4;\nadd.u64 o, o, a;\nsetp.lt.u32 low, t, 16;\n"
        "selp.b32 m, 0xffff, -1, low;\nsetp.eq.u32 mine, 0, 0;\n"
        "again: vote.sync.ballot.b32 r, mine, m;\nbar.warp.sync m;\nsetp.eq.s32 done, m, -1;\n"
        "@done bra out_;\nmov.b32 m, -1;\nsetp.ne.u32 mine, 0, 0;\nbra again;\n"
        "out_: st.global.u32 [o], r;\nret;\n}\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 32 * sizeof(*out));
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, &out);
    for (uint32_t n = 0; n < 32; n++)
        assert_int_equal(out[n], 0xffff0000);
    rig_drop(&rig);
}

/* Neither the kernel nor the function has a byte of local memory. */
static void calls_without_a_stack(void **state)
{
    static const char text[] =
        HEADER ".global .u32 calls;\n.func count()\n{\nred.global.add.u32 [calls], 1;\nret;\n}\n"
               ".visible .entry k(.param .u64 out)\n{\n.reg .b64 o;\n.reg .b32 r;\n"
               "call count;\ncall count, ();\nbar.sync 0;\nld.param.u64 o, [out];\n"
               "ld.volatile.global.u32 r, [calls];\nst.global.u32 [o], r;\nret;\n}\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, sizeof(*out));
    rig_run(&rig, "k", (struct geometry){1, 40, 0}, &out);
    assert_int_equal(*out, 80);
    rig_drop(&rig);
}

/* Lanes that leave a function at different places and meet again in the caller; a shuffle inside a
   function that lanes reach from two call sites' common depth. */
static void exits_and_rejoining(void **state)
{
    static const char text[] = HEADER
        ".func (.param .b32 r) odd(.param .b32 a)\n{\n.reg .b32 x, y;\n.reg .pred p;\n"
        "ld.param.u32 x, [a];\nand.b32 y, x, 1;\nsetp.eq.u32 p, y, 0;\n@p bra even;\n"
        "st.param.b32 [r], 1;\nret;\neven: setp.gt.u32 p, x, 27;\n@p exit;\nst.param.b32 [r], 0;\n"
        "ret;\n}\n"
        ".visible .entry k(.param .u64 out)\n{\n.reg .b64 o, m;\n.reg .b32 r, v, c;\n.reg .pred "
        "p;\n"
        ".param .b32 in, back;\nld.param.u64 o, [out];\nmov.u32 r, %tid.x;\n"
        "mul.wide.u32 m, r, 4;\nadd.u64 o, o, m;\nst.param.b32 [in], r;\n"
        "call (back), odd, (in);\nld.param.b32 v, [back];\nsetp.ne.u32 p, v, 0;\n"
        "vote.sync.ballot.b32 c, p, -1;\nst.global.u32 [o], c;\nret;\n}\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 32 * sizeof(*out));
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, &out);
    for (uint32_t n = 0; n < 32; n++)
        assert_int_equal(out[n], n == 28 || n == 30 ? 0 : 0xaaaaaaaa);
    rig_drop(&rig);
}

/* Producer and consumer: one half of the block only arrives, the other half waits. */
static void named_barriers(void **state)
{
    static const char text[] = HEADER
        ".shared .b32 box[32];\n"
        ".visible .entry k(.param .u64 out)\n{\n.reg .b64 o, m;\n.reg .b32 r, v, a;\n.reg .pred "
        "p;\n"
        "ld.param.u64 o, [out];\nmov.u32 r, %tid.x;\nsetp.ge.u32 p, r, 32;\nand.b32 v, r, 31;\n"
        "mul.wide.u32 m, v, 4;\nadd.u64 o, o, m;\nmov.u32 a, box;\nmad.lo.u32 a, v, 4, a;\n"
        "@p bra produce;\nbarrier.cta.sync.aligned 3, 64;\nld.shared.u32 v, [a];\n"
        "st.global.u32 [o], v;\nret;\nproduce: mul.lo.u32 v, v, 11;\nst.shared.u32 [a], v;\n"
        "bar.arrive 3, 64;\nret;\n}\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 32 * sizeof(*out));
    rig_run(&rig, "k", (struct geometry){1, 64, 0}, &out);
    for (uint32_t n = 0; n < 32; n++)
        assert_int_equal(out[n], n * 11);
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(atomic_operations),   cmocka_unit_test(compare_and_exchange),
        cmocka_unit_test(short_atomics),       cmocka_unit_test(shuffles),
        cmocka_unit_test(votes_and_matches),   cmocka_unit_test(groups_of_lanes),
        cmocka_unit_test(special_registers),   cmocka_unit_test(tables_of_branches),
        cmocka_unit_test(calls_by_hand),       cmocka_unit_test(calls_without_a_stack),
        cmocka_unit_test(masks_are_agreed_on), cmocka_unit_test(exits_and_rejoining),
        cmocka_unit_test(named_barriers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
