/* SPDX-License-Identifier: MIT */
/* What compilers have made is found again, by the next program too, and never a damaged one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "interop/cache_folder.h"
#include "interop/compile_cache.h"
#include "interop/driver_api.h"

static char place[64], folder[80];

static int open_place(void **state)
{
    (void)state;
    strcpy(place, "/tmp/vgpu-compiled-XXXXXX");
    if (!mkdtemp(place))
        return -1;
    snprintf(folder, sizeof(folder), "%s/vgpu", place);
    unsetenv("CUDA_CACHE_DISABLE");
    unsetenv("CUDA_CACHE_MAXSIZE");
    return setenv("CUDA_CACHE_PATH", place, 1);
}

static int close_place(void **state)
{
    char command[100];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", place);
    return system(command);
}

static struct vgpu_compile_inputs inputs(const char *source)
{
    return (struct vgpu_compile_inputs){.kind = 1,
                                        .architecture = 90,
                                        .source = source,
                                        .source_bytes = strlen(source),
                                        .options = "-arch=sm_90",
                                        .platform = "HOST64",
                                        .compiler = "today"};
}

static bool find(const struct vgpu_compile_inputs *what, char *text)
{
    struct vgpu_compile_key *key = vgpu_compile_key_create(what);
    size_t bytes = 0;
    void *data;
    bool found = vgpu_compile_cache_find(key, &data, &bytes);

    if (found) {
        memcpy(text, data, bytes);
        text[bytes] = '\0';
        free(data);
    }
    vgpu_compile_key_destroy(key);
    return found;
}

static void keep(const struct vgpu_compile_inputs *what, const char *text)
{
    struct vgpu_compile_key *key = vgpu_compile_key_create(what);

    vgpu_compile_cache_keep(key, text, strlen(text));
    vgpu_compile_key_destroy(key);
}

/* Names of files are made of one letter. */
static struct vgpu_image_hash name_of(int number)
{
    struct vgpu_image_hash name;

    memset(&name, number, sizeof(name));
    return name;
}

static bool in_folder(int number)
{
    struct vgpu_image_hash name = name_of(number);
    size_t bytes;
    void *data;
    bool found = vgpu_cache_folder_read(&name, &data, &bytes);

    if (found)
        free(data);
    return found;
}

static unsigned int count_files(void)
{
    DIR *listing = opendir(folder);
    const struct dirent *entry;
    unsigned int count = 0;

    while (listing && (entry = readdir(listing)))
        count += entry->d_name[0] != '.';
    if (listing)
        closedir(listing);
    return count;
}

static void what_was_kept_is_found_by_all_that_went_into_it(void **state)
{
    struct vgpu_compile_inputs what = inputs("source 1"), other = what;
    char text[64];

    (void)state;
    assert_false(find(&what, text));
    keep(&what, "result 1");
    assert_true(find(&what, text));
    assert_string_equal(text, "result 1");
    other.options = "-arch=sm_90 -O0";
    assert_false(find(&other, text));
    other = what;
    other.kind = 2;
    assert_false(find(&other, text));
    other = what;
    other.compiler = "tomorrow";
    assert_false(find(&other, text));
    other = what;
    other.architecture = 100;
    assert_false(find(&other, text));
    other = what;
    other.source_bytes--;
    assert_false(find(&other, text));
    other = what;
    other.platform = NULL;
    assert_false(find(&other, text));
}

static void files_outlast_the_program(void **state)
{
    struct vgpu_image_hash name = name_of(1);
    size_t bytes = 0;
    void *data;

    (void)state;
    assert_false(in_folder(1));
    vgpu_cache_folder_write(&name, "lasting", 7);
    assert_true(vgpu_cache_folder_read(&name, &data, &bytes));
    assert_int_equal(bytes, 7);
    assert_memory_equal(data, "lasting", 7);
    free(data);
    assert_int_equal(count_files(), 1);
}

static void a_damaged_file_is_deleted(void **state)
{
    struct vgpu_image_hash name = name_of(2);
    char text[VGPU_IMAGE_HASH_TEXT], path[160];

    (void)state;
    vgpu_image_hash_text(&name, text);
    snprintf(path, sizeof(path), "%s/%s", folder, text);
    for (int i = 0; i < 3; i++) {
        vgpu_cache_folder_write(&name, "a result", 8);
        int file = open(path, O_RDWR);
        assert_true(file >= 0);
        if (i == 0)
            assert_int_equal(pwrite(file, "x", 1, 36), 1); /* in the content */
        else
            assert_int_equal(ftruncate(file, i == 1 ? 35 : 0), 0);
        close(file);
        assert_false(in_folder(2));
        assert_int_equal(count_files(), 0);
    }
}

static void the_folder_stays_below_its_size(void **state)
{
    struct vgpu_image_hash name;

    (void)state;
    setenv("CUDA_CACHE_MAXSIZE", "500", 1);
    for (int i = 0; i < 10; i++) {
        char text[VGPU_IMAGE_HASH_TEXT], path[160];
        const struct timespec used[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};

        name = name_of(i);
        vgpu_cache_folder_write(&name, "68 bytes with the hash of this text.", 36);
        vgpu_image_hash_text(&name, text);
        snprintf(path, sizeof(path), "%s/%s", folder, text);
        utimensat(AT_FDCWD, path, used, 0);
    }
    assert_int_equal(count_files(), 7);
    assert_false(in_folder(0));
    assert_false(in_folder(2));
    assert_true(in_folder(3));
    assert_true(in_folder(9));
    setenv("CUDA_CACHE_MAXSIZE", "40", 1); /* less than one */
    name = name_of(20);
    vgpu_cache_folder_write(&name, "68 bytes with the hash of this text.", 36);
    assert_false(in_folder(20));
}

static void a_disabled_cache_neither_finds_nor_keeps(void **state)
{
    struct vgpu_compile_inputs what = inputs("source 2");
    char text[64];

    (void)state;
    setenv("CUDA_CACHE_DISABLE", "1", 1);
    keep(&what, "result 2");
    assert_false(find(&what, text));
    assert_int_equal(count_files(), 0);
    setenv("CUDA_CACHE_DISABLE", "0", 1);
    assert_false(find(&what, text));
    keep(&what, "result 2");
    assert_true(find(&what, text));
    setenv("CUDA_CACHE_DISABLE", "1", 1);
    assert_false(find(&what, text));
}

/* As NVRTC goes about it. */
static void compilers_come_by_their_table(void **state)
{
    static const uint8_t id[16] = {0xda, 0x91, 0x51, 0xd3, 0x3a, 0xe6, 0xcc, 0x41,
                                   0xa5, 0xc0, 0x4f, 0x26, 0xd5, 0x33, 0xe3, 0x28};
    void *const *table;
    void *key, *data = NULL;
    struct {
        uint32_t bytes, guard;
    } size = {0, 0x1234};

    (void)state;
    assert_int_equal(cuGetExportTable((const void **)&table, (const CUuuid *)id), CUDA_SUCCESS);
    assert_int_equal((size_t)table[0], 56);
    int (*create)(void **, uint32_t, const void *, size_t, const char *, const char *, const char *,
                  uint32_t) = table[1];
    int (*end)(void *) = table[2];
    int (*look)(void *, uint64_t, void **, uint32_t *) = table[3];
    int (*store)(void *, uint64_t, const void *, uint32_t) = table[4];
    int (*release)(void *) = table[6];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(create(&key, 2, "table", 5, "-O3", "HOST64", "now", 90), CUDA_SUCCESS);
        assert_int_equal(look(key, 0, &data, &size.bytes), i ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND);
        if (i == 0)
            assert_int_equal(store(key, 0, "made of it", 10), CUDA_SUCCESS);
        assert_int_equal(end(key), CUDA_SUCCESS);
    }
    assert_int_equal(size.bytes, 10);
    assert_int_equal(size.guard, 0x1234);
    assert_memory_equal(data, "made of it", 10);
    assert_int_equal(release(data), CUDA_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_kept_is_found_by_all_that_went_into_it, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(files_outlast_the_program, open_place, close_place),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_deleted, open_place, close_place),
        cmocka_unit_test_setup_teardown(the_folder_stays_below_its_size, open_place, close_place),
        cmocka_unit_test_setup_teardown(a_disabled_cache_neither_finds_nor_keeps, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(compilers_come_by_their_table, open_place, close_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
