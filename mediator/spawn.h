/* SPDX-License-Identifier: MIT */
/** Worker processes: start, talk, kill, reap (protocol/worker.h). */
#ifndef VGPU_MEDIATOR_SPAWN_H
#define VGPU_MEDIATOR_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mediator/images.h"
#include "mediator/loop.h"
#include "protocol/worker.h"

/** How a worker ended. */
struct vgpu_worker_end {
    bool signaled;
    int status; /* exit status, or the signal's number */
};

/** What a worker is started with; descriptors stay the caller's. */
struct vgpu_worker_start {
    const char *path;   /* of vgpu-worker */
    const char *driver; /* what it opens */
    int error_output;   /* its stderr until it serves; -1: the mediator's */
    bool is_spare;      /* see struct vgpu_worker_page */
};

/** Whom a worker serves; descriptors stay the caller's. */
struct vgpu_worker_service {
    const char *name; /* of VM and program */
    int ledger;
    int window; /* -1, and the rest unused: a worker for primitives */
    int doorbell;
    int interrupt;
    const struct vgpu_images *images; /* NULL: no cache */
    uint32_t channel;
    uint64_t offset;
    uint64_t size;
    uint32_t lease;    /* enum vgpu_lease_state, to begin with */
    uint64_t watchdog; /* nanoseconds that a piece of work may take */
};

struct vgpu_worker {
    struct vgpu_loop *loop;    /* NULL: whoever started it waits by itself */
    struct vgpu_source exit;   /* pidfd; -1: no process */
    struct vgpu_source socket; /* our end; -1: closed */
    pid_t pid;
    struct vgpu_worker_page *page; /* mapped from start to release */
    /** It has ended and was reaped; its page is still there. May release it. */
    void (*ended)(struct vgpu_worker *worker, const struct vgpu_worker_end *end);
    /** A message of valid length came. NULL: this worker has nothing to say. */
    void (*received)(struct vgpu_worker *worker, const struct vgpu_worker_message *message);
};

/** Once, before anything else: a worker that does not run. */
void vgpu_worker_init(struct vgpu_worker *worker);

/** Starts a process; with a loop, `ended` is called when it ends. Returns 0 or a negative errno. */
int vgpu_worker_run(struct vgpu_worker *worker, struct vgpu_loop *loop,
                    const struct vgpu_worker_start *start);

/** The worker serves from now on; once. If the driver is not there yet, it begins when it is.
 *  Returns 0 or a negative errno: the worker is of no use then. */
int vgpu_worker_serve(struct vgpu_worker *worker, const struct vgpu_worker_service *service);

/** Moves a worker that runs to a place where none does; its callbacks are the new place's. `loop`:
 *  that calls them from now on, if it had none. Returns 0 or a negative errno. */
int vgpu_worker_move(struct vgpu_worker *from, struct vgpu_worker *to, struct vgpu_loop *loop);

/** Sends without waiting. Returns 0 or a negative errno. */
int vgpu_worker_send(struct vgpu_worker *worker, enum vgpu_worker_op op, const void *data,
                     size_t length);

/** Takes one waiting message. Returns 0, -EAGAIN, -EPIPE (closed) or -EBADMSG. */
int vgpu_worker_receive(struct vgpu_worker *worker, struct vgpu_worker_message *message);

/** SIGKILL; the end comes to `ended` as any other. */
void vgpu_worker_kill(struct vgpu_worker *worker);

/** Reaps a worker that has ended or is about to; `ended` is not called. */
struct vgpu_worker_end vgpu_worker_wait(struct vgpu_worker *worker);

/** Kills, reaps and releases it; `ended` is not called. */
void vgpu_worker_end(struct vgpu_worker *worker);

/** Lets go of what is left of a worker that was reaped. */
void vgpu_worker_release(struct vgpu_worker *worker);

/** The status of a worker whose program could not be executed. */
#define VGPU_WORKER_NOT_EXECUTED 127

/** "was killed by signal 11 (Segmentation fault)" and the like. */
void vgpu_worker_describe_end(const struct vgpu_worker *worker, const struct vgpu_worker_end *end,
                              char *text, size_t size);

#endif
