/* SPDX-License-Identifier: MIT */
#include "soft/simt/meeting.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Which word of the workspace it is. */
#define WORD 1

/* Nanoseconds between looks: at first, and at most. */
#define FIRST_PAUSE 20000
#define LONG_PAUSE  1000000

struct vgpu_meeting *vgpu_meeting_create(uint32_t blocks)
{
    struct vgpu_meeting *meeting = aligned_alloc(64, sizeof(*meeting));

    if (meeting == NULL)
        return NULL;
    memset(meeting, 0, sizeof(*meeting));
    pthread_mutex_init(&meeting->lock, NULL);
    meeting->blocks = meeting->there = blocks;
    return meeting;
}

void vgpu_meeting_destroy(struct vgpu_meeting *meeting)
{
    if (meeting == NULL)
        return;
    pthread_mutex_destroy(&meeting->lock);
    free(meeting);
}

static uint32_t word(const struct vgpu_meeting *meeting)
{
    /* Acquire: as the device code's own look, which follows. */
    return __atomic_load_n(&meeting->workspace[WORD], __ATOMIC_ACQUIRE);
}

static bool is_over(const struct vgpu_grid *grid)
{
    const volatile int *cancel = grid->launch->cancel;

    return (cancel != NULL && *cancel != 0) ||
           atomic_load_explicit(&grid->stop, memory_order_relaxed) != 0;
}

/* Counts a block that waits for another value; returns what `changes` is for it. Lock held. */
static uint64_t join(struct vgpu_meeting *meeting, uint32_t value)
{
    if (meeting->waiting == 0 || meeting->value != value) {
        meeting->value = value;
        meeting->waiting = 0;
        meeting->changes++;
    }
    meeting->waiting++;
    return meeting->changes;
}

/* Whether nobody can come: all blocks that are left wait for something else than what is there now,
   and some have ended. Lock held. */
static bool is_dead(const struct vgpu_meeting *meeting, uint64_t joined)
{
    return meeting->changes == joined && meeting->waiting == meeting->there &&
           meeting->there < meeting->blocks && word(meeting) == meeting->value;
}

uint32_t vgpu_meeting_wait(struct vgpu_grid *grid, uint32_t value)
{
    struct vgpu_meeting *meeting = grid->meeting;
    struct timespec pause = {.tv_nsec = FIRST_PAUSE};
    uint64_t joined;
    uint32_t gone;
    bool dead;

    pthread_mutex_lock(&meeting->lock);
    joined = join(meeting, value);
    dead = is_dead(meeting, joined);
    while (!dead && word(meeting) == value && meeting->changes == joined && !is_over(grid)) {
        pthread_mutex_unlock(&meeting->lock);
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < LONG_PAUSE)
            pause.tv_nsec *= 2;
        pthread_mutex_lock(&meeting->lock);
        dead = is_dead(meeting, joined);
    }
    if (meeting->changes == joined)
        meeting->waiting--;
    gone = meeting->blocks - meeting->there;
    pthread_mutex_unlock(&meeting->lock);
    return dead ? gone : 0;
}

void vgpu_meeting_leave(struct vgpu_meeting *meeting)
{
    pthread_mutex_lock(&meeting->lock);
    meeting->there--;
    pthread_mutex_unlock(&meeting->lock);
}
