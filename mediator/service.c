/* SPDX-License-Identifier: MIT */
#include "mediator/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mediator/log.h"

#define FIRST_SOCKET 3   /* SD_LISTEN_FDS_START */
#define SOCKETS_MOST 64u /* that could have been inherited */

static const char *const vgpu_service_names[VGPU_SERVICE_SOCKETS] = {"device", "process", "admin"};

/** A number of the environment; 0 if it is not there, or none. */
static unsigned long long vgpu_service_number(const char *name)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : 0;
}

/** Whether the variable names us, or nobody: another process may have been meant. */
static bool vgpu_service_is_ours(const char *name)
{
    return !getenv(name) || vgpu_service_number(name) == (unsigned long long)getpid();
}

static void vgpu_service_find_manager(struct vgpu_service *service)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;

    if (length < 2 || length >= sizeof(service->manager.sun_path) || (*path != '/' && *path != '@'))
        return;
    service->manager.sun_family = AF_UNIX;
    memcpy(service->manager.sun_path, path, length);
    if (*path == '@')
        service->manager.sun_path[0] = '\0';
    service->manager_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    service->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (vgpu_service_is_ours("WATCHDOG_PID")) {
        unsigned long long period = vgpu_service_number("WATCHDOG_USEC") / 1000 / 2;

        service->period = period > 3600000 ? 3600000u : (uint32_t)period;
    }
}

static int vgpu_service_keep(struct vgpu_service *service, int fd, const char *name, size_t length)
{
    for (uint32_t i = 0; i < VGPU_SERVICE_SOCKETS; i++) {
        if (strlen(vgpu_service_names[i]) != length ||
            memcmp(vgpu_service_names[i], name, length) != 0 || service->sockets[i] >= 0)
            continue;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        service->sockets[i] = fd;
        return 0;
    }
    vgpu_log(VGPU_LOG_ERROR,
             "the service manager passed a socket named \"%.*s\"; there is one of each of device, "
             "process and admin (FileDescriptorName= in the socket unit)",
             (int)length, name);
    return -EINVAL;
}

static int vgpu_service_find_sockets(struct vgpu_service *service)
{
    unsigned long long count = vgpu_service_number("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");

    if (!getenv("LISTEN_PID") || !vgpu_service_is_ours("LISTEN_PID"))
        return 0;
    for (uint32_t i = 0; i < count && i < SOCKETS_MOST; i++) {
        size_t length = names ? strcspn(names, ":") : 0;
        int error = vgpu_service_keep(service, FIRST_SOCKET + (int)i, names ? names : "", length);

        if (error)
            return error;
        names = names[length] ? names + length + 1 : names + length;
    }
    return 0;
}

int vgpu_service_open(struct vgpu_service *service)
{
    static const char *const variables[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                            "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};

    *service = (struct vgpu_service){.socket = -1, .keep_alive.source.fd = -1};
    for (uint32_t i = 0; i < VGPU_SERVICE_SOCKETS; i++)
        service->sockets[i] = -1;
    vgpu_service_find_manager(service);
    int error = vgpu_service_find_sockets(service);
    for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
        unsetenv(variables[i]);
    return error;
}

void vgpu_service_close(struct vgpu_service *service)
{
    if (service->loop)
        vgpu_timer_stop(service->loop, &service->keep_alive);
    if (service->socket >= 0)
        close(service->socket);
    for (uint32_t i = 0; i < VGPU_SERVICE_SOCKETS; i++) {
        if (service->sockets[i] >= 0)
            close(service->sockets[i]);
    }
}

int vgpu_service_take(struct vgpu_service *service, const char *name)
{
    for (uint32_t i = 0; i < VGPU_SERVICE_SOCKETS; i++) {
        int fd = service->sockets[i];

        if (strcmp(vgpu_service_names[i], name) != 0)
            continue;
        service->sockets[i] = -1;
        return fd;
    }
    return -1;
}

void vgpu_service_say(struct vgpu_service *service, const char *format, ...)
{
    char text[512];
    va_list arguments;

    if (service->socket < 0)
        return;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    size_t bytes = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    if (sendto(service->socket, text, bytes, MSG_NOSIGNAL | MSG_DONTWAIT,
               (const struct sockaddr *)&service->manager, service->manager_length) >= 0) {
        service->heard = true;
        return;
    }
    /* Some only want to hear of the start, and hang up then. */
    bool left = service->heard && (errno == ECONNREFUSED || errno == ENOENT);
    if (!left) {
        vgpu_log(VGPU_LOG_WARNING, "cannot tell the service manager: %s", strerror(errno));
        return;
    }
    close(service->socket);
    service->socket = -1;
}

static void vgpu_service_due(struct vgpu_timer *timer)
{
    struct vgpu_service *service = vgpu_container(timer, struct vgpu_service, keep_alive);

    vgpu_service_say(service, "WATCHDOG=1");
    vgpu_timer_start(service->loop, timer, service->period);
}

void vgpu_service_ready(struct vgpu_service *service, struct vgpu_loop *loop)
{
    service->loop = loop;
    service->keep_alive.expired = vgpu_service_due;
    vgpu_service_say(service, "READY=1\nSTATUS=serving");
    if (service->socket >= 0 && service->period)
        vgpu_timer_start(loop, &service->keep_alive, service->period);
}
