/* SPDX-License-Identifier: MIT */
#include "mediator/scheduler/scheduler.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#define MILLISECOND     1000000ull
#define PATIENCE_ROUNDS 8u
#define NO_CAP          100u /* per cent */
#define CAP_SLICES      2u   /* that a capped tenant may have at once after a rest */
#define PERIOD_LEAST    MILLISECOND
#define PERIOD_MOST     (10000 * MILLISECOND)
#define MILLIONTHS      1000000u
#define CHARGE_MOST     (1ull << 50) /* nanoseconds, 13 days: products of it do not overflow */

const struct vgpu_scheduler_times vgpu_scheduler_default_times = {
    .slice = 4 * MILLISECOND,
    .longest = 16 * MILLISECOND,
    .round = 120 * MILLISECOND,
    .least = MILLISECOND,
    .drain = 50 * MILLISECOND,
    .calm = 1000 * MILLISECOND,
    .patience = 10000 * MILLISECOND,
};

void vgpu_scheduler_init(struct vgpu_scheduler *scheduler, const struct vgpu_policy *policy,
                         const struct vgpu_scheduler_operations *operations)
{
    *scheduler = (struct vgpu_scheduler){
        .policy = policy,
        .operations = operations,
        .times = vgpu_scheduler_default_times,
        .end = VGPU_TIME_NEVER,
    };
}

void vgpu_tenant_init(struct vgpu_tenant *tenant, struct vgpu_pool *pool)
{
    *tenant = (struct vgpu_tenant){
        .pool = pool,
        .priority = VGPU_PRIORITY_MEDIUM,
        .weight = VGPU_WEIGHT_DEFAULT,
        .cap = NO_CAP,
    };
}

void vgpu_pool_init(struct vgpu_pool *pool)
{
    *pool = (struct vgpu_pool){.weight = VGPU_WEIGHT_DEFAULT};
}

void vgpu_scheduler_move(struct vgpu_tenant *tenant, struct vgpu_pool *pool)
{
    struct vgpu_pool *former = tenant->pool;

    tenant->pool = pool;
    if (former == NULL || former == pool)
        return;
    tenant->virtual += pool->floor - former->floor;
    if (tenant->state != VGPU_TENANT_RESTS && tenant->state != VGPU_TENANT_CAPPED) {
        former->wanting--;
        pool->wanting++;
    }
}

static uint32_t millionths(uint64_t period, uint64_t budget)
{
    return period ? (uint32_t)((budget * MILLIONTHS + period - 1) / period) : 0;
}

int vgpu_scheduler_reserve(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                           uint64_t period, uint64_t budget, uint64_t now)
{
    if ((period || budget) &&
        (period < PERIOD_LEAST || period > PERIOD_MOST || budget == 0 || budget > period))
        return -EINVAL;
    uint32_t others = scheduler->reserved - millionths(tenant->period, tenant->budget);
    uint32_t wanted = millionths(period, budget);
    if (wanted && others + wanted > VGPU_RESERVED_MOST)
        return -ENOSPC;
    scheduler->reserved = others + wanted;
    tenant->period = period;
    tenant->budget = budget;
    tenant->deadline = now + period;
    tenant->left = (int64_t)budget;
    return 0;
}

/* What is used moves the time from which more may be used: at the cap's rate, beginning at most
 * some slices before the work did, which pays for hand-overs and late wake-ups. */
static void charge_cap(const struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                       uint64_t used, uint64_t now)
{
    uint64_t saved = CAP_SLICES * scheduler->times.longest + used;
    uint64_t earliest = now > saved ? now - saved : 0;

    if (tenant->free_at < earliest)
        tenant->free_at = earliest;
    tenant->free_at += used * NO_CAP / tenant->cap;
}

static void charge(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t used,
                   uint64_t now)
{
    used = used < CHARGE_MOST ? used : CHARGE_MOST;
    if (used && scheduler->policy->charge)
        scheduler->policy->charge(scheduler, tenant, used);
    if (used && tenant->cap < NO_CAP)
        charge_cap(scheduler, tenant, used, now);
}

static void account(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t now)
{
    uint64_t used = scheduler->operations->measure(scheduler, tenant);
    uint64_t paid = used < tenant->advance ? used : tenant->advance;

    tenant->advance -= paid;
    charge(scheduler, tenant, used - paid, now);
}

static bool is_over_cap(const struct vgpu_tenant *tenant, uint64_t now)
{
    return tenant->cap < NO_CAP && tenant->free_at > now;
}

/* Puts a tenant behind those that wait. */
static void line_up(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t now)
{
    tenant->next = NULL;
    tenant->previous = scheduler->last;
    *(scheduler->last ? &scheduler->last->next : &scheduler->first) = tenant;
    scheduler->last = tenant;
    scheduler->waiting_count++;
    tenant->state = VGPU_TENANT_WAITS;
    tenant->since = now;
}

static void leave_line(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    *(tenant->previous ? &tenant->previous->next : &scheduler->first) = tenant->next;
    *(tenant->next ? &tenant->next->previous : &scheduler->last) = tenant->previous;
    scheduler->waiting_count--;
}

/* The tenant, which rests, wants the GPU and may not have it yet. */
static void hold_back(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    tenant->state = VGPU_TENANT_CAPPED;
    tenant->previous = NULL;
    tenant->next = scheduler->capped;
    if (tenant->next)
        tenant->next->previous = tenant;
    scheduler->capped = tenant;
}

static void let_in(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    *(tenant->previous ? &tenant->previous->next : &scheduler->capped) = tenant->next;
    if (tenant->next)
        tenant->next->previous = tenant->previous;
    tenant->state = VGPU_TENANT_RESTS;
}

/* Wherever the tenant was, it wants nothing any more. */
static void lay_down(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    if (tenant->state == VGPU_TENANT_CAPPED)
        let_in(scheduler, tenant);
    if (tenant->state == VGPU_TENANT_RESTS)
        return;
    if (tenant->state == VGPU_TENANT_WAITS)
        leave_line(scheduler, tenant);
    if (scheduler->holder == tenant) {
        scheduler->holder = NULL;
        scheduler->end = VGPU_TIME_NEVER;
    }
    tenant->state = VGPU_TENANT_RESTS;
    tenant->queued = 0;
    tenant->pool->wanting--;
}

static struct vgpu_tenant *choose(struct vgpu_scheduler *scheduler, uint64_t now)
{
    struct vgpu_tenant *first = scheduler->first;
    assert(first);
    uint64_t rounds = PATIENCE_ROUNDS * scheduler->times.slice * scheduler->waiting_count;
    /* Of work that outlasted its lease the end may have been measured since. */
    for (struct vgpu_tenant *tenant = first; tenant; tenant = tenant->next)
        account(scheduler, tenant, now);
    uint64_t patience = scheduler->times.patience > rounds ? scheduler->times.patience : rounds;

    return now - first->since > patience ? first : scheduler->policy->choose(scheduler, now);
}

bool vgpu_scheduler_has_betters(const struct vgpu_scheduler *scheduler,
                                const struct vgpu_tenant *tenant, uint64_t now)
{
    for (uint32_t i = tenant->priority + 1; i < VGPU_PRIORITIES; i++) {
        if (scheduler->wanted[i] && now - scheduler->wanted[i] < scheduler->times.calm)
            return true;
    }
    return false;
}

/* Long slices are for equals: who matters more, and comes too late to preempt, waits for one. */
static uint64_t slice_of(const struct vgpu_scheduler *scheduler, const struct vgpu_tenant *tenant,
                         uint64_t now)
{
    const struct vgpu_scheduler_times *times = &scheduler->times;
    uint64_t most =
        scheduler->policy->slice ? scheduler->policy->slice(scheduler, tenant) : VGPU_TIME_NEVER;
    uint64_t slice = times->round / (scheduler->waiting_count + 1);

    slice = slice > times->longest ? times->longest : slice;
    if (slice < times->slice || vgpu_scheduler_has_betters(scheduler, tenant, now))
        slice = times->slice;
    return slice < most ? slice : most;
}

/* The tenant, which waits no more, has the lease from now on, or goes on having it. */
static void hold(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t now)
{
    scheduler->holder = tenant;
    tenant->state = VGPU_TENANT_HOLDS;
    tenant->since = now;
    if (scheduler->waiting_count)
        scheduler->calm_from = now + scheduler->times.calm;
    bool ends = scheduler->waiting_count || tenant->cap < NO_CAP;
    scheduler->open = !ends && now >= scheduler->calm_from;
    scheduler->end = ends              ? now + slice_of(scheduler, tenant, now)
                     : scheduler->open ? VGPU_TIME_NEVER
                                       : scheduler->calm_from;
}

static void go_on(struct vgpu_scheduler *scheduler, uint64_t now)
{
    if (scheduler->holder || scheduler->waiting_count == 0)
        return;
    struct vgpu_tenant *next = choose(scheduler, now);
    leave_line(scheduler, next);
    next->got = now;
    hold(scheduler, next, now);
    scheduler->operations->grant(scheduler, next, scheduler->open);
}

/* The holder has company: its lease ends, and early if it is idle or the newcomer cannot wait. */
static void contend(struct vgpu_scheduler *scheduler, const struct vgpu_tenant *newcomer,
                    uint64_t now)
{
    struct vgpu_tenant *holder = scheduler->holder;

    scheduler->calm_from = now + scheduler->times.calm;
    if (holder->state != VGPU_TENANT_HOLDS)
        return;
    if (scheduler->operations->reclaim(scheduler, holder)) {
        lay_down(scheduler, holder);
        go_on(scheduler, now);
        return;
    }
    if (scheduler->waiting_count == 1) { /* the holder was alone until now */
        bool was_open = scheduler->open;
        hold(scheduler, holder, now);
        if (was_open)
            scheduler->operations->grant(scheduler, holder, false);
    }
    uint64_t least = scheduler->times.least / (newcomer->priority > holder->priority ? 4 : 1);
    uint64_t earliest = holder->got + least;
    if (earliest < scheduler->end && scheduler->policy->preempts &&
        scheduler->policy->preempts(scheduler, newcomer, now))
        scheduler->end = earliest;
}

/* The tenant, which rests, has work. */
static void enter(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t now)
{
    if (tenant->cap < NO_CAP) /* work that outlasted its lease may have ended since */
        account(scheduler, tenant, now);
    if (is_over_cap(tenant, now)) {
        hold_back(scheduler, tenant);
        return;
    }
    scheduler->wanted[tenant->priority] = now;
    if (scheduler->holder)
        account(scheduler, scheduler->holder, now);
    if (scheduler->policy->wake)
        scheduler->policy->wake(scheduler, tenant, now);
    tenant->pool->wanting++;
    line_up(scheduler, tenant, now);
    if (scheduler->holder)
        contend(scheduler, tenant, now);
    else
        go_on(scheduler, now);
}

void vgpu_scheduler_want(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                         uint32_t queued, uint64_t now)
{
    tenant->queued = queued < VGPU_QUEUED_MOST ? queued : VGPU_QUEUED_MOST;
    if (tenant->state != VGPU_TENANT_RESTS)
        return;
    enter(scheduler, tenant, now);
}

void vgpu_scheduler_cap(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint32_t cap,
                        uint64_t now)
{
    if (tenant->cap == cap)
        return;
    account(scheduler, tenant, now);
    tenant->cap = cap;
    tenant->free_at = 0; /* what it had before was right by the rule of that time */
    if (tenant->state == VGPU_TENANT_CAPPED) {
        let_in(scheduler, tenant);
        enter(scheduler, tenant, now);
    } else if (tenant->state == VGPU_TENANT_HOLDS) {
        bool was_open = scheduler->open;
        hold(scheduler, tenant, now);
        if (was_open != scheduler->open)
            scheduler->operations->grant(scheduler, tenant, scheduler->open);
    }
}

void vgpu_scheduler_rest(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t now)
{
    account(scheduler, tenant, now);
    switch (tenant->state) {
    case VGPU_TENANT_WAITS:
    case VGPU_TENANT_CAPPED:
        lay_down(scheduler, tenant);
        break;
    case VGPU_TENANT_HOLDS:
        if (scheduler->waiting_count && scheduler->operations->reclaim(scheduler, tenant))
            lay_down(scheduler, tenant);
        break;
    case VGPU_TENANT_ENDS: /* it will return the lease */
    case VGPU_TENANT_RESTS:
        break;
    }
    go_on(scheduler, now);
}

void vgpu_scheduler_returned(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                             bool wants, uint64_t now)
{
    if (scheduler->holder != tenant)
        return;
    account(scheduler, tenant, now);
    if (wants && !is_over_cap(tenant, now)) {
        scheduler->holder = NULL;
        line_up(scheduler, tenant, now);
    } else {
        lay_down(scheduler, tenant);
        if (wants)
            hold_back(scheduler, tenant);
    }
    go_on(scheduler, now);
}

void vgpu_scheduler_remove(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                           uint64_t now)
{
    account(scheduler, tenant, now);
    lay_down(scheduler, tenant);
    go_on(scheduler, now);
}

uint64_t vgpu_scheduler_next(const struct vgpu_scheduler *scheduler)
{
    uint64_t next = scheduler->end;

    for (const struct vgpu_tenant *tenant = scheduler->capped; tenant; tenant = tenant->next)
        next = tenant->free_at < next ? tenant->free_at : next;
    return next;
}

/* The tenant's slice is over: whether it may have another at once. */
static bool goes_on(struct vgpu_scheduler *scheduler, struct vgpu_tenant *holder, uint64_t now)
{
    if (is_over_cap(holder, now))
        return false;
    line_up(scheduler, holder, now);
    struct vgpu_tenant *next = choose(scheduler, now);
    leave_line(scheduler, holder);
    return next == holder;
}

/* The slice is over: on to the next, unless that is the holder. */
static void end_slice(struct vgpu_scheduler *scheduler, uint64_t now)
{
    struct vgpu_tenant *holder = scheduler->holder;

    account(scheduler, holder, now);
    /* A lease with a cap is never open: without work it must not cost a timer. */
    bool idle = holder->cap < NO_CAP && scheduler->operations->reclaim(scheduler, holder);
    if (!idle && goes_on(scheduler, holder, now)) {
        hold(scheduler, holder, now);
        if (scheduler->open)
            scheduler->operations->grant(scheduler, holder, true);
        return;
    }
    holder->state = VGPU_TENANT_ENDS;
    scheduler->end = now + scheduler->times.drain;
    if (idle || scheduler->operations->end(scheduler, holder)) {
        lay_down(scheduler, holder);
        go_on(scheduler, now);
    }
}

/* Work of the holder has outlasted the drain limit. */
static void end_drain(struct vgpu_scheduler *scheduler, uint64_t now)
{
    struct vgpu_tenant *holder = scheduler->holder;

    account(scheduler, holder, now);
    /* It is measured when it ends; until then it must not look as if it had not been. */
    charge(scheduler, holder, scheduler->times.drain, now);
    holder->advance += scheduler->times.drain;
    lay_down(scheduler, holder);
    scheduler->operations->abandon(scheduler, holder);
    go_on(scheduler, now);
}

void vgpu_scheduler_expire(struct vgpu_scheduler *scheduler, uint64_t now)
{
    const struct vgpu_tenant *holder = scheduler->holder;
    struct vgpu_tenant *tenant = scheduler->capped, *next;

    for (; tenant; tenant = next) {
        next = tenant->next;
        if (tenant->free_at > now)
            continue;
        let_in(scheduler, tenant);
        enter(scheduler, tenant, now);
    }
    if (!holder || holder != scheduler->holder || now < scheduler->end)
        return;
    if (holder->state == VGPU_TENANT_HOLDS)
        end_slice(scheduler, now);
    else
        end_drain(scheduler, now);
}
