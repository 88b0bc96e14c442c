/* SPDX-License-Identifier: MIT */
/*
 * A tenant with a reservation may have its budget in every period, before all that have none; of
 * several the one whose period ends first goes first. As reservations together leave some of the
 * GPU (vgpu_scheduler_reserve()), each gets its budget in time, give or take one lease of somebody
 * else that has just begun. Whoever has used up its budget, or has none, takes part in weighted
 * fair queueing, in which everything is charged.
 */
#include <stddef.h>

#include "mediator/scheduler/scheduler.h"

/* Begins new periods up to now. An overrun is paid from the next budget, and from no further one:
 * one long kernel costs one period, not all. */
static void refill(struct vgpu_tenant *tenant, uint64_t now)
{
    int64_t budget = (int64_t)tenant->budget;

    if (tenant->period == 0 || now < tenant->deadline)
        return;
    tenant->deadline += ((now - tenant->deadline) / tenant->period + 1) * tenant->period;
    tenant->left = tenant->left < -budget ? 0 : tenant->left < 0 ? tenant->left + budget : budget;
}

static bool has_claim(const struct vgpu_tenant *tenant)
{
    return tenant->period != 0 && tenant->left > 0;
}

static void deadline_wake(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                          uint64_t now)
{
    vgpu_policy_wfq.wake(scheduler, tenant, now);
    if (tenant->period == 0)
        return;
    refill(tenant, now);
    /* What is left of an old period, taken all at its end, would be more than the tenant's share of
     * the time until then: a new period begins instead. */
    uint64_t until = tenant->deadline - now;
    if (tenant->left > 0 &&
        (double)tenant->left * (double)tenant->period > (double)until * (double)tenant->budget) {
        tenant->deadline = now + tenant->period;
        tenant->left = (int64_t)tenant->budget;
    }
}

static void deadline_charge(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                            uint64_t used)
{
    vgpu_policy_wfq.charge(scheduler, tenant, used);
    if (tenant->period)
        tenant->left -= (int64_t)used;
}

static struct vgpu_tenant *deadline_choose(struct vgpu_scheduler *scheduler, uint64_t now)
{
    struct vgpu_tenant *tenant, *best = NULL;

    for (tenant = scheduler->first; tenant; tenant = tenant->next) {
        refill(tenant, now);
        if (has_claim(tenant) && (!best || tenant->deadline < best->deadline))
            best = tenant;
    }
    return best ? best : vgpu_policy_wfq.choose(scheduler, now);
}

static uint64_t deadline_slice(const struct vgpu_scheduler *scheduler,
                               const struct vgpu_tenant *tenant)
{
    (void)scheduler;
    return has_claim(tenant) ? (uint64_t)tenant->left : VGPU_TIME_NEVER;
}

static bool deadline_preempts(const struct vgpu_scheduler *scheduler,
                              const struct vgpu_tenant *tenant, uint64_t now)
{
    const struct vgpu_tenant *holder = scheduler->holder;

    if (has_claim(tenant))
        return !has_claim(holder) || tenant->deadline < holder->deadline;
    return !has_claim(holder) && vgpu_policy_wfq.preempts(scheduler, tenant, now);
}

const struct vgpu_policy vgpu_policy_deadline = {
    .name = "deadline",
    .wake = deadline_wake,
    .charge = deadline_charge,
    .choose = deadline_choose,
    .slice = deadline_slice,
    .preempts = deadline_preempts,
};
