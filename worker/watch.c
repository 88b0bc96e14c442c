/* SPDX-License-Identifier: MIT */
#include "worker/watch.h"

#include <string.h>

#include "worker/context.h"
#include "worker/kind.h"
#include "worker/worker.h"

#define PARTS_OF_LIMIT 16u /* that known work of one piece may take */
#define FORGET         8u  /* of what a kind took, this part with each measurement */
#define MOST_TIME      3600000000u
#define PATIENCE_MANY  3u /* with pieces of many records that were all expected to be short */

/* The calls from which a driver may not return before all work is done. */
static const bool synchronizes[VGPU_CALL_MAX + 1] = {
    [VGPU_CALL_cuArrayDestroy] = true,          [VGPU_CALL_cuCtxDestroy] = true,
    [VGPU_CALL_cuDeviceGraphMemTrim] = true,    [VGPU_CALL_cuDevicePrimaryCtxRelease] = true,
    [VGPU_CALL_cuDevicePrimaryCtxReset] = true, [VGPU_CALL_cuLibraryUnload] = true,
    [VGPU_CALL_cuMemPoolTrimTo] = true,         [VGPU_CALL_cuMipmappedArrayDestroy] = true,
    [VGPU_CALL_cuModuleUnload] = true,          [VGPU_CALL_vgpuHostUnmap] = true,
    [VGPU_CALL_vgpuMemFreeUnknown] = true,
};

/* Relaxed: any of the mediator's values will do. */
static uint64_t limit_of(const struct vgpu_worker *worker)
{
    return __atomic_load_n(&worker->page->watch.limit, __ATOMIC_RELAXED);
}

/* Microseconds that a piece of known work may take. */
static uint64_t share_of(uint64_t limit)
{
    return limit / 1000 / PARTS_OF_LIMIT;
}

void vgpu_watch_begin(struct vgpu_worker *worker)
{
    worker->watch.pieced = worker->watch.expected = 0;
    worker->watch.alone = false;
}

static void add(struct vgpu_watch *watch, uint32_t kind, uint32_t takes, bool alone)
{
    watch->kind = kind;
    watch->alone = alone;
    watch->expected += takes;
    watch->pieced++;
    watch->unmeasured++;
}

/* What came before gets marks first. */
__attribute__((cold, noinline)) static void add_apart(struct vgpu_worker *worker, uint32_t kind,
                                                      uint32_t takes, bool alone)
{
    vgpu_usage_cover(worker);
    add(&worker->watch, kind, takes, alone);
}

void vgpu_watch_add(struct vgpu_worker *worker)
{
    struct vgpu_watch *watch = &worker->watch;
    uint64_t limit = limit_of(worker);

    if (limit == 0)
        return;
    uint32_t kind = vgpu_kind_of(worker->record, VGPU_WATCH_KINDS), takes = watch->took[kind];
    uint64_t most = share_of(limit);
    bool alone = takes == 0 || takes > most;
    if (watch->pieced > 0 && (alone || watch->alone || watch->expected + takes > most ||
                              watch->pieced == VGPU_WATCH_RECORDS))
        add_apart(worker, kind, takes, alone);
    else
        add(watch, kind, takes, alone);
}

bool vgpu_watch_wonders(const struct vgpu_worker *worker)
{
    const struct vgpu_watch *watch = &worker->watch;

    return limit_of(worker) && watch->unmeasured == 1 && watch->took[watch->kind] == 0;
}

void vgpu_watch_mark(struct vgpu_worker *worker, struct vgpu_mark *mark)
{
    struct vgpu_watch *watch = &worker->watch;

    mark->pieced = watch->pieced;
    if (mark->event == NULL || mark->kind == VGPU_MARK_BEGIN || mark->kind == VGPU_MARK_WAIT)
        return;
    mark->records = watch->unmeasured;
    mark->work = watch->kind;
    watch->unmeasured = 0;
}

void vgpu_watch_learn(struct vgpu_worker *worker, const struct vgpu_mark *mark,
                      uint64_t nanoseconds)
{
    struct vgpu_watch *watch = &worker->watch;
    uint64_t took = nanoseconds / 1000 + 1;
    uint32_t *known = &watch->took[mark->work % VGPU_WATCH_KINDS];

    if (took > MOST_TIME)
        took = MOST_TIME;
    if (mark->records == 1) {
        *known -= *known / FORGET;
        *known = *known > took ? *known : (uint32_t)took;
    } else if (mark->records && took > share_of(limit_of(worker))) {
        memset(watch->took, 0, sizeof(watch->took)); /* it was not as it was known to be */
    }
}

/* Relaxed throughout: the mediator takes these for numbers that may be a moment old. */
static void publish(struct vgpu_worker *worker, uint64_t now)
{
    struct vgpu_worker_watch *shown = &worker->page->watch;

    __atomic_store_n(&shown->patience, worker->watch.patience, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->since, worker->watch.since, __ATOMIC_RELAXED);
    __atomic_store_n(&shown->looked, now, __ATOMIC_RELAXED);
}

static uint32_t patience_for(const struct vgpu_worker *worker, const struct vgpu_mark *mark)
{
    bool waits = mark->waits || __atomic_load_n(&worker->upcalls.under_way, __ATOMIC_RELAXED) != 0;

    if (waits)
        return VGPU_WATCH_PATIENCE;
    return mark->pieced > PATIENCE_MANY ? PATIENCE_MANY : mark->pieced ? mark->pieced : 1;
}

/* The oldest of what the GPU is at; else what waits for the program: NULL, if that is no work. */
static const struct vgpu_mark *oldest_work(const struct vgpu_worker *worker)
{
    const struct vgpu_fences *fences = &worker->fences;
    const struct vgpu_mark *oldest = vgpu_fence_oldest(worker);

    for (uint32_t i = 0; i < fences->count && !oldest; i++) {
        if (fences->marks[i].kind != VGPU_MARK_WAIT)
            oldest = &fences->marks[i];
    }
    return oldest;
}

void vgpu_watch_look(struct vgpu_worker *worker, uint64_t now)
{
    const struct vgpu_mark *oldest = oldest_work(worker);
    struct vgpu_watch *watch = &worker->watch;

    if (oldest == NULL) {
        if (watch->since) {
            watch->since = 0;
            publish(worker, now);
        }
        return;
    }
    if (!worker->fences.first_asked)
        return;
    uint32_t patience = patience_for(worker, oldest);
    if (watch->since == 0 || watch->oldest != oldest->number || watch->patience != patience) {
        watch->oldest = oldest->number;
        watch->patience = patience;
        watch->since = now;
    }
    publish(worker, now);
}

static bool is_synchronising(const struct vgpu_call_header *header)
{
    return header->call <= VGPU_CALL_MAX && synchronizes[header->call];
}

bool vgpu_watch_defers(struct vgpu_worker *worker, const struct vgpu_call_header *header)
{
    if (!is_synchronising(header) || header->flags != VGPU_CALL_WANTS_REPLY ||
        header->reply_slot >= VGPU_REPLY_SLOTS)
        return false;
    return !vgpu_contexts_are_done(worker);
}

bool vgpu_watch_admits(struct vgpu_worker *worker, const struct vgpu_call_header *header)
{
    const struct vgpu_watch *watch = &worker->watch;

    if (!is_synchronising(header) || !(header->flags & VGPU_CALL_INSISTS))
        return true;
    if (watch->alone || worker->fences.count > 1)
        vgpu_usage_cover(worker);
    return worker->fences.count <= 1;
}
