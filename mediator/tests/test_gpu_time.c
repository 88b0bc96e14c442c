/* SPDX-License-Identifier: MIT */
/** How the GPU's time is shared between VMs whose workers say when they had work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "mediator/session.h"

#define MILLISECOND 1000000u
#define WORKERS     3u

/** A mediator with a session, a VM and a channel for each worker, and pages that nobody writes. */
static struct {
    struct vgpu_mediator mediator;
    struct vgpu_session session[WORKERS];
    struct vgpu_vm vm[WORKERS];
    struct vgpu_channel channel[WORKERS];
    uint64_t start; /* everything happens after this, and before now */
} world;

static int create(void **state)
{
    (void)state;
    world.start = vgpu_loop_now() - 3000u * MILLISECOND;
    world.mediator = (struct vgpu_mediator){.gpu_time_upto = world.start >> VGPU_BUSY_SHIFT};
    for (uint32_t i = 0; i < WORKERS; i++) {
        world.channel[i] = (struct vgpu_channel){.session = &world.session[i]};
        world.channel[i].worker.page = calloc(1, sizeof(struct vgpu_worker_page));
        world.vm[i] = (struct vgpu_vm){0};
        world.session[i] =
            (struct vgpu_session){.next = world.mediator.sessions, .vm = &world.vm[i]};
        world.session[i].channels[i] = &world.channel[i];
        world.mediator.sessions = &world.session[i];
    }
    return 0;
}

static int destroy(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < WORKERS; i++)
        free(world.channel[i].worker.page);
    return 0;
}

/** The worker had work from one millisecond to another, and has measured all of it. */
static void works(uint32_t worker, uint64_t from, uint64_t to)
{
    struct vgpu_worker_page *page = world.channel[worker].worker.page;

    vgpu_busy_count(&page->busy, world.start + from * MILLISECOND, world.start + to * MILLISECOND);
    page->gpu_nanoseconds += (to - from) * MILLISECOND;
}

static void expect_between(uint32_t vm, uint64_t least, uint64_t most) /* milliseconds */
{
    uint64_t got = world.vm[vm].gpu_nanoseconds;

    /* What begins or ends within a slot is shared as if it were spread over it. */
    if (got + 3u * MILLISECOND < least * MILLISECOND || got > (most + 3u) * MILLISECOND)
        fail_msg("VM %u got %g ms instead of %llu to %llu", vm, (double)got / MILLISECOND,
                 (unsigned long long)least, (unsigned long long)most);
}

static void expect(uint32_t vm, uint64_t milliseconds)
{
    expect_between(vm, milliseconds, milliseconds);
}

static void who_is_alone_gets_what_it_has_measured(void **state)
{
    (void)state;
    works(0, 0, 700);
    works(1, 700, 1000);
    works(0, 1500, 1600);
    vgpu_gpu_time_count(&world.mediator);
    assert_int_equal(world.vm[0].gpu_nanoseconds, 800u * MILLISECOND);
    assert_int_equal(world.vm[1].gpu_nanoseconds, 300u * MILLISECOND);
    assert_int_equal(world.vm[2].gpu_nanoseconds, 0);
}

static void time_at_once_is_shared_and_adds_up(void **state)
{
    (void)state;
    works(0, 0, 900);
    works(1, 300, 600);
    works(2, 500, 1000);
    vgpu_gpu_time_count(&world.mediator);
    /* 0-300: 0; -500: 0 and 1; -600: all; -900: 0 and 2; -1000: 2 */
    expect(0, 300 + 100 + 33 + 150);
    expect(1, 100 + 33);
    expect(2, 33 + 150 + 100);
}

static void kernels_that_are_shorter_than_a_slot_are_shared_by_their_density(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct vgpu_worker_page *page = world.channel[i].worker.page;
        for (uint64_t at = 0; at < 1000u * MILLISECOND; at += 100000) {
            vgpu_busy_count(&page->busy, world.start + at, world.start + at + 75000);
            page->gpu_nanoseconds += 75000;
        }
    }
    vgpu_gpu_time_count(&world.mediator);
    expect(0, 500);
    expect(1, 500);
}

static void a_kernel_is_accounted_when_it_was_measured(void **state)
{
    struct vgpu_worker_page *page = world.channel[0].worker.page;

    (void)state;
    vgpu_busy_begin(&page->busy, world.start);
    works(1, 1000, 2000);
    vgpu_gpu_time_count(&world.mediator);
    expect(0, 0); /* of the slots that are over, it will get a half of some */
    uint64_t busy = vgpu_loop_now() - world.start;
    page->gpu_nanoseconds = busy;
    vgpu_gpu_time_end(&world.mediator, &world.channel[0]);
    expect(0, busy / MILLISECOND - 500);
    expect(1, 500);
}

static void what_a_killed_worker_had_on_the_gpu_counts(void **state)
{
    (void)state;
    works(0, 0, 100);
    vgpu_busy_begin(&world.channel[0].worker.page->busy, world.start + 2000u * MILLISECOND);
    uint64_t before = (vgpu_loop_now() - world.start) / MILLISECOND;
    vgpu_gpu_time_end(&world.mediator, &world.channel[0]);
    uint64_t after = (vgpu_loop_now() - world.start) / MILLISECOND;
    expect_between(0, 100 + before - 2000, 100 + after - 2000);
}

static void a_worker_cannot_claim_more_than_the_time_it_had_work(void **state)
{
    (void)state;
    works(0, 0, 100);
    world.channel[0].worker.page->gpu_nanoseconds = UINT64_MAX;
    vgpu_gpu_time_count(&world.mediator);
    expect(0, 100);
    world.channel[0].worker.page->gpu_nanoseconds = 5; /* and nothing is taken back */
    vgpu_gpu_time_end(&world.mediator, &world.channel[0]);
    expect(0, 100);
}

static void what_is_told_late_counts_but_no_more_than_passed(void **state)
{
    struct vgpu_worker_page *page = world.channel[0].worker.page;
    struct vgpu_gpu_share *share = &world.channel[0].gpu_share;

    (void)state;
    vgpu_gpu_time_count(&world.mediator); /* all slots are shared */
    share->rested = world.start;
    works(0, 2900, 2950);
    vgpu_gpu_time_end(&world.mediator, &world.channel[0]);
    expect(0, 50);
    page->gpu_nanoseconds = UINT64_MAX;
    share->rested = world.start + 2000u * MILLISECOND;
    vgpu_gpu_time_end(&world.mediator, &world.channel[0]);
    expect(0, 50 + (vgpu_loop_now() - world.start) / MILLISECOND - 2000);
}

static void garbage_in_the_slots_is_bounded(void **state)
{
    struct vgpu_worker_page *page = world.channel[0].worker.page;

    (void)state;
    for (uint32_t i = 0; i < VGPU_BUSY_SLOTS; i++)
        page->busy.slot[i] = UINT64_MAX;
    page->busy.since = UINT64_MAX;
    page->gpu_nanoseconds = UINT64_MAX;
    works(1, 0, 1000);
    vgpu_gpu_time_count(&world.mediator);
    expect(0, 0);
    expect(1, 1000);
    page->gpu_nanoseconds = UINT64_MAX - 1;
    page->busy.since = 1;
    vgpu_gpu_time_end(&world.mediator, &world.channel[0]);
    assert_in_range(world.vm[0].gpu_nanoseconds, 0, 3100u * MILLISECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_alone_gets_what_it_has_measured, create, destroy),
        cmocka_unit_test_setup_teardown(time_at_once_is_shared_and_adds_up, create, destroy),
        cmocka_unit_test_setup_teardown(
            kernels_that_are_shorter_than_a_slot_are_shared_by_their_density, create, destroy),
        cmocka_unit_test_setup_teardown(a_kernel_is_accounted_when_it_was_measured, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(what_a_killed_worker_had_on_the_gpu_counts, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(a_worker_cannot_claim_more_than_the_time_it_had_work,
                                        create, destroy),
        cmocka_unit_test_setup_teardown(what_is_told_late_counts_but_no_more_than_passed, create,
                                        destroy),
        cmocka_unit_test_setup_teardown(garbage_in_the_slots_is_bounded, create, destroy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
