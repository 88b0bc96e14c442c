/* SPDX-License-Identifier: MIT */
/**
 * The epoll loop and its timers. One thread. A callback may remove any source, its own included:
 * once removed, a source is not called again, and its memory is the owner's to free.
 */
#ifndef VGPU_MEDIATOR_LOOP_H
#define VGPU_MEDIATOR_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct vgpu_loop;

struct vgpu_source {
    int fd; /* the owner's to close, after the removal; -1: not in use */
    void (*ready)(struct vgpu_source *source, uint32_t events);
};

struct vgpu_timer {
    struct vgpu_source source;
    void (*expired)(struct vgpu_timer *timer);
};

/** The structure of type `type` whose member `member` is `pointer`. */
#define vgpu_container(pointer, type, member)                                                      \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

int vgpu_loop_create(struct vgpu_loop **out);
void vgpu_loop_destroy(struct vgpu_loop *loop);

int vgpu_loop_add(struct vgpu_loop *loop, struct vgpu_source *source, uint32_t events);
int vgpu_loop_change(struct vgpu_loop *loop, struct vgpu_source *source, uint32_t events);
/** Takes the source out and closes its descriptor; nothing happens if it is not in use. */
void vgpu_loop_remove(struct vgpu_loop *loop, struct vgpu_source *source);

/** What `from` stood for is `to`'s from now on, which waits for `events`; `from` is not in use any
 * more. Without a loop only the descriptor changes hands. */
void vgpu_loop_move(struct vgpu_loop *loop, struct vgpu_source *from, struct vgpu_source *to,
                    uint32_t events);

/** Calls `expired` once, `milliseconds` from now, unless the timer is stopped before. */
int vgpu_timer_start(struct vgpu_loop *loop, struct vgpu_timer *timer, uint32_t milliseconds);
void vgpu_timer_stop(struct vgpu_loop *loop, struct vgpu_timer *timer);

/** Runs until vgpu_loop_stop(). Returns 0 or a negative errno. */
int vgpu_loop_run(struct vgpu_loop *loop);
void vgpu_loop_stop(struct vgpu_loop *loop);

/** Nanoseconds of the monotonic clock. */
uint64_t vgpu_loop_now(void);

#endif
