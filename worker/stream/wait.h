/* SPDX-License-Identifier: MIT */
/**
 * Streams that wait for the guest's program: for a value that it has yet to write to memory, or for
 * a function of its own to return. What stands behind such a wait is not at work, however long that
 * takes: it is no time of the GPU's, and a lease ends without it. So there is a mark
 * (worker/stream/fence.h) behind each wait; the marks behind that one do not count before it was
 * reached. While there are any, streams that wait for others are marked as well: those may have
 * such a wait before them. Blocking streams and the legacy one, which wait for each other with each
 * piece of work, are not: theirs is taken for work that is long. For the worker's thread.
 */
#ifndef VGPU_WORKER_WAIT_H
#define VGPU_WORKER_WAIT_H

#include <cuda.h>
#include <stdbool.h>

struct vgpu_worker;
struct vgpu_context;
struct vgpu_mark;

/** `stream` of the current context has got a wait. What it had before does not wait, so that was to
 *  be covered first, by vgpu_usage_cover_stream(). */
void vgpu_wait_place(struct vgpu_worker *worker, CUstream stream);

/** It waits for other streams. */
void vgpu_wait_place_behind(struct vgpu_worker *worker, CUstream stream);

/** Whether the stream has a wait that is not known to be over. */
bool vgpu_wait_holds(const struct vgpu_worker *worker, const struct vgpu_context *context,
                     CUstream stream);

/** A mark of a stream was reached, and with it all waits before it: the marks behind these count
 *  from now on, up to the next wait. */
void vgpu_wait_reached(struct vgpu_worker *worker, const struct vgpu_mark *mark);

/** Takes out a mark of a wait; `over`: because it was reached. */
void vgpu_wait_end(struct vgpu_worker *worker, struct vgpu_mark *wait, bool over);

#endif
