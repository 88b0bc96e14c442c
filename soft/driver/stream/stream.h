/* SPDX-License-Identifier: MIT */
/**
 * Streams: queues of tasks, each worked off in order by a thread of its own, which is started when
 * there is first something to do in the background.
 *
 * A position in a stream is a mark: the stream and a sequence number. Every order between streams
 * (events, the legacy stream's barriers) is "not before that mark is reached".
 */
#ifndef VGPU_SOFT_DRIVER_STREAM_H
#define VGPU_SOFT_DRIVER_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "soft/driver/context.h"

/** Accepted and told back; all streams are worked on alike. */
enum { VGPU_PRIORITY_LEAST = 0, VGPU_PRIORITY_GREATEST = -5 };

struct vgpu_mark {
    struct vgpu_stream *stream; /* with a reference, or NULL: always reached */
    uint64_t sequence;
};

/**
 * A piece of work for a stream, or what a node of a graph does; first member of what the kind of
 * work needs. Allocated with calloc(), counted, and not changed once it has been handed over:
 * graphs share it and run it again and again.
 */
struct vgpu_task {
    _Atomic unsigned int shares; /* references beyond the first */
    bool is_node;                /* what a capturing stream makes a node of, of type `type` */
    CUgraphNodeType type;
    bool always; /* runs in a failed context, too: `run` must look */
    CUresult (*run)(struct vgpu_task *task, struct vgpu_context *context);
    /** Gives back what the task holds; not the task itself. May be NULL. */
    void (*release)(struct vgpu_task *task);
};

struct vgpu_task *vgpu_task_share(struct vgpu_task *task);
/** The last one releases and frees. NULL does nothing. */
void vgpu_task_put(struct vgpu_task *task);

struct vgpu_capture_member;

struct vgpu_stream {
    struct vgpu_object object;
    struct vgpu_context *context;
    struct vgpu_stream *next; /* of the context */
    uint64_t id;
    unsigned int flags;
    int priority;
    CUstreamAttrValue window, synchronization, domain_map, domain; /* the driver's lock */
    bool non_blocking; /* takes no part in the legacy stream's barriers */
    /* Guarded by the driver's lock. */
    uint64_t submitted;
    uint64_t completed;
    uint64_t awaited; /* the first that somebody waits for; UINT64_MAX: nobody does */
    struct vgpu_stream_entry *first, **last;
    bool has_thread;
    bool closing;
    pthread_cond_t work;                /* a task was added, or closing */
    pthread_cond_t progress;            /* what was awaited is completed */
    struct vgpu_capture_member *member; /* while capturing; guarded by the graphs' lock */
};

enum vgpu_submission {
    VGPU_SUBMIT_ASYNC,   /* in the background */
    VGPU_SUBMIT_INSTANT, /* takes no time: at once if nothing is before it, else in the background
                          */
    VGPU_SUBMIT_SYNC,    /* wait for it, and return its result */
};

/** A stream of `context`, not published. NULL if out of memory. The context's list has a reference.
 */
struct vgpu_stream *vgpu_stream_create(struct vgpu_context *context, unsigned int flags,
                                       int priority);

/** What attributes a new stream has. */
void vgpu_stream_init_attributes(struct vgpu_stream *stream);

/** Takes a reference to the stream that a handle means (0, legacy and per-thread included). */
CUresult vgpu_stream_resolve(struct vgpu_context *context, CUstream handle,
                             struct vgpu_stream **stream);

/** The same in the current context, for calls that need it for nothing else. */
CUresult vgpu_stream_enter(CUstream handle, struct vgpu_stream **stream);

/**
 * Puts `task` at the stream's end and owns the caller's reference from then on, also on errors. In
 * a capturing stream it becomes a node instead, or is refused. `mark` may be NULL; it is filled in
 * without a reference.
 */
CUresult vgpu_stream_submit(struct vgpu_stream *stream, struct vgpu_task *task,
                            enum vgpu_submission how, struct vgpu_mark *mark);

/** The same for what starts when `after` is reached, too, and is never captured. */
CUresult vgpu_stream_submit_after(struct vgpu_stream *stream, struct vgpu_task *task,
                                  enum vgpu_submission how, const struct vgpu_mark *after,
                                  struct vgpu_mark *mark);

/** Resolves a handle and submits to it. */
CUresult vgpu_stream_submit_to(struct vgpu_context *context, CUstream handle,
                               struct vgpu_task *task, enum vgpu_submission how);

/**
 * A position that no stream reaches but vgpu_timeline_reach(): sequence 1 of what is returned. It
 * takes no part in the context's streams. NULL if out of memory.
 */
struct vgpu_stream *vgpu_timeline_create(struct vgpu_context *context);
void vgpu_timeline_reach(struct vgpu_stream *timeline);

bool vgpu_mark_reached(const struct vgpu_mark *mark);
void vgpu_mark_wait(const struct vgpu_mark *mark);

/** Waits for all that was submitted to the context so far. */
void vgpu_context_drain(struct vgpu_context *context);

/** Keeps an object until all that was submitted to the context so far is done, without waiting; it
 *  waits if there is no memory for that. */
void vgpu_context_keep(struct vgpu_context *context, void *object);

/** Waits for all that was submitted to any context of a device so far. */
void vgpu_device_drain(const struct vgpu_device *device);

/** Ends a stream after what is in it; the reference of the context's list goes with it. */
void vgpu_stream_close(struct vgpu_stream *stream);

/** Ends all streams of a context that is being torn down, and waits for their threads. */
void vgpu_context_close_streams(struct vgpu_context *context);

/** Gives back the per-thread streams of a thread that ends. */
void vgpu_thread_close_streams(struct vgpu_thread *thread);

#endif
