/* SPDX-License-Identifier: MIT */
/** What the watchdog makes of what it sees in a worker's page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "mediator/watchdog.h"
#include "protocol/calls.h"

#define SECOND 1000000000ull
#define LIMIT  (30 * SECOND)

static struct vgpu_worker_page page;
static struct vgpu_watchdog watchdog;
static char why[128];

static int start(void **state)
{
    (void)state;
    memset(&page, 0, sizeof(page));
    memset(&watchdog, 0, sizeof(watchdog));
    return 0;
}

static bool look(uint64_t now)
{
    return vgpu_watchdog_look(&watchdog, &page, LIMIT, now, why, sizeof(why));
}

static void work_may_take_its_limit_and_no_more(void **state)
{
    (void)state;
    page.watch.since = 100 * SECOND;
    page.watch.looked = 130 * SECOND;
    assert_false(look(131 * SECOND));
    page.watch.looked++;
    assert_true(look(131 * SECOND));
    assert_string_equal(why, "work on the GPU did not finish within 30 s");
    page.watch.patience = 3;
    assert_false(look(131 * SECOND));
    page.watch.looked = 190 * SECOND + 1;
    assert_true(look(191 * SECOND));
    assert_string_equal(why, "work on the GPU did not finish within 90 s");
}

static void a_worker_that_has_not_looked_lately_is_not_judged_by_that(void **state)
{
    (void)state;
    page.watch.since = 100 * SECOND;
    page.watch.looked = 101 * SECOND; /* it sleeps, or all was done since */
    assert_false(look(1000 * SECOND));
    page.watch.since = 0;
    page.watch.looked = 1000 * SECOND;
    assert_false(look(1000 * SECOND));
}

static void a_call_that_does_not_come_back_is_noticed(void **state)
{
    (void)state;
    page.watch.call = VGPU_CALL_cuMemFree;
    page.calls_total = 5;
    assert_false(look(100 * SECOND));
    assert_false(look(130 * SECOND));
    assert_true(look(130 * SECOND + 1));
    assert_string_equal(why, "the driver did not come back from cuMemFree within 30 s");
}

static void records_that_are_completed_count_as_progress(void **state)
{
    (void)state;
    page.watch.call = VGPU_CALL_vgpuLaunch;
    for (uint64_t now = 100; now < 1000; now += 20) {
        page.calls_total++;
        assert_false(look(now * SECOND));
    }
    page.watch.call = 0; /* idle */
    assert_false(look(2000 * SECOND));
    assert_false(look(3000 * SECOND));
}

static void a_compiler_has_more_time(void **state)
{
    (void)state;
    page.watch.call = VGPU_CALL_cuModuleLoadData;
    assert_false(look(100 * SECOND));
    assert_false(look(400 * SECOND));
    assert_true(look(401 * SECOND));
}

static void what_a_worker_writes_can_be_anything(void **state)
{
    (void)state;
    page.watch.since = UINT64_MAX;
    page.watch.looked = 1;
    assert_false(look(100 * SECOND));
    page.watch.since = 1;
    page.watch.looked = UINT64_MAX;
    page.watch.patience = UINT32_MAX;
    assert_true(look(100 * SECOND));
    page.watch.since = 0;
    page.watch.call = UINT32_MAX;
    assert_false(look(100 * SECOND));
    assert_true(look(131 * SECOND));
    assert_string_equal(why, "the driver did not come back from an unknown call within 30 s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(work_may_take_its_limit_and_no_more, start),
        cmocka_unit_test_setup(a_worker_that_has_not_looked_lately_is_not_judged_by_that, start),
        cmocka_unit_test_setup(a_call_that_does_not_come_back_is_noticed, start),
        cmocka_unit_test_setup(records_that_are_completed_count_as_progress, start),
        cmocka_unit_test_setup(a_compiler_has_more_time, start),
        cmocka_unit_test_setup(what_a_worker_writes_can_be_anything, start),
    };

    return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}
