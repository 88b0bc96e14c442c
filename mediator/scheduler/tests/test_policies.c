/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "mediator/scheduler/scheduler.h"

#define MS     1000000ull
#define SECOND 1000000000ull

/* A scheduler whose list the tests fill themselves: policies see nothing else. */
struct bench {
    struct vgpu_scheduler scheduler;
    struct vgpu_pool pools[2];
    struct vgpu_tenant tenants[4];
};

static void set_up(struct bench *bench, const struct vgpu_policy *policy)
{
    vgpu_scheduler_init(&bench->scheduler, policy, NULL);
    for (int i = 0; i < 2; i++)
        vgpu_pool_init(&bench->pools[i]);
    for (int i = 0; i < 4; i++)
        vgpu_tenant_init(&bench->tenants[i], &bench->pools[0]);
}

static void waits(struct bench *bench, int index, uint64_t since)
{
    struct vgpu_tenant *tenant = &bench->tenants[index];

    if (bench->scheduler.policy->wake)
        bench->scheduler.policy->wake(&bench->scheduler, tenant, since);
    tenant->state = VGPU_TENANT_WAITS;
    tenant->since = since;
    tenant->pool->wanting++;
    *(bench->scheduler.last ? &bench->scheduler.last->next : &bench->scheduler.first) = tenant;
    bench->scheduler.last = tenant;
    bench->scheduler.waiting_count++;
}

static int chosen(struct bench *bench, uint64_t now)
{
    return (int)(bench->scheduler.policy->choose(&bench->scheduler, now) - bench->tenants);
}

static void charge(struct bench *bench, int index, uint64_t used)
{
    bench->scheduler.policy->charge(&bench->scheduler, &bench->tenants[index], used);
}

static struct vgpu_tenant example(enum vgpu_priority priority, uint32_t weight, uint32_t queued)
{
    return (struct vgpu_tenant){.priority = priority, .weight = weight, .queued = queued};
}

static void urgency_is_that_of_the_three_examples(void **state)
{
    struct vgpu_tenant high = example(VGPU_PRIORITY_HIGH, 80, 5);
    struct vgpu_tenant medium = example(VGPU_PRIORITY_MEDIUM, 50, 3);
    struct vgpu_tenant low = example(VGPU_PRIORITY_LOW, 30, 1);

    (void)state;
    assert_float_equal(vgpu_urgency(&high, 0), 9.6, 1e-9);
    assert_float_equal(vgpu_urgency(&medium, 0), 2.6, 1e-9);
    assert_float_equal(vgpu_urgency(&low, 0), 0.66, 1e-9);
}

static void urgency_grows_while_a_tenant_waits(void **state)
{
    struct vgpu_tenant low = example(VGPU_PRIORITY_LOW, 30, 1);

    (void)state;
    low.since = SECOND;
    assert_float_equal(vgpu_urgency(&low, 11 * SECOND), 0.66, 1e-9); /* it rests */
    low.state = VGPU_TENANT_WAITS;
    assert_float_equal(vgpu_urgency(&low, 11 * SECOND), 1.32, 1e-9);
    assert_float_equal(vgpu_urgency(&low, 0), 0.66, 1e-9); /* a clock of another processor */
}

static void urgency_chooses_the_most_urgent(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_urgency);
    waits(&bench, 0, 0);
    bench.tenants[1] = example(VGPU_PRIORITY_HIGH, 80, 5);
    bench.tenants[1].pool = &bench.pools[0];
    waits(&bench, 1, 0);
    waits(&bench, 2, 0);
    assert_int_equal(chosen(&bench, MS), 1);
    bench.tenants[2].since = 0;
    bench.tenants[0].since = bench.tenants[1].since = 100 * SECOND;
    assert_int_equal(chosen(&bench, 100 * SECOND), 2); /* 2 x (1 + 10) against 9.6 */
}

static void fifo_keeps_the_order_of_asking(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_fifo);
    bench.tenants[0].priority = VGPU_PRIORITY_HIGH;
    waits(&bench, 2, 0);
    waits(&bench, 0, 1);
    assert_int_equal(chosen(&bench, 2), 2);
}

static void wfq_chooses_who_is_furthest_behind(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_wfq);
    waits(&bench, 0, 0);
    waits(&bench, 1, 0);
    charge(&bench, 0, 10 * MS);
    assert_int_equal(chosen(&bench, 0), 1);
    charge(&bench, 1, 30 * MS);
    assert_int_equal(chosen(&bench, 0), 0);
    bench.tenants[1].priority = VGPU_PRIORITY_HIGH;
    bench.tenants[1].weight = 100;
    charge(&bench, 1, 30 * MS); /* 4 times the share: counts as 7.5 ms */
    charge(&bench, 0, 50 * MS);
    assert_int_equal(chosen(&bench, 0), 1);
}

static void wfq_prefers_the_urgent_within_a_slice(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_wfq);
    waits(&bench, 0, 0);
    waits(&bench, 1, 0);
    bench.tenants[1].queued = 50;
    charge(&bench, 1, 3 * MS);
    assert_int_equal(chosen(&bench, 0), 1);
    charge(&bench, 1, 2 * MS); /* more than a slice of 4 ms ahead */
    assert_int_equal(chosen(&bench, 0), 0);
}

static void wfq_shares_between_pools_first(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_wfq);
    bench.tenants[3].pool = &bench.pools[1];
    for (int i = 0; i < 4; i++)
        waits(&bench, i, 0);
    uint64_t used[4] = {0};
    for (int i = 0; i < 600; i++) {
        int next = chosen(&bench, 0);
        charge(&bench, next, MS);
        used[next] += MS;
    }
    assert_in_range(used[3], 295 * MS, 305 * MS);
    for (int i = 0; i < 3; i++)
        assert_in_range(used[i], 95 * MS, 105 * MS);
}

static void a_tenant_can_move_to_another_pool(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_wfq);
    waits(&bench, 0, 0);
    charge(&bench, 0, 3600 * SECOND);
    waits(&bench, 1, 0);
    charge(&bench, 0, 3 * MS);
    bench.pools[1].floor = 12345;
    bench.tenants[2].pool = bench.tenants[3].pool = &bench.pools[1];
    for (int i = 0; i < 2; i++)
        vgpu_scheduler_move(&bench.tenants[i], &bench.pools[1]);
    assert_int_equal(bench.pools[0].wanting, 0);
    assert_int_equal(bench.pools[1].wanting, 2);
    waits(&bench, 2, 0);
    uint64_t used[3] = {0};
    for (int i = 0; i < 300; i++) {
        int next = chosen(&bench, 0);
        charge(&bench, next, MS);
        used[next] += MS;
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(used[i], 95 * MS, 105 * MS);
}

static void wfq_saves_nothing_up_for_who_rests(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_wfq);
    waits(&bench, 0, 0);
    charge(&bench, 0, 3600 * SECOND); /* alone for an hour: nothing that it would owe */
    waits(&bench, 1, 0);
    uint64_t used[2] = {0};
    for (int i = 0; i < 100; i++) {
        int next = chosen(&bench, 0);
        charge(&bench, next, 4 * MS);
        used[next] += 4 * MS;
    }
    assert_in_range(used[0], 190 * MS, 200 * MS);
}

static void wfq_preempts_for_who_is_behind_or_more_important(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_wfq);
    bench.scheduler.holder = &bench.tenants[0];
    bench.tenants[0].state = VGPU_TENANT_HOLDS;
    waits(&bench, 1, 0);
    bench.tenants[0].virtual = bench.tenants[1].virtual;
    const struct vgpu_policy *policy = &vgpu_policy_wfq;
    assert_false(policy->preempts(&bench.scheduler, &bench.tenants[1], 0));
    assert_true(policy->preempts(&bench.scheduler, &bench.tenants[1], 2 * MS));
    bench.tenants[1].priority = VGPU_PRIORITY_HIGH;
    assert_true(policy->preempts(&bench.scheduler, &bench.tenants[1], 0));
    charge(&bench, 1, 30 * MS); /* it has had more than its share by more than a slice */
    assert_false(policy->preempts(&bench.scheduler, &bench.tenants[1], 0));
}

static void deadline_gives_budgets_by_the_end_of_the_period(void **state)
{
    struct bench bench;

    (void)state;
    set_up(&bench, &vgpu_policy_deadline);
    assert_int_equal(
        vgpu_scheduler_reserve(&bench.scheduler, &bench.tenants[0], 20 * MS, 4 * MS, 0), 0);
    assert_int_equal(
        vgpu_scheduler_reserve(&bench.scheduler, &bench.tenants[1], 10 * MS, 2 * MS, 0), 0);
    for (int i = 0; i < 3; i++)
        waits(&bench, i, 0);
    assert_int_equal(chosen(&bench, 0), 1); /* ends at 10 ms, the other at 20 ms */
    assert_int_equal(vgpu_policy_deadline.slice(&bench.scheduler, &bench.tenants[1]), 2 * MS);
    charge(&bench, 1, 2 * MS);
    assert_int_equal(chosen(&bench, 2 * MS), 0);
    charge(&bench, 0, 4 * MS);
    bench.scheduler.times.slice = MS;
    assert_int_equal(chosen(&bench, 6 * MS), 2);  /* has no reservation, and has had nothing */
    assert_int_equal(chosen(&bench, 10 * MS), 1); /* its next period */
    charge(&bench, 1, 3 * MS);                    /* one more than it may */
    assert_int_equal(chosen(&bench, 20 * MS), 1); /* again */
    assert_int_equal(vgpu_policy_deadline.slice(&bench.scheduler, &bench.tenants[1]), MS);
}

static void reservations_leave_something(void **state)
{
    struct bench bench;
    struct vgpu_scheduler *scheduler = &bench.scheduler;

    (void)state;
    set_up(&bench, &vgpu_policy_deadline);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[0], 10 * MS, 5 * MS, 0), 0);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[1], 10 * MS, 4 * MS, 0), 0);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[2], 10 * MS, MS, 0), -ENOSPC);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[0], 10 * MS, 6 * MS, 0),
                     -ENOSPC);
    assert_int_equal(bench.tenants[0].budget, 5 * MS);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[0], 0, 0, 0), 0);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[2], 10 * MS, MS, 0), 0);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[3], 10 * MS, 11 * MS, 0),
                     -EINVAL);
    assert_int_equal(vgpu_scheduler_reserve(scheduler, &bench.tenants[3], 10, 1, 0), -EINVAL);
}

static void policies_have_names(void **state)
{
    (void)state;
    assert_ptr_equal(vgpu_policy_find("wfq"), &vgpu_policy_wfq);
    assert_ptr_equal(vgpu_policy_find("deadline"), &vgpu_policy_deadline);
    assert_null(vgpu_policy_find("WFQ"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urgency_is_that_of_the_three_examples),
        cmocka_unit_test(urgency_grows_while_a_tenant_waits),
        cmocka_unit_test(urgency_chooses_the_most_urgent),
        cmocka_unit_test(fifo_keeps_the_order_of_asking),
        cmocka_unit_test(wfq_chooses_who_is_furthest_behind),
        cmocka_unit_test(wfq_prefers_the_urgent_within_a_slice),
        cmocka_unit_test(wfq_shares_between_pools_first),
        cmocka_unit_test(a_tenant_can_move_to_another_pool),
        cmocka_unit_test(wfq_saves_nothing_up_for_who_rests),
        cmocka_unit_test(wfq_preempts_for_who_is_behind_or_more_important),
        cmocka_unit_test(deadline_gives_budgets_by_the_end_of_the_period),
        cmocka_unit_test(reservations_leave_something),
        cmocka_unit_test(policies_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
