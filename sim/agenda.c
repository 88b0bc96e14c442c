/* SPDX-License-Identifier: MIT */
#include "sim/agenda.h"

#include <stdlib.h>

static bool is_before(const struct vgpu_sim_event *a, const struct vgpu_sim_event *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

bool vgpu_sim_agenda_add(struct vgpu_sim_agenda *agenda, struct vgpu_sim_event event)
{
    if (agenda->count == agenda->room) {
        uint32_t room = agenda->room ? 2 * agenda->room : 64;
        struct vgpu_sim_event *grown = reallocarray(agenda->events, room, sizeof(*grown));
        if (!grown)
            return false;
        agenda->events = grown;
        agenda->room = room;
    }
    event.order = agenda->added++;
    uint32_t at = agenda->count++;
    for (; at && is_before(&event, &agenda->events[(at - 1) / 2]); at = (at - 1) / 2)
        agenda->events[at] = agenda->events[(at - 1) / 2];
    agenda->events[at] = event;
    return true;
}

const struct vgpu_sim_event *vgpu_sim_agenda_first(const struct vgpu_sim_agenda *agenda)
{
    return agenda->count ? &agenda->events[0] : NULL;
}

struct vgpu_sim_event vgpu_sim_agenda_take(struct vgpu_sim_agenda *agenda)
{
    struct vgpu_sim_event first = agenda->events[0], moved = agenda->events[--agenda->count];
    uint32_t at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < agenda->count &&
            is_before(&agenda->events[child + 1], &agenda->events[child]))
            child++;
        if (child >= agenda->count || !is_before(&agenda->events[child], &moved))
            break;
        agenda->events[at] = agenda->events[child];
        at = child;
    }
    agenda->events[at] = moved;
    return first;
}

void vgpu_sim_agenda_destroy(struct vgpu_sim_agenda *agenda)
{
    free(agenda->events);
    *agenda = (struct vgpu_sim_agenda){0};
}
