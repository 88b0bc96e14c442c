/* SPDX-License-Identifier: MIT */
#include "mediator/registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/log.h"
#include "mediator/session.h"

struct vgpu_vm *vgpu_registry_seen(const struct vgpu_mediator *mediator, const char *name)
{
    struct vgpu_vm *vm = mediator->vms;

    while (vm && strcmp(vm->name, name) != 0)
        vm = vm->next;
    return vm;
}

static void vgpu_registry_limit(const struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    uint64_t total = mediator->driver.probe.memory_total;
    uint64_t quota = vm->limits.memory;

    if (quota == 0)
        quota = vgpu_config_memory_quota(&mediator->config, vm->name, total);
    vgpu_vm_limit(vm, quota < total ? quota : total);
}

void vgpu_registry_revoke(struct vgpu_mediator *mediator, const struct vgpu_vm *vm)
{
    for (struct vgpu_session *session = mediator->sessions; session; session = session->next) {
        if (session->vm != vm || session->state != VGPU_SESSION_ATTACHED)
            continue;
        vgpu_channels_revoke(session);
        if (session->primitive.runs)
            vgpu_worker_kill(&session->primitive.worker);
    }
}

static void vgpu_registry_copy(struct vgpu_mediator *mediator, struct vgpu_vm *vm,
                               const struct vgpu_store_vm *record)
{
    struct vgpu_counters counters;

    if (vm->pool != record->pool) {
        vgpu_session_count(mediator, vm, &counters);
        vgpu_pool_usage_add(mediator, vm, &counters);
    }
    vm->registered = true;
    vm->pool = record->pool;
    vm->priority = record->priority;
    vm->limits = record->limits;
    vm->quarantined = record->quarantined;
    vm->strikes = record->strikes;
    vm->struck = record->struck;
    memcpy(vm->uuid, record->uuid, sizeof(vm->uuid));
    memcpy(vm->reason, record->reason, sizeof(vm->reason));
    vgpu_registry_limit(mediator, vm);
    vgpu_lease_attach(&mediator->leases, vm);
    vgpu_watchdog_set(mediator, vm);
}

static void vgpu_registry_reserve(struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    struct vgpu_reservation wanted = vgpu_config_reservation(&mediator->config, vm->name);

    if (vgpu_lease_reserve(&mediator->leases, vm, wanted.period, wanted.budget))
        vgpu_log(
            VGPU_LOG_WARNING,
            "VM %s: no room for its reservation of %u ms in %u: reservations may not take more "
            "than 90 %% of the GPU together",
            vm->name, wanted.budget, wanted.period);
}

void vgpu_registry_place(struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    const struct vgpu_session *device = mediator->sessions;
    enum vgpu_priority priority;

    while (device &&
           (device->vm != vm || !device->is_device || device->state == VGPU_SESSION_ENDED))
        device = device->next;
    if (!vm->registered) {
        vm->pool = device ? device->hello.pool : 'A';
        vm->priority = device ? device->hello.priority : VGPU_PRIORITY_MEDIUM;
    }
    if (!vm->registered && vgpu_config_priority(&mediator->config, vm->name, &priority))
        vm->priority = priority;
    vgpu_lease_attach(&mediator->leases, vm);
    vgpu_registry_reserve(mediator, vm);
}

int vgpu_registry_load(struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    struct vgpu_store_vm record = {0};
    int error;

    if (!mediator->store)
        return 0;
    error = vgpu_store_find_vm(mediator->store, vm->name, NULL, &record);
    vgpu_registry_catch_up(vm, &record);
    if (!error)
        vgpu_registry_copy(mediator, vm, &record);
    else if (error != -ENOENT)
        vgpu_log(VGPU_LOG_ERROR, "cannot read VM %s from the store: %s", vm->name,
                 vgpu_store_error(mediator->store));
    return error == -ENOENT ? 0 : error;
}

void vgpu_registry_catch_up(const struct vgpu_vm *vm, struct vgpu_store_vm *record)
{
    if (!vm || !vm->unkept)
        return;
    record->quarantined = vm->quarantined;
    record->strikes = vm->strikes;
    record->struck = vm->struck;
    memcpy(record->reason, vm->reason, sizeof(record->reason));
}

void vgpu_registry_apply(struct vgpu_mediator *mediator, const struct vgpu_store_vm *record)
{
    struct vgpu_vm *vm = vgpu_registry_seen(mediator, record->name);

    if (!vm)
        return;
    vgpu_registry_copy(mediator, vm, record);
    vm->unkept = false;
    if (vm->quarantined)
        vgpu_registry_revoke(mediator, vm);
}

void vgpu_registry_refresh(struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    vm->max_channels = vgpu_config_max_channels(&mediator->config, vm->name);
    if (!vm->registered)
        vgpu_config_limits(&mediator->config, vm->name, &vm->limits);
    vgpu_registry_limit(mediator, vm);
    vgpu_registry_place(mediator, vm);
    vgpu_watchdog_set(mediator, vm);
}

void vgpu_registry_forget(struct vgpu_mediator *mediator, const char *name)
{
    struct vgpu_vm *vm = vgpu_registry_seen(mediator, name);

    if (!vm)
        return;
    vm->registered = false;
    vm->uuid[0] = '\0';
    vgpu_registry_refresh(mediator, vm);
}
