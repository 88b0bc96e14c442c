/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "protocol/crowd.h"

static uint32_t waits_that_sleep(struct vgpu_crowd *crowd)
{
    uint32_t count = 0;
    while (vgpu_crowd_begin(crowd))
        count++;
    return count;
}

static void nobody_sleeps_while_the_processor_comes_back_soon(void **state)
{
    (void)state;
    struct vgpu_crowd crowd = {0};
    assert_false(vgpu_crowd_begin(&crowd));
    vgpu_crowd_offered(&crowd, VGPU_CROWD_LOSS);
    assert_false(vgpu_crowd_begin(&crowd));
}

static void after_a_lost_slice_waits_sleep_and_then_it_is_offered_again(void **state)
{
    (void)state;
    struct vgpu_crowd crowd = {0};
    for (int i = 0; i < 2; i++) {
        vgpu_crowd_offered(&crowd, VGPU_CROWD_LOSS + 1);
        assert_int_equal(waits_that_sleep(&crowd), VGPU_CROWD_WAITS);
    }
}

static void another_loss_of_another_thread_does_not_add_up(void **state)
{
    (void)state;
    struct vgpu_crowd crowd = {0};
    vgpu_crowd_offered(&crowd, VGPU_CROWD_LOSS + 1);
    assert_true(vgpu_crowd_begin(&crowd));
    vgpu_crowd_offered(&crowd, VGPU_CROWD_LOSS + 1);
    assert_int_equal(waits_that_sleep(&crowd), VGPU_CROWD_WAITS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_sleeps_while_the_processor_comes_back_soon),
        cmocka_unit_test(after_a_lost_slice_waits_sleep_and_then_it_is_offered_again),
        cmocka_unit_test(another_loss_of_another_thread_does_not_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
