/* SPDX-License-Identifier: MIT */
/* Copies on the side, with what tells that they are done, and matrices between memory and lanes. */
#include <string.h>

#include "tests/instructions/every/recipes.h"
#include "tests/instructions/every/reference.h"

/* Every thread's 16 bytes of shared memory, at the address r1; those of thread 63 - t at r2. */
#define PLACES                                                                                     \
    "mov.u32 r1, box;\nsub.u32 r2, 63, t;\nmad.lo.u32 r2, r2, 16, r1;\nmad.lo.u32 r1, t, 16, "     \
    "r1;\n"
#define POLICY "createpolicy.fractional.L2::evict_first.b64 d2, 1.0;\n"
/* Where 16 bytes can be read: the scratch, with the word in it. */
#define SOURCE                                                                                     \
    "st.global.u32 [scratch], v;\nst.global.u32 [scratch+8], v;\nmembar.gl;\nbar.sync 0;\n"
#define READ        "ld.shared.u32 v, [r2];\ncvt.u64.u32 m, v;\n"
#define WAIT        "wait: mbarrier.try_wait.parity.shared.b64 done, [bar], 0;\n@!done bra wait;\n"
#define INIT(count) "@first mbarrier.init.shared.b64 [bar], " count ";\nbar.sync 0;\n"
/* Each thread's 16 bytes, expected by it. */
#define BULK(instruction)                                                                          \
    PLACES SOURCE INIT(                                                                            \
        "64") "mov.u32 r3, 16;\nfence.proxy.async;\n"                                              \
              "mbarrier.arrive.expect_tx.shared.b64 state, [bar], 16;\n" instruction WAIT READ
/* Its own address and the barrier's in the cluster. */
#define MAPPED "mapa.shared::cluster.u32 r1, r1, 0;\nmapa.shared::cluster.u32 r7, bar, 0;\n"
/* One thread's word in thread 0's barrier, 4 or 16 bytes of it. */
#define STORE(bytes, instruction)                                                                  \
    PLACES INIT("64") "mbarrier.arrive.expect_tx.shared.b64 state, [bar], " bytes                  \
                      ";\n" MAPPED instruction WAIT READ

/* The 16 bytes at d1 become zeros. */
#define ZEROED(prepared)                                                                           \
    PLACES "cvt.u64.u32 d1, r1;\nmov.u64 d2, 16;\nst.shared.u32 [r1], v;\n"                        \
           "st.shared.u32 [r1+12], v;\nbar.sync 0;\n" prepared "$I\nfence.proxy.async;\n"          \
           "bar.sync 0;\nld.shared.u32 r3, [r2];\nld.shared.u32 r4, [r2+12];\n"                    \
           "or.b32 r3, r3, r4;\ncvt.u64.u32 m, r3;\n"

static uint64_t kept_or_combined(const struct form *f, unsigned t, const uint64_t *in)
{
    uint32_t v = (uint32_t)in[THREADS - 1 - t], old = 7;

    (void)t;
    return has(f, "add")   ? (uint32_t)(old + v)
           : has(f, "inc") ? (old >= v ? 0 : old + 1)
           : has(f, "dec") ? (old > v ? v : old - 1)
           : has(f, "min") ? (old < v ? old : v)
                           : (old > v ? old : v);
}

static uint64_t zero(const struct form *f, unsigned t, const uint64_t *in)
{
    (void)f;
    (void)t;
    (void)in;
    return 0;
}

/* Lane l of a warp has two neighbours of a row of each matrix; or of a column, turned. */
static uint64_t loaded(const struct form *f, unsigned t, const uint64_t *in)
{
    unsigned lane = t % 32, count = has(f, "x4") ? 4 : 1;
    uint64_t sum = 0;

    (void)in;
    for (unsigned matrix = 0; matrix < count; matrix++) {
        for (unsigned e = 0; e < 2; e++) {
            unsigned row = has(f, "trans") ? lane % 4 * 2 + e : lane / 4;
            unsigned column = has(f, "trans") ? lane / 4 : lane % 4 * 2 + e;

            sum += (uint64_t)(matrix * 64 + row * 8 + column + 1) << 16 * e << matrix;
        }
    }
    return sum;
}

/* Lane t reads elements 2 t and 2 t + 1 of what two matrices became in memory; of the first. */
static uint64_t stored(const struct form *f, unsigned t, const uint64_t *in)
{
    uint64_t both = 0;

    (void)in;
    for (unsigned e = 0; e < 2; e++) {
        unsigned at = t % 32 * 2 + e, row = at / 8, column = at % 8;
        unsigned lane = has(f, "trans") ? column * 4 + row / 2 : row * 4 + column / 2;
        unsigned half = has(f, "trans") ? row % 2 : column % 2;

        both |= (uint64_t)(lane * 2 + half + 1) << 16 * e;
    }
    return both;
}

/* Element n of the box is n + 1; r1 the address of the row that the lane names. */
#define MATRICES                                                                                   \
    "mov.u32 r5, 0;\nfill: mad.lo.u32 r1, r5, 64, t;\nadd.u32 r2, r1, 1;\nmov.u32 r3, box;\n"      \
    "mad.lo.u32 r3, r1, 2, r3;\ncvt.u16.u32 h1, r2;\nst.shared.b16 [r3], h1;\n"                    \
    "add.u32 r5, r5, 1;\nsetp.lt.u32 p1, r5, 4;\n@p1 bra fill;\nbar.sync 0;\n"                     \
    "and.b32 r1, t, 31;\nmov.u32 r3, box;\nmad.lo.u32 r1, r1, 16, r3;\ncvt.u64.u32 d1, r1;\n"
#define WEIGHED                                                                                    \
    "cvt.u64.u32 m, r5;\ncvt.u64.u32 d2, r6;\nshl.b64 d2, d2, 1;\nadd.u64 m, m, d2;\n"             \
    "cvt.u64.u32 d2, r7;\nshl.b64 d2, d2, 2;\nadd.u64 m, m, d2;\ncvt.u64.u32 d2, r8;\n"            \
    "shl.b64 d2, d2, 3;\nadd.u64 m, m, d2;\n"

const struct recipe recipes_of_copies[] = {
    {"cp.async.c[ag].*", "[%r1], [%d1], 16", "[r1], [scratch], 16",
     PLACES SOURCE "$I\ncp.async.wait_all;\nbar.sync 0;\n" READ, expect_other},
    {"cp.async.ca.*", "[%r1], [%d1], 8, %r2", "[r1], [scratch], 8, r3",
     PLACES SOURCE "mov.u32 r3, 4;\n$I\ncp.async.wait_all;\nbar.sync 0;\n" READ, expect_other},
    {"cp.async.ca.*", "[%r1], [%d1], 4, %p1", "[r1], [scratch], 4, p1",
     PLACES SOURCE "setp.ne.u32 p1, 0, 0;\n$I\ncp.async.wait_all;\nbar.sync 0;\n" READ,
     expect_other},
    {"cp.async.cg.*", "[%r1], [%d1], 16, %d2", "[r1], [scratch], 16, d2",
     PLACES SOURCE POLICY "$I\ncp.async.wait_all;\nbar.sync 0;\n" READ, expect_other},
    {"cp.async.wait_all", "", "",
     PLACES SOURCE "cp.async.ca.shared.global [r1], [scratch], 4;\n$I\nbar.sync 0;\n" READ,
     expect_other},
    {"cp.async.commit_group", "", "",
     PLACES SOURCE "cp.async.ca.shared.global [r1], [scratch], 4;\n$I\ncp.async.wait_group 0;\n"
                   "bar.sync 0;\n" READ,
     expect_other},
    {"cp.async.wait_group", "3", "0",
     PLACES SOURCE "cp.async.ca.shared.global [r1], [scratch], 4;\ncp.async.commit_group;\n$I\n"
                   "bar.sync 0;\n" READ,
     expect_other},
    {"cp.async.mbarrier.arrive.noinc*", NULL, "[bard]",
     PLACES SOURCE INIT("64") "cp.async.ca.shared.global [r1], [scratch], 4;\n$I\n" WAIT READ,
     expect_other},
    {"cp.async.mbarrier.arrive*", NULL, "[bard]",
     PLACES SOURCE INIT("64") "cp.async.ca.shared.global [r1], [scratch], 4;\n$I\n"
                              "mbarrier.arrive.shared.b64 state, [bar];\n" WAIT READ,
     expect_other},
    {"cp.async.bulk.shared::*.global.mbarrier::complete_tx::bytes", "[%r1], [%d1], %r2, [%r3]",
     "[r1], [scratch], r3, [bar]", BULK("$I\n"), expect_other},
    {"cp.async.bulk.shared::*.L2::cache_hint", "[%r1], [%d1], %r2, [%r3], %d2",
     "[r1], [scratch], r3, [bar], d2", BULK(POLICY "$I\n"), expect_other},
    {"cp.async.bulk.shared::cluster.shared::cta.*", "[%r1], [%r4], %r2, [%r3]",
     "[r1], [r4], r3, [bar]",
     PLACES INIT("64") "mov.u32 r3, 16;\nadd.u32 r4, r1, 2048;\nst.shared.u32 [r4], v;\n"
                       "fence.proxy.async;\nmbarrier.arrive.expect_tx.shared.b64 state, [bar], "
                       "16;\n$I\n" WAIT READ,
     expect_other},
    {"cp.async.bulk.global.shared::cta.bulk_group", NULL, "[scratch], [r1], 16",
     PLACES "st.shared.u32 [r1], v;\nfence.proxy.async;\n$I\ncp.async.bulk.commit_group;\n"
            "cp.async.bulk.wait_group 0;\nfence.proxy.async;\nld.global.u32 v, [scratch];\n"
            "cvt.u64.u32 m, v;\n",
     expect_own},
    {"cp.async.bulk.commit_group", "", "",
     PLACES "st.shared.u32 [r1], v;\nfence.proxy.async;\n"
            "cp.async.bulk.global.shared::cta.bulk_group [scratch], [r1], 16;\n$I\n"
            "cp.async.bulk.wait_group 0;\nfence.proxy.async;\nld.global.u32 v, [scratch];\n"
            "cvt.u64.u32 m, v;\n",
     expect_own},
    {"cp.async.bulk.wait_group*", "1", "0",
     PLACES "st.shared.u32 [r1], v;\nfence.proxy.async;\n"
            "cp.async.bulk.global.shared::cta.bulk_group [scratch], [r1], 16;\n"
            "cp.async.bulk.commit_group;\n$I\nst.shared.u32 [r1], 0;\n"
            "cp.async.bulk.wait_group 0;\nfence.proxy.async;\nld.global.u32 v, [scratch];\n"
            "cvt.u64.u32 m, v;\n",
     expect_own},
    {"cp.async.bulk.prefetch*", NULL, "[scratch], 128", "$I\ncvt.u64.u32 m, v;\n", expect_own},
    {"st.async.weak.*", NULL, "[r1], v, [r7]", STORE("4", "$I\n"), expect_other},
    {"st.async.*.v2.b64", NULL, "[r1], {d1, d2}, [r7]",
     STORE("16", "cvt.u64.u32 d1, v;\nmov.u64 d2, 0;\n$I\n"), expect_other},
    {"red.async.*", NULL, "[r1], v, [r7]",
     PLACES INIT("64") "st.shared.u32 [r1], 7;\nbar.sync 0;\n"
                       "mbarrier.arrive.expect_tx.shared.b64 state, [bar], 4;\n" MAPPED
                       "$I\n" WAIT READ,
     kept_or_combined},
    {"st.bulk*shared*", NULL, "[d1], d2, 0", ZEROED(""), zero},
    {"st.bulk*", NULL, "[d1], d2, 0", ZEROED("cvta.shared.u64 d1, d1;\n"), zero},
    {"ldmatrix.*.x1*shared*", NULL, "{r5}, [d1]",
     MATRICES "$I\nmov.u32 r6, 0;\nmov.u32 r7, 0;\nmov.u32 r8, 0;\n" WEIGHED, loaded},
    {"ldmatrix.*.x1*", NULL, "{r5}, [d1]",
     MATRICES
     "cvta.shared.u64 d1, d1;\n$I\nmov.u32 r6, 0;\nmov.u32 r7, 0;\nmov.u32 r8, 0;\n" WEIGHED,
     loaded},
    {"ldmatrix.*.x4*", NULL, "{r5, r6, r7, r8}, [r1]", MATRICES "$I\n" WEIGHED, loaded},
    {"movmatrix.*", NULL, "r5, r6",
     "and.b32 r1, t, 31;\nmul.lo.u32 r1, r1, 2;\nadd.u32 r6, r1, 2;\nshl.b32 r6, r6, 16;\n"
     "add.u32 r1, r1, 1;\nor.b32 r6, r6, r1;\n$I\ncvt.u64.u32 m, r5;\n",
     loaded},
    {"stmatrix.*.x2*", NULL, "[r1], {r5, r6}",
     "and.b32 r7, t, 31;\nmov.u32 r3, box;\nshr.u32 r4, t, 5;\nmad.lo.u32 r3, r4, 2048, r3;\n"
     "mad.lo.u32 r1, r7, 16, r3;\nshl.b32 r5, r7, 1;\nadd.u32 r6, r5, 2;\nshl.b32 r6, r6, 16;\n"
     "add.u32 r5, r5, 1;\nor.b32 r5, r5, r6;\nmov.u32 r6, 0;\n$I\nbar.sync 0;\n"
     "mad.lo.u32 r1, r7, 4, r3;\nld.shared.u32 r5, [r1];\ncvt.u64.u32 m, r5;\n",
     stored},
    {0},
};
