/* SPDX-License-Identifier: MIT */
/** Changes on their way to a disk that is slow, or that does not take them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mediator/store/internal.h"

static char folder[] = "/tmp/vgpu-flush-XXXXXX", path[96];
static struct vgpu_store *store;

/* The disk; relaxed atomics. */
static struct {
    bool is_stuck, fails;
    uint32_t asked;
} disk;

static void set_disk(bool *what, bool value)
{
    __atomic_store_n(what, value, __ATOMIC_RELAXED);
}

/* In place of the system's, for SQLite as well. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    __atomic_fetch_add(&disk.asked, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&disk.is_stuck, __ATOMIC_RELAXED))
        usleep(1000);
    if (__atomic_load_n(&disk.fails, __ATOMIC_RELAXED)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static int make_store(void **state)
{
    char why[256];

    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/vgpu.db", folder);
    assert_int_equal(vgpu_store_open(path, &store, why, sizeof(why)), 0);
    return 0;
}

static int remove_store(void **state)
{
    char command[64];

    (void)state;
    set_disk(&disk.is_stuck, false);
    set_disk(&disk.fails, false);
    vgpu_store_close(store);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static void put_pool(uint32_t weight)
{
    const struct vgpu_store_pool pool = {.name = 'B', .weight = weight};

    assert_int_equal(vgpu_store_begin(store), 0);
    assert_int_equal(vgpu_store_put_pool(store, &pool), 0);
    assert_int_equal(vgpu_store_commit(store), 0);
}

static struct vgpu_store_flushed await_disk(void)
{
    struct pollfd flushed = {.fd = vgpu_store_flushed_event(store), .events = POLLIN};
    struct vgpu_store_flushed now;

    while ((now = vgpu_store_flushed(store)).done < vgpu_store_written(store))
        assert_int_equal(poll(&flushed, 1, 20000), 1);
    return now;
}

static void a_commit_does_not_wait_for_the_disk(void **state)
{
    struct vgpu_store_pool pool;

    (void)state;
    set_disk(&disk.is_stuck, true);
    put_pool(10);
    put_pool(20);
    assert_int_equal(vgpu_store_written(store), 2);
    assert_int_equal(vgpu_store_flushed(store).done, 0);
    assert_int_equal(vgpu_store_find_pool(store, 'B', &pool), 0);
    assert_int_equal(pool.weight, 20);
    set_disk(&disk.is_stuck, false);
    assert_int_equal(await_disk().done, 2);
    assert_int_equal(vgpu_store_flushed(store).failed, 0);
}

static void closing_waits_for_it(void **state)
{
    char why[256];

    (void)state;
    put_pool(10);
    await_disk();
    uint32_t asked = __atomic_load_n(&disk.asked, __ATOMIC_RELAXED);
    put_pool(20);
    vgpu_store_close(store);
    assert_true(__atomic_load_n(&disk.asked, __ATOMIC_RELAXED) > asked);
    assert_int_equal(vgpu_store_open(path, &store, why, sizeof(why)), 0);
}

static void what_the_disk_did_not_take_is_told(void **state)
{
    (void)state;
    put_pool(10);
    await_disk();
    set_disk(&disk.fails, true);
    put_pool(20);
    struct vgpu_store_flushed now = await_disk();
    assert_int_equal(now.failed, 2);
    assert_int_equal(now.error, -EIO);
    set_disk(&disk.fails, false);
    put_pool(30);
    now = await_disk();
    assert_int_equal(now.done, 3);
    assert_int_equal(now.failed, 2); /* and not this one */
}

/** The weight of the pool as the database has it without its log. */
static uint32_t weight_without_the_log(void)
{
    char command[256], copy[128];
    sqlite3 *database;
    sqlite3_stmt *row;
    uint32_t weight = 0;

    snprintf(copy, sizeof(copy), "%s/copy.db", folder);
    snprintf(command, sizeof(command), "cp %s %s", path, copy);
    assert_int_equal(system(command), 0);
    assert_int_equal(sqlite3_open(copy, &database), SQLITE_OK);
    /* The tables may be in the log as well. */
    sqlite3_prepare_v2(database, "SELECT weight FROM pools WHERE name = 'B'", -1, &row, NULL);
    if (row && sqlite3_step(row) == SQLITE_ROW)
        weight = (uint32_t)sqlite3_column_int(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(database);
    return weight;
}

static void a_long_log_is_moved_to_the_database(void **state)
{
    (void)state;
    put_pool(1);
    await_disk();
    assert_int_equal(weight_without_the_log(), 0);
    for (uint32_t i = 0; i < 1100; i++)
        put_pool(i % 100 + 1);
    await_disk();
    assert_int_not_equal(weight_without_the_log(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_commit_does_not_wait_for_the_disk, make_store,
                                        remove_store),
        cmocka_unit_test_setup_teardown(closing_waits_for_it, make_store, remove_store),
        cmocka_unit_test_setup_teardown(what_the_disk_did_not_take_is_told, make_store,
                                        remove_store),
        cmocka_unit_test_setup_teardown(a_long_log_is_moved_to_the_database, make_store,
                                        remove_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
