/* SPDX-License-Identifier: MIT */
/** What channel.c, wait.c and fence.c share; nobody else includes this. */
#ifndef VGPU_GUEST_CHANNEL_PRIVATE_H
#define VGPU_GUEST_CHANNEL_PRIVATE_H

#include <pthread.h>

#include "guest/channel/channel.h"
#include "guest/channel/trace.h"
#include "guest/channel/transport.h"
#include "protocol/crowd.h"
#include "protocol/ring.h"

/** Threads that sleep until the host interrupts. One of them listens to the transport at a time and
 *  wakes the others; `wakes` counts, so that none sleeps through what happened before it did. */
struct vgpu_sleepers {
    pthread_mutex_t lock;
    pthread_cond_t woken;
    uint32_t count;
    uint32_t wakes;
    bool listening;
};

#define VGPU_CACHE_LINE 64

struct vgpu_chunk {
    bool taken;
    const void *owner;    /* for whom it was taken last */
    bool fenced;          /* the GPU has it until its fence reaches `value` */
    uint32_t value;       /* given with the last take */
    uint64_t returned_at; /* order of puts: the oldest is the first to be free */
};

struct vgpu_channel {
    struct vgpu_transport *transport;
    struct vgpu_channel_header *header; /* the extent */
    struct vgpu_channel_entry *entry;
    uint32_t number;
    uint32_t key;
    uint32_t generation;
    CUresult lost; /* atomic; CUDA_SUCCESS while the channel lives */

    /* Order of records; guards what follows it. Each on lines of its own: threads that wait for the
     * lock, or only look at the channel, do not take what its holder writes from it. */
    _Alignas(VGPU_CACHE_LINE) pthread_mutex_t producer;
    _Alignas(VGPU_CACHE_LINE) struct vgpu_ring_producer ring;
    uint32_t sequence;
    struct vgpu_trace trace;

    pthread_mutex_t slots_lock;
    pthread_cond_t slot_free;
    uint64_t slots; /* bit set: free */

    void (*before_call)(struct vgpu_channel *channel); /* NULL: nothing */
    bool (*when_busy)(struct vgpu_channel *channel);   /* NULL: nothing */

    struct vgpu_sleepers sleepers;
    bool few_cores;    /* a spinning thread keeps its peer from running */
    uint32_t spinners; /* atomic: threads that spin now */
    uint32_t spinners_most;
    uint32_t waiting; /* atomic: those that the worker knows of */
    struct vgpu_crowd crowd;
    uint32_t spin_credit; /* atomic, 0..VGPU_SPIN_CREDIT_MAX: whether spinning has paid lately */
    uint32_t latency[VGPU_LATENCY_BUCKETS]; /* atomic; the window's copy is only written */

    pthread_mutex_t fences_lock;
    uint64_t fences[VGPU_FENCES / 64]; /* bit set: taken */
    uint32_t fence_hint;               /* word to search first */
    uint32_t fences_free;

    pthread_mutex_t chunks_lock;
    pthread_cond_t chunk_free;
    struct vgpu_chunk chunks[VGPU_STAGING_CHUNKS];
    uint64_t returns;
};

#define VGPU_SPIN_CREDIT_MAX 16u

static inline uint8_t *vgpu_channel_extent(struct vgpu_channel *channel)
{
    return (uint8_t *)channel->header;
}

/** What a wait is for: true when it has come. Called often; must not block. */
typedef bool vgpu_condition(struct vgpu_channel *channel, void *argument);

enum vgpu_wait {
    VGPU_WAIT_WORK,   /* a reply or a fence */
    VGPU_WAIT_UPCALL, /* a function of the program that is due: not the program's own thread */
    /* These two are polled: the host raises no interrupt for them. */
    VGPU_WAIT_ROOM,      /* in the ring, which is full */
    VGPU_WAIT_ADMISSION, /* of another call, where the VM's are limited */
};

/** Spins, then sleeps, until `condition` or until the channel is lost (then its error). */
CUresult vgpu_channel_wait(struct vgpu_channel *channel, vgpu_condition *condition, void *argument,
                           enum vgpu_wait kind);
void vgpu_sleepers_init(struct vgpu_channel *channel);

/** Monotonic nanoseconds. */
uint64_t vgpu_channel_clock(void);
/** Counts a round trip that began at `start`. */
void vgpu_channel_measured(struct vgpu_channel *channel, uint64_t start);

/** The error of a channel known to be lost (or of a forked child), without looking at the window.
 */
CUresult vgpu_channel_known_lost(struct vgpu_channel *channel);

void vgpu_fences_init(struct vgpu_channel *channel);

#endif
