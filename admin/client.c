/* SPDX-License-Identifier: MIT */
#include "admin/client.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_SECONDS 10

static void client_complain(const char *path, int error)
{
    struct stat state;
    const struct group *group = stat(path, &state) == 0 ? getgrgid(state.st_gid) : NULL;

    fprintf(stderr, "vgpu-admin: cannot connect to %s: %s; ", path, strerror(error));
    if ((error == EACCES || error == EPERM) && group && group->gr_gid == 0)
        fputs("only root may, as it has no group; see admin-group= in mediator.conf(5)\n", stderr);
    else if (error == EACCES || error == EPERM)
        fprintf(stderr, "root and the members of the group %s may\n",
                group ? group->gr_name : "vgpu");
    else if (error == ENOENT || error == ECONNREFUSED || error == EAGAIN)
        fputs("is vgpu-mediator running? --socket=PATH, if it listens elsewhere\n", stderr);
    else
        fputs("see --socket=PATH\n", stderr);
}

enum admin_status client_connect(const char *path, struct client *client)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int error = 0;

    *client = (struct client){.path = path, .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (strlen(path) >= sizeof(address.sun_path)) {
        error = ENAMETOOLONG;
    } else {
        strcpy(address.sun_path, path);
        setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
            error = errno;
    }
    if (!error)
        return ADMIN_DONE;
    client_complain(path, error);
    client_close(client);
    return error == EACCES || error == EPERM ? ADMIN_DENIED : ADMIN_UNREACHABLE;
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    free(client->text);
    *client = (struct client){.path = client->path, .fd = -1};
}

/** Waits until there is something to receive. CLIENT_LINE: there is. */
static enum client_end client_wait(const struct client *client, bool for_ever)
{
    /* Of stdout only what poll always tells: that its other end has gone. */
    struct pollfd both[] = {{.fd = client->fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
    int ready;

    do {
        ready = for_ever ? poll(both, 2, -1) : poll(both, 1, PATIENCE_SECONDS * 1000);
    } while (ready < 0 && errno == EINTR);
    if (ready > 0 && !both[0].revents)
        return CLIENT_READER_GONE;
    if (ready > 0)
        return CLIENT_LINE;
    fprintf(stderr,
            "vgpu-admin: the mediator has not answered for %d s, and may still do what was "
            "asked; see its log, and vgpu-admin show-audit\n",
            PATIENCE_SECONDS);
    return CLIENT_FAILED;
}

/** Receives some more. */
static enum client_end client_receive(struct client *client, bool for_ever)
{
    enum client_end end = client_wait(client, for_ever);

    if (end != CLIENT_LINE)
        return end;
    if (client->length == client->room) {
        char *grown = realloc(client->text, client->room * 2 + 4096);

        if (!grown) {
            fputs("vgpu-admin: there is no memory for the mediator's answer\n", stderr);
            return CLIENT_FAILED;
        }
        client->text = grown;
        client->room = client->room * 2 + 4096;
    }
    ssize_t got = recv(client->fd, client->text + client->length, client->room - client->length, 0);
    if (got <= 0) {
        fputs("vgpu-admin: the mediator hung up\n", stderr);
        return CLIENT_FAILED;
    }
    client->length += (size_t)got;
    return CLIENT_LINE;
}

enum client_end client_read(struct client *client, bool for_ever, json_t **line)
{
    json_error_t wrong;
    size_t looked = 0;
    const char *newline = NULL;

    while (client->length == looked ||
           !(newline = memchr(client->text + looked, '\n', client->length - looked))) {
        looked = client->length;
        enum client_end end = client_receive(client, for_ever);
        if (end != CLIENT_LINE)
            return end;
    }
    size_t length = (size_t)(newline - client->text) + 1;
    *line = json_loadb(client->text, length, 0, &wrong);
    memmove(client->text, client->text + length, client->length - length);
    client->length -= length;
    if (*line)
        return CLIENT_LINE;
    fprintf(stderr, "vgpu-admin: the mediator's answer is not JSON: %s\n", wrong.text);
    return CLIENT_FAILED;
}

bool client_pause(int milliseconds)
{
    struct pollfd reader = {.fd = STDOUT_FILENO};

    return poll(&reader, 1, milliseconds) <= 0;
}

static enum admin_status client_status(const char *code)
{
    static const struct {
        const char *code;
        enum admin_status status;
    } codes[] = {
        {"invalid", ADMIN_USAGE},     {"not-found", ADMIN_NOT_FOUND}, {"conflict", ADMIN_CONFLICT},
        {"no-store", ADMIN_NO_STORE}, {"denied", ADMIN_DENIED},
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        if (strcmp(codes[i].code, code) == 0)
            return codes[i].status;
    }
    return ADMIN_FAILED;
}

/** Sends all of a line. A mediator that has gone is told of by the answer that does not come. */
static void client_send(const struct client *client, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t length = text ? strlen(text) : 0, sent = 0;

    if (text)
        text[length++] = '\n'; /* in the place of its end */
    while (sent < length) {
        ssize_t now = send(client->fd, text + sent, length - sent, MSG_NOSIGNAL);

        if (now < 0 && errno != EINTR)
            break;
        sent += now > 0 ? (size_t)now : 0;
    }
    free(text);
}

enum admin_status client_ask(struct client *client, json_t *request, json_t **result)
{
    const char *code = "failed", *message = "it is no answer";
    enum admin_status status = ADMIN_DONE;
    json_t *answer = NULL;

    client_send(client, request);
    json_decref(request);
    if (client_read(client, false, &answer) != CLIENT_LINE)
        return ADMIN_UNREACHABLE;
    const json_t *notes = json_object_get(answer, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++)
        fprintf(stderr, "vgpu-admin: note: %s\n", json_string_value(json_array_get(notes, i)));
    if (json_is_true(json_object_get(answer, "ok"))) {
        *result = json_incref(json_object_get(answer, "result"));
    } else {
        json_unpack(answer, "{s:{s:s, s:s}}", "error", "code", &code, "message", &message);
        fprintf(stderr, "vgpu-admin: %s\n", message);
        status = client_status(code);
    }
    json_decref(answer);
    return status;
}
