/* SPDX-License-Identifier: MIT */
#ifndef VGPU_GUEST_EVENT_H
#define VGPU_GUEST_EVENT_H

#include <stdbool.h>

#include "guest/process/caller.h"
#include "guest/process/objects.h"

struct vgpu_event {
    struct vgpu_object object;
    unsigned int flags;
    pthread_mutex_t lock; /* of what follows */
    bool recorded;
    bool fenced; /* the last record has a fence behind it; else only the driver knows of it */
    bool done;   /* the driver has said so of the last record */
    uint64_t records;
    bool asked; /* the program has asked for the last record, not only had streams wait for it */
    bool taken; /* `fence` is ours, and `value` was posted to it last, or it was taken with that */
    uint32_t fence;
    uint32_t value;
    struct vgpu_stream *stream; /* of the last record; it may be gone: it has another `unique` */
    unsigned long long unique;
    bool of_context;            /* the last record is, and not always in the same stream */
    uint64_t counted;           /* so much of what was counted there is done when the record is */
    unsigned long long capture; /* that it was last recorded in; 0: in none; atomic */
    bool in_graph;              /* a node of a graph records it: only the driver knows when */
};

/** A launch that was posted to `stream` records the event: who asks of it here waits for the
 * kernel.
 */
CUresult vgpu_event_launched(const struct vgpu_caller *caller, struct vgpu_event *event,
                             struct vgpu_stream *stream);

/** A node of a graph records the event from now on, whenever the graph runs. */
void vgpu_event_in_graph(struct vgpu_event *event);

/** False before the first cuEventRecord, in a capture or not, and if no node of a graph records it:
 *  such an event is complete. */
bool vgpu_event_recorded(struct vgpu_event *event);

#endif
