/* SPDX-License-Identifier: MIT */
#include "mediator/loop.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64

struct vgpu_loop {
    int epoll;
    bool stopped;
    struct epoll_event events[BATCH];
    int count; /* of events that are being worked through */
};

int vgpu_loop_create(struct vgpu_loop **out)
{
    struct vgpu_loop *loop = calloc(1, sizeof(*loop));

    if (!loop)
        return -ENOMEM;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        int error = -errno;
        free(loop);
        return error;
    }
    *out = loop;
    return 0;
}

void vgpu_loop_destroy(struct vgpu_loop *loop)
{
    close(loop->epoll);
    free(loop);
}

int vgpu_loop_add(struct vgpu_loop *loop, struct vgpu_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

int vgpu_loop_change(struct vgpu_loop *loop, struct vgpu_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void vgpu_loop_remove(struct vgpu_loop *loop, struct vgpu_source *source)
{
    if (source->fd < 0)
        return;
    /* Explicitly: a child between fork and exec may hold the description, and close would not do.
     */
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
    close(source->fd);
    source->fd = -1;
    for (int i = 0; i < loop->count; i++) {
        if (loop->events[i].data.ptr == source)
            loop->events[i].data.ptr = NULL;
    }
}

void vgpu_loop_move(struct vgpu_loop *loop, struct vgpu_source *from, struct vgpu_source *to,
                    uint32_t events)
{
    *to = *from;
    from->fd = -1;
    if (!loop || to->fd < 0)
        return;
    vgpu_loop_change(loop, to, events);
    for (int i = 0; i < loop->count; i++) {
        if (loop->events[i].data.ptr == from)
            loop->events[i].data.ptr = to;
    }
}

static void vgpu_timer_ready(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_timer *timer = vgpu_container(source, struct vgpu_timer, source);
    uint64_t count;

    (void)events;
    if (read(source->fd, &count, sizeof(count)) == sizeof(count))
        timer->expired(timer);
}

int vgpu_timer_start(struct vgpu_loop *loop, struct vgpu_timer *timer, uint32_t milliseconds)
{
    struct itimerspec when = {.it_value = {.tv_sec = milliseconds / 1000,
                                           .tv_nsec = (long)(milliseconds % 1000) * 1000000}};
    int error;

    vgpu_timer_stop(loop, timer);
    timer->source.ready = vgpu_timer_ready;
    timer->source.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer->source.fd < 0)
        return -errno;
    error = timerfd_settime(timer->source.fd, 0, &when, NULL) < 0 ? -errno : 0;
    if (!error)
        error = vgpu_loop_add(loop, &timer->source, EPOLLIN);
    if (error)
        vgpu_timer_stop(loop, timer);
    return error;
}

void vgpu_timer_stop(struct vgpu_loop *loop, struct vgpu_timer *timer)
{
    vgpu_loop_remove(loop, &timer->source);
}

int vgpu_loop_run(struct vgpu_loop *loop)
{
    while (!loop->stopped) {
        int count = epoll_wait(loop->epoll, loop->events, BATCH, -1);

        if (count < 0 && errno != EINTR)
            return -errno;
        loop->count = count < 0 ? 0 : count;
        for (int i = 0; i < loop->count; i++) {
            struct vgpu_source *source = loop->events[i].data.ptr;

            if (source)
                source->ready(source, loop->events[i].events);
        }
        loop->count = 0;
    }
    return 0;
}

void vgpu_loop_stop(struct vgpu_loop *loop)
{
    loop->stopped = true;
}

uint64_t vgpu_loop_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
