/* SPDX-License-Identifier: MIT */
/** The store: what it keeps, what it refuses, and that a kill at any moment loses nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mediator/store/history.h"
#include "mediator/store/internal.h"

static char folder[64], path[96], why[256];
static struct vgpu_store *store;

static void open_store(void)
{
    int error = vgpu_store_open(path, &store, why, sizeof(why));

    if (error)
        fail_msg("%d: %s", error, why);
}

static int make_folder(void **state)
{
    (void)state;
    /* In memory, if possible: a kill leaves files as they are, whatever is below them. */
    strcpy(folder,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/vgpu-store-XXXXXX" : "/tmp/vgpu-store-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/state/vgpu.db", folder);
    open_store();
    return 0;
}

static int remove_folder(void **state)
{
    char command[96];

    (void)state;
    vgpu_store_close(store);
    store = NULL;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    return 0;
}

static struct vgpu_store_vm make_vm(const char *name, const char *uuid)
{
    struct vgpu_store_vm vm = {.pool = 'A', .priority = 2};

    snprintf(vm.name, sizeof(vm.name), "%s", name);
    snprintf(vm.uuid, sizeof(vm.uuid), "%s", uuid);
    vgpu_limits_init(&vm.limits);
    return vm;
}

static int check_store(char *text, size_t size)
{
    FILE *out = fmemopen(text, size, "w");
    int error = vgpu_store_check(path, out);

    fclose(out);
    return error;
}

static void a_vm_is_there_after_a_restart(void **state)
{
    struct vgpu_store_vm vm = make_vm("web", "6f1d2c3e-8f4a-5b6c-9d7e-0a1b2c3d4e5f"), read;

    (void)state;
    vm.limits.memory = 5ull << 30;
    vm.limits.watchdog = 7;
    vm.quarantined = 1234;
    strcpy(vm.reason, "three faults");
    assert_int_equal(vgpu_store_put_vm(store, &vm), 0);
    vgpu_store_close(store);
    open_store();
    assert_int_equal(vgpu_store_find_vm(store, "web", NULL, &read), 0);
    assert_memory_equal(&read, &vm, sizeof(vm));
    assert_int_equal(vgpu_store_find_vm(store, NULL, vm.uuid, &read), 0);
    assert_string_equal(read.name, "web");
    assert_int_equal(vgpu_store_find_vm(store, "db", NULL, &read), -ENOENT);
    assert_int_equal(vgpu_store_remove_vm(store, "web"), 0);
    assert_int_equal(vgpu_store_remove_vm(store, "web"), -ENOENT);
}

static void rules_of_the_schema_hold(void **state)
{
    struct vgpu_store_vm vm = make_vm("web", "6f1d2c3e-8f4a-5b6c-9d7e-0a1b2c3d4e5f");
    struct vgpu_store_pool pool = {.name = 'B', .weight = 50};

    (void)state;
    assert_int_equal(vgpu_store_put_vm(store, &vm), 0);
    strcpy(vm.name, "db");
    assert_int_equal(vgpu_store_put_vm(store, &vm), -EEXIST); /* the UUID */
    vm.uuid[0] = '\0';
    vm.pool = 'B';
    assert_int_equal(vgpu_store_put_vm(store, &vm), -ENOENT); /* the pool */
    vm.limits.weight = 0;
    vm.pool = 'A';
    assert_int_not_equal(vgpu_store_put_vm(store, &vm), 0);
    vm.limits.weight = 1;
    vm.pool = 'B';
    assert_int_equal(vgpu_store_put_pool(store, &pool), 0);
    assert_int_equal(vgpu_store_put_vm(store, &vm), 0);
    assert_int_equal(vgpu_store_remove_pool(store, 'B'), -EBUSY);
    assert_int_equal(vgpu_store_find_pool(store, 'B', &pool), 0);
    assert_int_equal(pool.members, 1);
    assert_int_equal(vgpu_store_remove_vm(store, "db"), 0);
    assert_int_equal(vgpu_store_remove_pool(store, 'B'), 0);
    assert_int_equal(vgpu_store_remove_pool(store, 'B'), -ENOENT);
}

static void what_was_rolled_back_did_not_happen(void **state)
{
    struct vgpu_store_vm vm = make_vm("web", "");

    (void)state;
    assert_int_equal(vgpu_store_begin(store), 0);
    assert_int_equal(vgpu_store_put_vm(store, &vm), 0);
    vgpu_store_roll_back(store);
    assert_int_equal(vgpu_store_find_vm(store, "web", NULL, &vm), -ENOENT);
}

static void a_full_disk_refuses_and_breaks_nothing(void **state)
{
    struct vgpu_store_action action = {
        .verb = "set-weight", .target = "web", .arguments = "{}", .outcome = "done"};
    struct vgpu_store_vm vm = make_vm("web", "");
    uint64_t weight = 0;
    char text[1024] = "";
    int error = 0;

    (void)state;
    assert_int_equal(sqlite3_exec(store->database, "PRAGMA max_page_count = 24", NULL, NULL, NULL),
                     SQLITE_OK);
    for (int i = 0; i < 10000 && !error; i++) {
        vm.limits.weight = (uint64_t)i % 100 + 1;
        assert_int_equal(vgpu_store_begin(store), 0);
        error = vgpu_store_put_vm(store, &vm);
        if (!error)
            error = vgpu_store_log_action(store, &action);
        if (error)
            vgpu_store_roll_back(store);
        else
            error = vgpu_store_commit(store);
        if (!error)
            weight = vm.limits.weight;
    }
    assert_int_equal(error, -ENOSPC);
    assert_int_equal(vgpu_store_find_vm(store, "web", NULL, &vm), 0);
    assert_int_equal(vm.limits.weight, weight); /* the last that was done */
    assert_int_equal(check_store(text, sizeof(text)), 0);
}

static void it_has_one_writer_and_a_private_mode(void **state)
{
    struct vgpu_store *second;
    struct stat status;

    (void)state;
    assert_int_equal(vgpu_store_open(path, &second, why, sizeof(why)), -EBUSY);
    assert_non_null(strstr(why, "another mediator"));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void run_sql(sqlite3 *database, const char *sql)
{
    char *wrong = NULL;

    if (sqlite3_exec(database, sql, NULL, NULL, &wrong) != SQLITE_OK)
        fail_msg("%s: %s", sql, wrong);
}

/** A store as a version of this program with that schema left it behind. */
static void write_old_store(int version)
{
    sqlite3 *old;

    snprintf(path, sizeof(path), "%s/state/old-%d.db", folder, version);
    assert_int_equal(sqlite3_open(path, &old), SQLITE_OK);
    assert_int_equal(vgpu_schema_migrate(old, version), 0);
    run_sql(old, "INSERT INTO pools VALUES ('B', 70);"
                 "INSERT INTO vms (name, pool, priority, weight, share_cap, memory, rate, "
                 "queue_depth, watchdog, quarantined, reason) "
                 "VALUES ('web', 'B', 2, 80, 60, 4096, 1000, 16, 7, 1234, 'it mines');"
                 "INSERT INTO audit (time, uid, pid, verb, target, arguments, outcome) "
                 "VALUES (1, 2, 3, 'set-weight', 'web', '{}', 'done');");
    if (version >= 2)
        run_sql(old, "INSERT INTO usage VALUES ('web', 10, 1, 2, 3, 4);"
                     "INSERT INTO faults VALUES ('web', 10, 'crash', 2, 'why');");
    sqlite3_close(old);
}

static void an_older_schema_becomes_this_one(void **state)
{
    (void)state;
    for (int from = 1; from < vgpu_schema_current; from++) {
        struct vgpu_store_vm vm, expected = make_vm("web", "");
        int version = 0;
        char text[1024] = "";

        write_old_store(from);
        assert_int_equal(check_store(text, sizeof(text)), 0);
        vgpu_store_close(store);
        open_store();
        assert_int_equal(vgpu_schema_version(store->database, &version), 0);
        assert_int_equal(version, vgpu_schema_current);
        expected.pool = 'B';
        expected.limits = (struct vgpu_vm_limits){.weight = 80,
                                                  .share_cap = 60,
                                                  .memory = 4096,
                                                  .rate = 1000,
                                                  .queue_depth = 16,
                                                  .watchdog = 7,
                                                  .fault_limit = 3};
        expected.quarantined = 1234;
        strcpy(expected.reason, "it mines");
        assert_int_equal(vgpu_store_find_vm(store, "web", NULL, &vm), 0);
        assert_memory_equal(&vm, &expected, sizeof(vm));
        /* and what newer versions have works */
        vm.strikes = 2;
        vm.struck = 99;
        assert_int_equal(vgpu_store_put_vm(store, &vm), 0);
        assert_int_equal(vgpu_store_find_vm(store, "web", NULL, &expected), 0);
        assert_memory_equal(&vm, &expected, sizeof(vm));
        assert_int_equal(
            vgpu_store_add_usage(store, &(struct vgpu_store_usage){.vm = "web", .calls = 1}), 0);
        assert_int_equal(check_store(text, sizeof(text)), 0);
    }
}

static void sum_calls(const struct vgpu_store_usage *usage, void *user)
{
    uint64_t *sum = user;

    sum[0]++;
    sum[1] += usage->calls;
}

static void last_fault(const struct vgpu_store_faults *faults, void *user)
{
    snprintf(user, 64, "%s %llu %s", faults->kind, (unsigned long long)faults->count,
             faults->detail);
}

static void usage_and_faults_add_up_by_the_hour(void **state)
{
    struct vgpu_store_usage usage = {.vm = "web", .hour = 10, .calls = 3};
    struct vgpu_store_faults faults = {
        .vm = "web", .hour = 10, .kind = "crash", .count = 2, .detail = "first"};
    uint64_t sum[2] = {0};
    char text[64] = "";

    (void)state;
    for (int i = 0; i < 4; i++) {
        usage.hour = 10 + (uint64_t)i / 2;
        assert_int_equal(vgpu_store_add_usage(store, &usage), 0);
    }
    assert_int_equal(vgpu_store_add_faults(store, &faults), 0);
    faults.detail = "second";
    assert_int_equal(vgpu_store_add_faults(store, &faults), 0);
    assert_int_equal(vgpu_store_list_usage(store, 0, "web", 10, sum_calls, sum), 0);
    assert_int_equal(sum[0], 2);
    assert_int_equal(sum[1], 12);
    assert_int_equal(vgpu_store_list_faults(store, 0, NULL, 10, last_fault, text), 0);
    assert_string_equal(text, "crash 4 second");
    assert_int_equal(vgpu_store_expire(store, 11), 0);
    memset(sum, 0, sizeof(sum));
    assert_int_equal(vgpu_store_list_usage(store, 0, NULL, 10, sum_calls, sum), 0);
    assert_int_equal(sum[1], 6);
    assert_int_equal(vgpu_store_list_usage(store, 0, "db", 10, sum_calls, sum), 0);
    assert_int_equal(sum[0], 1); /* nothing more */
}

static void count_actions(const struct vgpu_store_action *action, void *user)
{
    uint64_t *seen = user; /* how many, and the oldest one's time */

    seen[0]++;
    seen[1] = action->time;
}

static void the_audit_keeps_what_is_new_and_not_too_much(void **state)
{
    struct vgpu_store_action action = {
        .verb = "set-weight", .target = "web", .arguments = "{}", .outcome = "done"};
    uint64_t seen[2] = {0};

    (void)state;
    for (uint64_t hour = 8; hour < 12; hour++) {
        action.time = hour * 3600;
        assert_int_equal(vgpu_store_log_action(store, &action), 0);
    }
    assert_int_equal(vgpu_store_expire(store, 10), 0);
    assert_int_equal(vgpu_store_list_actions(store, 100, count_actions, seen), 0);
    assert_int_equal(seen[0], 2);
    assert_int_equal(seen[1], 10 * 3600);
    run_sql(store->database, "UPDATE audit SET id = id + 2000000 WHERE time > 36000;");
    assert_int_equal(vgpu_store_expire(store, 10), 0);
    memset(seen, 0, sizeof(seen));
    assert_int_equal(vgpu_store_list_actions(store, 100, count_actions, seen), 0);
    assert_int_equal(seen[0], 1); /* the other one is more than a million entries back */
    assert_int_equal(seen[1], 11 * 3600);
}

static void a_newer_schema_is_left_alone(void **state)
{
    char text[1024] = "";

    (void)state;
    assert_int_equal(sqlite3_exec(store->database, "PRAGMA user_version = 1000", NULL, NULL, NULL),
                     SQLITE_OK);
    vgpu_store_close(store);
    assert_int_equal(vgpu_store_open(path, &store, why, sizeof(why)), -ENOTSUP);
    store = NULL;
    assert_non_null(strstr(why, "newer version"));
    assert_int_equal(check_store(text, sizeof(text)), -EUCLEAN);
    assert_non_null(strstr(text, "schema version 1000"));
}

static void damage_is_found(void **state)
{
    char text[4096] = "", zeros[4096] = {0};

    (void)state;
    assert_int_equal(check_store(text, sizeof(text)), 0);
    assert_non_null(strstr(text, "is good: schema version"));
    vgpu_store_close(store); /* the log is folded into the file */
    store = NULL;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, zeros, sizeof(zeros), 4096), sizeof(zeros));
    close(fd);
    assert_int_equal(check_store(text, sizeof(text)), -EUCLEAN);
    assert_non_null(strstr(text, "is damaged. Stop the mediator, and save"));
    fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, "no database at all, but text", 28), 28);
    close(fd);
    assert_int_equal(check_store(text, sizeof(text)), -EUCLEAN);
    assert_non_null(strstr(text, ".dump"));
    assert_int_equal(vgpu_store_open(path, &store, why, sizeof(why)), -EUCLEAN);
    store = NULL;
    assert_non_null(strstr(why, "is damaged"));
}

static void what_is_no_damage_is_said_too(void **state)
{
    char text[4096] = "";

    (void)state;
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(check_store(text, sizeof(text)), 0);
    assert_non_null(strstr(text, "can be read by others (mode 644); chmod 600"));
    write_old_store(1);
    assert_int_equal(check_store(text, sizeof(text)), 0);
    assert_non_null(strstr(text, "is good: schema version 1"));
    assert_non_null(strstr(text, "the mediator makes that version"));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(check_store(text, sizeof(text)), 0);
    assert_non_null(strstr(text, "is empty"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(check_store(text, sizeof(text)), -ENOENT);
    assert_non_null(strstr(text, "the mediator makes it when it starts"));
}

static void a_member_without_its_pool_is_found(void **state)
{
    char text[4096] = "";

    (void)state;
    run_sql(store->database, "PRAGMA foreign_keys = OFF;");
    struct vgpu_store_vm vm = make_vm("web", "");
    assert_int_equal(vgpu_store_put_vm(store, &vm), 0);
    run_sql(store->database, "DELETE FROM pools;");
    assert_int_equal(check_store(text, sizeof(text)), -EUCLEAN);
    assert_non_null(strstr(text, "foreign_key_check: vms"));
}

/** Changes a VM's weight and writes an action for it, over and over, and says so after each commit,
 *  until it is killed. */
static void write_forever(int acknowledge, uint64_t number)
{
    struct vgpu_store *mine;
    char text[24];

    if (vgpu_store_open(path, &mine, why, sizeof(why)))
        _exit(1);
    for (;; number++) {
        struct vgpu_store_vm vm = make_vm("web", "");
        struct vgpu_store_action action = {.time = number,
                                           .verb = "set-rate-limit",
                                           .target = "web",
                                           .arguments = text,
                                           .outcome = "done"};

        vm.limits.rate = number;
        snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
        if (vgpu_store_begin(mine) || vgpu_store_put_vm(mine, &vm) ||
            vgpu_store_log_action(mine, &action) || vgpu_store_commit(mine))
            _exit(1);
        if (write(acknowledge, &number, sizeof(number)) != sizeof(number))
            _exit(1);
    }
}

static void note_newest(const struct vgpu_store_action *action, void *user)
{
    *(uint64_t *)user = action->time;
}

/** Kills a writer after `microseconds`; what it acknowledged last, or `number` - 1 if nothing. */
static uint64_t kill_a_writer(uint64_t number, useconds_t microseconds)
{
    uint64_t acknowledged = number - 1, read_number;
    int status, channel[2];

    assert_int_equal(pipe2(channel, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        write_forever(channel[1], number);
    close(channel[1]);
    usleep(microseconds);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* it was at work, and did not fail */
    while (read(channel[0], &read_number, sizeof(read_number)) == sizeof(read_number))
        acknowledged = read_number;
    close(channel[0]);
    return acknowledged;
}

static void a_kill_at_any_moment_loses_nothing_acknowledged(void **state)
{
    uint64_t number = 1, acknowledged_ever = 0;
    unsigned seed = (unsigned)time(NULL);
    char text[1024];

    (void)state;
    print_message("seed %u\n", seed);
    vgpu_store_close(store);
    store = NULL;
    for (int round = 0; round < 100; round++) {
        struct vgpu_store_vm vm = {0};
        uint64_t newest = 0;

        /* From within opening, and at times making, the file to many commits later. */
        if (round % 20 == 0) {
            snprintf(path, sizeof(path), "%s/state/vgpu-%d.db", folder, round);
            number = 1;
        }
        uint64_t acknowledged = kill_a_writer(number, (useconds_t)rand_r(&seed) % 20000);
        if (access(path, F_OK) < 0)
            continue; /* killed before there was a file, so nothing was acknowledged */
        memset(text, 0, sizeof(text));
        open_store();
        if (check_store(text, sizeof(text)))
            fail_msg("round %d: %s", round, text);
        if (vgpu_store_find_vm(store, "web", NULL, &vm) == 0)
            assert_int_equal(vgpu_store_list_actions(store, 1, note_newest, &newest), 0);
        assert_int_equal(vm.limits.rate, newest); /* both of a transaction, or none */
        assert_true(newest == acknowledged || newest == acknowledged + 1);
        acknowledged_ever += acknowledged - (number - 1);
        number = newest + 1;
        vgpu_store_close(store);
        store = NULL;
    }
    print_message("%llu changes were acknowledged\n", (unsigned long long)acknowledged_ever);
    assert_true(acknowledged_ever > 0);
}

static void the_database_of_another_program_is_left_alone(void **state)
{
    static const char sql[] = "DROP TABLE IF EXISTS vms; PRAGMA user_version = 0";
    char text[512];

    (void)state;
    assert_int_equal(sqlite3_exec(store->database, sql, NULL, NULL, NULL), SQLITE_OK);
    vgpu_store_close(store);
    store = NULL;
    assert_int_equal(vgpu_store_open(path, &store, why, sizeof(why)), -EMEDIUMTYPE);
    assert_non_null(strstr(why, "is the database of another program; set another store="));
    assert_int_not_equal(check_store(text, sizeof(text)), 0);
    assert_non_null(strstr(text, "is the database of another program"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_vm_is_there_after_a_restart, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(rules_of_the_schema_hold, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_was_rolled_back_did_not_happen, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_and_breaks_nothing, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(it_has_one_writer_and_a_private_mode, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(an_older_schema_becomes_this_one, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(usage_and_faults_add_up_by_the_hour, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(the_audit_keeps_what_is_new_and_not_too_much, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_newer_schema_is_left_alone, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_database_of_another_program_is_left_alone, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(damage_is_found, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_no_damage_is_said_too, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_member_without_its_pool_is_found, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_kill_at_any_moment_loses_nothing_acknowledged,
                                        make_folder, remove_folder),
    };

    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
