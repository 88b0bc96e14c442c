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
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mediator/session.h"

static char folder_name[64];
static int folder;
static bool disk_is_stuck; /* relaxed atomic */

/* In place of the C library's. */
int unlinkat(int directory, const char *name, int flags)
{
    while (__atomic_load_n(&disk_is_stuck, __ATOMIC_RELAXED))
        usleep(1000);
    return (int)syscall(SYS_unlinkat, directory, name, flags);
}

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

static struct vgpu_mediator mediator;

static void end_loop(struct vgpu_timer *timer)
{
    if (mediator.images.is_sweeping && !disk_is_stuck)
        vgpu_timer_start(mediator.loop, timer, 1);
    else
        vgpu_loop_stop(mediator.loop);
}

/** The loop of a mediator whose cache has too much in it, with a sweep to its end or, if the disk
 * is stuck, for a millisecond. */
static void run_loop(void)
{
    mediator = (struct vgpu_mediator){.watch = {.source.fd = -1, .expired = end_loop},
                                      .config.image_cache_size = 150};
    snprintf(mediator.config.image_cache, sizeof(mediator.config.image_cache), "%s", folder_name);
    assert_int_equal(vgpu_loop_create(&mediator.loop), 0);
    vgpu_images_open(&mediator.images, &mediator);
    put(image(1), 10);
    put(image(2), 20);
    mediator.images.timer.expired(&mediator.images.timer);
    vgpu_timer_start(mediator.loop, &mediator.watch, 1);
    assert_int_equal(vgpu_loop_run(mediator.loop), 0);
}

static void close_loop(void)
{
    vgpu_images_close(&mediator.images);
    vgpu_timer_stop(mediator.loop, &mediator.watch);
    vgpu_loop_destroy(mediator.loop);
}

static void a_sweep_ends_in_the_loop(void **state)
{
    (void)state;
    run_loop();
    assert_int_equal(mediator.images.bytes, 100);
    assert_false(is_there(image(2)));
    close_loop();
}

static void the_loop_does_not_wait_for_a_sweep(void **state)
{
    (void)state;
    disk_is_stuck = true;
    run_loop();
    assert_true(mediator.images.is_sweeping);
    assert_true(is_there(image(2)));
    __atomic_store_n(&disk_is_stuck, false, __ATOMIC_RELAXED);
    close_loop(); /* which does */
    assert_false(is_there(image(2)));
    assert_true(is_there(image(1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_not_used_for_longest_goes_first, open_folder,
                                        close_folder),
        cmocka_unit_test_setup_teardown(what_is_no_image_is_left_alone, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(a_sweep_ends_in_the_loop, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(the_loop_does_not_wait_for_a_sweep, open_folder,
                                        close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
