/* SPDX-License-Identifier: MIT */
#include "mediator/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "mediator/log.h"

__attribute__((format(printf, 5, 0))) static void
vgpu_events_put(struct vgpu_events *events, struct vgpu_events_ring *ring, const char *kind,
                const char *vm, const char *format, va_list arguments)
{
    struct vgpu_event *event = &ring->kept[ring->count++ % VGPU_EVENTS_KEPT];
    char text[VGPU_EVENT_TEXT];
    struct timespec now;

    vsnprintf(text, sizeof(text), format, arguments);
    clock_gettime(CLOCK_REALTIME, &now);
    *event = (struct vgpu_event){
        .number = ++events->count,
        .milliseconds = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
        .kind = kind,
    };
    snprintf(event->vm, sizeof(event->vm), "%s", vm);
    vgpu_log_clean(event->text, sizeof(event->text), text, sizeof(event->text));
    for (struct vgpu_events_follower *one = events->followers; one; one = one->next)
        one->happened(one, event);
}

void vgpu_events_add(struct vgpu_events *events, const char *kind, const char *vm,
                     const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vgpu_events_put(events, &events->matters, kind, vm, format, arguments);
    va_end(arguments);
}

void vgpu_events_pass(struct vgpu_events *events, const char *kind, const char *vm,
                      const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vgpu_events_put(events, &events->traffic, kind, vm, format, arguments);
    va_end(arguments);
}

/** The oldest that is kept from `*place` on, or NULL. */
static const struct vgpu_event *vgpu_events_at(const struct vgpu_events_ring *ring, uint64_t *place)
{
    if (ring->count - *place > VGPU_EVENTS_KEPT)
        *place = ring->count - VGPU_EVENTS_KEPT;
    return *place < ring->count ? &ring->kept[*place % VGPU_EVENTS_KEPT] : NULL;
}

void vgpu_events_list(const struct vgpu_events *events,
                      void (*each)(const struct vgpu_event *event, void *user), void *user)
{
    uint64_t matters = 0, traffic = 0;

    for (;;) {
        const struct vgpu_event *one = vgpu_events_at(&events->matters, &matters);
        const struct vgpu_event *other = vgpu_events_at(&events->traffic, &traffic);

        if (!one && !other)
            return;
        if (one && (!other || one->number < other->number)) {
            matters++;
            each(one, user);
        } else {
            traffic++;
            each(other, user);
        }
    }
}

void vgpu_events_follow(struct vgpu_events *events, struct vgpu_events_follower *follower)
{
    follower->next = events->followers;
    events->followers = follower;
}

void vgpu_events_leave(struct vgpu_events *events, struct vgpu_events_follower *follower)
{
    struct vgpu_events_follower **place = &events->followers;

    while (*place && *place != follower)
        place = &(*place)->next;
    if (*place)
        *place = follower->next;
}
