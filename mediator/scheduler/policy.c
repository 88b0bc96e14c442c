/* SPDX-License-Identifier: MIT */
#include "mediator/scheduler/policy.h"

#include <stddef.h>
#include <string.h>

static const struct vgpu_policy *const vgpu_policies[] = {
    &vgpu_policy_wfq,
    &vgpu_policy_urgency,
    &vgpu_policy_fifo,
    &vgpu_policy_deadline,
};

const struct vgpu_policy *vgpu_policy_find(const char *name)
{
    for (size_t i = 0; i < sizeof(vgpu_policies) / sizeof(*vgpu_policies); i++) {
        if (strcmp(vgpu_policies[i]->name, name) == 0)
            return vgpu_policies[i];
    }
    return NULL;
}

static const char *const vgpu_priorities[VGPU_PRIORITIES] = {
    [VGPU_PRIORITY_LOW] = "low",
    [VGPU_PRIORITY_MEDIUM] = "medium",
    [VGPU_PRIORITY_HIGH] = "high",
};

const char *vgpu_priority_name(enum vgpu_priority priority)
{
    return vgpu_priorities[priority];
}

bool vgpu_priority_find(const char *name, enum vgpu_priority *priority)
{
    for (uint32_t i = 0; i < VGPU_PRIORITIES; i++) {
        if (strcmp(name, vgpu_priorities[i]) == 0) {
            *priority = (enum vgpu_priority)i;
            return true;
        }
    }
    return false;
}

uint32_t vgpu_tenant_weight(const struct vgpu_tenant *tenant)
{
    static const uint32_t multiplier[] = {
        [VGPU_PRIORITY_LOW] = 1, [VGPU_PRIORITY_MEDIUM] = 2, [VGPU_PRIORITY_HIGH] = 4};

    return multiplier[tenant->priority] * tenant->weight;
}

double vgpu_urgency(const struct vgpu_tenant *tenant, uint64_t now)
{
    bool waits = tenant->state == VGPU_TENANT_WAITS && now > tenant->since;
    double waited = waits ? (double)(now - tenant->since) / 1e9 : 0;

    return vgpu_tenant_weight(tenant) / (double)VGPU_WEIGHT_DEFAULT * (1 + tenant->queued / 10.0) *
           (1 + waited / 10.0);
}
