/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "image/tests/fixture.h"

enum { LIMIT = 1 << 20 };

static void expect_target(const char *name, uint32_t device, const char *target)
{
    struct fixture file = fixture_read(name);
    char *text;

    assert_int_equal(fixture_ptx(file.data, file.size, device, LIMIT, &text), 0);
    assert_non_null(strstr(text, target));
    assert_non_null(strstr(text, ".visible .entry scale("));
    free(text);
    free(file.data);
}

static void ptx_is_the_same_however_it_is_compressed(void **state)
{
    static const char *const names[] = {"zstd.fatbin", "lz4.fatbin", "plain.fatbin"};
    char *texts[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct fixture file = fixture_read(names[i]);
        assert_int_equal(fixture_ptx(file.data, file.size, 121, LIMIT, &texts[i]), 0);
        assert_non_null(strstr(texts[i], ".target sm_90"));
        free(file.data);
    }
    assert_string_equal(texts[0] + strspn(texts[0], "\n"), texts[1] + strspn(texts[1], "\n"));
    assert_string_equal(texts[0] + strspn(texts[0], "\n"), texts[2] + strspn(texts[2], "\n"));
    for (int i = 0; i < 3; i++)
        free(texts[i]);
}

static void the_highest_architecture_that_fits_is_chosen(void **state)
{
    struct fixture file = fixture_read("zstd.fatbin");
    char *text;

    (void)state;
    expect_target("zstd.fatbin", 121, ".target sm_90");
    expect_target("zstd.fatbin", 90, ".target sm_90");
    expect_target("zstd.fatbin", 89, ".target sm_75");
    assert_int_equal(fixture_ptx(file.data, file.size, 70, LIMIT, &text), -ENOENT);
    free(file.data);
}

static void specific_ptx_is_for_its_own_kind_only(void **state)
{
    (void)state;
    expect_target("specific.fatbin", 90, ".target sm_90a");
    expect_target("specific.fatbin", 103, ".target sm_100f");
    expect_target("specific.fatbin", 121, ".target sm_80");
}

static void a_fatbin_of_cubins_has_no_ptx_but_entries(void **state)
{
    struct fixture file = fixture_read("cubin-only.fatbin");
    struct fixture cubin = fixture_read("scale.cubin");
    struct vgpu_fatbin_walk walk = {.data = file.data, .size = file.size};
    struct vgpu_fatbin_entry entry;
    char *text;

    (void)state;
    assert_int_equal(fixture_ptx(file.data, file.size, 121, LIMIT, &text), -ENOENT);
    assert_int_equal(vgpu_fatbin_next(&walk, &entry), 1);
    assert_int_equal(entry.kind, VGPU_FATBIN_CUBIN);
    assert_int_equal(entry.architecture, 90);
    assert_int_equal(entry.payload_bytes, cubin.size);
    assert_int_equal(vgpu_fatbin_next(&walk, &entry), 0);
    free(file.data);
    free(cubin.data);
}

static void expansion_stops_at_the_callers_limit(void **state)
{
    struct fixture file = fixture_read("zstd.fatbin");
    char *text;

    (void)state;
    assert_int_equal(fixture_ptx(file.data, file.size, 121, 100, &text), -E2BIG);
    free(file.data);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ptx_is_the_same_however_it_is_compressed),
        cmocka_unit_test(the_highest_architecture_that_fits_is_chosen),
        cmocka_unit_test(specific_ptx_is_for_its_own_kind_only),
        cmocka_unit_test(a_fatbin_of_cubins_has_no_ptx_but_entries),
        cmocka_unit_test(expansion_stops_at_the_callers_limit),
    };
    if (count != 2)
        return 2;
    fixtures_are_in(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
