/* SPDX-License-Identifier: MIT */
/* Launches of graphs that have shadows: what is copied in before, and out after. */
#include <stdlib.h>
#include <string.h>

#include "guest/graph/shadow_private.h"
#include "guest/memory/pages.h"
#include "guest/process/process.h"
#include "guest/stream/marker.h"
#include "guest/stream/stream.h"
#include "guest/stream/upcall.h"
#include "protocol/send.h"

/* A launch: its shadows, and the fence behind it. */
struct vgpu_shadow_run {
    struct vgpu_shadow_run *next;
    struct vgpu_shadow_set set;
    uint32_t fence, value; /* what the fence reaches */
    bool posted;           /* it has its fence */
    bool seen;             /* it is done, and what it wrote was copied out */
    bool partial;
    struct vgpu_upcall_list retired; /* no launch calls them once this one is done */
};

/* ---- copying by the CPU ---- */

#define PIECE 64u /* bytes that are compared at a time */

/* Does something to each row of the program's memory and to where it is in the shadow. */
typedef bool row_work(const struct vgpu_shadow *shadow, char *host, size_t offset);

/* False as soon as a row's work is. */
static bool each_row(const struct vgpu_shadow *shadow, row_work *work)
{
    const struct vgpu_shadow_shape *shape = &shadow->shape;
    size_t offset = 0;
    for (size_t plane = 0; plane < shape->depth; plane++) {
        for (size_t row = 0; row < shape->height; row++, offset += shape->width) {
            if (!work(shadow, shape->host + plane * shape->plane + row * shape->pitch, offset))
                return false;
        }
    }
    return true;
}

static bool row_in(const struct vgpu_shadow *shadow, char *host, size_t offset)
{
    memcpy(shadow->memory + offset, host, shadow->shape.width);
    return true;
}

static bool row_out(const struct vgpu_shadow *shadow, char *host, size_t offset)
{
    memcpy(host, shadow->memory + offset, shadow->shape.width);
    return true;
}

static bool row_is_same(const struct vgpu_shadow *shadow, char *host, size_t offset)
{
    return memcmp(shadow->memory + offset, host, shadow->shape.width) == 0;
}

/* What the graph has changed since it was known last. The graph may be about to change more. */
static bool row_changes_out(const struct vgpu_shadow *shadow, char *host, size_t offset)
{
    for (size_t done = 0; done < shadow->shape.width; done += PIECE) {
        size_t left = shadow->shape.width - done, bytes = left < PIECE ? left : PIECE;
        char *known = shadow->known + offset + done, now[PIECE];
        memcpy(now, shadow->memory + offset + done, bytes);
        if (memcmp(now, known, bytes) == 0)
            continue;
        for (size_t i = 0; i < bytes; i++) {
            if (now[i] != known[i])
                host[done + i] = now[i];
        }
        memcpy(known, now, bytes);
    }
    return true;
}

/* What the program has changed since, where the graph has not. */
static bool row_changes_in(const struct vgpu_shadow *shadow, char *host, size_t offset)
{
    for (size_t done = 0; done < shadow->shape.width; done += PIECE) {
        size_t left = shadow->shape.width - done, bytes = left < PIECE ? left : PIECE;
        char *known = shadow->known + offset + done, *memory = shadow->memory + offset + done;
        if (memcmp(host + done, known, bytes) == 0)
            continue;
        for (size_t i = 0; i < bytes; i++) {
            if (host[done + i] != known[i] && memory[i] == known[i])
                memory[i] = known[i] = host[done + i];
        }
    }
    return true;
}

static bool is_there(const struct vgpu_shadow *shadow)
{
    const struct vgpu_shadow_shape *shape = &shadow->shape;
    return vgpu_pages_are_there(shape->host, (shape->depth - 1) * shape->plane +
                                                 (shape->height - 1) * shape->pitch + shape->width);
}

/* ---- launches ---- */

static bool is_done(const struct vgpu_shadow_run *run)
{
    return run->posted && vgpu_fence_reached(vgpu_process()->channel, run->fence, run->value);
}

/* With the lock. */
static void copy_out(const struct vgpu_shadow_run *run, bool done)
{
    for (uint32_t i = 0; i < run->set.count; i++) {
        const struct vgpu_shadow *shadow = run->set.list[i].shadow;
        if (shadow->shape.out && shadow->known)
            each_row(shadow, row_changes_out);
        else if (shadow->shape.out && done && !run->partial)
            each_row(shadow, row_out);
    }
}

/* With the lock. */
static void unlink_run(struct vgpu_shadow_runs *runs, struct vgpu_shadow_run *run)
{
    struct vgpu_shadow_run **link = &runs->first;
    while (*link != run)
        link = &(*link)->next;
    *link = run->next;
    __atomic_fetch_sub(&runs->count, 1, __ATOMIC_RELAXED);
}

/* Without the lock: the host may have to wait for the GPU, which may have to wait for a function of
 * the program. */
static void end_run(struct vgpu_shadow_run *run)
{
    if (run->posted)
        vgpu_fence_put(vgpu_process()->channel, run->fence);
    vgpu_shadow_set_clear(&run->set);
    vgpu_upcall_list_forget(&run->retired);
    free(run);
}

/* Relaxed: who has waited for a launch of another thread has synchronised with that thread. */
static bool is_any_under_way(void)
{
    return __atomic_load_n(&vgpu_process()->shadow_runs.count, __ATOMIC_RELAXED) != 0;
}

/* Copies out what is done, or may be looked at. Those that are done are returned, to be ended, or
 * they stay. Not part of its callers, most of whose calls do not come here. */
static __attribute__((noinline)) struct vgpu_shadow_run *look(bool stay)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    struct vgpu_shadow_run *ended = NULL;
    pthread_mutex_lock(&runs->lock);
    /* In the order of launches: the last one's bytes stay. */
    for (struct vgpu_shadow_run *run = runs->first, *next; run; run = next) {
        bool done = is_done(run);
        next = run->next;
        if ((done && !run->seen) || run->partial)
            copy_out(run, done);
        run->seen |= done;
        if (!done || stay)
            continue;
        unlink_run(runs, run);
        run->next = ended;
        ended = run;
    }
    pthread_mutex_unlock(&runs->lock);
    return ended;
}

static __attribute__((noinline)) void end_done(void)
{
    struct vgpu_shadow_run *ended = look(false);
    while (ended) {
        struct vgpu_shadow_run *run = ended;
        ended = run->next;
        end_run(run);
    }
}

void vgpu_shadows_collect(void)
{
    if (is_any_under_way())
        end_done();
}

void vgpu_shadows_show(void)
{
    if (is_any_under_way())
        look(true);
}

void vgpu_shadows_renew(void)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    if (!is_any_under_way())
        return;
    pthread_mutex_lock(&runs->lock);
    for (const struct vgpu_shadow_run *run = runs->first; run; run = run->next) {
        for (uint32_t i = 0; run->partial && i < run->set.count; i++) {
            const struct vgpu_shadow *shadow = run->set.list[i].shadow;
            if (!is_there(shadow))
                continue;
            if (shadow->known)
                each_row(shadow, row_changes_in);
            else if (!shadow->shape.out && !each_row(shadow, row_is_same))
                each_row(shadow, row_in);
        }
    }
    pthread_mutex_unlock(&runs->lock);
}

/* With the lock: the last launch under way that uses a shadow. */
static const struct vgpu_shadow_run *find_user(const struct vgpu_shadow *shadow)
{
    const struct vgpu_shadow_run *run = vgpu_process()->shadow_runs.first, *last = NULL;
    for (; run; run = run->next) {
        if (run->posted && vgpu_shadow_set_find(&run->set, shadow))
            last = run;
    }
    return last;
}

/* A launch under way must not see the bytes of the next; programs seldom change them meanwhile. */
static CUresult fill_in(const struct vgpu_caller *caller, const struct vgpu_shadow *shadow)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    CUresult error = CUDA_SUCCESS;
    if (each_row(shadow, row_is_same))
        return CUDA_SUCCESS;
    while (error == CUDA_SUCCESS) {
        pthread_mutex_lock(&runs->lock);
        const struct vgpu_shadow_run *user = find_user(shadow);
        uint32_t fence = user ? user->fence : 0, value = user ? user->value : 0;
        if (user == NULL)
            each_row(shadow, row_in);
        pthread_mutex_unlock(&runs->lock);
        if (user == NULL)
            break;
        error = vgpu_caller_wait(caller, fence, value);
    }
    return error;
}

/* A launch under way may have written what nobody has seen yet. */
static CUresult prepare_out(struct vgpu_shadow *shadow, bool partial)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    CUresult error = CUDA_SUCCESS;
    pthread_mutex_lock(&runs->lock);
    if (find_user(shadow)) {
        if (shadow->known)
            each_row(shadow, row_changes_in);
    } else {
        if (partial && shadow->known == NULL)
            shadow->known = malloc(shadow->bytes);
        if (!partial) {
            free(shadow->known);
            shadow->known = NULL;
        } else if (shadow->known) {
            each_row(shadow, row_in);
            memcpy(shadow->known, shadow->memory, shadow->bytes);
        } else {
            error = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    pthread_mutex_unlock(&runs->lock);
    return error;
}

static CUresult fill(const struct vgpu_caller *caller, const struct vgpu_shadow_set *set,
                     bool partial)
{
    CUresult error = CUDA_SUCCESS;
    for (uint32_t i = 0; i < set->count && error == CUDA_SUCCESS; i++) {
        struct vgpu_shadow *shadow = set->list[i].shadow;
        /* What a partial graph no longer uses may be known still, and its memory be gone. */
        if (partial && !is_there(shadow))
            continue;
        error = shadow->shape.out ? prepare_out(shadow, partial) : fill_in(caller, shadow);
    }
    return error;
}

CUresult vgpu_shadows_fill(const struct vgpu_caller *caller, const struct vgpu_shadow_set *set,
                           bool partial, struct vgpu_upcall_list *retired,
                           struct vgpu_shadow_run **out)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    *out = NULL;
    if (set->count == 0 && retired->count == 0)
        return CUDA_SUCCESS;
    vgpu_shadows_collect();
    CUresult error = fill(caller, set, partial);
    if (error)
        return error;
    struct vgpu_shadow_run *run = calloc(1, sizeof(*run));
    if (run == NULL || !vgpu_shadow_set_join(&run->set, set)) {
        if (run)
            vgpu_shadow_set_clear(&run->set);
        free(run);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    run->partial = partial;
    run->retired = *retired;
    *retired = (struct vgpu_upcall_list){0};
    pthread_mutex_lock(&runs->lock);
    struct vgpu_shadow_run **link = &runs->first;
    while (*link)
        link = &(*link)->next;
    *link = run;
    __atomic_fetch_add(&runs->count, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&runs->lock);
    *out = run;
    return CUDA_SUCCESS;
}

CUresult vgpu_shadows_launched(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                               struct vgpu_shadow_run *run)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    uint32_t fence, value;
    if (run == NULL)
        return CUDA_SUCCESS;
    CUresult error = vgpu_fence_take(caller->channel, &fence, &value);
    if (error == CUDA_SUCCESS) {
        error = vgpu_send_vgpuFence(caller->channel, caller->context, stream->object.id, fence,
                                    ++value);
        if (error)
            vgpu_fence_put(caller->channel, fence);
    }
    if (error) {
        vgpu_shadows_not_launched(run);
        return error;
    }
    pthread_mutex_lock(&runs->lock);
    run->fence = fence;
    run->value = value;
    run->posted = true;
    pthread_mutex_unlock(&runs->lock);
    return CUDA_SUCCESS;
}

void vgpu_shadows_not_launched(struct vgpu_shadow_run *run)
{
    struct vgpu_shadow_runs *runs = &vgpu_process()->shadow_runs;
    if (run == NULL)
        return;
    free(run->retired.ids); /* an earlier launch may call them: they stay taken */
    run->retired = (struct vgpu_upcall_list){0};
    pthread_mutex_lock(&runs->lock);
    unlink_run(runs, run);
    pthread_mutex_unlock(&runs->lock);
    end_run(run);
}
