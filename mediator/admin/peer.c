/* SPDX-License-Identifier: MIT */
#include "mediator/admin/peer.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mediator/mediator.h"

/** Whether `group` is among the supplementary groups of the peer. */
static bool vgpu_admin_peer_is_in(int socket, gid_t group)
{
    long most = sysconf(_SC_NGROUPS_MAX);
    socklen_t size = (socklen_t)(most > 0 ? most : 65536) * (socklen_t)sizeof(gid_t);
    gid_t *groups = malloc(size);
    bool found = false;

    if (groups && getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
        for (socklen_t i = 0; i < size / sizeof(*groups); i++)
            found |= groups[i] == group;
    }
    free(groups);
    return found;
}

void vgpu_admin_look_at_peer(const struct vgpu_mediator *mediator, int socket,
                             struct vgpu_admin_peer *peer)
{
    struct ucred who = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof(who);
    bool known = getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;

    peer->uid = who.uid;
    peer->pid = who.pid;
    peer->may_change =
        known &&
        (who.uid == 0 || who.uid == geteuid() ||
         (mediator->has_admin_group && (who.gid == mediator->admin_group ||
                                        vgpu_admin_peer_is_in(socket, mediator->admin_group))));
}
