/* SPDX-License-Identifier: MIT */
/** What every entry point needs before it can send: the channel and the thread's current context.
 */
#ifndef VGPU_GUEST_CALLER_H
#define VGPU_GUEST_CALLER_H

#include "interop/driver_api.h"

#include <stdbool.h>
#include <stdint.h>

struct vgpu_channel;
struct vgpu_context;
struct vgpu_object;
struct vgpu_stream;

struct vgpu_caller {
    struct vgpu_channel *channel;
    uint32_t context;             /* id of `current` */
    struct vgpu_context *current; /* the context that the call works in */
};

/** CUDA_ERROR_NOT_INITIALIZED, DEINITIALIZED, or NOT_PERMITTED in a host function: its stream, and
 *  with that the host, waits for it. For calls of the host that enter nothing. */
CUresult vgpu_caller_may_wait(void);

/** Enters without a context, for what needs none: CUDA_ERROR_NOT_INITIALIZED or a sticky error. */
CUresult vgpu_caller_begin(struct vgpu_caller *caller);

/** The caller works in the context of this object, whichever is current. */
void vgpu_caller_follow(struct vgpu_caller *caller, const struct vgpu_object *object);

/** CUDA_ERROR_NOT_INITIALIZED, INVALID_CONTEXT, CONTEXT_IS_DESTROYED, or a sticky error. */
CUresult vgpu_caller_enter(struct vgpu_caller *caller);

/** Enters for a call that may wait, or do what a capture must not be disturbed by: as
 *  vgpu_caller_enter, or vgpu_capture_unsafe. */
CUresult vgpu_caller_enter_unsafe(struct vgpu_caller *caller);

/**
 * Enters and finds a stream: 0, CU_STREAM_LEGACY and CU_STREAM_PER_THREAD are known, the last one
 * is made when it is first used. The caller's context becomes the stream's, as in CUDA.
 * CUDA_ERROR_INVALID_HANDLE, or as vgpu_caller_enter; or the stream takes no work because a capture
 * was invalidated, or because another stream captures (vgpu_capture_admit).
 */
CUresult vgpu_caller_enter_stream(struct vgpu_caller *caller, CUstream handle,
                                  struct vgpu_stream **stream);

/** The same for what only asks about a stream: whether it captures is of no importance. */
CUresult vgpu_caller_find_stream(struct vgpu_caller *caller, CUstream handle,
                                 struct vgpu_stream **stream);

/**
 * Waits until a fence is reached. An error of earlier asynchronous work is returned after that, a
 * sticky one at once; what device code printed meanwhile is printed here.
 */
CUresult vgpu_caller_wait(const struct vgpu_caller *caller, uint32_t fence, uint32_t value);

/**
 * What the driver said of the calls so far, for a call that only it can judge: waits for the host
 * to have replayed them, not for their work. An error of an earlier call may come with it.
 */
CUresult vgpu_caller_ask(const struct vgpu_caller *caller);

struct vgpu_marker;

/** The end of a synchronisation behind a marker that was placed: waits if there is something to
 * wait for, then as vgpu_caller_wait. */
CUresult vgpu_caller_finish(const struct vgpu_caller *caller, const struct vgpu_marker *marker,
                            bool idle, uint32_t value);

#endif
