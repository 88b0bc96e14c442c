/* SPDX-License-Identifier: MIT */
/* VGPU_SOFT_PROFILE=1: what a process prints about its kernels when it ends. */
#include <sys/wait.h>
#include <unistd.h>

#include "soft/tests/harness.h"

/* 5 instructions of each warp count: what is the same for all of the launch is not theirs. */
static const char text[] =
    HEADER ".visible .entry copy(.param .u64 to)\n{\n.reg .b32 %r<3>;\n.reg .b64 %a<3>;\n"
           "ld.param.u64 %a0, [to];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %a1, %r0, 4;\n"
           "add.u64 %a2, %a0, %a1;\nld.global.u32 %r1, [%a2];\nst.global.u32 [%a2+4096], %r1;\n"
           "ret;\n}\n";

/* Three launches of two blocks of 64 threads in a process of its own; what it says at its end. */
static void profile_of(const char *value, char *output, size_t size)
{
    int ends[2], status;
    ssize_t got;
    size_t used = 0;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rig rig;
        uint64_t parameter;

        setenv("VGPU_SOFT_PROFILE", value, 1);
        dup2(ends[1], STDERR_FILENO);
        rig_load(&rig, text);
        parameter = (uintptr_t)rig_allocate(&rig, 8192);
        for (int i = 0; i < 3; i++)
            rig_run(&rig, "copy", (struct geometry){2, 64, 0}, &parameter);
        exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], output + used, size - 1 - used)) > 0)
        used += (size_t)got;
    output[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_table(void **state)
{
    unsigned long long launches, warps, instructions;
    double compiled, milliseconds, rate, bandwidth;
    char output[4096];
    const char *row;

    (void)state;
    profile_of("1", output, sizeof(output));
    row = strstr(output, "\ncopy ");
    assert_non_null(row);
    assert_int_equal(sscanf(row, " copy %llu %llu %llu %lf %lf %lf %lf", &launches, &warps,
                            &instructions, &compiled, &milliseconds, &rate, &bandwidth),
                     7);
    assert_int_equal(launches, 3);
    assert_int_equal(warps, 3 * 2 * 2);
    assert_int_equal(instructions, 5 * warps);
    assert_true(compiled >= 0 && compiled <= 100);
    assert_true(milliseconds > 0);
    /* Both rates are of the same time: 256 bytes for 5 instructions, as far as digits go. */
    assert_true(bandwidth * 1e3 * 5 <= 1.2 * 256 * rate + 256);
}

static void test_silence(void **state)
{
    char output[4096];

    (void)state;
    profile_of("0", output, sizeof(output));
    assert_string_equal(output, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_silence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
