/* SPDX-License-Identifier: MIT */
/* The folder of images stays below its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mediator/images.h"

static char folder_name[64];
static int folder;

static int open_folder(void **state)
{
    (void)state;
    strcpy(folder_name, "/tmp/vgpu-images-XXXXXX");
    folder = mkdtemp(folder_name) ? open(folder_name, O_RDONLY | O_DIRECTORY) : -1;
    return folder < 0;
}

static int close_folder(void **state)
{
    char command[100];

    (void)state;
    close(folder);
    snprintf(command, sizeof(command), "rm -r %s", folder_name);
    return system(command);
}

/** A file of 100 bytes that was last used so many seconds ago. */
static void put(const char *name, time_t age)
{
    const struct timespec used[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};
    int file = openat(folder, name, O_WRONLY | O_CREAT, 0600);

    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, 100), 0);
    assert_int_equal(futimens(file, used), 0);
    close(file);
}

static const char *image(int number)
{
    static char name[65];

    memset(name, 'a', 64);
    name[63] = (char)('0' + number);
    return name;
}

static bool is_there(const char *name)
{
    return faccessat(folder, name, F_OK, 0) == 0;
}

static void what_was_not_used_for_longest_goes_first(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        put(image(i), 1000 - (i == 3 ? 0 : i)); /* the fourth is as old as the first */
    assert_int_equal(vgpu_images_sweep(folder, 1000), 1000);
    assert_int_equal(vgpu_images_sweep(folder, 799), 700);
    assert_false(is_there(image(0)));
    assert_false(is_there(image(3)));
    assert_false(is_there(image(1)));
    assert_true(is_there(image(2)));
    assert_true(is_there(image(9)));
    assert_int_equal(vgpu_images_sweep(folder, 99), 0);
}

static void what_is_no_image_is_left_alone(void **state)
{
    (void)state;
    put("README", 5000);
    put("new-17", 5);   /* being written */
    put("new-18", 500); /* by a worker that died */
    assert_int_equal(mkdirat(folder, image(1), 0700), 0);
    assert_int_equal(symlinkat("README", folder, image(2)), 0);
    assert_int_equal(vgpu_images_sweep(folder, 0), 0);
    assert_true(is_there("README"));
    assert_true(is_there("new-17"));
    assert_false(is_there("new-18"));
    assert_true(is_there(image(1)));
    assert_true(is_there(image(2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_not_used_for_longest_goes_first, open_folder,
                                        close_folder),
        cmocka_unit_test_setup_teardown(what_is_no_image_is_left_alone, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
