/* SPDX-License-Identifier: MIT */
#include "worker/stream/bell.h"

#include <unistd.h>

#include "worker/stream/fence.h"
#include "worker/worker.h"

/* On a thread of the GPU. Sequentially consistent with vgpu_bell_await(): either this one sees what
 * is wanted, or that one sees that it has rung. */
static void CUDA_CB ring(void *data)
{
    struct vgpu_worker *worker = data;
    const uint64_t one = 1;
    uint32_t rung = __atomic_add_fetch(&worker->bell.rung, 1, __ATOMIC_SEQ_CST);

    if (rung == __atomic_load_n(&worker->bell.wanted, __ATOMIC_SEQ_CST))
        (void)!write(worker->doorbell, &one, sizeof(one)); /* full: it has been rung already */
}

/* Behind a fence that the GPU has written. */
static void CUDA_CB ring_for_guest(void *data)
{
    vgpu_worker_wake(data);
    ring(data);
}

bool vgpu_bell_is_hung(const struct vgpu_worker *worker)
{
    return worker->driver->is_software;
}

CUresult vgpu_bell_hang(struct vgpu_worker *worker, const struct vgpu_mark *mark)
{
    if (!worker->driver->is_software || mark->kind == VGPU_MARK_BEGIN)
        return CUDA_SUCCESS;
    return worker->driver->cuLaunchHostFunc(
        mark->stream, mark->kind == VGPU_MARK_GPU ? ring_for_guest : ring, worker);
}

void vgpu_bell_look(struct vgpu_worker *worker)
{
    /* acquire: what was reached before is found reached */
    worker->bell.seen = __atomic_load_n(&worker->bell.rung, __ATOMIC_ACQUIRE);
}

/* How many are to be reached. Only one that the worker itself writes cannot wait for the others. */
static uint32_t count_marks(const struct vgpu_fences *fences, uint32_t batch)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < fences->count; i++) {
        const struct vgpu_mark *mark = &fences->marks[i];
        if ((int32_t)(mark->batch - batch) > 0)
            break;
        count += mark->kind != VGPU_MARK_BEGIN && !mark->waits;
        if (mark->kind == VGPU_MARK_CPU)
            break;
    }
    return count || fences->waits == 0 ? count : 1; /* where all wait, any is news */
}

bool vgpu_bell_await(struct vgpu_worker *worker, uint32_t batch)
{
    struct vgpu_bell *bell = &worker->bell;
    uint32_t wanted = bell->seen + count_marks(&worker->fences, batch);

    __atomic_store_n(&bell->wanted, wanted, __ATOMIC_SEQ_CST);
    return (int32_t)(__atomic_load_n(&bell->rung, __ATOMIC_SEQ_CST) - wanted) < 0;
}

void vgpu_bell_awake(struct vgpu_worker *worker)
{
    /* relaxed: to be called once too often does no harm */
    __atomic_store_n(&worker->bell.wanted, worker->bell.seen, __ATOMIC_RELAXED);
}
