/* SPDX-License-Identifier: MIT */
/**
 * fake-mediator SOCKET: the other end of the device for its test. Serves one connection and then
 * exits: 0 when it was asked to or the device hung up, 1 (with a line on stderr) when the device
 * broke the protocol. Keeps nothing between runs but the file SOCKET.refuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "protocol/control.h"
#include "protocol/window.h"
#include "tests/vm/fake_mediator.h"

struct fake_mediator {
    int connection;
    const char *refuse; /* path; exists when the next device is to be refused */
    struct vgpu_control_hello hello;
    volatile uint32_t *window;
    int doorbells[VGPU_DOORBELL_MAX];
    int interrupts[VGPU_DOORBELL_MAX];
    bool interrupting;
    bool stalled;
    uint32_t stalled_doorbell;
    uint32_t stalled_id;
};

static _Noreturn void broken(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("fake-mediator: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            broken("line %d: not so: %s", __LINE__, #condition);                                   \
    } while (0)

/** Reads exactly `size` bytes and what descriptors come with them; exits when the device is gone.
 */
static int receive(struct fake_mediator *mediator, void *bytes, size_t size, int *descriptors)
{
    char control[CMSG_SPACE(sizeof(int) * 32)];
    int count = 0;
    size_t done = 0;

    while (done < size) {
        struct iovec vector = {(char *)bytes + done, size - done};
        struct msghdr message = {.msg_iov = &vector,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(mediator->connection, &message, MSG_CMSG_CLOEXEC);

        if (got <= 0)
            exit(done ? 1 : 0);
        for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part;
             part = CMSG_NXTHDR(&message, part)) {
            REQUIRE(part->cmsg_type == SCM_RIGHTS);
            REQUIRE(done == 0); /* descriptors travel with the header's first byte */
            count = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            REQUIRE(descriptors && count <= (int)VGPU_CONTROL_DESCRIPTORS_MAX);
            memcpy(descriptors, CMSG_DATA(part), sizeof(int) * (size_t)count);
        }
        done += (size_t)got;
    }
    return count;
}

static int receive_message(struct fake_mediator *mediator, struct vgpu_control_message *message,
                           uint16_t op, uint32_t length, int *descriptors)
{
    int count = receive(mediator, &message->header, sizeof(message->header), descriptors);

    REQUIRE(message->header.magic == VGPU_CONTROL_MAGIC);
    REQUIRE(message->header.version == VGPU_CONTROL_VERSION);
    REQUIRE(message->header.op == op && message->header.length == length);
    REQUIRE(message->header.reserved == 0);
    receive(mediator, &message->hello, length, NULL);
    return count;
}

static void send_bytes(struct fake_mediator *mediator, const void *bytes, size_t size)
{
    REQUIRE(send(mediator->connection, bytes, size, MSG_NOSIGNAL) == (ssize_t)size);
}

static struct vgpu_control_message build(enum vgpu_control_op op, uint32_t length)
{
    return (struct vgpu_control_message){.header = {.magic = VGPU_CONTROL_MAGIC,
                                                    .version = VGPU_CONTROL_VERSION,
                                                    .op = (uint16_t)op,
                                                    .length = length}};
}

static void send_message(struct fake_mediator *mediator, const struct vgpu_control_message *message)
{
    send_bytes(mediator, message, sizeof(message->header) + message->header.length);
}

static void respond(struct fake_mediator *mediator, uint32_t id, uint64_t value)
{
    struct vgpu_control_message message = build(VGPU_CONTROL_MAILBOX, sizeof(message.mailbox));
    struct fake_response response = {.value = value};

    message.mailbox.id = id;
    message.mailbox.length = sizeof(response);
    memcpy(message.mailbox.data, &response, sizeof(response));
    send_message(mediator, &message);
}

static void identify(struct fake_mediator *mediator, uint32_t id)
{
    struct vgpu_control_message message = build(VGPU_CONTROL_MAILBOX, sizeof(message.mailbox));
    struct vgpu_mailbox_identity identity = {
        .vm_id = FAKE_VM_ID, .pool = FAKE_POOL, .version = VGPU_PROTOCOL_VERSION};

    memcpy(identity.vm, mediator->hello.vm, sizeof(identity.vm));
    message.mailbox.id = id;
    message.mailbox.length = sizeof(identity);
    memcpy(message.mailbox.data, &identity, sizeof(identity));
    send_message(mediator, &message);
}

static void send_welcome(struct fake_mediator *mediator)
{
    struct vgpu_control_message message = build(VGPU_CONTROL_WELCOME, sizeof(message.welcome));

    message.welcome = (struct vgpu_control_welcome){
        .vm_id = FAKE_VM_ID, .pool = FAKE_POOL, .priority = VGPU_PRIORITY_HIGH};
    send_message(mediator, &message);
}

static void send_garbage(struct fake_mediator *mediator, uint32_t id, uint32_t kind)
{
    struct vgpu_control_message message = build(VGPU_CONTROL_MAILBOX, sizeof(message.mailbox));
    char noise[4096];

    message.mailbox.id = id;
    message.mailbox.length = sizeof(struct fake_response);
    switch (kind) {
    case FAKE_GARBAGE_NOISE:
        memset(noise, 0xa5, sizeof(noise));
        send_bytes(mediator, noise, sizeof(noise));
        return;
    case FAKE_GARBAGE_MAGIC:
        message.header.magic++;
        break;
    case FAKE_GARBAGE_VERSION:
        message.header.version++;
        break;
    case FAKE_GARBAGE_OP:
        message.header.op = VGPU_CONTROL_HELLO;
        break;
    case FAKE_GARBAGE_LENGTH:
        message.header.length--;
        break;
    case FAKE_GARBAGE_HUGE_LENGTH:
        message.header.length = UINT32_MAX - 15;
        send_bytes(mediator, &message, sizeof(message.header));
        return;
    case FAKE_GARBAGE_WRONG_ID:
        message.mailbox.id++;
        break;
    case FAKE_GARBAGE_EMPTY_RESPONSE:
        message.mailbox.length = 0;
        break;
    case FAKE_GARBAGE_LONG_RESPONSE:
        message.mailbox.length = VGPU_MAILBOX_BYTES + 1;
        break;
    case FAKE_GARBAGE_SECOND_WELCOME:
        send_welcome(mediator);
        return;
    case FAKE_GARBAGE_TWO_RESPONSES:
        send_message(mediator, &message);
        break;
    case FAKE_GARBAGE_HALF_A_HEADER:
        send_bytes(mediator, &message, sizeof(message.header) / 2);
        exit(0);
    }
    send_message(mediator, &message);
}

static void touch(const char *path)
{
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    REQUIRE(file >= 0);
    close(file);
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void serve(struct fake_mediator *mediator, uint32_t id, const struct fake_request *request)
{
    uint64_t sum = 0;

    switch (request->request.op) {
    case VGPU_MAILBOX_IDENTIFY:
        identify(mediator, id);
        break;
    case FAKE_SUM:
        REQUIRE(request->argument <= mediator->hello.window_size / 4 - 1024);
        for (uint32_t i = 0; i < 1024; i++)
            sum += mediator->window[request->argument + i];
        respond(mediator, id, sum);
        break;
    case FAKE_STALL:
        mediator->stalled = true;
        mediator->stalled_doorbell = request->argument;
        mediator->stalled_id = id;
        break;
    case FAKE_RAISE:
        REQUIRE(request->argument < mediator->hello.vectors);
        REQUIRE(eventfd_write(mediator->interrupts[request->argument], 1) == 0);
        respond(mediator, id, 0);
        break;
    case FAKE_DIE:
        raise(SIGKILL);
        break;
    case FAKE_GARBAGE:
        send_garbage(mediator, id, request->argument);
        break;
    case FAKE_FREEZE:
        usleep(request->argument * 1000);
        respond(mediator, id, 0);
        break;
    case FAKE_REFUSE:
        touch(mediator->refuse);
        exit(0);
    case FAKE_DESCRIBE:
        respond(mediator, id, mediator->hello.priority << 8 | mediator->hello.pool);
        break;
    case FAKE_CLOCK:
        respond(mediator, id, now());
        break;
    case FAKE_ANSWER_BY_INTERRUPT:
        mediator->interrupting = request->argument != 0;
        respond(mediator, id, 0);
        break;
    default:
        broken("unknown op %u", request->request.op);
    }
}

static void serve_mailbox(struct fake_mediator *mediator)
{
    struct vgpu_control_message message;
    struct fake_request request = {0};

    receive_message(mediator, &message, VGPU_CONTROL_MAILBOX, sizeof(message.mailbox), NULL);
    REQUIRE(message.mailbox.length >= 1 && message.mailbox.length <= VGPU_MAILBOX_BYTES);
    memcpy(&request, message.mailbox.data, sizeof(request));
    serve(mediator, message.mailbox.id, &request);
}

static void serve_doorbell(struct fake_mediator *mediator, uint32_t index)
{
    uint64_t rings;

    REQUIRE(read(mediator->doorbells[index], &rings, sizeof(rings)) == sizeof(rings));
    /* Pairs with the guest's load: the answer is there once it differs. */
    __atomic_store_n(&mediator->window[FAKE_ANSWER_OFFSET / 4 + index],
                     ~mediator->window[FAKE_CALL_OFFSET / 4 + index], __ATOMIC_RELEASE);
    if (mediator->interrupting && index < mediator->hello.vectors)
        REQUIRE(eventfd_write(mediator->interrupts[index], 1) == 0);
    if (mediator->stalled && mediator->stalled_doorbell == index) {
        mediator->stalled = false;
        respond(mediator, mediator->stalled_id, rings);
    }
}

static void require_eventfd(int descriptor)
{
    char path[64], target[64] = "";

    snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
    REQUIRE(readlink(path, target, sizeof(target) - 1) > 0);
    REQUIRE(strstr(target, "eventfd"));
}

static void take_descriptors(struct fake_mediator *mediator, uint32_t kind, uint32_t total,
                             int *into)
{
    for (uint32_t have = 0; have < total;) {
        struct vgpu_control_message message;
        int descriptors[VGPU_CONTROL_DESCRIPTORS_MAX];
        int count = receive_message(mediator, &message, VGPU_CONTROL_DESCRIPTORS,
                                    sizeof(message.descriptors), descriptors);

        REQUIRE(message.descriptors.kind == kind && message.descriptors.first == have);
        REQUIRE(message.descriptors.count == (uint32_t)count && message.descriptors.reserved == 0);
        REQUIRE(count >= 1 && have + (uint32_t)count <= total);
        for (int i = 0; i < count; i++) {
            require_eventfd(descriptors[i]);
            into[have++] = descriptors[i];
        }
    }
}

static void take_window(struct fake_mediator *mediator, int window)
{
    struct stat status;
    int seals = fcntl(window, F_GET_SEALS);

    REQUIRE(seals >= 0 && (seals & F_SEAL_SHRINK) && (seals & F_SEAL_GROW));
    REQUIRE(fstat(window, &status) == 0);
    REQUIRE((uint64_t)status.st_size == mediator->hello.window_size);
    void *map =
        mmap(NULL, mediator->hello.window_size, PROT_READ | PROT_WRITE, MAP_SHARED, window, 0);
    REQUIRE(map != MAP_FAILED);
    mediator->window = map;

    const struct vgpu_window_header *header = map;
    REQUIRE(header->magic == VGPU_WINDOW_MAGIC && header->version == VGPU_PROTOCOL_VERSION);
    REQUIRE(header->size == mediator->hello.window_size && header->connected == 0);
    REQUIRE(header->channel_count == mediator->hello.channels);
}

static void greet(struct fake_mediator *mediator)
{
    struct vgpu_control_message message;
    int descriptors[VGPU_CONTROL_DESCRIPTORS_MAX];
    int count =
        receive_message(mediator, &message, VGPU_CONTROL_HELLO, sizeof(message.hello), descriptors);

    REQUIRE(count == 1);
    mediator->hello = message.hello;
    REQUIRE(mediator->hello.channels >= 1 && mediator->hello.channels <= VGPU_DOORBELL_MAX);
    REQUIRE(mediator->hello.vectors >= 1 && mediator->hello.vectors <= mediator->hello.channels);
    REQUIRE(memchr(mediator->hello.vm, '\0', sizeof(mediator->hello.vm)));
    take_window(mediator, descriptors[0]);
    take_descriptors(mediator, VGPU_DESCRIPTOR_DOORBELL, mediator->hello.channels,
                     mediator->doorbells);
    take_descriptors(mediator, VGPU_DESCRIPTOR_INTERRUPT, mediator->hello.vectors,
                     mediator->interrupts);
    if (unlink(mediator->refuse) == 0) {
        message = build(VGPU_CONTROL_REFUSED, sizeof(message.refused));
        strcpy(message.refused.text, "told to refuse\x1b[31m by the test");
        send_message(mediator, &message);
        receive(mediator, &message, 1, NULL); /* exits when the device hangs up */
        broken("a refused device goes on talking");
    }
    send_welcome(mediator);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    REQUIRE(listener >= 0 && strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    unlink(path);
    REQUIRE(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    REQUIRE(listen(listener, 1) == 0);
    return listener;
}

int main(int count, char **arguments)
{
    static struct fake_mediator mediator;
    static struct pollfd polls[1 + VGPU_DOORBELL_MAX];
    char refuse[4096];

    if (count != 2)
        broken("usage: fake-mediator SOCKET");
    snprintf(refuse, sizeof(refuse), "%s.refuse", arguments[1]);
    mediator.refuse = refuse;
    int listener = listen_at(arguments[1]);
    mediator.connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    REQUIRE(mediator.connection >= 0);
    close(listener);
    greet(&mediator);

    polls[0] = (struct pollfd){.fd = mediator.connection, .events = POLLIN};
    for (uint32_t i = 0; i < mediator.hello.channels; i++)
        polls[1 + i] = (struct pollfd){.fd = mediator.doorbells[i], .events = POLLIN};
    for (;;) {
        if (poll(polls, 1 + mediator.hello.channels, -1) < 0)
            broken("poll: %s", strerror(errno));
        if (polls[0].revents)
            serve_mailbox(&mediator);
        for (uint32_t i = 0; i < mediator.hello.channels; i++)
            if (polls[1 + i].revents)
                serve_doorbell(&mediator, i);
    }
}
