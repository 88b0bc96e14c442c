/* SPDX-License-Identifier: MIT */
/**
 * What a service manager and its service say to each other, in the protocols of sd_notify(3),
 * sd_watchdog_enabled(3) and sd_listen_fds(3): a few environment variables, inherited sockets and
 * datagrams. Without a manager nothing of this happens. One thread.
 */
#ifndef VGPU_MEDIATOR_SERVICE_H
#define VGPU_MEDIATOR_SERVICE_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "mediator/loop.h"

#define VGPU_SERVICE_SOCKETS 3u

struct vgpu_service {
    struct vgpu_loop *loop;
    struct sockaddr_un manager;
    socklen_t manager_length;          /* 0: nobody wants to know */
    int socket;                        /* datagrams go through it; -1: there is none */
    bool heard;                        /* one was taken */
    struct vgpu_timer keep_alive;      /* whose expiry says that the loop goes round */
    uint32_t period;                   /* of it, in milliseconds; 0: nobody waits for it */
    int sockets[VGPU_SERVICE_SOCKETS]; /* inherited: device, process, admin; -1: none, or taken */
};

/** Takes what the environment says, and takes it out of the environment: workers are not the
 *  service. Returns 0, or -EINVAL after a line in the log: a socket that we do not know. */
int vgpu_service_open(struct vgpu_service *service);
void vgpu_service_close(struct vgpu_service *service);

/** The inherited listening socket of this name (FileDescriptorName=), now the caller's; -1: none.
 */
int vgpu_service_take(struct vgpu_service *service, const char *name);

/** The service works, and from now on says so as often as the manager wants to hear it. */
void vgpu_service_ready(struct vgpu_service *service, struct vgpu_loop *loop);

/** Tells the manager: lines of NAME=VALUE. */
void vgpu_service_say(struct vgpu_service *service, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
