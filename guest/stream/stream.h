/* SPDX-License-Identifier: MIT */
#ifndef VGPU_GUEST_STREAM_H
#define VGPU_GUEST_STREAM_H

#include "guest/process/caller.h"
#include "guest/process/objects.h"
#include "guest/stream/marker.h"

/** The last fence that an event's record has put behind a stream's work. What was posted to a
 * fence arrives, and later values only follow: so the event, its fence and all may be gone. */
struct vgpu_stream_fence {
    pthread_mutex_t lock;
    uint32_t fence, value;
    uint64_t counted; /* so much of `watched` is done when it arrives; 0: there is none */
};

struct vgpu_stream {
    struct vgpu_object object; /* the legacy stream's has id 0 and no slot: it is in its context */
    unsigned int flags;
    int priority;
    unsigned long long unique;
    unsigned long long capture; /* that it is part of, or was if that has ended; 0: none; atomic */
    uint64_t work;              /* count of what was submitted to it; atomic */
    uint64_t done;              /* how much of it was waited for; atomic */
    const uint64_t *watched;    /* what its marker stands behind: `work`, or the whole context's */
    uint64_t reached;           /* so much of `watched` is known to be done; atomic */
    uint64_t waits;             /* of the context's waits had begun when it last got work; atomic */
    struct vgpu_stream_fence recorded;
    struct vgpu_marker marker;
};

/** Counts work, after it was posted. */
void vgpu_stream_submitted(struct vgpu_stream *stream);

/** So much was counted up to now: what is posted next comes behind it. */
static inline uint64_t vgpu_stream_counted(const struct vgpu_stream *stream)
{
    /* acquire: pairs with vgpu_stream_submitted; what we post now comes behind what was counted */
    return __atomic_load_n(stream->watched, __ATOMIC_ACQUIRE);
}

/** An event's record has posted `value` to `fence`: then so much of what was counted is done. */
void vgpu_stream_fenced(struct vgpu_stream *stream, uint32_t fence, uint32_t value,
                        uint64_t counted);

/** The caller has seen that so much of what was counted is done. */
void vgpu_stream_reached(struct vgpu_stream *stream, uint64_t counted);

/** Waits for all that was submitted, as vgpu_caller_wait. */
CUresult vgpu_stream_wait(const struct vgpu_caller *caller, struct vgpu_stream *stream);

/** After a record of whose addresses only the driver knows: what it says of them, whenever the
 * stream gets to the work. Of a capture its end tells. */
CUresult vgpu_stream_judgement(const struct vgpu_caller *caller, const struct vgpu_stream *stream);

/** The calling thread's stream in the current context; it is made when it is first used. */
CUresult vgpu_stream_of_thread(const struct vgpu_caller *caller, struct vgpu_stream **stream);

/** It has had no work, and its marker has no fence: for a new stream, and after vgpu_stream_end. */
void vgpu_stream_begin(struct vgpu_stream *stream);

/** Gives up its marker's fence, and its locks. */
void vgpu_stream_end(struct vgpu_stream *stream);

/** Makes a stream. */
CUresult vgpu_stream_create(const struct vgpu_caller *caller, unsigned int flags, int priority,
                            struct vgpu_stream **stream);

#endif
