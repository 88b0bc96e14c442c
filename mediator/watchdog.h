/* SPDX-License-Identifier: MIT */
/**
 * The watchdog: a worker whose work does not finish within the VM's limit is killed, since nothing
 * else takes a kernel off a GPU. What counts is one piece of work (worker/watch.h), not how much of
 * it waits: work that no lease admits yet is not under way. A worker that does not come back from a
 * call of its driver, and so cannot say anything, is judged by the records that it completes.
 */
#ifndef VGPU_MEDIATOR_WATCHDOG_H
#define VGPU_MEDIATOR_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/worker.h"

struct vgpu_mediator;
struct vgpu_vm;

/** What was seen of one worker. */
struct vgpu_watchdog {
    uint64_t records; /* that it had completed */
    uint32_t call;    /* that it was in; 0: none */
    uint64_t since;   /* nanoseconds, when that was seen first */
};

/**
 * Looks at a worker's page at the time `now`, vgpu_loop_now(). True if its work takes longer than
 * `limit` nanoseconds: `why` says so then, to go on after "was killed, because". Pure.
 */
bool vgpu_watchdog_look(struct vgpu_watchdog *watchdog, const struct vgpu_worker_page *page,
                        uint64_t limit, uint64_t now, char *why, size_t size);

/** Looks at all workers from now on, as long as there are any: four times a second while something
 *  is under way, else once. */
void vgpu_watchdog_start(struct vgpu_mediator *mediator);
void vgpu_watchdog_stop(struct vgpu_mediator *mediator);

/** Brings a VM's limit to the workers that it has, where it says how finely work is marked. */
void vgpu_watchdog_set(struct vgpu_mediator *mediator, const struct vgpu_vm *vm);

#endif
