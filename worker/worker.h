/* SPDX-License-Identifier: MIT */
/**
 * One worker: one guest process's channel, replayed on one driver by one thread. Everything that a
 * record can touch hangs on this structure; no other state exists.
 */
#ifndef VGPU_WORKER_WORKER_H
#define VGPU_WORKER_WORKER_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/channel.h"
#include "protocol/replay.h"
#include "protocol/worker.h"
#include "worker/code/image_buffer.h"
#include "worker/code/image_cache.h"
#include "worker/code/jit.h"
#include "worker/code/launch_chain.h"
#include "worker/console.h"
#include "worker/driver.h"
#include "worker/graph/graph_names.h"
#include "worker/handles.h"
#include "worker/lease.h"
#include "worker/memory/ledger.h"
#include "worker/memory/mapping.h"
#include "worker/memory/pool.h"
#include "worker/memory/reserve.h"
#include "worker/memory/virtual.h"
#include "worker/stream/bell.h"
#include "worker/stream/fence.h"
#include "worker/stream/upcall.h"
#include "worker/stream/usage.h"
#include "worker/throttle.h"
#include "worker/timing.h"
#include "worker/watch.h"

struct vgpu_context;
struct vgpu_linker;

struct vgpu_worker {
    const struct vgpu_driver *driver;
    struct vgpu_worker_page *page;
    uint8_t *extent; /* VGPU_CHANNEL_BYTES of the window; NULL in a primitive worker */

    /* What every record needs is here together: the driver leaves little in the nearest cache. */
    const struct vgpu_call_header *record; /* that is being replayed; NULL: none is */
    const char *garbage; /* what no honest guest would have sent; NULL while all is well */
    uint32_t sequence;   /* of the last record */
    uint32_t captures;   /* that were begun and have not ended */
    struct vgpu_handles handles;
    struct vgpu_context *current; /* that is current for this thread; NULL: none or unknown */
    uint32_t current_id;          /* id that `current` was entered with; 0: none */
    bool prints; /* an image that was loaded prints: fences must synchronise for real */
    struct vgpu_throttle throttle;
    struct vgpu_timing timing;
    struct vgpu_fences fences;
    struct vgpu_bell bell;
    struct vgpu_lease lease;
    struct vgpu_watch watch;

    int socket; /* descriptors */
    int doorbell;
    int interrupt;
    int window;                    /* -1: there is none */
    struct vgpu_context *contexts; /* list of those that live */
    uint32_t busy_contexts;        /* that have work on the GPU, as far as is known */
    struct vgpu_ledger ledger;
    struct vgpu_pools pools;
    struct vgpu_reserve reserve;
    struct vgpu_virtual virtual;
    struct vgpu_mappings mappings;
    struct vgpu_image_buffer image;
    struct vgpu_image_cache images;
    struct vgpu_linker *linkers; /* list */
    struct vgpu_jit_outbox outbox;
    struct vgpu_console console;
    struct vgpu_upcalls upcalls;
    struct vgpu_graph_names graph_names;
    struct vgpu_launch_chains chains;
};

/** Sets all up but the descriptors, the page and the extent, which the caller fills in before or
 *  after. Returns 0 or -ENOMEM. `ledger` is the VM's page. */
int vgpu_worker_create(struct vgpu_worker *worker, const struct vgpu_driver *driver,
                       struct vgpu_worker_page *page, struct vgpu_ledger_page *ledger);
void vgpu_worker_destroy(struct vgpu_worker *worker);

static inline const struct vgpu_driver *vgpu_worker_driver(const struct vgpu_worker *worker)
{
    return worker->driver;
}

static inline struct vgpu_channel_header *vgpu_worker_channel(const struct vgpu_worker *worker)
{
    return (struct vgpu_channel_header *)worker->extent;
}

/** Makes another context current than the one that is. */
CUresult vgpu_worker_change_context(struct vgpu_worker *worker, uint32_t id);

/** Makes the context with this handle id current. CUDA_ERROR_INVALID_CONTEXT if it is not known. */
static inline CUresult vgpu_worker_enter(struct vgpu_worker *worker, uint32_t id)
{
    return id != 0 && id == worker->current_id ? CUDA_SUCCESS
                                               : vgpu_worker_change_context(worker, id);
}

/** Looks a stream's id up, which the record that is being replayed is about to use. 0 and 1 are
 *  always there. */
static inline CUresult vgpu_worker_stream(struct vgpu_worker *worker, uint32_t id, CUstream *stream)
{
    struct vgpu_handles *handles = &worker->handles;

    handles->stream = id;
    if (id <= 1) {
        *stream = id == 0 ? NULL : CU_STREAM_LEGACY;
    } else {
        CUresult error = vgpu_handles_look_up(handles, VGPU_KIND_STREAM, id, (void **)stream);
        if (error)
            return error;
        handles->table[id].joined = false;
    }
    vgpu_usage_stream(worker, *stream);
    return CUDA_SUCCESS;
}

/** Counts one more of something in the page. That is read by the mediator and written by this
 *  thread alone, so that no locked instruction is needed. */
static inline void vgpu_worker_count(uint64_t *counter)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

/** Reports an asynchronous failure of the current record; the first one is kept until the guest
 *  takes it. Wakes the guest. */
void vgpu_worker_defer(struct vgpu_worker *worker, CUresult error);

/** Raises the interrupt if the guest sleeps. What it waits for must be written before. May be
 * called from any thread. */
void vgpu_worker_wake(struct vgpu_worker *worker);

/** Says that the record being replayed is garbage: the loop ends the worker. Returns a CUresult for
 *  the replay to return. */
CUresult vgpu_worker_blame(struct vgpu_worker *worker, const char *what);

/** Checks a piece of staging memory: its address, or NULL after vgpu_worker_blame(). */
void *vgpu_worker_staging(struct vgpu_worker *worker, uint32_t offset, uint64_t bytes);

#endif
