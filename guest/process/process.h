/* SPDX-License-Identifier: MIT */
/**
 * The state of CUDA in this process: its channel, its devices, its objects and memory. There is
 * one, and it lives until the process ends.
 */
#ifndef VGPU_GUEST_PROCESS_H
#define VGPU_GUEST_PROCESS_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stdbool.h>

#include "guest/channel/channel.h"
#include "guest/code/tensor_map.h"
#include "guest/graph/capture.h"
#include "guest/memory/arena.h"
#include "guest/memory/freed.h"
#include "guest/memory/mirror.h"
#include "guest/memory/pool.h"
#include "guest/memory/ranges.h"
#include "guest/memory/registered.h"
#include "guest/memory/team.h"
#include "guest/process/objects.h"
#include "guest/stream/upcall.h"
#include "protocol/info.h"

enum vgpu_phase {
    VGPU_PHASE_NEW,    /* no channel yet */
    VGPU_PHASE_OPEN,   /* a channel, for the driver's version; a forked child opens its own */
    VGPU_PHASE_READY,  /* cuInit was successful */
    VGPU_PHASE_FORKED, /* the child of an initialised process: no CUDA for it */
    VGPU_PHASE_OVER,   /* the process is ending */
};

struct vgpu_process {
    pthread_mutex_t lock; /* of opening and initialising */
    uint32_t phase;       /* enum vgpu_phase; atomic */
    pid_t owner;          /* the process that opened the channel */
    bool tried;           /* to open the channel; open_error is the outcome */
    CUresult open_error;
    struct vgpu_channel *channel;
    struct vgpu_device_info info; /* of device 0, the only one */
    bool priorities_known;        /* drivers tell them only when there is a context */
    struct vgpu_context *primary; /* of device 0; made by cuInit */

    uint32_t sticky;   /* CUresult after which nothing works in this process; atomic */
    uint32_t deferred; /* CUresult of an asynchronous call, for the next synchronisation; atomic */

    struct vgpu_objects objects;
    struct vgpu_ranges ranges;
    struct vgpu_ranges reservations; /* of addresses; what is mapped in them is in `ranges` */
    struct vgpu_device_pools pools;
    struct vgpu_freed freed;
    struct vgpu_ranges textures; /* by the driver's values, each a range of one; and surfaces: */
    struct vgpu_ranges surfaces; /* `owner` is the object */
    struct vgpu_upcalls upcalls;
    struct vgpu_user_object *gone_user_objects; /* list of destroyed ones; atomic */
    struct vgpu_arenas arenas;
    struct vgpu_team team;
    struct vgpu_captures captures;
    struct vgpu_registered registered;
    struct vgpu_mirrors mirrors;
    struct vgpu_shadow_runs shadow_runs;
    struct vgpu_tensor_maps tensor_maps;
    unsigned long long last_id; /* of contexts, streams and allocations: unique; atomic */

    pthread_mutex_t image_lock;    /* the worker assembles one image at a time */
    pthread_mutex_t download_lock; /* one thread at a time holds several staging chunks */
    pthread_mutex_t code_lock;     /* lists of functions, kernels and modules */
    pthread_mutex_t array_lock;    /* parts of arrays */
    pthread_mutex_t physical_lock; /* memory that is mapped, and where */
    pthread_mutex_t context_lock;  /* retaining, releasing, creating and destroying contexts */

    bool launch_blocking; /* CUDA_LAUNCH_BLOCKING */
    bool trace;           /* VGPU_TRACE=summary */
    uint32_t unasked;     /* of late, records of events that only streams waited for, atomic */
    uint64_t entered;     /* functions of CUDA, if they are traced; atomic */
    CUmoduleLoadingMode loading;
};

extern struct vgpu_process vgpu_the_process; /* for vgpu_process alone */

static inline struct vgpu_process *vgpu_process(void)
{
    return &vgpu_the_process;
}

/** The error of a process that is not in VGPU_PHASE_READY. */
CUresult vgpu_process_unready(const struct vgpu_process *process);

/** CUDA_SUCCESS after cuInit, else NOT_INITIALIZED or DEINITIALIZED. */
static inline CUresult vgpu_process_ready(const struct vgpu_process *process)
{
    /* acquire: pairs with the store of the phase, after all that the phase promises was set up */
    return __atomic_load_n(&process->phase, __ATOMIC_ACQUIRE) == VGPU_PHASE_READY
               ? CUDA_SUCCESS
               : vgpu_process_unready(process);
}

/**
 * Collects asynchronous errors from the channel. Returns the sticky error if there is one, or the
 * error that the channel was lost with; others are kept for vgpu_process_take_deferred.
 */
CUresult vgpu_process_collect(struct vgpu_process *process);

/** The first asynchronous error that is not sticky since the last call, or CUDA_SUCCESS. */
CUresult vgpu_process_take_deferred(struct vgpu_process *process);

/** Passes a call's result on; remembers it if it is a sticky error. */
CUresult vgpu_process_note(struct vgpu_process *process, CUresult error);

/** A number that nothing else in this process has or had. */
unsigned long long vgpu_process_new_id(struct vgpu_process *process);

/** An attribute of device 0; 0 if the driver does not know it. */
static inline int vgpu_process_attribute(const struct vgpu_process *process,
                                         CUdevice_attribute attribute)
{
    return process->info.attribute[attribute];
}

#endif
