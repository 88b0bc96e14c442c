/* SPDX-License-Identifier: MIT */
/** What will happen in a simulation, by time: a binary heap. */
#ifndef VGPU_SIM_AGENDA_H
#define VGPU_SIM_AGENDA_H

#include <stdbool.h>
#include <stdint.h>

struct vgpu_sim_event {
    uint64_t time;
    uint64_t order; /* of adding: of events at one time the first comes first */
    uint32_t kind;  /* the owner's */
    uint32_t vm;
    uint32_t stamp; /* the owner's: tells what has become void */
};

struct vgpu_sim_agenda {
    struct vgpu_sim_event *events;
    uint32_t count, room;
    uint64_t added;
};

/** False without memory. `order` is filled in. */
bool vgpu_sim_agenda_add(struct vgpu_sim_agenda *agenda, struct vgpu_sim_event event);
/** The next one; NULL if there is none. */
const struct vgpu_sim_event *vgpu_sim_agenda_first(const struct vgpu_sim_agenda *agenda);
/** Takes out the next one, of which there is one. */
struct vgpu_sim_event vgpu_sim_agenda_take(struct vgpu_sim_agenda *agenda);
void vgpu_sim_agenda_destroy(struct vgpu_sim_agenda *agenda);

#endif
