/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediator/scheduler/scheduler.h"

#define MS 1000000ull

enum seen { NOTHING, OPEN, SLICE, ENDING };

/* Tenants that do what the test says: `idle` ones let a lease be taken. */
struct bench {
    struct vgpu_scheduler scheduler;
    struct vgpu_pool pool;
    struct vgpu_tenant tenants[3];
    enum seen lease[3];
    bool idle[3];
    uint64_t used[3]; /* and not asked for yet */
};

static struct bench bench; /* the operations get no other pointer */

static int index_of(const struct vgpu_tenant *tenant)
{
    return (int)(tenant - bench.tenants);
}

static void grant(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, bool open)
{
    (void)scheduler;
    bench.lease[index_of(tenant)] = open ? OPEN : SLICE;
}

static bool reclaim(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    (void)scheduler;
    if (bench.idle[index_of(tenant)])
        bench.lease[index_of(tenant)] = NOTHING;
    return bench.idle[index_of(tenant)];
}

static bool end(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    if (reclaim(scheduler, tenant))
        return true;
    bench.lease[index_of(tenant)] = ENDING;
    return false;
}

static void abandon(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    (void)scheduler;
    bench.lease[index_of(tenant)] = NOTHING;
}

static uint64_t measure(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    uint64_t used = bench.used[index_of(tenant)];

    (void)scheduler;
    bench.used[index_of(tenant)] = 0;
    return used;
}

static const struct vgpu_scheduler_operations operations = {
    .grant = grant, .end = end, .abandon = abandon, .reclaim = reclaim, .measure = measure};

static int set_up(void **state)
{
    (void)state;
    bench = (struct bench){0};
    vgpu_scheduler_init(&bench.scheduler, &vgpu_policy_wfq, &operations);
    bench.scheduler.times.longest = bench.scheduler.times.slice; /* but where it matters */
    vgpu_pool_init(&bench.pool);
    for (int i = 0; i < 3; i++)
        vgpu_tenant_init(&bench.tenants[i], &bench.pool);
    return 0;
}

static void wants(int index, uint64_t now)
{
    vgpu_scheduler_want(&bench.scheduler, &bench.tenants[index], 1, now);
}

static void returns(int index, bool more, uint64_t now)
{
    bench.lease[index] = NOTHING;
    vgpu_scheduler_returned(&bench.scheduler, &bench.tenants[index], more, now);
}

static void alone_a_lease_is_open(void **state)
{
    (void)state;
    wants(0, 0);
    assert_int_equal(bench.lease[0], OPEN);
    assert_int_equal(vgpu_scheduler_next(&bench.scheduler), VGPU_TIME_NEVER);
    vgpu_scheduler_expire(&bench.scheduler, 1000 * MS);
    assert_int_equal(bench.lease[0], OPEN);
}

static void company_makes_it_a_slice_that_is_drained(void **state)
{
    (void)state;
    wants(0, 0);
    wants(1, 10 * MS);
    assert_int_equal(bench.lease[0], SLICE);
    assert_int_equal(bench.lease[1], NOTHING);
    uint64_t over = vgpu_scheduler_next(&bench.scheduler);
    assert_in_range(over, 11 * MS, 14 * MS);
    vgpu_scheduler_expire(&bench.scheduler, over - 1); /* too early */
    assert_int_equal(bench.lease[0], SLICE);
    bench.used[0] = over - 10 * MS;
    vgpu_scheduler_expire(&bench.scheduler, over);
    assert_int_equal(bench.lease[0], ENDING);
    assert_int_equal(bench.lease[1], NOTHING);
    returns(0, true, over + MS);
    assert_int_equal(bench.lease[1], SLICE);
    bench.used[1] = 4 * MS;
    vgpu_scheduler_expire(&bench.scheduler, over + 5 * MS);
    assert_int_equal(bench.lease[1], ENDING);
    returns(1, false, over + 5 * MS);
    assert_int_equal(bench.lease[0], SLICE); /* alone again, but for how long? */
    uint64_t calm = vgpu_scheduler_next(&bench.scheduler);
    assert_in_range(calm, over + 1000 * MS, over + 1005 * MS);
    vgpu_scheduler_expire(&bench.scheduler, calm);
    assert_int_equal(bench.lease[0], OPEN);
}

static void an_idle_holder_makes_way_at_once(void **state)
{
    (void)state;
    wants(0, 0);
    bench.idle[0] = true;
    wants(1, MS);
    assert_int_equal(bench.lease[0], NOTHING);
    assert_int_equal(bench.lease[1], SLICE);
    bench.idle[0] = false;
    wants(0, 2 * MS);
    assert_int_equal(bench.lease[1], SLICE);
    bench.idle[1] = true;
    vgpu_scheduler_rest(&bench.scheduler, &bench.tenants[1], 3 * MS); /* early release */
    assert_int_equal(bench.lease[0], SLICE);
    assert_int_equal(bench.lease[1], NOTHING);
}

static void whoever_is_behind_goes_on_without_a_break(void **state)
{
    (void)state;
    bench.tenants[0].weight = 100;
    bench.tenants[1].weight = 1;
    wants(0, 0);
    wants(1, 0);
    uint64_t now = vgpu_scheduler_next(&bench.scheduler);
    vgpu_scheduler_expire(&bench.scheduler, now);
    for (int leases = 0; bench.lease[0] != ENDING; leases++) {
        bench.used[0] = vgpu_scheduler_next(&bench.scheduler) - now;
        now = vgpu_scheduler_next(&bench.scheduler);
        vgpu_scheduler_expire(&bench.scheduler, now);
        assert_true(leases < 10000);
    }
    returns(0, true, now);
    bench.used[1] = 4 * MS;
    now += 4 * MS;
    vgpu_scheduler_expire(&bench.scheduler, now);
    returns(1, true, now);
    for (int leases = 0; leases < 90; leases++) { /* 400 ms of 0 for these 4 of 1 */
        bench.used[0] = 4 * MS;
        now += 4 * MS;
        vgpu_scheduler_expire(&bench.scheduler, now);
        assert_int_equal(bench.lease[0], SLICE);
    }
}

static void who_does_not_drain_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    wants(0, 0);
    wants(1, 0);
    vgpu_scheduler_expire(&bench.scheduler, 4 * MS);
    assert_int_equal(bench.lease[0], ENDING);
    uint64_t late = vgpu_scheduler_next(&bench.scheduler);
    vgpu_scheduler_expire(&bench.scheduler, late);
    assert_int_equal(bench.lease[1], SLICE);
    assert_int_equal(bench.lease[0], NOTHING);
    wants(0, late + MS); /* and what is still under way will be charged */
    assert_int_equal(bench.lease[1], SLICE);
    bench.used[0] = 100 * MS;
    int slices = 0;
    for (; bench.lease[1] != ENDING; slices++) {
        bench.used[1] = 4 * MS;
        vgpu_scheduler_expire(&bench.scheduler, vgpu_scheduler_next(&bench.scheduler));
        assert_true(slices < 100);
    }
    assert_in_range(slices, 23, 27); /* its due, after 100 ms of the other's */
}

static void few_have_longer_slices_than_many(void **state)
{
    (void)state;
    bench.scheduler.times = vgpu_scheduler_default_times;
    wants(0, 0);
    wants(1, 0);
    assert_int_equal(vgpu_scheduler_next(&bench.scheduler), 16 * MS);
    bench.scheduler.waiting_count += 14; /* 16 in all, as far as slices are concerned */
    bench.used[0] = 16 * MS;
    vgpu_scheduler_expire(&bench.scheduler, 16 * MS);
    returns(0, true, 16 * MS);
    assert_int_equal(vgpu_scheduler_next(&bench.scheduler), 16 * MS + 120 * MS / 16);
    bench.scheduler.waiting_count += 100;
    bench.used[1] = 8 * MS;
    vgpu_scheduler_expire(&bench.scheduler, 24 * MS);
    returns(1, true, 24 * MS);
    assert_int_equal(vgpu_scheduler_next(&bench.scheduler), 24 * MS + 4 * MS);
}

static void a_better_one_need_not_wait_for_the_end_of_a_slice(void **state)
{
    (void)state;
    bench.scheduler.times = vgpu_scheduler_default_times;
    bench.tenants[2].priority = VGPU_PRIORITY_HIGH;
    wants(0, 0);
    wants(1, 5 * MS);
    assert_true(vgpu_scheduler_next(&bench.scheduler) > 6 * MS);
    assert_false(vgpu_scheduler_has_betters(&bench.scheduler, &bench.tenants[0], 6 * MS));
    wants(2, 6 * MS);
    assert_true(vgpu_scheduler_next(&bench.scheduler) <= 6 * MS); /* it has had 6 ms already */
    vgpu_scheduler_expire(&bench.scheduler, 6 * MS);
    assert_int_equal(bench.lease[0], ENDING);
    returns(0, true, 6 * MS);
    assert_int_equal(bench.lease[2], SLICE);
    assert_true(vgpu_scheduler_has_betters(&bench.scheduler, &bench.tenants[0], 7 * MS));
    bench.used[2] = 100 * MS;
    vgpu_scheduler_expire(&bench.scheduler, 200 * MS);
    returns(2, true, 200 * MS);
    assert_int_equal(vgpu_scheduler_next(&bench.scheduler), 204 * MS); /* and no longer */
    assert_false(vgpu_scheduler_has_betters(&bench.scheduler, &bench.tenants[2], 7 * MS));
    assert_false(vgpu_scheduler_has_betters(&bench.scheduler, &bench.tenants[0], 2000 * MS));
}

static void patience_ends(void **state)
{
    uint64_t now = 0;

    (void)state;
    bench.scheduler.policy = &vgpu_policy_urgency;
    bench.tenants[0].priority = VGPU_PRIORITY_HIGH;
    bench.tenants[0].weight = 100;
    bench.tenants[1].priority = VGPU_PRIORITY_LOW;
    bench.tenants[1].weight = 1;
    wants(0, 0);
    wants(1, 0);
    while (bench.lease[0] != ENDING) {
        now += 4 * MS;
        vgpu_scheduler_expire(&bench.scheduler, now);
        assert_true(now < 11000 * MS);
    }
    assert_true(now > 9000 * MS);
    returns(0, true, now);
    assert_int_equal(bench.lease[1], SLICE);
}

static void who_goes_leaves_nothing_behind(void **state)
{
    (void)state;
    wants(0, 0);
    wants(1, 0);
    wants(2, 0);
    vgpu_scheduler_remove(&bench.scheduler, &bench.tenants[1], MS);
    vgpu_scheduler_remove(&bench.scheduler, &bench.tenants[0], MS);
    assert_int_equal(bench.lease[2], SLICE);
    assert_int_equal(bench.pool.wanting, 1);
    vgpu_scheduler_remove(&bench.scheduler, &bench.tenants[2], MS);
    vgpu_scheduler_remove(&bench.scheduler, &bench.tenants[2], MS); /* it rests already */
    assert_int_equal(bench.pool.wanting, 0);
    assert_null(bench.scheduler.holder);
    assert_int_equal(vgpu_scheduler_next(&bench.scheduler), VGPU_TIME_NEVER);
}

/* How long it works of the first so many milliseconds, with a minute's rest before. */
static uint64_t works_of(uint64_t time, uint64_t *now)
{
    uint64_t end = *now + time, sum = 0;

    wants(0, *now);
    while (*now < end) {
        uint64_t next = vgpu_scheduler_next(&bench.scheduler);
        assert_true(next > *now && next != VGPU_TIME_NEVER);
        bench.used[0] = bench.lease[0] == SLICE ? next - *now : 0;
        sum += bench.used[0];
        *now = next;
        vgpu_scheduler_expire(&bench.scheduler, *now);
        if (bench.lease[0] == ENDING)
            returns(0, true, *now);
    }
    return sum;
}

static void a_cap_holds_though_nobody_else_is_there(void **state)
{
    uint64_t now = 60000 * MS;

    (void)state;
    vgpu_scheduler_cap(&bench.scheduler, &bench.tenants[0], 25, now);
    wants(0, now);
    assert_int_equal(bench.lease[0], SLICE); /* nothing to go on with for ever */
    assert_in_range(works_of(4000 * MS, &now), 990 * MS, 1020 * MS);
}

static void a_cap_can_change_at_any_time(void **state)
{
    uint64_t now = 1000 * MS;

    (void)state;
    wants(0, now);
    assert_int_equal(bench.lease[0], OPEN);
    vgpu_scheduler_cap(&bench.scheduler, &bench.tenants[0], 10, now);
    assert_int_equal(bench.lease[0], SLICE);
    works_of(100 * MS, &now);
    while (bench.tenants[0].state != VGPU_TENANT_CAPPED)
        works_of(MS, &now);
    vgpu_scheduler_cap(&bench.scheduler, &bench.tenants[0], 100, now);
    assert_int_equal(bench.lease[0], OPEN); /* at once, though it had had its part */
}

static void who_is_capped_can_rest_or_go(void **state)
{
    uint64_t now = 1000 * MS;

    (void)state;
    vgpu_scheduler_cap(&bench.scheduler, &bench.tenants[0], 1, now);
    for (int i = 0; i < 2; i++) {
        wants(0, now);
        while (bench.tenants[0].state != VGPU_TENANT_CAPPED)
            works_of(MS, &now);
        assert_ptr_equal(bench.scheduler.capped, &bench.tenants[0]);
        if (i)
            vgpu_scheduler_remove(&bench.scheduler, &bench.tenants[0], now);
        else
            vgpu_scheduler_rest(&bench.scheduler, &bench.tenants[0], now);
        assert_null(bench.scheduler.capped);
        assert_int_equal(bench.pool.wanting, 0);
        assert_int_equal(vgpu_scheduler_next(&bench.scheduler), VGPU_TIME_NEVER);
        now += 1000 * MS;
    }
}

static void a_capped_lease_costs_nothing_when_it_is_idle(void **state)
{
    (void)state;
    vgpu_scheduler_cap(&bench.scheduler, &bench.tenants[0], 50, 0);
    wants(0, 0);
    bench.idle[0] = true;
    vgpu_scheduler_expire(&bench.scheduler, vgpu_scheduler_next(&bench.scheduler));
    assert_int_equal(bench.lease[0], NOTHING);
    assert_int_equal(vgpu_scheduler_next(&bench.scheduler), VGPU_TIME_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(alone_a_lease_is_open, set_up),
        cmocka_unit_test_setup(company_makes_it_a_slice_that_is_drained, set_up),
        cmocka_unit_test_setup(an_idle_holder_makes_way_at_once, set_up),
        cmocka_unit_test_setup(whoever_is_behind_goes_on_without_a_break, set_up),
        cmocka_unit_test_setup(who_does_not_drain_is_not_waited_for_for_ever, set_up),
        cmocka_unit_test_setup(few_have_longer_slices_than_many, set_up),
        cmocka_unit_test_setup(a_better_one_need_not_wait_for_the_end_of_a_slice, set_up),
        cmocka_unit_test_setup(patience_ends, set_up),
        cmocka_unit_test_setup(a_cap_holds_though_nobody_else_is_there, set_up),
        cmocka_unit_test_setup(a_cap_can_change_at_any_time, set_up),
        cmocka_unit_test_setup(who_is_capped_can_rest_or_go, set_up),
        cmocka_unit_test_setup(a_capped_lease_costs_nothing_when_it_is_idle, set_up),
        cmocka_unit_test_setup(who_goes_leaves_nothing_behind, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
