/* SPDX-License-Identifier: MIT */
#include "mediator/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "mediator/log.h"

void vgpu_events_add(struct vgpu_events *events, const char *kind, const char *vm,
                     const char *format, ...)
{
    struct vgpu_event *event = &events->kept[events->count % VGPU_EVENTS_KEPT];
    char text[sizeof(event->text)];
    struct timespec now;
    va_list arguments;

    clock_gettime(CLOCK_REALTIME, &now);
    *event = (struct vgpu_event){
        .number = ++events->count,
        .milliseconds = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
        .kind = kind,
    };
    snprintf(event->vm, sizeof(event->vm), "%s", vm);
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    vgpu_log_clean(event->text, sizeof(event->text), text, sizeof(text));
    for (struct vgpu_events_follower *one = events->followers; one; one = one->next)
        one->happened(one, event);
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
