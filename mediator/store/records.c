/* SPDX-License-Identifier: MIT */
/** VMs, pools and the audit. */
#include <errno.h>
#include <string.h>

#include "mediator/scheduler/policy.h"
#include "mediator/store/internal.h"

#define VM_COLUMNS                                                                                 \
    "name, uuid, pool, priority, weight, share_cap, memory, rate, queue_depth, watchdog, "         \
    "fault_limit, quarantined, reason, strikes, struck"
#define VM_FIRST_LIMIT 4 /* among them, in the order of vgpu_limits */

/** The errno of a write that a rule of the schema may have stopped. */
static int vgpu_store_write_error(struct vgpu_store *store, int error)
{
    int code = sqlite3_extended_errcode(store->database);

    return error && code == SQLITE_CONSTRAINT_FOREIGNKEY ? -ENOENT : error;
}

int vgpu_store_put_vm(struct vgpu_store *store, const struct vgpu_store_vm *vm)
{
    const char pool[] = {(char)vm->pool, '\0'};
    const struct vgpu_vm_limits *limits = &vm->limits;
    /* Not OR REPLACE, which would throw out another VM that has this UUID. */
    sqlite3_stmt *statement = vgpu_store_prepare(
        store,
        "INSERT INTO vms (" VM_COLUMNS ") VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,"
        "?15) "
        "ON CONFLICT (name) DO UPDATE SET uuid=?2, pool=?3, priority=?4, weight=?5, share_cap=?6, "
        "memory=?7, rate=?8, queue_depth=?9, watchdog=?10, fault_limit=?11, quarantined=?12, "
        "reason=?13, strikes=?14, struck=?15",
        "sssiiiiiiiiisii", vm->name, *vm->uuid ? vm->uuid : NULL, pool, (uint64_t)vm->priority,
        limits->weight, limits->share_cap, limits->memory, limits->rate, limits->queue_depth,
        limits->watchdog, limits->fault_limit, vm->quarantined, vm->reason, vm->strikes,
        vm->struck);

    return vgpu_store_write_error(store, vgpu_store_run(store, statement));
}

int vgpu_store_remove_vm(struct vgpu_store *store, const char *name)
{
    int error = vgpu_store_run(
        store, vgpu_store_prepare(store, "DELETE FROM vms WHERE name = ?1", "s", name));

    return error ? error : sqlite3_changes(store->database) ? 0 : -ENOENT;
}

static void vgpu_store_read_vm(sqlite3_stmt *statement, struct vgpu_store_vm *vm)
{
    *vm = (struct vgpu_store_vm){
        .pool = (uint32_t)*vgpu_store_text(statement, 2),
        .priority = (uint32_t)vgpu_store_number(statement, 3),
        .quarantined = vgpu_store_number(statement, VM_FIRST_LIMIT + VGPU_LIMITS),
        .strikes = vgpu_store_number(statement, VM_FIRST_LIMIT + VGPU_LIMITS + 2),
        .struck = vgpu_store_number(statement, VM_FIRST_LIMIT + VGPU_LIMITS + 3),
    };
    snprintf(vm->name, sizeof(vm->name), "%s", vgpu_store_text(statement, 0));
    snprintf(vm->uuid, sizeof(vm->uuid), "%s", vgpu_store_text(statement, 1));
    snprintf(vm->reason, sizeof(vm->reason), "%s",
             vgpu_store_text(statement, VM_FIRST_LIMIT + VGPU_LIMITS + 1));
    for (uint32_t i = 0; i < VGPU_LIMITS; i++)
        *vgpu_limit_of(&vm->limits, i) = vgpu_store_number(statement, VM_FIRST_LIMIT + (int)i);
}

int vgpu_store_find_vm(struct vgpu_store *store, const char *name, const char *uuid,
                       struct vgpu_store_vm *vm)
{
    sqlite3_stmt *statement =
        vgpu_store_prepare(store,
                           name ? "SELECT " VM_COLUMNS " FROM vms WHERE name = ?1"
                                : "SELECT " VM_COLUMNS " FROM vms WHERE uuid = ?1",
                           "s", name ? name : uuid);
    int error;

    if (!vgpu_store_row(store, statement, &error))
        return error ? error : -ENOENT;
    vgpu_store_read_vm(statement, vm);
    sqlite3_finalize(statement);
    return 0;
}

int vgpu_store_list_vms(struct vgpu_store *store,
                        void (*each)(const struct vgpu_store_vm *vm, void *user), void *user)
{
    sqlite3_stmt *statement =
        vgpu_store_prepare(store, "SELECT " VM_COLUMNS " FROM vms ORDER BY name", "");
    struct vgpu_store_vm vm;
    int error;

    while (vgpu_store_row(store, statement, &error)) {
        vgpu_store_read_vm(statement, &vm);
        each(&vm, user);
    }
    return error;
}

int vgpu_store_put_pool(struct vgpu_store *store, const struct vgpu_store_pool *pool)
{
    const char name[] = {(char)pool->name, '\0'};

    return vgpu_store_run(store, vgpu_store_prepare(store,
                                                    "INSERT INTO pools VALUES (?1, ?2) ON CONFLICT "
                                                    "(name) DO UPDATE SET weight = ?2",
                                                    "si", name, (uint64_t)pool->weight));
}

int vgpu_store_remove_pool(struct vgpu_store *store, uint32_t name)
{
    const char text[] = {(char)name, '\0'};
    int error = vgpu_store_run(
        store, vgpu_store_prepare(store, "DELETE FROM pools WHERE name = ?1", "s", text));

    if (error)
        return sqlite3_extended_errcode(store->database) == SQLITE_CONSTRAINT_FOREIGNKEY ? -EBUSY
                                                                                         : error;
    return sqlite3_changes(store->database) ? 0 : -ENOENT;
}

#define POOL_QUERY                                                                                 \
    "SELECT name, weight, (SELECT count(*) FROM vms WHERE pool = pools.name) FROM pools "

static void vgpu_store_read_pool(sqlite3_stmt *statement, struct vgpu_store_pool *pool)
{
    pool->name = (uint32_t)*vgpu_store_text(statement, 0);
    pool->weight = (uint32_t)vgpu_store_number(statement, 1);
    pool->members = (uint32_t)vgpu_store_number(statement, 2);
}

int vgpu_store_find_pool(struct vgpu_store *store, uint32_t name, struct vgpu_store_pool *pool)
{
    const char text[] = {(char)name, '\0'};
    sqlite3_stmt *statement = vgpu_store_prepare(store, POOL_QUERY "WHERE name = ?1", "s", text);
    int error;

    if (!vgpu_store_row(store, statement, &error))
        return error ? error : -ENOENT;
    vgpu_store_read_pool(statement, pool);
    sqlite3_finalize(statement);
    return 0;
}

int vgpu_store_need_pool(struct vgpu_store *store, uint32_t name)
{
    struct vgpu_store_pool pool;
    int error = vgpu_store_find_pool(store, name, &pool);

    if (error != -ENOENT)
        return error;
    pool = (struct vgpu_store_pool){.name = name, .weight = VGPU_WEIGHT_DEFAULT};
    error = vgpu_store_put_pool(store, &pool);
    return error ? error : 1;
}

int vgpu_store_list_pools(struct vgpu_store *store,
                          void (*each)(const struct vgpu_store_pool *pool, void *user), void *user)
{
    sqlite3_stmt *statement = vgpu_store_prepare(store, POOL_QUERY "ORDER BY name", "");
    struct vgpu_store_pool pool;
    int error;

    while (vgpu_store_row(store, statement, &error)) {
        vgpu_store_read_pool(statement, &pool);
        each(&pool, user);
    }
    return error;
}

int vgpu_store_log_action(struct vgpu_store *store, const struct vgpu_store_action *action)
{
    return vgpu_store_run(
        store,
        vgpu_store_prepare(store,
                           "INSERT INTO audit (time, uid, pid, verb, target, arguments, "
                           "outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                           "iiissss", action->time, (uint64_t)action->uid, (uint64_t)action->pid,
                           action->verb, action->target, action->arguments, action->outcome));
}

int vgpu_store_list_actions(struct vgpu_store *store, uint32_t most,
                            void (*each)(const struct vgpu_store_action *action, void *user),
                            void *user)
{
    sqlite3_stmt *statement =
        vgpu_store_prepare(store,
                           "SELECT time, uid, pid, verb, target, arguments, outcome FROM audit "
                           "ORDER BY id DESC LIMIT ?1",
                           "i", (uint64_t)most);
    int error;

    while (vgpu_store_row(store, statement, &error)) {
        const struct vgpu_store_action action = {
            .time = vgpu_store_number(statement, 0),
            .uid = (uint32_t)vgpu_store_number(statement, 1),
            .pid = (uint32_t)vgpu_store_number(statement, 2),
            .verb = vgpu_store_text(statement, 3),
            .target = vgpu_store_text(statement, 4),
            .arguments = vgpu_store_text(statement, 5),
            .outcome = vgpu_store_text(statement, 6),
        };
        each(&action, user);
    }
    return error;
}
