/* SPDX-License-Identifier: MIT */
/** What the parts of the running mediator share. One thread. */
#ifndef VGPU_MEDIATOR_MEDIATOR_H
#define VGPU_MEDIATOR_MEDIATOR_H

#include <sys/types.h>

#include "mediator/config.h"
#include "mediator/driver_probe.h"
#include "mediator/events.h"
#include "mediator/health_watch.h"
#include "mediator/images.h"
#include "mediator/lease.h"
#include "mediator/loop.h"
#include "mediator/metrics/server.h"
#include "mediator/pool_usage.h"
#include "mediator/spares.h"
#include "mediator/vm.h"

struct vgpu_admin_client;
struct vgpu_exposition;
struct vgpu_health;
struct vgpu_session;
struct vgpu_store;

struct vgpu_mediator {
    struct vgpu_config config;
    struct vgpu_driver driver;
    struct vgpu_loop *loop;
    struct vgpu_images images;
    struct vgpu_spares spares;
    struct vgpu_leases leases;
    struct vgpu_vm *vms;
    struct vgpu_session *sessions;
    struct vgpu_store *store;  /* NULL: nothing is kept, and nothing can be set */
    struct vgpu_timer history; /* when usage is written to the store */
    uint64_t expired;          /* the hour in which what is old was taken out of it last */
    uint64_t denied_hour;      /* see mediator/audit.h */
    uint32_t denied;           /* requests in that hour */
    struct vgpu_events events;
    struct vgpu_admin_client *admins;
    struct vgpu_source flushed; /* the store has changes on disk */
    gid_t admin_group;          /* whose members administer, beside root */
    bool has_admin_group;
    struct vgpu_health *health; /* NULL: not known */
    struct vgpu_health_told health_told;
    struct vgpu_timer watchdog; /* runs while there are channels */
    struct vgpu_timer watch;    /* of how busy each VM keeps the GPU */
    uint64_t measured;          /* vgpu_loop_now() when it was looked at */
    uint64_t gpu_time_upto;     /* mediator/gpu_time.h: slots before this are shared */
    struct vgpu_pool_usage pool_usage[VGPU_POOLS];
    struct vgpu_metrics_server metrics;
    struct vgpu_exposition *exposition; /* the latest; NULL: there is none */
    uint64_t started;                   /* vgpu_loop_now() */
    uint32_t next_peer;                 /* numbers connections, for the log */
    uint64_t refused; /* connections that got no VM: turned down, or ended by a violation */
    bool draining;    /* no new channels */
    bool stopping;    /* no new sessions; the loop stops with the last one */
};

#endif
