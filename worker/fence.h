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

#define VGPU_MARKS_MAX 4096u

struct vgpu_worker;
struct vgpu_context;

enum vgpu_mark_kind {
    VGPU_MARK_BEGIN, /* the GPU begins to work: timing only, never waited for */
    VGPU_MARK_TIME,  /* timing only */
    VGPU_MARK_GPU,   /* a fence that the GPU writes */
    VGPU_MARK_CPU,   /* a fence that the worker writes */
};

struct vgpu_mark {
    struct vgpu_context *context;
    CUevent event; /* of the context's pool */
    enum vgpu_mark_kind kind;
    bool reached;   /* and the guest was told; the event may not be accounted yet */
    uint8_t passed; /* how often its event was seen done, but not its word */
    uint32_t fence;
    uint32_t value;
};

struct vgpu_fences {
    struct vgpu_mark *marks; /* in the order of placing */
    uint32_t count, room;
    uint32_t unreached;
    bool by_cpu; /* the driver cannot let the GPU write */
};

void vgpu_fences_destroy(struct vgpu_fences *fences);

/** Has `value` written to a fence after all that `stream` of the current context has. Failures are
 *  reported as asynchronous errors, after which the fence is written at once. */
void vgpu_fence_place(struct vgpu_worker *worker, CUstream stream, uint32_t fence, uint32_t value);

/** Places a mark of a kind without a fence. What cannot be placed is not measured. */
void vgpu_fence_mark(struct vgpu_worker *worker, CUstream stream, enum vgpu_mark_kind kind);

/**
 * Looks which marks were reached and wakes the guest. `thorough`: also asks the driver, so that
 * faults are found, and accounts the time. Returns true if any new mark was reached or has failed.
 */
bool vgpu_fence_poll(struct vgpu_worker *worker, bool thorough);

/** Waits for all marks of a context that is about to go, and forgets them. */
void vgpu_fence_finish(struct vgpu_worker *worker, struct vgpu_context *context);

#endif
