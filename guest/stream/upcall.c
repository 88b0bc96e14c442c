/* SPDX-License-Identifier: MIT */
#include "guest/stream/upcall.h"

#include <stdlib.h>
#include <time.h>

#include "guest/channel/channel.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "interop/thread.h"

#define NAP_LEAST  50000u    /* ns between looks now and then */
#define NAP_MOST   10000000u /* how late a function may be that nobody waits for */
#define ROOM_FIRST 64u
/* For who waits for an id: to be woken for each would take longer than what is waited for. */
#define FREED_ENOUGH 256u

/* ---- ids; called with the lock ---- */

static bool grow(struct vgpu_upcalls *upcalls)
{
    uint32_t room = upcalls->room ? upcalls->room * 2 : ROOM_FIRST;
    if (room > VGPU_UPCALLS_MAX)
        return false;
    struct vgpu_upcall *table = reallocarray(upcalls->table, room, sizeof(*table));
    if (table == NULL)
        return false;
    upcalls->table = table;
    uint32_t *free_ids = reallocarray(upcalls->free, room, sizeof(*free_ids));
    if (free_ids == NULL)
        return false;
    upcalls->free = free_ids;
    for (uint32_t id = room; id-- > upcalls->room;) {
        table[id] = (struct vgpu_upcall){0};
        free_ids[upcalls->free_count++] = id;
    }
    upcalls->room = room;
    return true;
}

static void release(struct vgpu_upcalls *upcalls, uint32_t id)
{
    struct vgpu_upcall *upcall = &upcalls->table[id];
    if (upcall->use == VGPU_UPCALL_SOON)
        upcalls->soon--;
    *upcall = (struct vgpu_upcall){0};
    upcalls->free[upcalls->free_count++] = id;
    if (upcalls->free_count == FREED_ENOUGH || upcalls->soon == 0)
        pthread_cond_broadcast(&upcalls->freed);
}

static bool is_used(const struct vgpu_upcalls *upcalls, uint32_t id)
{
    return id < upcalls->room && (upcalls->table[id].host || upcalls->table[id].callback);
}

static bool any_used(const struct vgpu_upcalls *upcalls)
{
    return upcalls->free_count < upcalls->room;
}

/* ---- the thread ---- */

/* Runs what the host has posted. Called without the lock. */
static void run(struct vgpu_upcalls *upcalls, struct vgpu_channel *channel,
                const struct vgpu_upcall_request *request)
{
    struct vgpu_upcall upcall = {0};
    pthread_mutex_lock(&upcalls->lock);
    if (is_used(upcalls, request->id)) {
        if (request->kind == VGPU_UPCALL_RUN)
            upcall = upcalls->table[request->id];
        if (request->kind == VGPU_UPCALL_GONE || upcall.use != VGPU_UPCALL_OFTEN)
            release(upcalls, request->id);
    }
    upcalls->nap = NAP_LEAST;
    pthread_mutex_unlock(&upcalls->lock);
    vgpu_shadows_show(); /* the function may look at what was copied before it */
    vgpu_thread_place.upcall = true;
    if (upcall.host)
        upcall.host(upcall.data);
    else if (upcall.callback)
        upcall.callback(upcall.stream, request->status, upcall.data);
    vgpu_thread_place.upcall = false;
    vgpu_shadows_renew();
    vgpu_upcall_answer(channel, request);
}

/* Sleeps until there is reason to look. Called with the lock. */
static void rest(struct vgpu_upcalls *upcalls)
{
    upcalls->idle = true;
    if (!any_used(upcalls)) {
        pthread_cond_wait(&upcalls->changed, &upcalls->lock);
    } else {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t time = (uint64_t)until.tv_nsec + upcalls->nap;
        until.tv_sec += (time_t)(time / 1000000000u);
        until.tv_nsec = (long)(time % 1000000000u);
        pthread_cond_clockwait(&upcalls->changed, &upcalls->lock, CLOCK_MONOTONIC, &until);
        upcalls->nap = upcalls->nap * 2 < NAP_MOST ? upcalls->nap * 2 : NAP_MOST;
    }
    upcalls->idle = false;
}

static void *serve(void *argument)
{
    struct vgpu_process *process = argument;
    struct vgpu_upcalls *upcalls = &process->upcalls;
    struct vgpu_upcall_request request;
    CUresult lost = CUDA_SUCCESS;
    while (lost == CUDA_SUCCESS && !__atomic_load_n(&upcalls->stop, __ATOMIC_RELAXED)) {
        if (vgpu_upcall_posted(process->channel, &request)) {
            run(upcalls, process->channel, &request);
            continue;
        }
        pthread_mutex_lock(&upcalls->lock);
        bool soon = upcalls->soon > 0;
        if (!soon && !__atomic_load_n(&upcalls->stop, __ATOMIC_RELAXED))
            rest(upcalls);
        pthread_mutex_unlock(&upcalls->lock);
        lost = soon ? vgpu_upcall_wait(process->channel, &upcalls->stop)
                    : vgpu_channel_alive(process->channel);
    }
    return NULL;
}

/* Called with the lock. */
static CUresult start(struct vgpu_process *process)
{
    struct vgpu_upcalls *upcalls = &process->upcalls;
    if (upcalls->started)
        return CUDA_SUCCESS;
    upcalls->started = vgpu_thread_create(&upcalls->thread, NULL, serve, process) == 0;
    return upcalls->started ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* ---- for the program's threads ---- */

/* As many are due as there are ids: as with NVIDIA's driver, who asks for more waits until one has
 * been run. Called with the lock. */
static CUresult await_free(struct vgpu_upcalls *upcalls, struct vgpu_channel *channel)
{
    CUresult lost = CUDA_SUCCESS;
    while (upcalls->free_count == 0 && lost == CUDA_SUCCESS) {
        vgpu_thread_wait_second(&upcalls->freed, &upcalls->lock);
        lost = vgpu_channel_alive(channel); /* it may be lost meanwhile */
    }
    return lost;
}

CUresult vgpu_upcall_register(const struct vgpu_upcall *upcall, uint32_t *id)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_upcalls *upcalls = &process->upcalls;
    pthread_mutex_lock(&upcalls->lock);
    CUresult error = start(process);
    if (error == CUDA_SUCCESS && upcalls->free_count == 0 && !grow(upcalls))
        error = upcall->use == VGPU_UPCALL_SOON && upcalls->soon
                    ? await_free(upcalls, process->channel)
                    : CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS) {
        *id = upcalls->free[--upcalls->free_count];
        upcalls->table[*id] = *upcall;
        if (upcall->use == VGPU_UPCALL_SOON)
            upcalls->soon++;
        pthread_cond_signal(&upcalls->changed);
    }
    pthread_mutex_unlock(&upcalls->lock);
    return error;
}

bool vgpu_upcall_look_up(uint32_t id, struct vgpu_upcall *upcall)
{
    struct vgpu_upcalls *upcalls = &vgpu_process()->upcalls;
    pthread_mutex_lock(&upcalls->lock);
    bool used = is_used(upcalls, id);
    if (used)
        *upcall = upcalls->table[id];
    pthread_mutex_unlock(&upcalls->lock);
    return used;
}

void vgpu_upcall_forget(uint32_t id)
{
    struct vgpu_upcalls *upcalls = &vgpu_process()->upcalls;
    pthread_mutex_lock(&upcalls->lock);
    if (is_used(upcalls, id))
        release(upcalls, id);
    pthread_mutex_unlock(&upcalls->lock);
}

bool vgpu_upcall_list_add(struct vgpu_upcall_list *list, uint32_t id)
{
    if (list->count == list->room) {
        uint32_t room = list->room ? list->room * 2 : 8;
        uint32_t *grown = reallocarray(list->ids, room, sizeof(*grown));
        if (grown == NULL)
            return false;
        list->ids = grown;
        list->room = room;
    }
    list->ids[list->count++] = id;
    return true;
}

void vgpu_upcall_list_forget(struct vgpu_upcall_list *list)
{
    while (list->count)
        vgpu_upcall_forget(list->ids[--list->count]);
    free(list->ids);
    *list = (struct vgpu_upcall_list){0};
}

void vgpu_upcall_hurry(void)
{
    struct vgpu_upcalls *upcalls = &vgpu_process()->upcalls;
    pthread_mutex_lock(&upcalls->lock);
    upcalls->nap = NAP_LEAST;
    pthread_cond_signal(&upcalls->changed);
    pthread_mutex_unlock(&upcalls->lock);
}

void vgpu_upcall_stop(void)
{
    struct vgpu_upcalls *upcalls = &vgpu_process()->upcalls;
    bool join = false;
    if (vgpu_thread_place.upcall)
        return;
    pthread_mutex_lock(&upcalls->lock);
    __atomic_store_n(&upcalls->stop, true, __ATOMIC_RELAXED); /* the lock orders it */
    join = upcalls->started && upcalls->idle;
    pthread_cond_signal(&upcalls->changed);
    pthread_mutex_unlock(&upcalls->lock);
    if (join)
        pthread_join(upcalls->thread, NULL);
}
