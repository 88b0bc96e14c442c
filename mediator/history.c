/* SPDX-License-Identifier: MIT */
#include "mediator/history.h"

#include <stdio.h>
#include <time.h>

#include "mediator/log.h"
#include "mediator/quarantine.h"
#include "mediator/session.h"
#include "mediator/store/history.h"

#define WRITE_MILLISECONDS 60000
#define KEPT_HOURS         (400u * 24)

const char *vgpu_fault_name(enum vgpu_fault kind)
{
    static const char *const names[VGPU_FAULTS] = {
        [VGPU_FAULT_CRASH] = "crash",
        [VGPU_FAULT_PROTOCOL] = "protocol",
        [VGPU_FAULT_DRIVER] = "driver",
        [VGPU_FAULT_HANG] = "hang",
    };

    return names[kind];
}

void vgpu_history_fault(struct vgpu_vm *vm, enum vgpu_fault kind, const char *detail)
{
    struct vgpu_vm_fault *fault = &vm->faults[kind];

    fault->count++;
    snprintf(fault->detail, sizeof(fault->detail), "%s", detail);
}

/** What a counter has grown by since it was written; it starts again if it has shrunk, which
 *  numbers of workers may. */
static uint64_t vgpu_history_grown(uint64_t now, uint64_t written)
{
    return now > written ? now - written : 0;
}

static int vgpu_history_write_usage(struct vgpu_mediator *mediator, const struct vgpu_vm *vm,
                                    const struct vgpu_counters *now, uint64_t hour)
{
    const struct vgpu_vm_written *written = &vm->written;
    const struct vgpu_store_usage usage = {
        .vm = vm->name,
        .hour = hour,
        .gpu_nanoseconds = vgpu_history_grown(now->gpu_nanoseconds, written->gpu_nanoseconds),
        .calls = vgpu_history_grown(now->calls, written->calls),
        .bytes_to_device = vgpu_history_grown(now->bytes_to_device, written->bytes_to_device),
        .bytes_from_device = vgpu_history_grown(now->bytes_from_device, written->bytes_from_device),
    };

    if (!usage.gpu_nanoseconds && !usage.calls)
        return 0;
    return vgpu_store_add_usage(mediator->store, &usage);
}

static int vgpu_history_write_faults(struct vgpu_mediator *mediator, const struct vgpu_vm *vm,
                                     uint64_t hour)
{
    int error = 0;

    for (uint32_t i = 0; i < VGPU_FAULTS && !error; i++) {
        const struct vgpu_store_faults faults = {
            .vm = vm->name,
            .hour = hour,
            .kind = vgpu_fault_name((enum vgpu_fault)i),
            .count = vm->faults[i].count - vm->written.faults[i],
            .detail = vm->faults[i].detail,
        };

        if (faults.count)
            error = vgpu_store_add_faults(mediator->store, &faults);
    }
    return error;
}

static void vgpu_history_note_written(struct vgpu_vm *vm, const struct vgpu_counters *now)
{
    vm->written = (struct vgpu_vm_written){
        .gpu_nanoseconds = now->gpu_nanoseconds,
        .calls = now->calls,
        .bytes_to_device = now->bytes_to_device,
        .bytes_from_device = now->bytes_from_device,
    };
    for (uint32_t i = 0; i < VGPU_FAULTS; i++)
        vm->written.faults[i] = vm->faults[i].count;
}

int vgpu_history_write(struct vgpu_mediator *mediator)
{
    uint64_t hour = (uint64_t)time(NULL) / 3600;
    int error;

    if (!mediator->store)
        return 0;
    error = vgpu_store_begin(mediator->store);
    if (error)
        return error;
    if (hour > KEPT_HOURS && hour != mediator->expired)
        error = vgpu_store_expire(mediator->store, hour - KEPT_HOURS);
    for (struct vgpu_vm *vm = mediator->vms; vm && !error; vm = vm->next) {
        vgpu_session_count(mediator, vm, &vm->counted);
        error = vgpu_history_write_usage(mediator, vm, &vm->counted, hour);
        if (!error)
            error = vgpu_history_write_faults(mediator, vm, hour);
    }
    if (error)
        vgpu_store_roll_back(mediator->store);
    else
        error = vgpu_store_commit(mediator->store);
    if (!error)
        mediator->expired = hour;
    for (struct vgpu_vm *vm = mediator->vms; vm && !error; vm = vm->next)
        vgpu_history_note_written(vm, &vm->counted);
    return error;
}

static void vgpu_history_due(struct vgpu_timer *timer)
{
    struct vgpu_mediator *mediator = vgpu_container(timer, struct vgpu_mediator, history);

    if (vgpu_history_write(mediator))
        vgpu_log(
            VGPU_LOG_ERROR,
            "cannot write usage to the store %s: %s; it tries again every minute; see the disk "
            "it is on",
            mediator->config.store, vgpu_store_error(mediator->store));
    vgpu_quarantine_keep_all(mediator);
    vgpu_timer_start(mediator->loop, timer, WRITE_MILLISECONDS);
}

int vgpu_history_open(struct vgpu_mediator *mediator)
{
    mediator->history.expired = vgpu_history_due;
    return mediator->store
               ? vgpu_timer_start(mediator->loop, &mediator->history, WRITE_MILLISECONDS)
               : 0;
}

void vgpu_history_close(struct vgpu_mediator *mediator)
{
    vgpu_timer_stop(mediator->loop, &mediator->history);
    if (vgpu_history_write(mediator))
        vgpu_log(VGPU_LOG_ERROR, "the usage since it was last written is lost: the store %s: %s",
                 mediator->config.store, vgpu_store_error(mediator->store));
    vgpu_quarantine_keep_all(mediator);
}
