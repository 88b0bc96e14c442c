/* SPDX-License-Identifier: MIT */
/* Nothing is remembered: who is most urgent now goes first. What has been used does not count, so
 * that shares are not kept; that nobody starves is the scheduler's patience. */
#include "mediator/scheduler/scheduler.h"

static struct vgpu_tenant *urgency_choose(struct vgpu_scheduler *scheduler, uint64_t now)
{
    struct vgpu_tenant *tenant, *best = NULL;
    double urgency, most = 0;

    for (tenant = scheduler->first; tenant; tenant = tenant->next) {
        urgency = vgpu_urgency(tenant, now);
        if (!best || urgency > most) { /* of equals the one that waits longest, which is first */
            best = tenant;
            most = urgency;
        }
    }
    return best;
}

static bool urgency_preempts(const struct vgpu_scheduler *scheduler,
                             const struct vgpu_tenant *tenant, uint64_t now)
{
    return vgpu_urgency(tenant, now) > vgpu_urgency(scheduler->holder, now);
}

const struct vgpu_policy vgpu_policy_urgency = {
    .name = "urgency",
    .choose = urgency_choose,
    .preempts = urgency_preempts,
};
