/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "sim/machine.h"

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

uint64_t vgpu_sim_percentile(struct vgpu_sim_series *series, double part)
{
    if (series->count == 0)
        return 0;
    qsort(series->values, series->count, sizeof(*series->values), compare);
    uint32_t at = (uint32_t)(part * series->count);
    return series->values[at < series->count ? at : series->count - 1];
}

double vgpu_sim_jain(const struct vgpu_sim_scenario *scenario,
                     const struct vgpu_sim_outcome *outcome)
{
    double sum = 0, squares = 0;

    for (uint32_t i = 0; i < outcome->vm_count; i++) {
        const struct vgpu_tenant tenant = {.priority = scenario->vms[i].priority,
                                           .weight = scenario->vms[i].weight};
        double share = (double)outcome->vms[i].used / vgpu_tenant_weight(&tenant);
        sum += share;
        squares += share * share;
    }
    return squares > 0 ? sum * sum / (outcome->vm_count * squares) : 1;
}

void vgpu_sim_outcome_destroy(struct vgpu_sim_outcome *outcome)
{
    for (uint32_t i = 0; outcome->vms && i < outcome->vm_count; i++) {
        free(outcome->vms[i].waits.values);
        free(outcome->vms[i].replies.values);
    }
    free(outcome->vms);
    *outcome = (struct vgpu_sim_outcome){0};
}
