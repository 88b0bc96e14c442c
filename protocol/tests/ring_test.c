/* SPDX-License-Identifier: MIT */
/*
 * Both sides in one process. All around the ring and behind the consumer's buffer is memory that
 * may not be touched, so that an access outside of them ends the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "protocol/ring.h"

struct ring_fixture {
    uint8_t *extent;
    uint8_t *payload; /* of the consumer */
    struct vgpu_channel_header *channel;
    struct vgpu_ring_producer producer;
    struct vgpu_ring_consumer consumer;
    uint32_t random;
};

static uint32_t next_random(struct ring_fixture *f)
{
    f->random = f->random * 1664525 + 1013904223;
    return f->random >> 8;
}

static int setup(void **state)
{
    struct ring_fixture *f = calloc(1, sizeof(*f));
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    f->extent = mmap(NULL, VGPU_CHANNEL_BYTES, PROT_NONE, flags, -1, 0);
    f->payload = mmap(NULL, VGPU_PAYLOAD_MAX + 4096, PROT_NONE, flags, -1, 0);
    assert_int_equal(mprotect(f->extent, 4096, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(
        mprotect(f->extent + VGPU_CHANNEL_RING_OFFSET, VGPU_RING_BYTES, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(mprotect(f->payload, VGPU_PAYLOAD_MAX, PROT_READ | PROT_WRITE), 0);
    f->channel = (struct vgpu_channel_header *)f->extent;
    vgpu_ring_producer_init(&f->producer, f->extent);
    vgpu_ring_consumer_init(&f->consumer, f->extent);
    f->random = 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct ring_fixture *f = *state;
    munmap(f->extent, VGPU_CHANNEL_BYTES);
    munmap(f->payload, VGPU_PAYLOAD_MAX + 4096);
    free(f);
    return 0;
}

static void fill(uint8_t *bytes, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(seed + i * 7);
}

/* A record whose payload follows from its sequence number, in two parts. */
static bool push(struct ring_fixture *f, uint32_t sequence, uint32_t bytes, uint32_t split)
{
    static uint8_t data[VGPU_PAYLOAD_MAX];
    bool wake;
    struct vgpu_call_header header = {.call = 7, .sequence = sequence, .payload_bytes = bytes};
    memset(header.arguments, (int)sequence, sizeof(header.arguments));
    fill(data, bytes, sequence);
    return vgpu_ring_push(&f->producer, &header, data, split, data + split, bytes - split, &wake);
}

static void pop_and_check(struct ring_fixture *f, uint32_t sequence, uint32_t bytes)
{
    static uint8_t expected[VGPU_PAYLOAD_MAX];
    struct vgpu_call_header header;
    assert_int_equal(vgpu_ring_pop(&f->consumer, &header, f->payload), 1);
    assert_int_equal(header.sequence, sequence);
    assert_int_equal(header.payload_bytes, bytes);
    assert_int_equal(header.arguments[VGPU_ARGUMENT_BYTES - 1], (uint8_t)sequence);
    fill(expected, bytes, sequence);
    assert_memory_equal(f->payload, expected, bytes);
}

/* Whether the consumer has told that it took all. */
static bool all_told(const struct ring_fixture *f)
{
    return __atomic_load_n(&f->producer.indices->head, __ATOMIC_ACQUIRE) == f->producer.tail;
}

/* What was taken out is told of at the latest when there is nothing more. */
static bool drained(struct ring_fixture *f)
{
    struct vgpu_call_header header;
    return vgpu_ring_pop(&f->consumer, &header, f->payload) == 0 && all_told(f);
}

static void an_empty_ring_has_nothing(void **state)
{
    assert_true(drained(*state));
}

static void payloads_of_all_sizes_come_through(void **state)
{
    struct ring_fixture *f = *state;
    static const uint32_t sizes[] = {0,  1,   47,  48,  49,   63,    64,
                                     65, 111, 112, 113, 4096, 65535, VGPU_PAYLOAD_MAX};
    uint32_t sequence = 0;
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t bytes = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];
        assert_true(push(f, ++sequence, bytes, bytes / 3));
        assert_false(all_told(f));
        pop_and_check(f, sequence, bytes);
    }
    assert_true(f->producer.tail > VGPU_RING_BYTES);
    assert_true(drained(f));
}

static void records_wrap_at_every_place(void **state)
{
    struct ring_fixture *f = *state;
    bool header_wrapped = false, payload_wrapped = false;
    for (uint32_t sequence = 1; sequence < 60000; sequence++) {
        uint64_t start = f->producer.tail % VGPU_RING_BYTES;
        uint32_t bytes = next_random(f) % 3000;
        assert_true(push(f, sequence, bytes, next_random(f) % (bytes + 1)));
        header_wrapped |= start + VGPU_CALL_HEADER_BYTES > VGPU_RING_BYTES;
        payload_wrapped |= start + VGPU_CALL_HEADER_BYTES < VGPU_RING_BYTES &&
                           start + VGPU_CALL_HEADER_BYTES + bytes > VGPU_RING_BYTES;
        pop_and_check(f, sequence, bytes);
    }
    assert_true(header_wrapped && payload_wrapped);
}

static void a_full_ring_refuses_and_goes_on(void **state)
{
    struct ring_fixture *f = *state;
    uint32_t pushed = 0, popped = 0;
    while (push(f, pushed + 1, 1000, 0))
        pushed++;
    assert_int_equal(pushed, VGPU_RING_BYTES / 1088); /* 80 + 1000, padded */
    for (int i = 0; i < 50; i++) {                    /* room comes in steps of a 16th */
        uint32_t before = popped;
        while (!push(f, pushed + 1, 1000, 1000))
            pop_and_check(f, ++popped, 1000);
        assert_in_range(popped - before, 1, VGPU_RING_BYTES / 16 / 1088 + 1);
        for (pushed++; push(f, pushed + 1, 1000, 0); pushed++)
            ;
        assert_in_range(pushed - popped, VGPU_RING_BYTES / 1088 - 1, VGPU_RING_BYTES / 1088);
    }
    while (popped < pushed)
        pop_and_check(f, ++popped, 1000);
    assert_true(drained(f));
}

static void a_ring_can_be_filled_to_the_last_byte(void **state)
{
    struct ring_fixture *f = *state;
    for (uint32_t i = 0; i < VGPU_RING_BYTES / 128; i++)
        assert_true(push(f, i, 48, 48));
    assert_false(push(f, 0, 0, 0));
    for (uint32_t i = 0; i < VGPU_RING_BYTES / 128; i++)
        pop_and_check(f, i, 48);
}

static int pop(struct ring_fixture *f)
{
    struct vgpu_call_header header;
    return vgpu_ring_pop(&f->consumer, &header, f->payload);
}

static void impossible_tails_are_faults(void **state)
{
    struct ring_fixture *f = *state;
    assert_true(push(f, 1, 0, 0));
    pop_and_check(f, 1, 0);
    static const int64_t distances[] = {
        -128, -64, -1, 1, 63, 64, 65, 127, VGPU_RING_BYTES + 64, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(distances) / sizeof(distances[0]); i++) {
        f->channel->ring.tail = f->consumer.head + (uint64_t)distances[i];
        assert_int_equal(pop(f), -VGPU_RING_BAD_TAIL);
    }
    f->channel->ring.tail = f->consumer.head;
    assert_int_equal(pop(f), 0);
}

static void impossible_payloads_are_faults(void **state)
{
    struct ring_fixture *f = *state;
    static const uint32_t sizes[] = {49,       112,       VGPU_PAYLOAD_MAX, VGPU_PAYLOAD_MAX + 1,
                                     1u << 20, INT32_MAX, UINT32_MAX - 79,  UINT32_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct vgpu_call_header *record = (void *)(f->extent + VGPU_CHANNEL_RING_OFFSET);
        f->channel->ring.tail = 128; /* a header, and room for 48 bytes */
        record->payload_bytes = sizes[i];
        assert_int_equal(pop(f), -VGPU_RING_BAD_PAYLOAD);
        /* however much was pushed, no more than fits the consumer's buffer is copied */
        vgpu_ring_consumer_init(&f->consumer, f->extent);
        f->channel->ring.tail = VGPU_RING_BYTES;
        assert_int_equal(pop(f), sizes[i] > VGPU_PAYLOAD_MAX ? -VGPU_RING_BAD_PAYLOAD : 1);
        vgpu_ring_consumer_init(&f->consumer, f->extent);
    }
}

static void random_garbage_stays_inside(void **state)
{
    struct ring_fixture *f = *state;
    uint32_t *words = (uint32_t *)(f->extent + VGPU_CHANNEL_RING_OFFSET);
    uint32_t records = 0, faults = 0;
    for (int round = 0; round < 300; round++) {
        for (uint32_t i = 0; i < VGPU_RING_BYTES / 4; i += 1 + next_random(f) % 8)
            words[i] = next_random(f) % 3 ? next_random(f) % 100000 : next_random(f) << 8;
        f->channel->ring.tail = f->consumer.head + next_random(f) % (VGPU_RING_BYTES / 64 + 2) * 64;
        int got;
        while ((got = pop(f)) == 1)
            records++;
        faults += got < 0;
        if (got < 0) {
            vgpu_ring_consumer_init(&f->consumer, f->extent);
            f->consumer.head = next_random(f) % VGPU_RING_BYTES / 64 * 64;
            f->consumer.tail_cached = f->consumer.plain = f->consumer.head;
        }
    }
    assert_true(records > 100 && faults > 100);
}

static void a_garbage_head_cannot_lead_the_producer_out(void **state)
{
    struct ring_fixture *f = *state;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        f->channel->ring.head = next_random(f) % 2 ? (uint64_t)next_random(f) << 40
                                                   : f->producer.tail + next_random(f) % 4096;
        refused += !push(f, i, next_random(f) % 2000, 0);
    }
    assert_true(refused > 0 && refused < 20000);
}

static void who_sleeps_is_woken(void **state)
{
    struct ring_fixture *f = *state;
    struct vgpu_call_header header = {.sequence = 1};
    bool wake;
    assert_true(vgpu_ring_push(&f->producer, &header, NULL, 0, NULL, 0, &wake));
    assert_false(wake);
    assert_false(vgpu_ring_sleep(&f->consumer)); /* a record is there */
    assert_int_equal(f->channel->ring.consumer_sleeps, 0);
    assert_int_equal(pop(f), 1);
    assert_true(vgpu_ring_sleep(&f->consumer));
    assert_true(vgpu_ring_push(&f->producer, &header, NULL, 0, NULL, 0, &wake));
    assert_true(wake);
    assert_true(vgpu_ring_push(&f->producer, &header, NULL, 0, NULL, 0, &wake));
    assert_false(wake); /* it was rung for already, though the consumer has not run yet */
    vgpu_ring_awake(&f->consumer);
    assert_true(vgpu_ring_push(&f->producer, &header, NULL, 0, NULL, 0, &wake));
    assert_false(wake);
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RING_TEST(an_empty_ring_has_nothing),
        RING_TEST(payloads_of_all_sizes_come_through),
        RING_TEST(records_wrap_at_every_place),
        RING_TEST(a_full_ring_refuses_and_goes_on),
        RING_TEST(a_ring_can_be_filled_to_the_last_byte),
        RING_TEST(impossible_tails_are_faults),
        RING_TEST(impossible_payloads_are_faults),
        RING_TEST(random_garbage_stays_inside),
        RING_TEST(a_garbage_head_cannot_lead_the_producer_out),
        RING_TEST(who_sleeps_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
