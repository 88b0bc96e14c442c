/* SPDX-License-Identifier: MIT */
/** A client of the admin socket: lines in, lines out. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mediator/admin/admin.h"
#include "mediator/admin/call.h"
#include "mediator/log.h"
#include "mediator/mediator.h"

#define CLIENTS_MAX       64u
#define LINE_MAX_BYTES    16384u
#define OUTPUT_MAX        (8u << 20) /* that a client has not read; a list of many VMs fits */
#define IDLE_MILLISECONDS 60000

struct vgpu_admin_client {
    struct vgpu_admin_client *next;
    struct vgpu_mediator *mediator;
    struct vgpu_source socket;
    struct vgpu_timer idle; /* not while it follows events */
    struct vgpu_events_follower follower;
    struct ucred peer;
    bool follows;
    bool spoke;  /* it is a client of requests, not of the snapshot */
    bool deaf;   /* what it says is thrown away until it hangs up */
    bool ending; /* hung up on when all was sent */
    bool failed; /* to be ended by its callback */
    size_t received;
    size_t length; /* of `output` */
    size_t sent;
    char *output;
    char input[LINE_MAX_BYTES];
};

static void vgpu_admin_end(struct vgpu_admin_client *client)
{
    struct vgpu_mediator *mediator = client->mediator;
    struct vgpu_admin_client **place = &mediator->admins;

    while (*place != client)
        place = &(*place)->next;
    *place = client->next;
    vgpu_events_leave(&mediator->events, &client->follower);
    vgpu_timer_stop(mediator->loop, &client->idle);
    vgpu_loop_remove(mediator->loop, &client->socket);
    free(client->output);
    free(client);
}

/** Queues text; the client is given up if it has too much of it to read already. */
static void vgpu_admin_queue(struct vgpu_admin_client *client, const char *text, size_t length)
{
    size_t pending = client->length - client->sent;
    char *grown = NULL;

    if (pending)
        memmove(client->output, client->output + client->sent, pending);
    client->length = pending;
    client->sent = 0;
    if (pending + length <= OUTPUT_MAX)
        grown = realloc(client->output, pending + length);
    if (!grown) {
        client->failed = true;
        shutdown(client->socket.fd, SHUT_RDWR); /* which calls its callback */
        return;
    }
    memcpy(grown + pending, text, length);
    client->output = grown;
    client->length = pending + length;
    vgpu_loop_change(client->mediator->loop, &client->socket, EPOLLIN | EPOLLOUT);
}

static void vgpu_admin_queue_json(struct vgpu_admin_client *client, json_t *line)
{
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

    json_decref(line);
    if (!text) {
        client->failed = true;
        return;
    }
    vgpu_admin_queue(client, text, strlen(text));
    if (!client->failed)
        vgpu_admin_queue(client, "\n", 1);
    free(text);
}

static void vgpu_admin_happened(struct vgpu_events_follower *follower,
                                const struct vgpu_event *event)
{
    struct vgpu_admin_client *client = vgpu_container(follower, struct vgpu_admin_client, follower);

    if (!client->failed)
        vgpu_admin_queue_json(client, vgpu_admin_event(event));
}

static void vgpu_admin_line(struct vgpu_admin_client *client, const char *line, size_t length)
{
    struct vgpu_admin_call call = {
        .mediator = client->mediator,
        .uid = client->peer.uid,
        .pid = (uint32_t)client->peer.pid,
    };

    client->spoke = true;
    vgpu_admin_queue_json(client, vgpu_admin_answer(&call, line, length));
    if (call.follow && !client->follows && !client->failed) {
        client->follows = true;
        vgpu_timer_stop(client->mediator->loop, &client->idle);
        vgpu_events_follow(&client->mediator->events, &client->follower);
    }
}

static void vgpu_admin_queue_snapshot(struct vgpu_admin_client *client)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);

    if (out) {
        vgpu_admin_snapshot(client->mediator, out);
        fclose(out);
        vgpu_admin_queue(client, text, length);
    }
    free(text);
}

static void vgpu_admin_lines(struct vgpu_admin_client *client)
{
    char *end;

    while (!client->failed && (end = memchr(client->input, '\n', client->received))) {
        size_t length = (size_t)(end - client->input);

        vgpu_admin_line(client, client->input, length);
        client->received -= length + 1;
        memmove(client->input, end + 1, client->received);
    }
    if (client->failed || client->received < sizeof(client->input))
        return;
    client->received = 0;
    vgpu_admin_queue_json(
        client, vgpu_admin_refusal("invalid", "a request is a line of at most 16384 bytes"));
    client->deaf = true; /* hanging up on unread input might cost it the answer */
}

static void vgpu_admin_read(struct vgpu_admin_client *client)
{
    ssize_t got = recv(client->socket.fd, client->input + client->received,
                       sizeof(client->input) - client->received, MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0 && client->deaf) {
        client->received = 0;
    } else if (got > 0) {
        client->received += (size_t)got;
        vgpu_admin_lines(client);
    } else if (got == 0 && !client->spoke && client->received == 0) {
        vgpu_admin_queue_snapshot(client);
        client->ending = true;
    } else {
        client->ending = true;
    }
    if (client->ending) /* its end of file would keep the loop busy */
        vgpu_loop_change(client->mediator->loop, &client->socket, EPOLLOUT);
}

static void vgpu_admin_write(struct vgpu_admin_client *client)
{
    ssize_t sent = send(client->socket.fd, client->output + client->sent,
                        client->length - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent > 0)
        client->sent += (size_t)sent;
    else if (errno != EAGAIN && errno != EINTR)
        client->failed = true;
    if (client->sent == client->length && !client->ending)
        vgpu_loop_change(client->mediator->loop, &client->socket, EPOLLIN);
}

static void vgpu_admin_ready(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_admin_client *client = vgpu_container(source, struct vgpu_admin_client, socket);

    if (events & EPOLLIN && !client->failed && !client->ending)
        vgpu_admin_read(client);
    if (events & EPOLLOUT && !client->failed && client->sent < client->length)
        vgpu_admin_write(client);
    if (client->failed || events & (EPOLLHUP | EPOLLERR) ||
        (client->ending && client->sent == client->length)) {
        vgpu_admin_end(client);
        return;
    }
    if (!client->follows)
        vgpu_timer_start(client->mediator->loop, &client->idle, IDLE_MILLISECONDS);
}

static void vgpu_admin_expired(struct vgpu_timer *timer)
{
    vgpu_admin_end(vgpu_container(timer, struct vgpu_admin_client, idle));
}

static uint32_t vgpu_admin_count(const struct vgpu_mediator *mediator)
{
    uint32_t count = 0;

    for (const struct vgpu_admin_client *one = mediator->admins; one; one = one->next)
        count++;
    return count;
}

void vgpu_admin_serve(struct vgpu_mediator *mediator, int socket)
{
    struct vgpu_admin_client *client = NULL;
    socklen_t size = sizeof(client->peer);

    if (vgpu_admin_count(mediator) < CLIENTS_MAX)
        client = calloc(1, sizeof(*client));
    if (!client) {
        vgpu_log_client(VGPU_LOG_WARNING, "a client of the admin socket was turned away");
        close(socket);
        return;
    }
    client->mediator = mediator;
    client->socket = (struct vgpu_source){.fd = socket, .ready = vgpu_admin_ready};
    client->idle.source.fd = -1;
    client->idle.expired = vgpu_admin_expired;
    client->follower.happened = vgpu_admin_happened;
    client->peer.uid = (uid_t)-1;
    getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &client->peer, &size);
    client->next = mediator->admins;
    mediator->admins = client;
    if (vgpu_loop_add(mediator->loop, &client->socket, EPOLLIN) < 0 ||
        vgpu_timer_start(mediator->loop, &client->idle, IDLE_MILLISECONDS) < 0)
        vgpu_admin_end(client);
}

void vgpu_admin_close(struct vgpu_mediator *mediator)
{
    struct vgpu_admin_client *next;

    for (struct vgpu_admin_client *client = mediator->admins; client; client = next) {
        next = client->next;
        vgpu_admin_end(client);
    }
}
