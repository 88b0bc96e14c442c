/* SPDX-License-Identifier: MIT */
/**
 * Functions of the program that the driver runs when their turn comes: host functions, stream
 * callbacks, host nodes of graphs, destructors of user objects. Each gets an id, which is what the
 * host is told; one thread of this process runs them, one after the other. It is started with the
 * first of them and sleeps while none can come. Any thread may call these.
 */
#ifndef VGPU_GUEST_UPCALL_H
#define VGPU_GUEST_UPCALL_H

#include "interop/driver_api.h"
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_channel;

enum vgpu_upcall_use {
    VGPU_UPCALL_SOON,     /* once, as soon as a stream gets there: it is waited for */
    VGPU_UPCALL_SOME_DAY, /* once, who knows when: it is looked for now and then */
    VGPU_UPCALL_OFTEN,    /* until the host says that it is gone: it is looked for now and then */
};

struct vgpu_upcall {
    CUhostFn host;             /* or, if it is NULL, */
    CUstreamCallback callback; /* of `stream`; both NULL: the id is free */
    CUstream stream;           /* as the program named it */
    void *data;
    enum vgpu_upcall_use use;
};

/** Of a process; zero and its lock initialised to begin with. */
struct vgpu_upcalls {
    pthread_mutex_t lock;      /* of all but `stop` */
    pthread_cond_t freed;      /* an id */
    pthread_cond_t changed;    /* there is more to wait for, or to do at once, or `stop` */
    struct vgpu_upcall *table; /* by id */
    uint32_t *free;            /* ids, a stack */
    uint32_t room, free_count;
    uint32_t soon; /* how many of VGPU_UPCALL_SOON there are */
    bool started;  /* the thread */
    bool idle;     /* it holds nothing but the lock's place in a queue */
    bool stop;     /* atomic */
    uint64_t nap;  /* nanoseconds until the next look now and then */
    pthread_t thread;
};

/**
 * Gives an id to a function; starts the thread. The id of one that runs once is free when it has
 * run. With VGPU_UPCALLS_MAX of them, VGPU_UPCALL_SOON waits while others of its kind are due.
 * CUDA_ERROR_OUT_OF_MEMORY: no memory or no id.
 */
CUresult vgpu_upcall_register(const struct vgpu_upcall *upcall, uint32_t *id);

/** Copies out what an id stands for. False: nothing. */
bool vgpu_upcall_look_up(uint32_t id, struct vgpu_upcall *upcall);

/** Frees an id that the host was not told, or will not use. */
void vgpu_upcall_forget(uint32_t id);

/** Ids; zero to begin with. */
struct vgpu_upcall_list {
    uint32_t *ids;
    uint32_t count, room;
};

/** False: no memory. */
bool vgpu_upcall_list_add(struct vgpu_upcall_list *list, uint32_t id);
/** Frees all ids of a list, and the list. */
void vgpu_upcall_list_forget(struct vgpu_upcall_list *list);

/** Something was sent that may bring functions that are only looked for now and then (a launch of a
 *  graph with host nodes, the release of a user object or of a graph): looks at once, and more
 *  often for a while. */
void vgpu_upcall_hurry(void);

/** The process ends: ends the thread, unless it is busy. */
void vgpu_upcall_stop(void);

#endif
