/* SPDX-License-Identifier: MIT */
#include "soft/simt/meeting.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Which word of the workspace it is. */
#define WORD 1

/* Nanoseconds until a block that was not woken looks by itself. */
#define PAUSE 1000000

struct vgpu_meeting *vgpu_meeting_create(uint32_t blocks)
{
    struct vgpu_meeting *meeting = aligned_alloc(64, sizeof(*meeting));
    pthread_condattr_t monotonic;

    if (meeting == NULL)
        return NULL;
    memset(meeting, 0, sizeof(*meeting));
    pthread_mutex_init(&meeting->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&meeting->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    meeting->blocks = meeting->there = blocks;
    return meeting;
}

void vgpu_meeting_destroy(struct vgpu_meeting *meeting)
{
    if (meeting == NULL)
        return;
    pthread_cond_destroy(&meeting->changed);
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

/* Until the highest bit of the word is another one, or for a while. Lock held. */
static void sleep_until_it_changes(struct vgpu_meeting *meeting, uint32_t value)
{
    struct timespec end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += PAUSE;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    atomic_fetch_add_explicit(&meeting->asleep, 1, memory_order_relaxed);
    while ((word(meeting) ^ value) >> 31 == 0 &&
           pthread_cond_timedwait(&meeting->changed, &meeting->lock, &end) == 0)
        ;
    atomic_fetch_sub_explicit(&meeting->asleep, 1, memory_order_relaxed);
}

uint32_t vgpu_meeting_wait(struct vgpu_grid *grid, uint32_t value)
{
    struct vgpu_meeting *meeting = grid->meeting;
    uint64_t joined;
    uint32_t gone;
    bool dead;

    pthread_mutex_lock(&meeting->lock);
    joined = join(meeting, value);
    dead = is_dead(meeting, joined);
    while (!dead && word(meeting) == value && meeting->changes == joined && !is_over(grid)) {
        sleep_until_it_changes(meeting, value);
        dead = is_dead(meeting, joined);
    }
    if (meeting->changes == joined)
        meeting->waiting--;
    gone = meeting->blocks - meeting->there;
    pthread_mutex_unlock(&meeting->lock);
    return dead ? gone : 0;
}

void vgpu_meeting_wake(struct vgpu_meeting *meeting)
{
    if (atomic_load_explicit(&meeting->asleep, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&meeting->lock);
    pthread_cond_broadcast(&meeting->changed);
    pthread_mutex_unlock(&meeting->lock);
}

void vgpu_meeting_leave(struct vgpu_meeting *meeting)
{
    pthread_mutex_lock(&meeting->lock);
    meeting->there--;
    pthread_mutex_unlock(&meeting->lock);
}
