/* SPDX-License-Identifier: MIT */
/** What an administrator may set for a VM, in one table: the store, the admin socket and whoever
 *  enforces a limit go by it. */
#ifndef VGPU_MEDIATOR_VM_LIMITS_H
#define VGPU_MEDIATOR_VM_LIMITS_H

#include <stdint.h>

/** For the scheduler, the rate limiter, the watchdog and the ledger. */
struct vgpu_vm_limits {
    uint64_t weight;      /* 1..100, of the VM's share among those of its pool */
    uint64_t share_cap;   /* 1..100 per cent of GPU time, even if it is idle; 100: no cap */
    uint64_t memory;      /* bytes of GPU memory; 0: as the configuration says */
    uint64_t rate;        /* calls a second; 0: no limit */
    uint64_t queue_depth; /* calls that wait, in all channels; 0: as many as rings hold */
    uint64_t watchdog;    /* seconds until work that does not finish costs the worker its life */
    uint64_t fault_limit; /* workers that it may lose so before it is quarantined; 0: any number */
};

#define VGPU_LIMITS 7u

struct vgpu_limit {
    const char *name; /* the column of the store and the key of the admin socket */
    uint64_t least;
    uint64_t most;
    uint64_t initial;
    const char *allowed; /* the same in words */
};

extern const struct vgpu_limit vgpu_limits[VGPU_LIMITS];

/** The value to which the entry `which` of the table belongs. */
uint64_t *vgpu_limit_of(struct vgpu_vm_limits *limits, uint32_t which);

void vgpu_limits_init(struct vgpu_vm_limits *limits);

#endif
