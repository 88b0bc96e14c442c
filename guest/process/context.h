/* SPDX-License-Identifier: MIT */
/** Contexts, and which of them is current in a thread. */
#ifndef VGPU_GUEST_CONTEXT_H
#define VGPU_GUEST_CONTEXT_H

#include "interop/driver_api.h"

#include <assert.h>

#include "guest/process/objects.h"
#include "guest/stream/marker.h"
#include "guest/stream/stream.h"
#include "interop/local_storage.h"

struct vgpu_process;

#define VGPU_WAITERS 8u

struct vgpu_context {
    struct vgpu_object object;
    bool primary;
    bool active;           /* a primary one that nobody has retained is not; atomic */
    unsigned int retained; /* how often; with the process's context_lock */
    unsigned int flags;
    unsigned int version; /* of the API that made it */
    unsigned long long unique;
    CUfunc_cache cache;
    uint32_t limits_known; /* bit by CUlimit; atomic */
    size_t limits[CU_LIMIT_MAX];
    uint64_t work; /* count of all that was submitted in it; atomic */
    uint64_t
        done; /* how much of it is known to be done, because its stream was waited for; atomic */
    uint64_t waits;      /* for all of it, or for its legacy stream, that have begun; atomic */
    uint64_t waits_over; /* number of the last of those for all of it that is over; atomic */
    uint64_t legacy_waits_over; /* and of those for the legacy stream; atomic */
    struct vgpu_marker marker;
    struct vgpu_stream *legacy;
    struct vgpu_stream *waiters[VGPU_WAITERS]; /* idle ones, that wait for events */
    uint32_t waiter_count;
    uint64_t uploads; /* synchronous copies that were posted to the legacy stream; atomic */
    uint64_t settled; /* how many of them were waited for; atomic */
    struct vgpu_local_storage storage;
};

static_assert(sizeof(struct vgpu_context) <= VGPU_SLOT_PRIVATE, "fits a slot");

/** A thread's stream in one context. */
struct vgpu_thread_stream {
    struct vgpu_thread_stream *next;
    struct vgpu_context *context;
    unsigned long long unique; /* of the context: its slot may have been used again */
    struct vgpu_stream *stream;
};

/** What CUDA keeps for a thread; gone when the thread ends. */
struct vgpu_thread {
    struct vgpu_context **stack; /* the last is current */
    size_t depth, room;
    struct vgpu_thread_stream *streams;
    CUstreamCaptureMode capture_mode;
};

/** Of the running thread, together because every call looks at both. */
struct vgpu_thread_place {
    struct vgpu_thread *thread; /* NULL until something has to be kept */
    bool upcall;                /* it runs a function for the host, which may not call CUDA */
};

extern _Thread_local struct vgpu_thread_place vgpu_thread_place;

/** NULL: no memory. */
struct vgpu_thread *vgpu_thread(void);

/** The current context, which may have ended, or NULL. */
static inline struct vgpu_context *vgpu_thread_current(void)
{
    const struct vgpu_thread *thread = vgpu_thread_place.thread;
    return thread && thread->depth ? thread->stack[thread->depth - 1] : NULL;
}

/** To be called at the beginning of a wait for all of the context, or for its legacy stream: what
 *  is posted before is waited for, or has this number (vgpu_stream_submitted). */
uint64_t vgpu_context_begin_wait(struct vgpu_context *context);

/** Waits for all that the caller's context has. */
CUresult vgpu_context_wait(const struct vgpu_caller *caller);

/** Waits for the work of the thread's context, for vgpu_channel_when_busy: errors are left to the
 *  next call that synchronises. */
bool vgpu_context_await(struct vgpu_channel *channel);

/** Waits until synchronous copies posted to the caller's legacy stream have arrived. */
CUresult vgpu_context_settle(const struct vgpu_caller *caller);

static inline bool vgpu_context_usable(const struct vgpu_context *context)
{
    /* acquire: pairs with the store when the primary context was retained */
    return vgpu_object_lives(&context->object) &&
           (!context->primary || __atomic_load_n(&context->active, __ATOMIC_ACQUIRE));
}

/** The context behind a handle, or the current one for NULL: living, or NULL. */
struct vgpu_context *vgpu_context_find(CUcontext handle);

CUresult vgpu_context_create_primary(struct vgpu_process *process);

/** Initialises what all contexts have. False: no memory. */
bool vgpu_context_init(struct vgpu_process *process, struct vgpu_context *context);

/** Ends all that lives in a context, after the host was told. */
void vgpu_context_clear(struct vgpu_process *process, struct vgpu_context *context);

/** Makes a context current in the place of the current one; NULL leaves the one below. */
CUresult vgpu_thread_set(struct vgpu_context *context);
CUresult vgpu_thread_push(struct vgpu_context *context);

#endif
