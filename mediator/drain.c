/* SPDX-License-Identifier: MIT */
#include "mediator/drain.h"

#include <stddef.h>

#include "mediator/log.h"
#include "mediator/session.h"

#define STEP_MILLISECONDS 100
#define SECOND            1000000000u

/** A worker has been idle since the last step: nothing is under way, waits for the GPU, or came. */
static bool vgpu_drain_is_quiet(struct vgpu_channel *channel)
{
    const struct vgpu_worker_page *page = channel->worker.page;
    uint64_t records = __atomic_load_n(&page->calls_total, __ATOMIC_RELAXED);
    bool moved = records != channel->drained;

    channel->drained = records;
    return !moved && __atomic_load_n(&page->watch.call, __ATOMIC_RELAXED) == 0 &&
           __atomic_load_n(&page->watch.since, __ATOMIC_RELAXED) == 0 &&
           __atomic_load_n(&page->lease.wants, __ATOMIC_RELAXED) == 0;
}

static void vgpu_drain_name(const struct vgpu_channel *channel)
{
    vgpu_log_client(VGPU_LOG_WARNING,
                    "VM %s: channel %u of %s (process %u) still has work, and loses it",
                    channel->session->vm->name, channel->index, channel->program, channel->process);
}

/** How many channels have something to do, each with a line of the log if they are `named`;
 *  `total`: how many there are. */
static uint32_t vgpu_drain_count(const struct vgpu_mediator *mediator, bool named, uint32_t *total)
{
    uint32_t busy = 0;

    *total = 0;
    for (struct vgpu_session *session = mediator->sessions; session; session = session->next) {
        if (session->state != VGPU_SESSION_ATTACHED)
            continue;
        for (uint32_t i = 0; i < session->hello.channels; i++) {
            struct vgpu_channel *channel = session->channels[i];

            if (!channel || channel->life != VGPU_CHANNEL_ALIVE)
                continue;
            ++*total;
            if (vgpu_drain_is_quiet(channel))
                continue;
            busy++;
            if (named)
                vgpu_drain_name(channel);
        }
    }
    return busy;
}

static void vgpu_drain_step(struct vgpu_timer *timer)
{
    struct vgpu_drain *drain = vgpu_container(timer, struct vgpu_drain, timer);
    bool is_late = vgpu_loop_now() >= drain->end;
    uint32_t total, busy = vgpu_drain_count(drain->mediator, is_late, &total);

    vgpu_timer_stop(drain->mediator->loop, timer);
    if (busy && !is_late) {
        vgpu_timer_start(drain->mediator->loop, timer, STEP_MILLISECONDS);
        return;
    }
    if (busy)
        vgpu_log(VGPU_LOG_WARNING,
                 "%u of %u channels lost their work; stop-timeout= would give them longer", busy,
                 total);
    drain->drained(drain);
}

void vgpu_drain_start(struct vgpu_drain *drain, struct vgpu_mediator *mediator, uint32_t seconds)
{
    uint32_t total;

    drain->mediator = mediator;
    drain->end = vgpu_loop_now() + (uint64_t)seconds * SECOND;
    drain->timer.expired = vgpu_drain_step;
    drain->timer.source.fd = -1;
    mediator->draining = true;
    vgpu_drain_count(mediator, false, &total);
    if (total == 0 || seconds == 0)
        drain->drained(drain);
    else
        vgpu_timer_start(mediator->loop, &drain->timer, STEP_MILLISECONDS);
}

void vgpu_drain_stop(struct vgpu_drain *drain)
{
    if (drain->mediator)
        vgpu_timer_stop(drain->mediator->loop, &drain->timer);
}
