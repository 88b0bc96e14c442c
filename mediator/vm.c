/* SPDX-License-Identifier: MIT */
#include "mediator/vm.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mediator/shared.h"

int vgpu_vm_take(struct vgpu_vm **vms, const struct vgpu_config *config, uint64_t memory_total,
                 const char *name, struct vgpu_vm **out)
{
    struct vgpu_vm **place = vms;
    void *ledger;
    int error;

    for (; *place; place = &(*place)->next) {
        if (strcmp((*place)->name, name) == 0) {
            *out = *place;
            return 0;
        }
    }
    struct vgpu_vm *vm = calloc(1, sizeof(*vm));
    if (!vm)
        return -ENOMEM;
    error = vgpu_shared_create("vgpu-ledger", sizeof(*vm->ledger), &vm->ledger_fd, &ledger);
    if (error) {
        free(vm);
        return error;
    }
    vm->ledger = ledger;
    strncpy(vm->name, name, sizeof(vm->name) - 1);
    vm->pool = 'A';
    vm->priority = VGPU_PRIORITY_MEDIUM;
    vgpu_config_limits(config, name, &vm->limits);
    vgpu_vm_limit(vm, vgpu_config_memory_quota(config, name, memory_total));
    vgpu_tenant_init(&vm->tenant, NULL);
    vm->max_channels = vgpu_config_max_channels(config, name);
    vm->id = 1;
    for (const struct vgpu_vm *other = *vms; other; other = other->next)
        vm->id = other->id + 1; /* appended in order, and never removed */
    *place = vm;
    *out = vm;
    return 0;
}

void vgpu_vms_destroy(struct vgpu_vm **vms)
{
    while (*vms) {
        struct vgpu_vm *vm = *vms;

        *vms = vm->next;
        munmap(vm->ledger, sizeof(*vm->ledger));
        close(vm->ledger_fd);
        free(vm);
    }
}

uint64_t vgpu_vm_memory_used(const struct vgpu_vm *vm)
{
    return __atomic_load_n(&vm->ledger->used, __ATOMIC_RELAXED);
}

/** Takes back what a worker that has ended had added to a sum of the ledger; all of it with the
 * last worker, so that nothing that a worker has got wrong stays. */
static void vgpu_vm_take_back(const struct vgpu_vm *vm, uint64_t *sum, const uint64_t *added)
{
    uint64_t part = __atomic_load_n(added, __ATOMIC_RELAXED);
    uint64_t before = __atomic_load_n(sum, __ATOMIC_RELAXED);
    uint64_t left;

    /* Relaxed, as in the workers: the ledger is a sum and orders nothing. */
    do {
        left = vm->workers == 0 || part > before ? 0 : before - part;
    } while (
        !__atomic_compare_exchange_n(sum, &before, left, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void vgpu_vm_worker_ended(struct vgpu_vm *vm, const struct vgpu_worker_page *page)
{
    vm->workers--;
    vgpu_vm_take_back(vm, &vm->ledger->used, &page->memory_charged);
    vgpu_vm_take_back(vm, &vm->ledger->queued, &page->throttle.queued);
}

void vgpu_vm_limit(struct vgpu_vm *vm, uint64_t quota)
{
    struct vgpu_ledger_page *page = vm->ledger;

    /* Relaxed: workers compare with whatever they see, and what they hold already stays theirs. */
    __atomic_store_n(&page->quota, quota, __ATOMIC_RELAXED);
    __atomic_store_n(&page->queue_depth, vm->limits.queue_depth, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&page->rate, vm->limits.rate, __ATOMIC_RELAXED) != vm->limits.rate)
        /* what was to be waited for was so at another rate */
        __atomic_store_n(&page->free_at, 0, __ATOMIC_RELAXED);
}

static void vgpu_counter_add(uint64_t *counter, const uint64_t *shared)
{
    uint64_t value = __atomic_load_n(shared, __ATOMIC_RELAXED);

    if (__builtin_add_overflow(*counter, value, counter))
        *counter = UINT64_MAX;
}

static void vgpu_counters_add_histogram(struct vgpu_histogram *histogram,
                                        const struct vgpu_histogram *shared)
{
    vgpu_counter_add(&histogram->sum, &shared->sum);
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++)
        vgpu_counter_add(&histogram->bucket[i], &shared->bucket[i]);
}

void vgpu_counters_add_worker(struct vgpu_counters *counters, const struct vgpu_worker_page *page)
{
    vgpu_counter_add(&counters->calls, &page->calls_total);
    vgpu_counter_add(&counters->bytes_to_device, &page->bytes_to_device);
    vgpu_counter_add(&counters->bytes_from_device, &page->bytes_from_device);
    vgpu_counter_add(&counters->bytes_cleared, &page->bytes_cleared);
    vgpu_counter_add(&counters->gpu_nanoseconds, &page->gpu_nanoseconds);
    vgpu_counter_add(&counters->images_found, &page->images.found);
    vgpu_counter_add(&counters->images_missed, &page->images.missed);
    vgpu_counter_add(&counters->images_refused, &page->images.mismatched);
    vgpu_counter_add(&counters->images_poisoned, &page->images.poisoned);
    vgpu_counter_add(&counters->throttled, &page->throttle.throttled);
    vgpu_counter_add(&counters->throttled_nanoseconds, &page->throttle.nanoseconds);
    vgpu_counter_add(&counters->busy, &page->throttle.busy);
    for (uint32_t i = 0; i < VGPU_WORKER_CALLS_MAX; i++)
        vgpu_counter_add(&counters->call[i], &page->calls[i]);
    for (uint32_t i = 0; i < VGPU_CALL_CLASSES; i++) {
        vgpu_counter_add(&counters->failed[i], &page->failed[i]);
        vgpu_counters_add_histogram(&counters->times.call[i], &page->times.call[i]);
    }
    vgpu_counters_add_histogram(&counters->times.wait, &page->times.wait);
}

void vgpu_counters_add_latency(struct vgpu_counters *counters, uint32_t seen[VGPU_LATENCY_BUCKETS],
                               int window, uint64_t offset)
{
    uint32_t latency[VGPU_LATENCY_BUCKETS];
    uint64_t place = offset + offsetof(struct vgpu_channel_header, latency);

    if (pread(window, latency, sizeof(latency), (off_t)place) != sizeof(latency))
        return;
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++) {
        uint64_t grown = (uint32_t)(latency[i] - seen[i]); /* they wrap around after some hours */

        seen[i] = latency[i];
        vgpu_counter_add(&counters->latency[i], &grown);
    }
}

void vgpu_counters_classes(const struct vgpu_counters *counters, uint64_t calls[VGPU_CALL_CLASSES])
{
    memset(calls, 0, VGPU_CALL_CLASSES * sizeof(*calls));
    for (uint32_t i = 0; i < VGPU_WORKER_CALLS_MAX; i++)
        vgpu_counter_add(&calls[vgpu_call_class(i)], &counters->call[i]);
}

void vgpu_counters_execution(const struct vgpu_counters *counters,
                             uint64_t buckets[VGPU_LATENCY_BUCKETS])
{
    uint64_t calls[VGPU_CALL_CLASSES];

    vgpu_counters_classes(counters, calls);
    memset(buckets, 0, VGPU_LATENCY_BUCKETS * sizeof(*buckets));
    for (uint32_t i = 0; i < VGPU_CALL_CLASSES; i++) {
        const uint64_t *timed = counters->times.call[i].bucket;
        double sum = 0;

        for (uint32_t k = 0; k < VGPU_LATENCY_BUCKETS; k++)
            sum += (double)timed[k];
        /* Each that was timed stands for as many of its class. */
        for (uint32_t k = 0; k < VGPU_LATENCY_BUCKETS && sum > 0; k++) {
            double share = (double)timed[k] / sum * (double)calls[i] + 0.5;
            uint64_t count = share < 1e15 ? (uint64_t)share : 1000000000000000u;

            vgpu_counter_add(&buckets[k], &count);
        }
    }
}

void vgpu_counters_keep(struct vgpu_counters *counters, struct vgpu_counters *most)
{
    uint64_t *now = (uint64_t *)counters, *before = (uint64_t *)most;

    static_assert(sizeof(*counters) % sizeof(uint64_t) == 0, "counters and nothing else");
    for (size_t i = 0; i < sizeof(*counters) / sizeof(uint64_t); i++) {
        if (now[i] < before[i])
            now[i] = before[i];
        else
            before[i] = now[i];
    }
}
