/* SPDX-License-Identifier: MIT */
/**
 * Leases of the GPU: the scheduler's turns (mediator/scheduler/scheduler.h), carried out in the
 * pages of the workers (protocol/worker.h). A tenant is a VM; all of its workers have its lease at
 * once. Nothing polls: workers say when they want the GPU, have drained or are idle under a bounded
 * lease, one of which little is left is taken without a word, and a timer runs only while somebody
 * waits, or did a moment ago. The lease is good order among workers, not protection from one that
 * has been taken over: such a one has the driver.
 */
#ifndef VGPU_MEDIATOR_LEASE_H
#define VGPU_MEDIATOR_LEASE_H

#include "mediator/loop.h"
#include "mediator/scheduler/scheduler.h"

/** Of GPU time that may be in flight under a lease that is not open, in nanoseconds: enough to hide
 *  that a worker looks only every so often, and little against a slice. */
#define VGPU_LEASE_WINDOW 1000000u
/** And so many times less while somebody of a higher priority comes now and then. */
#define VGPU_LEASE_HURRY 8u

#define VGPU_POOLS 26u /* 'A' to 'Z' */

struct vgpu_channel;
struct vgpu_vm;

struct vgpu_leases {
    struct vgpu_scheduler scheduler;
    struct vgpu_pool pools[VGPU_POOLS];
    struct vgpu_loop *loop;
    struct vgpu_source timer;
};

/** `slice`: milliseconds of a lease while many others wait. Returns 0 or a negative errno. */
int vgpu_lease_init(struct vgpu_leases *leases, struct vgpu_loop *loop,
                    const struct vgpu_policy *policy, uint32_t slice);
/** Nothing happens if it was never initialised. */
void vgpu_lease_close(struct vgpu_leases *leases);

/** The weight (1..VGPU_WEIGHT_MOST) of the pool 'A' to 'Z', from now on. */
void vgpu_lease_pool(struct vgpu_leases *leases, uint32_t pool, uint32_t weight);

/** The VM's pool, priority, weight or share cap has become known, or is another from now on. */
void vgpu_lease_attach(struct vgpu_leases *leases, struct vgpu_vm *vm);

/** The VM may have `budget` milliseconds of the GPU in every `period` under the deadline policy; 0,
 * 0: nothing in particular. Returns 0 or -ENOSPC. */
int vgpu_lease_reserve(struct vgpu_leases *leases, struct vgpu_vm *vm, uint32_t period,
                       uint32_t budget);

/** What a new worker of the VM begins with: enum vgpu_lease_state, and the bit of idleness. */
uint32_t vgpu_lease_first(const struct vgpu_vm *vm);

/** A worker takes part, from its start until it was reaped and added to the VM's totals. */
void vgpu_lease_add(struct vgpu_channel *channel);
void vgpu_lease_drop(struct vgpu_leases *leases, struct vgpu_channel *channel);

/** A worker has said VGPU_WORKER_LEASE. */
void vgpu_lease_heard(struct vgpu_leases *leases, struct vgpu_channel *channel);

#endif
