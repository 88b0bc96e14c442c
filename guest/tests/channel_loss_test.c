/* SPDX-License-Identifier: MIT */
/* How a channel ends, and how it does not begin: lost workers and mediators, refusals, forks. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/channel/channel.h"
#include "guest/tests/fake_mediator.h"
#include "protocol/calls.h"
#include "protocol/send.h"

#define SOON 1000 /* ms; a lost channel is noticed in 20 */

static int setup(void **state)
{
    struct fake_mediator *fake = calloc(1, sizeof(*fake));
    fake_mediator_start(fake);
    *state = fake;
    return 0;
}

static int teardown(void **state)
{
    fake_mediator_stop(*state);
    free(*state);
    return 0;
}

static struct vgpu_channel *open_channel(void)
{
    struct vgpu_channel *channel = NULL;
    assert_int_equal(vgpu_channel_open(&channel), CUDA_SUCCESS);
    return channel;
}

static uint64_t milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static CUresult call(struct vgpu_channel *channel)
{
    struct vgpu_call_header header = {.call = 1};
    struct vgpu_result result;
    return vgpu_channel_call(channel, &header, NULL, 0, NULL, 0, &result, NULL, 0, NULL);
}

static bool never_reply(struct fake_mediator *fake, const struct vgpu_call_header *header,
                        const uint8_t *payload)
{
    (void)fake;
    (void)header;
    (void)payload;
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * Loss
 */

enum waiting { IN_A_CALL, IN_A_FENCE, IN_A_FULL_RING, IN_STAGING };

struct waiter {
    struct vgpu_channel *channel;
    enum waiting waiting;
    CUresult error;
    uint64_t ended;
};

static void *wait_for_ever(void *argument)
{
    struct waiter *waiter = argument;
    struct vgpu_channel *channel = waiter->channel;
    static const uint8_t payload[60000];
    struct vgpu_staging staging;
    uint32_t fence, value;
    switch (waiter->waiting) {
    case IN_A_CALL:
        waiter->error = call(channel);
        break;
    case IN_A_FENCE:
        waiter->error = vgpu_fence_take(channel, &fence, &value);
        if (!waiter->error)
            waiter->error = vgpu_fence_wait(channel, fence, value + 1);
        break;
    case IN_A_FULL_RING:
        while (!waiter->error) {
            struct vgpu_call_header header = {.call = 1, .payload_bytes = sizeof(payload)};
            waiter->error = vgpu_channel_post(channel, &header, payload, sizeof(payload), NULL, 0);
        }
        break;
    case IN_STAGING:
        while (!waiter->error) {
            waiter->error = vgpu_staging_take(channel, NULL, VGPU_STAGING_WAIT, &staging);
            if (!waiter->error)
                vgpu_staging_put(channel, &staging, true);
        }
        break;
    }
    waiter->ended = milliseconds();
    return NULL;
}

static void check_every_function_fails(struct vgpu_channel *channel, CUresult expected)
{
    struct vgpu_call_header header = {.call = 1};
    struct vgpu_staging staging;
    uint32_t fence, value;
    uint64_t start = milliseconds();
    assert_int_equal(call(channel), expected);
    assert_int_equal(vgpu_channel_post(channel, &header, NULL, 0, NULL, 0), expected);
    assert_int_equal(vgpu_fence_take(channel, &fence, &value), expected);
    assert_int_equal(vgpu_fence_wait(channel, 9, 1), expected);
    assert_int_equal(vgpu_staging_take(channel, NULL, VGPU_STAGING_WAIT, &staging), expected);
    assert_int_equal(vgpu_channel_take_error(channel), expected);
    assert_int_equal(vgpu_channel_alive(channel), expected);
    vgpu_fence_put(channel, 9);
    vgpu_channel_flush_console(channel);
    assert_true(milliseconds() - start < SOON);
}

/* All kinds of waits at once, then the loss, then everything fails with the same error. */
static void lose_while_waiting(struct fake_mediator *fake, void (*lose)(struct fake_mediator *),
                               CUresult expected)
{
    struct waiter waiters[4];
    pthread_t threads[4];
    struct vgpu_channel *channel = open_channel();
    fake->replay = never_reply;
    __atomic_store_n(&fake->worker_stalls, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 4; i++) {
        waiters[i] = (struct waiter){.channel = channel, .waiting = (enum waiting)i};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_ever, &waiters[i]), 0);
    }
    usleep(100000);
    uint64_t lost = milliseconds();
    for (int i = 0; i < 4; i++)
        assert_int_equal(waiters[i].error, CUDA_SUCCESS);
    lose(fake);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(waiters[i].error, expected);
        assert_true(waiters[i].ended - lost < SOON);
    }
    check_every_function_fails(channel, expected);
    vgpu_channel_close(channel);
}

static void crash_worker(struct fake_mediator *fake)
{
    fake_mediator_lose_worker(fake, CUDA_ERROR_LAUNCH_FAILED);
}

static void lose_worker_for_no_reason(struct fake_mediator *fake)
{
    fake_mediator_lose_worker(fake, 0);
}

static void change_key(struct fake_mediator *fake)
{
    vgpu_window_entry(fake->window, 0)->key++;
}

static void a_lost_worker_ends_every_wait_with_its_error(void **state)
{
    lose_while_waiting(*state, crash_worker, CUDA_ERROR_LAUNCH_FAILED);
}

static void a_lost_worker_without_an_error_is_an_unavailable_device(void **state)
{
    lose_while_waiting(*state, lose_worker_for_no_reason, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void a_lost_mediator_is_an_unavailable_device(void **state)
{
    lose_while_waiting(*state, fake_mediator_hang_up, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void a_channel_that_became_anothers_is_lost(void **state)
{
    lose_while_waiting(*state, change_key, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

/* ------------------------------------------------------------------------------------------------
 * What the user reads
 */

static FILE *capture_stderr(int *before)
{
    FILE *file = tmpfile();
    fflush(stderr);
    *before = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    return file;
}

static void read_stderr(FILE *file, int before, char *text, size_t size)
{
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

static void a_loss_is_told_in_one_line(void **state)
{
    struct fake_mediator *fake = *state;
    char text[1024];
    int before;
    struct vgpu_channel *channel = open_channel();
    FILE *file = capture_stderr(&before);
    fake_mediator_lose_worker(fake, CUDA_ERROR_ECC_UNCORRECTABLE);
    for (int i = 0; i < 5; i++)
        vgpu_channel_alive(channel);
    read_stderr(file, before, text, sizeof(text));
    assert_int_equal(strncmp(text, "vgpu: connection lost: ", 23), 0);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(strstr(text, fake->path));
    vgpu_channel_close(channel);
}

struct refusal {
    enum fake_answer answer;
    enum vgpu_mailbox_status status;
    const char *text;
    CUresult expected;
    const char *word; /* of the line for the user */
};

static void check_refusal(struct fake_mediator *fake, const struct refusal *refusal)
{
    struct vgpu_channel *channel = NULL;
    char text[1024];
    int before;
    FILE *file = capture_stderr(&before);
    fake->answer = refusal->answer;
    fake->status = refusal->status;
    fake->text = refusal->text;
    CUresult error = vgpu_channel_open(&channel);
    read_stderr(file, before, text, sizeof(text));
    assert_int_equal(error, refusal->expected);
    assert_null(channel);
    assert_non_null(strstr(text, refusal->word));
    assert_int_equal(strncmp(text, "vgpu: ", 6), 0);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void refusals_become_errors_and_lines(void **state)
{
    static const struct refusal refusals[] = {
        {FAKE_STATUS, VGPU_MAILBOX_BUSY, "32 of 32", CUDA_ERROR_OUT_OF_MEMORY, "32 of 32"},
        {FAKE_STATUS, VGPU_MAILBOX_NO_SPACE, NULL, CUDA_ERROR_OUT_OF_MEMORY, "window is full"},
        {FAKE_STATUS, VGPU_MAILBOX_REFUSED, "quarantined", CUDA_ERROR_SYSTEM_NOT_READY,
         "quarantined"},
        {FAKE_STATUS, VGPU_MAILBOX_BAD_OP, NULL, CUDA_ERROR_OPERATING_SYSTEM, "status 2"},
        {FAKE_CUT_OFF, 0, NULL, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "cut off"},
        {FAKE_OUTSIDE, 0, NULL, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "not in the window"},
        {FAKE_CLOSES, 0, NULL, CUDA_ERROR_SYSTEM_NOT_READY, "went away"},
    };
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        check_refusal(*state, &refusals[i]);
}

static void a_version_mismatch_names_both_sides(void **state)
{
    char ours[32];
    snprintf(ours, sizeof(ours), "%016llx", VGPU_PROTOCOL_HASH);
    const struct refusal refusal = {FAKE_STATUS, VGPU_MAILBOX_VERSION_MISMATCH,
                                    "mediator 1/0123456789abcdef",
                                    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "0123456789abcdef"};
    const struct refusal again = {FAKE_STATUS, VGPU_MAILBOX_VERSION_MISMATCH, "mediator 1/0",
                                  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, ours};
    check_refusal(*state, &refusal);
    check_refusal(*state, &again);
}

static void no_mediator_is_a_system_that_is_not_ready(void **state)
{
    struct vgpu_channel *channel;
    (void)state;
    setenv("VGPU_SOCKET", "/tmp/vgpu-nobody.sock", 1);
    assert_int_equal(vgpu_channel_open(&channel), CUDA_ERROR_SYSTEM_NOT_READY);
}

static void the_program_is_named(void **state)
{
    struct fake_mediator *fake = *state;
    struct vgpu_channel *channel = open_channel();
    assert_string_equal(fake->program, program_invocation_short_name);
    assert_int_equal(vgpu_window_entry(fake->window, 0)->process, getpid());
    vgpu_channel_close(channel);
}

/* ------------------------------------------------------------------------------------------------
 * Fork
 */

static int child_has_no_cuda(struct vgpu_channel *channel)
{
    struct vgpu_call_header header = {.call = 1};
    struct vgpu_staging staging;
    uint32_t fence, value;
    alarm(5); /* a wait in the child is a failure */
    int wrong = call(channel) != CUDA_ERROR_NOT_INITIALIZED;
    wrong += vgpu_channel_post(channel, &header, NULL, 0, NULL, 0) != CUDA_ERROR_NOT_INITIALIZED;
    wrong += vgpu_channel_alive(channel) != CUDA_ERROR_NOT_INITIALIZED;
    wrong += vgpu_fence_take(channel, &fence, &value) != CUDA_ERROR_NOT_INITIALIZED;
    wrong += vgpu_fence_wait(channel, 9, 1) != CUDA_ERROR_NOT_INITIALIZED;
    wrong +=
        vgpu_staging_take(channel, NULL, VGPU_STAGING_WAIT, &staging) != CUDA_ERROR_NOT_INITIALIZED;
    wrong += vgpu_channel_take_error(channel) != CUDA_ERROR_NOT_INITIALIZED;
    vgpu_channel_flush_console(channel);
    vgpu_channel_close(channel);
    return wrong;
}

static void *call_until_told(void *argument)
{
    struct waiter *waiter = argument;
    while (!waiter->error && !__atomic_load_n(&waiter->ended, __ATOMIC_RELAXED))
        waiter->error = call(waiter->channel);
    return NULL;
}

static void a_forked_child_has_no_cuda_and_disturbs_nobody(void **state)
{
    struct fake_mediator *fake = *state;
    struct waiter busy = {.channel = open_channel()};
    pthread_t threads[2];
    /* Other threads hold the channel's locks when fork() copies them. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_until_told, &busy), 0);
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(child_has_no_cuda(busy.channel));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(call(busy.channel), CUDA_SUCCESS);
    }
    __atomic_store_n(&busy.ended, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(busy.error, CUDA_SUCCESS);
    assert_int_equal(fake->closes, 0);
    assert_int_equal(fake->hang_ups, 0);
    vgpu_channel_close(busy.channel);
}

static void a_child_does_not_keep_a_killed_parents_connection(void **state)
{
    struct fake_mediator *fake = *state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct vgpu_channel *channel;
        if (vgpu_channel_open(&channel) == CUDA_SUCCESS && fork() == 0) {
            if (write(ready[1], "r", 1) == 1)
                sleep(2); /* the child lives on */
            _exit(0);
        }
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(fake->hang_ups, 0);
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    assert_true(fake_mediator_await(&fake->hang_ups, 1, SOON));
    close(ready[0]);
    close(ready[1]);
}

#define LOSS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOSS_TEST(a_lost_worker_ends_every_wait_with_its_error),
        LOSS_TEST(a_lost_worker_without_an_error_is_an_unavailable_device),
        LOSS_TEST(a_lost_mediator_is_an_unavailable_device),
        LOSS_TEST(a_channel_that_became_anothers_is_lost),
        LOSS_TEST(a_loss_is_told_in_one_line),
        LOSS_TEST(refusals_become_errors_and_lines),
        LOSS_TEST(a_version_mismatch_names_both_sides),
        LOSS_TEST(no_mediator_is_a_system_that_is_not_ready),
        LOSS_TEST(the_program_is_named),
        LOSS_TEST(a_forked_child_has_no_cuda_and_disturbs_nobody),
        LOSS_TEST(a_child_does_not_keep_a_killed_parents_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
