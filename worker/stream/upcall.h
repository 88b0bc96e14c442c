/* SPDX-License-Identifier: MIT */
/**
 * Functions of the guest's program, as the driver gets them: a function of ours, and for each id of
 * the guest a place that the driver passes to it. It runs in a thread of the driver: it posts the
 * id in the channel, wakes the guest and waits until that is done.
 */
#ifndef VGPU_WORKER_UPCALL_H
#define VGPU_WORKER_UPCALL_H

#include <cuda.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/crowd.h"

struct vgpu_worker;

/** What the driver passes: its position in the table is the id. */
struct vgpu_upcall_slot {
    struct vgpu_worker *worker;
};

struct vgpu_upcalls {
    pthread_mutex_t lock;           /* one upcall at a time */
    struct vgpu_upcall_slot *slots; /* VGPU_UPCALLS_MAX, touched only where used */
    bool ended;                     /* atomic: nobody is there to answer */
    struct vgpu_crowd crowd;
    uint32_t under_way; /* atomic: upcalls that the driver waits for */
};

int vgpu_upcalls_create(struct vgpu_upcalls *upcalls);
/** Upcalls under way return at once, and so do all that follow: before contexts are destroyed. */
void vgpu_upcalls_end(struct vgpu_upcalls *upcalls);
void vgpu_upcalls_destroy(struct vgpu_upcalls *upcalls);

/** What to give the driver as the data of the guest's function `id`; it is good as long as the
 *  worker lives. NULL after vgpu_worker_blame(). For the worker's thread. */
void *vgpu_upcall_data(struct vgpu_worker *worker, uint32_t id);

/** A CUhostFn: has the guest run the function. */
void CUDA_CB vgpu_upcall_run(void *data);
/** A CUstreamCallback. */
void CUDA_CB vgpu_upcall_callback(CUstream stream, CUresult status, void *data);
/** A CUhostFn, for a user object that goes with a graph: tells the guest that a function which runs
 *  often will not run again. */
void CUDA_CB vgpu_upcall_gone(void *data);

/** Tells the guest when no graph calls the function behind `data` any more: `*object` goes with
 *  `graph`, its clones and what is instantiated of them. Only for what the graph calls indeed: the
 *  guest frees the id of what was refused by itself. For the worker's thread. */
CUresult vgpu_upcall_bind(struct vgpu_worker *worker, CUgraph graph, void *data,
                          CUuserObject *object);

/** Takes so many of the guest's references to a user object (a handle id that was found), which are
 *  then released or given to a graph. CUDA_ERROR_INVALID_VALUE: it does not hold that many; the
 *  object may be gone. For the worker's thread. */
CUresult vgpu_user_object_spend(struct vgpu_worker *worker, uint32_t id, uint32_t count);

#endif
