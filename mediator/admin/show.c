/* SPDX-License-Identifier: MIT */
/** Verbs that only look: at what VMs use, at the GPU, at connections, at what happened. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mediator/admin/call.h"
#include "mediator/health.h"
#include "mediator/history.h"
#include "mediator/registry.h"
#include "mediator/session.h"
#include "protocol/channel.h"
#include "protocol/latency.h"

/** Whether `vm` is the one that was asked for, if one was. */
static bool vgpu_admin_wants(const struct vgpu_admin_call *call, const struct vgpu_vm *vm)
{
    return !*call->vm.name || (vm && strcmp(call->vm.name, vm->name) == 0);
}

/** An array as the result; false, after a failure, if the VM asked for was never seen. */
static bool vgpu_admin_start_list(struct vgpu_admin_call *call)
{
    bool registered;

    if (!vgpu_admin_take_optional(call, &registered))
        return false;
    call->result = json_array();
    if (!*call->vm.name || vgpu_registry_seen(call->mediator, call->vm.name))
        return true;
    vgpu_admin_fail(call, "not-found",
                    "VM %.63s has not connected since the mediator started; see vgpu-admin "
                    "list-vms",
                    call->vm.name);
    return false;
}

/** PREFIXp50_ns and so on: of durations in these buckets. */
static void vgpu_admin_put_percentiles(json_t *row, const char *prefix, const uint64_t *buckets)
{
    static const uint32_t percents[] = {50, 95, 99};
    char key[64];

    for (size_t i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
        snprintf(key, sizeof(key), "%sp%u_ns", prefix, percents[i]);
        vgpu_admin_put_number(row, key, vgpu_latency_percentile(buckets, percents[i] / 100.0));
    }
}

/** faults_crash and so on. */
static void vgpu_admin_put_faults(json_t *row, const struct vgpu_vm *vm)
{
    char key[64];

    for (uint32_t i = 0; i < VGPU_FAULTS; i++) {
        snprintf(key, sizeof(key), "faults_%s", vgpu_fault_name((enum vgpu_fault)i));
        vgpu_admin_put_number(row, key, vm->faults[i].count);
    }
}

static json_t *vgpu_admin_metrics_row(struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    struct vgpu_counters counters;
    uint64_t round_trips = 0, execution[VGPU_LATENCY_BUCKETS];
    json_t *row = json_object();

    vgpu_session_count(mediator, vm, &counters);
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++)
        round_trips += counters.latency[i];
    vgpu_counters_execution(&counters, execution);
    vgpu_admin_put_text(row, "vm", vm->name);
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"busy_percent", vm->busy},
        {"gpu_ns", counters.gpu_nanoseconds},
        {"calls", counters.calls},
        {"to_device_bytes", counters.bytes_to_device},
        {"from_device_bytes", counters.bytes_from_device},
        {"memory_used_bytes", vgpu_vm_memory_used(vm)},
        {"memory_quota_bytes", vm->ledger->quota},
        {"round_trips", round_trips},
        {"channels", vm->channels_open},
        {"channels_lost", vm->channels_failed},
        {"refused", vm->refused},
        {"garbage", vm->garbage},
        {"images_found", counters.images_found},
        {"images_missed", counters.images_missed},
        {"images_refused", counters.images_refused},
        {"images_poisoned", counters.images_poisoned},
        {"leases", vm->leases},
        {"throttled", counters.throttled},
        {"throttled_for_ns", counters.throttled_nanoseconds},
        {"queue_full", counters.busy},
        {"strikes", vm->strikes},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        vgpu_admin_put_number(row, numbers[i].key, numbers[i].value);
    vgpu_admin_put_faults(row, vm);
    vgpu_admin_put_percentiles(row, "", counters.latency);
    vgpu_admin_put_percentiles(row, "wait_", counters.times.wait.bucket);
    vgpu_admin_put_percentiles(row, "execution_", execution);
    return row;
}

static void show_metrics(struct vgpu_admin_call *call)
{
    if (!vgpu_admin_start_list(call))
        return;
    for (struct vgpu_vm *vm = call->mediator->vms; vm; vm = vm->next) {
        if (vgpu_admin_wants(call, vm))
            json_array_append_new(call->result, vgpu_admin_metrics_row(call->mediator, vm));
    }
}

static const struct {
    const char *key;
    enum vgpu_reading reading;
} vgpu_admin_readings[] = {
    {"temperature_celsius", VGPU_READING_TEMPERATURE},
    {"temperature_slowdown_celsius", VGPU_READING_TEMPERATURE_SLOWDOWN},
    {"memory_temperature_celsius", VGPU_READING_TEMPERATURE_MEMORY},
    {"power_milliwatts", VGPU_READING_POWER},
    {"power_limit_milliwatts", VGPU_READING_POWER_LIMIT_ENFORCED},
    {"clock_sm_mhz", VGPU_READING_CLOCK_SM},
    {"clock_memory_mhz", VGPU_READING_CLOCK_MEMORY},
    {"clock_event_reasons", VGPU_READING_CLOCK_EVENTS},
    {"ecc", VGPU_READING_ECC},
    {"ecc_uncorrected", VGPU_READING_ECC_UNCORRECTED},
    {"ecc_corrected", VGPU_READING_ECC_CORRECTED},
};

/** Errors of the GPU since the mediator started: "79 (1), 31 (4)". */
static void vgpu_admin_put_xids(json_t *row, const struct vgpu_health_state *health)
{
    char text[VGPU_HEALTH_XIDS * 44] = "";
    size_t length = 0;

    for (uint32_t i = 0; i < health->xid_count; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%llu (%llu)",
                                   i ? ", " : "", (unsigned long long)health->xid[i].number,
                                   (unsigned long long)health->xid[i].count);
    vgpu_admin_put_text(row, "xid_errors", text);
}

static void vgpu_admin_put_readings(struct vgpu_admin_call *call, json_t *row,
                                    const struct vgpu_health_state *health)
{
    for (size_t i = 0; i < sizeof(vgpu_admin_readings) / sizeof(*vgpu_admin_readings); i++) {
        enum vgpu_reading reading = vgpu_admin_readings[i].reading;

        if (health->known & 1ull << reading)
            vgpu_admin_put_number(row, vgpu_admin_readings[i].key, health->reading[reading]);
    }
    if (health->has_utilization)
        vgpu_admin_put_number(row, "busy_percent", health->utilization);
    if (health->has_memory)
        vgpu_admin_put_number(row, "memory_used_bytes", health->memory_used);
    if (health->age)
        vgpu_admin_put_number(row, "readings_age_ns", health->age);
    if (health->xid_count)
        vgpu_admin_put_xids(row, health);
    if (health->trouble)
        vgpu_admin_note(call, "%s", health->trouble);
    if (health->known & 1ull << VGPU_READING_ECC && !health->reading[VGPU_READING_ECC])
        vgpu_admin_note(call, "ECC is off: errors of memory, and those that a neighbour provokes, "
                              "go unnoticed");
}

static void show_health(struct vgpu_admin_call *call)
{
    const struct vgpu_mediator *mediator = call->mediator;
    const struct vgpu_worker_probe *probe = &mediator->driver.probe;
    struct vgpu_health_state health;
    json_t *row = json_object();

    vgpu_health_look(mediator->health, &health);
    vgpu_admin_put_text(row, "health", health.trouble ? "trouble" : "good");
    vgpu_admin_put_text(row, "mediator", VGPU_VERSION);
    vgpu_admin_put_number(row, "uptime_ns", vgpu_loop_now() - mediator->started);
    vgpu_admin_put_text(row, "gpu", probe->gpu);
    vgpu_admin_put_text(row, "driver", vgpu_driver_name(&mediator->driver));
    vgpu_admin_put_text(row, "driver_version", health.driver);
    vgpu_admin_put_number(row, "cuda_version", probe->driver_version);
    vgpu_admin_put_number(row, "memory_total_bytes", probe->memory_total);
    vgpu_admin_put_text(row, "scheduler", mediator->config.scheduler->name);
    vgpu_admin_put_text(row, "store", *mediator->config.store ? mediator->config.store : "none");
    vgpu_admin_put_number(row, "refused_connections", mediator->refused);
    vgpu_admin_put_readings(call, row, &health);
    if (!mediator->health)
        vgpu_admin_note(call, "readings of the GPU are not known: no management library");
    call->result = row;
}

/** What a channel's ring says; it is the guest's memory, so these are numbers to show. */
static json_t *vgpu_admin_queue_row(const struct vgpu_session *session,
                                    const struct vgpu_channel *channel)
{
    struct vgpu_ring_indices ring = {0};
    json_t *row = json_object();

    if (pread(session->window_fd, &ring, sizeof(ring), (off_t)channel->offset) != sizeof(ring))
        ring = (struct vgpu_ring_indices){0};
    uint64_t waiting = ring.tail - ring.head;
    vgpu_admin_put_text(row, "vm", session->vm->name);
    vgpu_admin_put_number(row, "channel", channel->index);
    vgpu_admin_put_text(row, "program", channel->program);
    vgpu_admin_put_number(row, "process", channel->process);
    vgpu_admin_put_number(row, "waiting_bytes",
                          waiting > VGPU_RING_BYTES ? VGPU_RING_BYTES : waiting);
    vgpu_admin_put_number(row, "calls",
                          __atomic_load_n(&channel->worker.page->calls_total, __ATOMIC_RELAXED));
    vgpu_admin_put_text(row, "worker", ring.consumer_sleeps ? "asleep" : "awake");
    vgpu_admin_put_number(row, "worker_process", (uint64_t)channel->worker.pid);
    vgpu_admin_put_number(row, "memory_used_bytes",
                          __atomic_load_n(&channel->worker.page->memory_charged, __ATOMIC_RELAXED));
    return row;
}

static void show_queue(struct vgpu_admin_call *call)
{
    if (!vgpu_admin_start_list(call))
        return;
    for (const struct vgpu_session *session = call->mediator->sessions; session;
         session = session->next) {
        if (!session->vm || !vgpu_admin_wants(call, session->vm))
            continue;
        for (uint32_t i = 0; i < session->hello.channels; i++) {
            const struct vgpu_channel *channel = session->channels[i];

            if (channel && channel->life == VGPU_CHANNEL_ALIVE)
                json_array_append_new(call->result, vgpu_admin_queue_row(session, channel));
        }
    }
}

static const char *vgpu_admin_session_state(const struct vgpu_session *session)
{
    switch (session->state) {
    case VGPU_SESSION_ATTACHED:
        return "attached";
    case VGPU_SESSION_REFUSED:
        return "refused";
    case VGPU_SESSION_ENDED:
        return "ending";
    default:
        return "handshake";
    }
}

static void show_connections(struct vgpu_admin_call *call)
{
    if (!vgpu_admin_start_list(call))
        return;
    for (const struct vgpu_session *session = call->mediator->sessions; session;
         session = session->next) {
        uint32_t channels = 0;

        if (!vgpu_admin_wants(call, session->vm))
            continue;
        for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++)
            channels += session->channels[i] && session->channels[i]->life == VGPU_CHANNEL_ALIVE;
        json_t *row = json_object();
        vgpu_admin_put_text(row, "vm", session->vm ? session->vm->name : "");
        vgpu_admin_put_text(row, "kind", session->is_device ? "device" : "process");
        vgpu_admin_put_text(row, "state", vgpu_admin_session_state(session));
        vgpu_admin_put_number(row, "process", (uint64_t)session->pid);
        vgpu_admin_put_number(row, "user", session->uid);
        vgpu_admin_put_number(row, "window_bytes", session->hello.window_size);
        vgpu_admin_put_number(row, "channels", channels);
        vgpu_admin_put_number(row, "workers", session->workers);
        json_array_append_new(call->result, row);
    }
}

static void vgpu_admin_list_event(const struct vgpu_event *event, void *user)
{
    json_array_append_new(user, vgpu_admin_event(event));
}

static void show_events(struct vgpu_admin_call *call)
{
    call->result = json_array();
    vgpu_events_list(&call->mediator->events, vgpu_admin_list_event, call->result);
    call->follow = strcmp(vgpu_admin_text(call, "follow"), "true") == 0;
}

static void vgpu_admin_list_action(const struct vgpu_store_action *action, void *user)
{
    json_t *row = json_object(), *rows = user;

    vgpu_admin_put_number(row, "time_ms", action->time * 1000);
    vgpu_admin_put_number(row, "user", action->uid);
    vgpu_admin_put_number(row, "process", action->pid);
    vgpu_admin_put_text(row, "verb", action->verb);
    vgpu_admin_put_text(row, "target", action->target);
    vgpu_admin_put_text(row, "arguments", action->arguments);
    vgpu_admin_put_text(row, "outcome", action->outcome);
    json_array_append_new(rows, row);
}

static void show_audit(struct vgpu_admin_call *call)
{
    uint64_t most = 100;

    if (vgpu_admin_has(call, "last") &&
        !vgpu_admin_number(call, "last", 1, 10000, "a number from 1 to 10000", &most))
        return;
    if (!call->mediator->store) {
        vgpu_admin_fail(call, "no-store",
                        "this mediator keeps no audit; set store= in [mediator] "
                        "of its configuration and start it again");
        return;
    }
    call->result = json_array();
    if (vgpu_store_list_actions(call->mediator->store, (uint32_t)most, vgpu_admin_list_action,
                                call->result))
        vgpu_admin_fail_store(call);
}

const struct vgpu_admin_verb vgpu_admin_show_verbs[] = {
    {"show-metrics", NULL, show_metrics, {"vm-name", "vm-uuid"}},
    {"show-health", NULL, show_health, {NULL}},
    {"show-queue", NULL, show_queue, {"vm-name", "vm-uuid"}},
    {"show-connections", NULL, show_connections, {"vm-name", "vm-uuid"}},
    {"show-audit", NULL, show_audit, {"last"}},
    {"events", NULL, show_events, {"follow"}},
    {NULL, NULL, NULL, {NULL}},
};
