/* SPDX-License-Identifier: MIT */
#include "mediator/health_watch.h"

#include <string.h>

#include "mediator/log.h"
#include "mediator/mediator.h"

static uint64_t vgpu_health_told_of(const struct vgpu_health_told *told, uint64_t number)
{
    for (uint32_t i = 0; i < told->xid_count; i++) {
        if (told->xid[i].number == number)
            return told->xid[i].count;
    }
    return 0;
}

static void vgpu_health_tell_xid(struct vgpu_mediator *mediator, const struct vgpu_health_xid *xid)
{
    vgpu_log(VGPU_LOG_WARNING,
             "the GPU has had an error, XID %llu (%llu since the mediator started); see the "
             "kernel's log",
             (unsigned long long)xid->number, (unsigned long long)xid->count);
    vgpu_events_add(&mediator->events, "health", "",
                    "error of the GPU: XID %llu (%llu since the mediator started)",
                    (unsigned long long)xid->number, (unsigned long long)xid->count);
}

static void vgpu_health_tell_trouble(struct vgpu_mediator *mediator, const char *trouble)
{
    const char *what = trouble ? trouble : "the GPU is well again";

    vgpu_log(trouble ? VGPU_LOG_ERROR : VGPU_LOG_INFO, "%s", what);
    vgpu_events_add(&mediator->events, "health", "", "%s", what);
}

void vgpu_health_watch(struct vgpu_mediator *mediator)
{
    struct vgpu_health_told *told = &mediator->health_told;
    struct vgpu_health_state now;

    if (!mediator->health)
        return;
    vgpu_health_look(mediator->health, &now);
    for (uint32_t i = 0; i < now.xid_count; i++) {
        if (now.xid[i].count > vgpu_health_told_of(told, now.xid[i].number))
            vgpu_health_tell_xid(mediator, &now.xid[i]);
    }
    if (now.trouble != told->trouble) /* constants */
        vgpu_health_tell_trouble(mediator, now.trouble);
    told->trouble = now.trouble;
    told->xid_count = now.xid_count;
    memcpy(told->xid, now.xid, sizeof(told->xid));
}
