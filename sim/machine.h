/* SPDX-License-Identifier: MIT */
/**
 * The simulated machine: programs that bring requests of kernels, workers that submit them under a
 * lease, and a GPU that runs kernels one after the other. The scheduler and its policies are those
 * of the mediator. Where two VMs have work on the GPU at once (one has not drained in time), the
 * GPU switches between them every 2 ms, as NVIDIA's driver does.
 */
#ifndef VGPU_SIM_MACHINE_H
#define VGPU_SIM_MACHINE_H

#include "sim/scenario.h"

/** Points in time at which shares are noted, for the plot. */
#define VGPU_SIM_SAMPLES 200u

/** Durations that were measured, in no order. */
struct vgpu_sim_series {
    uint64_t *values;
    uint32_t count, room;
};

/** What came of a VM. */
struct vgpu_sim_result {
    uint64_t used;    /* GPU nanoseconds */
    uint64_t kernels; /* that ended */
    uint64_t leases;
    uint64_t longest;                   /* that it had work and no kernel of it ran */
    struct vgpu_sim_series waits;       /* of each request, until its first kernel ran */
    struct vgpu_sim_series replies;     /* of each request, until its last kernel had ended */
    uint64_t samples[VGPU_SIM_SAMPLES]; /* `used` at that part of the time */
};

struct vgpu_sim_outcome {
    struct vgpu_sim_result *vms; /* as in the scenario */
    uint32_t vm_count;
    uint64_t length;
    uint64_t busy;      /* GPU nanoseconds of all */
    uint64_t wasted;    /* nanoseconds in which the GPU had nothing though some VM had work */
    uint64_t handovers; /* leases that went from one VM to another */
};

/** Runs a scenario. Returns 0, -ENOMEM, or -EINVAL if its reservations cannot be (who it is goes to
 *  `errors`). */
int vgpu_sim_run(const struct vgpu_sim_scenario *scenario, struct vgpu_sim_outcome *outcome,
                 FILE *errors);
void vgpu_sim_outcome_destroy(struct vgpu_sim_outcome *outcome);

/** The value that `part` (0..1) of the series are not above; 0 for none. Sorts it. */
uint64_t vgpu_sim_percentile(struct vgpu_sim_series *series, double part);

/** Jain's index of GPU time over effective weight: 1 if all have their shares, 1/n if one has all.
 */
double vgpu_sim_jain(const struct vgpu_sim_scenario *scenario,
                     const struct vgpu_sim_outcome *outcome);

#endif
