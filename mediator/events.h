/* SPDX-License-Identifier: MIT */
/** What happened lately, for administrators: the last of it is kept, and followers are told. */
#ifndef VGPU_MEDIATOR_EVENTS_H
#define VGPU_MEDIATOR_EVENTS_H

#include <stdint.h>

#include "mediator/config.h"

#define VGPU_EVENTS_KEPT 256u /* of each ring */
#define VGPU_EVENT_TEXT  192u

struct vgpu_event {
    uint64_t number;       /* from 1 */
    uint64_t milliseconds; /* since 1970 */
    const char *kind;      /* a word; vgpu-admin(1) lists them */
    char vm[VGPU_CONFIG_VM_NAME];
    char text[VGPU_EVENT_TEXT]; /* printable */
};

/** Somebody who is told at once. */
struct vgpu_events_follower {
    struct vgpu_events_follower *next;
    /** May not end the follower: it is called from anywhere. */
    void (*happened)(struct vgpu_events_follower *follower, const struct vgpu_event *event);
};

struct vgpu_events_ring {
    uint64_t count; /* that ever were added */
    struct vgpu_event kept[VGPU_EVENTS_KEPT];
};

struct vgpu_events {
    uint64_t count; /* that ever happened */
    struct vgpu_events_ring matters;
    struct vgpu_events_ring
        traffic; /* what clients do all the time: it must not push out the rest */
    struct vgpu_events_follower *followers;
};

/** `kind` is a constant; `vm` is "" if it is none's. */
void vgpu_events_add(struct vgpu_events *events, const char *kind, const char *vm,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/** The same for what clients can cause as often as they like: connections and channels. */
void vgpu_events_pass(struct vgpu_events *events, const char *kind, const char *vm,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/** Calls `each` for all that are kept, the oldest first. */
void vgpu_events_list(const struct vgpu_events *events,
                      void (*each)(const struct vgpu_event *event, void *user), void *user);

void vgpu_events_follow(struct vgpu_events *events, struct vgpu_events_follower *follower);
/** Nothing happens if it does not follow. */
void vgpu_events_leave(struct vgpu_events *events, struct vgpu_events_follower *follower);

#endif
