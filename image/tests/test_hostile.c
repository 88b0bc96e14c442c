/* SPDX-License-Identifier: MIT */
/* Damaged images: whatever is answered, no byte outside is read (a guard page follows the copy). */
#include <errno.h>

#include "image/select.h"
#include "image/tests/fixture.h"

enum { LIMIT = 1 << 20, FLIPS = 3000 };

static const char *const names[] = {"zstd.fatbin",     "lz4.fatbin",        "plain.fatbin",
                                    "specific.fatbin", "cubin-only.fatbin", "scale.cubin"};

/* Does all that can be done to it; returns what vgpu_code_find() said. */
static int exercise(const void *data, size_t size)
{
    struct vgpu_code code;
    struct vgpu_fatbin_walk walk = {.data = data, .size = size};
    struct vgpu_fatbin_entry entry;
    static struct vgpu_code_selection selection;
    struct vgpu_image_hash hash;
    int found = vgpu_code_find(data, size, &code);
    size_t length;
    void *out;

    if (found == 0) {
        assert_true(code.parts[0].size <= size);
        if (vgpu_code_select(&code, 90, &selection) == 0) {
            assert_true(selection.size <= size + VGPU_FATBIN_HEADER_BYTES);
            vgpu_code_selection_hash(&selection, &hash);
        }
    }
    while (vgpu_fatbin_next(&walk, &entry) > 0) {
        if (vgpu_fatbin_expand(&entry, LIMIT, &out, &length) == 0)
            free(out);
    }
    return found;
}

static void an_image_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        struct fixture file = fixture_read(names[n]);
        char *copy = guard_copy(file.data, file.size);

        assert_int_equal(exercise(copy, file.size), 0);
        for (size_t size = 0; size < file.size; size++) {
            /* The end of the copy is the end of readable memory. */
            char *cut = copy + (file.size - size);
            memmove(cut, file.data, size);
            assert_int_equal(exercise(cut, size), -EINVAL);
        }
        guard_free(copy, file.size);
        free(file.data);
    }
}

/* xorshift: the same damage in every run. */
static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void flipped_bits_never_lead_outside(void **state)
{
    uint32_t random = 0x2545f491;

    (void)state;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        struct fixture file = fixture_read(names[n]);
        uint8_t *copy = guard_copy(file.data, file.size);

        for (int round = 0; round < FLIPS; round++) {
            memcpy(copy, file.data, file.size);
            for (int flip = 0; flip < 4; flip++) {
                /* Half of them in the first headers, where they do most harm. */
                size_t reach = flip % 2 && file.size > 160 ? 160 : file.size;
                copy[next_random(&random) % reach] ^= (uint8_t)(1u << next_random(&random) % 8);
            }
            exercise(copy, file.size);
        }
        guard_free(copy, file.size);
        free(file.data);
    }
}

static void extreme_sizes_do_not_wrap_around(void **state)
{
    struct fixture file = fixture_read("plain.fatbin"), cubin = fixture_read("scale.cubin");
    uint8_t *copy = guard_copy(file.data, file.size), *elf = guard_copy(cubin.data, cubin.size);
    static const size_t fatbin_fields[] = {8, 16 + 4, 16 + 8, 16 + 56};
    static const size_t elf_fields[] = {32, 40, 56, 60};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        memcpy(copy, file.data, file.size);
        memset(copy + fatbin_fields[i], 0xff, fatbin_fields[i] == 20 ? 4 : 8);
        exercise(copy, file.size);
        memcpy(elf, cubin.data, cubin.size);
        memset(elf + elf_fields[i], 0xff, elf_fields[i] < 56 ? 8 : 2);
        assert_int_equal(exercise(elf, cubin.size), -EINVAL);
    }
    memcpy(copy, file.data, file.size);
    memset(copy + 8, 0xff, 8);
    assert_int_equal(exercise(copy, file.size), -EINVAL);
    guard_free(copy, file.size);
    guard_free(elf, cubin.size);
    free(file.data);
    free(cubin.data);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_cut_off_anywhere_is_refused),
        cmocka_unit_test(flipped_bits_never_lead_outside),
        cmocka_unit_test(extreme_sizes_do_not_wrap_around),
    };
    if (count != 2)
        return 2;
    fixtures_are_in(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
