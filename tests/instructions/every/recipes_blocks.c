/* SPDX-License-Identifier: MIT */
/* Barriers of blocks, fences, what only takes time, branches, and warps that reduce. */
#include <string.h>

#include "tests/instructions/every/recipes.h"
#include "tests/instructions/every/reference.h"

static uint64_t later_half_other(const struct form *f, unsigned t, const uint64_t *in)
{
    return t < 32 ? expect_own(f, t, in) : expect_other(f, t, in);
}

/* Threads whose inputs are odd. */
static uint64_t count_of_odd(const struct form *f, unsigned t, const uint64_t *in)
{
    uint64_t count = 0;

    (void)f;
    (void)t;
    for (unsigned n = 0; n < THREADS; n++)
        count += in[n] & 1;
    return count;
}

/* Of predicates that are false in thread 5 alone, and true in it alone, negated. */
static uint64_t both_rounds(const struct form *f, unsigned t, const uint64_t *in)
{
    (void)t;
    (void)in;
    return has(f, "and") ? 0 * 2 + 0 : 1 * 2 + 1;
}

static uint64_t reduced(const struct form *f, unsigned t, const uint64_t *in)
{
    unsigned first = t / 32 * 32;
    bool is_signed = f->types[0].kind == 's';
    wide r = number(in[first], 32, is_signed);

    for (unsigned n = first + 1; n < first + 32; n++) {
        wide v = number(in[n], 32, is_signed);

        r = has(f, "add")   ? r + v
            : has(f, "min") ? (v < r ? v : r)
            : has(f, "max") ? (v > r ? v : r)
            : has(f, "and") ? r & v
            : has(f, "or")  ? r | v
                            : r ^ v;
    }
    return (uint32_t)r;
}

#define EXCHANGE "st.shared.u32 [a], v;\n$I\nld.shared.u32 v, [b];\ncvt.u64.u32 m, v;\n"
/* With a barrier of the block's own, because the form promises nothing of the kind. */
#define EXCHANGE_AND_BARRIER                                                                       \
    "st.shared.u32 [a], v;\n$I\nbar.sync 0;\nld.shared.u32 v, [b];\ncvt.u64.u32 m, v;\n"
/* Warp 0 arrives and goes on, warp 1 waits for it. */
#define ARRIVAL                                                                                    \
    "mov.u32 r1, 64;\nst.shared.u32 [a], v;\nsetp.lt.u32 p1, t, 32;\n@!p1 bra later;\n$I\n"        \
    "cvt.u64.u32 m, v;\nbra end;\nlater: bar.sync 0, 64;\nld.shared.u32 v, [b];\n"                 \
    "cvt.u64.u32 m, v;\nend:\n"
#define TWICE                                                                                      \
    "setp.ne.u32 p1, t, 5;\n$I\nselp.u32 r2, 2, 0, p2;\nsetp.eq.u32 p1, t, 5;\nbar.sync 0;\n$I\n"  \
    "selp.u32 r3, 1, 0, p2;\nor.b32 r2, r2, r3;\ncvt.u64.u32 m, r2;\n"
#define CLUSTER(instructions)                                                                      \
    "st.shared.u32 [a], v;\n" instructions "bar.sync 0;\nld.shared.u32 v, [b];\ncvt.u64.u32 m, "   \
    "v;\n"

const struct recipe recipes_of_blocks[] = {
    {"bar*.sync", "0", "0", EXCHANGE, expect_other},
    {"bar*.sync", "%r1, 64", "r1, 64", "mov.u32 r1, 3;\n" EXCHANGE, expect_other},
    {"barrier*.sync.aligned", "1, %r1", "1, r1", "mov.u32 r1, 64;\n" EXCHANGE, expect_other},
    {"bar*.arrive", "0, %r1", "0, r1", ARRIVAL, later_half_other},
    {"bar*.red.popc.u32", "%r1, 0, %p1", "r1, 0, p1",
     "and.b32 r2, v, 1;\nsetp.eq.u32 p1, r2, 1;\n$I\ncvt.u64.u32 m, r1;\n", count_of_odd},
    {"bar*.red.*.pred", NULL, "p2, 0, 64, !p1", TWICE, both_rounds},
    {"barrier.cluster.arrive*", "", "", CLUSTER("$I\nbarrier.cluster.wait;\n"), expect_other},
    {"barrier.cluster.wait*", "", "", CLUSTER("barrier.cluster.arrive;\n$I\n"), expect_other},
    {"fence.proxy.tensormap*", "[%d1], 128", "[scratch], 128", EXCHANGE_AND_BARRIER, expect_other},
    {"fence*", "", "", EXCHANGE_AND_BARRIER, expect_other},
    {"membar*", "", "", EXCHANGE_AND_BARRIER, expect_other},
    {"griddepcontrol*", "", "", EXCHANGE_AND_BARRIER, expect_other},
    {"pmevent*", "7", "7", EXCHANGE_AND_BARRIER, expect_other},
    {"nanosleep.u32", NULL, "100", EXCHANGE_AND_BARRIER, expect_other},
    {"redux.sync.*", "%r1, %r2, -1", "r1, v, -1", "$I\ncvt.u64.u32 m, r1;\n", reduced},
    {"activemask.b32", NULL, "r1",
     "$I\nmov.u32 r2, %lanemask_eq;\nand.b32 r1, r1, r2;\nsetp.ne.u32 p1, r1, 0;\n"
     "selp.u64 m, 1, 0, p1;\n",
     expect_one},
    {"bra.uni", "L", "L", "$I\nmov.u64 m, 0;\nbra.uni end;\nL: mov.u64 m, 1;\nend:\n", expect_one},
    {"brx.idx.uni", NULL, "r1, T",
     "T: .branchtargets A, B;\nmov.u32 r1, 1;\n$I\nA: mov.u64 m, 0;\nbra.uni end;\n"
     "B: mov.u64 m, 1;\nend:\n",
     expect_one},
    {"call.uni", "f", "nothing", "mov.u64 m, 1;\n$I\n", expect_one},
    {"ret.uni", "", "", "mov.u64 m, 1;\nst.global.u64 [o], m;\n$I\nmov.u64 m, 0;\n", expect_one},
    {0},
};
