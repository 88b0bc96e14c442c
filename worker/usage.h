/* SPDX-License-Identifier: MIT */
/**
 * GPU time of a context: the sum of the intervals in which it had work, measured with timing events
 * on the GPU. An interval begins with an event before the first work after idleness; every fence
 * has an event before it, and each that is reached moves the account forward. For the worker's
 * thread.
 */
#ifndef VGPU_WORKER_USAGE_H
#define VGPU_WORKER_USAGE_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#define VGPU_USAGE_POOL    256u
#define VGPU_USAGE_STREAMS 16u

struct vgpu_worker;
struct vgpu_context;

struct vgpu_usage {
    CUevent pool[VGPU_USAGE_POOL]; /* not in use */
    uint32_t pooled;
    CUevent last;     /* the account has got here; NULL before the first interval */
    uint32_t pending; /* marks (worker/fence.h) that the GPU has not reached */
    bool busy;        /* in an interval */
    CUstream uncovered[VGPU_USAGE_STREAMS]; /* have work without a mark behind it */
    uint32_t uncovered_count;
};

/** The record being replayed names `stream` of the current context: if it brings work to the GPU,
 *  an interval begins, unless one has, and the stream is noted as uncovered. */
void vgpu_usage_stream(struct vgpu_worker *worker, CUstream stream);

/** A mark was placed behind all that the stream (or every stream) had. */
void vgpu_usage_covered(struct vgpu_usage *usage, CUstream stream);
void vgpu_usage_covered_all(struct vgpu_usage *usage);

/** Places marks behind all work that has none, so that its time is known though nobody waits. */
void vgpu_usage_cover(struct vgpu_worker *worker);

/** Takes an event from the pool; the context is current. */
CUresult vgpu_usage_take(struct vgpu_worker *worker, struct vgpu_context *context, CUevent *event);
void vgpu_usage_put(struct vgpu_worker *worker, struct vgpu_context *context, CUevent event);

/** Accounts up to `event`, which the GPU has reached, and takes it over. `begins`: the time before
 *  it was idle. */
void vgpu_usage_account(struct vgpu_worker *worker, struct vgpu_context *context, CUevent event,
                        bool begins);

/** Destroys the events. */
void vgpu_usage_destroy(struct vgpu_worker *worker, struct vgpu_context *context);

#endif
