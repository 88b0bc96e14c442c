/* SPDX-License-Identifier: MIT */
#include "worker/stream/upcall.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "worker/worker.h"

enum {
    SPIN_NANOSECONDS = 30000,
    NAP_LEAST = 20000, /* ns */
    NAP_MOST = 1000000,
};

int vgpu_upcalls_create(struct vgpu_upcalls *upcalls)
{
    *upcalls = (struct vgpu_upcalls){.slots = calloc(VGPU_UPCALLS_MAX, sizeof(*upcalls->slots))};
    pthread_mutex_init(&upcalls->lock, NULL);
    return upcalls->slots ? 0 : -ENOMEM;
}

void vgpu_upcalls_end(struct vgpu_upcalls *upcalls)
{
    __atomic_store_n(&upcalls->ended, true, __ATOMIC_RELAXED);
}

void vgpu_upcalls_destroy(struct vgpu_upcalls *upcalls)
{
    pthread_mutex_destroy(&upcalls->lock);
    free(upcalls->slots);
    upcalls->slots = NULL;
}

void *vgpu_upcall_data(struct vgpu_worker *worker, uint32_t id)
{
    if (id >= VGPU_UPCALLS_MAX) {
        vgpu_worker_blame(worker, "an upcall's id is beyond the last");
        return NULL;
    }
    worker->upcalls.slots[id].worker = worker;
    return &worker->upcalls.slots[id];
}

/* Waits for the guest, or for the end of the channel. */
static void wait_until_done(struct vgpu_upcalls *upcalls, const struct vgpu_upcall_place *place,
                            uint32_t sequence)
{
    uint64_t start = vgpu_timing_now();
    uint64_t spin = vgpu_crowd_begin(&upcalls->crowd) ? 0 : SPIN_NANOSECONDS;
    /* acquire: pairs with the guest's release store; the driver goes on after what it wrote */
    while (__atomic_load_n(&place->done, __ATOMIC_ACQUIRE) != sequence &&
           !__atomic_load_n(&upcalls->ended, __ATOMIC_RELAXED)) {
        uint64_t waited = vgpu_timing_now() - start;
        if (waited < spin) {
            sched_yield(); /* to the guest, where it has to have this processor */
            vgpu_crowd_offered(&upcalls->crowd, vgpu_timing_now() - start - waited);
            continue;
        }
        /* In proportion: a late look costs little of a long wait. */
        uint64_t nap = waited / 8;
        struct timespec time = {.tv_nsec = nap < NAP_LEAST  ? NAP_LEAST
                                           : nap > NAP_MOST ? NAP_MOST
                                                            : (long)nap};
        nanosleep(&time, NULL);
    }
}

static void post(struct vgpu_upcall_slot *slot, enum vgpu_upcall_kind kind, CUresult status)
{
    struct vgpu_worker *worker = slot->worker;
    struct vgpu_upcalls *upcalls = &worker->upcalls;
    struct vgpu_upcall_place *place = &vgpu_worker_channel(worker)->upcall;
    __atomic_fetch_add(&upcalls->under_way, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&upcalls->lock);
    if (!__atomic_load_n(&upcalls->ended, __ATOMIC_RELAXED)) {
        /* The guest may write anything here: it deceives only itself. */
        uint32_t sequence = __atomic_load_n(&place->posted, __ATOMIC_RELAXED) + 1;
        place->kind = kind;
        place->id = (uint32_t)(slot - upcalls->slots);
        place->status = (uint32_t)status;
        __atomic_store_n(&place->posted, sequence, __ATOMIC_RELEASE);
        vgpu_worker_wake(worker);
        wait_until_done(upcalls, place, sequence);
    }
    pthread_mutex_unlock(&upcalls->lock);
    __atomic_fetch_sub(&upcalls->under_way, 1, __ATOMIC_RELAXED);
}

void CUDA_CB vgpu_upcall_run(void *data)
{
    post(data, VGPU_UPCALL_RUN, CUDA_SUCCESS);
}

void CUDA_CB vgpu_upcall_callback(CUstream stream, CUresult status, void *data)
{
    (void)stream;
    post(data, VGPU_UPCALL_RUN, status);
}

void CUDA_CB vgpu_upcall_gone(void *data)
{
    post(data, VGPU_UPCALL_GONE, CUDA_SUCCESS);
}

CUresult vgpu_upcall_bind(struct vgpu_worker *worker, CUgraph graph, void *data,
                          CUuserObject *object)
{
    const struct vgpu_driver *driver = worker->driver;
    if (driver->cuUserObjectCreate == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult error = driver->cuUserObjectCreate(object, data, vgpu_upcall_gone, 1,
                                                CU_USER_OBJECT_NO_DESTRUCTOR_SYNC);
    if (error)
        return error;
    error = driver->cuGraphRetainUserObject(graph, *object, 1, CU_GRAPH_USER_OBJECT_MOVE);
    if (error)
        driver->cuUserObjectRelease(*object, 1);
    return error;
}
