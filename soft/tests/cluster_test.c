/* SPDX-License-Identifier: MIT */
/* Clusters of blocks: who is where, shared memory of others, the barrier. */
#include "soft/tests/harness.h"

#include <errno.h>

/* Of each block: rank, size, which cluster of how many, whether one was asked for. */
static const char where[] = HEADER
    ".visible .entry k(.param .u64 to)\n{\n.reg .b64 %d<4>;\n.reg .b32 %r<12>;\n.reg .pred %p;\n"
    "ld.param.u64 %d1, [to];\nmov.u32 %r1, %ctaid.x;\nmul.wide.u32 %d2, %r1, 32;\n"
    "add.u64 %d1, %d1, %d2;\nmov.u32 %r2, %cluster_ctarank;\nmov.u32 %r3, %cluster_nctarank;\n"
    "mov.u32 %r4, %clusterid.x;\nmov.u32 %r5, %nclusterid.x;\nmov.u32 %r6, %cluster_ctaid.x;\n"
    "mov.u32 %r7, %cluster_nctaid.x;\nmov.pred %p, %is_explicit_cluster;\n"
    "selp.u32 %r8, 1, 0, %p;\nst.global.v4.u32 [%d1], {%r2, %r3, %r4, %r5};\n"
    "st.global.v4.u32 [%d1+16], {%r6, %r7, %r8, %r1};\nret;\n}\n";

static void blocks_know_their_places(void **state)
{
    struct rig rig;
    uint32_t *to;

    (void)state;
    rig_load(&rig, where);
    to = rig_allocate(&rig, 12 * 32);
    for (uint32_t size = 1; size <= 4; size++) {
        rig.cluster = size;
        rig_run(&rig, "k", (struct geometry){12, 1, 0}, &to);
        for (uint32_t b = 0; b < 12; b++) {
            const uint32_t *got = to + 8 * b;

            assert_int_equal(got[0], b % size);
            assert_int_equal(got[1], size);
            assert_int_equal(got[2], b / size);
            assert_int_equal(got[3], 12 / size);
            assert_int_equal(got[4], b % size);
            assert_int_equal(got[5], size);
            assert_int_equal(got[6], 1);
            assert_int_equal(got[7], b);
        }
    }
    rig.cluster = 0;
    rig_run(&rig, "k", (struct geometry){12, 1, 0}, &to);
    assert_int_equal(to[6], 0);
    assert_int_equal(to[1], 1);
    rig_drop(&rig);
}

#define BARRIER "barrier.cluster.arrive;\nbarrier.cluster.wait;\n"

/* Each thread stores in its own block, and reads from and adds to the next one of the cluster, by
   addresses of shared memory and by generic ones. */
static const char neighbours[] = HEADER
    ".visible .entry k(.param .u64 to)\n{\n.reg .b64 %d<8>;\n.reg .b32 %r<16>;\n"
    ".shared .align 8 .b32 words[64];\n"
    "ld.param.u64 %d1, [to];\nmov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %tid.x;\n"
    "mov.u32 %r3, %ntid.x;\nmad.lo.u32 %r4, %r1, %r3, %r2;\nmul.wide.u32 %d2, %r4, 16;\n"
    "add.u64 %d1, %d1, %d2;\nshl.b32 %r5, %r2, 2;\nmov.u32 %r6, words;\nadd.u32 %r6, %r6, %r5;\n"
    "st.shared.u32 [%r6], %r4;\n"
    "mov.u32 %r7, %cluster_ctarank;\nadd.u32 %r7, %r7, 1;\nmov.u32 %r8, %cluster_nctarank;\n"
    "rem.u32 %r7, %r7, %r8;\n"
    "mapa.shared::cluster.u32 %r9, %r6, %r7;\n" BARRIER "ld.shared::cluster.u32 %r10, [%r9];\n"
    "cvt.u64.u32 %d3, %r6;\ncvta.shared.u64 %d4, %d3;\nmapa.u64 %d5, %d4, %r7;\n"
    "ld.u32 %r11, [%d5];\ngetctarank.u64 %r12, %d5;\n" BARRIER
    "red.shared::cluster.add.u32 [%r9], 1000;\natom.add.u32 %r13, [%d5], 2000;\n" BARRIER
    "ld.shared.u32 %r13, [%r6];\nst.global.v4.u32 [%d1], {%r10, %r11, %r12, %r13};\nret;\n}\n";

static void shared_memory_of_others_is_reached(void **state)
{
    enum { BLOCKS = 24, THREADS = 64 };
    struct rig rig;
    uint32_t *to;

    (void)state;
    rig_load(&rig, neighbours);
    to = rig_allocate(&rig, BLOCKS * THREADS * 16);
    for (rig.cluster = 1; rig.cluster <= 8; rig.cluster *= 2) {
        rig_run(&rig, "k", (struct geometry){BLOCKS, THREADS, 0}, &to);
        for (uint32_t n = 0; n < BLOCKS * THREADS; n++) {
            uint32_t b = n / THREADS, first = b / rig.cluster * rig.cluster;
            uint32_t next = (b % rig.cluster + 1) % rig.cluster;
            uint32_t other = (first + next) * THREADS + n % THREADS;

            assert_int_equal(to[4 * n], other);
            assert_int_equal(to[4 * n + 1], other);
            assert_int_equal(to[4 * n + 2], next);
            assert_int_equal(to[4 * n + 3], n + 3000);
        }
    }
    rig_drop(&rig);
}

/* A block copies to all of its cluster at once, and their barriers count the bytes. */
static const char multicast[] = HEADER
    ".visible .entry k(.param .u64 from, .param .u64 to)\n{\n.reg .b64 %d<8>;\n.reg .b32 %r<16>;\n"
    ".reg .b16 %h;\n.reg .pred %p<3>;\n.shared .align 128 .b8 data[64];\n"
    ".shared .align 8 .b64 barrier;\n"
    "ld.param.u64 %d1, [from];\nld.param.u64 %d2, [to];\nmov.u32 %r1, barrier;\n"
    "mov.u32 %r2, data;\nmbarrier.init.shared.b64 [%r1], 1;\n"
    "mbarrier.arrive.expect_tx.shared.b64 _, [%r1], 64;\n" BARRIER
    "mov.u32 %r3, %cluster_ctarank;\nsetp.ne.u32 %p1, %r3, 0;\n@%p1 bra wait;\n"
    "mov.u16 %h, 15;\n"
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
    "[%r2], [%d1], 64, [%r1], %h;\n"
    "wait:\nmbarrier.try_wait.parity.shared.b64 %p2, [%r1], 0;\n@!%p2 bra wait;\n"
    "mov.u32 %r4, %ctaid.x;\nmul.wide.u32 %d3, %r4, 4;\nadd.u64 %d2, %d2, %d3;\n"
    "ld.shared.u32 %r5, [%r2+60];\nst.global.u32 [%d2], %r5;\nret;\n}\n";

static void copies_reach_all_of_a_cluster(void **state)
{
    struct rig rig;
    struct {
        uint32_t *from, *to;
    } p;

    (void)state;
    rig_load(&rig, multicast);
    p.from = rig_allocate(&rig, 64);
    p.to = rig_allocate(&rig, 8 * 4);
    p.from[15] = 77;
    rig.cluster = 4;
    rig_run(&rig, "k", (struct geometry){8, 1, 0}, &p);
    for (uint32_t b = 0; b < 8; b++)
        assert_int_equal(p.to[b], 77);
    rig_drop(&rig);
}

static void faults_of_clusters_are_found(void **state)
{
    static const char text[] = HEADER
        ".visible .entry beyond()\n{\n.reg .b32 %r<4>;\n.shared .b32 x;\nmov.u32 %r1, x;\n"
        "mapa.shared::cluster.u32 %r2, %r1, 2;\nld.shared::cluster.u32 %r3, [%r2+16];\nret;\n}\n"
        ".visible .entry nobody()\n{\n.reg .b32 %r<4>;\n.shared .b32 x;\nmov.u32 %r1, x;\n"
        "mapa.shared::cluster.u32 %r2, %r1, 9;\nst.shared::cluster.u32 [%r2], 1;\nret;\n}\n"
        ".visible .entry lonely()\n{\n.reg .b32 %r<4>;\n.reg .pred %p;\n"
        "mov.u32 %r1, %cluster_ctarank;\nsetp.eq.u32 %p, %r1, 1;\n@%p bar.sync 0, 64;\n" BARRIER
        "ret;\n}\n";
    struct vgpu_fault fault;
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    rig.cluster = 4;
    assert_int_equal(rig_launch(&rig, "beyond", (struct geometry){4, 1, 0}, NULL, &fault), -EFAULT);
    assert_int_equal(fault.kind, VGPU_FAULT_ILLEGAL_ADDRESS);
    assert_int_equal(rig_launch(&rig, "nobody", (struct geometry){4, 1, 0}, NULL, &fault), -EFAULT);
    assert_int_equal(fault.kind, VGPU_FAULT_ILLEGAL_ADDRESS);
    assert_int_equal(rig_launch(&rig, "lonely", (struct geometry){4, 32, 0}, NULL, &fault),
                     -EFAULT);
    assert_int_equal(fault.kind, VGPU_FAULT_DEADLOCK);
    assert_non_null(strstr(fault.text, "wait at the cluster's barrier"));
    /* Everything goes on as before. */
    rig_run(&rig, "lonely", (struct geometry){0 + 4, 64, 0}, NULL);
    assert_int_equal(rig_launch(&rig, "lonely", (struct geometry){6, 64, 0}, NULL, &fault),
                     -EINVAL);
    rig_drop(&rig);
}

/* A block that asks for the work of another one is told that there is none. */
static void no_block_is_cancelled(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 to)\n{\n.reg .b64 %d<5>;\n.reg .b32 %r<9>;\n.reg .pred "
        "%p<3>;\n"
        ".reg .b128 %q;\n.shared .align 16 .b8 answer[16];\n.shared .align 8 .b64 barrier;\n"
        "ld.param.u64 %d1, [to];\nmov.u32 %r1, answer;\nmov.u32 %r2, barrier;\n"
        "st.shared.u32 [%r1], 7;\nmbarrier.init.shared.b64 [%r2], 1;\n"
        "clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.b128 "
        "[%r1], [%r2];\nmbarrier.arrive.expect_tx.shared.b64 _, [%r2], 16;\n"
        "wait:\nmbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0;\n@!%p1 bra wait;\n"
        "ld.shared.b128 %q, [%r1];\n"
        "clusterlaunchcontrol.query_cancel.is_canceled.pred.b128 %p2, %q;\n"
        "clusterlaunchcontrol.query_cancel.get_first_ctaid::y.b32.b128 %r3, %q;\n"
        "selp.u32 %r4, 1, 2, %p2;\nred.global.add.u32 [%d1], %r4;\nret;\n}\n";
    struct rig rig;
    uint32_t *to;

    (void)state;
    rig_load(&rig, text);
    to = rig_allocate(&rig, 4);
    rig_run(&rig, "k", (struct geometry){8, 1, 0}, &to);
    assert_int_equal(*to, 16);
    rig_drop(&rig);
}

/* Threads that have exited are not waited for. */
static void who_has_exited_is_not_waited_for(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 to)\n{\n.reg .b64 %d<3>;\n.reg .b32 %r<4>;\n.reg .pred %p;\n"
        "mov.u32 %r1, %cluster_ctarank;\nsetp.eq.u32 %p, %r1, 1;\n@%p exit;\n" BARRIER BARRIER
        "ld.param.u64 %d1, [to];\nred.global.add.u32 [%d1], 1;\nret;\n}\n";
    struct rig rig;
    uint32_t *to;

    (void)state;
    rig_load(&rig, text);
    to = rig_allocate(&rig, 4);
    rig.cluster = 4;
    rig_run(&rig, "k", (struct geometry){8, 40, 0}, &to);
    assert_int_equal(*to, 6 * 40);
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_know_their_places),
        cmocka_unit_test(shared_memory_of_others_is_reached),
        cmocka_unit_test(copies_reach_all_of_a_cluster),
        cmocka_unit_test(faults_of_clusters_are_found),
        cmocka_unit_test(who_has_exited_is_not_waited_for),
        cmocka_unit_test(no_block_is_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
