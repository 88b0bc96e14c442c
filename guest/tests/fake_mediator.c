/* SPDX-License-Identifier: MIT */
#include "guest/tests/fake_mediator.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "protocol/calls.h"

#define EXTENT_OFFSET 0x8000u

static void check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "fake mediator: %s\n", what);
        abort();
    }
}

static bool flag(const bool *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

bool fake_mediator_await(const uint32_t *counter, uint32_t value, uint32_t milliseconds)
{
    struct timespec pause = {.tv_nsec = 1000000};
    for (uint32_t i = 0; i <= milliseconds; i++) {
        if (__atomic_load_n(counter, __ATOMIC_ACQUIRE) >= value)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------
 * Worker
 */

struct vgpu_channel_header *fake_mediator_channel(struct fake_mediator *fake)
{
    return (void *)(fake->window + EXTENT_OFFSET);
}

static void interrupt_sleepers(struct fake_mediator *fake)
{
    uint64_t one = 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&fake_mediator_channel(fake)->guest_sleeps, __ATOMIC_SEQ_CST))
        check(write(fake->interrupt, &one, sizeof(one)) == sizeof(one), "interrupt");
}

void fake_mediator_write_fence(struct fake_mediator *fake, uint32_t fence, uint32_t value)
{
    uint32_t *fences = (void *)(fake->window + EXTENT_OFFSET + VGPU_CHANNEL_FENCES_OFFSET);
    __atomic_store_n(&fences[fence], value, __ATOMIC_RELEASE);
    interrupt_sleepers(fake);
}

void fake_mediator_reply(struct fake_mediator *fake, const struct vgpu_call_header *header,
                         const struct vgpu_result *result, const void *payload)
{
    struct vgpu_reply_slot *slots =
        (void *)(fake->window + EXTENT_OFFSET + VGPU_CHANNEL_REPLIES_OFFSET);
    struct vgpu_reply_slot *slot = &slots[header->reply_slot];
    slot->result = *result;
    if (result->payload_bytes)
        memcpy(slot->payload, payload, result->payload_bytes);
    __atomic_store_n(&slot->sequence, header->sequence, __ATOMIC_RELEASE);
    interrupt_sleepers(fake);
}

bool fake_mediator_echo(struct fake_mediator *fake, const struct vgpu_call_header *header,
                        const uint8_t *payload)
{
    if (header->flags & VGPU_CALL_WANTS_REPLY) {
        struct vgpu_result result = {.result = header->context,
                                     .payload_bytes = header->payload_bytes};
        memcpy(result.output, header->arguments, sizeof(result.output));
        fake_mediator_reply(fake, header, &result, payload);
    } else if (header->call == VGPU_CALL_vgpuFence) {
        uint32_t words[3]; /* stream, fence, value */
        memcpy(words, header->arguments, sizeof(words));
        fake_mediator_write_fence(fake, words[1], words[2]);
    }
    return true;
}

static void await_doorbell(struct fake_mediator *fake, struct vgpu_ring_consumer *ring)
{
    uint64_t count;
    struct pollfd event = {.fd = fake->doorbell, .events = POLLIN};
    if (!vgpu_ring_sleep(ring))
        return;
    if (poll(&event, 1, 20) == 1)
        check(read(fake->doorbell, &count, sizeof(count)) == sizeof(count), "doorbell");
    vgpu_ring_awake(ring);
}

static void *work(void *argument)
{
    struct fake_mediator *fake = argument;
    uint8_t *payload = malloc(VGPU_PAYLOAD_MAX);
    struct vgpu_ring_consumer ring;
    struct vgpu_call_header header;
    vgpu_ring_consumer_init(&ring, fake->window + EXTENT_OFFSET);
    while (!flag(&fake->worker_ends)) {
        if (flag(&fake->worker_stalls)) {
            usleep(1000);
            continue;
        }
        int got = vgpu_ring_pop(&ring, &header, payload);
        if (got < 0) {
            __atomic_store_n(&fake->fault, (uint32_t)-got, __ATOMIC_RELEASE);
            break;
        }
        if (got == 0) {
            await_doorbell(fake, &ring);
            continue;
        }
        (fake->replay ? fake->replay : fake_mediator_echo)(fake, &header, payload);
        __atomic_add_fetch(&fake->records, 1, __ATOMIC_RELEASE);
    }
    free(payload);
    return NULL;
}

static void start_worker(struct fake_mediator *fake)
{
    fake->worker_ends = false;
    memset(fake->window + EXTENT_OFFSET, 0, VGPU_CHANNEL_STAGING_OFFSET);
    check(pthread_create(&fake->worker, NULL, work, fake) == 0, "worker");
    fake->worker_runs = true;
}

static void end_worker(struct fake_mediator *fake)
{
    if (!fake->worker_runs)
        return;
    __atomic_store_n(&fake->worker_ends, true, __ATOMIC_RELEASE);
    pthread_join(fake->worker, NULL);
    fake->worker_runs = false;
}

void fake_mediator_lose_worker(struct fake_mediator *fake, uint32_t error)
{
    struct vgpu_channel_entry *entry = vgpu_window_entry(fake->window, 0);
    end_worker(fake);
    entry->error = error;
    __atomic_store_n(&entry->state, VGPU_CHANNEL_LOST, __ATOMIC_RELEASE);
    interrupt_sleepers(fake);
}

void fake_mediator_hang_up(struct fake_mediator *fake)
{
    shutdown(fake->client, SHUT_RDWR);
}

/* ------------------------------------------------------------------------------------------------
 * Mediator
 */

static bool receive(struct fake_mediator *fake, void *data, size_t bytes, int *descriptor)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    for (size_t at = 0; at < bytes;) {
        struct iovec part = {(char *)data + at, bytes - at};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(fake->client, &message, MSG_CMSG_CLOEXEC);
        if (got <= 0)
            return false;
        if (descriptor && message.msg_controllen)
            memcpy(descriptor, CMSG_DATA(&control.header), sizeof(*descriptor));
        at += (size_t)got;
    }
    return true;
}

static bool receive_message(struct fake_mediator *fake, enum vgpu_control_op op, void *body,
                            uint32_t length, int *descriptor)
{
    struct vgpu_control_header header;
    if (!receive(fake, &header, sizeof(header), descriptor))
        return false;
    check(header.magic == VGPU_CONTROL_MAGIC && header.version == VGPU_CONTROL_VERSION &&
              header.op == op && header.length == length,
          "a message of the client is wrong");
    return receive(fake, body, length, NULL);
}

static void send_message(struct fake_mediator *fake, uint16_t version, uint16_t op,
                         const void *body, uint32_t length)
{
    struct vgpu_control_header header = {
        .magic = VGPU_CONTROL_MAGIC, .version = version, .op = op, .length = length};
    send(fake->client, &header, sizeof(header), MSG_NOSIGNAL);
    send(fake->client, body, length, MSG_NOSIGNAL);
}

/* True if the client may go on. */
static bool greet(struct fake_mediator *fake)
{
    struct vgpu_control_welcome welcome = {.vm_id = 7, .pool = 'A'};
    struct vgpu_control_refused refused = {.text = "no more VMs"};
    char garbage[64];
    memset(garbage, 'x', sizeof(garbage));
    switch (fake->greeting) {
    case FAKE_WELCOMES:
        send_message(fake, VGPU_CONTROL_VERSION, VGPU_CONTROL_WELCOME, &welcome, sizeof(welcome));
        return true;
    case FAKE_REFUSES:
        send_message(fake, VGPU_CONTROL_VERSION, VGPU_CONTROL_REFUSED, &refused, sizeof(refused));
        return false;
    case FAKE_GREETS_GARBAGE:
        send(fake->client, garbage, sizeof(garbage), MSG_NOSIGNAL);
        return false;
    case FAKE_GREETS_LONG:
        send_message(fake, VGPU_CONTROL_VERSION, VGPU_CONTROL_WELCOME, garbage, sizeof(garbage));
        return false;
    case FAKE_OTHER_VERSION:
        send_message(fake, 99, VGPU_CONTROL_WELCOME, &welcome, sizeof(welcome));
        return false;
    case FAKE_HANGS_UP:
        return false;
    }
    return false;
}

static bool take_hello(struct fake_mediator *fake)
{
    struct vgpu_control_descriptors events;
    int window = -1;
    fake->doorbell = fake->interrupt = -1;
    if (!receive_message(fake, VGPU_CONTROL_HELLO, &fake->hello, sizeof(fake->hello), &window) ||
        !receive_message(fake, VGPU_CONTROL_DESCRIPTORS, &events, sizeof(events),
                         &fake->doorbell) ||
        !receive_message(fake, VGPU_CONTROL_DESCRIPTORS, &events, sizeof(events), &fake->interrupt))
        return false;
    check(window >= 0 && fake->doorbell >= 0 && fake->interrupt >= 0, "descriptors are missing");
    check(events.kind == VGPU_DESCRIPTOR_INTERRUPT && events.first == 0 && events.count == 1,
          "descriptors are in disorder");
    fake->window_size = fake->hello.window_size;
    fake->window = mmap(NULL, fake->window_size, PROT_READ | PROT_WRITE, MAP_SHARED, window, 0);
    check(fake->window != MAP_FAILED, "the window cannot be mapped");
    close(window);
    return true;
}

static void open_channel(struct fake_mediator *fake, struct vgpu_control_mailbox *box)
{
    struct vgpu_channel_entry *entry = vgpu_window_entry(fake->window, 0);
    struct vgpu_mailbox_client client;
    memcpy(&client, box->data, sizeof(client));
    memcpy(fake->program, client.program, sizeof(client.program));
    check(client.protocol_hash == VGPU_PROTOCOL_HASH && client.version == VGPU_PROTOCOL_VERSION,
          "the client's protocol");
    struct vgpu_mailbox_channel opened = {
        .key = ++fake->key, .offset = EXTENT_OFFSET, .size = VGPU_CHANNEL_BYTES};
    if (fake->answer == FAKE_OUTSIDE)
        opened.offset = (fake->window_size - VGPU_CHANNEL_BYTES) + VGPU_EXTENT_ALIGNMENT;
    end_worker(fake);
    start_worker(fake);
    *entry = (struct vgpu_channel_entry){
        .key = fake->key, .process = client.process, .offset = opened.offset, .size = opened.size};
    __atomic_store_n(&entry->state, VGPU_CHANNEL_OPEN, __ATOMIC_RELEASE);
    memcpy(box->data, &opened, sizeof(opened));
    box->length = sizeof(opened);
}

/* What a mediator answers in its data; unknown ops come back as they were. */
static void answer_in_order(struct fake_mediator *fake, struct vgpu_control_mailbox *box)
{
    struct vgpu_mailbox_request request;
    struct vgpu_mailbox_vector_add add;
    struct vgpu_mailbox_vector_sum sum = {.count = 0};
    memcpy(&request, box->data, sizeof(request));
    memcpy(&add, box->data, sizeof(add));
    if (request.op == VGPU_MAILBOX_CHANNEL_OPEN) {
        open_channel(fake, box);
    } else if (request.op == VGPU_MAILBOX_CHANNEL_CLOSE) {
        end_worker(fake);
        vgpu_window_entry(fake->window, 0)->state = VGPU_CHANNEL_FREE;
        memset(box->data, 0, sizeof(struct vgpu_mailbox_response));
        box->length = sizeof(struct vgpu_mailbox_response);
        __atomic_add_fetch(&fake->closes, 1, __ATOMIC_RELEASE);
    } else if (request.op == VGPU_MAILBOX_VECTOR_ADD) {
        sum.count = add.count;
        for (uint32_t i = 0; i < add.count; i++)
            sum.sum[i] = add.operand[i] + add.operand[add.count + i];
        memcpy(box->data, &sum, sizeof(sum));
        box->length = sizeof(sum);
    }
}

static bool answer(struct fake_mediator *fake, struct vgpu_control_mailbox *box)
{
    struct vgpu_mailbox_refusal refusal = {.response.status = fake->status};
    uint16_t op = VGPU_CONTROL_MAILBOX;
    switch (fake->answer) {
    case FAKE_STATUS:
        if (fake->text)
            snprintf(refusal.text, sizeof(refusal.text), "%s", fake->text);
        memcpy(box->data, &refusal, sizeof(refusal));
        box->length = sizeof(refusal);
        break;
    case FAKE_OTHER_ID:
        box->id++;
        break;
    case FAKE_EMPTY:
        box->length = 0;
        break;
    case FAKE_LONG:
        box->length = VGPU_MAILBOX_BYTES + 1;
        break;
    case FAKE_CUT_OFF:
        memset(box->data, 0, 4);
        box->length = 4;
        break;
    case FAKE_CLOSES:
        return false;
    case FAKE_WRONG_OP:
        op = VGPU_CONTROL_WELCOME;
        break;
    case FAKE_ANSWERS:
    case FAKE_OUTSIDE:
        answer_in_order(fake, box);
        break;
    }
    send_message(fake, VGPU_CONTROL_VERSION, op, box, sizeof(*box));
    return true;
}

static void serve(struct fake_mediator *fake)
{
    struct vgpu_control_mailbox box;
    if (take_hello(fake) && greet(fake)) {
        while (receive_message(fake, VGPU_CONTROL_MAILBOX, &box, sizeof(box), NULL) &&
               answer(fake, &box))
            continue;
    }
    end_worker(fake);
    close(fake->client);
    close(fake->doorbell);
    close(fake->interrupt);
    if (fake->window)
        munmap(fake->window, fake->window_size);
    fake->window = NULL;
    fake->client = -1;
    __atomic_add_fetch(&fake->hang_ups, 1, __ATOMIC_RELEASE);
}

static void *mediate(void *argument)
{
    struct fake_mediator *fake = argument;
    while (!flag(&fake->stopping)) {
        int client = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            break;
        fake->client = client;
        serve(fake);
    }
    return NULL;
}

void fake_mediator_start(struct fake_mediator *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static uint32_t count;
    snprintf(fake->path, sizeof(fake->path), "/tmp/vgpu-test-%d-%u.sock", (int)getpid(), count++);
    strcpy(address.sun_path, fake->path);
    fake->client = -1;
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(fake->path);
    check(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(fake->listener, 8) == 0,
          "cannot listen");
    check(pthread_create(&fake->mediator, NULL, mediate, fake) == 0, "thread");
    setenv("VGPU_SOCKET", fake->path, 1);
}

void fake_mediator_stop(struct fake_mediator *fake)
{
    __atomic_store_n(&fake->stopping, true, __ATOMIC_RELEASE);
    shutdown(fake->listener, SHUT_RDWR);
    if (fake->client >= 0)
        shutdown(fake->client, SHUT_RDWR);
    pthread_join(fake->mediator, NULL);
    close(fake->listener);
    unlink(fake->path);
}
