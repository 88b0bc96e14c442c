/* SPDX-License-Identifier: MIT */
/** Usage and faults, by the hour. */
#include "mediator/store/history.h"

#include "mediator/store/internal.h"

int vgpu_store_add_usage(struct vgpu_store *store, const struct vgpu_store_usage *usage)
{
    return vgpu_store_run(
        store, vgpu_store_prepare(
                   store,
                   "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (vm, hour) DO "
                   "UPDATE SET gpu_ns = gpu_ns + ?3, calls = calls + ?4, "
                   "to_device_bytes = to_device_bytes + ?5, "
                   "from_device_bytes = from_device_bytes + ?6",
                   "siiiii", usage->vm, usage->hour, usage->gpu_nanoseconds, usage->calls,
                   usage->bytes_to_device, usage->bytes_from_device));
}

int vgpu_store_add_faults(struct vgpu_store *store, const struct vgpu_store_faults *faults)
{
    return vgpu_store_run(
        store, vgpu_store_prepare(
                   store,
                   "INSERT INTO faults VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (vm, hour, "
                   "kind) DO UPDATE SET count = count + ?4, detail = ?5",
                   "sisis", faults->vm, faults->hour, faults->kind, faults->count, faults->detail));
}

/** Entries are in the order of time, so that there is no need to look at all of them. */
static int vgpu_store_expire_actions(struct vgpu_store *store, uint64_t hour)
{
    return vgpu_store_run(
        store, vgpu_store_prepare(
                   store,
                   "DELETE FROM audit WHERE id < max("
                   "coalesce((SELECT id FROM audit WHERE time >= ?1 ORDER BY id LIMIT 1), 0),"
                   "(SELECT coalesce(max(id), 0) FROM audit) - ?2 + 1)",
                   "ii", hour * 3600, (uint64_t)VGPU_STORE_ACTIONS_MOST));
}

int vgpu_store_expire(struct vgpu_store *store, uint64_t hour)
{
    int error = vgpu_store_run(
        store, vgpu_store_prepare(store, "DELETE FROM usage WHERE hour < ?1", "i", hour));

    if (!error)
        error = vgpu_store_run(
            store, vgpu_store_prepare(store, "DELETE FROM faults WHERE hour < ?1", "i", hour));
    return error ? error : vgpu_store_expire_actions(store, hour);
}

int vgpu_store_list_usage(struct vgpu_store *store, uint64_t since, const char *vm, uint32_t most,
                          void (*each)(const struct vgpu_store_usage *usage, void *user),
                          void *user)
{
    sqlite3_stmt *statement =
        vgpu_store_prepare(store,
                           "SELECT vm, hour, gpu_ns, calls, to_device_bytes, from_device_bytes "
                           "FROM usage WHERE hour >= ?1 AND (?2 IS NULL OR vm = ?2) "
                           "ORDER BY hour, vm LIMIT ?3",
                           "isi", since, vm, (uint64_t)most);
    int error;

    while (vgpu_store_row(store, statement, &error)) {
        const struct vgpu_store_usage usage = {
            .vm = vgpu_store_text(statement, 0),
            .hour = vgpu_store_number(statement, 1),
            .gpu_nanoseconds = vgpu_store_number(statement, 2),
            .calls = vgpu_store_number(statement, 3),
            .bytes_to_device = vgpu_store_number(statement, 4),
            .bytes_from_device = vgpu_store_number(statement, 5),
        };
        each(&usage, user);
    }
    return error;
}

int vgpu_store_list_faults(struct vgpu_store *store, uint64_t since, const char *vm, uint32_t most,
                           void (*each)(const struct vgpu_store_faults *faults, void *user),
                           void *user)
{
    sqlite3_stmt *statement =
        vgpu_store_prepare(store,
                           "SELECT vm, hour, kind, count, detail FROM faults WHERE hour >= ?1 AND "
                           "(?2 IS NULL OR vm = ?2) ORDER BY hour, vm, kind LIMIT ?3",
                           "isi", since, vm, (uint64_t)most);
    int error;

    while (vgpu_store_row(store, statement, &error)) {
        const struct vgpu_store_faults faults = {
            .vm = vgpu_store_text(statement, 0),
            .hour = vgpu_store_number(statement, 1),
            .kind = vgpu_store_text(statement, 2),
            .count = vgpu_store_number(statement, 3),
            .detail = vgpu_store_text(statement, 4),
        };
        each(&faults, user);
    }
    return error;
}
