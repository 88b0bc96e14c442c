/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "image/tests/fixture.h"

struct wrapper {
    uint32_t magic;
    uint32_t version;
    const void *fatbin;
    const void *extra;
};

static const char *const fatbins[] = {"zstd.fatbin", "lz4.fatbin", "plain.fatbin",
                                      "specific.fatbin", "cubin-only.fatbin"};

static void a_fatbin_has_the_size_of_its_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(fatbins) / sizeof(fatbins[0]); i++) {
        struct fixture file = fixture_read(fatbins[i]);
        struct vgpu_code code;

        assert_int_equal(vgpu_code_find(file.data, VGPU_CODE_UNBOUNDED, &code), 0);
        assert_int_equal(code.kind, VGPU_CODE_FATBIN);
        assert_int_equal(code.part_count, 1);
        assert_ptr_equal(code.parts[0].data, file.data);
        assert_int_equal(code.parts[0].size, file.size);
        free(file.data);
    }
}

static void a_cubin_has_the_size_of_its_file(void **state)
{
    struct fixture file = fixture_read("scale.cubin");
    struct vgpu_code code;

    (void)state;
    assert_int_equal(vgpu_code_find(file.data, VGPU_CODE_UNBOUNDED, &code), 0);
    assert_int_equal(code.kind, VGPU_CODE_CUBIN);
    assert_int_equal(code.parts[0].size, file.size);
    free(file.data);
}

static void text_is_ptx_with_its_terminator(void **state)
{
    static const char text[] = "\n\n//\n.version 8.0\n";
    struct vgpu_code code;

    (void)state;
    assert_int_equal(vgpu_code_find(text, VGPU_CODE_UNBOUNDED, &code), 0);
    assert_int_equal(code.kind, VGPU_CODE_PTX);
    assert_int_equal(code.parts[0].size, sizeof(text));
    assert_int_equal(vgpu_code_find(text, sizeof(text), &code), 0);
    assert_int_equal(vgpu_code_find(text, sizeof(text) - 1, &code), -EINVAL);
}

static void a_wrapper_is_followed_in_the_programs_own_memory_only(void **state)
{
    struct fixture main_part = fixture_read("plain.fatbin"), other = fixture_read("zstd.fatbin");
    const void *linked[] = {other.data, main_part.data, NULL};
    struct wrapper wrapper = {0x466243b1, 1, main_part.data, "a file name"};
    struct vgpu_code code;

    (void)state;
    assert_int_equal(vgpu_code_find(&wrapper, VGPU_CODE_UNBOUNDED, &code), 0);
    assert_int_equal(code.kind, VGPU_CODE_FATBIN);
    assert_int_equal(code.part_count, 1);
    assert_int_equal(code.parts[0].size, main_part.size);
    assert_int_equal(vgpu_code_find(&wrapper, sizeof(wrapper), &code), -EINVAL);

    wrapper.version = 2;
    wrapper.extra = linked;
    assert_int_equal(vgpu_code_find(&wrapper, VGPU_CODE_UNBOUNDED, &code), 0);
    assert_int_equal(code.part_count, 3);
    assert_ptr_equal(code.parts[1].data, other.data);
    assert_int_equal(code.parts[1].size, other.size);
    assert_int_equal(code.parts[2].size, main_part.size);
    wrapper.extra = NULL;
    assert_int_equal(vgpu_code_find(&wrapper, VGPU_CODE_UNBOUNDED, &code), 0);
    assert_int_equal(code.part_count, 1);
    wrapper.version = 3;
    assert_int_equal(vgpu_code_find(&wrapper, VGPU_CODE_UNBOUNDED, &code), -EINVAL);
    free(main_part.data);
    free(other.data);
}

static void nothing_and_garbage_are_no_image(void **state)
{
    struct vgpu_code code;

    (void)state;
    assert_int_equal(vgpu_code_find(NULL, VGPU_CODE_UNBOUNDED, &code), -EINVAL);
    assert_int_equal(vgpu_code_find("", VGPU_CODE_UNBOUNDED, &code), -EINVAL);
    assert_int_equal(vgpu_code_find("\x80\x01\x02\x03\x04", 5, &code), -EINVAL);
    assert_int_equal(vgpu_code_find("abc", 0, &code), -EINVAL);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fatbin_has_the_size_of_its_file),
        cmocka_unit_test(a_cubin_has_the_size_of_its_file),
        cmocka_unit_test(text_is_ptx_with_its_terminator),
        cmocka_unit_test(a_wrapper_is_followed_in_the_programs_own_memory_only),
        cmocka_unit_test(nothing_and_garbage_are_no_image),
    };
    if (count != 2)
        return 2;
    fixtures_are_in(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
