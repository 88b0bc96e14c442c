/* SPDX-License-Identifier: MIT */
#include "mediator/watchdog.h"

#include <stdio.h>

#include "mediator/session.h"
#include "protocol/calls.h"

#define LOOK_MILLISECONDS 250
#define REST_MILLISECONDS 1000 /* if nothing was under way: an idle host shall sleep */
#define SECOND            1000000000u

static bool vgpu_watchdog_compiles(uint32_t call)
{
    return call == VGPU_CALL_cuModuleLoadData || call == VGPU_CALL_cuLibraryLoadData ||
           call == VGPU_CALL_cuLinkAddData || call == VGPU_CALL_cuLinkComplete;
}

/** The worker says for how long, and a page can say anything: it harms only itself. */
static bool vgpu_watchdog_gpu(const struct vgpu_worker_watch *watch, uint64_t limit, char *why,
                              size_t size)
{
    uint64_t since = __atomic_load_n(&watch->since, __ATOMIC_RELAXED);
    uint64_t looked = __atomic_load_n(&watch->looked, __ATOMIC_RELAXED);
    uint64_t patience = __atomic_load_n(&watch->patience, __ATOMIC_RELAXED);

    if (patience < 1 || patience > VGPU_WATCH_PATIENCE)
        patience = 1;
    if (since == 0 || looked < since || looked - since <= limit * patience)
        return false;
    snprintf(why, size, "work on the GPU did not finish within %llu s",
             (unsigned long long)(limit * patience / SECOND));
    return true;
}

bool vgpu_watchdog_look(struct vgpu_watchdog *watchdog, const struct vgpu_worker_page *page,
                        uint64_t limit, uint64_t now, char *why, size_t size)
{
    uint64_t records = __atomic_load_n(&page->calls_total, __ATOMIC_RELAXED);
    uint32_t call = __atomic_load_n(&page->watch.call, __ATOMIC_RELAXED);

    if (call == 0 || call != watchdog->call || records != watchdog->records) {
        *watchdog = (struct vgpu_watchdog){.records = records, .call = call, .since = now};
        return vgpu_watchdog_gpu(&page->watch, limit, why, size);
    }
    uint64_t most = vgpu_watchdog_compiles(call) ? limit * VGPU_WATCH_PATIENCE : limit;
    if (now - watchdog->since <= most)
        return false;
    const char *name = vgpu_call_name(call);
    snprintf(why, size, "the driver did not come back from %s within %llu s",
             name ? name : "an unknown call", (unsigned long long)(most / SECOND));
    return true;
}

static uint64_t vgpu_watchdog_limit(const struct vgpu_vm *vm)
{
    return vm->limits.watchdog * SECOND;
}

static bool vgpu_watchdog_is_busy(const struct vgpu_worker_watch *watch)
{
    return __atomic_load_n(&watch->since, __ATOMIC_RELAXED) != 0 ||
           __atomic_load_n(&watch->call, __ATOMIC_RELAXED) != 0;
}

/** What is to be seen of all workers. */
struct vgpu_watchdog_round {
    uint64_t now;
    bool alive; /* there is one */
    bool busy;  /* something is under way */
};

static void vgpu_watchdog_session(struct vgpu_session *session, struct vgpu_watchdog_round *round)
{
    for (uint32_t i = 0; i < session->hello.channels; i++) {
        struct vgpu_channel *channel = session->channels[i];

        if (!channel || channel->life != VGPU_CHANNEL_ALIVE)
            continue;
        round->alive = true;
        round->busy |= vgpu_watchdog_is_busy(&channel->worker.page->watch);
        if (channel->verdict == VGPU_VERDICT_NONE &&
            vgpu_watchdog_look(&channel->watchdog, channel->worker.page,
                               vgpu_watchdog_limit(session->vm), round->now, channel->why,
                               sizeof(channel->why)))
            vgpu_channel_condemn(channel, VGPU_VERDICT_HUNG);
    }
}

static void vgpu_watchdog_due(struct vgpu_timer *timer)
{
    struct vgpu_mediator *mediator = vgpu_container(timer, struct vgpu_mediator, watchdog);
    struct vgpu_watchdog_round round = {.now = vgpu_loop_now()};

    vgpu_timer_stop(mediator->loop, timer);
    for (struct vgpu_session *session = mediator->sessions; session; session = session->next) {
        if (session->state == VGPU_SESSION_ATTACHED)
            vgpu_watchdog_session(session, &round);
    }
    if (round.alive)
        vgpu_timer_start(mediator->loop, timer, round.busy ? LOOK_MILLISECONDS : REST_MILLISECONDS);
}

void vgpu_watchdog_start(struct vgpu_mediator *mediator)
{
    mediator->watchdog.expired = vgpu_watchdog_due;
    if (mediator->watchdog.source.fd < 0)
        vgpu_timer_start(mediator->loop, &mediator->watchdog, LOOK_MILLISECONDS);
}

void vgpu_watchdog_stop(struct vgpu_mediator *mediator)
{
    vgpu_timer_stop(mediator->loop, &mediator->watchdog);
}

void vgpu_watchdog_set(struct vgpu_mediator *mediator, const struct vgpu_vm *vm)
{
    for (struct vgpu_session *session = mediator->sessions; session; session = session->next) {
        if (session->vm != vm || session->state != VGPU_SESSION_ATTACHED)
            continue;
        for (uint32_t i = 0; i < session->hello.channels; i++) {
            const struct vgpu_channel *channel = session->channels[i];

            if (channel && channel->life != VGPU_CHANNEL_DEAD)
                __atomic_store_n(&channel->worker.page->watch.limit, vgpu_watchdog_limit(vm),
                                 __ATOMIC_RELAXED);
        }
    }
}
