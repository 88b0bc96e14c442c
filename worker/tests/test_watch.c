/* SPDX-License-Identifier: MIT */
/* What a worker tells the watchdog: pieces of work, and for how long the oldest is under way. */
#include <string.h>

#include "worker/tests/fixture.h"

#define SECOND 1000000000ull

static struct vgpu_channel *open_watched(void)
{
    struct vgpu_channel *channel = fixture_open_context();
    fixture_load(channel, ".version");
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0), 0);
    channel->page.watch.limit = 16 * SECOND; /* so a second of known work shares a mark */
    fake.queued = true;
    return channel;
}

static CUstream stream(struct vgpu_channel *channel)
{
    void *object;
    assert_int_equal(vgpu_handles_find(&channel->worker, VGPU_KIND_STREAM, STREAM, &object), 0);
    return object;
}

static void run_all(struct vgpu_channel *channel)
{
    vgpu_usage_cover(&channel->worker);
    fake_run(stream(channel), UINT32_MAX);
    vgpu_fence_poll(&channel->worker, true);
}

/* Marks that `count` launches bring, all of them queued. */
static uint32_t marks_of(struct vgpu_channel *channel, int count)
{
    uint32_t before = channel->worker.fences.placed;
    for (int i = 0; i < count; i++)
        assert_int_equal(fixture_launch(channel, STREAM), CUDA_SUCCESS);
    return channel->worker.fences.placed - before;
}

static void look(struct vgpu_channel *channel, uint64_t now)
{
    vgpu_fence_poll(&channel->worker, true);
    vgpu_watch_look(&channel->worker, now);
}

static void work_that_is_not_known_has_a_mark_of_its_own(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    assert_in_range(marks_of(channel, 50), 49, 51);
    run_all(channel);
    /* Each takes a microsecond, as is known now: no mark but that of the beginning. */
    assert_in_range(marks_of(channel, 50), 0, 1);
    run_all(channel);
    assert_in_range(marks_of(channel, 4 * VGPU_WATCH_RECORDS), 3, 4);
    fixture_close(channel);
}

static void work_that_had_but_a_fence_is_known(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    marks_of(channel, 1);
    vgpu_fence_place(&channel->worker, stream(channel), 1, 1);
    fake_run(stream(channel), UINT32_MAX);
    vgpu_fence_poll(&channel->worker, true);
    uint32_t before = channel->worker.fences.placed;
    marks_of(channel, 1);
    vgpu_fence_place(&channel->worker, stream(channel), 1, 2);
    assert_int_equal(channel->worker.fences.placed, before + 1); /* it is, already */
    assert_in_range(marks_of(channel, 50), 0, 1);
    fixture_close(channel);
}

static void long_work_has_a_mark_of_its_own(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    marks_of(channel, 2);
    run_all(channel);
    channel->page.watch.limit = 16000; /* nanoseconds: now nothing is short */
    assert_in_range(marks_of(channel, 50), 49, 51);
    fixture_close(channel);
}

static void work_that_turns_out_long_is_not_known_any_more(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    marks_of(channel, 20);
    run_all(channel);
    assert_in_range(marks_of(channel, 10), 0, 1);
    vgpu_usage_cover(&channel->worker);
    fake_run(stream(channel), 5);
    fake_pass(2 * SECOND); /* idle time, which is real here, is not counted */
    run_all(channel);
    assert_in_range(marks_of(channel, 10), 9, 10);
    fixture_close(channel);
}

static void only_the_oldest_is_looked_at(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    const struct vgpu_worker_watch *shown = &channel->page.watch;
    look(channel, 5);
    assert_int_equal(shown->since, 0);
    marks_of(channel, 4);
    vgpu_usage_cover(&channel->worker);
    look(channel, 10);
    look(channel, 20);
    assert_int_equal(shown->since, 10);
    assert_int_equal(shown->looked, 20);
    assert_int_equal(shown->patience, 1);
    fake_run(stream(channel), 3); /* the beginning, a launch and its mark */
    look(channel, 30);
    assert_int_equal(shown->since, 30); /* something was done: another is the oldest */
    run_all(channel);
    look(channel, 40);
    assert_int_equal(shown->since, 0);
    fixture_close(channel);
}

static void pieces_of_many_records_and_waits_get_patience(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    const struct vgpu_worker_watch *shown = &channel->page.watch;
    marks_of(channel, 8);
    run_all(channel);
    marks_of(channel, 8);
    vgpu_usage_cover(&channel->worker);
    fake_run(stream(channel), 1);
    look(channel, 10);
    assert_int_equal(shown->patience, 3);
    channel->worker.upcalls.under_way = 1; /* the guest runs a function */
    look(channel, 20);
    assert_int_equal(shown->patience, VGPU_WATCH_PATIENCE);
    channel->worker.upcalls.under_way = 0;
    look(channel, 30);
    assert_int_equal(shown->patience, 3);
    assert_int_equal(shown->since, 30);
    fixture_close(channel);
}

static bool admits(struct vgpu_channel *channel, uint16_t call)
{
    const struct vgpu_call_header header = {.call = call,
                                            .flags = VGPU_CALL_WANTS_REPLY | VGPU_CALL_INSISTS};
    return vgpu_watch_admits(&channel->worker, &header);
}

static void a_call_that_waits_for_all_work_is_kept_until_little_is_left(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    assert_true(admits(channel, VGPU_CALL_cuModuleUnload));
    marks_of(channel, 3);
    assert_true(admits(channel, VGPU_CALL_cuMemAlloc));
    assert_false(admits(channel, VGPU_CALL_cuModuleUnload));
    assert_true(admits(channel, UINT16_MAX));
    run_all(channel);
    assert_true(admits(channel, VGPU_CALL_cuModuleUnload));
    fixture_close(channel);
}

static void a_call_that_waits_for_all_work_is_put_off_while_there_is_some(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_watched();
    marks_of(channel, 1);
    assert_int_equal(vgpu_send_cuModuleUnload(channel, CONTEXT, MODULE), CUDA_SUCCESS);
    assert_int_equal(channel->put_off, 1);
    run_all(channel);
    fixture_close(channel);
    channel = open_watched();
    fake.queued = false;
    marks_of(channel, 1);
    assert_int_equal(vgpu_send_cuModuleUnload(channel, CONTEXT, MODULE), CUDA_SUCCESS);
    assert_int_equal(channel->put_off, 0);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_that_is_not_known_has_a_mark_of_its_own),
        cmocka_unit_test(work_that_had_but_a_fence_is_known),
        cmocka_unit_test(long_work_has_a_mark_of_its_own),
        cmocka_unit_test(work_that_turns_out_long_is_not_known_any_more),
        cmocka_unit_test(only_the_oldest_is_looked_at),
        cmocka_unit_test(pieces_of_many_records_and_waits_get_patience),
        cmocka_unit_test(a_call_that_waits_for_all_work_is_kept_until_little_is_left),
        cmocka_unit_test(a_call_that_waits_for_all_work_is_put_off_while_there_is_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
