/* SPDX-License-Identifier: MIT */
#include <sys/socket.h>
#include <time.h>

#include "worker/tests/lease_rig.h"

/* How often the worker has spoken since the last time. */
static int heard(const struct lease_rig *rig)
{
    struct vgpu_worker_message message;
    int count = 0;

    while (recv(rig->mediator, &message, sizeof(message), 0) > 0) {
        assert_int_equal(message.op, VGPU_WORKER_LEASE);
        count++;
    }
    return count;
}

static bool admits(const struct lease_rig *rig, enum vgpu_call call)
{
    const struct vgpu_call_header header = {.call = (uint16_t)call, .context = CONTEXT};
    return vgpu_lease_admits(rig->worker, &header);
}

static void finish(struct lease_rig *rig)
{
    vgpu_usage_cover(rig->worker);
    fake_run(NULL, UINT32_MAX);
    vgpu_fence_poll(rig->worker, true);
}

static void without_a_lease_only_work_waits(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_NONE);

    (void)state;
    assert_true(admits(&rig, VGPU_CALL_cuMemAlloc));
    assert_true(admits(&rig, VGPU_CALL_vgpuFence));
    assert_int_equal(heard(&rig), 0);
    assert_false(admits(&rig, VGPU_CALL_vgpuLaunch));
    assert_false(admits(&rig, VGPU_CALL_vgpuLaunch));
    assert_int_equal(heard(&rig), 1); /* once is enough */
    assert_int_equal(rig.lease->wants, 1);
    rig.lease->state = VGPU_LEASE_BOUNDED;
    assert_true(lease_rig_launch(&rig, 0));
    assert_int_equal(rig.lease->wants, 0);
    lease_rig_close(&rig);
}

static void a_lease_that_ends_is_given_back_when_all_is_done(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_OPEN);

    (void)state;
    assert_true(lease_rig_launch(&rig, 0));
    rig.lease->state = VGPU_LEASE_ENDING;
    assert_false(admits(&rig, VGPU_CALL_vgpuLaunch));
    vgpu_lease_look(rig.worker, true);
    assert_int_equal(rig.lease->state, VGPU_LEASE_ENDING);
    finish(&rig);
    vgpu_lease_look(rig.worker, true);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    assert_int_equal(rig.lease->wants, 1);
    assert_int_equal(heard(&rig), 1);
    lease_rig_close(&rig);
}

static void a_lease_is_given_back_while_its_last_work_ends(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_BOUNDED);

    (void)state;
    lease_rig_know_all(&rig, 50000);
    assert_true(lease_rig_launch(&rig, 0));
    rig.lease->state = VGPU_LEASE_ENDING;
    vgpu_lease_look(rig.worker, true);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    assert_int_equal(heard(&rig), 1);
    lease_rig_close(&rig);
}

static void work_that_may_be_long_is_waited_for(void **state)
{
    static const uint32_t first[] = {VGPU_LEASE_BOUNDED, VGPU_LEASE_OPEN};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct lease_rig rig = lease_rig_open(first[i]);

        lease_rig_know_all(&rig, i ? 50000 : 0); /* not known, or not counted */
        assert_true(lease_rig_launch(&rig, 0));
        rig.lease->state = VGPU_LEASE_ENDING;
        vgpu_lease_look(rig.worker, true);
        assert_int_equal(rig.lease->state, VGPU_LEASE_ENDING);
        finish(&rig);
        vgpu_lease_look(rig.worker, true);
        assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
        lease_rig_close(&rig);
    }
}

static void an_idle_lease_can_be_taken_until_there_is_work(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_OPEN);

    (void)state;
    assert_true(lease_rig_launch(&rig, 0));
    vgpu_lease_rest(rig.worker);
    assert_int_equal(rig.lease->state, VGPU_LEASE_OPEN); /* the launch is under way */
    finish(&rig);
    vgpu_lease_rest(rig.worker);
    assert_int_equal(rig.lease->state, VGPU_LEASE_OPEN | VGPU_LEASE_IDLE);
    assert_int_equal(heard(&rig), 0);
    assert_true(lease_rig_launch(&rig, 0));
    assert_int_equal(rig.lease->state, VGPU_LEASE_OPEN);
    finish(&rig);
    rig.lease->state = VGPU_LEASE_BOUNDED;
    vgpu_lease_rest(rig.worker);
    assert_int_equal(rig.lease->state, VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE);
    assert_int_equal(heard(&rig), 1); /* others wait for it */
    rig.lease->state = VGPU_LEASE_NONE;
    assert_false(lease_rig_launch(&rig, 0));
    assert_int_equal(heard(&rig), 1);
    lease_rig_close(&rig);
}

static void work_that_waits_for_a_record_gets_it(void **state)
{
    const struct timespec pause = {.tv_nsec = 60000000};
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_BOUNDED);

    (void)state;
    assert_true(lease_rig_launch(&rig, 0)); /* for all that is known it never ends */
    assert_false(lease_rig_launch(&rig, 0));
    nanosleep(&pause, NULL);
    assert_true(lease_rig_launch(&rig, 0));
    assert_false(lease_rig_launch(&rig, 0)); /* and not more than that */
    lease_rig_close(&rig);
}

static void work_that_waits_for_many_records_gets_more_each_time(void **state)
{
    const struct timespec pause = {.tv_nsec = 60000000};
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_BOUNDED);

    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_true(lease_rig_launch(&rig, 0)); /* for all that is known it never ends */
        for (int most = 1; most <= 4; most *= 2) {
            assert_false(lease_rig_launch(&rig, 0));
            nanosleep(&pause, NULL);
            for (int i = 0; i < most; i++)
                assert_true(lease_rig_launch(&rig, 0));
        }
        assert_false(lease_rig_launch(&rig, 0));
        finish(&rig); /* something was reached: from the beginning */
        lease_rig_know_all(&rig, 2 * LEASE_RIG_WINDOW);
    }
    lease_rig_close(&rig);
}

static int launches_in_flight(struct lease_rig *rig)
{
    int count = 0;
    while (lease_rig_launch(rig, 0) && count < 100000)
        count++;
    return count;
}

static void a_bounded_lease_bounds_what_is_in_flight(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_BOUNDED);

    (void)state;
    int unknown = launches_in_flight(&rig);
    assert_in_range(unknown, 1, 8); /* each could be long */
    assert_false(lease_rig_launch(&rig, 0));
    finish(&rig);
    assert_true(lease_rig_launch(&rig, 0)); /* as soon as there is room */
    lease_rig_close(&rig);
}

static void estimates_follow_what_was_measured(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_BOUNDED);
    const uint64_t lasts[] = {10000, 400000, 20000}; /* nanoseconds */

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        int count = 0;
        for (int round = 0; round < 40; round++) {
            count = launches_in_flight(&rig);
            vgpu_usage_cover(rig.worker);
            fake_run(NULL, UINT32_MAX);
            /* what the GPU would have taken, whatever the fake's clock says */
            uint64_t before = rig.worker->lease.measured;
            uint64_t took = (uint64_t)count * lasts[i];
            vgpu_fence_poll(rig.worker, true);
            rig.channel->page.gpu_nanoseconds = before + took;
        }
        /* up to a batch more than the window */
        assert_in_range((uint64_t)count * lasts[i], LEASE_RIG_WINDOW / 2,
                        LEASE_RIG_WINDOW + LEASE_RIG_WINDOW / 2);
    }
    lease_rig_close(&rig);
}

/* So many launches, each a batch of its own. */
static void launch_batches(struct lease_rig *rig, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        assert_true(lease_rig_launch(rig, 0));
}

static void what_is_waited_for_is_half_of_the_window_or_all(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_BOUNDED);
    const struct vgpu_lease *lease = &rig.worker->lease;

    (void)state;
    lease_rig_know_all(&rig, LEASE_RIG_WINDOW / 4);
    launch_batches(&rig, 4);
    assert_false(lease_rig_launch(&rig, 0));
    assert_int_equal(lease->filling - lease->first, 4);
    assert_int_equal(vgpu_lease_awaited(rig.worker, true), lease->first + 1);
    assert_int_equal(vgpu_lease_awaited(rig.worker, false), lease->filling);
    rig.lease->state = VGPU_LEASE_ENDING;
    assert_int_equal(vgpu_lease_awaited(rig.worker, true), lease->first + 1);
    assert_int_equal(vgpu_lease_awaited(rig.worker, false), lease->first + 1);
    vgpu_lease_uncount(rig.lease);
    assert_int_equal(vgpu_lease_awaited(rig.worker, true), lease->filling);
    rig.lease->state = VGPU_LEASE_NONE;
    assert_int_equal(vgpu_lease_awaited(rig.worker, true), lease->filling);
    lease_rig_close(&rig);
}

static void a_lease_taken_while_it_ended_is_asked_for_again(void **state)
{
    struct lease_rig rig = lease_rig_open(VGPU_LEASE_NONE);

    (void)state;
    assert_false(lease_rig_launch(&rig, 0));
    assert_int_equal(heard(&rig), 1);
    rig.lease->state = VGPU_LEASE_ENDING; /* granted and ended before the worker looked */
    assert_false(lease_rig_launch(&rig, 0));
    vgpu_lease_look(rig.worker, true);
    assert_int_equal(rig.lease->state, VGPU_LEASE_NONE);
    assert_int_equal(rig.lease->wants, 1);
    assert_int_equal(heard(&rig), 1);
    lease_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_lease_only_work_waits),
        cmocka_unit_test(a_lease_that_ends_is_given_back_when_all_is_done),
        cmocka_unit_test(a_lease_is_given_back_while_its_last_work_ends),
        cmocka_unit_test(work_that_may_be_long_is_waited_for),
        cmocka_unit_test(work_that_waits_for_a_record_gets_it),
        cmocka_unit_test(work_that_waits_for_many_records_gets_more_each_time),
        cmocka_unit_test(an_idle_lease_can_be_taken_until_there_is_work),
        cmocka_unit_test(a_bounded_lease_bounds_what_is_in_flight),
        cmocka_unit_test(estimates_follow_what_was_measured),
        cmocka_unit_test(what_is_waited_for_is_half_of_the_window_or_all),
        cmocka_unit_test(a_lease_taken_while_it_ended_is_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
