/* SPDX-License-Identifier: MIT */
/** Verbs about what is long past: usage and faults by the hour. */
#include "mediator/history.h"

#include <time.h>

#include "mediator/admin/call.h"
#include "mediator/registry.h"
#include "mediator/store/history.h"

#define HOUR_MILLISECONDS 3600000u
#define ROWS_MOST         20000u /* of an answer: the loop does nothing else meanwhile */

/** Of whom, and from which hour on to tell. False after a failure. */
static bool vgpu_admin_start_history(struct vgpu_admin_call *call, bool *registered,
                                     uint64_t *since)
{
    uint64_t hours = 24, now = (uint64_t)time(NULL) / 3600;

    if (vgpu_admin_has(call, "hours") &&
        !vgpu_admin_number(call, "hours", 1, 9600, "hours from 1 to 9600", &hours))
        return false;
    if (!call->mediator->store) {
        vgpu_admin_fail(call, "no-store",
                        "this mediator keeps no history; set store= in "
                        "[mediator] of its configuration and start it again");
        return false;
    }
    if (!vgpu_admin_take_optional(call, registered))
        return false;
    if (vgpu_history_write(call->mediator)) /* to tell the last minute, too */
        vgpu_admin_note(call,
                        "what was used lately is missing: it cannot be written to the store: %s",
                        vgpu_store_error(call->mediator->store));
    *since = now >= hours ? now - hours + 1 : 0;
    call->result = json_array();
    return true;
}

/** NULL: of all. */
static const char *vgpu_admin_history_of(const struct vgpu_admin_call *call)
{
    return *call->vm.name ? call->vm.name : NULL;
}

/** Of a VM that is gone there may be history; whoever has none, and is not there, is a mistake. */
static void vgpu_admin_end_history(struct vgpu_admin_call *call, bool registered)
{
    if (json_array_size(call->result) > ROWS_MOST)
        vgpu_admin_fail(call, "invalid",
                        "%s: that would be more than %u rows; take fewer --hours, or one VM: "
                        "--vm-name",
                        call->verb->name, ROWS_MOST);
    if (*call->vm.name && !registered && json_array_size(call->result) == 0 &&
        !vgpu_registry_seen(call->mediator, call->vm.name))
        vgpu_admin_fail(call, "not-found",
                        "VM %s is not registered, and nothing is known of it in these hours; see "
                        "vgpu-admin list-vms, or take more --hours",
                        call->vm.name);
}

static void vgpu_admin_usage_row(const struct vgpu_store_usage *usage, void *user)
{
    json_t *rows = user, *row = json_object();

    vgpu_admin_put_number(row, "time_ms", usage->hour * HOUR_MILLISECONDS);
    vgpu_admin_put_text(row, "vm", usage->vm);
    vgpu_admin_put_number(row, "gpu_ns", usage->gpu_nanoseconds);
    vgpu_admin_put_number(row, "calls", usage->calls);
    vgpu_admin_put_number(row, "to_device_bytes", usage->bytes_to_device);
    vgpu_admin_put_number(row, "from_device_bytes", usage->bytes_from_device);
    json_array_append_new(rows, row);
}

static void show_usage(struct vgpu_admin_call *call)
{
    bool registered;
    uint64_t since;

    if (!vgpu_admin_start_history(call, &registered, &since))
        return;
    if (vgpu_store_list_usage(call->mediator->store, since, vgpu_admin_history_of(call),
                              ROWS_MOST + 1, vgpu_admin_usage_row, call->result))
        vgpu_admin_fail_store(call);
    vgpu_admin_end_history(call, registered);
}

static void vgpu_admin_faults_row(const struct vgpu_store_faults *faults, void *user)
{
    json_t *rows = user, *row = json_object();

    vgpu_admin_put_number(row, "time_ms", faults->hour * HOUR_MILLISECONDS);
    vgpu_admin_put_text(row, "vm", faults->vm);
    vgpu_admin_put_text(row, "kind", faults->kind);
    vgpu_admin_put_number(row, "count", faults->count);
    vgpu_admin_put_text(row, "detail", faults->detail);
    json_array_append_new(rows, row);
}

static void show_faults(struct vgpu_admin_call *call)
{
    bool registered;
    uint64_t since;

    if (!vgpu_admin_start_history(call, &registered, &since))
        return;
    if (vgpu_store_list_faults(call->mediator->store, since, vgpu_admin_history_of(call),
                               ROWS_MOST + 1, vgpu_admin_faults_row, call->result))
        vgpu_admin_fail_store(call);
    vgpu_admin_end_history(call, registered);
}

const struct vgpu_admin_verb vgpu_admin_history_verbs[] = {
    {"show-usage", NULL, show_usage, {"vm-name", "vm-uuid", "hours"}},
    {"show-faults", NULL, show_faults, {"vm-name", "vm-uuid", "hours"}},
    {NULL, NULL, NULL, {NULL}},
};
