/* SPDX-License-Identifier: MIT */
/* Addresses of spaces, and what is only said about them. */
#include <string.h>

#include "tests/instructions/every/recipes.h"

static uint64_t two(const struct form *f, unsigned t, const uint64_t *in)
{
    (void)f;
    (void)t;
    (void)in;
    return 2;
}

static uint64_t zero(const struct form *f, unsigned t, const uint64_t *in)
{
    (void)f;
    (void)t;
    (void)in;
    return 0;
}

/* d1 is an address in the space; what is there is read through it and through the generic one. */
#define SAME(space, address, prepared)                                                             \
    address prepared "$I\nld." space ".u32 r1, [d1];\nld.u32 r2, [d2];\nsetp.eq.u32 p1, r1, r2;\n" \
                     "selp.u64 m, 1, 0, p1;\n"
#define BACK(space, address)                                                                       \
    address "cvta." space ".u64 d2, d1;\n$I\nsetp.eq.u64 p1, d3, d1;\nselp.u64 m, 1, 0, p1;\n"
/* Twice whether the address is there, and whether another one is. */
#define INSIDE(space, address, other)                                                              \
    address "cvta." space ".u64 d2, d1;\n$I\nselp.u64 m, 2, 0, p1;\nmov.u64 d2, " other            \
            ";\nisspacep." space " p1, d2;\nselp.u64 d3, 1, 0, p1;\nadd.u64 m, m, d3;\n"
#define GLOBAL "mov.u64 d1, table;\n"
#define SHARED "mov.u64 d1, box;\nst.shared.u32 [box], 77;\nbar.sync 0;\n"
#define LOCAL  "mov.u64 d1, mine;\nst.local.u32 [mine], v;\n"
#define CONST  "mov.u64 d1, fixed;\n"
#define PARAM  "mov.u64 d1, po;\n"

const struct recipe recipes_of_addresses[] = {
    {"cvta.global.u64", NULL, "d2, d1", SAME("global", GLOBAL, ""), expect_one},
    {"cvta.shared.u64", NULL, "d2, d1", SAME("shared", SHARED, ""), expect_one},
    {"cvta.shared::cta.u64", NULL, "d2, d1", SAME("shared::cta", SHARED, ""), expect_one},
    {"cvta.shared::cluster.u64", NULL, "d2, d1", SAME("shared::cluster", SHARED, ""), expect_one},
    {"cvta.local.u64", NULL, "d2, d1", SAME("local", LOCAL, ""), expect_one},
    {"cvta.const.u64", NULL, "d2, d1", SAME("const", CONST, ""), expect_one},
    {"cvta.param.u64", NULL, "d2, d1", SAME("param", PARAM, ""), expect_one},
    {"cvta.to.global.u64", NULL, "d3, d2", BACK("global", GLOBAL), expect_one},
    {"cvta.to.shared*.u64", NULL, "d3, d2", BACK("shared", SHARED), expect_one},
    {"cvta.to.local.u64", NULL, "d3, d2", BACK("local", LOCAL), expect_one},
    {"cvta.to.const.u64", NULL, "d3, d2", BACK("const", CONST), expect_one},
    {"cvta.to.param.u64", NULL, "d3, d2", BACK("param", PARAM), expect_one},
    {"isspacep.global", NULL, "p1, d2", INSIDE("global", GLOBAL, "bard"), two},
    {"isspacep.shared*", NULL, "p1, d2", INSIDE("shared", SHARED, "table"), two},
    {"isspacep.local", NULL, "p1, d2", INSIDE("local", LOCAL, "table"), two},
    {"isspacep.const", NULL, "p1, d2", INSIDE("const", CONST, "table"), two},
    {"isspacep.param*", NULL, "p1, d2", INSIDE("param", PARAM, "table"), two},
    {"mapa.shared::cluster.u32", NULL, "r1, r2, 0",
     "st.shared.u32 [a], v;\nmov.u32 r2, b;\nbar.sync 0;\n$I\nld.shared::cluster.u32 v, [r1];\n"
     "cvt.u64.u32 m, v;\n",
     expect_other},
    {"mapa.shared::cluster.u64", NULL, "d1, d2, 0",
     "st.shared.u32 [a], v;\ncvt.u64.u32 d2, b;\nbar.sync 0;\n$I\nld.shared::cluster.u32 v, [d1];\n"
     "cvt.u64.u32 m, v;\n",
     expect_other},
    {"mapa.u64", NULL, "d1, d2, 0",
     "st.shared.u32 [a], v;\ncvt.u64.u32 d2, b;\ncvta.shared.u64 d2, d2;\nbar.sync 0;\n$I\n"
     "ld.u32 v, [d1];\ncvt.u64.u32 m, v;\n",
     expect_other},
    {"getctarank.shared::cluster.u32", NULL, "r1, a", "$I\ncvt.u64.u32 m, r1;\n", zero},
    {"getctarank.shared::cluster.u64", NULL, "r1, d1",
     "cvt.u64.u32 d1, a;\n$I\ncvt.u64.u32 m, r1;\n", zero},
    {"getctarank.u64", NULL, "r1, d1",
     "cvt.u64.u32 d1, a;\ncvta.shared.u64 d1, d1;\n$I\ncvt.u64.u32 m, r1;\n", zero},
    {"prefetch.local*", NULL, "[d1]", LOCAL "$I\nld.local.u32 v, [mine];\ncvt.u64.u32 m, v;\n",
     expect_own},
    {"prefetch*", NULL, "[i]", "$I\nld.global.u32 v, [i];\ncvt.u64.u32 m, v;\n", expect_own},
    {"applypriority*", NULL, "[scratch], 128",
     "st.global.u32 [scratch], v;\n$I\nld.global.u32 v, [scratch];\ncvt.u64.u32 m, v;\n",
     expect_own},
    /* What is discarded is written before it is read. */
    {"discard*", NULL, "[scratch], 128",
     "st.global.u32 [scratch], t;\n$I\nst.global.u32 [scratch], v;\nld.global.u32 v, [scratch];\n"
     "cvt.u64.u32 m, v;\n",
     expect_own},
    {"createpolicy.fractional*", NULL, "d1, 0f3F800000",
     "$I\nld.global.L2::cache_hint.b32 v, [i], d1;\ncvt.u64.u32 m, v;\n", expect_own},
    {"createpolicy.range*", NULL, "d1, [scratch], r1, r2",
     "mov.u32 r1, 64;\nmov.u32 r2, 128;\n$I\nld.global.L2::cache_hint.b32 v, [i], d1;\n"
     "cvt.u64.u32 m, v;\n",
     expect_own},
    {"createpolicy.cvt*", NULL, "d1, 0x1000000000000000",
     "$I\nld.global.L2::cache_hint.b32 v, [i], d1;\ncvt.u64.u32 m, v;\n", expect_own},
    {0},
};
