/* SPDX-License-Identifier: MIT */
/**
 * What is simulated: virtual machines, what their programs do, and the scheduler's settings. One
 * statement per line, `#` begins a comment, durations are a number with ns, us, ms or s:
 *
 *   policy wfq                     wfq, urgency, fifo or deadline
 *   time 10s                       of simulation
 *   slice 4ms                      also: longest, round, least, drain, calm, patience (in
 *                                  mediator/scheduler/scheduler.h), window, grace, handover (below)
 *   pool NAME [weight=50]          pool A is there already
 *   vm NAME [KEY=VALUE...]         keys, with their defaults:
 *       count=1                    that many VMs: NAME-1, NAME-2...
 *       pool=A priority=medium weight=50 cap=100 period=0 budget=0
 *       kernel=50us batch=16       a request is so many kernels of so long
 *       depth=1                    requests that the program has under way; 0: only `work`
 *       gap=0                      from a request's end to the next one
 *       spread=0                   times vary evenly by this part of them, 0..1
 *       from=0 until=TIME          when the program runs
 *   work TIME NAME DURATION [COUNT]   recorded kernels: they arrive at TIME and take DURATION each
 */
#ifndef VGPU_SIM_SCENARIO_H
#define VGPU_SIM_SCENARIO_H

#include <stdint.h>
#include <stdio.h>

#include "mediator/scheduler/scheduler.h"

#define VGPU_SIM_VMS_MOST   1000u
#define VGPU_SIM_POOLS_MOST 26u /* as many as a mediator has */
#define VGPU_SIM_DEPTH_MOST 1024u
#define VGPU_SIM_NAME       72u /* a VM's name, and a number */

struct vgpu_sim_work {
    uint64_t arrives;
    uint64_t lasts;
    uint32_t count; /* kernels */
};

struct vgpu_sim_vm_plan {
    char name[VGPU_SIM_NAME];
    uint32_t count; /* of VMs that the statement makes, of which this is one */
    uint32_t pool;  /* index */
    enum vgpu_priority priority;
    uint32_t weight;
    uint32_t cap; /* per cent */
    uint64_t period, budget;
    uint64_t kernel, gap;
    double spread;
    uint32_t batch, depth;
    uint64_t from, until;
    struct vgpu_sim_work *work; /* in the order of arrival */
    uint32_t work_count;
};

struct vgpu_sim_scenario {
    const struct vgpu_policy *policy;
    struct vgpu_scheduler_times times;
    uint64_t length;
    uint64_t window;   /* of GPU time that may be in flight in a lease that is not open */
    uint64_t grace;    /* of idleness until a lease is given back */
    uint64_t handover; /* from one lease's end to the next one's first work */
    uint64_t seed;
    struct vgpu_sim_pool_plan {
        char name[VGPU_SIM_NAME];
        uint32_t weight;
    } pools[VGPU_SIM_POOLS_MOST];
    uint32_t pool_count;
    struct vgpu_sim_vm_plan *vms;
    uint32_t vm_count;
};

/** Reads a scenario; what is wrong goes to `errors` as "name:line: ...". Returns 0, -EINVAL or
 *  -ENOMEM; to be destroyed in any case. */
int vgpu_sim_scenario_read(struct vgpu_sim_scenario *scenario, FILE *file, const char *name,
                           FILE *errors);
void vgpu_sim_scenario_destroy(struct vgpu_sim_scenario *scenario);

#endif
