/* SPDX-License-Identifier: MIT */
#include "mediator/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mediator/log.h"

static void vgpu_listener_ready(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_listener *listener = vgpu_container(source, struct vgpu_listener, source);
    int socket = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (socket >= 0) {
        listener->accepted(listener, socket);
        return;
    }
    if ((errno != EMFILE && errno != ENFILE) || listener->reserve < 0)
        return;
    /* Unaccepted, it would keep the loop busy: take it with the reserve, only to hang up. */
    vgpu_log_client(VGPU_LOG_WARNING,
                    "%s: out of descriptors (LimitNOFILE= of the unit): a client was turned away",
                    listener->path);
    close(listener->reserve);
    socket = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
    if (socket >= 0)
        close(socket);
    listener->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool vgpu_listener_is_answered(const struct sockaddr_un *address)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused;

    if (probe < 0)
        return true;
    refused = connect(probe, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
              errno == ECONNREFUSED;
    close(probe);
    return !refused;
}

static void vgpu_listener_make_folder(struct vgpu_listener *listener)
{
    char folder[VGPU_CONFIG_SOCKET];

    memcpy(folder, listener->path, sizeof(folder));
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return;
    *slash = '\0';
    listener->made_folder = mkdir(folder, 0755) == 0;
}

static int vgpu_listener_bind(struct vgpu_listener *listener, mode_t mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;

    memcpy(address.sun_path, listener->path, sizeof(address.sun_path));
    vgpu_listener_make_folder(listener);
    if (lstat(listener->path, &status) == 0 && S_ISSOCK(status.st_mode) &&
        !vgpu_listener_is_answered(&address))
        unlink(listener->path);
    /* The mode is there from the start: nobody gets in between bind and a chmod. */
    mode_t before = umask(0777 & ~mode);
    int result = bind(listener->source.fd, (struct sockaddr *)&address, sizeof(address));
    int error = -errno;
    umask(before);
    if (result < 0)
        return error;
    if (lstat(listener->path, &status) == 0)
        listener->inode = status.st_ino;
    return listen(listener->source.fd, 64) < 0 ? -errno : 0;
}

int vgpu_listener_open(struct vgpu_listener *listener, struct vgpu_loop *loop, const char *path,
                       mode_t mode)
{
    int error;

    snprintf(listener->path, sizeof(listener->path), "%s", path);
    listener->loop = loop;
    listener->source.ready = vgpu_listener_ready;
    listener->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    listener->source.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = listener->source.fd < 0 ? -errno : vgpu_listener_bind(listener, mode);
    if (!error)
        error = vgpu_loop_add(loop, &listener->source, EPOLLIN);
    if (!error)
        return 0;
    vgpu_log(VGPU_LOG_ERROR, "cannot listen on %s: %s", path,
             error == -EADDRINUSE ? "another mediator does; stop it, or configure another path"
                                  : strerror(-error));
    vgpu_listener_close(listener);
    return error;
}

static bool vgpu_listener_option(int fd, int option, int expected)
{
    int value = -1;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == expected;
}

int vgpu_listener_adopt(struct vgpu_listener *listener, struct vgpu_loop *loop, int socket)
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof(address);
    int flags = fcntl(socket, F_GETFL), error = 0;

    listener->loop = loop;
    listener->source.ready = vgpu_listener_ready;
    listener->source.fd = socket;
    listener->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!vgpu_listener_option(socket, SO_DOMAIN, AF_UNIX) ||
        !vgpu_listener_option(socket, SO_TYPE, SOCK_STREAM) ||
        !vgpu_listener_option(socket, SO_ACCEPTCONN, 1) ||
        getsockname(socket, (struct sockaddr *)&address, &size) < 0)
        error = -ENOTSOCK;
    else if (flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK) < 0)
        error = -errno;
    memcpy(listener->path, address.sun_path, sizeof(listener->path));
    listener->path[sizeof(listener->path) - 1] = '\0';
    if (!error)
        error = vgpu_loop_add(loop, &listener->source, EPOLLIN);
    if (!error)
        return 0;
    vgpu_log(VGPU_LOG_ERROR,
             "descriptor %d of the service manager is no listening Unix stream socket "
             "(ListenStream= in the socket unit)",
             socket);
    vgpu_listener_close(listener);
    return error;
}

void vgpu_listener_close(struct vgpu_listener *listener)
{
    struct stat status;

    if (listener->source.fd < 0)
        return;
    vgpu_loop_remove(listener->loop, &listener->source);
    if (listener->reserve >= 0)
        close(listener->reserve);
    if (listener->inode && lstat(listener->path, &status) == 0 && status.st_ino == listener->inode)
        unlink(listener->path);
    if (listener->made_folder) {
        *strrchr(listener->path, '/') = '\0';
        rmdir(listener->path);
    }
}
