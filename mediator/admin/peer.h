/* SPDX-License-Identifier: MIT */
/** Who is at the other end of the admin socket, as the kernel says. */
#ifndef VGPU_MEDIATOR_ADMIN_PEER_H
#define VGPU_MEDIATOR_ADMIN_PEER_H

#include <stdbool.h>
#include <sys/types.h>

struct vgpu_mediator;

struct vgpu_admin_peer {
    uid_t uid; /* (uid_t)-1: not known */
    pid_t pid;
    bool may_change; /* root, the mediator's own user, or a member of the group that administers */
};

/** Of a connected socket; credentials are those at the time of its connect(). */
void vgpu_admin_look_at_peer(const struct vgpu_mediator *mediator, int socket,
                             struct vgpu_admin_peer *peer);

#endif
