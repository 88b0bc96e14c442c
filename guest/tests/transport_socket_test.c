/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/channel/transport.h"
#include "guest/tests/fake_mediator.h"

#define ECHO_OP 1000 /* no op of ours: the fake sends it back */

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

static struct vgpu_transport *open_transport(struct fake_mediator *fake)
{
    struct vgpu_transport *transport = NULL;
    char message[256] = "";
    assert_int_equal(vgpu_transport_open_socket(fake->path, &transport, message, sizeof(message)),
                     0);
    assert_string_equal(message, "");
    return transport;
}

static uint64_t milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Descriptors open in this process, or those of them that programs it executes would get. */
static int count_descriptors(bool inherited)
{
    int count = 0;
    for (int i = 3; i < 4096; i++) {
        int flags = fcntl(i, F_GETFD);
        count += flags >= 0 && !(inherited && flags & FD_CLOEXEC);
    }
    return count;
}

static void the_window_is_made_and_introduced(void **state)
{
    struct fake_mediator *fake = *state;
    struct vgpu_transport *transport = open_transport(fake);
    const struct vgpu_window_header *header = transport->window;
    assert_int_equal(header->magic, VGPU_WINDOW_MAGIC);
    assert_int_equal(header->version, VGPU_PROTOCOL_VERSION);
    assert_int_equal(header->size, transport->window_size);
    assert_int_equal(header->connected, 1);
    assert_int_equal(fake->hello.window_size, transport->window_size);
    assert_int_equal(fake->hello.channels, 1);
    assert_int_equal(fake->hello.vectors, 1);
    assert_string_equal(fake->hello.vm, program_invocation_short_name);
    assert_memory_equal(fake->window, transport->window, sizeof(*header));
    assert_false(vgpu_transport_lost(transport, header->generation));
    assert_true(vgpu_transport_lost(transport, header->generation + 1));
    vgpu_transport_close(transport);
}

/* The kernel tells, which need not touch it. */
static bool is_readable(const char *place)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    bool readable = write(pipes[1], place, 1) == 1;
    close(pipes[0]);
    close(pipes[1]);
    return readable;
}

/* So that a program that locks all of its memory has no memory locked that nobody uses. */
static void parts_of_the_window_are_used_one_by_one(void **state)
{
    struct vgpu_transport *transport = open_transport(*state);
    char *window = transport->window;
    assert_true(is_readable(window));
    assert_false(is_readable(window + VGPU_WINDOW_EXTENTS_OFFSET));
    assert_int_equal(vgpu_transport_use(transport, VGPU_WINDOW_EXTENTS_OFFSET, 8192), 0);
    assert_true(is_readable(window + VGPU_WINDOW_EXTENTS_OFFSET + 8191));
    assert_false(is_readable(window + VGPU_WINDOW_EXTENTS_OFFSET + 8192));
    assert_int_equal(vgpu_transport_use(transport, transport->window_size, 4096), -EINVAL);
    assert_int_equal(vgpu_transport_use(transport, UINT64_MAX - 4095, 4096), -EINVAL);
    vgpu_transport_close(transport);
}

static void the_window_fits_the_limits_of_the_process(void **state)
{
#ifdef __SANITIZE_ADDRESS__ /* whose memory is beyond any limit */
    (void)state;
    skip();
#else
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)8 << 30;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    struct vgpu_transport *transport = open_transport(*state);
    assert_true(transport->window_size >= (uint64_t)1 << 30);
    assert_true(transport->window_size < limit.rlim_cur / 2);
    vgpu_transport_close(transport);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
#endif
}

static void messages_of_all_lengths_come_back(void **state)
{
    struct vgpu_transport *transport = open_transport(*state);
    uint8_t request[VGPU_MAILBOX_BYTES + 1], response[VGPU_MAILBOX_BYTES];
    for (size_t i = 0; i < sizeof(request); i++)
        request[i] = (uint8_t)(i * 31 + 200);
    for (size_t length = 4; length <= VGPU_MAILBOX_BYTES; length += 51) {
        assert_int_equal(transport->operations->mailbox(transport, request, length, response),
                         length);
        assert_memory_equal(request, response, length);
    }
    assert_int_equal(transport->operations->mailbox(transport, request, 0, response), -EMSGSIZE);
    assert_int_equal(
        transport->operations->mailbox(transport, request, VGPU_MAILBOX_BYTES + 1, response),
        -EMSGSIZE);
    vgpu_transport_close(transport);
}

static void *exchange_many(void *argument)
{
    struct vgpu_transport *transport = argument;
    uintptr_t wrong = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        uint32_t request[4] = {ECHO_OP, (uint32_t)pthread_self(), i, ~i};
        uint32_t response[VGPU_MAILBOX_BYTES / 4];
        int got = transport->operations->mailbox(transport, request, sizeof(request), response);
        wrong += got != sizeof(request) || memcmp(request, response, sizeof(request)) != 0;
    }
    return (void *)wrong;
}

static void threads_get_their_own_answers(void **state)
{
    struct vgpu_transport *transport = open_transport(*state);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, exchange_many, transport), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    vgpu_transport_close(transport);
}

static void answers_that_make_no_sense_end_the_connection(void **state)
{
    struct fake_mediator *fake = *state;
    static const struct {
        enum fake_answer answer;
        int error;
    } cases[] = {{FAKE_OTHER_ID, -EIO},
                 {FAKE_EMPTY, -EIO},
                 {FAKE_LONG, -EIO},
                 {FAKE_WRONG_OP, -EIO},
                 {FAKE_CLOSES, -EHOSTDOWN}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vgpu_transport *transport = open_transport(fake);
        const struct vgpu_window_header *header = transport->window;
        uint32_t request[2] = {ECHO_OP}, response[VGPU_MAILBOX_BYTES / 4];
        fake->answer = cases[i].answer;
        assert_int_equal(transport->operations->mailbox(transport, request, 8, response),
                         cases[i].error);
        assert_true(vgpu_transport_lost(transport, header->generation));
        fake->answer = FAKE_ANSWERS;
        assert_int_equal(transport->operations->mailbox(transport, request, 8, response),
                         -EHOSTDOWN);
        vgpu_transport_close(transport);
    }
}

static void greetings_that_end_the_opening_are_explained(void **state)
{
    struct fake_mediator *fake = *state;
    static const struct {
        enum fake_greeting greeting;
        int error;
        const char *words[2];
    } cases[] = {
        {FAKE_REFUSES, -ECONNREFUSED, {"no more VMs", "refused"}},
        {FAKE_GREETS_GARBAGE, -EPROTO, {"not a vgpu mediator", ""}},
        {FAKE_GREETS_LONG, -EPROTO, {"not a vgpu mediator", ""}},
        {FAKE_OTHER_VERSION, -EPROTO, {"protocol 99", "library 1"}},
        {FAKE_HANGS_UP, -EHOSTDOWN, {"hung up", ""}},
    };
    int before = count_descriptors(false);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vgpu_transport *transport = NULL;
        char message[256] = "";
        fake->greeting = cases[i].greeting;
        assert_int_equal(
            vgpu_transport_open_socket(fake->path, &transport, message, sizeof(message)),
            cases[i].error);
        assert_null(transport);
        for (int word = 0; word < 2; word++)
            assert_non_null(strstr(message, cases[i].words[word]));
        assert_non_null(strstr(message, fake->path));
    }
    assert_true(fake_mediator_await(&fake->hang_ups, 5, 5000));
    assert_int_equal(count_descriptors(false), before);
}

static void nobody_listening_is_explained(void **state)
{
    (void)state;
    struct vgpu_transport *transport = NULL;
    char message[256] = "", path[300];
    assert_int_equal(
        vgpu_transport_open_socket("/tmp/vgpu-nobody.sock", &transport, message, sizeof(message)),
        -EHOSTDOWN);
    assert_non_null(strstr(message, "/tmp/vgpu-nobody.sock"));
    assert_non_null(strstr(message, "is vgpu-mediator running?"));
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = 0;
    assert_int_equal(vgpu_transport_open_socket(path, &transport, message, sizeof(message)),
                     -EHOSTDOWN);
}

static void a_sleeper_notices_the_end_of_the_mediator(void **state)
{
    struct fake_mediator *fake = *state;
    struct vgpu_transport *transport = open_transport(fake);
    const struct vgpu_window_header *header = transport->window;
    uint64_t start = milliseconds();
    fake_mediator_hang_up(fake);
    while (!vgpu_transport_lost(transport, header->generation) && milliseconds() - start < 5000)
        transport->operations->sleep(transport, 10000000000ull, true);
    assert_true(milliseconds() - start < 2000);
    vgpu_transport_close(transport);
}

static void an_interrupt_wakes_a_sleeper_once(void **state)
{
    struct fake_mediator *fake = *state;
    struct vgpu_transport *transport = open_transport(fake);
    uint64_t one = 1, start = milliseconds();
    assert_int_equal(write(fake->interrupt, &one, sizeof(one)), sizeof(one));
    transport->operations->sleep(transport, 50000000, false); /* it is for who listens */
    assert_true(milliseconds() - start >= 49);
    transport->operations->sleep(transport, 10000000000ull, true);
    assert_true(milliseconds() - start < 5000);
    start = milliseconds();
    transport->operations->sleep(transport, 50000000, true); /* the interrupt is gone: all of it */
    assert_true(milliseconds() - start >= 49);
    vgpu_transport_close(transport);
}

static void a_doorbell_rings_at_the_host(void **state)
{
    struct fake_mediator *fake = *state;
    struct vgpu_transport *transport = open_transport(fake);
    uint64_t count = 0;
    transport->operations->ring_doorbell(transport, 0);
    assert_int_equal(read(fake->doorbell, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1);
    vgpu_transport_close(transport);
}

static void no_descriptor_is_inherited_or_forgotten(void **state)
{
    struct fake_mediator *fake = *state;
    int before = count_descriptors(false), inherited = count_descriptors(true);
    struct vgpu_transport *transport = open_transport(fake);
    assert_true(count_descriptors(false) > before);
    assert_int_equal(count_descriptors(true), inherited);
    vgpu_transport_close(transport);
    assert_true(fake_mediator_await(&fake->hang_ups, 1, 5000));
    assert_int_equal(count_descriptors(false), before);
}

#define SOCKET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOCKET_TEST(the_window_is_made_and_introduced),
        SOCKET_TEST(parts_of_the_window_are_used_one_by_one),
        SOCKET_TEST(the_window_fits_the_limits_of_the_process),
        SOCKET_TEST(messages_of_all_lengths_come_back),
        SOCKET_TEST(threads_get_their_own_answers),
        SOCKET_TEST(answers_that_make_no_sense_end_the_connection),
        SOCKET_TEST(greetings_that_end_the_opening_are_explained),
        SOCKET_TEST(nobody_listening_is_explained),
        SOCKET_TEST(a_sleeper_notices_the_end_of_the_mediator),
        SOCKET_TEST(an_interrupt_wakes_a_sleeper_once),
        SOCKET_TEST(a_doorbell_rings_at_the_host),
        SOCKET_TEST(no_descriptor_is_inherited_or_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
