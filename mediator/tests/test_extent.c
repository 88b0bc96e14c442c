/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "mediator/extent.h"
#include "protocol/window.h"

#define PAGE ((uint64_t)VGPU_EXTENT_ALIGNMENT)

static void takes_the_first_gap_that_fits(void **state)
{
    struct vgpu_extents extents;
    uint64_t a, b, c, d;

    (void)state;
    vgpu_extents_init(&extents, PAGE, 11 * PAGE);
    assert_int_equal(vgpu_extent_take(&extents, 2 * PAGE, &a), 0);
    assert_int_equal(vgpu_extent_take(&extents, 3 * PAGE, &b), 0);
    assert_int_equal(vgpu_extent_take(&extents, 5 * PAGE, &c), 0);
    assert_int_equal(a, PAGE);
    assert_int_equal(b, 3 * PAGE);
    assert_int_equal(c, 6 * PAGE);
    assert_int_equal(vgpu_extent_take(&extents, 1, &d), -ENOSPC);
    assert_int_equal(vgpu_extent_put(&extents, b), 0);
    assert_int_equal(vgpu_extent_take(&extents, 4 * PAGE, &d), -ENOSPC);
    assert_int_equal(vgpu_extent_take(&extents, 3 * PAGE - 1, &d), 0); /* rounded up */
    assert_int_equal(d, b);
    assert_int_equal(vgpu_extent_put(&extents, a), 0);
    assert_int_equal(vgpu_extent_take(&extents, 1, &d), 0);
    assert_int_equal(d, PAGE);
    vgpu_extents_clear(&extents);
}

static void refuses_what_makes_no_sense(void **state)
{
    struct vgpu_extents extents;
    uint64_t offset;

    (void)state;
    vgpu_extents_init(&extents, 1, 8 * PAGE - 1); /* becomes 1..7 pages */
    assert_int_equal(vgpu_extent_take(&extents, 0, &offset), -EINVAL);
    assert_int_equal(vgpu_extent_take(&extents, UINT64_MAX, &offset), -ENOSPC);
    assert_int_equal(vgpu_extent_take(&extents, UINT64_MAX - PAGE, &offset), -ENOSPC);
    assert_int_equal(vgpu_extent_take(&extents, 7 * PAGE, &offset), -ENOSPC);
    assert_int_equal(vgpu_extent_take(&extents, 6 * PAGE, &offset), 0);
    assert_int_equal(offset, PAGE);
    assert_int_equal(vgpu_extent_put(&extents, offset + PAGE), -ENOENT);
    assert_int_equal(vgpu_extent_put(&extents, offset), 0);
    assert_int_equal(vgpu_extent_put(&extents, offset), -ENOENT);
    vgpu_extents_init(&extents, 9 * PAGE, 8 * PAGE);
    assert_int_equal(vgpu_extent_take(&extents, 1, &offset), -ENOSPC);
}

/** Against a map of pages, so that nothing overlaps and nothing that fits is refused. */
static void agrees_with_a_page_map(void **state)
{
    enum { PAGES = 64, ROUNDS = 5000 };
    struct vgpu_extents extents;
    uint8_t owner[PAGES] = {0};
    uint64_t size[PAGES] = {0}; /* by first page */

    (void)state;
    srand(1);
    vgpu_extents_init(&extents, 0, PAGES * PAGE);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t pages = (uint64_t)rand() % 9 + 1, offset, first = PAGES;

        if (rand() % 2) {
            uint64_t page = (uint64_t)rand() % PAGES;

            assert_int_equal(vgpu_extent_put(&extents, page * PAGE), size[page] ? 0 : -ENOENT);
            for (uint64_t i = 0; i < size[page]; i++)
                owner[page + i] = 0;
            size[page] = 0;
            continue;
        }
        for (uint64_t start = 0, run = 0; start < PAGES && first == PAGES; start++) {
            run = owner[start] ? 0 : run + 1;
            if (run == pages)
                first = start + 1 - pages;
        }
        int result = vgpu_extent_take(&extents, pages * PAGE, &offset);
        assert_int_equal(result, first == PAGES ? -ENOSPC : 0);
        if (result)
            continue;
        assert_int_equal(offset, first * PAGE);
        size[first] = pages;
        for (uint64_t i = 0; i < pages; i++)
            owner[first + i] = 1;
    }
    vgpu_extents_clear(&extents);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_first_gap_that_fits),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(agrees_with_a_page_map),
    };

    return cmocka_run_group_tests_name("extents", tests, NULL, NULL);
}
