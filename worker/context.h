/* SPDX-License-Identifier: MIT */
/** The contexts of a worker and what lives in each: streams, timing events, the mapped window. */
#ifndef VGPU_WORKER_CONTEXT_H
#define VGPU_WORKER_CONTEXT_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "worker/code/launch_chain.h"
#include "worker/stream/usage.h"

struct vgpu_worker;

struct vgpu_context {
    struct vgpu_context *next;
    CUcontext object;
    CUdevice device;
    bool primary;        /* made by retaining, ended by releasing */
    uint32_t references; /* handle ids of it: a primary context can have several */
    CUdeviceptr extent;  /* device address of the window's extent; 0: not registered with the GPU */
    bool owns_extent;    /* the registration was made here and ends with this context */
    CUstream launched;   /* where the last kernel went, as far as that stream is still there */
    CUstream scrub;      /* clears new memory while that one is busy; NULL until needed */
    bool hasty;          /* that one did not become idle in time, and was not seen idle since */
    CUstream gather;     /* waits for all others; NULL until needed */
    CUevent join;        /* for its waits; NULL until needed */
    bool gathers;        /* it may not have got to its end */
    uint32_t *streams;   /* ids of those that the program has made */
    uint32_t stream_count, stream_room;
    CUstream *leaving; /* streams that were destroyed while they had work, until that is done */
    uint32_t leaving_count, leaving_room;
    struct vgpu_usage usage;
    struct vgpu_launch_chain *chains[VGPU_CHAIN_STREAMS]; /* NULL: none */
};

/** Remembers a stream that was made in the current context; forgets one that is gone. */
void vgpu_context_add_stream(struct vgpu_worker *worker, uint32_t id);
void vgpu_context_drop_stream(struct vgpu_worker *worker, struct vgpu_context *context, uint32_t id,
                              CUstream stream);

/** Destroys those of the streams that leave whose work is done; with `all`, every one. */
void vgpu_context_let_go(struct vgpu_worker *worker, struct vgpu_context *context, bool all);

/**
 * A stream of the current context that waits for everything in the context: the legacy one, as long
 * as the streams that do not block have nothing; else one of the worker's own, because the legacy
 * one must not wait for them. With it streams that block would, too.
 */
CUresult vgpu_context_gather(struct vgpu_worker *worker, CUstream *stream);

/**
 * Whether the current context has nothing left to do, as the driver says, or has failed: in all of
 * its streams, or in the legacy one and those that block. Nothing is posted for that, so a stream
 * that is stuck holds none up. False during captures.
 */
bool vgpu_context_is_done(const struct vgpu_worker *worker, bool all);

/** Whether no context has anything left to do, as the driver says: a stream that only waits for the
 *  program has. Costs some calls of the driver. */
bool vgpu_contexts_are_done(struct vgpu_worker *worker);

/**
 * For what a driver answers only in a context although the program may have none: any context of
 * this worker, or for the time being the primary context of device 0. Give it back if *borrowed.
 */
CUresult vgpu_context_borrow(struct vgpu_worker *worker, bool *borrowed);
void vgpu_context_give_back(struct vgpu_worker *worker);

/** Ends our part of every context; the driver's contexts go with the process. */
void vgpu_context_destroy_all(struct vgpu_worker *worker);

#endif
