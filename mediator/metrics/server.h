/* SPDX-License-Identifier: MIT */
/**
 * GET /metrics over HTTP, for Prometheus. In the loop, and never waiting: a client that is slow,
 * says nothing, or asks without end gets a few kilobytes and its turn, and has to go when too many
 * others have come after it.
 */
#ifndef VGPU_MEDIATOR_METRICS_SERVER_H
#define VGPU_MEDIATOR_METRICS_SERVER_H

#include "mediator/loop.h"

struct MHD_Daemon;
struct vgpu_metrics_client;
struct vgpu_mediator;

struct vgpu_metrics_server {
    struct vgpu_mediator *mediator;
    struct MHD_Daemon *daemon;           /* NULL: there is none */
    struct vgpu_metrics_client *clients; /* list; the one that came last is first */
    uint32_t client_count;               /* that have not been hung up on */
    struct vgpu_source source;           /* libmicrohttpd's epoll; a duplicate, ours */
    struct vgpu_timer timer;             /* when it wants to be called, with nothing on the epoll */
};

/** Listens where the configuration says, if it does. If that is not possible, says so: VMs are
 *  served without metrics. `source.fd` and `timer.source.fd` are -1 before. */
void vgpu_metrics_server_open(struct vgpu_metrics_server *server, struct vgpu_mediator *mediator);
void vgpu_metrics_server_close(struct vgpu_metrics_server *server);

#endif
