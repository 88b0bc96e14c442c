/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <time.h>

#include "protocol/ring.h"
#include "worker/tests/fixture.h"

static uint64_t counted(const struct vgpu_histogram *histogram)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++)
        sum += histogram->bucket[i];
    return sum;
}

static void pause_for(long milliseconds)
{
    const struct timespec time = {.tv_nsec = milliseconds * 1000000};
    nanosleep(&time, NULL);
}

static void every_class_is_timed_and_frequent_ones_now_and_then(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();
    const struct vgpu_worker_times *times = &channel->page.times;

    (void)state;
    fixture_load(channel, "image");
    assert_int_equal(counted(&times->call[VGPU_CLASS_MODULE]),
                     channel->page.calls[VGPU_CALL_vgpuImageAppend] +
                         channel->page.calls[VGPU_CALL_cuModuleLoadData]);
    assert_int_equal(fixture_launch(channel, 0), CUDA_SUCCESS);
    assert_int_equal(counted(&times->call[VGPU_CLASS_LAUNCH]), 1); /* the first one */
    for (int i = 0; i < 6400; i++)
        assert_int_equal(fixture_launch(channel, 0), CUDA_SUCCESS);
    assert_in_range(counted(&times->call[VGPU_CLASS_LAUNCH]), 100, 400); /* about one in 32 */
    assert_true(times->call[VGPU_CLASS_LAUNCH].sum > 0);
    assert_int_equal(channel->page.calls[VGPU_CALL_vgpuLaunch], 6401);
    fixture_close(channel);
}

static void calls_that_fail_are_counted_in_their_class(void **state)
{
    struct vgpu_channel *channel = fixture_open_context();

    (void)state;
    uint64_t address;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, QUOTA + 1),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(channel->page.failed[VGPU_CLASS_ALLOC], 1);
    assert_int_equal(channel->page.failed[VGPU_CLASS_LAUNCH], 0);
    fixture_close(channel);
}

/* A ring with a producer, whose records are all of the same size. */
struct rig {
    uint8_t *extent;
    struct vgpu_ring_producer producer;
    struct vgpu_ring_consumer consumer;
    struct vgpu_timing timing;
    struct vgpu_worker_page *page;
};

static struct rig open_rig(void)
{
    struct rig rig = {.extent = calloc(1, VGPU_CHANNEL_BYTES),
                      .page = calloc(1, sizeof(*rig.page))};
    vgpu_ring_producer_init(&rig.producer, rig.extent);
    vgpu_ring_consumer_init(&rig.consumer, rig.extent);
    return rig;
}

static void close_rig(struct rig *rig)
{
    free(rig->extent);
    free(rig->page);
}

static void push(struct rig *rig)
{
    struct vgpu_call_header header = {.call = VGPU_CALL_vgpuLaunch};
    bool wake;
    assert_true(vgpu_ring_push(&rig->producer, &header, NULL, 0, NULL, 0, &wake));
}

static void take(struct rig *rig, bool watched)
{
    static uint8_t payload[VGPU_PAYLOAD_MAX];
    struct vgpu_call_header header;
    assert_int_equal(vgpu_ring_pop(&rig->consumer, &header, payload), 1);
    if (vgpu_timing_is_due(&rig->timing, &rig->consumer))
        vgpu_timing_look(&rig->timing, rig->page, &rig->consumer, watched);
}

static void a_record_that_waits_behind_others_is_timed(void **state)
{
    struct rig rig = open_rig();

    (void)state;
    for (int i = 0; i < 10; i++)
        push(&rig);
    take(&rig, false); /* the last of the ten is watched from here on */
    pause_for(5);
    for (int i = 0; i < 8; i++)
        take(&rig, false);
    assert_int_equal(counted(&rig.page->times.wait), 0);
    take(&rig, false);
    assert_int_equal(counted(&rig.page->times.wait), 1);
    assert_in_range(rig.page->times.wait.sum, 5000000, 5000000000);
    close_rig(&rig);
}

static void a_record_that_comes_alone_does_not_wait_unless_the_worker_slept(void **state)
{
    struct rig rig = open_rig();

    (void)state;
    push(&rig);
    take(&rig, false); /* how long it waited nobody knows */
    assert_int_equal(counted(&rig.page->times.wait), 0);
    rig.timing.next = 0;
    push(&rig);
    take(&rig, true);
    assert_int_equal(counted(&rig.page->times.wait), 1);
    assert_int_equal(rig.page->times.wait.sum, 0);
    close_rig(&rig);
}

static void a_record_that_waits_for_a_turn_is_always_timed(void **state)
{
    static uint8_t payload[VGPU_PAYLOAD_MAX];
    struct vgpu_call_header header;
    struct rig rig = open_rig();

    (void)state;
    rig.timing.next = UINT64_MAX; /* no other would be */
    for (uint64_t i = 1; i <= 3; i++) {
        push(&rig);
        assert_int_equal(vgpu_ring_pop(&rig.consumer, &header, payload), 1);
        vgpu_timing_hold(&rig.timing, &rig.consumer);
        pause_for(2);
        assert_true(vgpu_timing_is_due(&rig.timing, &rig.consumer));
        vgpu_timing_look(&rig.timing, rig.page, &rig.consumer, false);
        assert_int_equal(counted(&rig.page->times.wait), i);
        assert_true(rig.page->times.wait.sum >= i * 2000000);
    }
    close_rig(&rig);
}

static void an_impossible_tail_is_not_waited_for(void **state)
{
    struct rig rig = open_rig();

    (void)state;
    push(&rig);
    push(&rig);
    take(&rig, false);
    assert_true(rig.timing.since != 0);
    take(&rig, false);
    rig.timing.next = 0;
    push(&rig);
    rig.producer.indices->tail = UINT64_MAX / 2; /* a guest can write anything here */
    static uint8_t payload[VGPU_PAYLOAD_MAX];
    struct vgpu_call_header header;
    assert_true(vgpu_ring_pop(&rig.consumer, &header, payload) < 0);
    vgpu_timing_look(&rig.timing, rig.page, &rig.consumer, false);
    assert_int_equal(rig.timing.since, 0);
    close_rig(&rig);
}

static void busy_slots_hold_what_was_busy(void **state)
{
    struct vgpu_busy *busy = calloc(1, sizeof(*busy));
    const uint64_t slot = VGPU_BUSY_NANOSECONDS, start = 10000 * slot;

    (void)state;
    vgpu_busy_begin(busy, start + slot / 2);
    assert_int_equal(vgpu_busy_read(busy, busy->since, 10000, start + slot), slot / 2);
    assert_int_equal(vgpu_busy_read(busy, busy->since, 10001, start + slot + 7), 7); /* so far */
    vgpu_busy_count(busy, start + slot / 2, start + 2 * slot + 5);
    vgpu_busy_rest(busy);
    assert_int_equal(busy->since, 0);
    vgpu_busy_count(busy, start + 2 * slot + 10, start + 2 * slot + 11);
    uint64_t now = start + 9 * slot;
    assert_int_equal(vgpu_busy_read(busy, 0, 10000, now), slot / 2);
    assert_int_equal(vgpu_busy_read(busy, 0, 10001, now), slot);
    assert_int_equal(vgpu_busy_read(busy, 0, 10002, now), 6);
    assert_int_equal(vgpu_busy_read(busy, 0, 10003, now), 0);
    /* the same place of the table, much later */
    assert_int_equal(vgpu_busy_read(busy, 0, 10001 + VGPU_BUSY_SLOTS, now), 0);
    vgpu_busy_count(busy, 1, now); /* longer than the table */
    assert_int_equal(vgpu_busy_read(busy, 0, 10008, now), slot);
    vgpu_busy_count(busy, now - slot, now); /* by another context */
    assert_int_equal(vgpu_busy_read(busy, 0, 10008, now), slot);
    free(busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_is_timed_and_frequent_ones_now_and_then),
        cmocka_unit_test(calls_that_fail_are_counted_in_their_class),
        cmocka_unit_test(a_record_that_waits_behind_others_is_timed),
        cmocka_unit_test(a_record_that_comes_alone_does_not_wait_unless_the_worker_slept),
        cmocka_unit_test(a_record_that_waits_for_a_turn_is_always_timed),
        cmocka_unit_test(an_impossible_tail_is_not_waited_for),
        cmocka_unit_test(busy_slots_hold_what_was_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
