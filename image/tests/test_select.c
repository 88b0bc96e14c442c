/* SPDX-License-Identifier: MIT */
/* What of an image goes to a device, and the name that it has there. */
#include <errno.h>

#include "image/select.h"
#include "image/tests/fixture.h"

static struct vgpu_code_selection selection;

static void select_for(const struct fixture *file, uint32_t device)
{
    struct vgpu_code code;

    assert_int_equal(vgpu_code_find(file->data, file->size, &code), 0);
    assert_int_equal(vgpu_code_select(&code, device, &selection), 0);
}

/* The pieces as a host puts them together, for free(). */
static struct fixture assemble(void)
{
    struct fixture whole = {malloc(selection.size), 0};

    for (uint32_t i = 0; i < selection.count; i++) {
        memcpy((char *)whole.data + whole.size, selection.pieces[i].data, selection.pieces[i].size);
        whole.size += selection.pieces[i].size;
    }
    assert_int_equal(whole.size, selection.size);
    return whole;
}

struct content {
    unsigned int cubins, ptx;
    uint32_t cubin, newest_ptx; /* architectures */
    uint64_t flags;             /* of all */
};

static struct content look(const struct fixture *file)
{
    struct vgpu_fatbin_walk walk = {.data = file->data, .size = file->size};
    struct vgpu_fatbin_entry entry;
    struct content content = {0};
    int more;

    while ((more = vgpu_fatbin_next(&walk, &entry)) > 0) {
        content.flags |= entry.flags;
        if (entry.kind == VGPU_FATBIN_CUBIN) {
            content.cubins++;
            content.cubin = entry.architecture;
        } else if (entry.kind == VGPU_FATBIN_PTX) {
            content.ptx++;
            if (entry.architecture > content.newest_ptx)
                content.newest_ptx = entry.architecture;
        }
    }
    assert_int_equal(more, 0);
    return content;
}

static struct content selected(const char *name, uint32_t device)
{
    struct fixture file = fixture_read(name);

    select_for(&file, device);
    struct fixture part = assemble();
    struct content content = look(&part);
    free(part.data);
    free(file.data);
    return content;
}

static void only_what_fits_is_selected_and_stays_compressed(void **state)
{
    struct fixture file = fixture_read("zstd.fatbin");
    struct content whole = look(&file), part;

    (void)state;
    assert_true(whole.ptx >= 2); /* sm_75 and sm_90 */
    part = selected("zstd.fatbin", 90);
    assert_int_equal(part.ptx, 1);
    assert_int_equal(part.newest_ptx, 90);
    assert_true(part.flags & VGPU_FATBIN_ZSTD);
    assert_true(selection.size < file.size);
    part = selected("zstd.fatbin", 89);
    assert_int_equal(part.ptx, 1);
    assert_int_equal(part.newest_ptx, 75);
    part = selected("zstd.fatbin", 70);
    assert_int_equal(part.ptx + part.cubins, 0);
    assert_int_equal(selection.size, VGPU_FATBIN_HEADER_BYTES);
    free(file.data);
}

static void a_cubin_is_for_its_own_major_version(void **state)
{
    struct fixture file = fixture_read("cubin-only.fatbin");
    struct content whole = look(&file);

    (void)state;
    assert_true(whole.cubins > 0);
    assert_true(selected("cubin-only.fatbin", whole.cubin).cubins > 0);
    assert_int_equal(selected("cubin-only.fatbin", whole.cubin / 10 * 10 + 9).cubin, whole.cubin);
    assert_int_equal(selected("cubin-only.fatbin", whole.cubin + 30).cubins, 0);
    free(file.data);
}

static void what_was_selected_can_be_expanded_as_before(void **state)
{
    struct fixture file = fixture_read("lz4.fatbin"), part;
    struct vgpu_code code;
    char *text, *same;

    (void)state;
    select_for(&file, 121);
    part = assemble();
    assert_int_equal(vgpu_code_find(part.data, part.size, &code), 0);
    assert_int_equal(code.parts[0].size, part.size);
    assert_int_equal(fixture_ptx(file.data, file.size, 121, 1 << 20, &text), 0);
    assert_int_equal(fixture_ptx(part.data, part.size, 121, 1 << 20, &same), 0);
    assert_string_equal(text, same);
    free(text);
    free(same);
    free(part.data);
    free(file.data);
}

static void fatbins_that_belong_together_stay_in_order(void **state)
{
    struct fixture one = fixture_read("zstd.fatbin"), two = fixture_read("plain.fatbin"), part;
    struct vgpu_code code = {.kind = VGPU_CODE_FATBIN, .part_count = 2}, first;

    (void)state;
    code.parts[0] = (struct vgpu_code_part){one.data, one.size};
    code.parts[1] = (struct vgpu_code_part){two.data, two.size};
    assert_int_equal(vgpu_code_select(&code, 90, &selection), 0);
    part = assemble();
    assert_int_equal(vgpu_code_find(part.data, part.size, &first), 0);
    assert_true(first.parts[0].size < part.size);
    struct fixture second = {(char *)part.data + first.parts[0].size,
                             part.size - first.parts[0].size};
    assert_false(look(&second).flags & VGPU_FATBIN_ZSTD);
    free(part.data);
    free(one.data);
    free(two.data);
}

static void other_images_go_whole(void **state)
{
    struct fixture file = fixture_read("scale.cubin");

    (void)state;
    select_for(&file, 121);
    assert_int_equal(selection.count, 1);
    assert_int_equal(selection.size, file.size);
    free(file.data);
}

static void a_broken_fatbin_is_refused(void **state)
{
    struct fixture file = fixture_read("plain.fatbin");
    struct vgpu_code code;

    (void)state;
    ((uint8_t *)file.data)[16 + 8 + 6] = 0x7f; /* the first entry claims to be enormous */
    assert_int_equal(vgpu_code_find(file.data, file.size, &code), 0);
    assert_int_equal(vgpu_code_select(&code, 90, &selection), -EINVAL);
    free(file.data);
}

static void the_hash_is_sha_256_of_all_pieces(void **state)
{
    /* FIPS 180-2, appendix B.1 */
    static const char expected[] =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char text[VGPU_IMAGE_HASH_TEXT];
    struct vgpu_image_hash hash, pieces;
    struct fixture file = fixture_read("zstd.fatbin");

    (void)state;
    vgpu_image_hash("abc", 3, &hash);
    vgpu_image_hash_text(&hash, text);
    assert_string_equal(text, expected);
    select_for(&file, 90);
    vgpu_code_selection_hash(&selection, &pieces);
    struct fixture part = assemble();
    vgpu_image_hash(part.data, part.size, &hash);
    assert_memory_equal(&hash, &pieces, sizeof(hash));
    free(part.data);
    free(file.data);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_fits_is_selected_and_stays_compressed),
        cmocka_unit_test(a_cubin_is_for_its_own_major_version),
        cmocka_unit_test(what_was_selected_can_be_expanded_as_before),
        cmocka_unit_test(fatbins_that_belong_together_stay_in_order),
        cmocka_unit_test(other_images_go_whole),
        cmocka_unit_test(a_broken_fatbin_is_refused),
        cmocka_unit_test(the_hash_is_sha_256_of_all_pieces),
    };
    if (count != 2)
        return 2;
    fixtures_are_in(arguments[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
