/* SPDX-License-Identifier: MIT */
/**
 * Who gets the GPU next. A tenant is a virtual machine (or a user of this host); tenants are in
 * pools. A policy is pure: times are passed in (nanoseconds of any one clock), nothing is read or
 * written but these structures. One file per policy; mediator/scheduler/scheduler.h takes turns
 * with it, in the mediator and in the simulator. One thread.
 */
#ifndef VGPU_MEDIATOR_SCHEDULER_POLICY_H
#define VGPU_MEDIATOR_SCHEDULER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/registers.h"

#define VGPU_WEIGHT_MOST    100u
#define VGPU_WEIGHT_DEFAULT 50u
#define VGPU_PRIORITIES     3u
#define VGPU_QUEUED_MOST    100u /* guests say how much they have waiting: more than this is noise */

/** The most that vgpu_tenant_weight() can be: high priority, weight 100. */
#define VGPU_EFFECTIVE_MOST (4u * VGPU_WEIGHT_MOST)

struct vgpu_scheduler;

struct vgpu_pool {
    uint32_t weight;  /* 1..VGPU_WEIGHT_MOST, of pools against each other; the owner's */
    uint32_t wanting; /* tenants that wait for or have the GPU; the scheduler's */
    uint64_t virtual; /* wfq: time that its tenants have used, over its weight */
    uint64_t floor;   /* wfq: the least virtual time of those that want; never goes back */
};

enum vgpu_tenant_state {
    VGPU_TENANT_RESTS,  /* has no work */
    VGPU_TENANT_WAITS,  /* has work, and no lease */
    VGPU_TENANT_HOLDS,  /* has the lease */
    VGPU_TENANT_ENDS,   /* has to give it back, and finishes what it began */
    VGPU_TENANT_CAPPED, /* has work, and has had all that its cap allows for now */
};

struct vgpu_tenant {
    /* the owner's; may change at any time, but the reservation by vgpu_scheduler_reserve() only,
     * and the cap by vgpu_scheduler_cap() */
    struct vgpu_pool *pool;
    enum vgpu_priority priority;
    uint32_t weight; /* 1..VGPU_WEIGHT_MOST */
    uint64_t period; /* deadline: it may have `budget` of GPU time in every period; 0: none */
    uint64_t budget;
    uint32_t cap; /* per cent of the GPU's time, even if it is idle; 100: none */

    /* the scheduler's */
    struct vgpu_tenant *next, *previous; /* among those that wait, or are capped */
    enum vgpu_tenant_state state;
    uint32_t queued;  /* pieces of work that wait, 0..VGPU_QUEUED_MOST */
    uint64_t advance; /* nanoseconds that it was charged for before they were measured */
    uint64_t since;   /* when its wait or its lease began */
    uint64_t got;     /* when its lease began, however often it was made longer */
    uint64_t free_at; /* with a cap: the time from which it may have the GPU again */

    /* the policies' */
    uint64_t virtual;  /* wfq: GPU time that it has used, over its weight */
    uint64_t deadline; /* deadline: end of its period */
    int64_t left;      /* deadline: of its budget in this period; negative: overrun */
};

struct vgpu_policy {
    const char *name;
    /** The tenant, which rested, has work. It is not among those that wait yet. NULL: no matter. */
    void (*wake)(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t now);
    /** It has used so many nanoseconds of the GPU. NULL: no account is kept. */
    void (*charge)(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t used);
    /** The next of those that wait, of which there is at least one. */
    struct vgpu_tenant *(*choose)(struct vgpu_scheduler *scheduler, uint64_t now);
    /** How long its lease may be at most, if the scheduler's slice is longer. NULL: as that is. */
    uint64_t (*slice)(const struct vgpu_scheduler *scheduler, const struct vgpu_tenant *tenant);
    /** Whether the tenant, which begins to wait, shall cut short the lease of the holder. NULL:
     *  never. */
    bool (*preempts)(const struct vgpu_scheduler *scheduler, const struct vgpu_tenant *tenant,
                     uint64_t now);
};

/** Weighted fair queueing of pools, then of their tenants, by measured GPU time. The default. */
extern const struct vgpu_policy vgpu_policy_wfq;
/** The most urgent first: see vgpu_urgency(). */
extern const struct vgpu_policy vgpu_policy_urgency;
/** In the order of asking. */
extern const struct vgpu_policy vgpu_policy_fifo;
/** Reservations by earliest deadline; what they leave, and who has none, by wfq. */
extern const struct vgpu_policy vgpu_policy_deadline;

/** By its name; NULL if there is none. */
const struct vgpu_policy *vgpu_policy_find(const char *name);

/** "low", "medium" or "high". */
const char *vgpu_priority_name(enum vgpu_priority priority);
/** By its name; false if there is none. */
bool vgpu_priority_find(const char *name, enum vgpu_priority *priority);

/** Multiplier of the priority (high 4, medium 2, low 1) times weight: 1..VGPU_EFFECTIVE_MOST. */
uint32_t vgpu_tenant_weight(const struct vgpu_tenant *tenant);

/** multiplier x (weight / 50) x (1 + queued / 10) x (1 + seconds of waiting / 10) */
double vgpu_urgency(const struct vgpu_tenant *tenant, uint64_t now);

#endif
