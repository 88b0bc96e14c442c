/* SPDX-License-Identifier: MIT */
/*
 * Lines (soft/simt/shape.h) against lanes: random programs compute the same twice, from the numbers
 * of threads as special registers and from the same numbers out of memory, which are never lines.
 */
#include <stdarg.h>

#include "soft/tests/harness.h"

#define PROGRAMS 150
#define STEPS    24
#define NARROW   6 /* registers of each kind */
#define WIDE     6

struct text {
    char *at;
    size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(t->at + t->used, t->size - t->used, format, arguments);
    va_end(arguments);
    assert_true(n >= 0 && (size_t)n < t->size - t->used);
    t->used += (size_t)n;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(random_bits() >> 33) % n;
}

/* A source: a register, or a number from where arithmetic has its corners. */
static const char *source(char *text, char letter, uint32_t count)
{
    static const char *const numbers[] = {"0",           "1",          "4",   "-1",
                                          "7",           "31",         "128", "2147483647",
                                          "-2147483648", "2147483643", "-5",  "3"};

    if (below(3) > 0)
        sprintf(text, "%%%c%u", letter, below(count));
    else
        sprintf(text, "%s", numbers[below(COUNT(numbers))]);
    return text;
}

struct form {
    const char *name;
    char d, a, b, c; /* r: 32 bits, q: 64 bits, n: a small number */
};

static const struct form forms[] = {
    {"add.s32", 'r', 'r', 'r', 0},        {"sub.s32", 'r', 'r', 'r', 0},
    {"mul.lo.s32", 'r', 'r', 'r', 0},     {"mad.lo.s32", 'r', 'r', 'r', 'r'},
    {"and.b32", 'r', 'r', 'r', 0},        {"or.b32", 'r', 'r', 'r', 0},
    {"xor.b32", 'r', 'r', 'r', 0},        {"shl.b32", 'r', 'r', 'n', 0},
    {"shr.u32", 'r', 'r', 'n', 0},        {"shr.s32", 'r', 'r', 'n', 0},
    {"mov.u32", 'r', 'r', 0, 0},          {"cvt.u32.u64", 'r', 'q', 0, 0},
    {"add.s64", 'q', 'q', 'q', 0},        {"sub.s64", 'q', 'q', 'q', 0},
    {"mul.lo.s64", 'q', 'q', 'q', 0},     {"mad.lo.s64", 'q', 'q', 'q', 'q'},
    {"and.b64", 'q', 'q', 'q', 0},        {"or.b64", 'q', 'q', 'q', 0},
    {"xor.b64", 'q', 'q', 'q', 0},        {"shl.b64", 'q', 'q', 'n', 0},
    {"mov.u64", 'q', 'q', 0, 0},          {"cvt.s64.s32", 'q', 'r', 0, 0},
    {"cvt.u64.u32", 'q', 'r', 0, 0},      {"mul.wide.s32", 'q', 'r', 'r', 0},
    {"mul.wide.u32", 'q', 'r', 'r', 0},   {"mad.wide.s32", 'q', 'r', 'r', 'q'},
    {"mad.wide.u32", 'q', 'r', 'r', 'q'}, {"min.s32", 'r', 'r', 'r', 0},
    {"popc.b32", 'r', 'r', 0, 0},
};

static void say_operand(struct text *t, char kind)
{
    char text[32];

    if (kind == 'r')
        say(t, ", %s", source(text, 'r', NARROW));
    else if (kind == 'q')
        say(t, ", %s", source(text, 'q', WIDE));
    else if (kind == 'n')
        say(t, ", %u", below(36));
}

/* One step: arithmetic, for all lanes or for some, or a comparison that makes those. */
static void say_step(struct text *t, bool simple)
{
    static const char *const tests[] = {"eq", "ne", "lt", "le", "gt", "ge"};
    static const char *const types[] = {"s32", "u32", "s64", "u64"};
    const struct form *f = &forms[below(simple ? COUNT(forms) - 2 : COUNT(forms))];
    char text[32];

    if (below(5) == 0) {
        uint32_t type = below(4);
        char letter = type < 2 ? 'r' : 'q';

        say(t, "setp.%s.%s %%p%u, %%%c%u", tests[below(COUNT(tests))], types[type], below(2),
            letter, below(NARROW));
        say(t, ", %s;\n", source(text, letter, NARROW));
        return;
    }
    if (below(6) == 0)
        say(t, "@%s%%p%u ", below(2) == 0 ? "!" : "", below(2));
    say(t, "%s %%%c%u", f->name, f->d, below(NARROW));
    say_operand(t, f->a);
    say_operand(t, f->b);
    say_operand(t, f->c);
    say(t, ";\n");
}

static void say_start(struct text *t, const char *name, bool from_memory)
{
    static const char *const axes[] = {"%tid.x", "%tid.y", "%ctaid.x", "%ntid.x", "%laneid"};

    say(t,
        ".visible .entry %s(.param .u64 in, .param .u64 out)\n{\n.reg .pred %%p<2>, %%s;\n"
        ".reg .b32 %%r<%d>, %%t<4>;\n.reg .b64 %%q<%d>, %%a<4>;\n"
        "ld.param.u64 %%a0, [in];\nld.param.u64 %%a1, [out];\n"
        "mov.u32 %%t0, %%tid.y;\nmov.u32 %%t1, %%ntid.x;\nmov.u32 %%t2, %%tid.x;\n"
        "mad.lo.u32 %%t0, %%t0, %%t1, %%t2;\nmul.wide.u32 %%a2, %%t0, 128;\n"
        "add.u64 %%a1, %%a1, %%a2;\nadd.u64 %%a0, %%a0, %%a2;\nmov.pred %%p0, 0;\n"
        "mov.pred %%p1, 1;\nmov.pred %%s, 0;\n",
        name, NARROW, WIDE);
    for (uint32_t i = 0; i < NARROW; i++) {
        if (!from_memory && i < COUNT(axes))
            say(t, "mov.u32 %%r%u, %s;\n", i, axes[i]);
        else if (!from_memory)
            say(t, "mov.u32 %%r%u, 100;\n", i);
        else
            say(t, "ld.global.u32 %%r%u, [%%a0+%u];\n", i, 4 * i);
    }
    for (uint32_t i = 0; i < WIDE; i++) {
        if (from_memory)
            say(t, "ld.global.u32 %%t3, [%%a0+%u];\ncvt.u64.u32 %%q%u, %%t3;\n", 4 * i, i);
        else
            say(t, "cvt.u64.u32 %%q%u, %%r%u;\n", i, i);
    }
}

/* Results at places that are a line as well; some of them are read again through one. */
static void say_end(struct text *t)
{
    say(t, "selp.u32 %%t3, 1, 0, %%p0;\nst.global.u32 [%%a1+64], %%t3;\n");
    for (uint32_t i = 0; i < 4; i++)
        say(t, "st.global.u32 [%%a1+%u], %%r%u;\n", 4 * i, i);
    for (uint32_t i = 0; i < WIDE; i++)
        say(t, "st.global.u64 [%%a1+%u], %%q%u;\n", 16 + 8 * i, i);
    say(t, "ld.global.u32 %%t3, [%%a1+4];\nadd.s32 %%t3, %%t3, %%r4;\nadd.s32 %%t3, %%t3, %%r5;\n"
           "st.global.u32 [%%a1+4], %%t3;\nret;\n}\n");
}

static void launch(struct rig *rig, const char *name, const uint32_t shape[2],
                   const uint64_t *parameters)
{
    struct vgpu_launch launch = {
        .image = rig->image,
        .kernel = (uint32_t)vgpu_program_find_kernel(rig->program, name),
        .grid = {1, 1, 1},
        .block = {shape[0], shape[1], 1},
        .parameters = parameters,
    };
    struct vgpu_fault fault;

    if (vgpu_simt_run(&launch, &fault) != 0)
        fail_msg("%s: %s", name, fault.text);
}

static void run(struct rig *rig, const char *name, const uint32_t shape[2], void *in, void *out)
{
    launch(rig, name, shape, (uint64_t[]){(uintptr_t)in, (uintptr_t)out});
}

static void run_out(struct rig *rig, const char *name, const uint32_t shape[2], void *out)
{
    launch(rig, name, shape, (uint64_t[]){(uintptr_t)out});
}

/* What the special registers say, 128 bytes for each thread. */
static void fill(uint32_t *in, const uint32_t shape[2])
{
    for (uint32_t n = 0; n < shape[0] * shape[1]; n++) {
        uint32_t values[NARROW] = {n % shape[0], n / shape[0], 0, shape[0], n % 32, 100};

        memcpy(&in[32 * n], values, sizeof(values));
    }
}

static void check(struct text *t, const uint32_t shape[2])
{
    size_t bytes = (size_t)shape[0] * shape[1] * 128;
    void *in, *lines, *lanes;
    struct rig rig;

    rig_load(&rig, t->at);
    in = rig_allocate(&rig, bytes);
    lines = rig_allocate(&rig, bytes);
    lanes = rig_allocate(&rig, bytes);
    fill(in, shape);
    run(&rig, "lines", shape, in, lines);
    run(&rig, "lanes", shape, in, lanes);
    for (size_t i = 0; i < bytes / 4; i++) {
        if (((uint32_t *)lines)[i] != ((uint32_t *)lanes)[i])
            fail_msg("word %zu of thread %zu of %u x %u: 0x%x as a line, 0x%x as a lane, in\n%s",
                     i % 32, i / 32, shape[0], shape[1], ((uint32_t *)lines)[i],
                     ((uint32_t *)lanes)[i], t->at);
    }
    rig_drop(&rig);
}

static void check_body(const char *body, const uint32_t shape[2])
{
    static char buffer[65536];
    struct text t = {buffer, sizeof(buffer), 0};

    say(&t, HEADER);
    say_start(&t, "lines", false);
    say(&t, "%s", body);
    say_end(&t);
    say_start(&t, "lanes", true);
    say(&t, "%s", body);
    say_end(&t);
    check(&t, shape);
}

/* Fewer where each is compiled. */
static int program_count(void)
{
    const char *count = getenv("PROGRAMS");

    return count != NULL ? atoi(count) : PROGRAMS;
}

static void random_programs(const uint32_t shape[2])
{
    static char body[32768];

    for (int p = 0; p < program_count(); p++) {
        struct text b = {body, sizeof(body), 0};

        for (int i = 0; i < STEPS; i++)
            say_step(&b, p % 4 != 0);
        check_body(body, shape);
    }
}

/* Numbers that wrap around between two lanes of a segment. */
static void test_wrapping(void **state)
{
    (void)state;
    check_body("add.s32 %r0, %r0, 2147483643;\ncvt.s64.s32 %q0, %r0;\n"
               "mul.wide.s32 %q1, %r0, 3;\nmad.wide.s32 %q2, %r0, 5, %q1;\n"
               "sub.s32 %r1, %r4, 3;\ncvt.u64.u32 %q3, %r1;\nmul.wide.u32 %q4, %r1, 8;\n"
               "setp.lt.u32 %p0, %r1, %r3;\nshr.s32 %r2, %r1, 1;\n",
               (uint32_t[]){32, 1});
    check_body("sub.s32 %r1, %r0, 5;\nsetp.lt.u32 %p0, %r1, 1000;\nshr.u32 %r2, %r1, 2;\n"
               "and.b32 %r3, %r1, 3;\n",
               (uint32_t[]){32, 1});
    check_body("add.s32 %r1, %r0, 2147483645;\nsetp.gt.s32 %p0, %r1, 2147483646;\n",
               (uint32_t[]){32, 1});
}

static void test_rows(void **state)
{
    (void)state;
    random_programs((uint32_t[]){64, 1});
}

static void test_tiles(void **state)
{
    (void)state;
    random_programs((uint32_t[]){16, 16});
    random_programs((uint32_t[]){8, 8});
}

static void test_odd_shapes(void **state)
{
    (void)state;
    random_programs((uint32_t[]){5, 7});
    random_programs((uint32_t[]){40, 1});
    random_programs((uint32_t[]){24, 3});
}

/* Branches that part of a warp takes write rows that were lines for all of it. */
static void test_divergence(void **state)
{
    static const char *const text =
        HEADER ".visible .entry k(.param .u64 out)\n{\n.reg .pred %p<3>;\n.reg .b32 %r<8>;\n"
               ".reg .b64 %a<3>;\nld.param.u64 %a0, [out];\nmov.u32 %r0, %tid.x;\n"
               "mul.wide.u32 %a1, %r0, 4;\nadd.u64 %a0, %a0, %a1;\nmov.u32 %r1, 1000;\n"
               "mov.u32 %r3, 0;\nL0:\nsetp.ge.u32 %p0, %r3, %r0;\n@%p0 bra L1;\n"
               "add.u32 %r3, %r3, 1;\nadd.u32 %r1, %r1, %r3;\nbra L0;\nL1:\n"
               "and.b32 %r2, %r0, 1;\nsetp.eq.u32 %p1, %r2, 0;\n@%p1 bra L2;\n"
               "mul.lo.u32 %r1, %r3, 3;\nL2:\nadd.u32 %r1, %r1, %r0;\nst.global.u32 [%a0], %r1;\n"
               "ret;\n}\n";
    uint64_t parameter;
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, 4 * 96);
    parameter = (uintptr_t)out;
    rig_run(&rig, "k", (struct geometry){1, 96, 0}, &parameter);
    for (uint32_t i = 0; i < 96; i++)
        assert_int_equal(out[i], (i % 2 == 0 ? 1000 + i * (i + 1) / 2 : 3 * i) + i);
    rig_drop(&rig);
}

/* A line of addresses that leaves its memory is the fault of the first lane that does. */
static void test_fault_of_line(void **state)
{
    static const char *const text =
        HEADER ".visible .entry k(.param .u64 out)\n{\n.reg .b32 %r<2>;\n.reg .b64 %a<3>;\n"
               "ld.param.u64 %a0, [out];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %a1, %r0, 256;\n"
               "add.u64 %a0, %a0, %a1;\nst.global.u32 [%a0], %r0;\nret;\n}\n";
    struct vgpu_fault fault;
    uint64_t parameter;
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    parameter = (uintptr_t)rig_allocate(&rig, 4096);
    assert_true(rig_launch(&rig, "k", (struct geometry){1, 32, 0}, &parameter, &fault) != 0);
    assert_int_equal(fault.kind, VGPU_FAULT_ILLEGAL_ADDRESS);
    assert_int_equal(fault.thread[0], 16);
    assert_int_equal(fault.address, parameter + 4096);
    rig_drop(&rig);
}

/* Chains of products in shared memory, which one handler computes, against the same with volatile
   loads, which are left alone. Numbers are chosen so that order and rounding show. */
static void say_products(struct text *t, const char *name, const char *load, uint32_t rows,
                         bool swapped)
{
    say(t,
        ".visible .entry %s(.param .u64 out)\n{\n.reg .b32 %%r<9>;\n.reg .b64 %%a<3>;\n"
        ".reg .f32 %%x<9>, %%y<9>, %%s<9>;\n.reg .pred %%p<2>;\n.shared .align 4 .b8 m[8192];\n"
        "ld.param.u64 %%a0, [out];\nmov.u32 %%r0, %%tid.x;\nmov.u32 %%r1, %%tid.y;\n"
        "mov.u32 %%r2, %%ntid.x;\nmad.lo.u32 %%r3, %%r1, %%r2, %%r0;\nshl.b32 %%r4, %%r3, 2;\n"
        "mov.u32 %%r5, m;\nadd.u32 %%r5, %%r5, %%r4;\n",
        name);
    for (uint32_t i = 0; i < 4; i++)
        say(t,
            "xor.b32 %%r6, %%r3, %u;\ncvt.rn.f32.u32 %%x0, %%r6;\n"
            "fma.rn.f32 %%x0, %%x0, 0f3DCCCCCD, 0fC2C80000;\nst.shared.f32 [%%r5+%u], %%x0;\n",
            i * 5, i * 1024);
    say(t,
        "setp.eq.u32 %%p0, %%r3, 3;\n@%%p0 st.shared.u32 [%%r5], 0x7f800001;\nbar.sync 0;\n"
        "mov.u32 %%r6, m;\nshl.b32 %%r7, %%r1, %u;\nadd.u32 %%r7, %%r6, %%r7;\n"
        "shl.b32 %%r8, %%r0, 2;\nadd.u32 %%r8, %%r6, %%r8;\nmov.f32 %%s0, 0f3F800000;\n",
        rows);
    for (uint32_t i = 0; i < 6; i++) {
        if (!swapped)
            say(t, "%s.f32 %%x%u, [%%r7+%u];\n", load, i + 1, 4 * i);
        say(t, "%s.f32 %%y%u, [%%r8+%u];\n", load, i + 1, 1024 + 64 * i);
        if (swapped)
            say(t, "%s.f32 %%x%u, [%%r7+%u];\n", load, i + 1, 4 * i);
        say(t, "fma.rn.f32 %%s%u, %%x%u, %%y%u, %%s%u;\n", i + 1, i + 1, i + 1, i);
    }
    say(t, "mul.wide.u32 %%a1, %%r3, 4;\nadd.u64 %%a0, %%a0, %%a1;\n"
           "st.global.f32 [%%a0], %%s6;\nret;\n}\n");
}

static void check_products(const uint32_t shape[2], uint32_t rows, bool swapped)
{
    static char buffer[16384];
    struct text t = {buffer, sizeof(buffer), 0};
    size_t bytes = (size_t)shape[0] * shape[1] * 4;
    uint32_t *fused, *single;
    struct rig rig;
    bool nan = false;

    say(&t, HEADER);
    say_products(&t, "fused", "ld.shared", rows, swapped);
    say_products(&t, "single", "ld.volatile.shared", rows, swapped);
    rig_load(&rig, buffer);
    fused = rig_allocate(&rig, bytes);
    single = rig_allocate(&rig, bytes);
    run_out(&rig, "fused", shape, fused);
    run_out(&rig, "single", shape, single);
    assert_memory_equal(fused, single, bytes);
    for (size_t i = 0; i < bytes / 4; i++)
        nan |= fused[i] == 0x7fffffff;
    assert_true(nan);
    rig_drop(&rig);
}

static void test_products(void **state)
{
    (void)state;
    check_products((uint32_t[]){16, 16}, 6, false);
    check_products((uint32_t[]){16, 16}, 6, true);
    check_products((uint32_t[]){8, 8}, 5, false);
    check_products((uint32_t[]){8, 8}, 5, true);
    check_products((uint32_t[]){32, 4}, 7, false);
    check_products((uint32_t[]){32, 4}, 7, true);
    check_products((uint32_t[]){32, 1}, 2, false);
    check_products((uint32_t[]){32, 1}, 2, true);
    check_products((uint32_t[]){20, 3}, 4, false);
    check_products((uint32_t[]){20, 3}, 4, true);
}

/* A chain that leaves shared memory at its end is the fault of that load alone. */
static void test_fault_of_products(void **state)
{
    static const char *const text =
        HEADER ".visible .entry k(.param .u64 out)\n{\n.reg .b32 %r<2>;\n.reg .b64 %a<3>;\n"
               ".reg .f32 %x<5>, %s<3>;\n.shared .align 4 .b8 m[256];\nld.param.u64 %a0, [out];\n"
               "mov.u32 %r0, m;\nld.shared.f32 %x0, [%r0];\nld.shared.f32 %x1, [%r0+4];\n"
               "fma.rn.f32 %s1, %x0, %x1, 0f00000000;\nld.shared.f32 %x2, [%r0+8];\n"
               "ld.shared.f32 %x3, [%r0+256];\nfma.rn.f32 %s2, %x2, %x3, %s1;\n"
               "st.global.f32 [%a0], %s2;\nret;\n}\n";
    struct vgpu_fault fault;
    uint64_t parameter;
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    parameter = (uintptr_t)rig_allocate(&rig, 4096);
    assert_true(rig_launch(&rig, "k", (struct geometry){1, 32, 0}, &parameter, &fault) != 0);
    assert_int_equal(fault.kind, VGPU_FAULT_ILLEGAL_ADDRESS);
    assert_int_equal(fault.address, 256);
    assert_int_equal(fault.line, 16);
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_odd_shapes), cmocka_unit_test(test_wrapping),
        cmocka_unit_test(test_divergence), cmocka_unit_test(test_fault_of_line),
        cmocka_unit_test(test_products),   cmocka_unit_test(test_fault_of_products),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
