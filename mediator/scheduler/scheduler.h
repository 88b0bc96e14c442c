/* SPDX-License-Identifier: MIT */
/**
 * Takes turns: which tenant has the lease of the GPU, and until when. Pure, like the policies: the
 * owner tells what happens and when, calls vgpu_scheduler_expire() at the time that
 * vgpu_scheduler_next() says, and carries out what the operations ask for. A tenant that wants the
 * GPU alone has an open lease, which nothing ends; while others come now and then, what it may have
 * in flight is bounded, so that they need not wait for all of it; when one waits, leases last a
 * slice. At most one tenant has a lease. One thread; operations must not call the scheduler.
 */
#ifndef VGPU_MEDIATOR_SCHEDULER_SCHEDULER_H
#define VGPU_MEDIATOR_SCHEDULER_SCHEDULER_H

#include "mediator/scheduler/policy.h"

#define VGPU_TIME_NEVER UINT64_MAX

/** What reservations may take together, in millionths of the GPU: the rest is everybody's. */
#define VGPU_RESERVED_MOST 900000u

struct vgpu_scheduler_operations {
    /** The tenant may use the GPU from now on; `open`: as much as it likes, or else bounded and
     *  with word of its idleness. Also changes the lease of the holder from one to the other. */
    void (*grant)(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, bool open);
    /** Asks for the lease back. True if it is back at once: the tenant had nothing in flight. Or
     *  else vgpu_scheduler_returned() follows when it has drained. */
    bool (*end)(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant);
    /** Work in flight has outlasted the drain limit: the lease is over, and others go on beside
     *  what is left. The tenant may want the GPU again. */
    void (*abandon)(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant);
    /** Takes the lease back if the tenant does not use it, without asking. True if so. */
    bool (*reclaim)(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant);
    /** GPU nanoseconds that it has used since this was last asked. */
    uint64_t (*measure)(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant);
};

/** In nanoseconds. */
struct vgpu_scheduler_times {
    uint64_t slice;    /* of a lease while many others wait */
    uint64_t longest;  /* and while few do */
    uint64_t round;    /* in which all get a turn, if that is between the two */
    uint64_t least;    /* nobody is preempted before; a quarter of it for a higher priority */
    uint64_t drain;    /* that work in flight may last after a lease; then others go on beside it */
    uint64_t calm;     /* without anybody else, until a lease is open */
    uint64_t patience; /* who has waited longer (and 8 rounds of slices) goes first, always */
};

/** 4 to 16 ms of slice: a change of turns costs an H200 a quarter of a millisecond. */
extern const struct vgpu_scheduler_times vgpu_scheduler_default_times;

struct vgpu_scheduler {
    const struct vgpu_policy *policy;
    const struct vgpu_scheduler_operations *operations;
    struct vgpu_scheduler_times times;
    struct vgpu_tenant *first, *last; /* those that wait, in the order of asking */
    uint32_t waiting_count;
    struct vgpu_tenant *capped;       /* those that would wait, but for their cap; in no order */
    struct vgpu_tenant *holder;       /* NULL: nobody */
    uint64_t end;                     /* of the lease, of its draining, or of its being bounded */
    uint64_t calm_from;               /* unless somebody waits before */
    bool open;                        /* the lease is; nothing ends it */
    uint64_t wanted[VGPU_PRIORITIES]; /* when somebody of it last came; 0: never */
    uint64_t floor;                   /* wfq: the least virtual time of pools that want the GPU */
    uint32_t reserved;                /* millionths of the GPU */
};

void vgpu_scheduler_init(struct vgpu_scheduler *scheduler, const struct vgpu_policy *policy,
                         const struct vgpu_scheduler_operations *operations);

/** A tenant with the defaults, at rest. The pool outlives it. */
void vgpu_tenant_init(struct vgpu_tenant *tenant, struct vgpu_pool *pool);
/** A pool with the default weight. */
void vgpu_pool_init(struct vgpu_pool *pool);

/** Puts the tenant into another pool, or its first; it is as far ahead or behind there. */
void vgpu_scheduler_move(struct vgpu_tenant *tenant, struct vgpu_pool *pool);

/** Declares that the tenant needs `budget` in every `period` (nanoseconds; both 0: takes it back).
 *  Returns 0, -EINVAL (budget not within the period, period under 1 ms or over 10 s) or -ENOSPC
 *  (others have reserved too much); then the former reservation stays. */
int vgpu_scheduler_reserve(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                           uint64_t period, uint64_t budget, uint64_t now);

/** The tenant gets at most so many per cent (1..100) of the GPU's time from now on, even if nobody
 *  else wants it; 100: as much as there is. It never has an open lease then. */
void vgpu_scheduler_cap(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint32_t cap,
                        uint64_t now);

/** The tenant has work and no lease for it, or more work than it said before. */
void vgpu_scheduler_want(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                         uint32_t queued, uint64_t now);

/** The tenant has no work (any more). The holder loses its lease if others wait. */
void vgpu_scheduler_rest(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                         uint64_t now);

/** The holder has drained and given its lease back. `wants`: it has more work. */
void vgpu_scheduler_returned(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                             bool wants, uint64_t now);

/** The tenant goes, with whatever it had; it can come back. */
void vgpu_scheduler_remove(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                           uint64_t now);

/** Whether somebody of a higher priority has come lately: then the tenant's work in flight, which
 *  that one has to wait for, should be little. */
bool vgpu_scheduler_has_betters(const struct vgpu_scheduler *scheduler,
                                const struct vgpu_tenant *tenant, uint64_t now);

/** When vgpu_scheduler_expire() has to be called, or VGPU_TIME_NEVER. Changes with every call. */
uint64_t vgpu_scheduler_next(const struct vgpu_scheduler *scheduler);
void vgpu_scheduler_expire(struct vgpu_scheduler *scheduler, uint64_t now);

#endif
