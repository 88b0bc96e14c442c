/* SPDX-License-Identifier: MIT */
#include "mediator/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mediator/handshake.h"
#include "mediator/log.h"
#include "mediator/mailbox.h"
#include "mediator/window.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define HANDSHAKE_MILLISECONDS 10000
#define HANG_UP_MILLISECONDS   1000 /* for a refused client to read why */
#define MESSAGES_PER_TURN      16   /* then the others have theirs */
#define PROCESSES_PER_USER     128u

static void vgpu_session_flush(struct vgpu_session *session);

/** False once it has said all that will be looked at. */
static bool vgpu_session_listens(const struct vgpu_session *session)
{
    return !session->failed && session->state != VGPU_SESSION_REFUSED;
}

/** Gives up on a client from deep inside: the socket's callback, which this wakes, ends it. */
static void vgpu_session_doom(struct vgpu_session *session)
{
    session->failed = true;
    shutdown(session->socket.fd, SHUT_RDWR);
}

static void vgpu_session_send(struct vgpu_session *session, enum vgpu_control_op op,
                              const void *body, size_t length)
{
    const struct vgpu_control_header header = {
        .magic = VGPU_CONTROL_MAGIC,
        .version = VGPU_CONTROL_VERSION,
        .op = op,
        .length = (uint32_t)length,
    };

    if (session->queued + sizeof(header) + length > sizeof(session->output)) {
        vgpu_log_client(VGPU_LOG_WARNING, "%s: dropped, because it does not read its answers",
                        session->label);
        vgpu_session_doom(session);
        return;
    }
    memcpy(session->output + session->queued, &header, sizeof(header));
    memcpy(session->output + session->queued + sizeof(header), body, length);
    session->queued += (uint32_t)(sizeof(header) + length);
    vgpu_session_flush(session);
}

static void vgpu_session_watch(struct vgpu_session *session)
{
    bool hears = session->state != VGPU_SESSION_WAITING;

    vgpu_loop_change(session->mediator->loop, &session->socket,
                     (hears ? EPOLLIN : 0u) | (session->queued ? EPOLLOUT : 0u));
}

static void vgpu_session_flush(struct vgpu_session *session)
{
    ssize_t sent = 0;

    if (session->queued)
        sent =
            send(session->socket.fd, session->output, session->queued, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        vgpu_session_doom(session);
        return;
    }
    if (sent > 0) {
        session->queued -= (uint32_t)sent;
        memmove(session->output, session->output + sent, session->queued);
    }
    vgpu_session_watch(session);
}

void vgpu_session_answer(struct vgpu_session *session, uint32_t id, const void *data, size_t length)
{
    struct vgpu_control_mailbox mailbox = {.id = id, .length = (uint32_t)length};

    if (session->failed || session->state != VGPU_SESSION_ATTACHED)
        return;
    memcpy(mailbox.data, data, length);
    vgpu_session_send(session, VGPU_CONTROL_MAILBOX, &mailbox, sizeof(mailbox));
}

void vgpu_session_fail(struct vgpu_session *session, const char *format, ...)
{
    struct vgpu_control_refused refused = {0};
    va_list arguments;

    if (!vgpu_session_listens(session))
        return;
    va_start(arguments, format);
    vsnprintf(refused.text, sizeof(refused.text), format, arguments);
    va_end(arguments);
    if (session->state == VGPU_SESSION_ATTACHED) {
        session->vm->garbage++;
        vgpu_log_client(VGPU_LOG_WARNING, "%s: disconnected: %s", session->label, refused.text);
        vgpu_session_doom(session);
    } else {
        session->mediator->refused++;
        vgpu_log_client(VGPU_LOG_WARNING, "%s: refused: %s", session->label, refused.text);
        vgpu_session_send(session, VGPU_CONTROL_REFUSED, &refused, sizeof(refused));
        /* Not a full close: some clients notice the end before they read what came before it. */
        session->state = VGPU_SESSION_REFUSED;
        if (shutdown(session->socket.fd, SHUT_WR) < 0 ||
            vgpu_timer_start(session->mediator->loop, &session->deadline, HANG_UP_MILLISECONDS) < 0)
            vgpu_session_doom(session);
    }
}

void vgpu_session_welcome(struct vgpu_session *session)
{
    const struct vgpu_control_welcome welcome = {
        .vm_id = session->vm->id,
        .pool = session->vm->pool,
        .priority = session->vm->priority,
    };

    session->state = VGPU_SESSION_ATTACHED;
    session->vm->sessions++;
    vgpu_timer_stop(session->mediator->loop, &session->deadline);
    vgpu_session_send(session, VGPU_CONTROL_WELCOME, &welcome, sizeof(welcome));
}

static void vgpu_session_drop_incoming(struct vgpu_session *session)
{
    for (uint32_t i = 0; i < session->incoming_count; i++)
        close(session->incoming[i]);
    session->incoming_count = 0;
}

/** Keeps the descriptors of a read. False if it has some in mid-message, or too many. */
static bool vgpu_session_take_descriptors(struct vgpu_session *session, struct msghdr *message)
{
    bool fine = !(message->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
            if (session->received == 0 && session->incoming_count < VGPU_CONTROL_DESCRIPTORS_MAX) {
                session->incoming[session->incoming_count++] = fd;
            } else {
                close(fd);
                fine = false;
            }
        }
    }
    return fine;
}

/** The op that this state is waiting for, and the length of its body. */
static enum vgpu_control_op vgpu_session_expected(const struct vgpu_session *session,
                                                  uint32_t *length)
{
    if (session->state == VGPU_SESSION_HELLO) {
        *length = sizeof(struct vgpu_control_hello);
        return VGPU_CONTROL_HELLO;
    }
    if (session->state == VGPU_SESSION_DESCRIPTORS) {
        *length = sizeof(struct vgpu_control_descriptors);
        return VGPU_CONTROL_DESCRIPTORS;
    }
    *length = sizeof(struct vgpu_control_mailbox);
    return VGPU_CONTROL_MAILBOX;
}

static bool vgpu_session_check_header(struct vgpu_session *session)
{
    const struct vgpu_control_header *header = &session->input.header;
    uint32_t length;
    enum vgpu_control_op op = vgpu_session_expected(session, &length);

    if (header->magic != VGPU_CONTROL_MAGIC)
        vgpu_session_fail(session, "this is not the protocol of a vgpu mediator");
    else if (header->version != VGPU_CONTROL_VERSION)
        vgpu_session_fail(session, "control protocol version %u; this mediator speaks version %u",
                          header->version, VGPU_CONTROL_VERSION);
    else if (header->op != op)
        vgpu_session_fail(session, "message %u came where message %u is due", header->op, op);
    else if (header->length != length || header->reserved != 0)
        vgpu_session_fail(session, "message %u has a length or reserved field that it cannot have",
                          header->op);
    return vgpu_session_listens(session);
}

static void vgpu_session_dispatch(struct vgpu_session *session)
{
    const struct vgpu_control_mailbox *mailbox = &session->input.mailbox;

    switch (session->state) {
    case VGPU_SESSION_HELLO:
        vgpu_handshake_hello(session);
        break;
    case VGPU_SESSION_DESCRIPTORS:
        vgpu_handshake_descriptors(session);
        break;
    default:
        if (session->incoming_count)
            vgpu_session_fail(session, "a mailbox message brings descriptors");
        else if (mailbox->length == 0 || mailbox->length > VGPU_MAILBOX_BYTES)
            vgpu_session_fail(session, "a mailbox message of impossible length");
        else
            vgpu_mailbox_handle(session, mailbox->id, mailbox->data, mailbox->length);
        break;
    }
    vgpu_session_drop_incoming(session);
}

/** The kernel does not say why it left out descriptors of a message. */
static bool vgpu_session_is_out_of_descriptors(void)
{
    int spare = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (spare < 0)
        return errno == EMFILE || errno == ENFILE;
    close(spare);
    return false;
}

/** Reads at most to the end of the current header or body. False: nothing more for now. */
static bool vgpu_session_read(struct vgpu_session *session)
{
    uint32_t wanted = sizeof(session->input.header);
    char control[CMSG_SPACE(sizeof(session->incoming))];
    struct iovec bytes;
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};

    if (session->received >= wanted)
        wanted += session->input.header.length;
    bytes = (struct iovec){.iov_base = (uint8_t *)&session->input + session->received,
                           .iov_len = wanted - session->received};
    ssize_t count = recvmsg(session->socket.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (count <= 0) {
        session->failed = true; /* it went away, which is nobody's fault */
        return false;
    }
    if (!vgpu_session_take_descriptors(session, &message)) {
        if (message.msg_flags & MSG_CTRUNC && vgpu_session_is_out_of_descriptors())
            vgpu_session_fail(session,
                              "the mediator has no descriptors left; its administrator can "
                              "raise LimitNOFILE= of its unit");
        else
            vgpu_session_fail(session, "descriptors where there should be none, or more than %u",
                              VGPU_CONTROL_DESCRIPTORS_MAX);
        return false;
    }
    session->received += (uint32_t)count;
    if (session->received == sizeof(session->input.header))
        return vgpu_session_check_header(session);
    if (session->received < sizeof(session->input.header) || session->received < wanted)
        return true;
    session->received = 0;
    vgpu_session_dispatch(session);
    return vgpu_session_listens(session) && session->state != VGPU_SESSION_WAITING;
}

/** Throws away what a refused client still says, until it hangs up. */
static void vgpu_session_drain(struct vgpu_session *session)
{
    char rest[4096];
    ssize_t count = recv(session->socket.fd, rest, sizeof(rest), MSG_DONTWAIT);

    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR))
        session->failed = true;
}

static void vgpu_session_ready(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_session *session = vgpu_container(source, struct vgpu_session, socket);

    if (events & EPOLLOUT && !session->failed)
        vgpu_session_flush(session);
    if (session->state == VGPU_SESSION_REFUSED) {
        vgpu_session_drain(session);
    } else if (events & EPOLLIN && !session->failed) { /* each message takes two reads */
        for (int i = 0; i < 2 * MESSAGES_PER_TURN && vgpu_session_read(session); i++)
            continue;
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        session->failed = true;
    }
    if (session->failed)
        vgpu_session_end(session);
    else if (session->state == VGPU_SESSION_WAITING)
        vgpu_session_watch(session);
}

static void vgpu_session_peer_died(struct vgpu_source *source, uint32_t events)
{
    (void)events;
    vgpu_session_end(vgpu_container(source, struct vgpu_session, peer));
}

static void vgpu_session_expired(struct vgpu_timer *timer)
{
    struct vgpu_session *session = vgpu_container(timer, struct vgpu_session, deadline);

    if (session->state == VGPU_SESSION_WAITING)
        vgpu_session_fail(session, "workers of this VM's former connection do not end");
    else if (session->state != VGPU_SESSION_REFUSED)
        vgpu_session_fail(session, "no complete HELLO within %d s", HANDSHAKE_MILLISECONDS / 1000);
    else
        session->failed = true;
    if (session->failed)
        vgpu_session_end(session);
}

/** A pidfd for the process that connected: a child that inherited the socket does not outlive it.
 */
static void vgpu_session_watch_peer(struct vgpu_session *session)
{
    socklen_t size = sizeof(session->peer.fd);

    if (getsockopt(session->socket.fd, SOL_SOCKET, SO_PEERPIDFD, &session->peer.fd, &size) < 0) {
        /* Before Linux 6.5: by its number, which is another's only if it has died already. */
        bool by_number = errno == ENOPROTOOPT && session->pid > 0;

        session->peer.fd = by_number ? (int)syscall(SYS_pidfd_open, session->pid, 0) : -1;
    }
    session->peer.ready = vgpu_session_peer_died;
    if (session->peer.fd >= 0 &&
        vgpu_loop_add(session->mediator->loop, &session->peer, EPOLLIN) < 0) {
        close(session->peer.fd);
        session->peer.fd = -1;
    }
}

static uint32_t vgpu_session_count_user(const struct vgpu_mediator *mediator, uid_t uid)
{
    uint32_t count = 0;

    for (const struct vgpu_session *other = mediator->sessions; other; other = other->next)
        count += !other->is_device && other->uid == uid && other->state != VGPU_SESSION_ENDED;
    return count;
}

static void vgpu_session_identify_peer(struct vgpu_session *session)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof(peer);

    getsockopt(session->socket.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    session->uid = peer.uid;
    session->pid = peer.pid;
    snprintf(session->label, sizeof(session->label), "connection %u (%s, process %d of user %u)",
             ++session->mediator->next_peer, session->is_device ? "device" : "process",
             (int)peer.pid, (unsigned)peer.uid);
}

void vgpu_session_create(struct vgpu_mediator *mediator, int socket, bool is_device)
{
    struct vgpu_session *session = calloc(1, sizeof(*session));

    if (!session) {
        close(socket);
        return;
    }
    session->mediator = mediator;
    session->is_device = is_device;
    session->socket = (struct vgpu_source){.fd = socket, .ready = vgpu_session_ready};
    session->peer.fd = session->deadline.source.fd = session->window_fd = -1;
    session->deadline.expired = vgpu_session_expired;
    vgpu_primitive_init(&session->primitive, session);
    vgpu_session_identify_peer(session);
    bool crowded =
        !is_device && vgpu_session_count_user(mediator, session->uid) >= PROCESSES_PER_USER;
    session->next = mediator->sessions;
    mediator->sessions = session;
    if (vgpu_loop_add(mediator->loop, &session->socket, EPOLLIN) < 0 ||
        vgpu_timer_start(mediator->loop, &session->deadline, HANDSHAKE_MILLISECONDS) < 0)
        vgpu_session_fail(session, "the mediator is out of resources");
    else if (crowded)
        vgpu_session_fail(session, "user %u already has %u programs here", (unsigned)session->uid,
                          PROCESSES_PER_USER);
    else if (!is_device)
        vgpu_session_watch_peer(session);
    if (session->failed)
        vgpu_session_end(session);
}

static void vgpu_session_disconnect(struct vgpu_session *session)
{
    struct vgpu_loop *loop = session->mediator->loop;
    char rest[4096];

    /* Unread input would turn the close into a reset, and the client might miss our last words. */
    for (int i = 0; i < 16 && recv(session->socket.fd, rest, sizeof(rest), MSG_DONTWAIT) > 0; i++)
        continue;
    vgpu_loop_remove(loop, &session->socket);
    vgpu_loop_remove(loop, &session->peer);
    vgpu_timer_stop(loop, &session->deadline);
    vgpu_session_drop_incoming(session);
}

void vgpu_session_end(struct vgpu_session *session)
{
    bool attached = session->state == VGPU_SESSION_ATTACHED;

    if (session->state == VGPU_SESSION_ENDED)
        return;
    vgpu_session_disconnect(session);
    if (attached) {
        session->vm->sessions--;
        vgpu_log_client(VGPU_LOG_INFO, "%s: disconnected", session->label);
        vgpu_events_pass(&session->mediator->events, "disconnected", session->vm->name, "%s",
                         session->label);
    }
    session->state = VGPU_SESSION_ENDED;
    if (attached) {
        vgpu_channels_close(session);
        vgpu_primitive_close(&session->primitive);
    }
    vgpu_session_settle(session);
}

static void vgpu_session_destroy(struct vgpu_session *session)
{
    struct vgpu_session **place = &session->mediator->sessions;

    while (*place != session)
        place = &(*place)->next;
    *place = session->next;
    for (uint32_t i = 0; i < session->descriptor_count; i++)
        close(session->descriptors[i]);
    free(session->descriptors);
    vgpu_extents_clear(&session->extents);
    if (session->window)
        vgpu_window_unmap(session->window);
    if (session->window_fd >= 0)
        close(session->window_fd);
    free(session);
}

void vgpu_session_settle(struct vgpu_session *session)
{
    struct vgpu_mediator *mediator = session->mediator;

    if (session->state != VGPU_SESSION_ENDED || session->workers)
        return;
    vgpu_session_destroy(session);
    if (mediator->stopping && !mediator->sessions)
        vgpu_loop_stop(mediator->loop);
    if (!mediator->stopping)
        vgpu_handshake_resume(mediator);
}

int vgpu_session_interrupt(const struct vgpu_session *session, uint32_t channel)
{
    return session->descriptors[session->hello.channels + channel % session->hello.vectors];
}

/** Brings round trips that the VM's guests have counted to its totals. */
static void vgpu_session_count_latency(const struct vgpu_mediator *mediator, struct vgpu_vm *vm)
{
    for (const struct vgpu_session *session = mediator->sessions; session;
         session = session->next) {
        for (uint32_t i = 0; session->vm == vm && i < session->hello.channels; i++) {
            struct vgpu_channel *channel = session->channels[i];

            if (channel && channel->life != VGPU_CHANNEL_DEAD)
                vgpu_counters_add_latency(&vm->totals, channel->latency, session->window_fd,
                                          channel->offset);
        }
    }
}

void vgpu_session_count(struct vgpu_mediator *mediator, struct vgpu_vm *vm,
                        struct vgpu_counters *counters)
{
    vgpu_gpu_time_count(mediator);
    vgpu_session_count_latency(mediator, vm);
    *counters = vm->totals;
    for (const struct vgpu_session *session = mediator->sessions; session;
         session = session->next) {
        if (session->vm != vm)
            continue;
        if (session->primitive.runs)
            vgpu_counters_add_worker(counters, session->primitive.worker.page);
        for (uint32_t i = 0; i < session->hello.channels; i++) {
            const struct vgpu_channel *channel = session->channels[i];

            if (channel && channel->life != VGPU_CHANNEL_DEAD)
                vgpu_counters_add_worker(counters, channel->worker.page);
        }
    }
    counters->gpu_nanoseconds = vm->gpu_nanoseconds;
    vgpu_counters_keep(counters, &vm->shown);
}

void vgpu_sessions_stop(struct vgpu_mediator *mediator)
{
    struct vgpu_session *next;

    mediator->stopping = true;
    if (!mediator->sessions)
        vgpu_loop_stop(mediator->loop);
    for (struct vgpu_session *session = mediator->sessions; session; session = next) {
        next = session->next;
        vgpu_session_end(session);
    }
}
