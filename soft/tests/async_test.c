/* SPDX-License-Identifier: MIT */
/* Barriers in memory, copies on the side, and clusters of one block. */
#include "soft/tests/harness.h"

#define START                                                                                      \
    HEADER ".shared .align 16 .b8 box[2048];\n.shared .align 8 .b64 bar[2];\n"                     \
           ".visible .entry k(.param .u64 out, .param .u64 in)\n{\n.reg .b64 o, i, m, state;\n"    \
           ".reg .b32 t, v, a, n, phase;\n.reg .pred p, first, done;\n"                            \
           "ld.param.u64 o, [out];\nld.param.u64 i, [in];\nmov.u32 t, %tid.x;\n"                   \
           "mul.wide.u32 m, t, 4;\nadd.u64 o, o, m;\nsetp.eq.u32 first, t, 0;\n"                   \
           "mov.u32 a, box;\nmad.lo.u32 a, t, 4, a;\n"

/* Warps that fill a box and wait, by the state and by parity, for the others to have filled it. */
static void phases(void **state)
{
    static const char text[] = START
        "mov.u32 n, %ntid.x;\n@first mbarrier.init.shared::cta.b64 [bar], n;\nbar.sync 0;\n"
        "mov.u32 phase, 0;\n"
        "again: add.u32 v, t, phase;\nst.shared.u32 [a], v;\n"
        "mbarrier.arrive.release.cta.shared::cta.b64 state, [bar];\n"
        "wait: mbarrier.test_wait.acquire.cta.shared::cta.b64 done, [bar], state;\n@!done bra "
        "wait;\n"
        "sub.u32 v, n, 1;\nsub.u32 v, v, t;\nmov.u32 a, box;\nmad.lo.u32 a, v, 4, a;\n"
        "ld.shared.u32 v, [a];\nst.global.u32 [o], v;\nmov.u32 a, box;\nmad.lo.u32 a, t, 4, a;\n"
        "mbarrier.arrive.shared::cta.b64 _, [bar];\n"
        "turn: mbarrier.try_wait.parity.shared::cta.b64 done, [bar], 1, 1000;\n@!done bra turn;\n"
        "add.u32 phase, phase, 1;\nsetp.lt.u32 p, phase, 4;\n@p bra again;\nret;\n}\n";
    struct rig rig;
    void *memory[2];

    (void)state;
    rig_load(&rig, text);
    memory[0] = memory[1] = rig_allocate(&rig, 256 * 4);
    rig_run(&rig, "k", (struct geometry){1, 256, 0}, memory);
    for (uint32_t n = 0; n < 256; n++)
        assert_int_equal(((uint32_t *)memory[0])[n], 255 - n + 3);
    rig_drop(&rig);
}

/* One thread asks for bytes; the others see them when the barrier says so. */
static void bulk_copies(void **state)
{
    static const char text[] = START
        "@first mbarrier.init.shared.b64 [bar], 1;\nbar.sync 0;\n@!first bra wait;\n"
        "mbarrier.arrive.expect_tx.shared.b64 state, [bar], 512;\n"
        "mov.u32 v, box;\n"
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [v], [i], 256, [bar];\n"
        "add.u64 i, i, 256;\n"
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [v+256], [i], 256, "
        "[bar];\n"
        "wait: mbarrier.try_wait.parity.shared.b64 done, [bar], 0;\n@!done bra wait;\n"
        "ld.shared.u32 v, [a];\nadd.u32 v, v, 1;\nst.shared.u32 [a], v;\n"
        "fence.proxy.async.shared::cta;\nbar.sync 0;\n@!first bra end;\nmov.u32 v, box;\n"
        "cp.async.bulk.global.shared::cta.bulk_group [o], [v], 512;\n"
        "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read 0;\nend: ret;\n}\n";
    struct rig rig;
    uint32_t *memory[2];

    (void)state;
    rig_load(&rig, text);
    for (unsigned n = 0; n < 2; n++)
        memory[n] = rig_allocate(&rig, 512);
    for (uint32_t n = 0; n < 128; n++)
        memory[1][n] = n * 3;
    rig_run(&rig, "k", (struct geometry){1, 128, 0}, memory);
    for (uint32_t n = 0; n < 128; n++)
        assert_int_equal(memory[0][n], n * 3 + 1);
    rig_drop(&rig);
}

/* A thread that leaves is not waited for in later phases; what is still to come can be asked. */
static void dropped_arrivals(void **state)
{
    static const char text[] =
        START "@first mbarrier.init.shared.b64 [bar], 64;\nbar.sync 0;\nsetp.ge.u32 p, t, 32;\n"
              "@p mbarrier.arrive_drop.shared.b64 _, [bar];\n@p bra end;\n"
              "mbarrier.arrive.shared.b64 state, [bar];\nwait: "
              "mbarrier.test_wait.parity.shared.b64 done, "
              "[bar], 0;\n@!done bra wait;\nbar.warp.sync -1;\n"
              "mbarrier.arrive.shared.b64 state, [bar];\nmbarrier.pending_count.b64 v, state;\n"
              "mbarrier.test_wait.parity.shared.b64 done, [bar], 1;\nbar.warp.sync -1;\n"
              "mbarrier.test_wait.shared.b64 done, [bar], state;\nselp.u32 n, 1000, 0, done;\n"
              "add.u32 v, v, n;\nst.global.u32 [o], v;\nend: ret;\n}\n";
    struct rig rig;
    uint32_t *memory[2], seen = 0;

    (void)state;
    rig_load(&rig, text);
    memory[0] = memory[1] = rig_allocate(&rig, 64 * 4);
    rig_run(&rig, "k", (struct geometry){1, 64, 0}, memory);
    /* Each thread has found a number of arrivals missing, the first of them all 32; devices count
       a warp's arrivals one by one or all at once. */
    for (uint32_t n = 0; n < 32; n++) {
        assert_in_range(memory[0][n], 1001, 1032);
        seen |= UINT32_C(1) << (memory[0][n] - 1001);
    }
    assert_true(seen >> 31);
    rig_drop(&rig);
}

/* cp.async with a number of bytes, with a predicate that ignores the source, and its arrival. */
static void small_copies(void **state)
{
    static const char text[] =
        START "@first mbarrier.init.shared.b64 [bar], 64;\nbar.sync 0;\nand.b32 v, t, 1;\n"
              "setp.eq.u32 p, v, 0;\nadd.u64 i, i, m;\nmov.u32 v, box;\nmad.lo.u32 a, t, 16, v;\n"
              "cp.async.ca.shared.global [a], [i], 4;\n"
              "cp.async.ca.shared.global [a+4], [i], 4, 2;\n"
              "cp.async.ca.shared.global [a+8], [i], 4, p;\n"
              "cp.async.mbarrier.arrive.noinc.shared.b64 [bar];\n"
              "wait: mbarrier.try_wait.parity.shared.b64 done, [bar], 0;\n@!done bra wait;\n"
              "sub.u32 n, 63, t;\nmad.lo.u32 a, n, 16, v;\n.reg .b32 x, y, z;\n"
              "ld.shared.u32 x, [a];\nld.shared.u32 y, [a+4];\nld.shared.u32 z, [a+8];\n"
              "add.u32 x, x, y;\nadd.u32 x, x, z;\nst.global.u32 [o], x;\nret;\n}\n";
    struct rig rig;
    uint32_t *memory[2];

    (void)state;
    rig_load(&rig, text);
    for (unsigned n = 0; n < 2; n++)
        memory[n] = rig_allocate(&rig, 256);
    for (uint32_t n = 0; n < 64; n++)
        memory[1][n] = n * 0x10101;
    rig_run(&rig, "k", (struct geometry){1, 64, 0}, memory);
    for (uint32_t n = 0; n < 64; n++) {
        uint32_t from = memory[1][63 - n];

        assert_int_equal(memory[0][n], from + (from & 0xffff) + ((63 - n) % 2 == 0 ? 0 : from));
    }
    rig_drop(&rig);
}

static void clusters_of_one(void **state)
{
    static const char text[] = START
        ".reg .b32 b;\n.reg .b64 q;\nmov.u32 n, %cluster_nctarank;\nmov.u32 v, %cluster_ctarank;\n"
        "mad.lo.u32 v, v, 100, n;\nmov.u32 n, %clusterid.x;\nadd.u32 v, v, n;\n"
        "st.shared.u32 [a], v;\nbarrier.cluster.arrive.release.aligned;\n"
        "barrier.cluster.wait.acquire.aligned;\nsub.u32 n, 95, t;\nmov.u32 a, box;\n"
        "mad.lo.u32 a, n, 4, a;\nmapa.shared::cluster.u32 b, a, 0;\n"
        "ld.shared::cluster.u32 v, [b];\ngetctarank.shared::cluster.u32 n, b;\nadd.u32 v, v, n;\n"
        "st.global.u32 [o], v;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nret;\n}\n";
    struct rig rig;
    uint32_t *memory[2];

    (void)state;
    rig_load(&rig, text);
    memory[0] = memory[1] = rig_allocate(&rig, 96 * 4);
    rig_run(&rig, "k", (struct geometry){1, 96, 0}, memory);
    for (uint32_t n = 0; n < 96; n++)
        assert_int_equal(memory[0][n], 1);
    rig_drop(&rig);
}

/* 64 bytes of words: what is there, what is added to it, what there should be. */
struct reduction {
    const char *operation;
    uint64_t old, with, expected; /* of each 8 bytes */
};

/* From shared memory into global memory. */
static void bulk_reductions(void **state)
{
    static const struct reduction cases[] = {
        {"add.u32", 0x00000005fffffff0, 0x0000000200000020, 0x0000000700000010},
        {"add.u64", 0x00000005fffffff0, 0x0000000200000020, 0x0000000800000010},
        {"min.s32", 0x00000005fffffff0, 0xfffffffe00000020, 0xfffffffefffffff0},
        {"min.u32", 0x00000005fffffff0, 0xfffffffe00000020, 0x0000000500000020},
        {"max.s64", 0xfffffffffffffff0, 0x0000000000000020, 0x0000000000000020},
        {"max.u64", 0xfffffffffffffff0, 0x0000000000000020, 0xfffffffffffffff0},
        {"inc.u32", 0x0000000500000007, 0x0000000700000007, 0x0000000600000000},
        {"dec.u32", 0x0000000000000009, 0x0000000700000007, 0x0000000700000007},
        {"and.b64", 0x0ff00ff00ff00ff0, 0xffff0000ffff0000, 0x0ff000000ff00000},
        {"or.b32", 0x0ff00ff00ff00ff0, 0xffff0000ffff0000, 0xffff0ff0ffff0ff0},
        {"xor.b32", 0x0ff00ff00ff00ff0, 0xffff0000ffff0000, 0xf00f0ff0f00f0ff0},
        {"add.f32", 0x3f80000040000000, 0x4000000000000001, 0x4040000040000000},
        {"add.f64", 0x3ff0000000000000, 0x4000000000000000, 0x4008000000000000},
        {"add.noftz.f16", 0x3c003c003c000001, 0x3c0000000000bc00, 0x40003c003c00bc00},
        {"add.noftz.bf16", 0x3f803f803f803f80, 0x3f8000000000bf80, 0x40003f803f800000},
        {"min.f16", 0x3c003c003c003c00, 0xbc0040007e000000, 0xbc003c003c000000},
        {"max.bf16", 0x3f803f803f803f80, 0x4000bf807fff0000, 0x40003f803f803f80},
    };

    (void)state;
    for (size_t n = 0; n < COUNT(cases); n++) {
        uint64_t *memory[2];
        struct rig rig;
        char text[2048];

        snprintf(text, sizeof(text),
                 HEADER ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
                        ".reg .b64 i, o;\n.reg .b32 a, t, n;\n.reg .b64 q, v;\n.reg .pred p;\n"
                        ".shared .align 16 .b8 box[64];\n"
                        "ld.param.u64 i, [in];\nld.param.u64 o, [out];\nmov.u32 t, %%tid.x;\n"
                        "mul.wide.u32 q, t, 8;\nadd.u64 i, i, q;\nld.global.u64 v, [i];\n"
                        "mov.u32 a, box;\nshl.b32 n, t, 3;\nadd.u32 n, a, n;\n"
                        "st.shared.u64 [n], v;\nbar.sync 0;\nsetp.ne.u32 p, t, 0;\n@p exit;\n"
                        "cp.reduce.async.bulk.global.shared::cta.bulk_group.%s [o], [a], 64;\n"
                        "cp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nret;\n}\n",
                 cases[n].operation);
        rig_load(&rig, text);
        memory[0] = rig_allocate(&rig, 64);
        memory[1] = rig_allocate(&rig, 128);
        for (unsigned k = 0; k < 16; k++) {
            memory[0][k % 8] = cases[n].with;
            memory[1][k] = cases[n].old;
        }
        rig_run(&rig, "k", (struct geometry){1, 8, 0}, memory);
        for (unsigned k = 0; k < 16; k++) {
            if (memory[1][k] != (k < 8 ? cases[n].expected : cases[n].old))
                fail_msg("%s: %llx", cases[n].operation, (unsigned long long)memory[1][k]);
        }
        rig_drop(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases),           cmocka_unit_test(bulk_copies),
        cmocka_unit_test(dropped_arrivals), cmocka_unit_test(small_copies),
        cmocka_unit_test(clusters_of_one),  cmocka_unit_test(bulk_reductions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
