/* SPDX-License-Identifier: MIT */
#include "mediator/metrics/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mediator/log.h"
#include "mediator/mediator.h"
#include "mediator/metrics/exposition.h"

#define CONNECTIONS      64u
#define CLIENTS          32u /* with one more, the oldest has to go: it is the slowest */
#define CONNECTION_BYTES 16384u
#define TIMEOUT_SECONDS  10u
#define PIECE_BYTES      8192u /* of an answer, between which the loop has its turn */

struct vgpu_metrics_client {
    struct vgpu_metrics_client *next;
    int fd; /* libmicrohttpd's */
    bool evicted;
};

/** Hangs up on the client that came first; libmicrohttpd notices. */
static void vgpu_metrics_evict(struct vgpu_metrics_server *server)
{
    struct vgpu_metrics_client *oldest = NULL;

    for (struct vgpu_metrics_client *client = server->clients; client; client = client->next)
        oldest = client->evicted ? oldest : client;
    if (!oldest)
        return;
    oldest->evicted = true;
    server->client_count--;
    shutdown(oldest->fd, SHUT_RDWR);
}

static void vgpu_metrics_notice(void *user, struct MHD_Connection *connection, void **context,
                                enum MHD_ConnectionNotificationCode what)
{
    struct vgpu_metrics_server *server = user;
    struct vgpu_metrics_client *client = *context, **place = &server->clients;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        client = calloc(1, sizeof(*client));
        *context = client;
        if (!client)
            return;
        client->fd =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        client->next = server->clients;
        server->clients = client;
        if (++server->client_count > CLIENTS)
            vgpu_metrics_evict(server);
        return;
    }
    while (*place && *place != client)
        place = &(*place)->next;
    if (!client || !*place)
        return;
    *place = client->next;
    server->client_count -= !client->evicted;
    free(client);
}

static ssize_t vgpu_metrics_read(void *user, uint64_t from, char *to, size_t size)
{
    ssize_t got = vgpu_exposition_read(user, from, to, size);

    if (got == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    return got < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : got;
}

static void vgpu_metrics_done(void *user)
{
    vgpu_exposition_put(user);
}

static enum MHD_Result vgpu_metrics_answer(struct MHD_Connection *connection, unsigned int status,
                                           struct MHD_Response *response, const char *type)
{
    enum MHD_Result result;

    if (!response)
        return MHD_NO; /* hangs up */
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result vgpu_metrics_say(struct MHD_Connection *connection, unsigned int status,
                                        const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

    return vgpu_metrics_answer(connection, status, response, "text/plain; charset=utf-8");
}

static enum MHD_Result vgpu_metrics_asked(void *user, struct MHD_Connection *connection,
                                          const char *url, const char *method, const char *version,
                                          const char *data, size_t *length, void **state)
{
    struct vgpu_metrics_server *server = user;
    struct MHD_Response *response;

    (void)version;
    (void)data;
    (void)state;
    if (*length) { /* what comes with a request is thrown away */
        *length = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return vgpu_metrics_say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    if (strcmp(url, "/metrics") != 0)
        return vgpu_metrics_say(connection, MHD_HTTP_NOT_FOUND, "vgpu: metrics are at /metrics\n");
    struct vgpu_exposition *exposition = vgpu_exposition_take(server->mediator);
    if (!exposition)
        return MHD_NO;
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, vgpu_metrics_read,
                                                 exposition, vgpu_metrics_done);
    if (!response)
        vgpu_exposition_put(exposition);
    return vgpu_metrics_answer(connection, MHD_HTTP_OK, response,
                               "text/plain; version=0.0.4; charset=utf-8");
}

static void vgpu_metrics_run(struct vgpu_metrics_server *server)
{
    MHD_UNSIGNED_LONG_LONG milliseconds;

    MHD_run(server->daemon);
    vgpu_timer_stop(server->mediator->loop, &server->timer);
    /* A millisecond instead of none: others have their turn, and a timer of nothing never runs. */
    if (MHD_get_timeout(server->daemon, &milliseconds) == MHD_YES)
        vgpu_timer_start(server->mediator->loop, &server->timer,
                         milliseconds < 1       ? 1
                         : milliseconds > 10000 ? 10000
                                                : (uint32_t)milliseconds);
}

static void vgpu_metrics_ready(struct vgpu_source *source, uint32_t events)
{
    (void)events;
    vgpu_metrics_run(vgpu_container(source, struct vgpu_metrics_server, source));
}

static void vgpu_metrics_expired(struct vgpu_timer *timer)
{
    vgpu_metrics_run(vgpu_container(timer, struct vgpu_metrics_server, timer));
}

/** A bound socket that listens; or a negative errno. */
static int vgpu_metrics_listen(const struct sockaddr_storage *address)
{
    bool is_v6 = address->ss_family == AF_INET6;
    socklen_t size = is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int one = 1, error;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (is_v6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)address, size) == 0 && listen(fd, CONNECTIONS) == 0)
        return fd;
    error = -errno;
    close(fd);
    return error;
}

static int vgpu_metrics_start(struct vgpu_metrics_server *server, int socket)
{
    const union MHD_DaemonInfo *info;

    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, vgpu_metrics_asked, server, MHD_OPTION_LISTEN_SOCKET, socket,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, MHD_OPTION_NOTIFY_CONNECTION, vgpu_metrics_notice,
        server, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!server->daemon) {
        close(socket);
        return -ENOMEM;
    }
    info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    server->source.ready = vgpu_metrics_ready;
    server->timer.expired = vgpu_metrics_expired;
    server->source.fd = info ? dup(info->epoll_fd) : -1;
    if (server->source.fd < 0)
        return -EMFILE;
    return vgpu_loop_add(server->mediator->loop, &server->source, EPOLLIN);
}

static void vgpu_metrics_print_address(const struct sockaddr_storage *address, char *out,
                                       size_t size)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    char host[INET6_ADDRSTRLEN] = "";

    if (address->ss_family == AF_INET6) {
        memcpy(&v6, address, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(out, size, "[%s]:%u", host, ntohs(v6.sin6_port));
        return;
    }
    memcpy(&v4, address, sizeof(v4));
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
    snprintf(out, size, "%s:%u", host, ntohs(v4.sin_port));
}

void vgpu_metrics_server_open(struct vgpu_metrics_server *server, struct vgpu_mediator *mediator)
{
    struct sockaddr_storage address = mediator->config.metrics;
    socklen_t length = sizeof(address);
    char where[INET6_ADDRSTRLEN + 16] = "";
    int socket, error;

    server->mediator = mediator;
    if (address.ss_family == AF_UNSPEC)
        return;
    socket = error = vgpu_metrics_listen(&address);
    if (socket >= 0) {
        getsockname(socket, (struct sockaddr *)&address, &length); /* of port 0, too */
        error = vgpu_metrics_start(server, socket);
    }
    vgpu_metrics_print_address(&address, where, sizeof(where));
    if (error >= 0) {
        vgpu_log(VGPU_LOG_INFO, "metrics: http://%s/metrics", where);
        return;
    }
    vgpu_log(VGPU_LOG_WARNING,
             "there are no metrics: cannot listen at %s: %s; set metrics= to another address and "
             "port, or to none",
             where, strerror(-error));
    vgpu_metrics_server_close(server);
}

void vgpu_metrics_server_close(struct vgpu_metrics_server *server)
{
    if (server->mediator) {
        vgpu_timer_stop(server->mediator->loop, &server->timer);
        vgpu_loop_remove(server->mediator->loop, &server->source);
        vgpu_exposition_forget(server->mediator);
    }
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    server->daemon = NULL;
}
