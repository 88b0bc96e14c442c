/* SPDX-License-Identifier: MIT */
/** A client of the admin socket: lines in, lines out. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mediator/admin/admin.h"
#include "mediator/admin/call.h"
#include "mediator/admin/peer.h"
#include "mediator/log.h"
#include "mediator/mediator.h"

#define CLIENTS_MAX       64u
#define LINE_MAX_BYTES    16384u
#define ANSWER_MAX        (8u << 20) /* a list of many VMs fits */
#define FOLLOWER_MAX      65536u     /* of events that wait for a follower; more are dropped */
#define OUTPUT_MAX        (ANSWER_MAX + 2 * FOLLOWER_MAX)
#define IDLE_MILLISECONDS 60000

struct vgpu_admin_client {
    struct vgpu_admin_client *next;
    struct vgpu_mediator *mediator;
    struct vgpu_source socket;
    struct vgpu_timer idle; /* not while it follows events */
    struct vgpu_events_follower follower;
    struct vgpu_admin_peer peer;
    uint64_t spoken; /* vgpu_loop_now() when it said something last */
    bool follows;
    bool spoke;       /* it is a client of requests, not of the snapshot */
    bool deaf;        /* what it says is thrown away until it hangs up */
    bool ending;      /* hung up on when all was sent */
    bool failed;      /* to be ended by its callback */
    uint64_t dropped; /* events that it was too slow for, and was not told of yet */
    uint64_t awaits;  /* number of its change in the store that is not on disk yet; 0: none */
    char *held;       /* what it is answered then; nothing is read of it before */
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
    free(client->held);
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
    /* Nothing more is read of it until it has taken this. */
    vgpu_loop_change(client->mediator->loop, &client->socket, EPOLLOUT);
}

/** `text` NULL: there was no memory for it. */
static void vgpu_admin_queue_line(struct vgpu_admin_client *client, char *text)
{
    if (!text) {
        client->failed = true;
        return;
    }
    vgpu_admin_queue(client, text, strlen(text));
    if (!client->failed)
        vgpu_admin_queue(client, "\n", 1);
    free(text);
}

static char *vgpu_admin_dump(json_t *line)
{
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

    json_decref(line);
    return text;
}

static void vgpu_admin_queue_json(struct vgpu_admin_client *client, json_t *line)
{
    vgpu_admin_queue_line(client, vgpu_admin_dump(line));
}

static void vgpu_admin_queue_answer(struct vgpu_admin_client *client, json_t *answer,
                                    uint64_t written)
{
    char *text = vgpu_admin_dump(answer);

    if (text && strlen(text) > ANSWER_MAX) {
        free(text);
        text = vgpu_admin_dump(vgpu_admin_refusal(
            "invalid", "the answer would be longer than 8 MiB; ask for one VM (--vm-name), for "
                       "fewer --hours or for a smaller --last"));
    }
    if (text && written) {
        client->held = text;
        client->awaits = written;
        vgpu_loop_change(client->mediator->loop, &client->socket, 0);
        return;
    }
    vgpu_admin_queue_line(client, text);
}

/** The change that a client waits for is on disk, or will not be. */
static void vgpu_admin_release(struct vgpu_admin_client *client,
                               const struct vgpu_store_flushed *flushed)
{
    char *text = client->held;

    client->held = NULL;
    if (client->awaits <= flushed->failed) {
        free(text);
        text = vgpu_admin_dump(vgpu_admin_refusal(
            "failed", "the change holds, but the disk did not take it: it is lost if the machine "
                      "fails; see the disk that the store is on, and the mediator's log"));
    }
    client->awaits = 0;
    vgpu_admin_queue_line(client, text);
    if (client->failed)
        shutdown(client->socket.fd, SHUT_RDWR); /* which calls its callback */
}

static void vgpu_admin_flushed(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_mediator *mediator = vgpu_container(source, struct vgpu_mediator, flushed);
    const struct vgpu_store_flushed flushed = vgpu_store_flushed(mediator->store);

    (void)events;
    if (flushed.failed == flushed.done)
        vgpu_log_client(VGPU_LOG_ERROR,
                        "what was changed last is not on disk, and is lost if the machine fails: "
                        "the store %s: %s; see the disk it is on",
                        mediator->config.store, strerror(-flushed.error));
    for (struct vgpu_admin_client *client = mediator->admins; client; client = client->next) {
        if (client->awaits && client->awaits <= flushed.done)
            vgpu_admin_release(client, &flushed);
    }
}

int vgpu_admin_open(struct vgpu_mediator *mediator)
{
    if (!mediator->store)
        return 0;
    mediator->flushed.ready = vgpu_admin_flushed;
    mediator->flushed.fd = fcntl(vgpu_store_flushed_event(mediator->store), F_DUPFD_CLOEXEC, 0);
    return mediator->flushed.fd < 0 ? -errno
                                    : vgpu_loop_add(mediator->loop, &mediator->flushed, EPOLLIN);
}

/** A follower that does not keep up loses events, and is told how many, when it has read the rest.
 */
static void vgpu_admin_happened(struct vgpu_events_follower *follower,
                                const struct vgpu_event *event)
{
    struct vgpu_admin_client *client = vgpu_container(follower, struct vgpu_admin_client, follower);

    if (client->failed)
        return;
    if (client->dropped || client->length - client->sent > FOLLOWER_MAX)
        client->dropped++;
    else
        vgpu_admin_queue_json(client, vgpu_admin_event(event));
}

static void vgpu_admin_tell_dropped(struct vgpu_admin_client *client)
{
    struct timespec now;
    struct vgpu_event event = {.kind = "dropped"};

    clock_gettime(CLOCK_REALTIME, &now);
    event.number = client->mediator->events.count;
    event.milliseconds = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    snprintf(event.text, sizeof(event.text),
             "%llu events are missing here: they were not read in time",
             (unsigned long long)client->dropped);
    client->dropped = 0;
    vgpu_admin_queue_json(client, vgpu_admin_event(&event));
}

static void vgpu_admin_line(struct vgpu_admin_client *client, const char *line, size_t length)
{
    struct vgpu_admin_call call = {
        .mediator = client->mediator,
        .uid = client->peer.uid,
        .pid = (uint32_t)client->peer.pid,
        .may_change = client->peer.may_change,
    };

    client->spoke = true;
    json_t *answer = vgpu_admin_answer(&call, line, length);
    vgpu_admin_queue_answer(client, answer, call.written);
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

/** Reads up to the end of a line, so that a client has one request served in a turn of the loop.
 *  Returns what recv returns. */
static ssize_t vgpu_admin_receive(struct vgpu_admin_client *client, bool *whole)
{
    char *place = client->input + client->received;
    ssize_t got = recv(client->socket.fd, place, sizeof(client->input) - client->received,
                       MSG_PEEK | MSG_DONTWAIT);

    *whole = false;
    if (got <= 0)
        return got;
    const char *end = memchr(place, '\n', (size_t)got);
    *whole = end != NULL;
    return recv(client->socket.fd, place, end ? (size_t)(end - place) + 1 : (size_t)got,
                MSG_DONTWAIT);
}

static void vgpu_admin_take(struct vgpu_admin_client *client, bool whole)
{
    client->spoken = vgpu_loop_now();
    if (client->deaf) {
        client->received = 0;
    } else if (whole) {
        size_t length = client->received - 1;

        client->received = 0;
        vgpu_admin_line(client, client->input, length);
    } else if (client->received == sizeof(client->input)) {
        client->received = 0;
        vgpu_admin_queue_json(
            client, vgpu_admin_refusal(
                        "invalid", "the request is too long; it is a line of at most 16384 bytes"));
        client->deaf = true; /* hanging up on unread input might cost it the answer */
    }
}

static void vgpu_admin_read(struct vgpu_admin_client *client)
{
    bool whole;
    ssize_t got = vgpu_admin_receive(client, &whole);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        client->received += (size_t)got;
        vgpu_admin_take(client, whole);
        return;
    }
    if (got == 0 && !client->spoke && client->received == 0)
        vgpu_admin_queue_snapshot(client);
    client->ending = true;
}

static void vgpu_admin_write(struct vgpu_admin_client *client)
{
    ssize_t sent = send(client->socket.fd, client->output + client->sent,
                        client->length - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (sent > 0)
        client->sent += (size_t)sent;
    else if (errno != EAGAIN && errno != EINTR)
        client->failed = true;
    if (client->sent == client->length && client->dropped)
        vgpu_admin_tell_dropped(client);
    if (client->sent == client->length && !client->ending)
        vgpu_loop_change(client->mediator->loop, &client->socket, client->awaits ? 0 : EPOLLIN);
}

static void vgpu_admin_ready(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_admin_client *client = vgpu_container(source, struct vgpu_admin_client, socket);

    if (events & EPOLLIN && !client->failed && !client->ending)
        vgpu_admin_read(client);
    if (!client->failed && client->sent < client->length)
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

static uint32_t vgpu_admin_count(const struct vgpu_mediator *mediator, const uid_t *of)
{
    uint32_t count = 0;

    for (const struct vgpu_admin_client *one = mediator->admins; one; one = one->next)
        count += !of || one->peer.uid == *of;
    return count;
}

/** Of the user with the most clients, the one that has been silent for longest makes room: nobody
 *  keeps others out. */
static void vgpu_admin_make_room(struct vgpu_mediator *mediator)
{
    static const char text[] = "{\"ok\": false, \"error\": {\"code\": \"failed\", \"message\": "
                               "\"the mediator has too many "
                               "clients, and this user the most of them; end some\"}}\n";
    struct vgpu_admin_client *chosen = mediator->admins;
    uint32_t most = 0;

    if (!chosen)
        return;
    for (struct vgpu_admin_client *one = chosen; one; one = one->next) {
        uint32_t count = vgpu_admin_count(mediator, &one->peer.uid);

        if (count > most || (count == most && one->spoken < chosen->spoken)) {
            most = count;
            chosen = one;
        }
    }
    vgpu_log_client(VGPU_LOG_WARNING,
                    "user %u has %u clients at the admin socket: one is hung up on",
                    chosen->peer.uid, most);
    if (chosen->sent == chosen->length)
        send(chosen->socket.fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    vgpu_admin_end(chosen);
}

void vgpu_admin_serve(struct vgpu_mediator *mediator, int socket)
{
    if (vgpu_admin_count(mediator, NULL) >= CLIENTS_MAX)
        vgpu_admin_make_room(mediator);
    struct vgpu_admin_client *client = calloc(1, sizeof(*client));
    if (!client) {
        close(socket);
        return;
    }
    client->mediator = mediator;
    client->socket = (struct vgpu_source){.fd = socket, .ready = vgpu_admin_ready};
    client->idle.source.fd = -1;
    client->idle.expired = vgpu_admin_expired;
    client->follower.happened = vgpu_admin_happened;
    client->spoken = vgpu_loop_now();
    vgpu_admin_look_at_peer(mediator, socket, &client->peer);
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
    vgpu_loop_remove(mediator->loop, &mediator->flushed);
}
