/* SPDX-License-Identifier: MIT */
/** A listening Unix socket on a path of its own. */
#ifndef VGPU_MEDIATOR_LISTENER_H
#define VGPU_MEDIATOR_LISTENER_H

#include <sys/types.h>

#include "mediator/config.h"
#include "mediator/loop.h"

struct vgpu_listener {
    struct vgpu_source source;
    struct vgpu_loop *loop;
    char path[VGPU_CONFIG_SOCKET];
    ino_t inode;      /* of the socket at `path`: another one is not ours to remove */
    bool made_folder; /* the folder was made for it, and goes with it if empty */
    int reserve;      /* a descriptor to give up when there are no more */
    void (*accepted)(struct vgpu_listener *listener, int socket); /* takes the descriptor */
};

/**
 * Listens at `path` with exactly this mode; makes the folder if it is missing, replaces a socket
 * that nobody listens on. Set `accepted` before. Returns 0, or a negative errno after an error line
 * in the log; -EADDRINUSE: another mediator listens there.
 */
int vgpu_listener_open(struct vgpu_listener *listener, struct vgpu_loop *loop, const char *path,
                       mode_t mode);

/**
 * The same with a socket that the service manager listens on: it is the manager's to remove, and
 * clients that come while nobody accepts wait in it. Takes the descriptor. Returns 0, or a negative
 * errno after an error line in the log.
 */
int vgpu_listener_adopt(struct vgpu_listener *listener, struct vgpu_loop *loop, int socket);

/** Stops listening and removes the socket. Nothing happens if it is not open (source.fd -1). */
void vgpu_listener_close(struct vgpu_listener *listener);

#endif
