/* SPDX-License-Identifier: MIT */
/** Workers that are started before anybody needs them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "mediator/tests/client.h"
#include "mediator/tests/fake_worker.h"

#define MOST 16u

static struct test_mediator mediator;

static void start_with_spares(uint32_t count)
{
    char settings[64];

    snprintf(settings, sizeof(settings), "driver=soft\nspare-workers=%u\n", count);
    test_mediator_create(&mediator, settings);
    test_await(test_mediator_workers(&mediator) == count, 5);
}

static void stop(void)
{
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
}

static bool is_among(pid_t pid, const pid_t *pids, uint32_t count)
{
    while (count-- > 0) {
        if (pids[count] == pid)
            return true;
    }
    return false;
}

static void a_channel_gets_one_that_waits(void **state)
{
    pid_t before[MOST] = {0}, after[MOST] = {0};
    struct test_client client;
    struct vgpu_mailbox_channel channel;

    (void)state;
    start_with_spares(2);
    assert_int_equal(test_mediator_list_workers(&mediator, before, MOST), 2);
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_OK);
    test_await(test_mediator_workers(&mediator) == 3, 5); /* and another is there in its place */
    assert_int_equal(test_mediator_list_workers(&mediator, after, MOST), 3);
    assert_true(is_among(before[0], after, 3) && is_among(before[1], after, 3));
    test_client_destroy(&client);
    /* The channel's worker was one of the first two, and ends with it. */
    test_await(test_mediator_workers(&mediator) == 2, 5);
    assert_int_equal(test_mediator_list_workers(&mediator, after, MOST), 2);
    assert_true(is_among(before[0], after, 2) != is_among(before[1], after, 2));
    stop();
}

static void who_comes_when_none_is_left_gets_a_new_one(void **state)
{
    struct test_client client;
    struct vgpu_mailbox_channel channel;

    (void)state;
    start_with_spares(1);
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    for (int i = 0; i < 4; i++)
        assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_OK);
    test_await(test_mediator_workers(&mediator) == 5, 5);
    test_client_destroy(&client);
    stop();
}

static bool is_gone(pid_t pid)
{
    pid_t pids[MOST] = {0};

    return !is_among(pid, pids, test_mediator_list_workers(&mediator, pids, MOST));
}

static void one_that_dies_is_replaced(void **state)
{
    pid_t before[MOST] = {0}, after[MOST] = {0};
    struct test_client client;
    struct vgpu_mailbox_channel channel;

    (void)state;
    start_with_spares(2);
    assert_int_equal(test_mediator_list_workers(&mediator, before, MOST), 2);
    kill(before[0], SIGKILL);
    kill(before[1], SIGKILL);
    test_await(is_gone(before[0]) && is_gone(before[1]), 5);
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    /* Whether or not the mediator knows already that they are dead: this one is served. */
    assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_OK);
    assert_true(test_client_is_alive(&client));
    test_await(test_mediator_workers(&mediator) == 3, 10);
    assert_int_equal(test_mediator_list_workers(&mediator, after, MOST), 3);
    assert_false(is_among(before[0], after, 3) || is_among(before[1], after, 3));
    test_mediator_logged(&mediator, "a spare worker was killed by signal 9");
    test_client_destroy(&client);
    stop();
}

static void the_one_that_was_probed_is_the_first(void **state)
{
    (void)state;
    /* Ready is said when the driver is known; no second process was started until then. */
    test_mediator_create(&mediator, "driver=soft\nspare-workers=1\n");
    assert_int_equal(test_mediator_workers(&mediator), 1);
    stop();
}

static void none_are_kept_if_none_are_wanted(void **state)
{
    struct test_client client;
    struct vgpu_mailbox_channel channel;

    (void)state;
    start_with_spares(0);
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_OK);
    usleep(600000); /* longer than the pause before more are started */
    assert_int_equal(test_mediator_workers(&mediator), 1);
    test_client_destroy(&client);
    test_await(test_mediator_workers(&mediator) == 0, 5);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_channel_gets_one_that_waits),
        cmocka_unit_test(who_comes_when_none_is_left_gets_a_new_one),
        cmocka_unit_test(one_that_dies_is_replaced),
        cmocka_unit_test(the_one_that_was_probed_is_the_first),
        cmocka_unit_test(none_are_kept_if_none_are_wanted),
    };

    return cmocka_run_group_tests_name("mediator spares", tests, NULL, NULL);
}
