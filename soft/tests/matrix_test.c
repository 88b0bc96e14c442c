/* SPDX-License-Identifier: MIT */
/* Matrices in the registers of a warp, and blocks that wait for each other. */
#include "soft/tests/harness.h"

#define CTA_LANE                                                                                   \
    ".reg .b32 r<24>; .reg .b64 q<8>; .reg .f32 f<8>; .reg .pred p<4>;\n"                          \
    "mov.u32 r0, %tid.x; ld.param.u64 q0, [p]; mul.wide.u32 q1, r0, 16; add.u64 q1, q0, q1;\n"

/* Lane l has four words at p + 16 l: a; two at p + 512 + 8 l: b; four floats at p + 768 + 16 l. */
static void products_of_halves(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 p) {\n" CTA_LANE "ld.global.v4.u32 {r1, r2, r3, r4}, [q1];\n"
        "mul.wide.u32 q2, r0, 8; add.u64 q2, q0, q2; ld.global.v2.u32 {r5, r6}, [q2+512];\n"
        "ld.global.v4.f32 {f1, f2, f3, f4}, [q1+768];\n"
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {f1, f2, f3, f4}, {r1, r2, r3, r4},"
        " {r5, r6}, {f1, f2, f3, f4};\n"
        "st.global.v4.f32 [q1+768], {f1, f2, f3, f4}; ret; }\n";
    static const uint16_t small[] = {0, 0x3c00, 0x4000, 0xbc00, 0x4200}; /* 0 1 2 -1 3 */
    static const float value[] = {0, 1, 2, -1, 3};
    int a[16][16], b[16][8];
    struct rig rig;
    uint8_t *data;

    (void)state;
    rig_load(&rig, text);
    data = rig_allocate(&rig, 2048);
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned k = 0; k < 16; k++)
            a[i][k] = (int)((i * 3 + k * 7) % 5);
        for (unsigned j = 0; j < 8; j++)
            b[i][j] = (int)((i + j * 2) % 5);
    }
    for (unsigned l = 0; l < 32; l++) {
        unsigned group = l / 4, member = l % 4;
        uint16_t *ra = (uint16_t *)(void *)(data + 16 * l);
        uint16_t *rb = (uint16_t *)(void *)(data + 512 + 8 * l);

        for (unsigned e = 0; e < 8; e++) /* as the manual numbers them */
            ra[e] = small[a[e < 2 || (e >= 4 && e < 6) ? group : group + 8]
                           [member * 2 + e % 2 + (e < 4 ? 0 : 8)]];
        for (unsigned e = 0; e < 4; e++)
            rb[e] = small[b[member * 2 + e % 2 + (e < 2 ? 0 : 8)][group]];
    }
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, &data);
    for (unsigned l = 0; l < 32; l++) {
        for (unsigned e = 0; e < 4; e++) {
            unsigned i = l / 4 + (e < 2 ? 0 : 8), j = l % 4 * 2 + e % 2;
            float want = 0, got;

            for (unsigned k = 0; k < 16; k++)
                want += value[a[i][k]] * value[b[k][j]];
            memcpy(&got, data + 768 + 16 * l + 4 * e, sizeof(got));
            assert_true(got == want);
        }
    }
    rig_drop(&rig);
}

static void matrices_are_loaded_and_turned(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 p) {\n" CTA_LANE
        ".shared .align 16 .b8 s[512]; mov.u32 r10, s; shl.b32 r11, r0, 4; add.u32 r10, r10, r11;\n"
        "ld.global.v4.u32 {r1, r2, r3, r4}, [q1]; st.shared.v4.u32 [r10], {r1, r2, r3, r4};\n"
        "bar.warp.sync -1;\n"
        "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {r1, r2}, [r10];\n"
        "ldmatrix.sync.aligned.m8n8.x1.shared::cta.b16 {r3}, [r10];\n"
        "movmatrix.sync.aligned.m8n8.trans.b16 r4, r3;\n"
        "st.global.v4.u32 [q1], {r1, r2, r3, r4}; ret; }\n";
    struct rig rig;
    uint16_t *data;

    (void)state;
    rig_load(&rig, text);
    data = rig_allocate(&rig, 512);
    for (unsigned i = 0; i < 256; i++)
        data[i] = (uint16_t)i;
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, &data);
    for (unsigned l = 0; l < 32; l++) {
        for (unsigned e = 0; e < 2; e++) {
            unsigned row = l / 4, column = l % 4 * 2 + e;

            assert_int_equal(data[l * 8 + e], column * 8 + row);
            assert_int_equal(data[l * 8 + 2 + e], 64 + column * 8 + row);
            assert_int_equal(data[l * 8 + 4 + e], row * 8 + column);
            assert_int_equal(data[l * 8 + 6 + e], column * 8 + row);
        }
    }
    rig_drop(&rig);
}

static void rows_outside_are_faults(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 p) {\n" CTA_LANE
        ".shared .align 16 .b8 s[128]; mov.u32 r10, s; shl.b32 r11, r0, 4; add.u32 r10, r10, r11;\n"
        "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {r1, r2}, [r10]; ret; }\n"
        ".visible .entry w(.param .u64 p) {\n" CTA_LANE
        "mov.u32 r1, 1000000; wmma.load.a.sync.aligned.row.m16n16k16.global.f16"
        " {r2, r3, r4, r5, r6, r7, r8, r9}, [q0], r1; ret; }\n";
    struct vgpu_fault fault;
    struct rig rig;
    void *data;

    (void)state;
    rig_load(&rig, text);
    data = rig_allocate(&rig, 512);
    assert_int_not_equal(rig_launch(&rig, "k", (struct geometry){1, 32, 0}, &data, &fault), 0);
    assert_int_equal(fault.kind, VGPU_FAULT_ILLEGAL_ADDRESS);
    assert_int_not_equal(rig_launch(&rig, "w", (struct geometry){1, 32, 0}, &data, &fault), 0);
    assert_int_equal(fault.kind, VGPU_FAULT_ILLEGAL_ADDRESS);
    rig_drop(&rig);
}

/* An address register may be negative, or wrap, as long as the sum is right. */
static void shared_addresses_have_32_bits(void **state)
{
    static const char text[] =
        HEADER ".visible .entry k(.param .u64 p) {\n" CTA_LANE
               ".shared .align 4 .b32 s[64]; setp.gt.u32 p1, r0, 20; @p1 bra end;\n"
               "mov.u32 r10, s; shl.b32 r1, r0, 2; add.u32 r1, r1, r10; add.u32 r1, r1, -128; "
               "st.shared.u32 [r1+128], r0;\n"
               "ld.shared.u32 r2, [r1+128]; mul.wide.u32 q2, r0, 4; add.u64 q2, q0, q2;\n"
               "st.global.u32 [q2], r2; end: ret; }\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 128);
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, &out);
    for (uint32_t i = 0; i <= 20; i++)
        assert_int_equal(out[i], i);
    rig_drop(&rig);
}

/* What cooperative groups use of shared memory is behind what the kernel has. */
static void shared_memory_of_the_system(void **state)
{
    static const char text[] =
        HEADER ".visible .entry k(.param .u64 p) {\n" CTA_LANE
               ".shared .align 4 .b32 s[33]; mov.u32 r10, %reserved_smem_offset_1;\n"
               "mov.u32 r11, %total_smem_size; shl.b32 r1, r0, 2; add.u32 r10, r10, r1;\n"
               "st.shared.u32 [r10], r0; mov.u32 r12, s; add.u32 r12, r12, r1;\n"
               "st.shared.u32 [r12], 7; ld.shared.u32 r2, [r10]; mad.lo.u32 r2, r11, 100, r2;\n"
               "mul.wide.u32 q2, r0, 4; add.u64 q2, q0, q2; st.global.u32 [q2], r2; ret; }\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 128);
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, &out);
    for (uint32_t i = 0; i < 32; i++)
        assert_int_equal(out[i], 33 * 4 * 100 + i);
    rig_drop(&rig);
}

/* Every block adds one and waits until all have: none can end before the last has begun. */
static void blocks_wait_for_each_other(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 p) {\n" CTA_LANE
        "mov.u32 r2, %nctaid.x; mov.u32 r3, %envreg1; mov.u32 r4, %envreg2;\n"
        "cvt.u64.u32 q2, r3; shl.b64 q2, q2, 32; cvt.u64.u32 q3, r4; or.b64 q2, q2, q3;\n"
        "setp.ne.u32 p1, r0, 0; @p1 bra wait;\n"
        "atom.global.add.u32 r5, [q2+4], 1; atom.global.add.u32 r5, [q0], 1;\n"
        "again: ld.acquire.gpu.global.u32 r5, [q2+4]; setp.lt.u32 p2, r5, r2; @p2 bra again;\n"
        "wait: bar.sync 0; ret; }\n";
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 4);
    rig.cooperative = true;
    for (unsigned n = 1; n <= 3; n++) { /* the meeting place is fresh each time */
        rig_run(&rig, "k", (struct geometry){20, 64, 0}, &out);
        assert_int_equal(*out, 20 * n);
    }
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_halves),
        cmocka_unit_test(matrices_are_loaded_and_turned),
        cmocka_unit_test(rows_outside_are_faults),
        cmocka_unit_test(shared_addresses_have_32_bits),
        cmocka_unit_test(shared_memory_of_the_system),
        cmocka_unit_test(blocks_wait_for_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
