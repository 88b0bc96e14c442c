/* SPDX-License-Identifier: MIT */
/**
 * Capturing what streams are told into graphs. Any thread may call these, without locks.
 */
#ifndef VGPU_SOFT_DRIVER_CAPTURE_H
#define VGPU_SOFT_DRIVER_CAPTURE_H

#include "soft/driver/graph/graph.h"

struct vgpu_capture;

/** Where in a capture an event was recorded; guarded by the graphs' lock. Zeroed is nowhere. */
struct vgpu_captured {
    struct vgpu_capture *capture; /* with a reference */
    struct vgpu_links after;
};

/** True while the stream captures, also if the capture is invalid. */
bool vgpu_capture_has(struct vgpu_stream *stream);

/**
 * What is submitted to a stream that captures becomes a node or is refused; work for the legacy
 * stream is refused while a stream captures that it would have to wait for. Then this consumes the
 * task and returns true.
 */
bool vgpu_capture_take(struct vgpu_stream *stream, struct vgpu_task *task, enum vgpu_submission how,
                       CUresult *result);

/** Adds a node that is made by `add`, which is called with the graphs' lock held. */
CUresult vgpu_capture_add(struct vgpu_stream *stream,
                          CUresult (*add)(struct vgpu_graph *graph,
                                          const struct vgpu_links *dependencies, void *data,
                                          struct vgpu_node **node),
                          void *data);

/**
 * What calls begin with that a capture does not see and might be wrong about: allocating, waiting.
 * CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED if a capture forbids them to this thread; the capture is
 * invalid then.
 */
CUresult vgpu_capture_check_unsafe(void);

/** vgpu_context_enter() for such a call. */
CUresult vgpu_capture_enter_unsafe(struct vgpu_context **context);

/** For asking a stream what it is. As NVIDIA's driver: its flags, id and device (not `captured`) it
 *  does not say during its capture, and the legacy stream says nothing during one that it would
 * wait for; the capture is invalid then. */
CUresult vgpu_capture_check_ask(struct vgpu_stream *stream, bool captured);

/** vgpu_capture_check_unsafe() for waiting for a stream or asking how far it is. */
CUresult vgpu_capture_check_wait(struct vgpu_stream *stream);

/** The same for all streams of a context. */
CUresult vgpu_capture_check_context(const struct vgpu_context *context);

/** For a call that concerns all streams of a context, in any mode: none of them may capture. */
CUresult vgpu_capture_refuse_context(const struct vgpu_context *context);
/** Nor may an event be of a capture that has not ended. */
CUresult vgpu_capture_refuse_event(struct vgpu_captured *captured);

/** The same for an event: CUDA_ERROR_CAPTURED_EVENT if a capture is where it was recorded last. */
CUresult vgpu_capture_check_event(struct vgpu_captured *captured);

/** Records an event in a capturing stream. */
CUresult vgpu_capture_record(struct vgpu_stream *stream, struct vgpu_captured *captured);

/**
 * Lets a stream wait for an event; false if none of the two is captured. `recorded` says whether
 * the event was ever recorded outside of captures.
 */
bool vgpu_capture_wait(struct vgpu_stream *stream, struct vgpu_captured *captured, bool recorded,
                       CUresult *result);

bool vgpu_captured_is(const struct vgpu_captured *captured);
void vgpu_captured_clear(struct vgpu_captured *captured);
/** The same when nobody else knows it any more, with or without the graphs' lock. */
void vgpu_captured_destroy(struct vgpu_captured *captured);

/** The stream ends: a capture that began in it cannot be ended any more. */
void vgpu_capture_forget_stream(struct vgpu_stream *stream);

#endif
