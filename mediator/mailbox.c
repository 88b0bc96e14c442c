/* SPDX-License-Identifier: MIT */
#include "mediator/mailbox.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mediator/device_status.h"
#include "mediator/log.h"
#include "mediator/session.h"
#include "protocol/calls.h"
#include "protocol/channel.h"
#include "protocol/rate.h"

static void vgpu_mailbox_status(struct vgpu_session *session, uint32_t id,
                                enum vgpu_mailbox_status status)
{
    const struct vgpu_mailbox_response response = {.status = status};

    session->vm->refused++;
    vgpu_session_answer(session, id, &response, sizeof(response));
}

static void vgpu_mailbox_refuse(struct vgpu_session *session, uint32_t id,
                                enum vgpu_mailbox_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void vgpu_mailbox_refuse(struct vgpu_session *session, uint32_t id,
                                enum vgpu_mailbox_status status, const char *format, ...)
{
    struct vgpu_mailbox_refusal refusal = {.response.status = status};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(refusal.text, sizeof(refusal.text), format, arguments);
    va_end(arguments);
    session->vm->refused++;
    vgpu_log_client(VGPU_LOG_WARNING, "%s: %s", session->label, refusal.text);
    vgpu_session_answer(session, id, &refusal, sizeof(refusal));
}

/** Whether the VM may not use the GPU now; it was told then. */
static bool vgpu_mailbox_quarantined(struct vgpu_session *session, uint32_t id)
{
    const struct vgpu_vm *vm = session->vm;

    if (vm->quarantined)
        vgpu_mailbox_refuse(session, id, VGPU_MAILBOX_REFUSED,
                            "VM %s is quarantined (%.100s); the host's administrator can let it in "
                            "again: vgpu-admin clear-quarantine --vm-name=%s",
                            vm->name, vm->reason, vm->name);
    return vm->quarantined != 0;
}

/** Whether the VM is beyond its rate of calls; it was told BUSY then, and may ask again. */
static bool vgpu_mailbox_throttled(struct vgpu_session *session, uint32_t id)
{
    struct vgpu_vm *vm = session->vm;
    uint64_t now = vgpu_loop_now();

    if (vgpu_rate_wait(vm->ledger, now) > 0) {
        vm->totals.throttled++;
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_BUSY);
        return true;
    }
    vgpu_rate_count(vm->ledger, now);
    return false;
}

static void vgpu_mailbox_identify(struct vgpu_session *session, uint32_t id, const void *request)
{
    const struct vgpu_driver *driver = &session->mediator->driver;
    struct vgpu_mailbox_identity identity = {
        .protocol_hash = VGPU_PROTOCOL_HASH,
        .memory_quota = session->vm->ledger->quota,
        .version = VGPU_PROTOCOL_VERSION,
        .vm_id = session->vm->id,
        .pool = session->vm->pool,
        .priority = session->vm->priority,
        .driver_version = driver->probe.driver_version,
        .device_count = driver->probe.device_count,
        .mediator = "vgpu-mediator " VGPU_VERSION,
    };

    (void)request; /* who asks matters only once a channel is opened */
    snprintf(identity.vm, sizeof(identity.vm), "%s", session->vm->name);
    snprintf(identity.driver, sizeof(identity.driver), "%s", vgpu_driver_name(driver));
    snprintf(identity.gpu, sizeof(identity.gpu), "%s", driver->probe.gpu);
    vgpu_session_answer(session, id, &identity, sizeof(identity));
}

static void vgpu_mailbox_vm_status(struct vgpu_session *session, uint32_t id, const void *request)
{
    struct vgpu_vm *vm = session->vm;
    struct vgpu_counters counters;

    (void)request;
    vgpu_session_count(session->mediator, vm, &counters);
    const struct vgpu_mailbox_vm_status status = {
        .memory_quota = vm->ledger->quota,
        .memory_used = vgpu_vm_memory_used(vm),
        .calls = counters.calls,
        .bytes_to_device = counters.bytes_to_device,
        .bytes_from_device = counters.bytes_from_device,
        .gpu_nanoseconds = counters.gpu_nanoseconds,
        .uptime_nanoseconds = vgpu_loop_now() - session->mediator->started,
        .channels_open = vm->channels_open,
        .channels_failed = vm->channels_failed,
    };
    vgpu_session_answer(session, id, &status, sizeof(status));
}

static const char *vgpu_mailbox_no_worker(int error)
{
    return error == -EPIPE ? "it ended at once; is the mediator's worker= there?"
                           : strerror(-error);
}

static void vgpu_mailbox_open_failed(struct vgpu_session *session, uint32_t id, int error)
{
    const struct vgpu_vm *vm = session->vm;

    if (error == -EBUSY)
        vgpu_mailbox_refuse(session, id, VGPU_MAILBOX_BUSY,
                            "all channels are taken: VM %s may have %u, this connection %u",
                            vm->name, vm->max_channels, session->hello.channels);
    else if (error == -ENOSPC)
        vgpu_mailbox_refuse(session, id, VGPU_MAILBOX_NO_SPACE,
                            "the window of %llu MiB has no room for another channel",
                            (unsigned long long)(session->hello.window_size >> 20));
    else
        vgpu_mailbox_refuse(session, id, VGPU_MAILBOX_REFUSED, "no worker could be started: %s",
                            vgpu_mailbox_no_worker(error));
}

static void vgpu_mailbox_channel_open(struct vgpu_session *session, uint32_t id,
                                      const void *request)
{
    const struct vgpu_mailbox_client *client = request;
    struct vgpu_channel *channel;

    if (client->protocol_hash != VGPU_PROTOCOL_HASH || client->version != VGPU_PROTOCOL_VERSION) {
        vgpu_mailbox_refuse(session, id, VGPU_MAILBOX_VERSION_MISMATCH,
                            "the program's vgpu library speaks protocol %u/%016llx, the mediator "
                            "%u/%016llx; install the same version of both",
                            client->version, (unsigned long long)client->protocol_hash,
                            VGPU_PROTOCOL_VERSION, (unsigned long long)VGPU_PROTOCOL_HASH);
        return;
    }
    if (vgpu_mailbox_quarantined(session, id))
        return;
    if (session->mediator->draining) {
        vgpu_mailbox_refuse(session, id, VGPU_MAILBOX_REFUSED,
                            "the mediator is about to stop; try again when it is back");
        return;
    }
    int error = vgpu_channel_open(session, client, &channel);
    if (error) {
        vgpu_mailbox_open_failed(session, id, error);
        return;
    }
    const struct vgpu_mailbox_channel answer = {
        .channel = channel->index,
        .key = channel->key,
        .offset = channel->offset,
        .size = VGPU_CHANNEL_BYTES,
    };
    vgpu_session_answer(session, id, &answer, sizeof(answer));
}

static void vgpu_mailbox_channel_close(struct vgpu_session *session, uint32_t id,
                                       const void *request)
{
    const struct vgpu_mailbox_channel_close *close = request;
    struct vgpu_channel *channel = vgpu_channel_find(session, close->channel, close->key);
    const struct vgpu_mailbox_response response = {.status = VGPU_MAILBOX_OK};

    if (!channel) {
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_NO_CHANNEL);
        return;
    }
    vgpu_channel_close(channel);
    vgpu_session_answer(session, id, &response, sizeof(response));
}

static void vgpu_mailbox_extent_open(struct vgpu_session *session, uint32_t id, const void *request)
{
    const struct vgpu_mailbox_extent_open *open = request;
    struct vgpu_channel *channel = vgpu_channel_find(session, open->channel, open->key);
    uint32_t number = 0;

    if (!channel) {
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_NO_CHANNEL);
        return;
    }
    int error = open->bytes ? vgpu_channel_open_extent(channel, open->bytes, &number) : -EINVAL;
    if (error) {
        vgpu_mailbox_status(session, id,
                            error == -EPIPE    ? VGPU_MAILBOX_NO_CHANNEL
                            : error == -EINVAL ? VGPU_MAILBOX_BAD_LENGTH
                                               : VGPU_MAILBOX_NO_SPACE);
        return;
    }
    const struct vgpu_mailbox_extent answer = {
        .offset = channel->extents[number].offset,
        .size = channel->extents[number].size,
        .extent = number,
    };
    vgpu_session_answer(session, id, &answer, sizeof(answer));
}

static void vgpu_mailbox_extent_close(struct vgpu_session *session, uint32_t id,
                                      const void *request)
{
    const struct vgpu_mailbox_extent_close *close = request;
    struct vgpu_channel *channel = vgpu_channel_find(session, close->channel, close->key);
    const struct vgpu_mailbox_response response = {.status = VGPU_MAILBOX_OK};
    int error = channel ? vgpu_channel_close_extent(channel, close->extent) : -ENOENT;

    if (error)
        vgpu_mailbox_status(session, id,
                            error == -EBUSY ? VGPU_MAILBOX_BUSY : VGPU_MAILBOX_NO_CHANNEL);
    else
        vgpu_session_answer(session, id, &response, sizeof(response));
}

static void vgpu_mailbox_vector_add(struct vgpu_session *session, uint32_t id, const void *request)
{
    const struct vgpu_mailbox_vector_add *add = request;

    if (add->count < 1 || add->count > VGPU_VECTOR_ADD_MAX) {
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_BAD_LENGTH);
        return;
    }
    if (vgpu_mailbox_quarantined(session, id) || vgpu_mailbox_throttled(session, id))
        return;
    int error = vgpu_primitive_submit(&session->primitive, id, add, sizeof(*add),
                                      sizeof(struct vgpu_mailbox_vector_sum));
    if (error == -EBUSY)
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_BUSY);
    else if (error)
        vgpu_mailbox_refuse(session, id, VGPU_MAILBOX_REFUSED, "no worker could be started: %s",
                            vgpu_mailbox_no_worker(error));
}

static void vgpu_mailbox_device(struct vgpu_session *session, uint32_t id, const void *request)
{
    struct vgpu_mailbox_device device;

    (void)request;
    vgpu_device_status(session, &device);
    vgpu_session_answer(session, id, &device, sizeof(device));
}

static void vgpu_mailbox_processes(struct vgpu_session *session, uint32_t id, const void *request)
{
    const struct vgpu_mailbox_process_query *query = request;
    struct vgpu_mailbox_processes processes = {0};

    vgpu_device_processes(session, query->first, &processes);
    vgpu_session_answer(session, id, &processes, sizeof(processes));
}

static const struct {
    size_t length; /* of the request: neither shorter nor longer */
    void (*handle)(struct vgpu_session *session, uint32_t id, const void *request);
} vgpu_mailbox_ops[] = {
    [VGPU_MAILBOX_IDENTIFY] = {sizeof(struct vgpu_mailbox_client), vgpu_mailbox_identify},
    [VGPU_MAILBOX_STATUS] = {sizeof(struct vgpu_mailbox_request), vgpu_mailbox_vm_status},
    [VGPU_MAILBOX_CHANNEL_OPEN] = {sizeof(struct vgpu_mailbox_client), vgpu_mailbox_channel_open},
    [VGPU_MAILBOX_CHANNEL_CLOSE] = {sizeof(struct vgpu_mailbox_channel_close),
                                    vgpu_mailbox_channel_close},
    [VGPU_MAILBOX_EXTENT_OPEN] = {sizeof(struct vgpu_mailbox_extent_open),
                                  vgpu_mailbox_extent_open},
    [VGPU_MAILBOX_EXTENT_CLOSE] = {sizeof(struct vgpu_mailbox_extent_close),
                                   vgpu_mailbox_extent_close},
    [VGPU_MAILBOX_VECTOR_ADD] = {sizeof(struct vgpu_mailbox_vector_add), vgpu_mailbox_vector_add},
    [VGPU_MAILBOX_DEVICE] = {sizeof(struct vgpu_mailbox_request), vgpu_mailbox_device},
    [VGPU_MAILBOX_PROCESSES] = {sizeof(struct vgpu_mailbox_process_query), vgpu_mailbox_processes},
};

void vgpu_mailbox_handle(struct vgpu_session *session, uint32_t id, const void *request,
                         size_t length)
{
    /* Aligned for every structure; the input buffer's data need not be. */
    uint64_t copy[VGPU_MAILBOX_BYTES / sizeof(uint64_t)] = {0};
    struct vgpu_mailbox_request head;

    if (length < sizeof(head)) {
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_BAD_LENGTH);
        return;
    }
    memcpy(copy, request, length);
    memcpy(&head, copy, sizeof(head));
    if (head.op >= sizeof(vgpu_mailbox_ops) / sizeof(*vgpu_mailbox_ops) ||
        !vgpu_mailbox_ops[head.op].handle)
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_BAD_OP);
    else if (length != vgpu_mailbox_ops[head.op].length)
        vgpu_mailbox_status(session, id, VGPU_MAILBOX_BAD_LENGTH);
    else
        vgpu_mailbox_ops[head.op].handle(session, id, copy);
}
