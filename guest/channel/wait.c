/* SPDX-License-Identifier: MIT */
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "guest/channel/channel_private.h"
#include "interop/thread.h"
#include "protocol/latency.h"

/* Where a processor is free for it: a sleeper hears some 30 to 60 us late, which is much of such a
 * wait. NVIDIA's driver spins through all waits, however long. */
#define SPIN_NANOSECONDS 2000000u
#define SPIN_ADMISSION   400000u   /* the little that is let in at a time may soon be done */
#define SPIN_ROOM        20000u    /* the worker has a whole ring to do till then */
#define SPIN_SILENTLY    100000u   /* then the worker is told to stay awake, too */
#define SPIN_FEW_CORES   40000u    /* about two round trips of a small call */
#define SPIN_CAUTIOUS    5000u     /* while nothing has come soon of late */
#define SPIN_ALONE       50000u    /* then the processor is offered to others between looks */
#define SPIN_CHECKS      32u       /* between looks at the clock */
#define SLEEP_LEAST      1000000u  /* ns, where an interrupt wakes us before */
#define SLEEP_MOST       20000000u /* ns; also how late a lost channel is noticed */
#define POLL_LEAST       20000u
#define POLL_MOST        1000000u

uint64_t vgpu_channel_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void vgpu_channel_measured(struct vgpu_channel *channel, uint64_t start)
{
    uint32_t bucket = vgpu_latency_bucket(vgpu_channel_clock() - start);
    /* Counted here, because a locked instruction on a device's memory is slow; relaxed: a number.
     */
    uint32_t count = __atomic_add_fetch(&channel->latency[bucket], 1, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->header->latency[bucket], count, __ATOMIC_RELAXED);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void vgpu_sleepers_init(struct vgpu_channel *channel)
{
    struct vgpu_sleepers *sleepers = &channel->sleepers;
    pthread_mutex_init(&sleepers->lock, NULL);
    pthread_cond_init(&sleepers->woken, NULL);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    channel->few_cores = processors <= 2;
    channel->spinners_most = processors > 2 ? (uint32_t)processors / 2 : 1;
    channel->spin_credit = VGPU_SPIN_CREDIT_MAX;
}

static uint64_t spin_time(const struct vgpu_channel *channel, enum vgpu_wait kind)
{
    if (kind == VGPU_WAIT_ROOM)
        return SPIN_ROOM;
    if (channel->few_cores)
        return SPIN_FEW_CORES;
    return kind == VGPU_WAIT_ADMISSION ? SPIN_ADMISSION : SPIN_NANOSECONDS;
}

/* How long spinning is likely to be worth it, and leaves processors for those who compute. */
static uint64_t spin_limit(const struct vgpu_channel *channel, enum vgpu_wait kind,
                           uint32_t spinners)
{
    if (spinners > channel->spinners_most)
        return SPIN_CAUTIOUS;
    if (kind == VGPU_WAIT_WORK && !__atomic_load_n(&channel->spin_credit, __ATOMIC_RELAXED))
        return SPIN_CAUTIOUS;
    return spin_time(channel, kind);
}

/* Who waits will most probably send something as soon as that is over. Relaxed: a hint. */
static void tell_waiting(struct vgpu_channel *channel, uint32_t change)
{
    uint32_t count = __atomic_add_fetch(&channel->waiting, change, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->header->guest_waits, count, __ATOMIC_RELAXED);
}

/* A process and its worker are two busy threads: where more of these are awake than there are
 * processors, one that spins keeps another from what it waits for. Where nobody wants
 * the processor, the offer costs less than a microsecond, of a wait that is long already. */
static bool comes_soon(struct vgpu_channel *channel, vgpu_condition *condition, void *argument,
                       uint64_t waited)
{
    uint32_t checks = channel->few_cores ? 1 : SPIN_CHECKS;
    for (uint32_t i = 0; i < checks; i++) {
        if (condition(channel, argument))
            return true;
        relax();
    }
    if (channel->few_cores || waited > SPIN_ALONE)
        sched_yield();
    return false;
}

static bool spin(struct vgpu_channel *channel, vgpu_condition *condition, void *argument,
                 uint64_t limit)
{
    uint64_t start = vgpu_channel_clock(), waited = 0;
    bool told = false, came;
    while (!(came = comes_soon(channel, condition, argument, waited)) && waited < limit) {
        uint64_t before = waited;
        waited = vgpu_channel_clock() - start;
        vgpu_crowd_offered(&channel->crowd, waited - before);
        if (!told && waited > SPIN_SILENTLY) {
            tell_waiting(channel, 1);
            told = true;
        }
    }
    if (told)
        tell_waiting(channel, UINT32_MAX); /* one less */
    return came;
}

/* It has come. What counts is when, not whether we were awake: who sleeps too soon has to find out.
 * Relaxed: a number lost among threads is no matter. */
static void learn(struct vgpu_channel *channel, enum vgpu_wait kind, uint64_t start)
{
    uint32_t credit = __atomic_load_n(&channel->spin_credit, __ATOMIC_RELAXED);
    if (kind != VGPU_WAIT_WORK)
        return;
    /* Twice that: a sleeper knows late of what came while others spin. */
    bool soon = vgpu_channel_clock() - start < 2 * spin_time(channel, kind);
    if (soon && credit < VGPU_SPIN_CREDIT_MAX)
        __atomic_store_n(&channel->spin_credit, credit + 1, __ATOMIC_RELAXED);
    else if (!soon && credit > 0)
        __atomic_store_n(&channel->spin_credit, credit - 1, __ATOMIC_RELAXED);
}

/* Announces a sleeper to the host; what happens from now on is counted beyond the returned number.
 */
static uint32_t sleepers_enter(struct vgpu_channel *channel)
{
    struct vgpu_sleepers *sleepers = &channel->sleepers;
    pthread_mutex_lock(&sleepers->lock);
    sleepers->count++;
    /* seq_cst: pairs with the worker, which writes the reply and then reads guest_sleeps */
    __atomic_store_n(&channel->header->guest_sleeps, 1, __ATOMIC_SEQ_CST);
    uint32_t seen = sleepers->wakes;
    pthread_mutex_unlock(&sleepers->lock);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return seen;
}

static void sleepers_leave(struct vgpu_channel *channel)
{
    struct vgpu_sleepers *sleepers = &channel->sleepers;
    pthread_mutex_lock(&sleepers->lock);
    if (--sleepers->count == 0)
        __atomic_store_n(&channel->header->guest_sleeps, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&sleepers->lock);
}

/* Sleeps until something happened after `seen` was taken, or the time is over. */
static void sleepers_sleep(struct vgpu_channel *channel, uint32_t seen, uint64_t nanoseconds)
{
    struct vgpu_sleepers *sleepers = &channel->sleepers;
    pthread_mutex_lock(&sleepers->lock);
    while (sleepers->wakes == seen && sleepers->listening)
        vgpu_thread_wait_second(&sleepers->woken, &sleepers->lock);
    if (sleepers->wakes == seen) {
        sleepers->listening = true;
        pthread_mutex_unlock(&sleepers->lock);
        channel->transport->operations->sleep(channel->transport, nanoseconds, true);
        pthread_mutex_lock(&sleepers->lock);
        sleepers->listening = false;
        sleepers->wakes++;
        pthread_cond_broadcast(&sleepers->woken);
    }
    pthread_mutex_unlock(&sleepers->lock);
}

/* Waiting costs at most an eighth more than the work took. */
static uint64_t nap(uint64_t waited, uint64_t least, uint64_t most)
{
    uint64_t time = waited / 8;
    return time < least ? least : time > most ? most : time;
}

/* Returns what the condition was, if it was looked at: one that has come is not to be asked again,
 * as it may have done something. */
static bool doze(struct vgpu_channel *channel, vgpu_condition *condition, void *argument,
                 enum vgpu_wait kind, uint64_t waited)
{
    struct vgpu_transport *transport = channel->transport;
    bool polled = kind == VGPU_WAIT_ROOM || kind == VGPU_WAIT_ADMISSION || !transport->interrupts;
    uint64_t time =
        polled ? nap(waited, POLL_LEAST, POLL_MOST) : nap(waited, SLEEP_LEAST, SLEEP_MOST);
    /* A worker that is busy shall not look around for who waits for nothing but room. */
    if (kind == VGPU_WAIT_ROOM || !transport->interrupts) {
        transport->operations->sleep(transport, time, false);
        return false;
    }
    uint32_t seen = sleepers_enter(channel);
    bool came = condition(channel, argument);
    if (!came)
        sleepers_sleep(channel, seen, time);
    sleepers_leave(channel);
    return came;
}

CUresult vgpu_channel_wait(struct vgpu_channel *channel, vgpu_condition *condition, void *argument,
                           enum vgpu_wait kind)
{
    uint64_t start = vgpu_channel_clock();
    /* relaxed: it only says how many do the same */
    uint32_t spinners = __atomic_add_fetch(&channel->spinners, 1, __ATOMIC_RELAXED);
    bool came = vgpu_crowd_begin(&channel->crowd)
                    ? condition(channel, argument)
                    : spin(channel, condition, argument, spin_limit(channel, kind, spinners));
    __atomic_sub_fetch(&channel->spinners, 1, __ATOMIC_RELAXED);
    CUresult lost = CUDA_SUCCESS;
    /* A thread that is cancelled in its sleep would still be listened to, and hold locks. */
    int cancelling = vgpu_thread_keep();
    while (!came && lost == CUDA_SUCCESS) {
        lost = vgpu_channel_alive(channel);
        /* Looked at after the loss was: what came before it counts. */
        came = condition(channel, argument);
        if (!came && lost == CUDA_SUCCESS)
            came = doze(channel, condition, argument, kind, vgpu_channel_clock() - start);
    }
    vgpu_thread_let_cancel(cancelling);
    if (!came)
        return lost;
    learn(channel, kind, start);
    return CUDA_SUCCESS;
}
