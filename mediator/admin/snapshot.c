/* SPDX-License-Identifier: MIT */
/** The text that vgpu-status shows. */
#include "mediator/admin/admin.h"

#include <stddef.h>

#include "mediator/session.h"
#include "protocol/calls.h"
#include "protocol/latency.h"

static void vgpu_admin_print_mediator(const struct vgpu_mediator *mediator, FILE *out)
{
    const struct vgpu_driver *driver = &mediator->driver;

    fprintf(out, "version\tprotocol\tdriver\tlibrary\tgpu\tdriver_version\tmemory_total\tuptime_ns"
                 "\trefused\n");
    fprintf(out, "%s\t%016llx\t%s\t%s\t%s\t%u\t%llu\t%llu\t%llu\n\n", VGPU_VERSION,
            (unsigned long long)VGPU_PROTOCOL_HASH, vgpu_driver_name(driver), driver->library,
            driver->probe.gpu, driver->probe.driver_version,
            (unsigned long long)driver->probe.memory_total,
            (unsigned long long)(vgpu_loop_now() - mediator->started),
            (unsigned long long)mediator->refused);
}

static void vgpu_admin_print_vm(struct vgpu_mediator *mediator, struct vgpu_vm *vm, FILE *out)
{
    struct vgpu_counters counters;
    uint64_t round_trips = 0;

    vgpu_session_count(mediator, vm, &counters);
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++)
        round_trips += counters.latency[i];
    fprintf(out, "%s\t%u\t%s\t%c\t%u\t%u\t%u\t%u\t%u", vm->name, vm->id,
            vm->sessions ? "connected" : "away", (int)vm->pool, vm->priority, vm->sessions,
            vm->channels_open, vm->channels_failed, vm->workers);
    const uint64_t numbers[] = {
        counters.calls,
        counters.bytes_to_device,
        counters.bytes_from_device,
        counters.gpu_nanoseconds,
        vgpu_latency_percentile(counters.latency, 0.50),
        vgpu_latency_percentile(counters.latency, 0.99),
        round_trips,
        vgpu_vm_memory_used(vm),
        vm->ledger->quota,
        vm->refused,
        vm->garbage,
        counters.images_found,
        counters.images_missed,
        counters.images_refused,
        counters.images_poisoned,
        vm->tenant.weight,
        vm->leases,
        counters.throttled,
        counters.throttled_nanoseconds,
        counters.busy,
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        fprintf(out, "\t%llu", (unsigned long long)numbers[i]);
    fputc('\n', out);
}

void vgpu_admin_snapshot(struct vgpu_mediator *mediator, FILE *out)
{
    vgpu_admin_print_mediator(mediator, out);
    fprintf(out, "vm\tid\tstate\tpool\tpriority\tsessions\tchannels_open\tchannels_failed\tworkers"
                 "\tcalls\tbytes_to_device\tbytes_from_device\tgpu_ns\tp50_ns\tp99_ns\tround_trips"
                 "\tmemory_used\tmemory_quota\trefused\tgarbage"
                 "\timages_found\timages_missed\timages_refused\timages_poisoned\tweight\tleases"
                 "\tthrottled\tthrottled_ns\tbusy\n");
    for (struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next)
        vgpu_admin_print_vm(mediator, vm, out);
}
