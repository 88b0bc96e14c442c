/* SPDX-License-Identifier: MIT */
/** From CHANNEL_OPEN to the worker's end, with fake workers that do as they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mediator/tests/client.h"
#include "mediator/tests/fake_worker.h"
#include "protocol/channel.h"
#include "protocol/latency.h"

static struct test_mediator mediator;
static struct test_client client;

static int start_mediator(void **state)
{
    (void)state;
    test_mediator_create(&mediator, "driver=soft\nmax-channels-per-vm=3\n"
                                    "[vm web]\nmax-channels=20\nmemory-quota=25%\nfault-limit=0\n");
    return 0;
}

static int stop_mediator(void **state)
{
    (void)state;
    assert_int_equal(test_mediator_stop(&mediator, SIGTERM), 0);
    test_mediator_destroy(&mediator);
    return 0;
}

static int attach(void **state)
{
    (void)state;
    test_client_create(&client);
    test_client_attach(&client, mediator.device, "web");
    return 0;
}

static int detach(void **state)
{
    (void)state;
    test_client_destroy(&client);
    test_await(test_mediator_workers(&mediator) == 0, 1);
    return 0;
}

static const struct vgpu_channel_entry *entry_of(const struct vgpu_mailbox_channel *channel)
{
    return vgpu_window_entry(client.window, channel->channel);
}

static void an_open_channel_has_entry_extent_and_worker(void **state)
{
    struct vgpu_mailbox_channel first, second;
    uint64_t one = 1, count = 0;

    (void)state;
    assert_int_equal(test_client_open(&client, "wait", &first), VGPU_MAILBOX_OK);
    assert_int_equal(test_client_open(&client, "wait", &second), VGPU_MAILBOX_OK);
    const struct vgpu_channel_entry *entry = entry_of(&second);
    assert_int_equal(second.channel, 1);
    assert_int_equal(entry->state, VGPU_CHANNEL_OPEN);
    assert_int_equal(entry->key, second.key);
    assert_int_equal(entry->offset, second.offset);
    assert_int_equal(entry->size, VGPU_CHANNEL_BYTES);
    assert_int_equal(entry->process, 1234);
    assert_int_not_equal(first.key, second.key);
    assert_true(second.offset >= first.offset + first.size);
    assert_true(second.offset + second.size <= client.window_size);
    /* Doorbell to interrupt, through the worker alone; channel 1 has vector 1. */
    struct pollfd interrupt = {.fd = client.interrupts[1], .events = POLLIN};
    assert_int_equal(write(client.doorbells[1], &one, sizeof(one)), sizeof(one));
    assert_int_equal(poll(&interrupt, 1, 2000), 1);
    assert_int_equal(read(client.interrupts[1], &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1);
    assert_int_equal(test_mediator_workers(&mediator), 2);
}

static void close_needs_the_key_and_kills_the_worker(void **state)
{
    struct vgpu_mailbox_channel channel;

    (void)state;
    assert_int_equal(test_client_open(&client, "hang", &channel), VGPU_MAILBOX_OK);
    assert_int_equal(test_client_close(&client, channel.channel, channel.key + 1),
                     VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(test_client_close(&client, channel.channel + 1, channel.key),
                     VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(test_client_close(&client, UINT32_MAX, channel.key), VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(test_mediator_workers(&mediator), 1);
    assert_int_equal(test_client_close(&client, channel.channel, channel.key), VGPU_MAILBOX_OK);
    assert_int_equal(entry_of(&channel)->state, VGPU_CHANNEL_FREE);
    test_await(test_mediator_workers(&mediator) == 0, 1);
    assert_int_equal(test_client_close(&client, channel.channel, channel.key),
                     VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(test_mediator_field(&mediator, "web", "channels_failed"), 0);
}

static void a_worker_that_dies_loses_the_channel(void **state)
{
    static const struct {
        const char *command;
        uint32_t error; /* CUresult in the entry */
        const char *log;
    } deaths[] = {
        {"crash", 46, "of crash (process 1234) is lost: worker"},
        {"crash", 46, "was killed by signal 11 (Segmentation fault)"},
        {"exit-0", 46, "ended though nobody asked it to"},
        {"exit-2", 46, "could not set itself up"},
        {"exit-3", 209, "could not use the driver (CUDA error 209)"},
        {"exit-4", 999, "found garbage in the ring"},
        {"exit-99", 46, "exited with status 99"},
        {"talk", 46, "was killed by signal 9"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(deaths) / sizeof(*deaths); i++) {
        struct vgpu_mailbox_channel channel;
        uint64_t count;

        assert_int_equal(test_client_open(&client, deaths[i].command, &channel), VGPU_MAILBOX_OK);
        test_client_await_state(&client, channel.channel, VGPU_CHANNEL_LOST);
        assert_int_equal(entry_of(&channel)->error, deaths[i].error);
        test_mediator_logged(&mediator, deaths[i].log);
        /* Who sleeps is woken. */
        struct pollfd interrupt = {.fd = client.interrupts[0], .events = POLLIN};
        assert_int_equal(poll(&interrupt, 1, 1000), 1);
        assert_int_equal(read(client.interrupts[0], &count, sizeof(count)), sizeof(count));
        assert_int_equal(test_client_close(&client, channel.channel, channel.key), VGPU_MAILBOX_OK);
        assert_int_equal(entry_of(&channel)->state, VGPU_CHANNEL_FREE);
    }
    assert_int_equal(test_mediator_field(&mediator, "web", "channels_failed"), 8);
    assert_int_equal(test_mediator_field(&mediator, "web", "garbage"), 1);
    assert_int_equal(test_mediator_field(&mediator, "web", "channels_open"), 0);
}

static void a_vm_that_loses_three_workers_is_quarantined_and_no_other(void **state)
{
    struct test_client other;
    struct vgpu_mailbox_channel channel;

    (void)state;
    test_client_create(&other);
    test_client_attach(&other, mediator.device, "db"); /* with the default limit */
    assert_int_equal(test_client_open(&other, "scribble", &channel), VGPU_MAILBOX_OK);
    for (uint32_t i = 1; i <= 3; i++) {
        struct vgpu_mailbox_channel lost;

        assert_int_equal(test_client_open(&other, i == 2 ? "exit-4" : "crash", &lost),
                         VGPU_MAILBOX_OK);
        test_client_await_state(&other, lost.channel, VGPU_CHANNEL_LOST);
        assert_int_equal(test_client_close(&other, lost.channel, lost.key), VGPU_MAILBOX_OK);
    }
    test_mediator_logged(&mediator,
                         "VM db is quarantined: 3 faults, the last: a worker was killed by signal");
    test_client_await_state(&other, channel.channel, VGPU_CHANNEL_LOST); /* what it had, too */
    assert_int_equal(test_client_open(&other, "scribble", &channel), VGPU_MAILBOX_REFUSED);
    assert_int_equal(test_client_open(&client, "scribble", &channel), VGPU_MAILBOX_OK);
    test_client_destroy(&other);
}

static void a_driver_that_does_not_work_is_not_held_against_the_vm(void **state)
{
    struct test_client other;
    struct vgpu_mailbox_channel channel;

    (void)state;
    test_client_create(&other);
    test_client_attach(&other, mediator.device, "cache");
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(test_client_open(&other, "exit-3", &channel), VGPU_MAILBOX_OK);
        test_client_await_state(&other, channel.channel, VGPU_CHANNEL_LOST);
        assert_int_equal(test_client_close(&other, channel.channel, channel.key), VGPU_MAILBOX_OK);
    }
    assert_int_equal(test_client_open(&other, "scribble", &channel), VGPU_MAILBOX_OK);
    test_client_destroy(&other);
}

static void a_lost_channel_keeps_its_place_until_closed(void **state)
{
    struct vgpu_mailbox_channel lost, next;

    (void)state;
    assert_int_equal(test_client_open(&client, "crash", &lost), VGPU_MAILBOX_OK);
    test_client_await_state(&client, lost.channel, VGPU_CHANNEL_LOST);
    assert_int_equal(test_client_open(&client, "wait", &next), VGPU_MAILBOX_OK);
    assert_int_not_equal(next.channel, lost.channel);
    assert_int_not_equal(next.offset, lost.offset);
}

static void what_a_dead_worker_held_is_given_back(void **state)
{
    struct vgpu_mailbox_channel first, second;
    const uint64_t before = (uint64_t)test_mediator_field(&mediator, "web", "calls");

    (void)state;
    assert_int_equal(test_client_open(&client, "charge-1000", &first), VGPU_MAILBOX_OK);
    assert_int_equal(test_client_open(&client, "charge-500", &second), VGPU_MAILBOX_OK);
    test_await(test_mediator_field(&mediator, "web", "memory_used") == 1500, 1);
    assert_int_equal(test_mediator_field(&mediator, "web", "memory_quota"), FAKE_MEMORY_TOTAL / 4);
    assert_int_equal(test_mediator_field(&mediator, "web", "calls"), before + 14);
    test_client_close(&client, first.channel, first.key);
    test_await(test_mediator_field(&mediator, "web", "memory_used") == 500, 1);
    assert_int_equal(test_mediator_field(&mediator, "web", "calls"), before + 14);
    test_client_close(&client, second.channel, second.key);
    test_await(test_mediator_field(&mediator, "web", "memory_used") == 0, 1);
    assert_int_equal(test_mediator_field(&mediator, "web", "calls"), before + 14);
}

static void round_trips_are_summed_when_a_channel_ends(void **state)
{
    struct vgpu_mailbox_channel channel;

    (void)state;
    assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_OK);
    struct vgpu_channel_header *header =
        (struct vgpu_channel_header *)((char *)client.window + channel.offset);
    uint32_t fast = vgpu_latency_bucket(5000), slow = vgpu_latency_bucket(1000000);
    header->latency[fast] = 97;
    header->latency[slow] = 3;
    for (int i = 0; i < 2; i++) { /* while it lives, and afterwards */
        assert_int_equal(test_mediator_field(&mediator, "web", "round_trips"), 100);
        assert_int_equal(test_mediator_field(&mediator, "web", "p50_ns"), vgpu_latency_floor(fast));
        assert_int_equal(test_mediator_field(&mediator, "web", "p99_ns"), vgpu_latency_floor(slow));
        test_client_close(&client, channel.channel, channel.key);
        test_await(test_mediator_workers(&mediator) == 0, 1);
    }
}

static void an_extent_starts_as_zero_and_is_freed_at_the_end(void **state)
{
    struct vgpu_mailbox_channel channel;
    struct stat before, after;

    (void)state;
    fstat(client.window_fd, &before);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(test_client_open(&client, "scribble", &channel), VGPU_MAILBOX_OK);
        const unsigned char *last =
            (unsigned char *)client.window + channel.offset + channel.size - 1;
        test_await(__atomic_load_n(last, __ATOMIC_ACQUIRE) == 0xff, 5);
        test_client_close(&client, channel.channel, channel.key);
        test_await(test_mediator_workers(&mediator) == 0, 1);
        test_await(fstat(client.window_fd, &after) == 0 && after.st_blocks == before.st_blocks, 1);
        /* A guest may leave bytes of its own there: the next worker must not see them either. */
        memset((char *)client.window + channel.offset, 0xee, 4096);
    }
    assert_int_equal(test_mediator_field(&mediator, "web", "channels_open"), 0);
}

static uint32_t open_extent(const struct vgpu_mailbox_channel *channel, uint32_t key,
                            uint64_t bytes, struct vgpu_mailbox_extent *extent)
{
    const struct vgpu_mailbox_extent_open open = {.request.op = VGPU_MAILBOX_EXTENT_OPEN,
                                                  .channel = channel->channel,
                                                  .key = key,
                                                  .bytes = bytes};
    union {
        uint8_t bytes[VGPU_MAILBOX_BYTES];
        struct vgpu_mailbox_extent extent;
    } answer;

    test_client_mailbox(&client, &open, sizeof(open), &answer);
    *extent = answer.extent;
    return answer.extent.response.status;
}

static uint32_t close_extent(const struct vgpu_mailbox_channel *channel, uint32_t key,
                             uint32_t number)
{
    const struct vgpu_mailbox_extent_close close = {.request.op = VGPU_MAILBOX_EXTENT_CLOSE,
                                                    .channel = channel->channel,
                                                    .key = key,
                                                    .extent = number};
    union {
        uint8_t bytes[VGPU_MAILBOX_BYTES];
        struct vgpu_mailbox_response response;
    } answer;

    test_client_mailbox(&client, &close, sizeof(close), &answer);
    return answer.response.status;
}

static void extents_are_zero_apart_and_their_channels_own(void **state)
{
    struct vgpu_mailbox_channel first, second;
    struct vgpu_mailbox_extent one, two, again;

    (void)state;
    assert_int_equal(test_client_open(&client, "wait", &first), VGPU_MAILBOX_OK);
    assert_int_equal(test_client_open(&client, "wait", &second), VGPU_MAILBOX_OK);
    assert_int_equal(open_extent(&first, first.key, 5000, &one), VGPU_MAILBOX_OK);
    assert_int_equal(open_extent(&first, first.key, 1 << 20, &two), VGPU_MAILBOX_OK);
    assert_int_equal(one.size, 8192);
    assert_int_not_equal(one.extent, two.extent);
    assert_true(one.offset + one.size <= two.offset || two.offset + two.size <= one.offset);
    assert_true(one.offset >= second.offset + second.size);
    memset((char *)client.window + one.offset, 0xee, one.size);
    assert_int_equal(open_extent(&first, first.key + 1, 4096, &again), VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(open_extent(&first, first.key, 0, &again), VGPU_MAILBOX_BAD_LENGTH);
    assert_int_equal(open_extent(&first, first.key, UINT64_MAX, &again), VGPU_MAILBOX_NO_SPACE);
    assert_int_equal(close_extent(&second, second.key, one.extent), VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(close_extent(&first, first.key, 77), VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(close_extent(&first, first.key, UINT32_MAX), VGPU_MAILBOX_NO_CHANNEL);
    assert_int_equal(close_extent(&first, first.key, one.extent), VGPU_MAILBOX_OK);
    assert_int_equal(close_extent(&first, first.key, one.extent), VGPU_MAILBOX_NO_CHANNEL);
    memset((char *)client.window + one.offset, 0xee, one.size);
    assert_int_equal(open_extent(&second, second.key, one.size, &again), VGPU_MAILBOX_OK);
    assert_int_equal(again.offset, one.offset);
    for (uint64_t i = 0; i < again.size; i++)
        assert_int_equal(((unsigned char *)client.window)[again.offset + i], 0);
}

static void a_mapped_extent_cannot_be_closed(void **state)
{
    struct vgpu_mailbox_channel channel;
    struct vgpu_mailbox_extent extent;

    (void)state;
    assert_int_equal(test_client_open(&client, "map", &channel), VGPU_MAILBOX_OK);
    assert_int_equal(open_extent(&channel, channel.key, 4096, &extent), VGPU_MAILBOX_OK);
    for (int mapped = 1; mapped >= 0; mapped--) {
        uint64_t one = 1;
        struct pollfd interrupt = {.fd = client.interrupts[0], .events = POLLIN};

        assert_int_equal(write(client.doorbells[0], &one, sizeof(one)), sizeof(one));
        assert_int_equal(poll(&interrupt, 1, 2000), 1);
        assert_int_equal(read(client.interrupts[0], &one, sizeof(one)), sizeof(one));
        assert_int_equal(close_extent(&channel, channel.key, extent.extent),
                         mapped ? VGPU_MAILBOX_BUSY : VGPU_MAILBOX_OK);
    }
}

/** However it ends: closed, or its worker died first. */
static void extents_go_with_their_channel(void **state)
{
    const char *commands[] = {"wait", "map", "crash-soon"};
    struct vgpu_mailbox_channel channel;
    struct vgpu_mailbox_extent extent;
    struct stat before, after;

    (void)state;
    fstat(client.window_fd, &before);
    for (size_t i = 0; i < 3; i++) {
        uint64_t one = 1;
        uint32_t count = 0;

        assert_int_equal(test_client_open(&client, commands[i], &channel), VGPU_MAILBOX_OK);
        while (open_extent(&channel, channel.key, 4 << 20, &extent) == VGPU_MAILBOX_OK) {
            memset((char *)client.window + extent.offset, 1, extent.size);
            count++;
        }
        assert_int_equal(extent.response.status, VGPU_MAILBOX_NO_SPACE);
        assert_int_equal(count, 13); /* of the window of 64 MiB, besides the channel's 9.5 */
        if (i == 2) {
            assert_int_equal(write(client.doorbells[0], &one, sizeof(one)), sizeof(one));
            test_client_await_state(&client, channel.channel, VGPU_CHANNEL_LOST);
            assert_int_equal(open_extent(&channel, channel.key, 4096, &extent),
                             VGPU_MAILBOX_NO_CHANNEL);
            assert_int_equal(close_extent(&channel, channel.key, 3), VGPU_MAILBOX_OK);
        }
        test_client_close(&client, channel.channel, channel.key);
        test_await(test_mediator_workers(&mediator) == 0, 1);
        test_await(fstat(client.window_fd, &after) == 0 && after.st_blocks == before.st_blocks, 1);
    }
}

static void channels_and_space_run_out_with_a_reason(void **state)
{
    struct vgpu_mailbox_channel channel;
    uint32_t open = 0;

    (void)state;
    /* The window of 64 MiB holds six extents of 9.5 MiB. */
    while (test_client_open(&client, "wait", &channel) == VGPU_MAILBOX_OK)
        open++;
    assert_int_equal(open, 6);
    assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_NO_SPACE);
    struct test_client other;
    test_client_create(&other);
    test_client_attach(&other, mediator.device, "small");
    for (int i = 0; i < 3; i++)
        assert_int_equal(test_client_open(&other, "wait", &channel), VGPU_MAILBOX_OK);
    assert_int_equal(test_client_open(&other, "wait", &channel), VGPU_MAILBOX_BUSY);
    test_mediator_logged(&mediator, "VM small may have 3");
    test_client_destroy(&other);
}

static void the_end_of_a_session_ends_its_workers(void **state)
{
    struct vgpu_mailbox_channel channel;
    struct test_client other;

    (void)state;
    test_client_create(&other);
    test_client_attach(&other, mediator.device, "short");
    assert_int_equal(test_client_open(&other, "hang", &channel), VGPU_MAILBOX_OK);
    assert_int_equal(test_client_open(&other, "charge-77", &channel), VGPU_MAILBOX_OK);
    test_await(test_mediator_field(&mediator, "short", "memory_used") == 77, 1);
    test_client_destroy(&other);
    test_await(test_mediator_workers(&mediator) == 0, 1);
    assert_int_equal(test_mediator_field(&mediator, "short", "memory_used"), 0);
    assert_int_equal(test_mediator_field(&mediator, "short", "sessions"), 0);
    assert_int_equal(test_mediator_field(&mediator, "short", "channels_failed"), 0);
}

/** A killed process is gone for us even if a child of it still holds the socket. */
static void a_process_that_dies_takes_its_channel_along(void **state)
{
    char vm[32];
    int status, alive[2];

    (void)state;
    assert_int_equal(pipe(alive), 0);
    snprintf(vm, sizeof(vm), "uid-%u", (unsigned)getuid());
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct test_client own;
        struct vgpu_mailbox_channel channel;
        char byte;

        close(client.socket); /* its grandchild would keep that alive, too */
        test_client_create(&own);
        test_client_attach(&own, mediator.process, "victim");
        if (test_client_open(&own, "hang", &channel) != VGPU_MAILBOX_OK)
            _exit(1);
        close(alive[1]);
        if (fork() == 0) /* holds the socket until the test ends */
            _exit(read(alive[0], &byte, 1) != 0);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    test_await(test_mediator_workers(&mediator) == 0, 1);
    assert_int_equal(test_mediator_field(&mediator, vm, "sessions"), 0);
    close(alive[0]);
    close(alive[1]);
}

/** An eventfd that would block whoever writes to it. */
static void a_full_interrupt_does_not_block_the_mediator(void **state)
{
    const uint64_t full = UINT64_MAX - 1;
    struct vgpu_mailbox_channel channel;

    (void)state;
    assert_int_equal(write(client.interrupts[0], &full, sizeof(full)), sizeof(full));
    assert_int_equal(test_client_open(&client, "crash", &channel), VGPU_MAILBOX_OK);
    test_client_await_state(&client, channel.channel, VGPU_CHANNEL_LOST);
    assert_true(test_client_is_alive(&client));
}

static void what_the_guest_writes_into_the_table_means_nothing(void **state)
{
    struct vgpu_mailbox_channel channel, second;

    (void)state;
    assert_int_equal(test_client_open(&client, "wait", &channel), VGPU_MAILBOX_OK);
    memset(client.window, 0xff, VGPU_WINDOW_EXTENTS_OFFSET);
    assert_int_equal(test_client_open(&client, "scribble", &second), VGPU_MAILBOX_OK);
    assert_int_equal(second.channel, 1);
    assert_true(second.offset >= channel.offset + channel.size);
    assert_int_equal(test_client_close(&client, channel.channel, channel.key), VGPU_MAILBOX_OK);
    assert_int_equal(entry_of(&channel)->state, VGPU_CHANNEL_FREE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, attach, detach)
    const struct CMUnitTest tests[] = {
        TEST(an_open_channel_has_entry_extent_and_worker),
        TEST(close_needs_the_key_and_kills_the_worker),
        TEST(a_worker_that_dies_loses_the_channel),
        TEST(a_vm_that_loses_three_workers_is_quarantined_and_no_other),
        TEST(a_driver_that_does_not_work_is_not_held_against_the_vm),
        TEST(a_lost_channel_keeps_its_place_until_closed),
        TEST(what_a_dead_worker_held_is_given_back),
        TEST(round_trips_are_summed_when_a_channel_ends),
        TEST(an_extent_starts_as_zero_and_is_freed_at_the_end),
        TEST(extents_are_zero_apart_and_their_channels_own),
        TEST(a_mapped_extent_cannot_be_closed),
        TEST(extents_go_with_their_channel),
        TEST(channels_and_space_run_out_with_a_reason),
        TEST(the_end_of_a_session_ends_its_workers),
        TEST(a_process_that_dies_takes_its_channel_along),
        TEST(a_full_interrupt_does_not_block_the_mediator),
        TEST(what_the_guest_writes_into_the_table_means_nothing),
    };

    return cmocka_run_group_tests_name("channels", tests, start_mediator, stop_mediator);
}
