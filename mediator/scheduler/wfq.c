/* SPDX-License-Identifier: MIT */
/*
 * Virtual time is GPU time over weight, of each tenant within its pool and of each pool. The one
 * that is furthest behind goes first, so that time is shared by weight among those that want it.
 * Who rests saves nothing up: on waking it is put back to where the others are, less one slice, so
 * that short work after a pause does not wait for everybody. Who ran alone owes nothing for it.
 */
#include "mediator/scheduler/scheduler.h"

/* Virtual times wrap; they are never far from each other. */
static bool is_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return is_before(a, b) ? b : a;
}

static uint64_t tenant_time(const struct vgpu_tenant *tenant, uint64_t used)
{
    return used * VGPU_EFFECTIVE_MOST / vgpu_tenant_weight(tenant);
}

static uint64_t pool_time(const struct vgpu_pool *pool, uint64_t used)
{
    return used * VGPU_WEIGHT_MOST / pool->weight;
}

/* The pool that is furthest behind, of those whose tenants wait or hold; NULL: none. */
static struct vgpu_pool *first_pool(const struct vgpu_scheduler *scheduler, bool with_holder)
{
    struct vgpu_pool *first = with_holder && scheduler->holder ? scheduler->holder->pool : NULL;

    for (const struct vgpu_tenant *tenant = scheduler->first; tenant; tenant = tenant->next) {
        if (!first || is_before(tenant->pool->virtual, first->virtual))
            first = tenant->pool;
    }
    return first;
}

/* The same for the tenants of one pool. */
static const struct vgpu_tenant *first_tenant(const struct vgpu_scheduler *scheduler,
                                              const struct vgpu_pool *pool, bool with_holder)
{
    const struct vgpu_tenant *holder = scheduler->holder;
    const struct vgpu_tenant *first = with_holder && holder && holder->pool == pool ? holder : NULL;

    for (const struct vgpu_tenant *tenant = scheduler->first; tenant; tenant = tenant->next) {
        if (tenant->pool == pool && (!first || is_before(tenant->virtual, first->virtual)))
            first = tenant;
    }
    return first;
}

/* Moves the floors up to the least virtual times of those that want the GPU. */
static void raise_floors(struct vgpu_scheduler *scheduler, struct vgpu_pool *pool)
{
    const struct vgpu_pool *in_all = first_pool(scheduler, true);
    const struct vgpu_tenant *in_pool = first_tenant(scheduler, pool, true);

    if (in_pool)
        pool->floor = later(pool->floor, in_pool->virtual);
    if (in_all)
        scheduler->floor = later(scheduler->floor, in_all->virtual);
}

static void wfq_wake(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t now)
{
    struct vgpu_pool *pool = tenant->pool;
    uint64_t slice = scheduler->times.slice;

    (void)now;
    raise_floors(scheduler, pool);
    if (pool->wanting == 0)
        pool->virtual = later(pool->virtual, scheduler->floor - pool_time(pool, slice));
    tenant->virtual = later(tenant->virtual, pool->floor - tenant_time(tenant, slice));
}

static void wfq_charge(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, uint64_t used)
{
    tenant->virtual += tenant_time(tenant, used);
    tenant->pool->virtual += pool_time(tenant->pool, used);
    raise_floors(scheduler, tenant->pool);
}

/* Whether a tenant is within one slice of its own of the virtual time `at`. */
static bool is_near(const struct vgpu_scheduler *scheduler, const struct vgpu_tenant *tenant,
                    uint64_t at)
{
    return !is_before(at + tenant_time(tenant, scheduler->times.slice), tenant->virtual);
}

static struct vgpu_tenant *wfq_choose(struct vgpu_scheduler *scheduler, uint64_t now)
{
    const struct vgpu_pool *pool = first_pool(scheduler, false);
    const struct vgpu_tenant *first = first_tenant(scheduler, pool, false);
    struct vgpu_tenant *best = NULL;
    double urgency, most = 0;

    for (struct vgpu_tenant *tenant = scheduler->first; tenant; tenant = tenant->next) {
        if (tenant->pool != pool || !is_near(scheduler, tenant, first->virtual))
            continue;
        urgency = vgpu_urgency(tenant, now);
        if (!best || urgency > most) {
            best = tenant;
            most = urgency;
        }
    }
    return best;
}

static bool wfq_preempts(const struct vgpu_scheduler *scheduler, const struct vgpu_tenant *tenant,
                         uint64_t now)
{
    const struct vgpu_tenant *holder = scheduler->holder;
    uint64_t ran = now - holder->since, least = scheduler->times.least;

    if (tenant->pool != holder->pool)
        return !is_before(holder->pool->virtual + pool_time(holder->pool, ran),
                          tenant->pool->virtual + pool_time(tenant->pool, least));
    uint64_t at = holder->virtual + tenant_time(holder, ran);
    if (!is_before(at, tenant->virtual + tenant_time(tenant, least)))
        return true;
    return tenant->priority > holder->priority && is_near(scheduler, tenant, at);
}

const struct vgpu_policy vgpu_policy_wfq = {
    .name = "wfq",
    .wake = wfq_wake,
    .charge = wfq_charge,
    .choose = wfq_choose,
    .preempts = wfq_preempts,
};
