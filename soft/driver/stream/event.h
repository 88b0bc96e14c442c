/* SPDX-License-Identifier: MIT */
/** Events, as graphs and captures see them. Any thread may call these. */
#ifndef VGPU_SOFT_DRIVER_EVENT_H
#define VGPU_SOFT_DRIVER_EVENT_H

#include "soft/driver/stream/stream.h"

struct vgpu_event;

/** Whether a launch may record it: CUDA_ERROR_INVALID_HANDLE, or INVALID_VALUE if it has timing. */
CUresult vgpu_event_check_untimed(CUevent handle);

/** The event of a handle with a reference, if its context is whole. */
CUresult vgpu_event_take(CUevent handle, struct vgpu_event **event);

/** STREAM_CAPTURE_UNSUPPORTED, and the end of the capture, if the event is of a capture under way.
 */
CUresult vgpu_event_refuse_captured(CUevent handle);

/** The event's last record, with a reference to its stream if there is one. */
struct vgpu_mark vgpu_event_mark(struct vgpu_event *event);

/**
 * From now on the event means `mark`, which is reached later: vgpu_event_reached() notes the time
 * then. Returns the number of the record for that.
 */
uint64_t vgpu_event_record_at(struct vgpu_event *event, const struct vgpu_mark *mark);
void vgpu_event_reached(struct vgpu_event *event, uint64_t record);

/**
 * The task of a node that records or waits for an event: only a graph's launch can run it. `type`
 * is CU_GRAPH_NODE_TYPE_EVENT_RECORD or _WAIT_EVENT. Errors: INVALID_VALUE, OUT_OF_MEMORY.
 */
CUresult vgpu_event_task_create(CUevent handle, CUgraphNodeType type, struct vgpu_task **task);
/** The event of such a task, which keeps the reference. */
struct vgpu_event *vgpu_event_of_task(const struct vgpu_task *task);

#endif
