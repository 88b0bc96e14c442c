/* SPDX-License-Identifier: MIT */
/* The local frame: alloca and its kin, and arguments that a function does not name. */
#include "soft/tests/harness.h"

#include <errno.h>

/* Allocates 1000 bytes n times, and gives them back each time if the last parameter is not 0. */
static const char loop[] = HEADER
    ".visible .entry loop(.param .u64 to, .param .u32 n, .param .u32 back)\n{\n"
    ".reg .b64 %d<6>;\n.reg .b32 %r<8>;\n.reg .pred %p<3>;\n"
    "ld.param.u64 %d1, [to];\nld.param.u32 %r1, [n];\nld.param.u32 %r2, [back];\n"
    "setp.ne.u32 %p1, %r2, 0;\nmov.u32 %r3, 0;\nmov.u64 %d2, 1000;\nmov.u32 %r6, %tid.x;\n"
    "again:\nstacksave.u64 %d4;\nalloca.u64 %d3, %d2, 64;\n"
    "cvt.u32.u64 %r5, %d3;\nand.b32 %r5, %r5, 63;\nadd.u32 %r3, %r3, %r5;\n"
    "st.local.u32 [%d3], %r6;\nst.local.u32 [%d3+996], %r6;\n"
    "ld.local.u32 %r4, [%d3+996];\nadd.u32 %r3, %r3, %r4;\n"
    "@%p1 stackrestore.u64 %d4;\n"
    "sub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p2, %r1, 0;\n@%p2 bra again;\n"
    "mul.wide.u32 %d5, %r6, 4;\nadd.u64 %d1, %d1, %d5;\nst.global.u32 [%d1], %r3;\nret;\n}\n";

static void what_is_given_back_is_used_again(void **state)
{
    struct rig rig;
    struct vgpu_fault fault;
    struct {
        uint32_t *to, n, back;
    } p = {NULL, 5000, 1};

    (void)state;
    rig_load(&rig, loop);
    p.to = rig_allocate(&rig, 64 * sizeof(*p.to));
    rig_run(&rig, "loop", (struct geometry){1, 64, 0}, &p);
    for (uint32_t t = 0; t < 64; t++)
        assert_int_equal(p.to[t], 5000 * t);
    p.n = 20;
    p.back = 0;
    rig_run(&rig, "loop", (struct geometry){1, 64, 0}, &p);
    assert_int_equal(p.to[63], 20 * 63);
    /* The stack has an end. */
    p.n = 5000;
    assert_int_equal(rig_launch(&rig, "loop", (struct geometry){1, 64, 0}, &p, &fault), -EFAULT);
    assert_int_equal(fault.kind, VGPU_FAULT_STACK);
    assert_non_null(strstr(fault.text, "alloca.u64 %d3, %d2, 64;"));
    rig_drop(&rig);
}

/* Sizes differ from lane to lane, and what is called gets memory of its own. */
static void lanes_have_their_own_sizes(void **state)
{
    static const char text[] =
        HEADER ".func (.param .b32 r) nine()\n{\n.reg .b32 %a, %b;\n.local .b32 own;\n"
               "mov.u32 %a, 9;\nst.local.u32 [own], %a;\nalloca.u32 %b, 4;\n"
               "st.local.u32 [%b], %a;\nst.param.b32 [r], %a;\nret;\n}\n"
               ".visible .entry k(.param .u64 to)\n{\n.reg .b64 %d<4>;\n.reg .b32 %r<9>;\n"
               ".param .b32 got;\n"
               "mov.u32 %r1, %tid.x;\nadd.u32 %r2, %r1, 4;\nand.b32 %r2, %r2, -4;\n"
               "alloca.u32 %r3, %r2, 4;\nadd.u32 %r4, %r3, %r2;\nst.local.u32 [%r4+-4], %r1;\n"
               "alloca.u32 %r5, 4, 4;\nst.local.u32 [%r5], %r2;\n"
               "call (got), nine;\nld.param.b32 %r6, [got];\n"
               "ld.local.u32 %r7, [%r4+-4];\nadd.u32 %r6, %r6, %r7;\n"
               "ld.local.u32 %r7, [%r5];\nadd.u32 %r6, %r6, %r7;\n"
               "ld.param.u64 %d1, [to];\nmul.wide.u32 %d2, %r1, 4;\nadd.u64 %d1, %d1, %d2;\n"
               "st.global.u32 [%d1], %r6;\nret;\n}\n";
    struct rig rig;
    uint32_t *to;

    (void)state;
    rig_load(&rig, text);
    to = rig_allocate(&rig, 96 * sizeof(*to));
    rig_run(&rig, "k", (struct geometry){1, 96, 0}, &to);
    for (uint32_t t = 0; t < 96; t++)
        assert_int_equal(to[t], t + ((t + 4) & ~3u) + 9);
    rig_drop(&rig);
}

static void wrong_stacks_are_refused(void **state)
{
    static const char text[] = HEADER ".visible .entry k()\n{\n.reg .b64 %d;\nmov.u64 %d, 512;\n"
                                      "stackrestore.u64 %d;\nret;\n}\n";
    struct rig rig;
    struct vgpu_fault fault;

    (void)state;
    rig_load(&rig, text);
    assert_int_equal(rig_launch(&rig, "k", (struct geometry){1, 1, 0}, NULL, &fault), -EFAULT);
    assert_int_equal(fault.kind, VGPU_FAULT_STACK);
    rig_drop(&rig);
}

#define DECLARES_PRINTF                                                                            \
    ".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n"                       \
    ".global .align 1 .b8 format[16] = {37, 100, 32, 37, 103, 32, 37, 108, 120, 10, 0};\n"

/* A function of its own that hands on what it was given: vprintf's arguments are "...". */
static void arguments_without_names_reach_printf(void **state)
{
    static const char text[] = HEADER DECLARES_PRINTF
        ".func say(.param .b64 format, .param .align 8 .b8 rest[])\n{\n.reg .b64 %d<4>;\n"
        ".param .b64 f;\n.param .b64 a;\n.param .b32 n;\n"
        "ld.param.b64 %d1, [format];\nst.param.b64 [f], %d1;\n"
        "mov.u64 %d2, rest;\ncvta.local.u64 %d3, %d2;\nst.param.b64 [a], %d3;\n"
        "call (n), vprintf, (f, a);\nret;\n}\n"
        ".visible .entry k()\n{\n.reg .b64 %d<4>;\n.reg .b32 %r;\n"
        ".param .b64 f;\n.param .align 8 .b8 rest[24];\n"
        "mov.u64 %d1, format;\ncvta.global.u64 %d2, %d1;\nst.param.b64 [f], %d2;\n"
        "mov.u32 %r, %tid.x;\nst.param.b32 [rest], %r;\n"
        "st.param.f64 [rest+8], 0d3FE0000000000000;\nst.param.b64 [rest+16], 0xdeadbeefcafe;\n"
        "call say, (f, rest);\nret;\n}\n";
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    rig_run(&rig, "k", (struct geometry){1, 2, 0}, NULL);
    assert_string_equal(rig.output, "0 0.5 deadbeefcafe\n1 0.5 deadbeefcafe\n");
    rig_drop(&rig);
}

static void misuse_of_unnamed_arguments_is_refused(void **state)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {".func f(.param .b8 a[], .param .b32 b)\n{\nret;\n}\n", -EINVAL},
        {".visible .entry f(.param .b8 a[])\n{\nret;\n}\n", -EINVAL},
        {".func f(.param .b32 n, .param .b8 a[])\n{\nret;\n}\n"
         ".visible .entry k()\n{\ncall f;\nret;\n}\n",
         -EINVAL},
        {".func f(.param .b8 a[])\n{\nret;\n}\n"
         ".visible .entry k()\n{\n.param .b8 x[5000];\ncall f, (x);\nret;\n}\n",
         -ENOTSUP},
    };

    (void)state;
    for (unsigned n = 0; n < COUNT(cases); n++) {
        struct vgpu_program *program = NULL;
        char text[512], log[256] = "";
        int error;

        snprintf(text, sizeof(text), HEADER "%s", cases[n].text);
        error = vgpu_program_create(text, strlen(text), log, sizeof(log), &program);
        if (error == 0)
            error = vgpu_program_check(program, log, sizeof(log));
        assert_int_equal(error, cases[n].error);
        vgpu_program_destroy(program);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_back_is_used_again),
        cmocka_unit_test(lanes_have_their_own_sizes),
        cmocka_unit_test(wrong_stacks_are_refused),
        cmocka_unit_test(arguments_without_names_reach_printf),
        cmocka_unit_test(misuse_of_unnamed_arguments_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
