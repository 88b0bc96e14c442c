/* SPDX-License-Identifier: MIT */
/** Metrics of the mediator, of pools, of the GPU and of the process. */
#include "mediator/metrics/families.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LABELS(...)                                                                                \
    (const struct vgpu_label[])                                                                    \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }

static void write_build(struct vgpu_text *text, const char *name,
                        const struct vgpu_metrics *metrics)
{
    const struct vgpu_driver *driver = &metrics->mediator->driver;
    char cuda[32], protocol[32];

    snprintf(cuda, sizeof(cuda), "%u.%u", driver->probe.driver_version / 1000,
             driver->probe.driver_version % 1000 / 10);
    snprintf(protocol, sizeof(protocol), "%u/%016llx", VGPU_PROTOCOL_VERSION,
             (unsigned long long)VGPU_PROTOCOL_HASH);
    vgpu_text_number(text, name,
                     LABELS({"version", VGPU_VERSION}, {"protocol", protocol},
                            {"driver", vgpu_driver_name(driver)},
                            {"driver_version", metrics->health.driver}, {"cuda_version", cuda}),
                     1);
}

static void write_gpu_info(struct vgpu_text *text, const char *name,
                           const struct vgpu_metrics *metrics)
{
    const struct vgpu_worker_probe *probe = &metrics->mediator->driver.probe;
    const char *uuid = metrics->gpu_uuid;
    char place[48];

    snprintf(place, sizeof(place), "%08X:%02X:%02X.0", probe->pci_domain, probe->pci_bus,
             probe->pci_device);
    vgpu_text_number(text, name,
                     LABELS({"gpu_uuid", uuid}, {"uuid", uuid + 4}, {"pci_bus_id", place},
                            {"model", probe->gpu}),
                     1);
}

static void write_gpu_memory(struct vgpu_text *text, const char *name,
                             const struct vgpu_metrics *metrics)
{
    vgpu_text_number(text, name, LABELS({"gpu_uuid", metrics->gpu_uuid}),
                     metrics->mediator->driver.probe.memory_total);
}

static void write_gpu_busy(struct vgpu_text *text, const char *name,
                           const struct vgpu_metrics *metrics)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < metrics->count; i++)
        sum += metrics->vm[i].counters.gpu_nanoseconds;
    vgpu_text_fraction(text, name, LABELS({"gpu_uuid", metrics->gpu_uuid}), sum, 9);
}

static void write_scrubbed(struct vgpu_text *text, const char *name,
                           const struct vgpu_metrics *metrics)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < metrics->count; i++)
        sum += metrics->vm[i].counters.bytes_cleared;
    vgpu_text_number(text, name, NULL, sum);
}

/* Pools are there as long as they have, or had, a VM. */

static void for_pools(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics,
                      void (*write)(struct vgpu_text *text, const char *name,
                                    const struct vgpu_metrics *metrics, uint32_t pool,
                                    struct vgpu_label *labels))
{
    for (uint32_t i = 0; i < VGPU_POOLS; i++) {
        const char letter[] = {(char)('A' + i), '\0'};
        struct vgpu_label labels[3] = {{"pool", letter}, {NULL, NULL}, {NULL, NULL}};
        bool there = metrics->pools[i].calls != 0;

        for (uint32_t k = 0; k < metrics->count && !there; k++)
            there = metrics->vm[k].vm->pool == 'A' + i;
        if (there)
            write(text, name, metrics, i, labels);
    }
}

static void pool_weight(struct vgpu_text *text, const char *name,
                        const struct vgpu_metrics *metrics, uint32_t pool,
                        struct vgpu_label *labels)
{
    vgpu_text_fraction(text, name, labels, metrics->mediator->leases.pools[pool].weight, 2);
}

static void pool_vms(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics,
                     uint32_t pool, struct vgpu_label *labels)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < metrics->count; i++)
        count += metrics->vm[i].vm->pool == 'A' + pool;
    vgpu_text_number(text, name, labels, count);
}

static void pool_memory(struct vgpu_text *text, const char *name,
                        const struct vgpu_metrics *metrics, uint32_t pool,
                        struct vgpu_label *labels)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < metrics->count; i++)
        sum += metrics->vm[i].vm->pool == 'A' + pool ? vgpu_vm_memory_used(metrics->vm[i].vm) : 0;
    vgpu_text_number(text, name, labels, sum);
}

static void pool_calls(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics,
                       uint32_t pool, struct vgpu_label *labels)
{
    vgpu_text_number(text, name, labels, metrics->pools[pool].calls);
}

static void pool_busy(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics,
                      uint32_t pool, struct vgpu_label *labels)
{
    vgpu_text_fraction(text, name, labels, metrics->pools[pool].gpu_nanoseconds, 9);
}

static void pool_bytes(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics,
                       uint32_t pool, struct vgpu_label *labels)
{
    labels[1] = (struct vgpu_label){"direction", "h2d"};
    vgpu_text_number(text, name, labels, metrics->pools[pool].bytes_to_device);
    labels[1].value = "d2h";
    vgpu_text_number(text, name, labels, metrics->pools[pool].bytes_from_device);
}

#define POOL_FAMILY(quantity)                                                                      \
    static void write_pool_##quantity(struct vgpu_text *text, const char *name,                    \
                                      const struct vgpu_metrics *metrics)                          \
    {                                                                                              \
        for_pools(text, name, metrics, pool_##quantity);                                           \
    }
POOL_FAMILY(weight)
POOL_FAMILY(vms)
POOL_FAMILY(memory)
POOL_FAMILY(calls)
POOL_FAMILY(busy)
POOL_FAMILY(bytes)

static void write_waiting(struct vgpu_text *text, const char *name,
                          const struct vgpu_metrics *metrics)
{
    vgpu_text_number(text, name, NULL, metrics->mediator->leases.scheduler.waiting_count);
}

static void write_refused(struct vgpu_text *text, const char *name,
                          const struct vgpu_metrics *metrics)
{
    vgpu_text_number(text, name, NULL, metrics->mediator->refused);
}

static void write_spares(struct vgpu_text *text, const char *name,
                         const struct vgpu_metrics *metrics)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < VGPU_CONFIG_SPARES_MAX; i++)
        count += metrics->mediator->spares.table[i].runs;
    vgpu_text_number(text, name, NULL, count);
}

static void write_cache(struct vgpu_text *text, const char *name,
                        const struct vgpu_metrics *metrics)
{
    if (metrics->mediator->images.folder >= 0)
        vgpu_text_number(text, name, NULL, metrics->mediator->images.bytes);
}

static void write_cache_limit(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics *metrics)
{
    if (metrics->mediator->images.folder >= 0)
        vgpu_text_number(text, name, NULL, metrics->mediator->images.limit);
}

static void write_events(struct vgpu_text *text, const char *name,
                         const struct vgpu_metrics *metrics)
{
    vgpu_text_number(text, name, NULL, metrics->mediator->events.count);
}

static void write_uptime(struct vgpu_text *text, const char *name,
                         const struct vgpu_metrics *metrics)
{
    vgpu_text_fraction(text, name, NULL, vgpu_loop_now() - metrics->mediator->started, 9);
}

static void write_cpu(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics)
{
    struct timespec used = {0};

    (void)metrics;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    vgpu_text_fraction(text, name, NULL,
                       (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec, 9);
}

static void write_resident(struct vgpu_text *text, const char *name,
                           const struct vgpu_metrics *metrics)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    (void)metrics;
    if (!file)
        return;
    if (fscanf(file, "%*u %llu", &pages) == 1)
        vgpu_text_number(text, name, NULL, pages * (uint64_t)sysconf(_SC_PAGESIZE));
    fclose(file);
}

static void write_descriptors(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics *metrics)
{
    DIR *folder = opendir("/proc/self/fd");
    uint64_t count = 0;

    (void)metrics;
    if (!folder)
        return;
    while (readdir(folder))
        count++;
    closedir(folder);
    vgpu_text_number(text, name, NULL, count > 3 ? count - 3 : 0); /* ., .. and the folder's own */
}

const struct vgpu_family vgpu_host_families[] = {
    {"vgpu_build_info", "gauge", "1; versions, in labels.", NULL, write_build},
    {"vgpu_gpu_info", "gauge", "1; which GPU it is, in labels.", NULL, write_gpu_info},
    {"vgpu_gpu_memory_total_bytes", "gauge", "Memory of the GPU.", NULL, write_gpu_memory},
    {"vgpu_gpu_busy_seconds_total", "counter",
     "Time in which the GPU was busy for VMs: the sum over VMs.", NULL, write_gpu_busy},
    {"vgpu_scrubbed_bytes_total", "counter",
     "GPU memory that was cleared before a VM got it; the software GPU's is clear.", NULL,
     write_scrubbed},
    {"vgpu_pool_weight_ratio", "gauge", "Weight of the pool, of 1.", NULL, write_pool_weight},
    {"vgpu_pool_vms", "gauge", "VMs of the pool that were seen.", NULL, write_pool_vms},
    {"vgpu_pool_memory_bytes", "gauge", "GPU memory that the pool's VMs have.", NULL,
     write_pool_memory},
    {"vgpu_pool_calls_total", "counter", "Calls of VMs while they were in the pool.", NULL,
     write_pool_calls},
    {"vgpu_pool_gpu_busy_seconds_total", "counter", "GPU time of VMs while they were in the pool.",
     NULL, write_pool_busy},
    {"vgpu_pool_bytes_total", "counter", "Bytes copied for VMs while they were in the pool.", NULL,
     write_pool_bytes},
    {"vgpu_scheduler_waiting_vms", "gauge", "VMs that wait for their turn at the GPU.", NULL,
     write_waiting},
    {"vgpu_refused_connections_total", "counter", "Connections that got no VM.", NULL,
     write_refused},
    {"vgpu_spare_workers", "gauge", "Workers that wait for a program.", NULL, write_spares},
    {"vgpu_image_cache_bytes", "gauge", "Images in the cache, some seconds ago.", NULL,
     write_cache},
    {"vgpu_image_cache_limit_bytes", "gauge", "How large the cache may become.", NULL,
     write_cache_limit},
    {"vgpu_events_total", "counter", "What happened, as in vgpu-admin events.", NULL, write_events},
    {"vgpu_mediator_uptime_seconds", "gauge", "Time since the mediator started.", NULL,
     write_uptime},
    {"process_cpu_seconds_total", "counter", "Processor time of the mediator.", NULL, write_cpu},
    {"process_resident_memory_bytes", "gauge", "Memory of the mediator.", NULL, write_resident},
    {"process_open_fds", "gauge", "Open descriptors of the mediator.", NULL, write_descriptors},
    {NULL, NULL, NULL, NULL, NULL},
};
