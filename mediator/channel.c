/* SPDX-License-Identifier: MIT */
#include "mediator/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mediator/history.h"
#include "mediator/log.h"
#include "mediator/mediator.h"
#include "mediator/quarantine.h"
#include "mediator/session.h"
#include "mediator/window.h"
#include "protocol/channel.h"

/* CUresults, by value: the mediator is built without cuda.h. */
#define CUDA_ERROR_DEVICE_UNAVAILABLE 46u
#define CUDA_ERROR_SYSTEM_NOT_READY   802u
#define CUDA_ERROR_LAUNCH_TIMEOUT     702u
#define CUDA_ERROR_UNKNOWN            999u

static void vgpu_channel_publish(struct vgpu_channel *channel, enum vgpu_channel_state state,
                                 uint32_t error)
{
    const struct vgpu_channel_entry entry = {
        .state = state,
        .error = error,
        .key = channel->key,
        .process = channel->process,
        .offset = channel->offset,
        .size = VGPU_CHANNEL_BYTES,
        .cause = state == VGPU_CHANNEL_LOST && channel->verdict == VGPU_VERDICT_QUARANTINED
                     ? VGPU_CAUSE_QUARANTINE
                     : VGPU_CAUSE_NONE,
    };

    vgpu_window_publish(channel->session->window, channel->index, &entry);
}

static void vgpu_channel_give_back(struct vgpu_channel *channel, uint64_t offset, uint64_t size)
{
    struct vgpu_session *session = channel->session;

    vgpu_window_punch(session->window_fd, offset, size);
    vgpu_extent_put(&session->extents, offset);
}

/** The last of a channel. */
static void vgpu_channel_free(struct vgpu_channel *channel)
{
    struct vgpu_session *session = channel->session;

    vgpu_channel_publish(channel, VGPU_CHANNEL_FREE, 0);
    vgpu_channel_give_back(channel, channel->offset, VGPU_CHANNEL_BYTES);
    for (uint32_t i = 0; i < channel->extent_count; i++) {
        if (channel->extents[i].size)
            vgpu_channel_give_back(channel, channel->extents[i].offset, channel->extents[i].size);
    }
    free(channel->extents);
    session->channels[channel->index] = NULL;
    free(channel);
}

static uint32_t vgpu_channel_error(const struct vgpu_channel *channel,
                                   const struct vgpu_worker_end *end)
{
    uint32_t error = __atomic_load_n(&channel->worker.page->exit_error, __ATOMIC_RELAXED);

    if (channel->verdict == VGPU_VERDICT_HUNG)
        return CUDA_ERROR_LAUNCH_TIMEOUT;
    if (end->signaled)
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    if (end->status == VGPU_WORKER_EXIT_PROTOCOL)
        return CUDA_ERROR_UNKNOWN;
    if (end->status == VGPU_WORKER_EXIT_DRIVER)
        return error > 0 && error <= CUDA_ERROR_UNKNOWN ? error : CUDA_ERROR_SYSTEM_NOT_READY;
    return CUDA_ERROR_DEVICE_UNAVAILABLE;
}

static enum vgpu_fault vgpu_channel_fault(const struct vgpu_channel *channel,
                                          const struct vgpu_worker_end *end)
{
    if (channel->verdict == VGPU_VERDICT_HUNG)
        return VGPU_FAULT_HANG;
    if (!end->signaled && end->status == VGPU_WORKER_EXIT_PROTOCOL)
        return VGPU_FAULT_PROTOCOL;
    if (!end->signaled &&
        (end->status == VGPU_WORKER_EXIT_DRIVER || end->status == VGPU_WORKER_NOT_EXECUTED))
        return VGPU_FAULT_DRIVER;
    return VGPU_FAULT_CRASH;
}

static void vgpu_channel_lost(struct vgpu_channel *channel, const struct vgpu_worker_end *end)
{
    struct vgpu_session *session = channel->session;
    struct vgpu_vm *vm = session->vm;
    bool quarantined = channel->verdict == VGPU_VERDICT_QUARANTINED;
    char what[160];

    if (!end->signaled && end->status == VGPU_WORKER_EXIT_PROTOCOL)
        vm->garbage++;
    if (quarantined)
        snprintf(what, sizeof(what), "was ended, because the VM is quarantined");
    else if (channel->verdict == VGPU_VERDICT_HUNG)
        snprintf(what, sizeof(what), "was killed, because %s", channel->why);
    else
        vgpu_worker_describe_end(&channel->worker, end, what, sizeof(what));
    vm->channels_failed += !quarantined;
    vgpu_events_add(&session->mediator->events, "lost", vm->name,
                    "channel %u of %s (process %u): worker %s", channel->index, channel->program,
                    channel->process, what);
    vgpu_log_client(VGPU_LOG_WARNING, "VM %s: channel %u of %s (process %u) is lost: worker %d %s",
                    vm->name, channel->index, channel->program, channel->process,
                    (int)channel->worker.pid, what);
    channel->life = VGPU_CHANNEL_DEAD;
    vgpu_channel_publish(channel, VGPU_CHANNEL_LOST, vgpu_channel_error(channel, end));
    vgpu_window_signal(vgpu_session_interrupt(session, channel->index));
    if (!quarantined)
        vgpu_quarantine_fault(session->mediator, vm, vgpu_channel_fault(channel, end),
                              channel->verdict == VGPU_VERDICT_HUNG ? channel->why : what);
}

static void vgpu_channel_worker_ended(struct vgpu_worker *worker, const struct vgpu_worker_end *end)
{
    struct vgpu_channel *channel = vgpu_container(worker, struct vgpu_channel, worker);
    struct vgpu_session *session = channel->session;
    struct vgpu_vm *vm = session->vm;

    vgpu_gpu_time_end(session->mediator, channel);
    vgpu_counters_add_worker(&vm->totals, worker->page);
    vgpu_counters_add_latency(&vm->totals, channel->latency, session->window_fd, channel->offset);
    vgpu_vm_worker_ended(vm, worker->page);
    vm->channels_open--;
    session->workers--;
    vgpu_lease_drop(&session->mediator->leases, channel);
    if (channel->life == VGPU_CHANNEL_ALIVE)
        vgpu_channel_lost(channel, end);
    vgpu_worker_release(worker);
    if (channel->life == VGPU_CHANNEL_CLOSING)
        vgpu_channel_free(channel);
    vgpu_session_settle(session);
}

static void vgpu_channel_heard(struct vgpu_worker *worker,
                               const struct vgpu_worker_message *message)
{
    struct vgpu_channel *channel = vgpu_container(worker, struct vgpu_channel, worker);

    if (message->op == VGPU_WORKER_LEASE && message->length == 0)
        vgpu_lease_heard(&channel->session->mediator->leases, channel);
    else
        vgpu_worker_kill(worker); /* it talks out of turn: `ended` will say so */
}

static int vgpu_channel_start(struct vgpu_channel *channel)
{
    struct vgpu_session *session = channel->session;
    const struct vgpu_mediator *mediator = session->mediator;
    char name[64];

    snprintf(name, sizeof(name), "%.31s/%.31s", session->vm->name, channel->program);
    const struct vgpu_worker_service service = {
        .name = name,
        .ledger = session->vm->ledger_fd,
        .window = session->window_fd,
        .doorbell = session->descriptors[channel->index],
        .interrupt = vgpu_session_interrupt(session, channel->index),
        .images = &mediator->images,
        .channel = channel->index,
        .offset = channel->offset,
        .size = VGPU_CHANNEL_BYTES,
        .lease = vgpu_lease_first(session->vm),
        .watchdog = session->vm->limits.watchdog * 1000000000u,
    };
    vgpu_worker_init(&channel->worker);
    channel->worker.ended = vgpu_channel_worker_ended;
    channel->worker.received = vgpu_channel_heard;
    return vgpu_spares_serve(&session->mediator->spares, &channel->worker, &service);
}

static uint32_t vgpu_channel_new_key(void)
{
    uint32_t key = 0;

    while (key == 0 && getrandom(&key, sizeof(key), 0) != sizeof(key))
        continue;
    return key ? key : 1;
}

int vgpu_channel_open(struct vgpu_session *session, const struct vgpu_mailbox_client *client,
                      struct vgpu_channel **out)
{
    uint32_t index = 0;
    int error;

    while (index < session->hello.channels && session->channels[index])
        index++;
    if (index == session->hello.channels || session->vm->channels_open >= session->vm->max_channels)
        return -EBUSY;
    struct vgpu_channel *channel = calloc(1, sizeof(*channel));
    if (!channel)
        return -ENOMEM;
    channel->session = session;
    channel->index = index;
    channel->key = vgpu_channel_new_key();
    channel->process = client->process;
    vgpu_log_clean(channel->program, sizeof(channel->program), client->program,
                   sizeof(client->program));
    error = vgpu_extent_take(&session->extents, VGPU_CHANNEL_BYTES, &channel->offset);
    if (error)
        goto fail;
    /* The guest may have written here before: a channel starts as zeroes. */
    error = vgpu_window_punch(session->window_fd, channel->offset, VGPU_CHANNEL_BYTES);
    if (!error)
        error = vgpu_channel_start(channel);
    if (error)
        goto fail_extent;
    session->channels[index] = channel;
    session->workers++;
    session->vm->workers++;
    session->vm->channels_open++;
    vgpu_lease_add(channel);
    vgpu_watchdog_start(session->mediator);
    vgpu_channel_publish(channel, VGPU_CHANNEL_OPEN, 0);
    vgpu_events_pass(&session->mediator->events, "opened", session->vm->name,
                     "channel %u of %s (process %u)", index, channel->program, channel->process);
    *out = channel;
    return 0;

fail_extent:
    vgpu_extent_put(&session->extents, channel->offset);
fail:
    free(channel);
    return error;
}

/** A number that no extent of the channel has. */
static int vgpu_channel_number_extent(struct vgpu_channel *channel, uint32_t *number)
{
    struct vgpu_channel_extent *grown;
    uint32_t free_one = 0;

    while (free_one < channel->extent_count && channel->extents[free_one].size)
        free_one++;
    if (free_one == VGPU_CHANNEL_EXTENTS_MAX)
        return -ENOSPC;
    if (free_one == channel->extent_count) {
        grown = reallocarray(channel->extents, free_one + 1, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        grown[free_one].size = 0;
        channel->extents = grown;
        channel->extent_count++;
    }
    *number = free_one;
    return 0;
}

int vgpu_channel_open_extent(struct vgpu_channel *channel, uint64_t bytes, uint32_t *number)
{
    const uint64_t mask = VGPU_EXTENT_ALIGNMENT - 1;
    struct vgpu_session *session = channel->session;
    uint64_t offset, size;
    int error;

    if (channel->life != VGPU_CHANNEL_ALIVE)
        return -EPIPE;
    if (__builtin_add_overflow(bytes, mask, &size))
        return -ENOSPC;
    size &= ~mask;
    error = vgpu_channel_number_extent(channel, number);
    if (!error)
        error = vgpu_extent_take(&session->extents, size, &offset);
    if (error)
        return error;
    /* Whoever had it may have written here since it was taken back: the window is the guest's. */
    error = vgpu_window_punch(session->window_fd, offset, size);
    if (error) {
        vgpu_extent_put(&session->extents, offset);
        return error;
    }
    channel->extents[*number] = (struct vgpu_channel_extent){offset, size};
    struct vgpu_worker_extent *shown = &channel->worker.page->extents[*number];
    shown->offset = offset;
    shown->bytes = size;
    /* Pairs with the worker's exchange, so that it sees the rest. */
    __atomic_store_n(&shown->state, VGPU_EXTENT_OPEN, __ATOMIC_RELEASE);
    return 0;
}

int vgpu_channel_close_extent(struct vgpu_channel *channel, uint32_t number)
{
    uint32_t open = VGPU_EXTENT_OPEN;

    if (number >= channel->extent_count || channel->extents[number].size == 0)
        return -ENOENT;
    /* The page is gone with the worker, and so is every mapping. */
    if (channel->life == VGPU_CHANNEL_ALIVE &&
        !__atomic_compare_exchange_n(&channel->worker.page->extents[number].state, &open,
                                     VGPU_EXTENT_NONE, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return -EBUSY;
    vgpu_channel_give_back(channel, channel->extents[number].offset, channel->extents[number].size);
    channel->extents[number].size = 0;
    return 0;
}

struct vgpu_channel *vgpu_channel_find(struct vgpu_session *session, uint32_t index, uint32_t key)
{
    struct vgpu_channel *channel =
        index < session->hello.channels ? session->channels[index] : NULL;

    return channel && channel->key == key && channel->life != VGPU_CHANNEL_CLOSING ? channel : NULL;
}

void vgpu_channel_close(struct vgpu_channel *channel)
{
    struct vgpu_session *session = channel->session;

    if (channel->life == VGPU_CHANNEL_DEAD) {
        vgpu_channel_free(channel);
    } else if (channel->life == VGPU_CHANNEL_ALIVE) {
        vgpu_events_pass(&session->mediator->events, "closed", session->vm->name,
                         "channel %u of %s (process %u)", channel->index, channel->program,
                         channel->process);
        channel->life = VGPU_CHANNEL_CLOSING;
        vgpu_channel_publish(channel, VGPU_CHANNEL_FREE, 0);
        vgpu_worker_kill(&channel->worker);
    }
}

void vgpu_channel_condemn(struct vgpu_channel *channel, enum vgpu_verdict verdict)
{
    channel->verdict = verdict;
    vgpu_worker_kill(&channel->worker);
}

void vgpu_channels_revoke(struct vgpu_session *session)
{
    for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++) {
        struct vgpu_channel *channel = session->channels[i];

        if (channel && channel->life == VGPU_CHANNEL_ALIVE && channel->verdict == VGPU_VERDICT_NONE)
            vgpu_channel_condemn(channel, VGPU_VERDICT_QUARANTINED);
    }
}

void vgpu_channels_close(struct vgpu_session *session)
{
    for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++) {
        if (session->channels[i])
            vgpu_channel_close(session->channels[i]);
    }
}
