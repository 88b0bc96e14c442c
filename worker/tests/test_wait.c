/* SPDX-License-Identifier: MIT */
/* A stream waits for the guest's program: what that costs the VM, its lease and its account. */
#include "worker/tests/lease_rig.h"

#define MILLISECOND 1000000u /* in nanoseconds */
#define SECOND      1000000000ull

/* Streams run when the test says so: that is all that the fake has to know of waits. */
static CUresult take_wait(CUstream stream, CUdeviceptr address, cuuint32_t value,
                          unsigned int flags)
{
    (void)stream, (void)address, (void)value, (void)flags;
    return CUDA_SUCCESS;
}

/* A bounded lease, two streams, and work that takes so many nanoseconds. */
static struct lease_rig open_rig(uint32_t estimate)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_BOUNDED);

    for (uint32_t id = STREAM; id <= STREAM2; id++)
        assert_int_equal(vgpu_send_cuStreamCreateWithPriority(rig.channel, CONTEXT, id,
                                                              CU_STREAM_NON_BLOCKING, 0),
                         CUDA_SUCCESS);
    fake_driver_table()->cuStreamWaitValue32 = take_wait;
    lease_rig_know_all(&rig, estimate);
    return rig;
}

static void wait_in(struct lease_rig *rig, uint32_t stream)
{
    assert_int_equal(vgpu_send_cuStreamWaitValue32(rig->channel, CONTEXT, stream, 4096, 1, 0),
                     CUDA_SUCCESS);
}

static void run(struct lease_rig *rig, uint32_t id)
{
    void *stream;

    assert_int_equal(vgpu_handles_find(rig->worker, VGPU_KIND_STREAM, id, &stream), CUDA_SUCCESS);
    fake_run(stream, UINT32_MAX);
}

static void end_lease(struct lease_rig *rig)
{
    rig->lease->state = VGPU_LEASE_ENDING;
    vgpu_lease_look(rig->worker, false);
}

static uint64_t worked(const struct lease_rig *rig)
{
    return rig->channel->page.gpu_nanoseconds;
}

static void a_lease_ends_without_what_waits(void **state)
{
    struct lease_rig rig = open_rig(600 * 1000); /* more than what a lease may leave undone */

    (void)state;
    wait_in(&rig, STREAM);
    assert_true(lease_rig_launch(&rig, STREAM));
    end_lease(&rig);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    assert_int_equal(rig.worker->busy_contexts, 0);
    rig.lease->state = VGPU_LEASE_BOUNDED;
    assert_true(lease_rig_launch(&rig, STREAM2)); /* and what does not is waited for */
    end_lease(&rig);
    assert_int_equal(rig.lease->state, VGPU_LEASE_ENDING);
    run(&rig, STREAM2);
    vgpu_fence_poll(rig.worker, true);
    vgpu_lease_look(rig.worker, false);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    lease_rig_close(&rig);
}

static void so_does_it_without_what_waits_for_that(void **state)
{
    struct lease_rig rig = open_rig(600 * 1000);

    (void)state;
    assert_int_equal(vgpu_send_cuEventCreate(rig.channel, CONTEXT, EVENT, 0), CUDA_SUCCESS);
    wait_in(&rig, STREAM);
    assert_int_equal(vgpu_send_cuEventRecordWithFlags(rig.channel, CONTEXT, EVENT, STREAM, 0),
                     CUDA_SUCCESS);
    assert_int_equal(vgpu_send_cuStreamWaitEvent(rig.channel, CONTEXT, STREAM2, EVENT, 0),
                     CUDA_SUCCESS);
    assert_true(lease_rig_launch(&rig, STREAM2));
    assert_int_equal(vgpu_send_vgpuFenceContext(rig.channel, CONTEXT, 100, 7), CUDA_SUCCESS);
    end_lease(&rig);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    vgpu_fence_finish(rig.worker, rig.worker->current); /* now all of it runs */
    assert_int_equal(fixture_fence(rig.channel, 100), 7);
    assert_int_equal(rig.worker->fences.count, 0);
    assert_int_equal(rig.worker->fences.waits, 0);
    assert_int_equal(rig.worker->contexts->usage.pending, 0);
    lease_rig_close(&rig);
}

static void other_streams_go_on(void **state)
{
    struct lease_rig rig = open_rig(1000);

    (void)state;
    wait_in(&rig, STREAM);
    assert_true(lease_rig_launch(&rig, STREAM));
    for (int i = 0; i < 5000; i++) {
        bool admitted = lease_rig_launch(&rig, STREAM2);
        if (!admitted) {
            run(&rig, STREAM2);
            vgpu_fence_poll(rig.worker, true);
            admitted = lease_rig_launch(&rig, STREAM2);
        }
        assert_true(admitted);
    }
    lease_rig_close(&rig);
}

static void so_much_may_wait_as_others_can_bear_at_once(void **state)
{
    static const struct {
        uint32_t estimate;
        int most;
    } cases[] = {{400 * 1000, 25}, {2 * MILLISECOND, 2}, {0, 2}}; /* short, long, not known */

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct lease_rig rig = open_rig(cases[i].estimate);
        int count = 0;

        wait_in(&rig, STREAM);
        while (count < 100 && lease_rig_launch(&rig, STREAM)) {
            vgpu_fence_poll(rig.worker, true);
            count++;
        }
        assert_int_equal(count, cases[i].most);
        assert_false(lease_rig_launch(&rig, STREAM2));
        run(&rig, STREAM);
        vgpu_fence_poll(rig.worker, true);
        assert_true(lease_rig_launch(&rig, STREAM2));
        lease_rig_close(&rig);
    }
}

static void what_came_before_the_wait_does_not_wait(void **state)
{
    struct lease_rig rig = open_rig(600 * 1000);

    (void)state;
    assert_true(lease_rig_launch(&rig, STREAM));
    wait_in(&rig, STREAM);
    vgpu_usage_cover(rig.worker);
    end_lease(&rig);
    assert_int_equal(rig.lease->state, VGPU_LEASE_ENDING);
    assert_int_equal(rig.worker->contexts->usage.pending, 1);
    run(&rig, STREAM);
    lease_rig_close(&rig);
}

/* The wait of each round is over before the worker looks, and the next is there already. */
static void rounds_of_waits_do_not_add_up(void **state)
{
    struct lease_rig rig = open_rig(600 * 1000);

    (void)state;
    wait_in(&rig, STREAM);
    for (int round = 0; round < 100; round++) {
        assert_true(lease_rig_launch(&rig, STREAM));
        vgpu_usage_cover(rig.worker);
        assert_true(lease_rig_launch(&rig, STREAM2));
        vgpu_usage_cover(rig.worker);
        run(&rig, STREAM2);
        run(&rig, STREAM);
        wait_in(&rig, STREAM);
        vgpu_fence_poll(rig.worker, true);
        assert_int_equal(rig.worker->fences.waits, 1);
    }
    assert_int_equal(rig.worker->lease.waiting, 0);
    lease_rig_close(&rig);
}

static void what_waits_is_counted_when_it_runs(void **state)
{
    struct lease_rig rig = open_rig(1000);

    (void)state;
    assert_true(lease_rig_launch(&rig, STREAM)); /* the account has begun */
    vgpu_usage_cover(rig.worker);
    run(&rig, STREAM);
    vgpu_fence_poll(rig.worker, true);
    uint64_t before = worked(&rig);
    for (int round = 1; round <= 3; round++) {
        wait_in(&rig, STREAM);
        assert_true(lease_rig_launch(&rig, STREAM));
        vgpu_usage_cover(rig.worker);
        vgpu_fence_poll(rig.worker, true);
        fake_pass(SECOND);
        run(&rig, STREAM); /* the wait's mark, the launch and its own mark */
        vgpu_fence_poll(rig.worker, true);
        assert_int_equal(rig.worker->fences.count, 0);
        assert_int_equal(rig.worker->fences.waits, 0);
        assert_int_equal(rig.worker->busy_contexts, 0);
        assert_in_range(worked(&rig) - before, FAKE_STEP_NANOSECONDS,
                        (uint64_t)round * 4 * FAKE_STEP_NANOSECONDS);
    }
    assert_int_equal(rig.lease->late, 0); /* it had a lease */
    lease_rig_close(&rig);
}

static void what_runs_without_a_lease_is_told(void **state)
{
    struct lease_rig rig = open_rig(1000);

    (void)state;
    assert_true(lease_rig_launch(&rig, STREAM));
    vgpu_usage_cover(rig.worker);
    run(&rig, STREAM);
    vgpu_fence_poll(rig.worker, true);
    uint64_t before = worked(&rig);
    wait_in(&rig, STREAM);
    assert_true(lease_rig_launch(&rig, STREAM));
    end_lease(&rig);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    run(&rig, STREAM);
    vgpu_fence_poll(rig.worker, true);
    assert_true(worked(&rig) > before);
    assert_int_equal(rig.lease->late, worked(&rig) - before);
    lease_rig_close(&rig);
}

static void a_fence_that_is_reached_ends_the_waits_before_it(void **state)
{
    struct lease_rig rig = open_rig(1000);

    (void)state;
    wait_in(&rig, STREAM);
    wait_in(&rig, STREAM);
    assert_true(lease_rig_launch(&rig, STREAM));
    assert_int_equal(vgpu_send_vgpuFence(rig.channel, CONTEXT, STREAM, 100, 7), CUDA_SUCCESS);
    assert_int_equal(rig.worker->fences.waits, 2);
    run(&rig, STREAM);
    assert_int_equal(fixture_fence(rig.channel, 100), 7);
    assert_true(vgpu_fence_poll(rig.worker, false)); /* no event is asked for */
    assert_int_equal(rig.worker->fences.count, 0);
    assert_int_equal(rig.worker->fences.waits, 0);
    lease_rig_close(&rig);
}

static void behind_the_next_wait_it_still_waits(void **state)
{
    struct lease_rig rig = open_rig(1000);
    void *stream;

    (void)state;
    wait_in(&rig, STREAM);
    assert_true(lease_rig_launch(&rig, STREAM));
    vgpu_usage_cover(rig.worker);
    wait_in(&rig, STREAM);
    assert_true(lease_rig_launch(&rig, STREAM));
    vgpu_usage_cover(rig.worker);
    assert_int_equal(vgpu_handles_find(rig.worker, VGPU_KIND_STREAM, STREAM, &stream), 0);
    fake_run(stream, 1); /* the first wait is over */
    vgpu_fence_poll(rig.worker, true);
    assert_int_equal(rig.worker->fences.waits, 1);
    assert_int_equal(rig.worker->busy_contexts, 1);
    fake_run(stream, 2); /* a launch and its mark */
    vgpu_fence_poll(rig.worker, true);
    assert_int_equal(rig.worker->busy_contexts, 0);
    assert_int_equal(rig.worker->fences.count, 2);
    run(&rig, STREAM);
    vgpu_fence_poll(rig.worker, true);
    assert_int_equal(rig.worker->fences.count, 0);
    lease_rig_close(&rig);
}

static void when_the_context_fails_waits_end(void **state)
{
    struct lease_rig rig = open_rig(1000);

    (void)state;
    wait_in(&rig, STREAM);
    assert_true(lease_rig_launch(&rig, STREAM));
    assert_true(lease_rig_launch(&rig, STREAM2));
    vgpu_usage_cover(rig.worker);
    fake.sticky = CUDA_ERROR_LAUNCH_FAILED;
    vgpu_fence_poll(rig.worker, true);
    assert_int_equal(rig.worker->fences.count, 0);
    assert_int_equal(rig.worker->fences.waits, 0);
    assert_int_equal(rig.worker->contexts->usage.pending, 0);
    end_lease(&rig);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    lease_rig_close(&rig);
}

static void the_watchdog_has_patience_with_what_waits(void **state)
{
    struct lease_rig rig = open_rig(1000);
    const struct vgpu_worker_watch *shown = &rig.channel->page.watch;

    (void)state;
    wait_in(&rig, STREAM);
    vgpu_fence_poll(rig.worker, true);
    vgpu_watch_look(rig.worker, 10);
    assert_int_equal(shown->since, 0); /* nothing is behind it */
    assert_true(lease_rig_launch(&rig, STREAM));
    vgpu_usage_cover(rig.worker);
    vgpu_fence_poll(rig.worker, true);
    vgpu_watch_look(rig.worker, 20);
    assert_int_equal(shown->since, 20);
    assert_int_equal(shown->patience, VGPU_WATCH_PATIENCE);
    assert_true(lease_rig_launch(&rig, STREAM2));
    vgpu_usage_cover(rig.worker);
    vgpu_fence_poll(rig.worker, true);
    vgpu_watch_look(rig.worker, 30);
    assert_int_equal(shown->since, 30); /* what the GPU is at comes first */
    assert_int_equal(shown->patience, 1);
    lease_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_ends_without_what_waits),
        cmocka_unit_test(so_does_it_without_what_waits_for_that),
        cmocka_unit_test(other_streams_go_on),
        cmocka_unit_test(so_much_may_wait_as_others_can_bear_at_once),
        cmocka_unit_test(what_came_before_the_wait_does_not_wait),
        cmocka_unit_test(rounds_of_waits_do_not_add_up),
        cmocka_unit_test(what_waits_is_counted_when_it_runs),
        cmocka_unit_test(what_runs_without_a_lease_is_told),
        cmocka_unit_test(a_fence_that_is_reached_ends_the_waits_before_it),
        cmocka_unit_test(behind_the_next_wait_it_still_waits),
        cmocka_unit_test(when_the_context_fails_waits_end),
        cmocka_unit_test(the_watchdog_has_patience_with_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
