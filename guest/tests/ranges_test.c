/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "guest/memory/ranges.h"

static struct vgpu_ranges ranges;

static int set_up(void **state)
{
    (void)state;
    ranges = (struct vgpu_ranges){.lock = PTHREAD_RWLOCK_INITIALIZER};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(ranges.table);
    return 0;
}

static struct vgpu_context *context(uintptr_t number)
{
    return (struct vgpu_context *)number;
}

static void add(CUdeviceptr start, size_t bytes, uintptr_t of)
{
    struct vgpu_range range = {
        .start = start, .bytes = bytes, .kind = VGPU_RANGE_DEVICE, .context = context(of)};
    assert_true(vgpu_ranges_add(&ranges, &range));
}

static void addresses_are_found_inside_only(void **state)
{
    (void)state;
    struct vgpu_range range;
    assert_false(vgpu_ranges_find(&ranges, 0, &range));
    add(0x3000, 0x100, 1);
    add(0x1000, 0x100, 1);
    add(0x2000, 0x100, 1);
    assert_false(vgpu_ranges_find(&ranges, 0xfff, &range));
    assert_true(vgpu_ranges_find(&ranges, 0x1000, &range));
    assert_true(vgpu_ranges_find(&ranges, 0x20ff, &range));
    assert_int_equal(range.start, 0x2000);
    assert_false(vgpu_ranges_find(&ranges, 0x2100, &range));
    assert_false(vgpu_ranges_find(&ranges, UINT64_MAX, &range));
}

static void only_a_start_of_its_kind_is_removed(void **state)
{
    (void)state;
    struct vgpu_range range;
    add(0x1000, 0x100, 1);
    assert_false(vgpu_ranges_remove(&ranges, 0x1001, VGPU_RANGE_DEVICE, &range));
    assert_false(vgpu_ranges_remove(&ranges, 0x1000, VGPU_RANGE_HOST, &range));
    assert_true(vgpu_ranges_remove(&ranges, 0x1000, VGPU_RANGE_DEVICE, &range));
    assert_false(vgpu_ranges_remove(&ranges, 0x1000, VGPU_RANGE_DEVICE, &range));
    assert_int_equal(ranges.count, 0);
}

static void new_memory_replaces_what_was_known_of_it(void **state)
{
    (void)state;
    struct vgpu_range range;
    add(0x1000, 0x1000, 1);
    add(0x3000, 0x1000, 1);
    add(0x1800, 0x2000, 2);
    assert_int_equal(ranges.count, 1);
    assert_true(vgpu_ranges_find(&ranges, 0x3000, &range));
    assert_ptr_equal(range.context, context(2));
}

static void a_context_takes_its_memory_along(void **state)
{
    (void)state;
    struct vgpu_range range;
    for (unsigned int i = 0; i < 500; i++)
        add(0x1000 * (i + 1), 0x800, i % 2 + 1);
    vgpu_ranges_forget(&ranges, context(1), NULL);
    assert_int_equal(ranges.count, 250);
    assert_false(vgpu_ranges_find(&ranges, 0x1000, &range));
    assert_true(vgpu_ranges_find(&ranges, 0x2000, &range));
}

static void an_owner_takes_its_variables_along(void **state)
{
    (void)state;
    struct vgpu_range range = {
        .start = 0x5000, .bytes = 4, .kind = VGPU_RANGE_VARIABLE, .owner = &ranges};
    add(0x1000, 0x100, 1);
    assert_true(vgpu_ranges_add(&ranges, &range));
    vgpu_ranges_forget(&ranges, NULL, &ranges);
    assert_false(vgpu_ranges_find(&ranges, 0x5000, &range));
    assert_true(vgpu_ranges_find(&ranges, 0x1000, &range));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(addresses_are_found_inside_only),          TEST(only_a_start_of_its_kind_is_removed),
        TEST(new_memory_replaces_what_was_known_of_it), TEST(a_context_takes_its_memory_along),
        TEST(an_owner_takes_its_variables_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
