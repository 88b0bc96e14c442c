/* SPDX-License-Identifier: MIT */
/* Leases in the pages of workers that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/session.h"

/* Two VMs, the first with two workers. */
struct bench {
    struct vgpu_loop *loop;
    struct vgpu_leases leases;
    struct vgpu_vm vms[2];
    struct vgpu_session sessions[2];
    struct vgpu_channel channels[3];
    struct vgpu_worker_page *pages[3];
};

static struct bench bench;

static int set_up(void **state)
{
    (void)state;
    memset(&bench, 0, sizeof(bench));
    assert_int_equal(vgpu_loop_create(&bench.loop), 0);
    assert_int_equal(vgpu_lease_init(&bench.leases, bench.loop, &vgpu_policy_wfq, 4), 0);
    for (int i = 0; i < 2; i++) {
        bench.vms[i].pool = 'A';
        vgpu_limits_init(&bench.vms[i].limits);
        bench.vms[i].priority = VGPU_PRIORITY_MEDIUM;
        vgpu_tenant_init(&bench.vms[i].tenant, NULL);
        vgpu_lease_attach(&bench.leases, &bench.vms[i]);
        bench.sessions[i].vm = &bench.vms[i];
    }
    for (int i = 0; i < 3; i++) {
        struct vgpu_channel *channel = &bench.channels[i];
        channel->session = &bench.sessions[i / 2];
        vgpu_worker_init(&channel->worker);
        channel->worker.page = bench.pages[i] = calloc(1, sizeof(*bench.pages[i]));
        channel->worker.page->lease.state = vgpu_lease_first(channel->session->vm);
        channel->worker.page->lease.in_flight = VGPU_LEASE_WINDOW; /* when it has a lease */
        vgpu_lease_add(channel);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vgpu_lease_close(&bench.leases);
    vgpu_loop_destroy(bench.loop);
    for (int i = 0; i < 3; i++)
        free(bench.pages[i]);
    return 0;
}

static uint32_t lease(int worker)
{
    return bench.pages[worker]->lease.state;
}

static void asks(int worker)
{
    bench.pages[worker]->lease.wants = 1;
    vgpu_lease_heard(&bench.leases, &bench.channels[worker]);
}

static void says(int worker, uint32_t state)
{
    bench.pages[worker]->lease.state = state;
    if (state & VGPU_LEASE_IDLE)
        bench.pages[worker]->lease.wants = 0;
    vgpu_lease_heard(&bench.leases, &bench.channels[worker]);
}

/* As if that much time had passed for the scheduler. */
static void expire(void)
{
    vgpu_scheduler_expire(&bench.leases.scheduler, vgpu_scheduler_next(&bench.leases.scheduler));
}

static void a_vm_alone_gets_an_open_lease_for_all_its_workers(void **state)
{
    (void)state;
    assert_int_equal(lease(0), VGPU_LEASE_NONE);
    asks(0);
    assert_int_equal(lease(0), VGPU_LEASE_OPEN);
    /* the other did not ask: it may be used, and may be taken */
    assert_int_equal(lease(1), VGPU_LEASE_OPEN | VGPU_LEASE_IDLE);
    assert_int_equal(lease(2), VGPU_LEASE_NONE);
    assert_int_equal(vgpu_lease_first(&bench.vms[0]), VGPU_LEASE_OPEN | VGPU_LEASE_IDLE);
    assert_int_equal(vgpu_lease_first(&bench.vms[1]), VGPU_LEASE_NONE);
}

static void an_idle_vm_is_not_asked(void **state)
{
    (void)state;
    asks(0);
    says(0, VGPU_LEASE_OPEN | VGPU_LEASE_IDLE);
    asks(2);
    assert_int_equal(lease(0), VGPU_LEASE_NONE);
    assert_int_equal(lease(1), VGPU_LEASE_NONE);
    assert_int_equal(lease(2), VGPU_LEASE_BOUNDED);
}

static void a_busy_vm_drains_first(void **state)
{
    (void)state;
    asks(0);
    asks(2);
    assert_int_equal(lease(0), VGPU_LEASE_BOUNDED);
    assert_int_equal(lease(1), VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE);
    assert_int_equal(lease(2), VGPU_LEASE_NONE);
    bench.pages[0]->gpu_nanoseconds = 1000000000;
    bench.vms[0].may_charge = 1000000000; /* as if it had had the lease for so long */
    expire();
    assert_int_equal(lease(0), VGPU_LEASE_ENDING);
    assert_int_equal(lease(1), VGPU_LEASE_NONE);
    asks(1); /* has to wait like everybody */
    assert_int_equal(lease(1), VGPU_LEASE_NONE);
    says(0, VGPU_LEASE_NONE);
    assert_int_equal(lease(2), VGPU_LEASE_BOUNDED);
    says(2, VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE); /* early release, as the first VM waits */
    assert_int_equal(lease(2), VGPU_LEASE_NONE);
    assert_int_equal(lease(1), VGPU_LEASE_BOUNDED);
}

/* Of a first VM with so much in flight, when it is the second one's turn. */
static void expect_at_the_end(uint32_t in_flight, uint32_t first, uint32_t second)
{
    asks(0);
    asks(2);
    bench.pages[0]->lease.in_flight = in_flight;
    bench.pages[0]->gpu_nanoseconds = 1000000000;
    bench.vms[0].may_charge = 1000000000;
    expire();
    assert_int_equal(lease(0), first);
    assert_int_equal(lease(2), second);
}

static void what_is_nearly_done_is_not_waited_for(void **state)
{
    (void)state;
    expect_at_the_end(VGPU_LEASE_WINDOW / 2, VGPU_LEASE_NONE, VGPU_LEASE_BOUNDED);
}

static void more_than_that_is_waited_for(void **state)
{
    (void)state;
    expect_at_the_end(VGPU_LEASE_WINDOW / 2 + 1, VGPU_LEASE_ENDING, VGPU_LEASE_NONE);
}

static void what_was_not_counted_is_waited_for(void **state)
{
    (void)state;
    expect_at_the_end(VGPU_LEASE_UNCOUNTED, VGPU_LEASE_ENDING, VGPU_LEASE_NONE);
}

/* The loop, and with it the timer, does not run here. */
static void who_preempts_does_so_without_the_timer(void **state)
{
    (void)state;
    bench.vms[1].tenant.priority = VGPU_PRIORITY_HIGH;
    asks(0);
    bench.vms[0].tenant.got = 0; /* long ago */
    asks(2);
    assert_int_equal(lease(0), VGPU_LEASE_ENDING);
    says(0, VGPU_LEASE_NONE);
    assert_int_equal(lease(2), VGPU_LEASE_BOUNDED);
}

/* Its last record was admitted just before it lost the lease, and its next comes just before it is
 * given another: it has asked, and will look. */
static void who_asks_while_it_is_given_a_lease_keeps_it(void **state)
{
    (void)state;
    asks(2);
    asks(0);
    bench.pages[0]->lease.wants = 0;
    says(2, VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE);
    assert_int_equal(lease(0), VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE);
    bench.pages[0]->lease.wants = 1;
    asks(2);
    assert_int_equal(lease(0), VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE);
    vgpu_lease_heard(&bench.leases, &bench.channels[0]);
    assert_int_equal(lease(0), VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE);
    assert_int_equal(lease(2), VGPU_LEASE_NONE);
}

static void who_does_not_drain_is_left_behind(void **state)
{
    (void)state;
    asks(0);
    asks(2);
    bench.pages[0]->gpu_nanoseconds = 1000000000;
    bench.vms[0].may_charge = 1000000000;
    expire();
    assert_int_equal(lease(0), VGPU_LEASE_ENDING);
    expire();
    assert_int_equal(lease(0), VGPU_LEASE_NONE);
    assert_int_equal(lease(2), VGPU_LEASE_BOUNDED);
}

static void no_more_is_charged_than_time_passed(void **state)
{
    (void)state;
    asks(0);
    bench.pages[0]->gpu_nanoseconds = UINT64_MAX / 2;
    uint64_t before = bench.vms[0].tenant.virtual;
    asks(2);
    /* microseconds of test, and not years; weight 50 of medium priority counts fourfold */
    assert_true(bench.vms[0].tenant.virtual - before < 4 * 10000000000ull);
}

static void what_ran_without_a_lease_is_charged_all_the_same(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        uint64_t before = bench.vms[0].tenant.virtual;
        asks(0);
        says(0, VGPU_LEASE_OPEN | VGPU_LEASE_IDLE);
        asks(2); /* which takes the lease away */
        assert_int_equal(lease(0), VGPU_LEASE_NONE);
        bench.pages[0]->gpu_nanoseconds += 1000000000;
        bench.pages[0]->lease.late += late ? 1000000000 : 0;
        asks(0);
        says(2, VGPU_LEASE_BOUNDED | VGPU_LEASE_IDLE);
        bool charged = bench.vms[0].tenant.virtual - before >= 1000000000;
        assert_int_equal(charged, late);
        says(0, VGPU_LEASE_OPEN | VGPU_LEASE_IDLE);
    }
}

static void a_worker_that_ends_gives_its_vms_lease_back(void **state)
{
    (void)state;
    asks(2);
    asks(0);
    asks(1);
    vgpu_lease_drop(&bench.leases, &bench.channels[2]);
    assert_int_equal(lease(0), VGPU_LEASE_BOUNDED);
    assert_int_equal(lease(1), VGPU_LEASE_BOUNDED);
    vgpu_lease_drop(&bench.leases, &bench.channels[0]);
    assert_int_equal(lease(1), VGPU_LEASE_BOUNDED); /* the VM's other worker goes on */
    vgpu_lease_drop(&bench.leases, &bench.channels[1]);
    assert_null(bench.leases.scheduler.holder);
}

static void a_new_cap_takes_effect_on_a_lease_at_once(void **state)
{
    struct vgpu_vm *vm = &bench.vms[0];

    (void)state;
    asks(0);
    assert_int_equal(lease(0), VGPU_LEASE_OPEN);
    vm->limits.share_cap = 10;
    vgpu_lease_attach(&bench.leases, vm);
    assert_int_equal(lease(0), VGPU_LEASE_BOUNDED);
    bench.pages[0]->gpu_nanoseconds = 1000000000;
    vm->may_charge = 1000000000;
    expire(); /* has had 1 s, and nobody else is there: it has to stop all the same */
    assert_int_equal(lease(0), VGPU_LEASE_ENDING);
    says(0, VGPU_LEASE_NONE);
    asks(0);
    assert_int_equal(lease(0), VGPU_LEASE_NONE);
    vm->limits.share_cap = 100;
    vgpu_lease_attach(&bench.leases, vm);
    assert_int_equal(lease(0), VGPU_LEASE_OPEN);
}

static void reservations_are_taken_while_there_is_room(void **state)
{
    (void)state;
    assert_int_equal(vgpu_lease_reserve(&bench.leases, &bench.vms[0], 10, 6), 0);
    assert_int_equal(vgpu_lease_reserve(&bench.leases, &bench.vms[0], 10, 6), 0); /* the same */
    assert_int_equal(vgpu_lease_reserve(&bench.leases, &bench.vms[1], 10, 4), -ENOSPC);
    assert_int_equal(bench.vms[1].tenant.period, 0);
    assert_int_equal(vgpu_lease_reserve(&bench.leases, &bench.vms[0], 0, 0), 0);
    assert_int_equal(vgpu_lease_reserve(&bench.leases, &bench.vms[1], 10, 4), 0);
    assert_int_equal(bench.vms[1].tenant.budget, 4000000);
}

static void pools_have_weights(void **state)
{
    (void)state;
    bench.vms[1].pool = 'B';
    vgpu_lease_attach(&bench.leases, &bench.vms[1]);
    vgpu_lease_pool(&bench.leases, 'B', 7);
    assert_int_equal(bench.vms[1].tenant.pool->weight, 7);
    assert_int_equal(bench.vms[0].tenant.pool->weight, VGPU_WEIGHT_DEFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_vm_alone_gets_an_open_lease_for_all_its_workers, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_idle_vm_is_not_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_vm_drains_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_nearly_done_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_that_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_counted_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_preempts_does_so_without_the_timer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_asks_while_it_is_given_a_lease_keeps_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_drain_is_left_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_more_is_charged_than_time_passed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_cap_takes_effect_on_a_lease_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(reservations_are_taken_while_there_is_room, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(pools_have_weights, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_ran_without_a_lease_is_charged_all_the_same, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_worker_that_ends_gives_its_vms_lease_back, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
