/* SPDX-License-Identifier: MIT */
#include "guest/channel/channel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/channel/channel_private.h"
#include "interop/thread.h"
#include "protocol/calls.h"
#include "protocol/send.h"

#define MESSAGE_BYTES 512
#define LATER_MOST    4u /* times that a call is put off for work of others */

/* ------------------------------------------------------------------------------------------------
 * Life and loss
 */

CUresult vgpu_channel_known_lost(struct vgpu_channel *channel)
{
    if (channel->transport->forked)
        return CUDA_ERROR_NOT_INITIALIZED;
    return __atomic_load_n(&channel->lost, __ATOMIC_RELAXED);
}

/* Remembers the first reason; logs it once. */
static CUresult lose(struct vgpu_channel *channel, CUresult error, const char *reason)
{
    CUresult alive = CUDA_SUCCESS;
    /* relaxed: the error is all that is told */
    if (!__atomic_compare_exchange_n(&channel->lost, &alive, error, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return alive;
    fprintf(stderr, "vgpu: connection lost: %s (device %s, error %d)\n", reason,
            channel->transport->name, (int)error);
    return error;
}

static const char *lost_because(uint32_t error, uint32_t cause)
{
    if (error == CUDA_ERROR_LAUNCH_TIMEOUT)
        return "work on the GPU did not finish within the host's limit for one piece of work; the "
               "host's administrator can set another: vgpu-admin set-watchdog";
    if (cause == VGPU_CAUSE_QUARANTINE)
        return "this machine is quarantined, and may not use the GPU; the host's administrator can "
               "say why, and let it in again: vgpu-admin clear-quarantine";
    return "the host's worker for this process ended";
}

CUresult vgpu_channel_alive(struct vgpu_channel *channel)
{
    CUresult lost = vgpu_channel_known_lost(channel);
    if (lost)
        return lost;
    if (vgpu_transport_lost(channel->transport, channel->generation))
        return lose(channel, CUDA_ERROR_DEVICE_UNAVAILABLE, "the host's mediator went away");
    /* acquire: pairs with the mediator's release store */
    uint32_t state = __atomic_load_n(&channel->entry->state, __ATOMIC_ACQUIRE);
    uint32_t error = __atomic_load_n(&channel->entry->error, __ATOMIC_RELAXED);
    if (state == VGPU_CHANNEL_FREE || channel->entry->key != channel->key)
        return lose(channel, CUDA_ERROR_DEVICE_UNAVAILABLE, "the host closed the channel");
    if (state != VGPU_CHANNEL_OPEN)
        return lose(channel, error ? (CUresult)error : CUDA_ERROR_DEVICE_UNAVAILABLE,
                    lost_because(error, __atomic_load_n(&channel->entry->cause, __ATOMIC_RELAXED)));
    return CUDA_SUCCESS;
}

/* ------------------------------------------------------------------------------------------------
 * Calls
 */

struct push {
    struct vgpu_call_header *header;
    const void *part1, *part2;
    size_t bytes1, bytes2;
    bool wake;
};

static bool pushed(struct vgpu_channel *channel, void *argument)
{
    struct push *push = argument;
    return vgpu_ring_push(&channel->ring, push->header, push->part1, push->bytes1, push->part2,
                          push->bytes2, &push->wake);
}

/* Whether the host lets us have one more call waiting. Relaxed: nothing else is read by it. */
static bool is_welcome(struct vgpu_channel *channel, void *argument)
{
    const struct vgpu_channel_header *header = channel->header;
    (void)argument;
    if (__atomic_load_n(&header->limited, __ATOMIC_RELAXED) == 0)
        return true;
    uint32_t allowed = __atomic_load_n(&header->allowed, __ATOMIC_RELAXED);
    return (int32_t)(allowed - channel->sequence) > 0;
}

/* The VM has as many calls waiting as it may: keeps this one back until there are fewer. */
static CUresult back_off(struct vgpu_channel *channel)
{
    channel->trace.backed_off++;
    return vgpu_channel_wait(channel, is_welcome, NULL, VGPU_WAIT_ADMISSION);
}

/* Called with the producer's lock: records wait in the order of the program. */
static CUresult append(struct vgpu_channel *channel, struct push *push)
{
    CUresult error = vgpu_channel_known_lost(channel);
    if (!error && !is_welcome(channel, NULL))
        error = back_off(channel);
    if (error)
        return error;
    push->header->sequence = channel->sequence + 1;
    if (push->header->flags & VGPU_CALL_WANTS_REPLY) {
        struct vgpu_reply_slot *slots =
            (void *)(vgpu_channel_extent(channel) + VGPU_CHANNEL_REPLIES_OFFSET);
        /* Anything but the awaited number; the ring's store of tail comes after it. */
        __atomic_store_n(&slots[push->header->reply_slot].sequence, ~push->header->sequence,
                         __ATOMIC_RELAXED);
    }
    if (!pushed(channel, push))
        error = vgpu_channel_wait(channel, pushed, push, VGPU_WAIT_ROOM);
    if (error)
        return error;
    struct vgpu_call_count *count = &channel->trace.calls[push->header->call];
    channel->sequence++;
    count->sent++;
    count->waited += push->header->flags & VGPU_CALL_WANTS_REPLY;
    count->payload += push->bytes1 + push->bytes2;
    return CUDA_SUCCESS;
}

static CUresult submit(struct vgpu_channel *channel, struct push *push)
{
    /* Before the lock: in a forked child nobody may be left to unlock it. */
    CUresult error = vgpu_channel_known_lost(channel);
    if (error)
        return error;
    pthread_mutex_lock(&channel->producer);
    error = append(channel, push);
    pthread_mutex_unlock(&channel->producer);
    if (!error && push->wake) {
        __atomic_fetch_add(&channel->trace.doorbells, 1, __ATOMIC_RELAXED);
        channel->transport->operations->ring_doorbell(channel->transport, channel->number);
    }
    return error;
}

CUresult vgpu_channel_post(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2)
{
    struct push push = {header, part1, part2, bytes1, bytes2, false};
    header->flags &= (uint8_t)~VGPU_CALL_WANTS_REPLY;
    return submit(channel, &push);
}

static CUresult take_slot(struct vgpu_channel *channel, uint32_t *slot)
{
    CUresult error = vgpu_channel_known_lost(channel);
    if (error)
        return error;
    pthread_mutex_lock(&channel->slots_lock);
    /* Their holders wait for the worker or learn of its loss. */
    while (channel->slots == 0)
        vgpu_thread_wait_second(&channel->slot_free, &channel->slots_lock);
    *slot = (uint32_t)__builtin_ctzll(channel->slots);
    channel->slots &= ~(1ull << *slot);
    pthread_mutex_unlock(&channel->slots_lock);
    return CUDA_SUCCESS;
}

static void put_slot(struct vgpu_channel *channel, uint32_t slot)
{
    pthread_mutex_lock(&channel->slots_lock);
    channel->slots |= 1ull << slot;
    pthread_cond_signal(&channel->slot_free);
    pthread_mutex_unlock(&channel->slots_lock);
}

struct awaited_reply {
    struct vgpu_reply_slot *slot;
    uint32_t sequence;
};

static bool replied(struct vgpu_channel *channel, void *argument)
{
    (void)channel;
    const struct awaited_reply *reply = argument;
    /* acquire: pairs with the worker's release store after all else in the slot */
    return __atomic_load_n(&reply->slot->sequence, __ATOMIC_ACQUIRE) == reply->sequence;
}

static void read_reply(const struct vgpu_reply_slot *slot, struct vgpu_result *result, void *reply,
                       size_t capacity, size_t *reply_bytes)
{
    *result = slot->result;
    if (result->payload_bytes > VGPU_REPLY_PAYLOAD_MAX)
        result->payload_bytes = VGPU_REPLY_PAYLOAD_MAX;
    size_t bytes = result->payload_bytes < capacity ? result->payload_bytes : capacity;
    if (bytes)
        memcpy(reply, slot->payload, bytes);
    if (reply_bytes)
        *reply_bytes = bytes;
}

void vgpu_channel_before_calls(struct vgpu_channel *channel,
                               void (*function)(struct vgpu_channel *channel))
{
    channel->before_call = function;
}

void vgpu_channel_when_busy(struct vgpu_channel *channel,
                            bool (*function)(struct vgpu_channel *channel))
{
    channel->when_busy = function;
}

static CUresult ask(struct vgpu_channel *channel, struct vgpu_call_header *header,
                    const void *part1, size_t bytes1, const void *part2, size_t bytes2,
                    struct vgpu_result *result, void *reply, size_t capacity, size_t *reply_bytes)
{
    struct push push = {header, part1, part2, bytes1, bytes2, false};
    uint32_t slot;
    memset(result, 0, sizeof(*result));
    if (reply_bytes)
        *reply_bytes = 0;
    /* Not in a forked child, where nobody may be left to unlock what it locks. */
    if (channel->before_call && vgpu_channel_known_lost(channel) == CUDA_SUCCESS)
        channel->before_call(channel);
    CUresult error = take_slot(channel, &slot);
    if (error)
        return error;
    uint64_t start = vgpu_channel_clock();
    header->flags |= VGPU_CALL_WANTS_REPLY;
    header->reply_slot = (uint8_t)slot;
    error = submit(channel, &push);
    if (!error) {
        struct vgpu_reply_slot *slots =
            (void *)(vgpu_channel_extent(channel) + VGPU_CHANNEL_REPLIES_OFFSET);
        struct awaited_reply awaited = {&slots[slot], header->sequence};
        error = vgpu_channel_wait(channel, replied, &awaited, VGPU_WAIT_WORK);
        if (!error) {
            vgpu_channel_measured(channel, start);
            read_reply(awaited.slot, result, reply, capacity, reply_bytes);
            error = (CUresult)result->result;
        }
    }
    put_slot(channel, slot);
    return error;
}

CUresult vgpu_channel_call(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2,
                           struct vgpu_result *result, void *reply, size_t capacity,
                           size_t *reply_bytes)
{
    for (unsigned int turn = 1;; turn++) {
        CUresult error = ask(channel, header, part1, bytes1, part2, bytes2, result, reply, capacity,
                             reply_bytes);
        if (error != (CUresult)VGPU_RESULT_LATER)
            return error;
        /* Other threads may give the GPU more than it ever finishes. */
        if (channel->when_busy == NULL || !channel->when_busy(channel) || turn == LATER_MOST)
            header->flags |= VGPU_CALL_INSISTS;
    }
}

CUresult vgpu_channel_take_error(struct vgpu_channel *channel)
{
    CUresult lost = vgpu_channel_known_lost(channel);
    if (lost)
        return lost;
    uint32_t *word = &channel->header->deferred_error;
    if (__atomic_load_n(word, __ATOMIC_RELAXED) == CUDA_SUCCESS)
        return CUDA_SUCCESS;
    /* acquire: pairs with the worker's release store, so that deferred_sequence can be read */
    return (CUresult)__atomic_exchange_n(word, CUDA_SUCCESS, __ATOMIC_ACQUIRE);
}

void vgpu_channel_flush_console(struct vgpu_channel *channel)
{
    char text[VGPU_REPLY_PAYLOAD_MAX];
    size_t bytes;
    bool printed = false;
    int cancelling = vgpu_thread_keep();
    /* relaxed: the call below orders what is read */
    while (__atomic_load_n(&channel->header->console_pending, __ATOMIC_RELAXED) != 0 &&
           vgpu_send_vgpuConsoleRead(channel, 0, text, sizeof(text), &bytes) == CUDA_SUCCESS &&
           bytes > 0) {
        fwrite(text, 1, bytes, stdout);
        printed = true;
    }
    if (printed)
        fflush(stdout);
    vgpu_thread_let_cancel(cancelling);
}

/* ------------------------------------------------------------------------------------------------
 * Opening
 */

__attribute__((format(printf, 3, 4))) static CUresult
refuse(struct vgpu_channel *channel, CUresult error, const char *format, ...)
{
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fprintf(stderr, "vgpu: %s%s%s\n", text, channel ? ", device " : "",
            channel ? channel->transport->name : "");
    return error;
}

static CUresult open_transport(struct vgpu_transport **out)
{
    char message[MESSAGE_BYTES];
    int error = vgpu_transport_open(out, message, sizeof(message));
    if (error == 0)
        return CUDA_SUCCESS;
    CUresult result = error == -ENODEV                                ? CUDA_ERROR_NO_DEVICE
                      : error == -EHOSTDOWN || error == -ECONNREFUSED ? CUDA_ERROR_SYSTEM_NOT_READY
                      : error == -EPROTO ? CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
                      : error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
                                         : CUDA_ERROR_OPERATING_SYSTEM;
    return refuse(NULL, result, "%s", message);
}

/* Turns the mediator's refusal of CHANNEL_OPEN into a CUresult and a line of log. */
static CUresult explain_refusal(struct vgpu_channel *channel,
                                const struct vgpu_mailbox_refusal *refusal)
{
    const char *text = refusal->text[0] ? refusal->text : "no reason given";
    switch (refusal->response.status) {
    case VGPU_MAILBOX_VERSION_MISMATCH:
        return refuse(channel, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
                      "the host speaks another protocol: %s; this library: version %u, protocol "
                      "%016llx; install the same vgpu on both sides",
                      text, VGPU_PROTOCOL_VERSION, VGPU_PROTOCOL_HASH);
    case VGPU_MAILBOX_BUSY:
        return refuse(channel, CUDA_ERROR_OUT_OF_MEMORY, "all channels are taken: %s", text);
    case VGPU_MAILBOX_NO_SPACE:
        return refuse(channel, CUDA_ERROR_OUT_OF_MEMORY, "the window is full: %s", text);
    case VGPU_MAILBOX_REFUSED:
        return refuse(channel, CUDA_ERROR_SYSTEM_NOT_READY, "the host refused: %s", text);
    case VGPU_MAILBOX_GPU_ERROR:
        return refuse(channel,
                      refusal->response.value ? (CUresult)refusal->response.value
                                              : CUDA_ERROR_UNKNOWN,
                      "the host's GPU failed with error %u: %s", refusal->response.value, text);
    default:
        return refuse(channel, CUDA_ERROR_OPERATING_SYSTEM, "the host answered with status %u: %s",
                      refusal->response.status, text);
    }
}

/* Takes over what the mediator says of a new channel, if it lies inside the window. */
static CUresult accept_channel(struct vgpu_channel *channel,
                               const struct vgpu_mailbox_channel *opened)
{
    struct vgpu_transport *transport = channel->transport;
    uint64_t end;
    if (opened->channel >= transport->channel_count || opened->size < VGPU_CHANNEL_BYTES ||
        opened->offset < VGPU_WINDOW_EXTENTS_OFFSET || opened->offset % VGPU_EXTENT_ALIGNMENT ||
        __builtin_add_overflow(opened->offset, opened->size, &end) || end > transport->window_size)
        return refuse(channel, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
                      "the host gave channel %u at %#llx, which is not in the window",
                      opened->channel, (unsigned long long)opened->offset);
    int error = vgpu_transport_use(transport, opened->offset, opened->size);
    if (error)
        return refuse(channel, CUDA_ERROR_OUT_OF_MEMORY, "no memory for channel %u: %s",
                      opened->channel, strerror(-error));
    channel->number = opened->channel;
    channel->key = opened->key;
    channel->entry = vgpu_window_entry(transport->window, opened->channel);
    channel->header = (void *)((char *)transport->window + opened->offset);
    vgpu_ring_producer_init(&channel->ring, channel->header);
    error = transport->operations->own_channel(transport, channel->number, channel->key);
    if (error)
        /* The process works without: its channel is found when the next one opens the device. */
        refuse(channel, CUDA_SUCCESS, "no reaper for this process: %s", strerror(-error));
    return CUDA_SUCCESS;
}

static CUresult request_channel(struct vgpu_channel *channel)
{
    struct vgpu_transport *transport = channel->transport;
    const struct vgpu_window_header *window = transport->window;
    struct vgpu_mailbox_client request = {.request.op = VGPU_MAILBOX_CHANNEL_OPEN,
                                          .protocol_hash = VGPU_PROTOCOL_HASH,
                                          .version = VGPU_PROTOCOL_VERSION,
                                          .process = (uint32_t)getpid()};
    union {
        uint8_t bytes[VGPU_MAILBOX_BYTES];
        struct vgpu_mailbox_refusal refusal;
        struct vgpu_mailbox_channel channel;
    } answer = {0};
    snprintf(request.program, sizeof(request.program), "%s", program_invocation_short_name);
    /* Before the request: a mediator that is replaced meanwhile knows nothing of our channel. */
    channel->generation = __atomic_load_n(&window->generation, __ATOMIC_RELAXED);
    int length = transport->operations->mailbox(transport, &request, sizeof(request), answer.bytes);
    if (length == -EHOSTDOWN)
        return refuse(channel, CUDA_ERROR_SYSTEM_NOT_READY, "the host's mediator went away");
    if (length < 0)
        return refuse(channel, CUDA_ERROR_OPERATING_SYSTEM, "no channel: %s", strerror(-length));
    answer.refusal.text[sizeof(answer.refusal.text) - 1] = 0;
    if ((size_t)length < sizeof(struct vgpu_mailbox_response))
        return refuse(channel, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "the host's answer is cut off");
    if (answer.refusal.response.status != VGPU_MAILBOX_OK)
        return explain_refusal(channel, &answer.refusal);
    if ((size_t)length < sizeof(answer.channel))
        return refuse(channel, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "the host's answer is cut off");
    return accept_channel(channel, &answer.channel);
}

CUresult vgpu_channel_open(struct vgpu_channel **out)
{
    struct vgpu_channel *channel = aligned_alloc(_Alignof(struct vgpu_channel), sizeof(*channel));
    if (!channel)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memset(channel, 0, sizeof(*channel));
    CUresult error = open_transport(&channel->transport);
    if (error) {
        free(channel);
        return error;
    }
    /* Held for a tenth of a microsecond: to sleep until it is free takes ten times that. */
    channel->producer = (pthread_mutex_t)PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
    pthread_mutex_init(&channel->slots_lock, NULL);
    pthread_cond_init(&channel->slot_free, NULL);
    channel->slots = ~0ull;
    vgpu_sleepers_init(channel);
    vgpu_fences_init(channel);
    error = request_channel(channel);
    if (error) {
        vgpu_transport_close(channel->transport);
        free(channel);
        return error;
    }
    *out = channel;
    return CUDA_SUCCESS;
}

void vgpu_channel_close(struct vgpu_channel *channel)
{
    struct vgpu_mailbox_channel_close request = {
        .request.op = VGPU_MAILBOX_CHANNEL_CLOSE, .channel = channel->number, .key = channel->key};
    uint8_t response[VGPU_MAILBOX_BYTES];
    /* A lost channel too: closing frees its place. Nobody can do anything about a failure. */
    if (!channel->transport->forked &&
        !vgpu_transport_lost(channel->transport, channel->generation))
        channel->transport->operations->mailbox(channel->transport, &request, sizeof(request),
                                                response);
    vgpu_transport_close(channel->transport);
    free(channel);
}

bool vgpu_channel_place(const struct vgpu_channel *channel, struct vgpu_pci_place *place)
{
    return vgpu_transport_place(channel->transport, place);
}
