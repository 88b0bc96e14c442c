/* SPDX-License-Identifier: MIT */
/**
 * Stream capture: which streams and events are part of which capture, and what must not be done
 * meanwhile. The rules are kept here, because they are about the threads of this process; the host
 * captures. While nothing captures, all of these cost one load from memory. Any thread may call
 * them.
 */
#ifndef VGPU_GUEST_CAPTURE_H
#define VGPU_GUEST_CAPTURE_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/graph/shadow.h"
#include "protocol/graph.h"

struct vgpu_context;
struct vgpu_event;
struct vgpu_graph;
struct vgpu_stream;
struct vgpu_thread;

/** A capture sequence, from its begin to its end. */
struct vgpu_capture {
    struct vgpu_capture *next;
    unsigned long long id; /* never used twice */
    CUstreamCaptureMode mode;
    const struct vgpu_thread *thread; /* that began it; only to be compared */
    const struct vgpu_stream *origin;
    const struct vgpu_context *context; /* of the origin */
    struct vgpu_graph *graph;           /* NULL: a new one, for which nobody has asked yet */
    bool existing;                      /* the graph was there before */
    bool blocking; /* a stream is part of it that the legacy stream waits for */
    bool invalidated;
    struct vgpu_graph_needs needs; /* of what was captured */
    CUgraphNode *dependencies;     /* the last answer to who asked for them */
    CUgraphEdgeData *dependency_data;
};

/** Of a process; zero and its lock initialised to begin with. */
struct vgpu_captures {
    pthread_mutex_t lock;
    struct vgpu_capture *list;
    uint32_t count; /* atomic */
};

/** The id of the capture that a stream is part of, or 0. */
unsigned long long vgpu_capture_of(const struct vgpu_stream *stream);

/** Before work for a stream. CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: it is part of a capture that
 *  was invalidated; STREAM_CAPTURE_IMPLICIT: it is the legacy stream, which would wait for a stream
 *  that captures (whose capture is thereby invalidated). */
CUresult vgpu_capture_admit(const struct vgpu_stream *stream);

/** Whether any stream of the process captures. */
bool vgpu_capture_any(void);

/** Before a call that may wait for what is captured, or keep it from being what was meant (memory
 *  allocation, synchronous copies, queries): CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, and the capture
 *  is invalidated, if the modes of captures and of this thread prohibit it. One that was
 * invalidated goes on to do so until it ends. */
CUresult vgpu_capture_unsafe(void);

/** Before a wait for a stream or a context, or what a capture cannot contain: the same, and
 *  it must not be part of a capture, whatever the mode. */
CUresult vgpu_capture_wait_stream(const struct vgpu_stream *stream);
CUresult vgpu_capture_wait_context(const struct vgpu_context *context);

/** Before a stream says what it is. An NVIDIA driver gives a capture up whose stream is asked for
 *  its flags, id or device (not `captured`: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED), or that is
 * asked anything of the legacy stream which would wait for it (STREAM_CAPTURE_IMPLICIT). */
CUresult vgpu_capture_ask_stream(const struct vgpu_stream *stream, bool captured);

/** Before an event is queried or waited for: CUDA_ERROR_CAPTURED_EVENT if it was last recorded in a
 *  capture, or as vgpu_capture_unsafe. */
CUresult vgpu_capture_wait_event(const struct vgpu_event *event);

/**
 * Before a stream is told to wait for an event. If the event was captured, the stream becomes part
 * of that capture. CUDA_ERROR_STREAM_CAPTURE_MERGE: it is part of another; _ISOLATION: it captures,
 * and the event is of work that was not captured; CAPTURED_EVENT: that capture has ended.
 */
CUresult vgpu_capture_join(struct vgpu_stream *stream, struct vgpu_event *event,
                           unsigned int flags);

/** A host function is captured in this stream, or an event that the graph records. */
void vgpu_capture_host(const struct vgpu_stream *stream);
void vgpu_capture_record(const struct vgpu_stream *stream);

/** The stream ends, and a capture that began in it. */
void vgpu_capture_forget(const struct vgpu_stream *stream);

#endif
