/* SPDX-License-Identifier: MIT */
/** vgpu-run, from a folder that is laid out as a build tree and has the fake worker in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mediator/tests/client.h"

static char tree[] = "/tmp/vgpu-run-test-XXXXXX";

static void shell(const char *command)
{
    if (system(command) != 0)
        fail_msg("%s", command);
}

static int make_tree(void **state)
{
    char run_folder[64];

    (void)state;
    assert_non_null(mkdtemp(tree));
    snprintf(run_folder, sizeof(run_folder), "%s/run", tree);
    setenv("TREE", tree, 1);
    shell("mkdir -p $TREE/mediator $TREE/worker $TREE/guest/lib $TREE/run");
    shell("cp $VGPU_RUN $VGPU_MEDIATOR $TREE/mediator && cp $FAKE_WORKER $TREE/worker/vgpu-worker");
    setenv("XDG_RUNTIME_DIR", run_folder, 1);
    setenv("VGPU_DRIVER", "soft", 1); /* so that a mediator of this host is not used */
    unsetenv("VGPU_SOCKET");
    unsetenv("LD_LIBRARY_PATH");
    return 0;
}

static int remove_tree(void **state)
{
    (void)state;
    shell("rm -r $TREE");
    return 0;
}

/** Nothing of the private mediator is left: neither its folder nor a process of this tree. */
static bool is_clean(void)
{
    return system("test -z \"$(ls -A $TREE/run)\"") == 0 &&
           system("for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in $TREE/*) exit 1;; "
                  "esac; done; exit 0") == 0;
}

/** Runs vgpu-run with shell words for arguments; its exit status. */
static int run(const char *arguments)
{
    char command[1024];

    snprintf(command, sizeof(command), "$TREE/mediator/vgpu-run %s", arguments);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_programs_status_is_passed_on(void **state)
{
    (void)state;
    assert_int_equal(run("true"), 0);
    assert_int_equal(run("sh -c 'exit 7'"), 7);
    assert_int_equal(run("sh -c 'kill -11 $$'"), 128 + 11);
    assert_int_equal(run("/nowhere/a.out 2>/dev/null"), 127);
    assert_int_equal(run("$TREE 2>/dev/null"), 126);
    assert_int_equal(run("2>/dev/null"), 125);
    assert_int_equal(run("--frobnicate true 2>/dev/null"), 125);
    assert_int_equal(run("--driver=fast true 2>/dev/null"), 125);
    assert_int_equal(run("--help >/dev/null"), 0);
    assert_true(is_clean());
}

static void the_program_finds_library_and_socket(void **state)
{
    (void)state;
    assert_int_equal(run("sh -c 'test \"$LD_LIBRARY_PATH\" = $TREE/guest/lib'"), 0);
    assert_int_equal(run("sh -c 'test -S \"$VGPU_SOCKET\"'"), 0);
    assert_int_equal(run("sh -c 'test -z \"$NOTIFY_SOCKET\"'"), 0);
    shell("printf '%s\\n' -x --help 'a b' >$TREE/arguments");
    assert_int_equal(run("printf '%s\\n' -x --help 'a b' | cmp - $TREE/arguments"), 0);
    setenv("LD_LIBRARY_PATH", "/opt/x", 1);
    assert_int_equal(run("sh -c 'test \"$LD_LIBRARY_PATH\" = $TREE/guest/lib:/opt/x'"), 0);
    unsetenv("LD_LIBRARY_PATH");
    assert_true(is_clean());
}

static void the_private_mediator_serves(void **state)
{
    (void)state;
    assert_int_equal(run("$SELF --attach"), 0);
    assert_true(is_clean());
}

/** What this program does when it is run as $SELF --attach. */
static int attach_and_open(void)
{
    struct test_client client;
    struct vgpu_mailbox_channel channel;

    test_client_create(&client);
    test_client_attach(&client, getenv("VGPU_SOCKET"), "program");
    return test_client_open(&client, "wait", &channel) == VGPU_MAILBOX_OK ? 0 : 1;
}

static void a_mediator_that_answers_is_used(void **state)
{
    struct test_mediator mediator;

    (void)state;
    unsetenv("VGPU_DRIVER");
    test_mediator_create(&mediator, "driver=soft\n");
    setenv("VGPU_SOCKET", mediator.process, 1);
    assert_int_equal(run("sh -c 'test -z \"$(ls -A $TREE/run)\"'"), 0); /* none of its own */
    assert_int_equal(run("$SELF --attach"), 0);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    assert_int_equal(run("true 2>/dev/null"), 125); /* asked for, and not there */
    test_mediator_destroy(&mediator);
    unsetenv("VGPU_SOCKET");
    setenv("VGPU_DRIVER", "soft", 1);
}

/** Starts vgpu-run with a program that tells when it runs; returns vgpu-run's process. */
static pid_t start_sleeper(const char *program)
{
    char path[128];
    pid_t child;

    shell("rm -f $TREE/started");
    snprintf(path, sizeof(path), "%s/mediator/vgpu-run", tree);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(path, path, "sh", "-c", program, NULL);
        _exit(99);
    }
    snprintf(path, sizeof(path), "%s/started", tree);
    test_await(access(path, F_OK) == 0, 10);
    return child;
}

static void signals_reach_the_program(void **state)
{
    int status;
    pid_t child = start_sleeper("trap 'exit 42' TERM; touch $TREE/started; "
                                "while :; do sleep 0.05; done");

    (void)state;
    kill(child, SIGTERM);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_true(is_clean());
    child = start_sleeper("touch $TREE/started; exec sleep 60");
    kill(child, SIGINT);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
    assert_true(is_clean());
}

static void nothing_is_left_when_it_is_killed(void **state)
{
    int status;
    pid_t child = start_sleeper("touch $TREE/started; exec $SELF --hang");

    (void)state;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    test_await(is_clean(), 2);
    test_await(system("for line in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$line 2>/dev/null | "
                      "grep -q \"^$SELF --hang\" && exit 1; done; exit 0") == 0,
               2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_programs_status_is_passed_on),
        cmocka_unit_test(the_program_finds_library_and_socket),
        cmocka_unit_test(the_private_mediator_serves),
        cmocka_unit_test(a_mediator_that_answers_is_used),
        cmocka_unit_test(signals_reach_the_program),
        cmocka_unit_test(nothing_is_left_when_it_is_killed),
    };
    char self[4096] = "";

    if (argc > 1 && strcmp(argv[1], "--attach") == 0)
        return attach_and_open();
    if (argc > 1 && strcmp(argv[1], "--hang") == 0)
        return pause();
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        return 1;
    setenv("SELF", self, 1);
    return cmocka_run_group_tests_name("vgpu-run", tests, make_tree, remove_tree);
}
