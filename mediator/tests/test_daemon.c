/* SPDX-License-Identifier: MIT */
/** The daemon as a whole: start, choice of the driver, restart, stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mediator/tests/client.h"

static struct test_mediator mediator;

/** Runs the daemon to its end; the exit status, and what it wrote in `output`. */
static int run_daemon(const char *options, char *output, size_t size)
{
    char command[512];

    snprintf(command, sizeof(command), "%s %s 2>&1", getenv("VGPU_MEDIATOR"), options);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(output, 1, size - 1, pipe);
    output[length] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void auto_falls_back_and_says_why(void **state)
{
    (void)state;
    test_mediator_create(&mediator, "");
    test_mediator_logged(&mediator, "the software GPU, because libcuda.so.1 does not work: fake "
                                    "worker: cannot open libcuda.so.1");
    test_mediator_logged(&mediator, "GPU: fake GPU, 1024 MiB, driver version 13.0");
    test_mediator_logged(&mediator, "each VM: 1024 MiB of GPU memory, 64 channels");
    test_mediator_logged(&mediator, "protocol 1/");
    test_mediator_destroy(&mediator);
}

static void auto_takes_the_first_driver_that_works(void **state)
{
    (void)state;
    test_mediator_create(&mediator, "cuda-library=libother.so\n");
    test_mediator_logged(&mediator, "driver: libother.so, because it works");
    test_mediator_destroy(&mediator);
}

static void cuda_without_a_driver_does_not_start(void **state)
{
    char output[4096], options[160];

    (void)state;
    test_mediator_create(&mediator, "driver=soft\n");
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    snprintf(options, sizeof(options), "--driver=cuda --config %s", mediator.config);
    assert_int_equal(run_daemon(options, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "driver=cuda, but libcuda.so.1 does not work: fake worker"));
    test_mediator_destroy(&mediator);
}

static void bad_options_and_settings_start_nothing(void **state)
{
    char output[4096];

    (void)state;
    assert_int_equal(run_daemon("--config /nowhere/vgpu.ini", output, sizeof(output)), 1);
    assert_non_null(strstr(output, "cannot read /nowhere/vgpu.ini: No such file"));
    assert_int_equal(run_daemon("--driver=fast", output, sizeof(output)), 1);
    assert_non_null(strstr(output, "allowed are auto, cuda and soft"));
    assert_int_equal(run_daemon("--frobnicate", output, sizeof(output)), 2);
    assert_int_equal(run_daemon("now", output, sizeof(output)), 2);
    assert_int_equal(run_daemon("--check-config", output, sizeof(output)), 0);
    assert_int_equal(run_daemon("--version", output, sizeof(output)), 0);
    assert_int_equal(strncmp(output, "vgpu-mediator ", 14), 0);
    assert_int_equal(run_daemon("--help", output, sizeof(output)), 0);
    assert_non_null(strstr(output, "--check-config"));
}

static void what_the_host_lacks_is_said(void **state)
{
    char output[4096], options[160], path[] = "/tmp/vgpu-config-XXXXXX";
    int fd = mkstemp(path);
    FILE *config = fdopen(fd, "w");

    (void)state;
    fputs("[mediator]\nworker=/nowhere/vgpu-worker\nstore=/nowhere/at/all/vgpu.db\n", config);
    fflush(config);
    snprintf(options, sizeof(options), "--check-config --config %s", path);
    assert_int_equal(run_daemon(options, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "worker=/nowhere/vgpu-worker: No such file or directory"));
    assert_non_null(strstr(output, "there is no folder /nowhere/at; make it"));
    assert_null(strstr(output, "is good"));
    rewind(config);
    fputs("[mediator]\nworker=/usr\nstore=/usr\nsoft-library=/usr\ndriver=soft\n;", config);
    fclose(config);
    assert_int_equal(run_daemon(options, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "worker=/usr: it is no file"));
    assert_non_null(strstr(output, "soft-library=/usr: it is no file"));
    assert_non_null(strstr(output, "store=/usr: it is no file"));
    unlink(path);
    assert_int_equal(run_daemon("--check-config --config /usr", output, sizeof(output)), 1);
    assert_non_null(strstr(output, "cannot read /usr: Is a directory"));
}

static void reservations_that_do_not_hold_are_said(void **state)
{
    char output[4096], options[160], path[] = "/tmp/vgpu-config-XXXXXX";
    int fd = mkstemp(path);
    FILE *config = fdopen(fd, "w");

    (void)state;
    fputs("[vm a]\nreservation=16/33\n[vm b]\nreservation=16/33\n[mediator]\n", config);
    fflush(config);
    snprintf(options, sizeof(options), "--check-config --config %s", path);
    assert_int_equal(run_daemon(options, output, sizeof(output)), 0);
    assert_non_null(strstr(output, "reservation= has no effect with scheduler=wfq"));
    fputs("scheduler=deadline\n", config);
    fclose(config);
    assert_int_equal(run_daemon(options, output, sizeof(output)), 0);
    assert_non_null(strstr(output, "reservations are 97 % of the GPU together"));
    unlink(path);
}

static void sockets_have_their_modes_and_go_at_the_end(void **state)
{
    struct stat status;
    char folder[96];

    (void)state;
    test_mediator_create(&mediator, "driver=soft\n");
    assert_int_equal(stat(mediator.device, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(mediator.process, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0666);
    assert_int_equal(stat(mediator.admin, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0660);
    assert_int_equal(test_mediator_stop(&mediator, SIGINT), 0);
    snprintf(folder, sizeof(folder), "%s/run", mediator.folder);
    assert_int_equal(access(folder, F_OK), -1); /* it had made that, too */
    test_mediator_destroy(&mediator);
}

static void a_second_mediator_leaves_the_first_alone(void **state)
{
    char output[4096], options[160];
    struct test_client client;

    (void)state;
    test_mediator_create(&mediator, "driver=soft\n");
    snprintf(options, sizeof(options), "--config %s", mediator.config);
    assert_int_equal(run_daemon(options, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "another mediator does"));
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    test_client_destroy(&client);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
}

static void a_device_goes_on_with_the_next_mediator(void **state)
{
    struct test_client client;
    struct vgpu_mailbox_channel channel;
    char byte;

    (void)state;
    test_mediator_create(&mediator, "driver=soft\n");
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(test_client_open(&client, "hang", &channel), VGPU_MAILBOX_OK);
    /* Killed, it cleans up nothing; its workers must not outlive it. */
    assert_int_equal(test_mediator_stop(&mediator, SIGKILL), 128 + SIGKILL);
    assert_int_equal(recv(client.socket, &byte, 1, 0), 0);
    assert_int_equal(vgpu_window_entry(client.window, 0)->state, VGPU_CHANNEL_OPEN);
    test_mediator_start(&mediator);
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(vgpu_window_entry(client.window, 0)->state, VGPU_CHANNEL_FREE);
    assert_int_equal(test_client_open(&client, "scribble", &channel), VGPU_MAILBOX_OK);
    assert_int_equal(channel.channel, 0);
    assert_int_equal(test_mediator_workers(&mediator), 1);
    test_client_destroy(&client);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
}

static void stopping_ends_workers_at_once(void **state)
{
    struct test_client client;
    struct vgpu_mailbox_channel channel;

    (void)state;
    test_mediator_create(&mediator, "driver=soft\n");
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    for (int i = 0; i < 5; i++)
        assert_int_equal(test_client_open(&client, "hang", &channel), VGPU_MAILBOX_OK);
    uint64_t start = test_now();
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    assert_true(test_now() - start < 1000000000);
    test_client_destroy(&client);
    test_mediator_destroy(&mediator);
}

static void hang_ups_and_broken_pipes_are_survived(void **state)
{
    struct test_client client;
    const struct vgpu_mailbox_request request = {.op = VGPU_MAILBOX_STATUS};

    (void)state;
    test_mediator_create(&mediator, "driver=soft\n");
    kill(mediator.pid, SIGHUP);
    test_client_create(&client);
    for (int i = 0; i < 50; i++) {
        test_client_attach(&client, mediator.process, "quick");
        test_client_post(&client, 1, &request, sizeof(request)); /* and away */
    }
    test_client_attach(&client, mediator.process, "quick");
    assert_true(test_client_is_alive(&client));
    test_client_destroy(&client);
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_falls_back_and_says_why),
        cmocka_unit_test(auto_takes_the_first_driver_that_works),
        cmocka_unit_test(cuda_without_a_driver_does_not_start),
        cmocka_unit_test(bad_options_and_settings_start_nothing),
        cmocka_unit_test(what_the_host_lacks_is_said),
        cmocka_unit_test(reservations_that_do_not_hold_are_said),
        cmocka_unit_test(sockets_have_their_modes_and_go_at_the_end),
        cmocka_unit_test(a_second_mediator_leaves_the_first_alone),
        cmocka_unit_test(a_device_goes_on_with_the_next_mediator),
        cmocka_unit_test(stopping_ends_workers_at_once),
        cmocka_unit_test(hang_ups_and_broken_pipes_are_survived),
    };

    return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}
