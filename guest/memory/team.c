/* SPDX-License-Identifier: MIT */
#include "guest/memory/team.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#include "interop/thread.h"

#define BYTES_EACH        ((size_t)2 << 20) /* less is copied before a helper has woken up */
#define IDLE_MILLISECONDS 100u

/* One thread copies a third of what a GPU's link carries, and less. Half of the processors are left
 * to the program's other threads and to the driver. */
uint32_t vgpu_team_size(size_t bytes)
{
    cpu_set_t processors;
    size_t useful = bytes / BYTES_EACH;
    if (useful < 2 || sched_getaffinity(0, sizeof(processors), &processors) < 0)
        return 0;
    size_t threads = (size_t)CPU_COUNT(&processors) / 2;
    if (threads < 2 && CPU_COUNT(&processors) > 1)
        threads = 2;
    if (threads > VGPU_TEAM_HELPERS_MOST + 1)
        threads = VGPU_TEAM_HELPERS_MOST + 1;
    if (threads > useful)
        threads = useful;
    return threads ? (uint32_t)threads - 1 : 0;
}

/* Called with the lock. False if nobody has called for long. */
static bool await_call(struct vgpu_team *team)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t time = (uint64_t)until.tv_nsec + IDLE_MILLISECONDS * 1000000u;
    until.tv_sec += (time_t)(time / 1000000000u);
    until.tv_nsec = (long)(time % 1000000000u);
    while (team->wanted == 0 && !team->stop) {
        if (pthread_cond_clockwait(&team->called, &team->lock, CLOCK_MONOTONIC, &until) ==
            ETIMEDOUT)
            return team->wanted > 0 && !team->stop;
    }
    return !team->stop;
}

static void *help(void *argument)
{
    struct vgpu_team_member *member = argument;
    struct vgpu_team *team = member->team;
    pthread_mutex_lock(&team->lock);
    while (await_call(team)) {
        void (*work)(void *) = team->work;
        void *what = team->argument;
        team->wanted--;
        team->working++;
        pthread_mutex_unlock(&team->lock);
        work(what);
        pthread_mutex_lock(&team->lock);
        if (--team->working == 0)
            pthread_cond_signal(&team->left);
    }
    member->ended = true;
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

/* The following are called with the lock. */

static void join(struct vgpu_team_member *member)
{
    pthread_join(member->thread, NULL); /* it has ended, or does next */
    member->started = member->ended = false;
}

static void start(struct vgpu_team *team, struct vgpu_team_member *member)
{
    if (member->started && !member->ended)
        return;
    if (member->started)
        join(member);
    member->team = team;
    member->started = vgpu_thread_create(&member->thread, NULL, help, member) == 0;
}

static bool call(struct vgpu_team *team, uint32_t helpers, void (*work)(void *argument),
                 void *argument)
{
    if (team->busy || team->stop)
        return false;
    team->busy = true;
    team->work = work;
    team->argument = argument;
    team->wanted = helpers;
    for (uint32_t i = 0; i < helpers; i++)
        start(team, &team->members[i]);
    pthread_cond_broadcast(&team->called);
    return true;
}

void vgpu_team_run(struct vgpu_team *team, uint32_t helpers, void (*work)(void *argument),
                   void *argument)
{
    if (helpers > VGPU_TEAM_HELPERS_MOST)
        helpers = VGPU_TEAM_HELPERS_MOST;
    pthread_mutex_lock(&team->lock);
    bool called = helpers > 0 && call(team, helpers, work, argument);
    pthread_mutex_unlock(&team->lock);
    work(argument);
    if (!called)
        return;
    pthread_mutex_lock(&team->lock);
    team->wanted = 0; /* nothing is left for who comes now */
    while (team->working)
        vgpu_thread_wait(&team->left, &team->lock);
    team->busy = false;
    pthread_mutex_unlock(&team->lock);
}

void vgpu_team_end(struct vgpu_team *team)
{
    pthread_mutex_lock(&team->lock);
    bool idle = !team->busy;
    team->stop = true;
    pthread_cond_broadcast(&team->called);
    pthread_mutex_unlock(&team->lock);
    for (uint32_t i = 0; i < VGPU_TEAM_HELPERS_MOST && idle; i++) {
        if (team->members[i].started)
            join(&team->members[i]);
    }
}
