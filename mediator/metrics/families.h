/* SPDX-License-Identifier: MIT */
/** The metrics that there are, in tables, and how their samples are written. */
#ifndef VGPU_MEDIATOR_METRICS_FAMILIES_H
#define VGPU_MEDIATOR_METRICS_FAMILIES_H

#include "mediator/health.h"
#include "mediator/mediator.h"
#include "mediator/metrics/text.h"
#include "protocol/calls.h"

/** A VM and what it had counted when it was asked for. */
struct vgpu_metrics_vm {
    const struct vgpu_vm *vm; /* lives as long as the mediator */
    const char *gpu_uuid;     /* as in vgpu_metrics */
    struct vgpu_counters counters;
};

/** Of one moment. */
struct vgpu_metrics {
    const struct vgpu_mediator *mediator;
    char gpu_uuid[48]; /* "GPU-" and the UUID, as NVIDIA's tools write it */
    struct vgpu_health_state health;
    struct vgpu_pool_usage pools[VGPU_POOLS];
    uint32_t count;
    struct vgpu_metrics_vm vm[];
};

struct vgpu_family {
    const char *name;
    const char *type;
    const char *help;
    /* One of them is not NULL: called for each VM, or once. */
    void (*write_vm)(struct vgpu_text *text, const char *name, const struct vgpu_metrics_vm *vm);
    void (*write)(struct vgpu_text *text, const char *name, const struct vgpu_metrics *metrics);
};

/* Tables; they end with a name of NULL. */
extern const struct vgpu_family vgpu_vm_families[];
extern const struct vgpu_family vgpu_host_families[];
extern const struct vgpu_family vgpu_health_families[];

#endif
