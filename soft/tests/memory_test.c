/* SPDX-License-Identifier: MIT */
/* Device memory, and loads and stores of every width in every space. */
#include "soft/tests/harness.h"

#include <errno.h>

static void allocations(void **state)
{
    struct vgpu_memory *memory;
    uint64_t address[300], base;
    size_t size, total, left, before;

    (void)state;
    assert_int_equal(vgpu_memory_create(1 << 20, &memory), 0);
    vgpu_memory_info(memory, &before, &total);
    assert_int_equal(before, 1 << 20);
    assert_int_equal(total, 1 << 20);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(vgpu_memory_allocate(memory, i * 7 + 1, &address[i]), 0);
        assert_int_equal(address[i] % 512, 0);
        memset((void *)(uintptr_t)address[i], 0xee, i * 7 + 1);
    }
    assert_int_equal(vgpu_memory_find(memory, address[9] + 63, &base, &size), 0);
    assert_int_equal(base, address[9]);
    assert_int_equal(size, 64);
    assert_int_equal(vgpu_memory_find(memory, address[9] + 64, &base, &size), -ENOENT);
    assert_int_equal(vgpu_memory_free(memory, address[9] + 1), -EINVAL);
    for (int i = 0; i < 300; i += 2)
        assert_int_equal(vgpu_memory_free(memory, address[i]), 0);
    assert_int_equal(vgpu_memory_free(memory, address[0]), -EINVAL);
    for (int i = 1; i < 300; i += 2)
        assert_int_equal(vgpu_memory_free(memory, address[i]), 0);
    vgpu_memory_info(memory, &left, &total);
    assert_int_equal(left, before);
    /* All of it in one piece again, and zero. */
    assert_int_equal(vgpu_memory_allocate(memory, 1 << 20, &base), 0);
    for (size_t i = 0; i < 1 << 20; i++)
        assert_int_equal(((const char *)(uintptr_t)base)[i], 0);
    assert_int_equal(vgpu_memory_allocate(memory, 1, &base), -ENOMEM);
    assert_int_equal(vgpu_memory_allocate(memory, 0, &base), -EINVAL);
    assert_int_equal(vgpu_memory_allocate(memory, SIZE_MAX, &base), -ENOMEM);
    vgpu_memory_destroy(memory);
}

static void accessible_ranges(void **state)
{
    struct vgpu_memory *memory;
    uint64_t address;
    static char host[3 * 4096] __attribute__((aligned(4096)));
    uint64_t at = (uint64_t)(uintptr_t)host;

    (void)state;
    assert_int_equal(vgpu_memory_create(1 << 20, &memory), 0);
    assert_int_equal(vgpu_memory_allocate(memory, 10000, &address), 0);
    assert_true(vgpu_memory_accessible(memory, address, 10000));
    assert_false(vgpu_memory_accessible(memory, address - 1, 1));
    assert_false(vgpu_memory_accessible(memory, address, 1 << 19));
    assert_false(vgpu_memory_accessible(memory, UINT64_MAX, 2));
    assert_false(vgpu_memory_accessible(memory, at, 1));
    assert_int_equal(vgpu_memory_map_host(memory, at, 4097), 0);
    assert_int_equal(vgpu_memory_map_host(memory, at + 4097, 100), 0);
    assert_true(vgpu_memory_accessible(memory, at, 4097));
    assert_int_equal(vgpu_memory_unmap_host(memory, at), 0);
    assert_false(vgpu_memory_accessible(memory, at, 1));
    assert_true(vgpu_memory_accessible(memory, at + 4097, 100));
    assert_int_equal(vgpu_memory_unmap_host(memory, at), -EINVAL);
    assert_int_equal(vgpu_memory_unmap_host(memory, at + 4097), 0);
    assert_int_equal(vgpu_memory_map_host(memory, UINT64_MAX - 5, 4), -EINVAL);
    vgpu_memory_destroy(memory);
}

static void host_memory_in_kernels(void **state)
{
    struct rig rig;
    static float host[3][64];
    struct {
        const void *a, *b, *c;
        int n;
    } p = {host[0], host[1], host[2], 64};
    struct vgpu_fault fault;

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    for (int i = 0; i < 64; i++) {
        host[0][i] = (float)i;
        host[1][i] = 100;
    }
    assert_int_equal(rig_launch(&rig, "vector_add", (struct geometry){1, 64, 0}, &p, &fault),
                     -EFAULT);
    assert_int_equal(vgpu_memory_map_host(rig.memory, (uint64_t)(uintptr_t)host, sizeof(host)), 0);
    rig_run(&rig, "vector_add", (struct geometry){1, 64, 0}, &p);
    for (int i = 0; i < 64; i++)
        assert_true(host[2][i] == (float)(100 + i));
    rig_drop(&rig);
}

/* Through memory and back, in one space: 64-bit slots of the input go there with stores of one
   width, and come back with loads of another. */
static const char round_trip[] = HEADER
    ".shared .align 16 .b8 s[4096];\n"
    ".visible .entry k(.param .u64 in, .param .u64 out)\n"
    "{\n.local .align 16 .b8 l[32];\n.reg .b64 i, o, v, w, a, t;\n.reg .b32 x, y, z, n, a32;\n"
    ".reg .b16 h, g;\n.reg .b64 e<8>;\n.reg .b32 d<8>;\n"
    "ld.param.u64 i, [in];\nld.param.u64 o, [out];\n"
    "mov.u32 n, %%tid.x;\nmul.wide.u32 v, n, 32;\nadd.u64 i, i, v;\nadd.u64 o, o, v;\n"
    "%s\nret;\n}\n";

static void through(const char *body, const char *what, uint64_t (*expect)(uint64_t, int),
                    int words)
{
    uint64_t *p[2];
    char text[4096];
    struct rig rig;

    snprintf(text, sizeof(text), round_trip, body);
    rig_load(&rig, text);
    p[0] = rig_allocate(&rig, 128 * 32);
    p[1] = rig_allocate(&rig, 128 * 32);
    for (int i = 0; i < 128 * 4; i++)
        p[0][i] = random_bits();
    rig_run(&rig, "k", (struct geometry){1, 128, 0}, p);
    for (int i = 0; i < 128; i++) {
        for (int k = 0; k < words; k++) {
            uint64_t want = expect(p[0][i * 4 + k], k);

            if (p[1][i * 4 + k] != want)
                fail_msg("%s: thread %d word %d: %llx, not %llx", what, i, k,
                         (unsigned long long)p[1][i * 4 + k], (unsigned long long)want);
        }
    }
    rig_drop(&rig);
}

static uint64_t all(uint64_t v, int k)
{
    (void)k;
    return v;
}

static uint64_t unsigned8(uint64_t v, int k)
{
    (void)k;
    return v & 0xff;
}

static uint64_t signed8(uint64_t v, int k)
{
    (void)k;
    return (uint64_t)(int8_t)v;
}

static uint64_t signed16(uint64_t v, int k)
{
    (void)k;
    return (uint64_t)(int16_t)v;
}

static uint64_t signed32(uint64_t v, int k)
{
    (void)k;
    return (uint64_t)(int32_t)v;
}

static uint64_t unsigned32(uint64_t v, int k)
{
    (void)k;
    return (uint32_t)v;
}

static void widths_and_signs(void **state)
{
    (void)state;
    through("ld.global.u8 h, [i]; cvt.u64.u16 w, h; st.global.u64 [o], w;", "u8 to 16", unsigned8,
            1);
    through("ld.global.s8 x, [i]; cvt.s64.s32 w, x; st.global.u64 [o], w;", "s8 to 32", signed8, 1);
    through("ld.global.s8 w, [i]; st.global.u64 [o], w;", "s8 to 64", signed8, 1);
    through("ld.global.s16 w, [i]; st.global.u64 [o], w;", "s16 to 64", signed16, 1);
    through("ld.global.s32 w, [i]; st.global.u64 [o], w;", "s32 to 64", signed32, 1);
    through("ld.global.u32 w, [i]; st.global.u64 [o], w;", "u32 to 64", unsigned32, 1);
    through("ld.global.u64 w, [i]; st.global.u8 [o], w; mov.u32 x, 0; st.global.u8 [o+1], x;",
            "a byte of 64", unsigned8, 1);
    through("ld.u64 w, [i]; st.u32 [o], w;", "32 of 64, generic", unsigned32, 1);
    through("ld.volatile.global.u64 w, [i]; st.release.gpu.global.u64 [o], w;", "ordered", all, 1);
}

static void vectors(void **state)
{
    (void)state;
    through("ld.global.nc.v2.u64 {e0, e1}, [i]; ld.global.v2.u64 {e2, e3}, [i+16];"
            "st.global.v2.u64 [o+16], {e2, e3}; st.global.v2.b64 [o], {e0, e1};",
            "v2.u64", all, 4);
    through("ld.v4.f32 {d0, d1, d2, d3}, [i]; st.v4.f32 [o], {d0, d1, d2, d3};"
            "ld.v4.u32 {d4, d5, d6, d7}, [i+16]; st.v2.u32 [o+16], {d4, d5};"
            "st.v2.u32 [o+24], {d6, d7};",
            "v4.f32", all, 4);
    through("ld.v2.u16 {h, g}, [i]; cvt.u64.u16 w, h; cvt.u64.u16 t, g; shl.b64 t, t, 16;"
            "or.b64 w, w, t; ld.u32 x, [i+4]; cvt.u64.u32 t, x; shl.b64 t, t, 32; or.b64 w, w, t;"
            "st.u64 [o], w;",
            "v2.u16", all, 1);
}

static void spaces(void **state)
{
    (void)state;
    through("ld.global.u64 w, [i]; mov.u32 a32, s; shl.b32 z, n, 5; add.u32 a32, a32, z;"
            "st.shared.u64 [a32+8], w; ld.shared.u32 x, [a32+8]; ld.shared.u32 y, [a32+12];"
            "mov.b64 w, {x, y}; st.global.u64 [o], w;",
            "shared", all, 1);
    through("ld.global.u64 w, [i]; mov.u64 a, s; cvt.u64.u32 t, n; shl.b64 t, t, 5;"
            "add.u64 a, a, t; st.shared.u64 [a], w; cvta.shared.u64 t, a; ld.u64 w, [t];"
            "st.global.u64 [o], w;",
            "shared, generic", all, 1);
    through("ld.global.u64 w, [i]; ld.global.u64 t, [i+8]; st.local.u64 [l], w;"
            "st.local.u64 [l+8], t; mov.u64 a, l; ld.local.u64 w, [a]; st.global.u64 [o], w;"
            "cvta.local.u64 a, a; ld.u64 t, [a+8]; st.u64 [o+8], t;",
            "local", all, 2);
    through("cvta.param.u64 a, in; ld.u64 t, [a]; add.u64 t, t, v; ld.u64 w, [t]; st.u64 [o], w;",
            "parameter, generic", all, 1);
    through(".reg .pred p, q; mov.u64 a, s; cvta.shared.u64 a, a; isspacep.shared p, a;"
            "isspacep.global q, i; ld.u64 w, [i]; @!p mov.u64 w, 0; @!q mov.u64 w, 0;"
            "isspacep.local p, a; @p mov.u64 w, 1; isspacep.global p, a; @p mov.u64 w, 2;"
            "st.u64 [o], w;",
            "isspacep", all, 1);
    through("mov.u32 a32, s; shl.b32 z, n, 5; add.u32 a32, a32, z;"
            "cp.async.ca.shared.global [a32+16], [i+8], 8; cp.async.commit_group;"
            "cp.async.wait_group 0; ld.shared.u64 w, [a32+16]; ld.global.u64 t, [i];"
            "st.u64 [o], t; st.u64 [o+8], w;",
            "cp.async", all, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations),
        cmocka_unit_test(accessible_ranges),
        cmocka_unit_test(host_memory_in_kernels),
        cmocka_unit_test(widths_and_signs),
        cmocka_unit_test(vectors),
        cmocka_unit_test(spaces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
