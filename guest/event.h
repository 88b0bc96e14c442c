/* SPDX-License-Identifier: MIT */
#ifndef VGPU_GUEST_EVENT_H
#define VGPU_GUEST_EVENT_H

#include <stdbool.h>

#include "guest/caller.h"
#include "guest/objects.h"

struct vgpu_event {
    struct vgpu_object object;
    unsigned int flags;
    pthread_mutex_t lock; /* of what follows */
    bool recorded;        /* it has a fence, and `value` was posted to it last */
    uint32_t fence;
    uint32_t value;
};

/** A launch that was posted to `stream` records the event: who asks of it here waits for the
 * kernel.
 */
CUresult vgpu_event_launched(const struct vgpu_caller *caller, struct vgpu_event *event,
                             const struct vgpu_stream *stream);

/** False before the first cuEventRecord: such an event is complete. */
bool vgpu_event_recorded(struct vgpu_event *event);

#endif
