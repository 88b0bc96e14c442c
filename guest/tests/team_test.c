/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "guest/memory/team.h"

#define JOBS 2000u

struct work {
    struct vgpu_team *team;
    uint32_t left, done, calls, together; /* atomic */
    uint32_t wait_for;                    /* calls, before any of them goes on */
    uint32_t hears;                       /* signals */
};

static uint32_t add(uint32_t *number, uint32_t value)
{
    return __atomic_fetch_add(number, value, __ATOMIC_SEQ_CST);
}

static void do_all(void *argument)
{
    struct work *work = argument;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    if (!sigismember(&blocked, SIGTERM))
        add(&work->hears, 1);
    add(&work->calls, 1);
    add(&work->together, 1);
    while (__atomic_load_n(&work->together, __ATOMIC_SEQ_CST) < work->wait_for)
        sched_yield();
    for (;;) {
        uint32_t left = __atomic_load_n(&work->left, __ATOMIC_SEQ_CST);
        if (left == 0)
            return;
        if (__atomic_compare_exchange_n(&work->left, &left, left - 1, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            add(&work->done, 1);
    }
}

static uint32_t threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    uint32_t count = 0;
    for (const struct dirent *task = readdir(tasks); task; task = readdir(tasks))
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

/* The kernel lists a thread for a moment after it was joined. */
static bool are_gone(void)
{
    for (uint32_t i = 0; i < 500 && threads() > 1; i++)
        usleep(10000);
    return threads() == 1;
}

static void all_help_and_all_is_done_when_it_returns(void **state)
{
    (void)state;
    struct vgpu_team team = VGPU_TEAM_INITIALIZER;
    for (uint32_t round = 0; round < 200; round++) {
        struct work work = {.left = JOBS, .wait_for = round % 50 ? 1 : VGPU_TEAM_HELPERS_MOST + 1};
        vgpu_team_run(&team, VGPU_TEAM_HELPERS_MOST + 3, do_all, &work);
        assert_int_equal(work.done, JOBS);
        assert_true(work.calls >= work.wait_for && work.calls <= VGPU_TEAM_HELPERS_MOST + 1);
    }
    vgpu_team_end(&team);
    assert_true(are_gone());
}

static void helpers_start_on_demand_and_go_when_idle(void **state)
{
    (void)state;
    struct vgpu_team team = VGPU_TEAM_INITIALIZER;
    struct work alone = {.left = JOBS}, work = {.left = JOBS, .wait_for = 3};
    vgpu_team_run(&team, 0, do_all, &alone);
    assert_int_equal(alone.calls, 1);
    assert_int_equal(threads(), 1);
    vgpu_team_run(&team, 2, do_all, &work);
    assert_int_equal(work.calls, 3);
    assert_int_equal(threads(), 3);
    assert_true(are_gone());
    work = (struct work){.left = JOBS, .wait_for = 3};
    vgpu_team_run(&team, 2, do_all, &work); /* and come again */
    assert_int_equal(work.done, JOBS);
    vgpu_team_end(&team);
    assert_true(are_gone());
}

/* The first call of it gives the team other work, which has to be done without the team. */
static void do_other_work(void *argument)
{
    struct work *work = argument, other = {.left = JOBS};
    if (add(&work->calls, 1) > 0)
        return;
    vgpu_team_run(work->team, 2, do_all, &other);
    work->done = other.done;
    work->together = other.calls;
}

static void who_finds_the_team_at_work_works_alone(void **state)
{
    (void)state;
    struct vgpu_team team = VGPU_TEAM_INITIALIZER;
    struct work work = {.team = &team};
    vgpu_team_run(&team, 2, do_other_work, &work);
    assert_int_equal(work.done, JOBS);
    assert_int_equal(work.together, 1);
    vgpu_team_end(&team);
}

static void helpers_take_no_signals(void **state)
{
    (void)state;
    struct vgpu_team team = VGPU_TEAM_INITIALIZER;
    struct work work = {.left = JOBS, .wait_for = 4};
    vgpu_team_run(&team, 3, do_all, &work);
    assert_int_equal(work.calls, 4);
    assert_int_equal(work.hears, 1); /* we ourselves */
    vgpu_team_end(&team);
}

static void small_copies_need_no_help(void **state)
{
    (void)state;
    assert_int_equal(vgpu_team_size(0), 0);
    assert_int_equal(vgpu_team_size(3u << 20), 0);
    assert_true(vgpu_team_size((size_t)1 << 30) <= VGPU_TEAM_HELPERS_MOST);
    assert_true(vgpu_team_size((size_t)1 << 30) < (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_help_and_all_is_done_when_it_returns),
        cmocka_unit_test(helpers_start_on_demand_and_go_when_idle),
        cmocka_unit_test(who_finds_the_team_at_work_works_alone),
        cmocka_unit_test(helpers_take_no_signals),
        cmocka_unit_test(small_copies_need_no_help),
    };
    return cmocka_run_group_tests_name("team", tests, NULL, NULL);
}
