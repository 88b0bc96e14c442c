/* SPDX-License-Identifier: MIT */
/* Limits of calls, with a ring that the test plays: what counts in it are the sequences. */
#include "worker/tests/fixture.h"

#include "protocol/rate.h"
#include "worker/admission.h"

static void push(struct vgpu_channel *channel, uint32_t count)
{
    channel->header->ring.pushed += count;
}

/* Takes out up to so many records; how many it may. */
static uint32_t take(struct vgpu_channel *channel, uint32_t most)
{
    struct vgpu_throttle *throttle = &channel->worker.throttle;
    uint32_t taken = 0;

    while (taken < most && throttle->taken != channel->header->ring.pushed &&
           vgpu_admission_takes(&channel->worker)) {
        vgpu_admission_taken(&channel->worker, throttle->taken + 1);
        taken++;
    }
    return taken;
}

static void without_limits_nothing_is_held_up(void **state)
{
    struct vgpu_channel *channel = fixture_open();

    (void)state;
    push(channel, 10000);
    assert_int_equal(take(channel, 10000), 10000);
    assert_int_equal(channel->header->limited, 0);
    assert_int_equal(channel->page.throttle.throttled, 0);
    assert_int_equal(vgpu_throttle_pause(&channel->worker), 0);
    fixture_close(channel);
}

static void a_rate_admits_a_burst_and_then_waits(void **state)
{
    struct vgpu_channel *channel = fixture_open();

    (void)state;
    channel->ledger.rate = 100; /* 5 in 50 ms, and one that goes into debt */
    push(channel, 1000);
    assert_in_range(take(channel, 1000), 6, 20);
    assert_int_equal(channel->page.throttle.throttled, 1);
    assert_in_range(vgpu_throttle_pause(&channel->worker), 1, 10000000);
    assert_false(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->page.throttle.throttled, 1); /* once for each wait */
    channel->ledger.free_at = 1;                           /* as if time had passed */
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_true(channel->page.throttle.nanoseconds > 0);
    assert_int_equal(vgpu_throttle_pause(&channel->worker), 0);
    fixture_close(channel);
}

static void a_rate_is_that_of_all_channels_together(void **state)
{
    struct vgpu_ledger_page page = {.rate = 1000};
    uint64_t time = 1000000000;

    (void)state;
    for (int i = 0; i < 50 + 1; i++) {
        assert_int_equal(vgpu_rate_wait(&page, time), 0);
        vgpu_rate_count(&page, time);
    }
    assert_int_equal(vgpu_rate_wait(&page, time), 1000000);
    assert_int_equal(vgpu_rate_wait(&page, time + 1000000), 0);
    /* One in a second, and not what a year of rest would give. */
    page.rate = 1;
    vgpu_rate_count(&page, 100 * time);
    assert_in_range(vgpu_rate_wait(&page, 100 * time), 900000000, 1000000000);
    page.rate = 0;
    assert_int_equal(vgpu_rate_wait(&page, 0), 0);
}

static void an_empty_ring_is_not_throttled(void **state)
{
    struct vgpu_channel *channel = fixture_open();

    (void)state;
    channel->ledger.rate = 1;
    channel->ledger.free_at = UINT64_MAX / 2;
    assert_true(vgpu_admission_takes(&channel->worker)); /* there is nothing to take out */
    assert_int_equal(channel->page.throttle.throttled, 0);
    push(channel, 1);
    assert_false(vgpu_admission_takes(&channel->worker));
    channel->ledger.rate = 0; /* the administrator lifts it */
    assert_true(vgpu_admission_takes(&channel->worker));
    fixture_close(channel);
}

static void a_depth_says_how_far_the_guest_may_go(void **state)
{
    struct vgpu_channel *channel = fixture_open();

    (void)state;
    channel->ledger.queue_depth = 8;
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->header->limited, 1);
    assert_int_equal(channel->header->allowed, 8);
    push(channel, 8);
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->page.throttle.busy, 1);
    assert_int_equal(channel->ledger.queued, 8);
    assert_int_equal(take(channel, 3), 3);
    assert_int_equal(channel->header->allowed, 10); /* as of before the third was taken out */
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->header->allowed, 11);
    assert_int_equal(channel->ledger.queued, 5);
    assert_true(channel->worker.throttle.busy); /* until half of it is gone */
    assert_int_equal(take(channel, 5), 5);
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_false(channel->worker.throttle.busy);
    assert_int_equal(channel->ledger.queued, 0);
    channel->ledger.queue_depth = 0;
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->header->limited, 0);
    fixture_close(channel);
}

static void other_channels_take_room_but_never_all_of_it(void **state)
{
    struct vgpu_channel *channel = fixture_open();

    (void)state;
    channel->ledger.queue_depth = 8;
    channel->ledger.queued = 6;
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->header->allowed, 2);
    channel->ledger.queued = 100;
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->header->allowed, 1);
    fixture_close(channel);
}

static void a_guest_that_lies_harms_only_itself(void **state)
{
    struct vgpu_channel *channel = fixture_open();

    (void)state;
    channel->ledger.queue_depth = 8;
    channel->header->ring.pushed = 0x80000000u;
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_in_range(channel->ledger.queued, 1, VGPU_RING_BYTES / VGPU_RECORD_ALIGNMENT);
    channel->header->ring.pushed = 0;
    assert_true(vgpu_admission_takes(&channel->worker));
    assert_int_equal(channel->ledger.queued, 0);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_nothing_is_held_up),
        cmocka_unit_test(a_rate_admits_a_burst_and_then_waits),
        cmocka_unit_test(a_rate_is_that_of_all_channels_together),
        cmocka_unit_test(an_empty_ring_is_not_throttled),
        cmocka_unit_test(a_depth_says_how_far_the_guest_may_go),
        cmocka_unit_test(other_channels_take_room_but_never_all_of_it),
        cmocka_unit_test(a_guest_that_lies_harms_only_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
