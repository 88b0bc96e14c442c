/* SPDX-License-Identifier: MIT */
#include "mediator/quarantine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mediator/audit.h"
#include "mediator/history.h"
#include "mediator/log.h"
#include "mediator/registry.h"

#define DAY_SECONDS 86400u

/** A driver that cannot go on is the host's trouble and not the VM's doing. */
static bool vgpu_quarantine_blames(enum vgpu_fault kind)
{
    return kind != VGPU_FAULT_DRIVER;
}

static void vgpu_quarantine_record(const struct vgpu_vm *vm, struct vgpu_store_vm *record)
{
    *record = (struct vgpu_store_vm){
        .pool = vm->pool,
        .priority = vm->priority,
        .limits = vm->limits,
        .quarantined = vm->quarantined,
        .strikes = vm->strikes,
        .struck = vm->struck,
    };
    memcpy(record->name, vm->name, sizeof(record->name));
    memcpy(record->uuid, vm->uuid, sizeof(record->uuid));
    memcpy(record->reason, vm->reason, sizeof(record->reason));
}

static int vgpu_quarantine_write(struct vgpu_store *store, const struct vgpu_store_vm *record)
{
    int error = vgpu_store_begin(store);

    if (error)
        return error;
    error = vgpu_store_need_pool(store, record->pool); /* its device may have named a new one */
    if (error >= 0)
        error = vgpu_store_put_vm(store, record);
    if (!error && record->quarantined)
        error = vgpu_audit_quarantine(store, record->name, record->reason);
    if (!error)
        return vgpu_store_commit(store);
    vgpu_store_roll_back(store);
    return error;
}

/** What the store says of the VM; it is registered by its quarantine if it was not. */
static void vgpu_quarantine_keep(struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    struct vgpu_store_vm record;
    int error;

    if (!mediator->store || !(vm->registered || vm->quarantined))
        return;
    vgpu_quarantine_record(vm, &record);
    error = vgpu_quarantine_write(mediator->store, &record);
    if (error)
        vgpu_log(VGPU_LOG_ERROR,
                 "cannot write the faults of VM %s to the store %s: %s; they hold until this "
                 "mediator ends, and it tries again every minute; see the disk it is on",
                 vm->name, mediator->config.store, vgpu_store_error(mediator->store));
    else
        vm->registered = true;
    vm->unkept = error != 0;
}

void vgpu_quarantine_keep_all(struct vgpu_mediator *mediator)
{
    for (struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next) {
        if (vm->unkept)
            vgpu_quarantine_keep(mediator, vm);
    }
}

static void vgpu_quarantine_impose(struct vgpu_mediator *mediator, struct vgpu_vm *vm,
                                   enum vgpu_fault kind, const char *detail)
{
    char reason[VGPU_STORE_REASON + 64];

    snprintf(reason, sizeof(reason), "%llu fault%s, the last: %s%s",
             (unsigned long long)vm->strikes, vm->strikes == 1 ? "" : "s",
             kind == VGPU_FAULT_HANG ? "" : "a worker ", detail);
    vgpu_log_clean(vm->reason, sizeof(vm->reason), reason, sizeof(reason));
    vm->quarantined = (uint64_t)time(NULL);
    vgpu_log(VGPU_LOG_WARNING,
             "VM %s is quarantined: %s; to let it in again: vgpu-admin clear-quarantine "
             "--vm-name=%s",
             vm->name, vm->reason, vm->name);
    vgpu_events_add(&mediator->events, "quarantined", vm->name, "%s", vm->reason);
    vgpu_registry_revoke(mediator, vm);
}

void vgpu_quarantine_fault(struct vgpu_mediator *mediator, struct vgpu_vm *vm, enum vgpu_fault kind,
                           const char *detail)
{
    uint64_t now = (uint64_t)time(NULL);

    vgpu_history_fault(vm, kind, detail);
    if (!vgpu_quarantine_blames(kind) || vm->quarantined)
        return;
    if (now - vm->struck > DAY_SECONDS) /* or the clock was set back */
        vm->strikes = 0;
    vm->strikes++;
    vm->struck = now;
    if (vm->limits.fault_limit && vm->strikes >= vm->limits.fault_limit)
        vgpu_quarantine_impose(mediator, vm, kind, detail);
    vgpu_quarantine_keep(mediator, vm);
}

void vgpu_quarantine_lift(struct vgpu_vm *vm)
{
    vm->quarantined = 0;
    vm->reason[0] = '\0';
    vm->strikes = 0;
}
