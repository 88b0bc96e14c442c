/* SPDX-License-Identifier: MIT */
/** A capture as capture.c keeps it and the calls on it see it. All but vgpu_capture_put() with the
 * graphs' lock held. */
#ifndef VGPU_SOFT_DRIVER_CAPTURE_STATE_H
#define VGPU_SOFT_DRIVER_CAPTURE_STATE_H

#include "soft/driver/graph/graph.h"

/** A stream that takes part in a capture. */
struct vgpu_capture_member {
    struct vgpu_capture_member *next;
    struct vgpu_capture *capture;
    struct vgpu_stream *stream; /* NULL once it was destroyed */
    struct vgpu_links after;    /* what the next node depends on */
    CUgraphNode *told_nodes;    /* what a program asked for last */
    CUgraphEdgeData *told_data;
};

struct vgpu_capture {
    struct vgpu_capture *next;       /* of all that were not ended */
    _Atomic unsigned int references; /* one until it is ended, and one per event recorded in it */
    uint64_t id;
    CUstreamCaptureMode mode;
    const struct vgpu_thread *thread; /* that began it; only compared */
    const struct vgpu_stream *origin;
    struct vgpu_graph *graph; /* NULL once it was ended */
    bool to_graph;            /* which is the program's */
    bool valid;
    struct vgpu_capture_member *members;
};

void vgpu_capture_put(struct vgpu_capture *capture);
void vgpu_capture_invalidate(struct vgpu_capture *capture);

/** Lets a stream take part; NULL if out of memory. */
struct vgpu_capture_member *vgpu_capture_join(struct vgpu_capture *capture,
                                              struct vgpu_stream *stream);

/** Ends it: its streams are as others again. Its graph is destroyed if that is wanted, and it was
 * made for the capture. */
void vgpu_capture_finish(struct vgpu_capture *capture, bool keep_graph);

/** True if the stream is the legacy one, and another that captures would have to wait for it. */
bool vgpu_capture_is_implicit(const struct vgpu_stream *stream, bool invalidate);

#endif
