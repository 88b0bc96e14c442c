/* SPDX-License-Identifier: MIT */
/* The process socket of protocol/control.h: we are the window's maker, and its only process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "guest/channel/transport.h"
#include "interop/thread.h"
#include "protocol/control.h"

#define SOCKET_WINDOW_MOST     (16ull << 30) /* only what is used is there */
#define SOCKET_WELCOME_SECONDS 60  /* a mediator that restarts lets running work finish before */
#define SOCKET_MAILBOX_SECONDS 120 /* the first channel may wait for a GPU to be initialised */

struct socket_transport {
    struct vgpu_transport transport; /* first: the vtable's functions are given this */
    pthread_mutex_t mailbox_lock;
    uint32_t mailbox_id;
    int socket;
    int doorbell;
    int interrupt;
};

static struct socket_transport *socket_transport(struct vgpu_transport *transport)
{
    return (struct socket_transport *)transport;
}

static int64_t now_milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------------------------------
 * Messages
 */

/* Sends a message whole; a descriptor travels with its first byte unless it is -1. */
static int send_message(int socket, enum vgpu_control_op op, const void *body, uint32_t length,
                        int descriptor)
{
    struct vgpu_control_header header = {.magic = VGPU_CONTROL_MAGIC,
                                         .version = VGPU_CONTROL_VERSION,
                                         .op = (uint16_t)op,
                                         .length = length};
    struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)body, length}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (descriptor >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
    }
    while (parts[0].iov_len + parts[1].iov_len > 0) {
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -EHOSTDOWN;
        message.msg_control = NULL;
        message.msg_controllen = 0;
        for (int i = 0; i < 2; i++) {
            size_t step = (size_t)sent < parts[i].iov_len ? (size_t)sent : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + step;
            parts[i].iov_len -= step;
            sent -= (ssize_t)step;
        }
    }
    return 0;
}

static int receive_bytes(int socket, void *data, size_t bytes, int64_t deadline)
{
    uint8_t *target = data;
    while (bytes > 0) {
        struct pollfd poll_socket = {.fd = socket, .events = POLLIN};
        int64_t left = deadline - now_milliseconds();
        int ready = poll(&poll_socket, 1, left > 0 ? (int)left : 0);
        if (ready == 0)
            return -ETIMEDOUT;
        if (ready < 0 && errno != EINTR)
            return -EIO;
        if (ready < 0)
            continue;
        ssize_t got = recv(socket, target, bytes, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return -EHOSTDOWN;
        target += got;
        bytes -= (size_t)got;
    }
    return 0;
}

/* Receives a header; -EPROTO if its magic or version is not ours. */
static int receive_header(int socket, struct vgpu_control_header *header, int64_t deadline)
{
    int error = receive_bytes(socket, header, sizeof(*header), deadline);
    if (error)
        return error;
    if (header->magic != VGPU_CONTROL_MAGIC || header->version != VGPU_CONTROL_VERSION)
        return -EPROTO;
    return 0;
}

/* ------------------------------------------------------------------------------------------------
 * Operations
 */

static void set_connected(struct socket_transport *self, bool connected)
{
    struct vgpu_window_header *header = self->transport.window;
    if (connected)
        header->generation++;
    __atomic_store_n(&header->connected, connected, __ATOMIC_RELEASE);
}

static int exchange(struct socket_transport *self, const void *request, size_t length,
                    struct vgpu_control_mailbox *box)
{
    int64_t deadline = now_milliseconds() + SOCKET_MAILBOX_SECONDS * 1000;
    uint32_t id = ++self->mailbox_id;
    memset(box, 0, sizeof(*box));
    box->id = id;
    box->length = (uint32_t)length;
    memcpy(box->data, request, length);
    struct vgpu_control_header header;
    int error = send_message(self->socket, VGPU_CONTROL_MAILBOX, box, sizeof(*box), -1);
    if (!error)
        error = receive_header(self->socket, &header, deadline);
    if (!error && (header.op != VGPU_CONTROL_MAILBOX || header.length != sizeof(*box)))
        error = -EPROTO;
    if (!error)
        error = receive_bytes(self->socket, box, sizeof(*box), deadline);
    if (!error && (box->id != id || box->length == 0 || box->length > VGPU_MAILBOX_BYTES))
        error = -EPROTO;
    return error;
}

static int socket_mailbox(struct vgpu_transport *transport, const void *request, size_t length,
                          void *response)
{
    struct socket_transport *self = socket_transport(transport);
    const struct vgpu_window_header *header = transport->window;
    struct vgpu_control_mailbox box;
    if (length == 0 || length > VGPU_MAILBOX_BYTES)
        return -EMSGSIZE;
    if (transport->forked)
        return -EHOSTDOWN;
    /* A thread that is cancelled in an exchange would leave the lock, and half an answer. */
    int cancelling = vgpu_thread_keep();
    pthread_mutex_lock(&self->mailbox_lock);
    int error = -EHOSTDOWN;
    if (__atomic_load_n(&header->connected, __ATOMIC_RELAXED)) {
        error = exchange(self, request, length, &box);
        if (error) {
            /* The stream is at an unknown place: nothing more can be said on it. */
            set_connected(self, false);
            shutdown(self->socket, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&self->mailbox_lock);
    vgpu_thread_let_cancel(cancelling);
    if (error)
        return error == -EHOSTDOWN ? error : -EIO;
    memcpy(response, box.data, box.length);
    return (int)box.length;
}

static void signal_event(int event)
{
    uint64_t one = 1;
    /* A thread that is cancelled here would leave a record behind for which nobody is woken. */
    int cancelling = vgpu_thread_keep();
    /* A full counter (EAGAIN) is a signal that waits to be read: as good. */
    ssize_t written = write(event, &one, sizeof(one));
    (void)written;
    vgpu_thread_let_cancel(cancelling);
}

static void socket_ring_doorbell(struct vgpu_transport *transport, uint32_t channel)
{
    (void)channel; /* there is one */
    if (!transport->forked)
        signal_event(socket_transport(transport)->doorbell);
}

static void socket_sleep(struct vgpu_transport *transport, uint64_t nanoseconds, bool listen)
{
    struct socket_transport *self = socket_transport(transport);
    struct timespec limit = {.tv_sec = (time_t)(nanoseconds / 1000000000),
                             .tv_nsec = (long)(nanoseconds % 1000000000)};
    struct pollfd events[2] = {{.fd = listen ? self->interrupt : -1, .events = POLLIN},
                               {.fd = self->socket, .events = POLLRDHUP}};
    if (transport->forked || ppoll(events, 2, &limit, NULL) <= 0)
        return;
    uint64_t count;
    if (events[0].revents && read(self->interrupt, &count, sizeof(count)) < 0 && errno != EAGAIN)
        events[1].revents |= POLLERR;
    if (events[1].revents)
        set_connected(self, false);
}

static int socket_own_channel(struct vgpu_transport *transport, uint32_t channel, uint32_t key)
{
    /* The mediator sees the socket close when this process ends. */
    (void)transport;
    (void)channel;
    (void)key;
    return 0;
}

static void close_descriptors(struct socket_transport *self)
{
    int *descriptors[] = {&self->socket, &self->transport.window_file, &self->doorbell,
                          &self->interrupt};
    for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++) {
        if (*descriptors[i] >= 0)
            close(*descriptors[i]);
        *descriptors[i] = -1;
    }
}

static void socket_forked(struct vgpu_transport *transport)
{
    close_descriptors(socket_transport(transport));
}

static void socket_close(struct vgpu_transport *transport)
{
    struct socket_transport *self = socket_transport(transport);
    close_descriptors(self);
    if (transport->window)
        munmap(transport->window, transport->window_size);
    pthread_mutex_destroy(&self->mailbox_lock);
    free(self);
}

static const struct vgpu_transport_operations socket_operations = {
    .mailbox = socket_mailbox,
    .ring_doorbell = socket_ring_doorbell,
    .sleep = socket_sleep,
    .close = socket_close,
    .forked = socket_forked,
    .own_channel = socket_own_channel,
};

/* ------------------------------------------------------------------------------------------------
 * Opening
 */

static int connect_socket(const char *path, char *message, size_t size, int *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return vgpu_transport_explain(message, size, -EHOSTDOWN, "the socket path %s is too long",
                                      path);
    strcpy(address.sun_path, path);
    int socket_file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_file < 0)
        return vgpu_transport_explain(message, size, -EIO, "no socket: %s", strerror(errno));
    if (connect(socket_file, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = errno == EACCES ? -EACCES : -EHOSTDOWN;
        vgpu_transport_explain(message, size, error,
                               error == -EACCES
                                   ? "%s: %s: ask to be let into the socket's group"
                                   : "no mediator at %s (%s): is vgpu-mediator running?",
                               path, strerror(errno));
        close(socket_file);
        return error;
    }
    *out = vgpu_transport_set_aside(socket_file);
    return 0;
}

/* A file may not be larger than the process's limit (a signal would tell), this one neither; and
 * where addresses are limited, most are the program's. */
static uint64_t window_size(void)
{
    struct rlimit files = {RLIM_INFINITY, RLIM_INFINITY}, addresses = files;
    uint64_t size = SOCKET_WINDOW_MOST;
    getrlimit(RLIMIT_FSIZE, &files);
    getrlimit(RLIMIT_AS, &addresses);
    if (files.rlim_cur < size)
        size = files.rlim_cur;
    if (addresses.rlim_cur / 4 < size)
        size = addresses.rlim_cur / 4;
    return size / VGPU_WINDOW_MINIMUM_SIZE * VGPU_WINDOW_MINIMUM_SIZE;
}

static int make_window(struct socket_transport *self)
{
    uint64_t size = window_size();
    if (size == 0)
        return -EFBIG;
    int file =
        vgpu_transport_set_aside(memfd_create("vgpu-window", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    self->transport.window_file = file;
    if (file < 0 || ftruncate(file, (off_t)size) < 0 ||
        fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    void *window = mmap(NULL, size, PROT_NONE, MAP_SHARED, file, 0);
    if (window == MAP_FAILED)
        return -errno;
    self->transport.window = window;
    self->transport.window_size = size;
    int error = vgpu_transport_use(&self->transport, 0, VGPU_WINDOW_EXTENTS_OFFSET);
    if (error)
        return error;
    madvise(window, size, MADV_DONTDUMP);
    self->transport.channel_count = 1;
    *(struct vgpu_window_header *)window =
        (struct vgpu_window_header){.magic = VGPU_WINDOW_MAGIC,
                                    .version = VGPU_PROTOCOL_VERSION,
                                    .size = size,
                                    .channel_count = 1};
    /* Not blocking, like QEMU's, so that the worker finds the same kind whoever the client is. */
    self->doorbell = vgpu_transport_set_aside(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    self->interrupt = vgpu_transport_set_aside(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return self->doorbell < 0 || self->interrupt < 0 ? -errno : 0;
}

static int introduce(struct socket_transport *self)
{
    struct vgpu_control_hello hello = {
        .window_size = self->transport.window_size, .channels = 1, .vectors = 1};
    snprintf(hello.vm, sizeof(hello.vm), "%s", program_invocation_short_name);
    int error = send_message(self->socket, VGPU_CONTROL_HELLO, &hello, sizeof(hello),
                             self->transport.window_file);
    struct vgpu_control_descriptors events = {.kind = VGPU_DESCRIPTOR_DOORBELL, .count = 1};
    if (!error)
        error = send_message(self->socket, VGPU_CONTROL_DESCRIPTORS, &events, sizeof(events),
                             self->doorbell);
    events.kind = VGPU_DESCRIPTOR_INTERRUPT;
    if (!error)
        error = send_message(self->socket, VGPU_CONTROL_DESCRIPTORS, &events, sizeof(events),
                             self->interrupt);
    return error;
}

/* Turns the mediator's first message into 0 or an error and a line for the user. */
static int await_welcome(struct socket_transport *self, char *message, size_t size)
{
    int64_t deadline = now_milliseconds() + SOCKET_WELCOME_SECONDS * 1000;
    const char *path = self->transport.name;
    struct vgpu_control_header header;
    struct vgpu_control_refused refused;
    struct vgpu_control_welcome welcome;
    int error = receive_header(self->socket, &header, deadline);
    if (error == -EPROTO && header.magic == VGPU_CONTROL_MAGIC)
        return vgpu_transport_explain(
            message, size, error,
            "the mediator at %s speaks control protocol %u, this library %u: install "
            "the same vgpu on both sides",
            path, header.version, VGPU_CONTROL_VERSION);
    if (!error && header.op == VGPU_CONTROL_REFUSED && header.length == sizeof(refused)) {
        error = receive_bytes(self->socket, &refused, sizeof(refused), deadline);
        refused.text[sizeof(refused.text) - 1] = 0;
        if (!error)
            return vgpu_transport_explain(message, size, -ECONNREFUSED,
                                          "the mediator at %s refused: %s", path, refused.text);
    } else if (!error && (header.op != VGPU_CONTROL_WELCOME || header.length != sizeof(welcome))) {
        error = -EPROTO;
    } else if (!error) {
        error = receive_bytes(self->socket, &welcome, sizeof(welcome), deadline);
    }
    if (error == -EPROTO)
        return vgpu_transport_explain(message, size, error,
                                      "what listens at %s is not a vgpu mediator", path);
    if (error == -ETIMEDOUT)
        return vgpu_transport_explain(message, size, -EHOSTDOWN,
                                      "the mediator at %s does not answer", path);
    if (error)
        return vgpu_transport_explain(message, size, -EHOSTDOWN, "the mediator at %s hung up",
                                      path);
    return 0;
}

static void explain_window(int error, char *message, size_t size)
{
    if (error == -EFBIG)
        vgpu_transport_explain(message, size, error,
                               "the limits of this process leave less than the %llu MiB of the "
                               "smallest window: raise those of files (ulimit -f) and of "
                               "addresses (ulimit -v)",
                               VGPU_WINDOW_MINIMUM_SIZE >> 20);
    else
        vgpu_transport_explain(message, size, error, "no memory for a window of %llu MiB: %s",
                               (unsigned long long)window_size() >> 20, strerror(-error));
}

int vgpu_transport_open_socket(const char *path, struct vgpu_transport **out, char *message,
                               size_t message_size)
{
    struct socket_transport *self = calloc(1, sizeof(*self));
    if (!self)
        return vgpu_transport_explain(message, message_size, -ENOMEM, "out of memory");
    self->transport.operations = &socket_operations;
    self->transport.interrupts = true;
    self->socket = self->transport.window_file = self->doorbell = self->interrupt = -1;
    pthread_mutex_init(&self->mailbox_lock, NULL);
    snprintf(self->transport.name, sizeof(self->transport.name), "%s", path);
    int error = connect_socket(path, message, message_size, &self->socket);
    if (!error) {
        error = make_window(self);
        if (error)
            explain_window(error, message, message_size);
    }
    if (!error) {
        /* A mediator that refuses at once closes before it has read all: its text still waits. */
        introduce(self);
        error = await_welcome(self, message, message_size);
    }
    if (error) {
        socket_close(&self->transport);
        return error;
    }
    set_connected(self, true);
    *out = &self->transport;
    return 0;
}
