/* SPDX-License-Identifier: MIT */
/**
 * Threads that help with one large copy. They are started when there is one, and end when there has
 * been none for a while. Signals are the program's: none is delivered to them. Any thread may call.
 */
#ifndef VGPU_GUEST_TEAM_H
#define VGPU_GUEST_TEAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VGPU_TEAM_HELPERS_MOST 5u

struct vgpu_team {
    pthread_mutex_t lock;
    pthread_cond_t called; /* there is work, or an end to it all */
    pthread_cond_t left;   /* the last helper has come back from the work */
    bool busy;             /* somebody has the team */
    bool stop;
    void (*work)(void *argument);
    void *argument;
    uint32_t wanted;  /* helpers that the work still takes */
    uint32_t working; /* that are at it */
    struct vgpu_team_member {
        struct vgpu_team *team;
        pthread_t thread;
        bool started; /* and not yet joined */
        bool ended;
    } members[VGPU_TEAM_HELPERS_MOST];
};

#define VGPU_TEAM_INITIALIZER                                                                      \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .called = PTHREAD_COND_INITIALIZER,                     \
        .left = PTHREAD_COND_INITIALIZER                                                           \
    }

/** How many helpers are worth their while for so many bytes on this machine; 0 if none are. */
uint32_t vgpu_team_size(size_t bytes);

/**
 * Calls work(argument) in this thread and in up to `helpers` others, and returns when all these
 * calls have. There may be fewer, and none while another thread has the team, so that each call has
 * to go on until nothing is left to do.
 */
void vgpu_team_run(struct vgpu_team *team, uint32_t helpers, void (*work)(void *argument),
                   void *argument);

/** Ends the threads, unless they are at work. */
void vgpu_team_end(struct vgpu_team *team);

#endif
