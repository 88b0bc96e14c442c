/* SPDX-License-Identifier: MIT */
/* The PTX front end: what it accepts, how it says no, and text that means harm. */
#include "soft/tests/harness.h"

#include <errno.h>

static int load(const char *text, size_t length, char *log, size_t size)
{
    struct vgpu_program *program = NULL;
    int error = vgpu_program_create(text, length, log, size, &program);

    /* The first kernel that cannot be had, or a mistake anywhere. */
    for (uint32_t i = 0; error == 0 && i < vgpu_program_kernel_count(program); i++) {
        const struct vgpu_unit *unit;
        const char *message;

        error = vgpu_program_prepare(program, i, &unit, &message);
        if (message != NULL)
            snprintf(log, size, "%s", message);
    }
    if (error == 0)
        error = vgpu_program_check(program, log, size);
    vgpu_program_destroy(program);
    return error;
}

static void refused(const char *body, int error, const char *line, const char *word)
{
    char text[2048], log[256];
    int got;

    snprintf(text, sizeof(text),
             HEADER ".visible .entry k(.param .u64 x)\n{\n.reg .b32 %%r<4>;\n.reg .b64 %%q<4>;\n"
                    ".reg .f32 %%f<4>;\n.reg .pred %%p<4>;\n.shared .b32 s;\n%s\nret;\n}\n",
             body);
    got = load(text, strlen(text), log, sizeof(log));
    if (got != error || strstr(log, line) == NULL || strstr(log, word) == NULL)
        fail_msg("%s: %d, '%s'", body, got, log);
}

static void unsupported_is_said(void **state)
{
    (void)state;
    refused("wgmma.fence.sync.aligned;", -ENOTSUP, "line 11", "wgmma.fence.sync.aligned");
    refused("mma.sync.aligned.m16n8k8.row.row.f16.f16.f16.f16 {%r0}, {%r1}, {%r2}, {%r3};",
            -ENOTSUP, "line 11", "mma.sync");
    refused("ld.global.u32 %r0, [%q1, {%r0}];", -ENOTSUP, "line 11", "coordinates");
    refused("suld.p.1d.b32.trap {%r0}, [%q1, {%r1}];", -ENOTSUP, "line 11", "formatted");
    refused("add.s32.frob %r0, %r1, %r2;", -ENOTSUP, "line 11", ".frob");
    refused("atom.global.add.noftz.f16x4 %r0, [%q0], %r1;", -ENOTSUP, "line 11", "atom");
    refused("shfl.down.b32 %r0, %r1, 1, 31;", -ENOTSUP, "line 11", ".sync");
    refused("fma.rn.oob.f16 %h0, %h1, %h2, %h3;", -ENOTSUP, "line 11", ".oob");
    refused("mul.wide.u64 %q0, %q1, %q2;", -ENOTSUP, "line 11", "128");
}

static void mistakes_are_said(void **state)
{
    (void)state;
    refused("add.s32 %r0, %r1, %q2;", -EINVAL, "line 11", "'%q2'");
    refused("tex.1d.v4.f32.s32 {%f0,%f1,%f2,%f3}, [s, {%r0}];", -EINVAL, "line 11", "no texture");
    refused("add.s64 %q0, %q1, %r2;", -EINVAL, "line 11", "width");
    refused("add.s32 %r0, %r1, %r9;", -EINVAL, "line 11", "%r9");
    refused("frobnicate %r0;", -EINVAL, "line 11", "frobnicate");
    refused("add.s32 %r0, %r1;", -EINVAL, "line 11", "2 operands");
    refused("add.s32 %q0, %r1, %r2;", -EINVAL, "line 11", "width");
    refused("mov.u32 5, %r1;", -EINVAL, "line 11", "destination");
    refused("bra nowhere;", -EINVAL, "line 11", "nowhere");
    refused("@%r0 bra k;", -EINVAL, "line 11", "guard");
    refused("add.s32 %r0, %r1, %r2", -EINVAL, "line 12", "';'");
    refused("ld.global.u32 %r0, [s];", -EINVAL, "line 11", "state space");
    refused("ld.param.u32 %r0, [x+8];", -EINVAL, "line 11", "beyond");
    refused("ld.param.u64 %q0, [x+9223372036854775807];", -EINVAL, "line 11", "beyond");
    refused("ld.global.u32 %r0, [%r1];", -EINVAL, "line 11", "wide");
    refused("ld.global.v2.u32 {%r0, %q1}, [%q1];", -EINVAL, "line 11", "width");
    refused("mov.u32 %r0, 99999999999999999999;", -EINVAL, "line 11", "9999");
    refused(".reg .b32 %r<4>;", -EINVAL, "line 11", "twice");
    refused("l: l: ret;", -EINVAL, "line 11", "twice");
    refused("call nothing, (%r0);", -ENOTSUP, "line 11", "not declared");
    refused("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r0}, {%r1}, {%r2}, {%r3};", -EINVAL,
            "line 11", "fragment");
    refused("mov.u32 %r0, \"text\";", -EINVAL, "line 11", "text");
}

static void forms_of_the_language(void **state)
{
    static const char text[] =
        "// a comment\n.version 7.0 /* another */\n.target sm_75, texmode_independent\n"
        ".address_size 64\n.file 1 \"a.cu\"\n"
        ".global .align 4 .u32 numbers[2][3] = {{1, 2}, {0x10, 020, 0b11U}};\n"
        ".global .f32 values[] = {1.5, 0f40000000, -2.0};\n"
        ".const .align 8 .b8 bytes[8] = {1, 2, 0xff};\n"
        ".global .u64 address = numbers+4;\n"
        ".global .b8 split[8] = {0xFF(numbers), 0xFF00(numbers), 0xFF0000(numbers)};\n"
        ".visible .entry first(.param .u64 .ptr .global .align 4 p, .param .align 4 .b8 q[12])\n"
        ".maxntid 128, 2, 1\n.minnctapersm 2\n{\n"
        ".reg .b64 %rd<3>;\n.reg .pred %p;\n.reg .u32 %r<3>;\n"
        ".loc 1 5 3, function_name info, inlined_at 1 2 3\n"
        "mov.u32 %r0, %tid.x; setp.eq.u32 %p, %r0, 0;\n"
        "{ .reg .u32 %r<2>; .reg .b16 lo, hi; mov.u32 %r1, 5; mov.b32 {lo, hi}, %r1;\n"
        "  inner: @!%p bra inner2; inner2: }\n"
        "{ .reg .u32 x; inner: bra.uni inner3; inner3: mov.u32 x, %r2; }\n"
        "ld.param.u64 %rd1, [p];\nld.param.u32 %r1, [q+8];\nst.global.u32 [%rd1], %r1;\n"
        "add.u32 %r0, %ctaid.x, %ntid.x;\nst.volatile.global.u32 [%rd1+4], 7;\n"
        "\tret;\n}\n"
        ".section .debug_str { .b8 1,2 { nested } }\n"
        ".visible .entry second() { .local .align 8 .b8 l[40]; ret; }\n";
    const struct vgpu_unit *unit;
    struct vgpu_kernel_needs needs;
    struct vgpu_kernel_info info;
    struct rig rig;
    uint64_t address;
    size_t size;
    const uint32_t *numbers;
    const float *values;

    (void)state;
    rig_load(&rig, text);
    assert_int_equal(vgpu_program_kernel_count(rig.program), 2);
    assert_int_equal(vgpu_program_find_kernel(rig.program, "second"), 1);
    assert_int_equal(vgpu_program_find_kernel(rig.program, "third"), -ENOENT);
    assert_int_equal(vgpu_program_kernel_info(rig.program, 2, &info), -ENOENT);
    assert_int_equal(vgpu_program_kernel_info(rig.program, 0, &info), 0);
    assert_string_equal(info.name, "first");
    assert_int_equal(info.parameter_count, 2);
    assert_int_equal(info.parameter_offset[1], 8);
    assert_int_equal(info.parameter_size[1], 12);
    assert_int_equal(info.parameter_bytes, 20);
    assert_int_equal(info.max_threads, 256);
    assert_int_equal(info.ptx_version, 70);
    assert_int_equal(info.target, 75);
    assert_int_equal(info.constant_bytes, 8);
    assert_int_equal(vgpu_program_kernel_info(rig.program, 1, &info), 0);
    assert_int_equal(vgpu_program_prepare(rig.program, 1, &unit, NULL), 0);
    vgpu_unit_needs(unit, &needs);
    assert_int_equal(needs.local_bytes, 40);
    assert_int_equal(vgpu_image_global(rig.image, "numbers", &address, &size), 0);
    assert_int_equal(size, 24);
    numbers = (const uint32_t *)(uintptr_t)address;
    assert_true(numbers[0] == 1 && numbers[1] == 2 && numbers[2] == 0 && numbers[3] == 16 &&
                numbers[4] == 16 && numbers[5] == 3);
    assert_int_equal(vgpu_image_global(rig.image, "address", &address, &size), 0);
    assert_int_equal(*(uint64_t *)(uintptr_t)address, (uint64_t)(uintptr_t)(numbers + 1));
    assert_int_equal(vgpu_image_global(rig.image, "split", &address, &size), 0);
    assert_int_equal(*(uint32_t *)(uintptr_t)address, (uint32_t)(uintptr_t)numbers & 0xffffff);
    assert_int_equal(vgpu_image_global(rig.image, "values", &address, &size), 0);
    assert_int_equal(size, 12);
    values = (const float *)(uintptr_t)address;
    assert_true(values[0] == 1.5f && values[1] == 2.0f && values[2] == -2.0f);
    rig_drop(&rig);
}

/* A kernel that cannot be had is no other kernel's loss. */
static void one_kernel_is_refused_alone(void **state)
{
    static const char text[] = HEADER
        ".extern .func missing();\n.extern .global .b32 nowhere;\n.global .u32 here = 5;\n"
        ".func deep() { wgmma.fence.sync.aligned; ret; }\n"
        ".visible .entry works(.param .u64 p) { .reg .b64 q; .reg .b32 r; ld.param.u64 q, [p];"
        " ld.global.u32 r, [here]; st.global.u32 [q], r; ret; }\n"
        ".visible .entry unsupported() { call deep; ret; }\n"
        ".visible .entry undefined() { call missing; ret; }\n"
        ".visible .entry lost() { .reg .b64 q; mov.u64 q, nowhere; ret; }\n";
    static const char *const words[] = {"wgmma", "missing", "nowhere"};
    static const int errors[] = {-ENOTSUP, -ENOLINK, -ENOLINK};
    const struct vgpu_unit *unit;
    const char *message;
    struct rig rig;
    uint32_t *out;

    (void)state;
    rig_load(&rig, text);
    out = rig_allocate(&rig, sizeof(*out));
    for (uint32_t k = 1; k < 4; k++) {
        assert_int_equal(vgpu_program_prepare(rig.program, k, &unit, &message), errors[k - 1]);
        assert_non_null(message);
        assert_non_null(strstr(message, words[k - 1]));
        assert_int_equal(vgpu_program_prepare(rig.program, k, &unit, &message), errors[k - 1]);
        assert_null(message); /* said once */
    }
    rig_run(&rig, "works", (struct geometry){1, 1, 0}, &out);
    assert_int_equal(*out, 5);
    rig_drop(&rig);
}

/* Who wants to know looks at all of a text at once. */
static void a_check_finds_what_no_kernel_uses(void **state)
{
    static const char *const bodies[] = {
        "wgmma.fence.sync.aligned;",
        "call elsewhere;",
        "add.s32 1;",
    };
    static const int errors[] = {-ENOTSUP, -ENOLINK, -EINVAL};
    char text[512], log[256];
    struct rig rig;

    (void)state;
    for (unsigned n = 0; n < COUNT(bodies); n++) {
        snprintf(text, sizeof(text),
                 HEADER ".extern .func elsewhere();\n.func unused()\n{\n%s\nret;\n}\n"
                        ".visible .entry works() { ret; }\n",
                 bodies[n]);
        rig_load(&rig, text);
        assert_int_equal(vgpu_program_check(rig.program, log, sizeof(log)), errors[n]);
        assert_non_null(strstr(log, "line 7"));
        rig_run(&rig, "works", (struct geometry){1, 1, 0}, NULL);
        rig_drop(&rig);
    }
}

static void texts_are_linked(void **state)
{
    static const char first[] = HEADER
        ".extern .func (.param .b32 r) twice(.param .b32 x);\n.extern .global .b32 shared_by_two;\n"
        ".global .b32 own = 100;\n.weak .func (.param .b32 r) choice() { .reg .b32 a; mov.b32 a, 1;"
        " st.param.b32 [r], a; ret; }\n"
        ".visible .entry k(.param .u64 p) { .reg .b64 q; .reg .b32 a, b;\n"
        "ld.param.u64 q, [p]; ld.global.b32 a, [own];\n"
        "{ .param .b32 x; .param .b32 r; st.param.b32 [x], a; call (r), twice, (x);"
        " ld.param.b32 a, [r]; }\n"
        "ld.global.b32 b, [shared_by_two]; add.s32 a, a, b;\n"
        "{ .param .b32 r; call (r), choice; ld.param.b32 b, [r]; } add.s32 a, a, b;\n"
        "st.global.b32 [q], a; ret; }\n";
    static const char second[] =
        HEADER ".visible .global .b32 shared_by_two = 7;\n.global .b32 own = 30;\n"
               ".weak .func (.param .b32 r) choice() { .reg .b32 a; mov.b32 a, 1000;"
               " st.param.b32 [r], a; ret; }\n"
               ".visible .func (.param .b32 r) twice(.param .b32 x) { .reg .b32 a, b;\n"
               "ld.param.b32 a, [x]; add.s32 a, a, a; ld.global.b32 b, [own]; add.s32 a, a, b;\n"
               "st.param.b32 [r], a; ret; }\n";
    const struct vgpu_text texts[] = {{first, sizeof(first) - 1}, {second, sizeof(second) - 1}};
    const struct vgpu_text both[] = {{second, sizeof(second) - 1}, {second, sizeof(second) - 1}};
    struct vgpu_program *program;
    struct rig rig = {0};
    char log[200];
    uint32_t *out;

    (void)state;
    assert_int_equal(vgpu_program_link(both, 2, log, sizeof(log), &program), -EINVAL);
    assert_non_null(strstr(log, "twice"));
    assert_int_equal(vgpu_program_link(texts, 2, log, sizeof(log), &rig.program), 0);
    assert_int_equal(vgpu_memory_create((size_t)1 << 30, &rig.memory), 0);
    assert_int_equal(vgpu_image_create(rig.program, rig.memory, &rig.image), 0);
    out = rig_allocate(&rig, sizeof(*out));
    rig_run(&rig, "k", (struct geometry){1, 1, 0}, &out);
    assert_int_equal(*out, 2 * 100 + 30 + 7 + 1);
    rig_drop(&rig);
}

static void shared_variables_have_places(void **state)
{
    static const char text[] = HEADER
        ".shared .align 16 .b8 a[40];\n.shared .b32 b;\n.extern .shared .align 16 .b8 rest[];\n"
        ".func f() { .reg .b32 r; mov.u32 r, b; ret; }\n"
        ".visible .entry one() { .reg .b32 r; mov.u32 r, a; ret; }\n"
        ".visible .entry two() { call f; ret; }\n"
        ".visible .entry three() { .reg .b32 r; mov.u32 r, a; mov.u32 r, b; ret; }\n"
        ".visible .entry none() { ret; }\n";
    static const uint32_t bytes[] = {40, 4, 44, 0};
    const struct vgpu_unit *unit;
    struct vgpu_kernel_needs needs;
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    for (uint32_t k = 0; k < 4; k++) {
        assert_int_equal(vgpu_program_prepare(rig.program, k, &unit, NULL), 0);
        vgpu_unit_needs(unit, &needs);
        assert_int_equal(needs.static_shared_bytes, bytes[k]);
    }
    rig_drop(&rig);
}

static char *slurp(const char *name, size_t *size)
{
    char path[512], *text = malloc(1 << 20);
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", getenv("KERNELS"), name);
    file = fopen(path, "rb");
    assert_non_null(file);
    *size = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static void truncated_text(void **state)
{
    size_t size;
    char *text = slurp("flow.ptx", &size);

    (void)state;
    for (size_t n = 0; n < size; n++) {
        /* In a block of its own, so that a read behind the end is seen by checkers. */
        char *part = malloc(n + 1), log[100];

        memcpy(part, text, n);
        load(part, n, log, sizeof(log));
        free(part);
    }
    free(text);
}

static void damaged_text(void **state)
{
    static const char signs[] = ";{}()[],.:%$@!<>+-|_0129afx\"/*\n \t";
    size_t size;
    char *text = slurp("cooperation.ptx", &size), *copy = malloc(size), log[100];
    unsigned failed = 0;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, text, size);
        for (uint64_t k = random_bits() % 6 + 1; k > 0; k--)
            copy[random_bits() % size] =
                random_bits() % 8 == 0 ? (char)random_bits() : signs[random_bits() % 33];
        failed += load(copy, size, log, sizeof(log)) != 0;
    }
    assert_true(failed > 1000);
    free(copy);
    free(text);
}

static void repeated(const char *before, const char *unit, size_t times, const char *after,
                     int error)
{
    size_t length = strlen(unit), n = strlen(before);
    char *text = malloc(n + length * times + strlen(after) + 1), log[200] = "";
    int got;

    memcpy(text, before, n);
    for (size_t k = 0; k < times; k++, n += length)
        memcpy(text + n, unit, length);
    strcpy(text + n, after);
    got = load(text, strlen(text), log, sizeof(log));
    if (got != error)
        fail_msg("%zu x '%s': %d, %s", times, unit, got, log);
    free(text);
}

static void hostile_text(void **state)
{
    (void)state;
    repeated(HEADER ".entry k() ", "{", 100000, "", -EINVAL);
    repeated(HEADER ".entry k() { add.s32 ", "{", 100000, "", -EINVAL);
    repeated(HEADER ".entry k() { call ", "(", 100000, "", -EINVAL);
    repeated(HEADER ".entry k() { mov.u32 %r0, ", "!", 100000, "", -EINVAL);
    repeated(HEADER ".global .u32 x[4] = ", "{", 100000, "", -EINVAL);
    repeated(HEADER ".global .u32 x", "[2]", 100000, ";", -ENOTSUP);
    repeated(HEADER ".entry k() { mov", ".u32", 100000, " a, b;}", -ENOTSUP);
    repeated(HEADER ".entry k() { add.u32 a", ", 1", 100000, ";}", -ENOTSUP);
    repeated(HEADER ".entry k() {", "l:", 1, "{ l: bra l; } bra l; }", 0);
    repeated(HEADER ".entry k() {", "{}", 100000, "}", 0);
    repeated(HEADER ".entry k() {", ";", 1000000, "}", 0);
    repeated(HEADER ".entry k() { .reg .u32 %r<4000000000>; mov.u32 %r3999999999, 1;", "", 0, "}",
             -EINVAL);
    repeated(HEADER ".entry k() { .reg .u32 %r<999999999>; mov.u32 %r999999998, 1;", "", 0, "}", 0);
    repeated(HEADER ".entry k() { .local .b8 x[99999999999]; }", "", 0, "", -ENOTSUP);
    repeated(HEADER ".global .b8 x[1099511627776] = {1};", "", 0, "", 0);
    repeated(HEADER ".global .b8 x[4000000][4000000][4000000];", "", 0, "", -EINVAL);
    repeated(HEADER ".entry k(.param .b8 x[300000000]) {}", "", 0, "", -ENOTSUP);
    repeated(HEADER "/*", "*", 100000, "", 0);
    repeated("", "\0", 0, "", -EINVAL);
    repeated(".version ", "9", 100000, ".9", -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_kernel_is_refused_alone),
        cmocka_unit_test(a_check_finds_what_no_kernel_uses),
        cmocka_unit_test(texts_are_linked),
        cmocka_unit_test(unsupported_is_said),
        cmocka_unit_test(mistakes_are_said),
        cmocka_unit_test(forms_of_the_language),
        cmocka_unit_test(shared_variables_have_places),
        cmocka_unit_test(truncated_text),
        cmocka_unit_test(damaged_text),
        cmocka_unit_test(hostile_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
