/* SPDX-License-Identifier: MIT */
/* vgpu-mailbox as its user meets it: what it prints and the status it ends with. argv[1]: the
 * program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/tests/fake_mediator.h"

struct fixture {
    const char *program;
    struct fake_mediator fake;
};

static int setup(void **state)
{
    struct fixture *f = *state;
    const char *program = f->program;
    *f = (struct fixture){.program = program};
    fake_mediator_start(&f->fake);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fake_mediator_stop(&f->fake);
    return 0;
}

/* Runs it with one argument; returns its exit status and all that it printed. */
static int run(const struct fixture *f, const char *argument, char *text, size_t size)
{
    char command[512];
    snprintf(command, sizeof(command), "'%s' %s 2>&1", f->program, argument);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    text[fread(text, 1, size - 1, pipe)] = 0;
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void help_and_usage(void **state)
{
    char text[2048];
    assert_int_equal(run(*state, "--help", text, sizeof(text)), 0);
    assert_non_null(strstr(text, "usage: vgpu-mailbox [identify | status | add]"));
    assert_int_equal(run(*state, "dance", text, sizeof(text)), 2);
    assert_int_equal(run(*state, "add more", text, sizeof(text)), 2);
}

static void sums_are_checked(void **state)
{
    char text[2048];
    assert_int_equal(run(*state, "add", text, sizeof(text)), 0);
    assert_non_null(strstr(text, "100 sums from the GPU are right"));
}

static void failures_have_statuses_of_their_own(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum fake_greeting greeting;
        enum fake_answer answer;
        enum vgpu_mailbox_status status;
        int expected;
        const char *word;
    } cases[] = {
        {FAKE_REFUSES, 0, 0, 4, "no more VMs"},
        {FAKE_GREETS_GARBAGE, 0, 0, 8, "not a vgpu mediator"},
        {0, FAKE_CLOSES, 0, 4, "went away"},
        {0, FAKE_CUT_OFF, 0, 8, "cut off"},
        {0, FAKE_STATUS, VGPU_MAILBOX_BUSY, 5, "busy"},
        {0, FAKE_STATUS, VGPU_MAILBOX_BAD_LENGTH, 6, "length"},
        {0, FAKE_STATUS, VGPU_MAILBOX_GPU_ERROR, 9, "CUDA error"},
        {0, FAKE_STATUS, VGPU_MAILBOX_REFUSED, 4, "refused"},
        {0, FAKE_STATUS, VGPU_MAILBOX_VERSION_MISMATCH, 8, "another protocol"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[2048];
        f->fake.greeting = cases[i].greeting;
        f->fake.answer = cases[i].answer;
        f->fake.status = cases[i].status;
        assert_int_equal(run(f, "add", text, sizeof(text)), cases[i].expected);
        assert_non_null(strstr(text, cases[i].word));
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    }
}

/* The fake sends unknown requests back as they came: what it is asked for, it does not have. */
static void answers_of_a_wrong_size_are_refused(void **state)
{
    char text[2048];
    assert_int_not_equal(run(*state, "identify", text, sizeof(text)), 0);
    assert_int_not_equal(run(*state, "status", text, sizeof(text)), 0);
}

static void no_mediator_is_away(void **state)
{
    char text[2048];
    setenv("VGPU_SOCKET", "/tmp/vgpu-nobody.sock", 1);
    assert_int_equal(run(*state, "add", text, sizeof(text)), 4);
    assert_non_null(strstr(text, "is vgpu-mediator running?"));
}

#define TOOL_TEST(name) cmocka_unit_test_prestate_setup_teardown(name, setup, teardown, &fixture)

int main(int count, char **arguments)
{
    static struct fixture fixture;
    const struct CMUnitTest tests[] = {
        TOOL_TEST(help_and_usage),
        TOOL_TEST(sums_are_checked),
        TOOL_TEST(failures_have_statuses_of_their_own),
        TOOL_TEST(answers_of_a_wrong_size_are_refused),
        TOOL_TEST(no_mediator_is_away),
    };
    if (count != 2)
        return 2;
    fixture.program = arguments[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
