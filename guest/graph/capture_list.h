/* SPDX-License-Identifier: MIT */
/** The list of captures, for those who begin, end and look at them: with the lock of the process's
 *  captures. */
#ifndef VGPU_GUEST_CAPTURE_LIST_H
#define VGPU_GUEST_CAPTURE_LIST_H

#include "guest/graph/capture.h"

/** The capture that a stream is part of, or NULL. */
struct vgpu_capture *vgpu_capture_find(const struct vgpu_stream *stream);

/** True of a legacy stream that would wait for a stream that captures. */
bool vgpu_capture_blocks(const struct vgpu_stream *stream);

/** Takes a capture, which was allocated with malloc, into the list; takes it out and frees it. */
void vgpu_capture_add(struct vgpu_capture *capture);
void vgpu_capture_remove(struct vgpu_capture *capture);

#endif
