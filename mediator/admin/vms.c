/* SPDX-License-Identifier: MIT */
/** Verbs about one VM. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "mediator/admin/call.h"
#include "mediator/mediator.h"
#include "mediator/quarantine.h"
#include "mediator/registry.h"
#include "mediator/session.h"
#include "protocol/registers.h"

/** A UUID in its usual form, in lower case. */
static bool vgpu_admin_parse_uuid(const char *text, char *uuid)
{
    if (strlen(text) != VGPU_STORE_UUID - 1)
        return false;
    for (uint32_t i = 0; i < VGPU_STORE_UUID; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (text[i] && (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i])))
            return false;
        uuid[i] = (char)tolower((unsigned char)text[i]);
    }
    return true;
}

/** Reads vm-name and vm-uuid into call->vm. False after a failure. */
static bool vgpu_admin_take_target(struct vgpu_admin_call *call)
{
    const char *name = vgpu_admin_text(call, "vm-name");

    if (!vgpu_admin_has(call, "vm-name") && !vgpu_admin_has(call, "vm-uuid"))
        vgpu_admin_fail(call, "invalid", "which VM? %s needs --vm-name or --vm-uuid",
                        call->verb->name);
    else if (vgpu_admin_has(call, "vm-name") && !vgpu_config_vm_name_ok(name, VGPU_CONFIG_VM_NAME))
        vgpu_admin_fail(call, "invalid",
                        "vm-name=%.80s is not 1 to 63 letters, digits and any of ._:-", name);
    else if (vgpu_admin_has(call, "vm-uuid") &&
             !vgpu_admin_parse_uuid(vgpu_admin_text(call, "vm-uuid"), call->vm.uuid))
        vgpu_admin_fail(call, "invalid",
                        "vm-uuid=%.80s is not a UUID, such as 6f1d2c3e-8f4a-4b6c-9d7e-0a1b2c3d4e5f",
                        vgpu_admin_text(call, "vm-uuid"));
    snprintf(call->vm.name, sizeof(call->vm.name), "%s", name);
    vgpu_log_clean(call->target, sizeof(call->target), *name ? name : call->vm.uuid,
                   VGPU_CONFIG_VM_NAME);
    return !call->error;
}

/** The record of the VM that the call names: 0, or -ENOENT if it is not registered; any other error
 *  has failed the call. */
static int vgpu_admin_look_up(struct vgpu_admin_call *call)
{
    struct vgpu_store_vm found;
    int error = -ENOENT;

    if (!vgpu_admin_take_target(call))
        return -EINVAL;
    if (call->mediator->store)
        error = vgpu_store_find_vm(call->mediator->store, *call->vm.name ? call->vm.name : NULL,
                                   call->vm.uuid, &found);
    if (!error)
        vgpu_registry_catch_up(vgpu_registry_seen(call->mediator, found.name), &found);
    if (error && error != -ENOENT)
        vgpu_admin_fail_store(call);
    if (!error && *call->vm.uuid && strcmp(call->vm.uuid, found.uuid) != 0) {
        vgpu_admin_fail(call, "conflict", "VM %s has the UUID %s; give only one of both",
                        found.name, *found.uuid ? found.uuid : "(none)");
        return -EINVAL;
    }
    if (!error) {
        call->vm = found;
        memcpy(call->target, found.name, sizeof(call->target));
    }
    return error;
}

/** The VM must be registered. False after a failure. */
static bool vgpu_admin_find(struct vgpu_admin_call *call)
{
    int error = vgpu_admin_look_up(call);

    if (error == -ENOENT && *call->vm.name)
        vgpu_admin_fail(call, "not-found",
                        "VM %s is not registered; see vgpu-admin list-vms, or register it: "
                        "vgpu-admin register-vm --vm-name=%s",
                        call->vm.name, call->vm.name);
    else if (error == -ENOENT)
        vgpu_admin_fail(call, "not-found",
                        "no VM with the UUID %s is registered; see vgpu-admin list-vms",
                        call->vm.uuid);
    return error == 0;
}

bool vgpu_admin_take_optional(struct vgpu_admin_call *call, bool *registered)
{
    *registered = false;
    if (!vgpu_admin_has(call, "vm-name") && !vgpu_admin_has(call, "vm-uuid"))
        return true;
    *registered = vgpu_admin_look_up(call) == 0;
    if (!*registered && !call->error && !*call->vm.name)
        vgpu_admin_find(call); /* says so */
    return !call->error;
}

static bool vgpu_admin_take_memory(struct vgpu_admin_call *call, uint64_t *memory)
{
    uint64_t total = call->mediator->driver.probe.memory_total;
    const char *text = vgpu_admin_text(call, "memory");
    struct vgpu_quota quota = {0};

    if (strcmp(text, "default") != 0 && !vgpu_config_parse_quota(text, &quota))
        return false;
    *memory =
        quota.is_percent ? (uint64_t)((unsigned __int128)total * quota.amount / 100) : quota.amount;
    if (*memory > total)
        vgpu_admin_note(call, "the GPU has only %llu bytes of memory", (unsigned long long)total);
    return true;
}

/** The key of a limit as an argument: words of a command line are joined by dashes. */
static void vgpu_admin_argument_name(const struct vgpu_limit *limit, char *name, size_t size)
{
    snprintf(name, size, "%s", limit->name);
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '-' : *c;
}

/** Takes what limits there are among the arguments into call->vm. Their number; 0 after a failure.
 */
static uint32_t vgpu_admin_take_limits(struct vgpu_admin_call *call)
{
    uint32_t taken = 0;

    for (uint32_t i = 0; i < VGPU_LIMITS && !call->error; i++) {
        const struct vgpu_limit *limit = &vgpu_limits[i];
        uint64_t *value = vgpu_limit_of(&call->vm.limits, i);
        char name[32];

        vgpu_admin_argument_name(limit, name, sizeof(name));
        if (!vgpu_admin_has(call, name))
            continue;
        if (strcmp(name, "memory") != 0)
            vgpu_admin_number(call, name, limit->least, limit->most, limit->allowed, value);
        else if (!vgpu_admin_take_memory(call, value) || *value > limit->most)
            vgpu_admin_fail_value(call, name, limit->allowed);
        taken++;
    }
    return call->error ? 0 : taken;
}

static void vgpu_admin_take_priority(struct vgpu_admin_call *call)
{
    enum vgpu_priority priority;

    if (vgpu_priority_find(vgpu_admin_text(call, "priority"), &priority))
        call->vm.priority = priority;
    else
        vgpu_admin_fail_value(call, "priority", "low, medium or high");
}

/** Stores call->vm. */
static void vgpu_admin_put(struct vgpu_admin_call *call)
{
    int error = call->error ? 0 : vgpu_store_put_vm(call->mediator->store, &call->vm);

    if (error == -ENOENT)
        vgpu_admin_fail(call, "not-found",
                        "there is no pool %c; see vgpu-admin list-pools, or create it: vgpu-admin "
                        "create-pool --pool=%c",
                        (int)call->vm.pool, (int)call->vm.pool);
    else if (error == -EEXIST)
        vgpu_admin_fail(call, "conflict",
                        "another VM has the UUID %s; see vgpu-admin show-vm --vm-uuid=%s",
                        call->vm.uuid, call->vm.uuid);
    else if (error)
        vgpu_admin_fail_store(call);
    call->change = VGPU_ADMIN_PUT_VM;
}

/** What a VM has before anybody has set something. */
static void vgpu_admin_defaults(struct vgpu_admin_call *call)
{
    const struct vgpu_vm *seen = vgpu_registry_seen(call->mediator, call->vm.name);
    enum vgpu_priority priority = VGPU_PRIORITY_MEDIUM;

    call->vm.pool = seen ? seen->pool : 'A'; /* which the VM's device may have named */
    int added = vgpu_store_need_pool(call->mediator->store, call->vm.pool);
    if (added < 0)
        vgpu_admin_fail_store(call);
    else if (added)
        vgpu_admin_note(call, "pool %c was not there, and is now", (int)call->vm.pool);
    if (!vgpu_config_priority(&call->mediator->config, call->vm.name, &priority) && seen)
        priority = (enum vgpu_priority)seen->priority;
    call->vm.priority = priority;
    vgpu_config_limits(&call->mediator->config, call->vm.name, &call->vm.limits);
    vgpu_registry_catch_up(seen, &call->vm);
}

static void register_vm(struct vgpu_admin_call *call)
{
    int error;

    if (!vgpu_admin_has(call, "vm-name")) {
        vgpu_admin_fail(call, "invalid", "which VM? register-vm needs --vm-name");
        return;
    }
    error = vgpu_admin_look_up(call);
    if (!error)
        vgpu_admin_fail(call, "conflict",
                        "VM %s is registered already; change it with vgpu-admin set-...",
                        call->vm.name);
    if (error != -ENOENT)
        return;
    vgpu_admin_defaults(call);
    if (vgpu_admin_has(call, "pool"))
        vgpu_admin_pool(call, &call->vm.pool);
    if (vgpu_admin_has(call, "priority"))
        vgpu_admin_take_priority(call);
    vgpu_admin_take_limits(call);
    vgpu_admin_put(call);
}

static void unregister_vm(struct vgpu_admin_call *call)
{
    struct vgpu_vm *seen;

    if (!vgpu_admin_find(call))
        return;
    if (call->vm.quarantined) {
        vgpu_admin_fail(call, "conflict",
                        "VM %s is quarantined; first vgpu-admin clear-quarantine --vm-name=%s",
                        call->vm.name, call->vm.name);
        return;
    }
    if (vgpu_store_remove_vm(call->mediator->store, call->vm.name))
        vgpu_admin_fail_store(call);
    seen = vgpu_registry_seen(call->mediator, call->vm.name);
    if (seen && seen->sessions)
        vgpu_admin_note(call, "it is connected, and goes on with the limits of the configuration");
    call->change = VGPU_ADMIN_REMOVED_VM;
}

static void set_pool(struct vgpu_admin_call *call)
{
    if (!vgpu_admin_find(call) || !vgpu_admin_pool(call, &call->vm.pool))
        return;
    vgpu_admin_put(call);
}

static void set_priority(struct vgpu_admin_call *call)
{
    if (!vgpu_admin_find(call))
        return;
    vgpu_admin_take_priority(call);
    vgpu_admin_put(call);
}

/** set-weight, set-memory, set-rate-limit, set-share-cap and set-watchdog. */
static void set_limits(struct vgpu_admin_call *call)
{
    struct vgpu_vm *seen;

    if (!vgpu_admin_find(call))
        return;
    if (vgpu_admin_take_limits(call) == 0) {
        vgpu_admin_fail(call, "invalid", "%s: nothing to set; see vgpu-admin help %s", call->target,
                        call->verb->name);
        return;
    }
    seen = vgpu_registry_seen(call->mediator, call->vm.name);
    if (seen && call->vm.limits.memory && vgpu_vm_memory_used(seen) > call->vm.limits.memory)
        vgpu_admin_note(call, "it uses more memory than that now, and keeps it until it frees it");
    vgpu_admin_put(call);
}

/** False after a failure. */
static bool vgpu_admin_take_reason(struct vgpu_admin_call *call)
{
    const char *reason = vgpu_admin_text(call, "reason");

    if (!*reason)
        reason = "by an administrator";
    vgpu_log_clean(call->vm.reason, sizeof(call->vm.reason), reason, strlen(reason) + 1);
    if (strcmp(call->vm.reason, reason) == 0)
        return true;
    vgpu_admin_fail(call, "invalid",
                    "%s: the reason is not 1 to %zu printable ASCII characters; its users are told "
                    "it in one line",
                    call->target, sizeof(call->vm.reason) - 1);
    return false;
}

/** The VM is registered, or was seen and will be. False after a failure. */
static bool vgpu_admin_find_seen(struct vgpu_admin_call *call)
{
    int error = vgpu_admin_look_up(call);

    if (error == -ENOENT && vgpu_registry_seen(call->mediator, call->vm.name)) {
        vgpu_admin_defaults(call);
        vgpu_admin_note(call, "VM %s was not registered, and is now", call->vm.name);
    } else if (error) {
        vgpu_admin_find(call); /* says what is wrong */
    }
    return !call->error;
}

static void quarantine(struct vgpu_admin_call *call)
{
    if (!vgpu_admin_find_seen(call))
        return;
    if (call->vm.quarantined) {
        vgpu_admin_fail(call, "conflict", "VM %s is quarantined already: %s", call->vm.name,
                        call->vm.reason);
        return;
    }
    if (!vgpu_admin_take_reason(call))
        return;
    call->vm.quarantined = (uint64_t)time(NULL);
    vgpu_admin_put(call);
}

/** Without a store it is only the mediator that knows of the quarantine. */
static void vgpu_admin_lift_quarantine(struct vgpu_admin_call *call)
{
    struct vgpu_vm *seen = vgpu_registry_seen(call->mediator, call->vm.name);

    if (!seen)
        vgpu_admin_fail(call, "not-found",
                        "VM %s has not connected since the mediator started; see vgpu-admin "
                        "list-vms",
                        call->target);
    else if (!seen->quarantined)
        vgpu_admin_fail(call, "conflict", "VM %s is not quarantined", call->target);
    if (call->error)
        return;
    vgpu_quarantine_lift(seen);
    vgpu_events_add(&call->mediator->events, "cleared", seen->name, "clear-quarantine by user %u",
                    call->uid);
    vgpu_admin_note(call, "this mediator keeps nothing: there is no audit of it");
}

void vgpu_admin_clear_quarantine(struct vgpu_admin_call *call)
{
    if (!call->mediator->store && vgpu_admin_take_target(call)) {
        vgpu_admin_lift_quarantine(call);
        return;
    }
    if (!vgpu_admin_find_seen(call))
        return;
    if (!call->vm.quarantined) {
        vgpu_admin_fail(call, "conflict", "VM %s is not quarantined", call->vm.name);
        return;
    }
    call->vm.quarantined = 0;
    call->vm.reason[0] = '\0';
    call->vm.strikes = 0;
    vgpu_admin_put(call);
}

/** What a VM that is not registered has. */
static struct vgpu_store_vm vgpu_admin_unregistered(const struct vgpu_vm *seen)
{
    struct vgpu_store_vm vm = {
        .pool = seen->pool,
        .priority = seen->priority,
        .limits = seen->limits,
        .quarantined = seen->quarantined,
    };

    memcpy(vm.name, seen->name, sizeof(vm.name));
    memcpy(vm.reason, seen->reason, sizeof(vm.reason));
    return vm;
}

/** What limits of calls have cost the VM so far. */
static void vgpu_admin_put_calls(json_t *row, struct vgpu_mediator *mediator, struct vgpu_vm *seen)
{
    struct vgpu_counters counters = {0};

    if (seen)
        vgpu_session_count(mediator, seen, &counters);
    vgpu_admin_put_number(row, "calls", counters.calls);
    json_object_set_new(row, "calls_waiting", json_null());
    if (seen && seen->limits.queue_depth) /* else nobody counts them */
        vgpu_admin_put_number(row, "calls_waiting",
                              __atomic_load_n(&seen->ledger->queued, __ATOMIC_RELAXED));
    vgpu_admin_put_number(row, "throttled", counters.throttled);
    vgpu_admin_put_number(row, "throttled_for_ns", counters.throttled_nanoseconds);
    vgpu_admin_put_number(row, "queue_full", counters.busy);
}

/** As the configuration has it: BUDGET/PERIOD in milliseconds, or nothing. */
static void vgpu_admin_put_reservation(json_t *row, const struct vgpu_mediator *mediator,
                                       const char *vm)
{
    struct vgpu_reservation reservation = vgpu_config_reservation(&mediator->config, vm);
    char text[32] = "";

    if (reservation.period)
        snprintf(text, sizeof(text), "%u/%u", reservation.budget, reservation.period);
    vgpu_admin_put_text(row, "reservation", text);
}

json_t *vgpu_admin_vm_row(struct vgpu_mediator *mediator, const struct vgpu_store_vm *vm,
                          bool registered, struct vgpu_vm *seen)
{
    const char pool[] = {(char)vm->pool, '\0'};
    uint64_t total = mediator->driver.probe.memory_total;
    uint64_t quota = vm->limits.memory
                         ? vm->limits.memory
                         : vgpu_config_memory_quota(&mediator->config, vm->name, total);
    json_t *row = json_object();

    vgpu_admin_put_text(row, "vm", vm->name);
    vgpu_admin_put_text(row, "uuid", vm->uuid);
    vgpu_admin_put_text(row, "state", !seen ? "never seen" : seen->sessions ? "connected" : "away");
    json_object_set_new(row, "registered", json_boolean(registered));
    vgpu_admin_put_text(row, "pool", pool);
    vgpu_admin_put_text(row, "priority", vgpu_priority_name((enum vgpu_priority)vm->priority));
    vgpu_admin_put_number(row, "weight", vm->limits.weight);
    vgpu_admin_put_number(row, "share_cap_percent", vm->limits.share_cap);
    vgpu_admin_put_reservation(row, mediator, vm->name);
    vgpu_admin_put_number(row, "rate", vm->limits.rate);
    vgpu_admin_put_number(row, "queue_depth", vm->limits.queue_depth);
    vgpu_admin_put_number(row, "watchdog_seconds", vm->limits.watchdog);
    vgpu_admin_put_number(row, "fault_limit", vm->limits.fault_limit);
    vgpu_admin_put_number(row, "faults", seen ? seen->strikes : vm->strikes);
    vgpu_admin_put_number(row, "memory_used_bytes", seen ? vgpu_vm_memory_used(seen) : 0);
    vgpu_admin_put_number(row, "memory_quota_bytes", quota < total ? quota : total);
    vgpu_admin_put_number(row, "channels", seen ? seen->channels_open : 0);
    vgpu_admin_put_number(row, "channels_lost", seen ? seen->channels_failed : 0);
    vgpu_admin_put_calls(row, mediator, seen);
    vgpu_admin_put_text(row, "quarantine", vm->quarantined ? vm->reason : "");
    return row;
}

static void show_vm(struct vgpu_admin_call *call)
{
    struct vgpu_vm *seen;
    int error = vgpu_admin_look_up(call);

    seen = vgpu_registry_seen(call->mediator, call->vm.name);
    if (error == -ENOENT && seen)
        call->vm = vgpu_admin_unregistered(seen);
    else if (error == -ENOENT)
        vgpu_admin_find(call); /* says so */
    if (!call->error)
        call->result = vgpu_admin_vm_row(call->mediator, &call->vm, !error, seen);
}

static void vgpu_admin_list_one(const struct vgpu_store_vm *record, void *user)
{
    const struct vgpu_admin_call *call = user;
    struct vgpu_vm *seen = vgpu_registry_seen(call->mediator, record->name);
    struct vgpu_store_vm now = *record;

    vgpu_registry_catch_up(seen, &now);
    json_array_append_new(call->result, vgpu_admin_vm_row(call->mediator, &now, true, seen));
}

static void list_vms(struct vgpu_admin_call *call)
{
    struct vgpu_mediator *mediator = call->mediator;

    call->result = json_array();
    if (mediator->store && vgpu_store_list_vms(mediator->store, vgpu_admin_list_one, call))
        vgpu_admin_fail_store(call);
    for (struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next) {
        const struct vgpu_store_vm plain = vgpu_admin_unregistered(vm);

        if (!vm->registered)
            json_array_append_new(call->result, vgpu_admin_vm_row(mediator, &plain, false, vm));
    }
}

#define TARGET "vm-name", "vm-uuid"

const struct vgpu_admin_verb vgpu_admin_vm_verbs[] = {
    {"register-vm",
     "registered",
     register_vm,
     {TARGET, "pool", "priority", "weight", "share-cap", "memory", "rate", "queue-depth",
      "watchdog", "fault-limit"}},
    {"unregister-vm", "unregistered", unregister_vm, {TARGET}},
    {"list-vms", NULL, list_vms, {NULL}},
    {"show-vm", NULL, show_vm, {TARGET}},
    {"set-pool", "changed", set_pool, {TARGET, "pool"}},
    {"set-priority", "changed", set_priority, {TARGET, "priority"}},
    {"set-weight", "changed", set_limits, {TARGET, "weight"}},
    {"set-rate-limit", "changed", set_limits, {TARGET, "rate", "queue-depth"}},
    {"set-memory", "changed", set_limits, {TARGET, "memory"}},
    {"set-share-cap", "changed", set_limits, {TARGET, "share-cap"}},
    {"set-watchdog", "changed", set_limits, {TARGET, "watchdog", "fault-limit"}},
    {"quarantine", "quarantined", quarantine, {TARGET, "reason"}},
    {"clear-quarantine", "cleared", vgpu_admin_clear_quarantine, {TARGET}},
    {NULL, NULL, NULL, {NULL}},
};
