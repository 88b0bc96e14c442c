/* SPDX-License-Identifier: MIT */
/** Metrics of each VM; `domain` is its name, which is libvirt's where libvirt runs it. */
#include "mediator/metrics/families.h"

#include "mediator/history.h"

#define LABELS(...)                                                                                \
    (const struct vgpu_label[])                                                                    \
    {                                                                                              \
        {"domain", vm->vm->name}, __VA_ARGS__                                                      \
        {                                                                                          \
            NULL, NULL                                                                             \
        }                                                                                          \
    }

static void write_info(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    const char pool[] = {(char)vm->vm->pool, '\0'};

    vgpu_text_number(text, name,
                     LABELS({"vm_uuid", vm->vm->uuid}, {"pool", pool},
                            {"priority", vgpu_priority_name((enum vgpu_priority)vm->vm->priority)},
                            {"gpu_uuid", vm->gpu_uuid}, ),
                     1);
}

static void write_connected(struct vgpu_text *text, const char *name,
                            const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->sessions > 0);
}

static void write_quarantined(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->quarantined != 0);
}

static void write_weight(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    vgpu_text_fraction(text, name, LABELS(), vm->vm->limits.weight, 2);
}

static void write_share_cap(struct vgpu_text *text, const char *name,
                            const struct vgpu_metrics_vm *vm)
{
    vgpu_text_fraction(text, name, LABELS(), vm->vm->limits.share_cap, 2);
}

static void write_rate_limit(struct vgpu_text *text, const char *name,
                             const struct vgpu_metrics_vm *vm)
{
    if (vm->vm->limits.rate)
        vgpu_text_number(text, name, LABELS(), vm->vm->limits.rate);
}

static void write_queue_limit(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics_vm *vm)
{
    if (vm->vm->limits.queue_depth)
        vgpu_text_number(text, name, LABELS(), vm->vm->limits.queue_depth);
}

/** Calls that wait are only counted while there is a limit. */
static void write_queue_depth(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics_vm *vm)
{
    if (vm->vm->limits.queue_depth)
        vgpu_text_number(text, name, LABELS(),
                         __atomic_load_n(&vm->vm->ledger->queued, __ATOMIC_RELAXED));
}

static void write_calls(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    uint64_t calls[VGPU_CALL_CLASSES];

    vgpu_counters_classes(&vm->counters, calls);
    for (uint32_t i = 0; i < VGPU_CALL_CLASSES; i++) {
        const char *label = vgpu_call_class_name((enum vgpu_call_class)i);
        uint64_t failed = vm->counters.failed[i];

        /* A worker counts a call before it counts that it failed. */
        failed = failed < calls[i] ? failed : calls[i];
        vgpu_text_number(text, name, LABELS({"class", label}, {"result", "ok"}, ),
                         calls[i] - failed);
        vgpu_text_number(text, name, LABELS({"class", label}, {"result", "error"}, ), failed);
    }
}

static void write_gpu_busy(struct vgpu_text *text, const char *name,
                           const struct vgpu_metrics_vm *vm)
{
    vgpu_text_fraction(text, name, LABELS(), vm->counters.gpu_nanoseconds, 9);
}

static void write_bytes(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS({"direction", "h2d"}, ), vm->counters.bytes_to_device);
    vgpu_text_number(text, name, LABELS({"direction", "d2h"}, ), vm->counters.bytes_from_device);
}

static void write_memory(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vgpu_vm_memory_used(vm->vm));
}

static void write_memory_limit(struct vgpu_text *text, const char *name,
                               const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->ledger->quota);
}

static void write_wait(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    vgpu_text_histogram(text, name, LABELS(), &vm->counters.times.wait, 1);
}

/** Classes of which no call was ever timed are left out: most VMs use few of them. */
static void write_durations(struct vgpu_text *text, const char *name,
                            const struct vgpu_metrics_vm *vm)
{
    for (uint32_t i = 0; i < VGPU_CALL_CLASSES; i++) {
        if (vm->counters.times.call[i].sum)
            vgpu_text_histogram(text, name,
                                LABELS({"class", vgpu_call_class_name((enum vgpu_call_class)i)}, ),
                                &vm->counters.times.call[i], 2);
    }
}

static void write_round_trips(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics_vm *vm)
{
    struct vgpu_histogram histogram = {0};

    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++) {
        uint64_t least = vgpu_latency_floor(i), product;

        histogram.bucket[i] = vm->counters.latency[i];
        /* Guests keep no sum: each is taken to be as long as the middle of its bucket. */
        if (__builtin_mul_overflow(histogram.bucket[i], least + least / 8, &product) ||
            __builtin_add_overflow(histogram.sum, product, &histogram.sum))
            histogram.sum = UINT64_MAX;
    }
    vgpu_text_histogram(text, name, LABELS(), &histogram, 1);
}

static void write_throttles(struct vgpu_text *text, const char *name,
                            const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS({"limit", "rate"}, ), vm->counters.throttled);
    vgpu_text_number(text, name, LABELS({"limit", "queue"}, ), vm->counters.busy);
}

static void write_throttled_seconds(struct vgpu_text *text, const char *name,
                                    const struct vgpu_metrics_vm *vm)
{
    vgpu_text_fraction(text, name, LABELS(), vm->counters.throttled_nanoseconds, 9);
}

static void write_strikes(struct vgpu_text *text, const char *name,
                          const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->strikes);
}

static void write_faults(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    for (uint32_t i = 0; i < VGPU_FAULTS; i++)
        vgpu_text_number(text, name, LABELS({"kind", vgpu_fault_name((enum vgpu_fault)i)}, ),
                         vm->vm->faults[i].count);
}

static void write_leases(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->leases);
}

static void write_lease_state(struct vgpu_text *text, const char *name,
                              const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS({"state", "held"}, ), vm->vm->has_lease);
    vgpu_text_number(text, name, LABELS({"state", "waiting"}, ),
                     vm->vm->tenant.state == VGPU_TENANT_WAITS ||
                         vm->vm->tenant.state == VGPU_TENANT_CAPPED);
}

static void write_channels(struct vgpu_text *text, const char *name,
                           const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->channels_open);
}

static void write_channels_lost(struct vgpu_text *text, const char *name,
                                const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->channels_failed);
}

static void write_workers(struct vgpu_text *text, const char *name,
                          const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->workers);
}

static void write_refused(struct vgpu_text *text, const char *name,
                          const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->refused);
}

static void write_violations(struct vgpu_text *text, const char *name,
                             const struct vgpu_metrics_vm *vm)
{
    vgpu_text_number(text, name, LABELS(), vm->vm->garbage);
}

static void write_images(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm)
{
    const struct vgpu_counters *counters = &vm->counters;

    vgpu_text_number(text, name, LABELS({"result", "hit"}, ), counters->images_found);
    vgpu_text_number(text, name, LABELS({"result", "miss"}, ), counters->images_missed);
    vgpu_text_number(text, name, LABELS({"result", "refused"}, ), counters->images_refused);
    vgpu_text_number(text, name, LABELS({"result", "poisoned"}, ), counters->images_poisoned);
}

const struct vgpu_family vgpu_vm_families[] = {
    {"vgpu_vm_info", "gauge", "1; what is known of the VM, in labels.", write_info, NULL},
    {"vgpu_vm_connected", "gauge", "1 if the VM is connected.", write_connected, NULL},
    {"vgpu_vm_quarantined", "gauge", "1 if the VM may not use the GPU.", write_quarantined, NULL},
    {"vgpu_vm_weight_ratio", "gauge", "Weight of the VM, of 1.", write_weight, NULL},
    {"vgpu_vm_share_cap_ratio", "gauge", "Most of the GPU's time that the VM may have; 1: all.",
     write_share_cap, NULL},
    {"vgpu_vm_rate_limit_calls_per_second", "gauge",
     "Calls that the VM may make in a second; absent: as many as it likes.", write_rate_limit,
     NULL},
    {"vgpu_vm_queue_limit", "gauge",
     "Calls of the VM that may wait; absent: as many as the ring holds.", write_queue_limit, NULL},
    {"vgpu_vm_queue_depth", "gauge", "Calls of the VM that wait; absent without a limit.",
     write_queue_depth, NULL},
    {"vgpu_vm_calls_total", "counter", "Calls of the VM that reached a worker.", write_calls, NULL},
    {"vgpu_vm_gpu_busy_seconds_total", "counter",
     "The VM's share of the time in which the GPU was busy: all VMs together have all of it.",
     write_gpu_busy, NULL},
    {"vgpu_vm_bytes_total", "counter", "Bytes copied between the VM's memory and the GPU's.",
     write_bytes, NULL},
    {"vgpu_vm_memory_bytes", "gauge", "GPU memory that the VM has.", write_memory, NULL},
    {"vgpu_vm_memory_limit_bytes", "gauge", "GPU memory that the VM may have.", write_memory_limit,
     NULL},
    {"vgpu_vm_queue_wait_seconds", "histogram",
     "How long calls waited for the worker, leases included; a sample of them.", write_wait, NULL},
    {"vgpu_vm_call_duration_seconds", "histogram",
     "How long calls took in the worker and the driver; a sample of the frequent classes.",
     write_durations, NULL},
    {"vgpu_vm_round_trip_seconds", "histogram",
     "How long the VM waited for answers, as it says itself; the sum is estimated.",
     write_round_trips, NULL},
    {"vgpu_vm_throttles_total", "counter",
     "Times that calls had to wait because of a limit of the VM.", write_throttles, NULL},
    {"vgpu_vm_throttled_seconds_total", "counter", "Time that calls waited for the VM's rate.",
     write_throttled_seconds, NULL},
    {"vgpu_vm_strikes", "gauge", "Faults that count towards a quarantine.", write_strikes, NULL},
    {"vgpu_vm_faults_total", "counter", "Workers that the VM has lost, by why.", write_faults,
     NULL},
    {"vgpu_vm_leases_total", "counter", "Turns at the GPU that the VM has had.", write_leases,
     NULL},
    {"vgpu_vm_lease_state", "gauge", "1: the VM is in this state.", write_lease_state, NULL},
    {"vgpu_vm_channels", "gauge", "Open channels, one for each program that uses the GPU.",
     write_channels, NULL},
    {"vgpu_vm_channels_lost_total", "counter", "Channels that ended without being closed.",
     write_channels_lost, NULL},
    {"vgpu_vm_workers", "gauge", "Processes that work for the VM.", write_workers, NULL},
    {"vgpu_vm_refused_requests_total", "counter", "Connections and requests that were turned down.",
     write_refused, NULL},
    {"vgpu_vm_protocol_violations_total", "counter", "What no honest guest would have sent.",
     write_violations, NULL},
    {"vgpu_vm_image_cache_total", "counter",
     "Code that the VM loaded, by whether it was in the cache.", write_images, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
