/* SPDX-License-Identifier: MIT */
/**
 * Marks: points in streams that the worker waits for. Most carry a fence, a word in the window that
 * tells the guest that the GPU has got there. The GPU writes it itself where it can; the worker
 * writes it where the driver cannot, and where it must synchronise first so that the driver brings
 * out what kernels printed. A fence always comes: if its context fails, after the error was
 * reported. For the worker's one thread.
 */
#ifndef VGPU_WORKER_FENCE_H
#define VGPU_WORKER_FENCE_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

/** With more marks than this the loop takes no records, until some were reached. */
#define VGPU_MARKS_MANY 4096u

struct vgpu_worker;
struct vgpu_context;

enum vgpu_mark_kind {
    VGPU_MARK_BEGIN, /* an event: the GPU begins to work. Nobody waits for it */
    VGPU_MARK_TIME,  /* an event: time is accounted, faults are found, idleness may begin */
    VGPU_MARK_GPU,   /* a fence that the GPU writes, and no event */
    VGPU_MARK_CPU,   /* an event, and a fence that the worker writes */
    VGPU_MARK_WAIT,  /* an event right behind a wait for the program: worker/stream/wait.h */
};

struct vgpu_mark {
    struct vgpu_context *context;
    CUstream stream; /* only to be compared: it may be gone */
    CUevent event;   /* of the context's pool; NULL: none */
    enum vgpu_mark_kind kind;
    uint32_t fence;
    uint32_t value;
    uint32_t batch;  /* of records before it (worker/lease.h) */
    uint32_t number; /* of the mark, counted from the worker's first */
    uint64_t idle;   /* vgpu_usage_idle() when it was placed */
    uint64_t placed; /* if nothing was before it: when; else 0 */
    bool waits;      /* the GPU is not at what it is behind, but at a wait for the program */
    bool waited;     /* so it was when it was placed */
    uint64_t left;   /* while it waits: part of vgpu_lease.waiting */

    /* for the watchdog: worker/watch.h */
    uint32_t pieced;  /* records between this mark and the one before */
    uint32_t records; /* since the last mark with an event */
    uint32_t work;    /* kind of the last of them */
};

struct vgpu_fences {
    struct vgpu_mark *marks; /* in the order of placing */
    uint32_t count, room;
    uint32_t asking;  /* place of the mark at which the next thorough look begins to ask */
    uint32_t placed;  /* marks so far */
    uint32_t waits;   /* marks of that kind: most programs have none */
    bool first_asked; /* the last look has asked for the oldest */
    bool by_cpu;      /* the driver cannot let the GPU write */
    bool unwatched;   /* nobody has looked for some time, says the loop */
};

/** The name by which marks know a stream: the legacy one has two. */
static inline CUstream vgpu_mark_stream(CUstream stream)
{
    return stream == CU_STREAM_LEGACY ? NULL : stream;
}

void vgpu_fences_destroy(struct vgpu_fences *fences);

/** Has `value` written to a fence after all that `stream` of the current context has. Failures are
 *  reported as asynchronous errors, after which the fence is written at once. */
void vgpu_fence_place(struct vgpu_worker *worker, CUstream stream, uint32_t fence, uint32_t value);

/** Places a mark without a fence. If the driver refuses, the context has failed. */
void vgpu_fence_mark(struct vgpu_worker *worker, CUstream stream, enum vgpu_mark_kind kind);

/** Looks which marks were reached, and wakes the guest for those that it may wait for. `thorough`:
 *  also asks the driver, so that faults are found and time is accounted; of many marks that are not
 *  reached some at a time. Returns true if there was something new. */
bool vgpu_fence_poll(struct vgpu_worker *worker, bool thorough);

/** The oldest mark that the GPU is at work for; NULL: there is none. */
const struct vgpu_mark *vgpu_fence_oldest(const struct vgpu_worker *worker);

/** Ends all marks of a context that is current and about to go, after all its work was done. */
void vgpu_fence_finish(struct vgpu_worker *worker, struct vgpu_context *context);

#endif
