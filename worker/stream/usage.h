/* SPDX-License-Identifier: MIT */
/**
 * GPU time of a context: what passed on the GPU's clock between timing events, less the time in
 * which it had nothing to do. Events cost as much as launches, so there is none at every fence:
 * marks with an event are placed behind all work when the guest is quiet, and behind that of one
 * stream now and then while it is not. When everything was reached while the worker watched,
 * idleness is measured on the host's clock; when it was asleep, the next work begins with an event
 * of its own. For the worker's thread.
 */
#ifndef VGPU_WORKER_USAGE_H
#define VGPU_WORKER_USAGE_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/calls.h"

#define VGPU_USAGE_POOL    64u
#define VGPU_USAGE_STREAMS 128u

struct vgpu_worker;
struct vgpu_context;
struct vgpu_mark;

/** A stream that has got work or fences since it last had a mark with an event. */
struct vgpu_usage_stream {
    CUstream stream;
    bool fenced; /* a fence is behind all of its work */
};

struct vgpu_usage {
    uint32_t stream_count;
    uint32_t unfenced;   /* of those streams */
    uint32_t recent;     /* place of the one that was named last */
    uint32_t pending;    /* marks (worker/stream/fence.h) that the GPU has not reached */
    uint64_t idle;       /* nanoseconds of idleness, up to idle_since or now */
    uint64_t idle_since; /* host time; 0: busy */
    bool begin_known;    /* idle_since is when idleness began, not when it was found */
    bool begun;          /* there has been work */
    CUevent last;        /* the account has got here; NULL: it has not begun */
    uint64_t last_idle;  /* `idle` when it was placed */
    uint64_t last_time;  /* when the GPU reached it, on the host's clock, as far as is known */
    uint32_t pooled;     /* events */
    struct vgpu_usage_stream streams[VGPU_USAGE_STREAMS];
    CUevent pool[VGPU_USAGE_POOL]; /* not in use */
};

/** The calls that bring work to the GPU; each names one stream. */
extern const bool vgpu_usage_works[VGPU_CALL_MAX + 1];

/** Whether calls of this number, which may be any, do. */
static inline bool vgpu_usage_brings_work(uint32_t call)
{
    return call <= VGPU_CALL_MAX && vgpu_usage_works[call];
}

/** The record being replayed names `stream` of the current context: if it brings work to the GPU,
 *  idleness ends, and the stream is noted. */
void vgpu_usage_stream(struct vgpu_worker *worker, CUstream stream);

/** A fence, or with `event` a mark with an event, was placed behind all that the stream has. */
void vgpu_usage_fenced(struct vgpu_worker *worker, struct vgpu_context *context, CUstream stream,
                       bool event);
/** The same for all streams of a context. */
void vgpu_usage_fenced_all(struct vgpu_worker *worker, struct vgpu_context *context);
/** A stream is gone. */
void vgpu_usage_forget(struct vgpu_context *context, CUstream stream);

/** Places marks with events behind all streams of the current context that have none. */
void vgpu_usage_cover(struct vgpu_worker *worker);

/** Marks as vgpu_usage_cover, behind one stream. */
void vgpu_usage_cover_stream(struct vgpu_worker *worker, CUstream stream);

/** The same behind that stream which was named last. */
void vgpu_usage_sample(struct vgpu_worker *worker);

/** Marks were reached: if no work is left, idleness begins. `watched`: it was seen at once. */
void vgpu_usage_reached(struct vgpu_worker *worker, struct vgpu_context *context, bool watched);

/** The context has failed: nothing of its work will be reached. */
void vgpu_usage_failed(struct vgpu_worker *worker, struct vgpu_context *context);

/** Whether a stream has work without a fence or mark behind it. */
bool vgpu_usage_has_work(struct vgpu_context *context, CUstream stream);

/** A stream goes on at this mark: if there was no other work, idleness ends there. Takes the mark's
 *  event over. */
void vgpu_usage_resume(struct vgpu_worker *worker, struct vgpu_context *context,
                       const struct vgpu_mark *mark);

/** No work is left, as far as is known. */
bool vgpu_usage_is_idle(const struct vgpu_context *context);

/** Nanoseconds of idleness so far. */
uint64_t vgpu_usage_idle(struct vgpu_context *context);

/** Takes an event from the pool of the current context, and puts one back. */
CUresult vgpu_usage_take(struct vgpu_worker *worker, struct vgpu_context *context, CUevent *event);
void vgpu_usage_put(struct vgpu_worker *worker, struct vgpu_context *context, CUevent event);

/** Accounts up to a mark with an event, which the GPU has reached, and takes the event over. */
void vgpu_usage_account(struct vgpu_worker *worker, struct vgpu_context *context,
                        const struct vgpu_mark *mark);

/** Destroys the events. */
void vgpu_usage_destroy(struct vgpu_worker *worker, struct vgpu_context *context);

#endif
