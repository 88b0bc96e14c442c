/* SPDX-License-Identifier: MIT */
#include "mediator/gpu_time.h"

#include <string.h>

#include "mediator/session.h"

#define BATCH            256u /* slots at a time */
#define REST_NANOSECONDS 100000000u

/** Calls `visit` for all channels whose workers have not been reaped. */
static void vgpu_gpu_time_walk(const struct vgpu_mediator *mediator,
                               void (*visit)(struct vgpu_channel *channel, void *user), void *user)
{
    for (const struct vgpu_session *session = mediator->sessions; session;
         session = session->next) {
        for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++) {
            if (session->channels[i] && session->channels[i]->life != VGPU_CHANNEL_DEAD)
                visit(session->channels[i], user);
        }
    }
}

/** Slots first to first + count - 1, and what workers had of them together. */
struct vgpu_gpu_slots {
    uint64_t now;
    uint64_t first;
    uint32_t count;
    uint64_t sum[BATCH];
};

static uint64_t vgpu_gpu_time_since(const struct vgpu_channel *channel)
{
    /* Pairs with the worker's release in vgpu_busy_rest(). */
    return __atomic_load_n(&channel->worker.page->busy.since, __ATOMIC_ACQUIRE);
}

static void vgpu_gpu_time_sum(struct vgpu_channel *channel, void *user)
{
    struct vgpu_gpu_slots *slots = user;
    uint64_t since = vgpu_gpu_time_since(channel);

    for (uint32_t i = 0; i < slots->count; i++)
        slots->sum[i] +=
            vgpu_busy_read(&channel->worker.page->busy, since, slots->first + i, slots->now);
}

static void vgpu_gpu_time_share(struct vgpu_channel *channel, void *user)
{
    const struct vgpu_gpu_slots *slots = user;
    struct vgpu_gpu_share *share = &channel->gpu_share;
    uint64_t since = vgpu_gpu_time_since(channel);

    for (uint32_t i = 0; i < slots->count; i++) {
        uint64_t worked =
            vgpu_busy_read(&channel->worker.page->busy, since, slots->first + i, slots->now);
        /* It may have grown since it was summed. */
        uint64_t sum = slots->sum[i] > worked ? slots->sum[i] : worked;

        share->active = worked ? slots->now : share->active;
        share->worked += worked;
        share->shared +=
            sum > VGPU_BUSY_NANOSECONDS ? worked * VGPU_BUSY_NANOSECONDS / sum : worked;
    }
}

/** The share's part of what the page has measured beyond it. */
static uint64_t vgpu_gpu_time_take(struct vgpu_gpu_share *share, uint64_t measured)
{
    uint64_t grown = measured > share->measured ? measured - share->measured : 0;

    /* What is too much now may be of the slot that is not over. */
    grown = grown < share->worked ? grown : share->worked;
    if (grown == 0)
        return 0;
    uint64_t taken = (uint64_t)((__uint128_t)share->shared * grown / share->worked);
    share->measured += grown;
    share->worked -= grown;
    share->shared -= taken;
    return taken;
}

/** What was measured when its slots had been shared without it: all of it, as nobody knows better,
 *  but no more than the time since this was last asked. */
static uint64_t vgpu_gpu_time_rest(struct vgpu_gpu_share *share, uint64_t measured, uint64_t now)
{
    uint64_t left = measured > share->measured ? measured - share->measured : 0;
    uint64_t most = now - share->rested;

    *share = (struct vgpu_gpu_share){.measured = measured, .seen = measured, .rested = now};
    return left < most ? left : most;
}

static void vgpu_gpu_time_account(struct vgpu_channel *channel, void *user)
{
    const struct vgpu_gpu_slots *slots = user;
    struct vgpu_gpu_share *share = &channel->gpu_share;
    uint64_t since = vgpu_gpu_time_since(channel);
    uint64_t measured = __atomic_load_n(&channel->worker.page->gpu_nanoseconds, __ATOMIC_RELAXED);
    uint64_t *sum = &channel->session->vm->gpu_nanoseconds;

    if (share->rested == 0)
        share->rested = slots->now;
    if (since || measured != share->seen)
        share->active = slots->now;
    share->seen = measured;
    *sum += vgpu_gpu_time_take(share, measured);
    if (slots->now - share->active > REST_NANOSECONDS)
        *sum += vgpu_gpu_time_rest(share, measured, slots->now);
}

void vgpu_gpu_time_count(struct vgpu_mediator *mediator)
{
    struct vgpu_gpu_slots slots = {.now = vgpu_loop_now()};
    uint64_t end = slots.now >> VGPU_BUSY_SHIFT; /* the one that is not over */

    if (mediator->gpu_time_upto == end)
        return;
    if (mediator->gpu_time_upto + VGPU_BUSY_SLOTS <= end)
        mediator->gpu_time_upto = end - VGPU_BUSY_SLOTS + 1;
    for (slots.first = mediator->gpu_time_upto; slots.first < end; slots.first += slots.count) {
        slots.count = end - slots.first < BATCH ? (uint32_t)(end - slots.first) : BATCH;
        memset(slots.sum, 0, sizeof(slots.sum));
        vgpu_gpu_time_walk(mediator, vgpu_gpu_time_sum, &slots);
        vgpu_gpu_time_walk(mediator, vgpu_gpu_time_share, &slots);
    }
    mediator->gpu_time_upto = end;
    vgpu_gpu_time_walk(mediator, vgpu_gpu_time_account, &slots);
}

void vgpu_gpu_time_end(struct vgpu_mediator *mediator, struct vgpu_channel *channel)
{
    struct vgpu_gpu_share *share = &channel->gpu_share;
    struct vgpu_gpu_slots last;

    vgpu_gpu_time_count(mediator);
    last.now = vgpu_loop_now();
    last.first = mediator->gpu_time_upto;
    last.count = 1;
    last.sum[0] = 0;
    vgpu_gpu_time_share(channel, &last);
    vgpu_gpu_time_account(channel, &last);
    uint64_t in_flight = vgpu_gpu_time_since(channel) ? share->shared : 0;
    channel->session->vm->gpu_nanoseconds +=
        vgpu_gpu_time_rest(share, share->seen, last.now) + in_flight;
}
