/* SPDX-License-Identifier: MIT */
/* Calls, posts, fences and console of a channel whose worker is well. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/channel/channel_private.h"
#include "guest/tests/fake_mediator.h"
#include "protocol/calls.h"
#include "protocol/latency.h"
#include "protocol/send.h"

#define THREADS 8

struct fixture {
    struct fake_mediator fake;
    struct vgpu_channel *channel;
    pthread_t threads[THREADS];
    uint32_t finished; /* atomic: threads that are done */
    /* ordering */
    uint32_t seen[THREADS];
    uint32_t sequence;
    uint32_t disorder; /* atomic */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    fake_mediator_start(&f->fake);
    f->fake.test = f;
    assert_int_equal(vgpu_channel_open(&f->channel), CUDA_SUCCESS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vgpu_channel_close(f->channel);
    assert_true(fake_mediator_await(&f->fake.closes, 1, 1000));
    fake_mediator_stop(&f->fake);
    free(f);
    return 0;
}

/* The fake echoes: the result is `context`, the outputs the arguments, the reply the payload. */
static CUresult call(struct vgpu_channel *channel, uint32_t value, uint32_t result_code,
                     struct vgpu_result *result)
{
    struct vgpu_call_header header = {.call = 1, .context = result_code};
    memcpy(header.arguments, &value, sizeof(value));
    return vgpu_channel_call(channel, &header, NULL, 0, NULL, 0, result, NULL, 0, NULL);
}

static CUresult post(struct vgpu_channel *channel, uint32_t call_id, const void *payload,
                     uint32_t bytes)
{
    struct vgpu_call_header header = {.call = (uint16_t)call_id, .payload_bytes = bytes};
    return vgpu_channel_post(channel, &header, payload, bytes, NULL, 0);
}

static void a_call_returns_result_and_outputs(void **state)
{
    struct fixture *f = *state;
    struct vgpu_result result;
    for (uint32_t i = 0; i < 500; i++) {
        assert_int_equal(call(f->channel, i, i % 3 ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND, &result),
                         i % 3 ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND);
        assert_int_equal((uint32_t)result.output[0], i);
    }
    assert_int_equal(vgpu_channel_alive(f->channel), CUDA_SUCCESS);
}

static void reply_payloads_are_copied_up_to_the_capacity(void **state)
{
    struct fixture *f = *state;
    uint8_t sent[VGPU_REPLY_PAYLOAD_MAX], got[VGPU_REPLY_PAYLOAD_MAX + 1];
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (uint8_t)(i * 13);
    static const uint32_t sizes[] = {0, 1, 63, 1000, VGPU_REPLY_PAYLOAD_MAX};
    for (size_t i = 0; i < 5; i++) {
        for (size_t capacity = 0; capacity <= sizeof(got) - 1; capacity += 1008) {
            struct vgpu_call_header header = {.call = 1, .payload_bytes = sizes[i]};
            struct vgpu_result result;
            size_t bytes = 99, expected = sizes[i] < capacity ? sizes[i] : capacity;
            memset(got, 0xee, sizeof(got));
            assert_int_equal(vgpu_channel_call(f->channel, &header, sent, sizes[i] / 2,
                                               sent + sizes[i] / 2, sizes[i] - sizes[i] / 2,
                                               &result, got, capacity, &bytes),
                             CUDA_SUCCESS);
            assert_int_equal(bytes, expected);
            assert_int_equal(result.payload_bytes, sizes[i]);
            assert_memory_equal(got, sent, expected);
            assert_int_equal(got[expected], 0xee);
        }
    }
}

static bool lie_about_the_payload(struct fake_mediator *fake, const struct vgpu_call_header *header,
                                  const uint8_t *payload)
{
    struct vgpu_channel_header *channel = fake_mediator_channel(fake);
    struct vgpu_reply_slot *slots = (void *)((char *)channel + VGPU_CHANNEL_REPLIES_OFFSET);
    (void)payload;
    slots[header->reply_slot].result = (struct vgpu_result){.payload_bytes = UINT32_MAX};
    __atomic_store_n(&slots[header->reply_slot].sequence, header->sequence, __ATOMIC_RELEASE);
    return true;
}

static void an_impossible_reply_length_is_bounded(void **state)
{
    struct fixture *f = *state;
    static uint8_t got[2 * VGPU_REPLY_SLOT_BYTES];
    struct vgpu_call_header header = {.call = 1};
    struct vgpu_result result;
    size_t bytes;
    f->fake.replay = lie_about_the_payload;
    assert_int_equal(
        vgpu_channel_call(f->channel, &header, NULL, 0, NULL, 0, &result, got, sizeof(got), &bytes),
        CUDA_SUCCESS);
    assert_int_equal(bytes, VGPU_REPLY_PAYLOAD_MAX);
}

static void an_answer_of_long_ago_is_not_taken_for_the_new_one(void **state)
{
    struct fixture *f = *state;
    struct vgpu_reply_slot *slots =
        (void *)((char *)f->channel->header + VGPU_CHANNEL_REPLIES_OFFSET);
    struct vgpu_result result;
    for (uint32_t i = 0; i < 100; i++) {
        /* as after 2^32 records */
        slots[0].sequence = f->channel->sequence + 1;
        slots[0].result.output[0] = 4711;
        assert_int_equal(call(f->channel, i, CUDA_SUCCESS, &result), CUDA_SUCCESS);
        assert_int_equal((uint32_t)result.output[0], i);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Order
 */

struct ordered {
    uint32_t thread;
    uint32_t number;
    uint8_t filling[600];
};

static bool check_order(struct fake_mediator *fake, const struct vgpu_call_header *header,
                        const uint8_t *payload)
{
    struct fixture *f = fake->test;
    struct ordered record;
    bool right = header->sequence == ++f->sequence &&
                 header->payload_bytes >= offsetof(struct ordered, filling);
    if (right) {
        memcpy(&record, payload, header->payload_bytes);
        size_t filled = header->payload_bytes - offsetof(struct ordered, filling);
        right = record.thread < THREADS && record.number == ++f->seen[record.thread] &&
                (filled == 0 || record.filling[filled - 1] == (uint8_t)record.number);
    }
    if (!right)
        __atomic_add_fetch(&f->disorder, 1, __ATOMIC_RELAXED);
    return fake_mediator_echo(fake, header, payload);
}

static void *send_in_order(void *argument)
{
    struct fixture *f = argument;
    uint32_t thread = 0;
    while (!pthread_equal(f->threads[thread], pthread_self()))
        thread++;
    for (uint32_t number = 1; number <= 8000; number++) {
        struct ordered record = {.thread = thread, .number = number};
        uint32_t filled = number * 37 % sizeof(record.filling);
        uint32_t bytes = (uint32_t)offsetof(struct ordered, filling) + filled;
        memset(record.filling, (int)number, filled);
        struct vgpu_call_header header = {.call = 1, .payload_bytes = bytes};
        struct vgpu_result result;
        struct ordered reply = {0};
        size_t got;
        if (number % 64) {
            if (vgpu_channel_post(f->channel, &header, &record, bytes, NULL, 0) != CUDA_SUCCESS)
                return "post";
        } else if (vgpu_channel_call(f->channel, &header, &record, 8, record.filling, filled,
                                     &result, &reply, sizeof(reply), &got) != CUDA_SUCCESS ||
                   got != bytes || memcmp(&reply, &record, bytes) != 0) {
            return "call";
        }
    }
    return NULL;
}

static void records_of_eight_threads_keep_their_order(void **state)
{
    struct fixture *f = *state;
    f->fake.replay = check_order;
    __atomic_store_n(&f->fake.worker_stalls, true, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&f->threads[i], NULL, send_in_order, f), 0);
    __atomic_store_n(&f->fake.worker_stalls, false, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(f->threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(f->disorder, 0);
    assert_int_equal(f->fake.fault, 0);
    assert_int_equal(f->sequence, THREADS * 8000);
}

static void *post_beyond_the_ring(void *argument)
{
    struct fixture *f = argument;
    static const uint8_t payload[4016]; /* records of 4 KiB */
    for (uint32_t i = 0; i < 2 * VGPU_RING_BYTES / 4096; i++) {
        if (post(f->channel, 1, payload, sizeof(payload)) != CUDA_SUCCESS)
            return "post";
        __atomic_add_fetch(&f->finished, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void a_full_ring_waits_for_the_worker(void **state)
{
    struct fixture *f = *state;
    void *wrong;
    __atomic_store_n(&f->fake.worker_stalls, true, __ATOMIC_RELEASE);
    usleep(30000);
    assert_int_equal(pthread_create(&f->threads[0], NULL, post_beyond_the_ring, f), 0);
    assert_true(fake_mediator_await(&f->finished, VGPU_RING_BYTES / 4096, 5000));
    usleep(30000);
    assert_int_equal(__atomic_load_n(&f->finished, __ATOMIC_ACQUIRE), VGPU_RING_BYTES / 4096);
    __atomic_store_n(&f->fake.worker_stalls, false, __ATOMIC_RELEASE);
    pthread_join(f->threads[0], &wrong);
    assert_null(wrong);
    assert_true(fake_mediator_await(&f->fake.records, 2 * VGPU_RING_BYTES / 4096, 5000));
    assert_int_equal(f->fake.fault, 0);
}

/* ------------------------------------------------------------------------------------------------
 * Sleeping
 */

struct patient {
    struct vgpu_transport_operations operations; /* first */
    struct fixture *fixture;
};

/* As the transport's, but patient: a lost interrupt is not covered up by the end of a nap. */
static void sleep_long(struct vgpu_transport *transport, uint64_t nanoseconds, bool listen)
{
    struct fixture *f = ((const struct patient *)transport->operations)->fixture;
    struct pollfd event = {.fd = f->fake.interrupt, .events = POLLIN};
    uint64_t count;
    (void)nanoseconds, (void)listen;
    if (poll(&event, 1, 5000) != 1 || read(f->fake.interrupt, &count, sizeof(count)) < 0)
        __atomic_add_fetch(&f->disorder, 1, __ATOMIC_RELAXED);
}

static void sleep_patiently(struct fixture *f, struct patient *patient)
{
    *patient = (struct patient){*f->channel->transport->operations, f};
    patient->operations.sleep = sleep_long;
    f->channel->transport->operations = &patient->operations;
}

/* Comes true before the worker can see that someone sleeps: no interrupt will tell. */
static bool already_there(struct vgpu_channel *channel, void *argument)
{
    bool *come = argument;
    *come |= channel->header->guest_sleeps != 0;
    return *come;
}

static void what_comes_before_the_sleep_is_seen(void **state)
{
    struct fixture *f = *state;
    const struct vgpu_transport_operations *before = f->channel->transport->operations;
    struct patient patient;
    bool come = false;
    sleep_patiently(f, &patient);
    assert_int_equal(vgpu_channel_wait(f->channel, already_there, &come, VGPU_WAIT_WORK),
                     CUDA_SUCCESS);
    f->channel->transport->operations = before;
    assert_int_equal(f->disorder, 0);
    assert_int_equal(f->channel->header->guest_sleeps, 0);
}

static bool echo_late(struct fake_mediator *fake, const struct vgpu_call_header *header,
                      const uint8_t *payload)
{
    struct timespec pause = {.tv_nsec = header->sequence * 7919 % 60000};
    nanosleep(&pause, NULL);
    return fake_mediator_echo(fake, header, payload);
}

static void *call_many(void *argument)
{
    struct fixture *f = argument;
    for (uint32_t i = 0; i < 1000; i++) {
        struct vgpu_result result;
        if (call(f->channel, i, CUDA_SUCCESS, &result) != CUDA_SUCCESS ||
            (uint32_t)result.output[0] != i)
            return "call";
    }
    return NULL;
}

static void no_sleeper_misses_its_interrupt(void **state)
{
    struct fixture *f = *state;
    const struct vgpu_transport_operations *before = f->channel->transport->operations;
    struct patient patient;
    sleep_patiently(f, &patient);
    f->fake.replay = echo_late;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&f->threads[i], NULL, call_many, f), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(f->threads[i], &wrong);
        assert_null(wrong);
    }
    f->channel->transport->operations = before;
    assert_int_equal(f->disorder, 0);
    assert_int_equal(f->channel->header->guest_sleeps, 0);
}

/* ------------------------------------------------------------------------------------------------
 * Fences, errors, console
 */

static void fences_are_ones_own_until_given_back(void **state)
{
    struct fixture *f = *state;
    uint8_t *taken = calloc(1, VGPU_FENCES);
    uint32_t fence, value, count = 0;
    while (vgpu_fence_take(f->channel, &fence, &value) == CUDA_SUCCESS) {
        assert_true(fence < VGPU_FENCES && !taken[fence]);
        assert_int_equal(value, 0);
        taken[fence] = 1;
        count++;
    }
    assert_int_equal(count, VGPU_FENCES - VGPU_STAGING_CHUNKS);
    assert_int_equal(vgpu_fence_take(f->channel, &fence, &value), CUDA_ERROR_OUT_OF_MEMORY);
    vgpu_fence_put(f->channel, 4711);
    assert_int_equal(vgpu_fence_take_spare(f->channel, &fence, &value), CUDA_ERROR_OUT_OF_MEMORY);
    for (fence = VGPU_STAGING_CHUNKS; fence < VGPU_FENCES / 2; fence++) {
        if (fence != 4711)
            vgpu_fence_put(f->channel, fence);
    }
    assert_int_equal(vgpu_fence_take_spare(f->channel, &fence, &value), CUDA_SUCCESS);
    assert_int_equal(vgpu_fence_take(f->channel, &fence, &value), CUDA_SUCCESS);
    free(taken);
}

/* The worker may look late at what the last owner waited for. */
static void a_fence_does_not_step_back_when_another_takes_it(void **state)
{
    struct fixture *f = *state;
    uint32_t fence, again, value;
    assert_int_equal(vgpu_fence_take(f->channel, &fence, &value), CUDA_SUCCESS);
    fake_mediator_write_fence(&f->fake, fence, value + 12);
    vgpu_fence_put(f->channel, fence);
    assert_int_equal(vgpu_fence_take(f->channel, &again, &value), CUDA_SUCCESS);
    assert_int_equal(again, fence);
    assert_int_equal(value, 12);
    assert_true(vgpu_fence_reached(f->channel, fence, 12));
    assert_false(vgpu_fence_reached(f->channel, fence, 13));
}

static void fences_compare_as_serial_numbers(void **state)
{
    struct fixture *f = *state;
    uint32_t fence, value;
    assert_int_equal(vgpu_fence_take(f->channel, &fence, &value), CUDA_SUCCESS);
    fake_mediator_write_fence(&f->fake, fence, UINT32_MAX);
    assert_true(vgpu_fence_reached(f->channel, fence, UINT32_MAX - 5));
    assert_false(vgpu_fence_reached(f->channel, fence, 3));
    fake_mediator_write_fence(&f->fake, fence, 3);
    assert_true(vgpu_fence_reached(f->channel, fence, UINT32_MAX));
}

static void a_fence_wait_ends_when_the_worker_writes_it(void **state)
{
    struct fixture *f = *state;
    uint32_t fence, value;
    assert_int_equal(vgpu_fence_take(f->channel, &fence, &value), CUDA_SUCCESS);
    for (value = 1; value < 300; value++) {
        assert_int_equal(vgpu_send_vgpuFence(f->channel, 0, 0, fence, value), CUDA_SUCCESS);
        assert_int_equal(vgpu_fence_wait(f->channel, fence, value), CUDA_SUCCESS);
        assert_true(vgpu_fence_reached(f->channel, fence, value));
    }
}

static void round_trips_are_counted(void **state)
{
    struct fixture *f = *state;
    struct vgpu_result result;
    uint64_t total = 0;
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(call(f->channel, i, CUDA_SUCCESS, &result), CUDA_SUCCESS);
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++)
        total += f->channel->header->latency[i];
    assert_int_equal(total, 100);
    assert_int_equal(f->channel->header->latency[0], 0);
}

static void a_deferred_error_is_taken_once_and_ends_fence_waits(void **state)
{
    struct fixture *f = *state;
    struct vgpu_channel_header *header = fake_mediator_channel(&f->fake);
    uint32_t fence, value;
    assert_int_equal(vgpu_channel_take_error(f->channel), CUDA_SUCCESS);
    assert_int_equal(vgpu_fence_take(f->channel, &fence, &value), CUDA_SUCCESS);
    header->deferred_error = CUDA_ERROR_LAUNCH_FAILED;
    assert_int_equal(vgpu_fence_wait(f->channel, fence, 1), CUDA_SUCCESS);
    assert_false(vgpu_fence_reached(f->channel, fence, 1));
    assert_int_equal(vgpu_channel_take_error(f->channel), CUDA_ERROR_LAUNCH_FAILED);
    assert_int_equal(vgpu_channel_take_error(f->channel), CUDA_SUCCESS);
}

static uint32_t insisted, waited;

static bool put_off_until_it_insists(struct fake_mediator *fake,
                                     const struct vgpu_call_header *header, const uint8_t *payload)
{
    const struct vgpu_result later = {.result = VGPU_RESULT_LATER};
    (void)payload;
    const struct vgpu_result done = {.result = CUDA_SUCCESS};
    insisted += (header->flags & VGPU_CALL_INSISTS) != 0;
    fake_mediator_reply(fake, header, header->flags & VGPU_CALL_INSISTS ? &done : &later, NULL);
    return true;
}

static bool count_waits(struct vgpu_channel *channel)
{
    (void)channel;
    waited++;
    return true;
}

static void a_call_that_is_put_off_is_asked_again_and_at_last_insists(void **state)
{
    struct fixture *f = *state;
    struct vgpu_result result;
    insisted = waited = 0;
    f->fake.replay = put_off_until_it_insists;
    assert_int_equal(call(f->channel, 1, 2, &result), CUDA_SUCCESS);
    assert_int_equal(insisted, 1); /* nobody knows how to wait */
    assert_int_equal(f->fake.records, 2);
    vgpu_channel_when_busy(f->channel, count_waits);
    assert_int_equal(call(f->channel, 1, 2, &result), CUDA_SUCCESS);
    assert_int_equal(waited, 4);
    assert_int_equal(insisted, 2);
    assert_int_equal(f->fake.records, 2 + 5);
}

static bool print_in_parts(struct fake_mediator *fake, const struct vgpu_call_header *header,
                           const uint8_t *payload)
{
    static const char *const parts[] = {"first ", "second\n"};
    struct vgpu_channel_header *channel = fake_mediator_channel(fake);
    if (header->call != VGPU_CALL_vgpuConsoleRead)
        return fake_mediator_echo(fake, header, payload);
    const char *part = parts[2 - channel->console_pending];
    struct vgpu_result result = {.payload_bytes = (uint32_t)strlen(part)};
    channel->console_pending--;
    fake_mediator_reply(fake, header, &result, part);
    return true;
}

static void console_output_is_printed_whole(void **state)
{
    struct fixture *f = *state;
    char text[64] = "";
    f->fake.replay = print_in_parts;
    fake_mediator_channel(&f->fake)->console_pending = 2;
    fflush(stdout);
    FILE *file = tmpfile();
    int before = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    vgpu_channel_flush_console(f->channel);
    vgpu_channel_flush_console(f->channel); /* nothing is pending now */
    dup2(before, STDOUT_FILENO);
    close(before);
    rewind(file);
    assert_int_equal(fread(text, 1, sizeof(text) - 1, file), 13);
    assert_string_equal(text, "first second\n");
    fclose(file);
    assert_int_equal(f->fake.records, 2);
}

/* True once, as soon as the guest has said that it is about to sleep. */
static bool comes_at_the_last_moment(struct vgpu_channel *channel, void *argument)
{
    uint32_t *came = argument;
    if (*came)
        *came += 1; /* who asks again would do it again */
    else if (__atomic_load_n(&channel->header->guest_sleeps, __ATOMIC_RELAXED))
        *came = 1;
    return *came > 0;
}

static void what_has_come_is_not_asked_for_again(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        uint32_t came = 0;
        assert_int_equal(
            vgpu_channel_wait(f->channel, comes_at_the_last_moment, &came, VGPU_WAIT_ADMISSION),
            CUDA_SUCCESS);
        assert_int_equal(came, 1);
    }
}

struct late {
    uint64_t at;
    uint32_t told; /* how often anybody was told of the sleeper */
};

static bool comes_late(struct vgpu_channel *channel, void *argument)
{
    struct late *late = argument;
    late->told += __atomic_load_n(&channel->header->guest_sleeps, __ATOMIC_RELAXED);
    return vgpu_channel_clock() > late->at;
}

static void who_waits_for_room_tells_nobody(void **state)
{
    struct fixture *f = *state;
    struct late late = {.at = vgpu_channel_clock() + 5000000};
    assert_int_equal(vgpu_channel_wait(f->channel, comes_late, &late, VGPU_WAIT_ROOM),
                     CUDA_SUCCESS);
    assert_int_equal(late.told, 0);
}

#define CHANNEL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANNEL_TEST(a_call_returns_result_and_outputs),
        CHANNEL_TEST(reply_payloads_are_copied_up_to_the_capacity),
        CHANNEL_TEST(an_impossible_reply_length_is_bounded),
        CHANNEL_TEST(an_answer_of_long_ago_is_not_taken_for_the_new_one),
        CHANNEL_TEST(records_of_eight_threads_keep_their_order),
        CHANNEL_TEST(a_full_ring_waits_for_the_worker),
        CHANNEL_TEST(what_comes_before_the_sleep_is_seen),
        CHANNEL_TEST(what_has_come_is_not_asked_for_again),
        CHANNEL_TEST(who_waits_for_room_tells_nobody),
        CHANNEL_TEST(no_sleeper_misses_its_interrupt),
        CHANNEL_TEST(fences_are_ones_own_until_given_back),
        CHANNEL_TEST(a_fence_does_not_step_back_when_another_takes_it),
        CHANNEL_TEST(fences_compare_as_serial_numbers),
        CHANNEL_TEST(a_fence_wait_ends_when_the_worker_writes_it),
        CHANNEL_TEST(round_trips_are_counted),
        CHANNEL_TEST(a_deferred_error_is_taken_once_and_ends_fence_waits),
        CHANNEL_TEST(a_call_that_is_put_off_is_asked_again_and_at_last_insists),
        CHANNEL_TEST(console_output_is_printed_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
