/* SPDX-License-Identifier: MIT */
#include "mediator/device_status.h"

#include <stdio.h>
#include <string.h>

#include "mediator/health.h"

#define WATCH_MILLISECONDS 1000

static uint32_t vgpu_device_walk(const struct vgpu_session *session, uint32_t first,
                                 struct vgpu_mailbox_processes *processes)
{
    uint32_t seen = 0;

    for (const struct vgpu_session *other = session->mediator->sessions; other;
         other = other->next) {
        if (other->vm != session->vm)
            continue;
        for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++) {
            const struct vgpu_channel *channel = other->channels[i];
            if (!channel || channel->life != VGPU_CHANNEL_ALIVE)
                continue;
            if (processes && seen >= first && processes->count < VGPU_PROCESSES_MAX)
                processes->process[processes->count++] = (struct vgpu_process_use){
                    .memory =
                        __atomic_load_n(&channel->worker.page->memory_charged, __ATOMIC_RELAXED),
                    .process = channel->process,
                };
            seen++;
        }
    }
    return seen;
}

void vgpu_device_processes(const struct vgpu_session *session, uint32_t first,
                           struct vgpu_mailbox_processes *processes)
{
    vgpu_device_walk(session, first, processes);
}

void vgpu_device_status(const struct vgpu_session *session, struct vgpu_mailbox_device *device)
{
    const struct vgpu_mediator *mediator = session->mediator;
    const struct vgpu_worker_probe *probe = &mediator->driver.probe;

    *device = (struct vgpu_mailbox_device){
        .memory_quota = session->vm->ledger->quota,
        .memory_used = vgpu_vm_memory_used(session->vm),
        .busy = session->vm->busy,
        .processes = vgpu_device_walk(session, 0, NULL),
        .cuda_version = probe->driver_version,
        .capability = probe->capability,
        .pci_domain = probe->pci_domain,
        .pci_bus = probe->pci_bus,
        .pci_device = probe->pci_device,
    };
    memcpy(device->uuid, probe->uuid, sizeof(device->uuid));
    memcpy(device->gpu, probe->gpu, sizeof(device->gpu));
    snprintf(device->driver, sizeof(device->driver), "%s", VGPU_VERSION);
    vgpu_health_read(mediator->health, device);
}

static void vgpu_device_measure(struct vgpu_timer *timer)
{
    struct vgpu_mediator *mediator = vgpu_container(timer, struct vgpu_mediator, watch);
    uint64_t now = vgpu_loop_now(), passed = now - mediator->measured;

    for (struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next) {
        struct vgpu_counters counters;
        vgpu_session_count(mediator, vm, &counters);
        vgpu_pool_usage_add(mediator, vm, &counters);
        uint64_t worked = counters.gpu_nanoseconds - vm->measured;
        uint64_t share =
            passed && counters.gpu_nanoseconds >= vm->measured ? worked / (passed / 100 + 1) : 0;
        vm->busy = share > 100 ? 100 : (uint32_t)share;
        vm->measured = counters.gpu_nanoseconds;
    }
    mediator->measured = now;
    vgpu_health_watch(mediator);
    vgpu_timer_start(mediator->loop, timer, WATCH_MILLISECONDS);
}

int vgpu_device_watch(struct vgpu_mediator *mediator)
{
    mediator->measured = vgpu_loop_now();
    mediator->watch.expired = vgpu_device_measure;
    return vgpu_timer_start(mediator->loop, &mediator->watch, WATCH_MILLISECONDS);
}
