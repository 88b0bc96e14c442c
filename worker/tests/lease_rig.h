/* SPDX-License-Identifier: MIT */
/** A worker with a context and a function, whose lease the test sets as the mediator would. */
#ifndef VGPU_WORKER_TESTS_LEASE_RIG_H
#define VGPU_WORKER_TESTS_LEASE_RIG_H

#include "worker/tests/fixture.h"

#define LEASE_RIG_WINDOW 1000000u /* nanoseconds */

struct lease_rig {
    struct vgpu_channel *channel;
    struct vgpu_worker *worker;
    struct vgpu_worker_lease *lease;
    int mediator; /* its end of the worker's socket */
};

/** What streams are given waits until the test has it run. */
struct lease_rig lease_rig_open(uint32_t state);
void lease_rig_close(struct lease_rig *rig);

/** As if work of all kinds had been seen before, and each took so long. */
void lease_rig_know_all(struct lease_rig *rig, uint32_t nanoseconds);

/** What the loop does with a launch, if it may. */
bool lease_rig_launch(struct lease_rig *rig, uint32_t stream);

#endif
