/* SPDX-License-Identifier: MIT */
/**
 * The lease of the GPU: work goes to it only while the mediator lets it (protocol/worker.h). An
 * open lease costs one load per record. In a bounded one what is in flight is kept to so many
 * nanoseconds of GPU time, as estimated from how long the like of it took before. For the worker's
 * thread.
 */
#ifndef VGPU_WORKER_LEASE_H
#define VGPU_WORKER_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/worker.h"

#define VGPU_LEASE_BATCHES       8u
#define VGPU_LEASE_BATCH_RECORDS 32u
#define VGPU_LEASE_KINDS         256u

struct vgpu_worker;
struct vgpu_call_header;
struct vgpu_mark;

/** Records with marks behind them (worker/stream/fence.h), which carry the batch's number. */
struct vgpu_lease_batch {
    uint64_t estimate; /* nanoseconds, of all its records */
    uint32_t records;
    uint8_t kinds[VGPU_LEASE_BATCH_RECORDS];
};

struct vgpu_lease {
    uint32_t first;   /* number of the oldest that is in flight */
    uint32_t filling; /* number of the one that records are added to */
    uint64_t in_flight;
    uint64_t waiting;  /* nanoseconds more that stand behind waits for the program, at most */
    uint64_t refused;  /* time since when a record has not fitted; 0: none waits for that */
    uint32_t stalls;   /* how often in a row that took too long, and nothing was reached */
    uint32_t forced;   /* records that go although they do not fit */
    uint64_t measured; /* GPU time when the last batch was reached */
    struct vgpu_lease_batch batches[VGPU_LEASE_BATCHES]; /* by number, modulo */
    uint32_t estimates[VGPU_LEASE_KINDS]; /* nanoseconds of a record of this kind; 0: unknown */
};

/** More may be in flight from now on than was counted: what comes under an open lease, or has to.
 */
static inline void vgpu_lease_uncount(struct vgpu_worker_lease *lease)
{
    __atomic_store_n(&lease->in_flight, VGPU_LEASE_UNCOUNTED, __ATOMIC_RELAXED);
}

/** Whether the record may be replayed now. If not, ask again whenever something has happened; the
 *  mediator knows by then. Counts a record that it admits as in flight. */
bool vgpu_lease_admits(struct vgpu_worker *worker, const struct vgpu_call_header *header);

/** To be called after marks were looked at: gives the lease back if it has ended and all is done,
 * or so nearly that the next one's first work comes when this one's last has ended. `waits`: a
 * record could not be admitted. */
void vgpu_lease_look(struct vgpu_worker *worker, bool waits);

/** For how long marks and the lease should be looked at all the time, in nanoseconds: others wait
 *  for the end of what is in flight, or a record (`waits`) does for room, or for a lease that may
 *  come at once. 0: there is no hurry. */
uint64_t vgpu_lease_hurry(const struct vgpu_worker *worker, bool waits);

/** The batch at whose end there is something to do: there is room for a record that waits for it
 *  (`waits`), the lease can be given back, or nothing is in flight any more. */
uint32_t vgpu_lease_awaited(const struct vgpu_worker *worker, bool waits);

/** What waited behind a mark does not any more. */
void vgpu_lease_resume(struct vgpu_worker *worker, struct vgpu_mark *mark);

/** What had waited for the guest's program took so long, and may have had no lease. */
void vgpu_lease_account(struct vgpu_worker *worker, uint64_t nanoseconds);

/** To be called before sleeping with nothing in the ring: lets the mediator take the lease away
 *  without a word, if nothing is in flight. */
void vgpu_lease_rest(struct vgpu_worker *worker);

#endif
