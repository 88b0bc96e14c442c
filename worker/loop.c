/* SPDX-License-Identifier: MIT */
#include "worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/calls.h"
#include "protocol/ring.h"
#include "worker/admission.h"
#include "worker/context.h"
#include "worker/log.h"
#include "worker/primitive.h"
#include "worker/stream/usage.h"
#include "worker/worker.h"

enum {
    SPIN_NANOSECONDS =
        200000,             /* before sleeping, when nothing comes: waking up takes up to 70 us */
    SPIN_AWAITED = 2500000, /* as long as the guest is awake for what is under way */
    SPIN_FEW_CPUS = 5000,   /* where a spinning worker takes the guest's processor */
    SPIN_ALONE = 50000,     /* then the processor is offered to others between looks */
    SPIN_RARELY = 8,        /* a fraction: if it has not been of use lately */
    SPIN_CREDIT_MOST = 16,
    SETTLE_NANOSECONDS = 2000000,   /* for work that is done, not for work that goes on */
    LATE_NANOSECONDS = 20000,       /* from a look to the next: too late to know when work ended */
    TIDY_NANOSECONDS = 10000,       /* of quiet, before marks with events are placed */
    THOROUGH_NANOSECONDS = 1000000, /* between questions to the driver */
    SLEEP_LEAST = 20000,            /* while something is under way */
    SLEEP_MOST = 1000000,
    SLEEP_HUNG = 5000000,        /* where a bell wakes us: for faults, behind which none rings */
    SLEEP_MOST_AWAITED = 100000, /* if the guest has gone to sleep over it */
    REST_MILLISECONDS = 5000,    /* without a primitive, before its context goes */
    PAUSES = 4, /* looks at the ring alone, of 0.05 us, between those at all that may happen */
    RECORDS_PER_LOOK = 16,     /* how often a busy worker looks at the clock */
    LOOK_NANOSECONDS = 200000, /* and then at its fences */
    LOOK_AWAITED = 20000,      /* if the guest needs that */
    RESERVE_AGAIN = 100000000, /* if freed memory could not be given back yet */
    HURRY_LOOK = 4000,         /* between questions to the driver while a lease is waited for */
};

static_assert(VGPU_CALL_MAX < VGPU_WORKER_CALLS_MAX, "every call has a counter");

struct loop {
    struct vgpu_worker *worker;
    struct vgpu_primitive *primitive;
    struct vgpu_ring_consumer ring;
    uint64_t spin;     /* nanoseconds, at most */
    uint32_t credit;   /* 0..SPIN_CREDIT_MOST: of late, how much came as soon as that */
    uint64_t quiet;    /* time since when nothing has come; 0: something just did */
    uint64_t looked;   /* time of the last look at what is under way */
    uint64_t thorough; /* of the last thorough one */
    bool held;         /* a record was taken out that is not admitted yet */
    bool wants;        /* because there is no lease */
    bool tidy;         /* all work has a mark with an event behind it; only while it is quiet */
    uint32_t records;
};

static void reply(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                  const struct vgpu_result *result, const uint8_t *payload)
{
    struct vgpu_reply_slot *slot =
        (struct vgpu_reply_slot *)(worker->extent + VGPU_CHANNEL_REPLIES_OFFSET) +
        header->reply_slot;
    memcpy(slot->payload, payload, result->payload_bytes);
    slot->result = *result;
    /* pairs with the guest's acquire load: the rest of the slot is there when this is */
    __atomic_store_n(&slot->sequence, header->sequence, __ATOMIC_RELEASE);
    vgpu_worker_wake(worker);
}

/* What came of a record, if that is not nothing. */
static void report(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                   const struct vgpu_result *result, const uint8_t *answer)
{
    if (result->result != CUDA_SUCCESS && result->result != CUDA_ERROR_NOT_READY &&
        result->result != VGPU_RESULT_LATER)
        vgpu_worker_count(&worker->page->failed[vgpu_call_class(header->call)]);
    if (header->flags & VGPU_CALL_WANTS_REPLY) {
        if (worker->prints) /* many synchronous calls bring out what was printed */
            vgpu_console_publish(&worker->console, vgpu_worker_channel(worker));
        reply(worker, header, result, answer);
    } else if (result->result != CUDA_SUCCESS) {
        vgpu_worker_defer(worker, (CUresult)result->result);
    }
}

/* Before a record that does not add to them: the launches that were collected go, and their graphs
 * before functions do. */
static inline void end_chain(struct vgpu_worker *worker, const struct vgpu_call_header *header)
{
    if (worker->chains.count &&
        (header->call != VGPU_CALL_vgpuLaunch || header->context != worker->current_id))
        vgpu_launch_chain_interrupt(worker);
    if (worker->chains.has_graphs &&
        (header->call == VGPU_CALL_cuModuleUnload || header->call == VGPU_CALL_cuLibraryUnload))
        vgpu_launch_chain_forget_all(worker);
}

/* Most of what lies between two launches, so it is part of the loop. */
__attribute__((always_inline)) static inline int
replay_record(struct vgpu_worker *worker, const struct vgpu_call_header *header,
              const uint8_t *payload, uint8_t *answer)
{
    struct vgpu_result result;
    struct vgpu_worker_page *page = worker->page;

    end_chain(worker, header);
    worker->record = header;
    worker->sequence = header->sequence;
    __atomic_store_n(&page->watch.call, header->call, __ATOMIC_RELAXED);
    enum vgpu_call_class which = vgpu_call_class(header->call);
    uint64_t began = vgpu_timing_begin(&worker->timing, which);
    int error = 0;
    if (header->flags && vgpu_watch_defers(worker, header)) /* nobody waits for what is posted */
        result = (struct vgpu_result){.result = VGPU_RESULT_LATER};
    else
        error = vgpu_replay(worker, header, payload, &result, answer);
    worker->record = NULL; /* it is the caller's */
    if (error || worker->garbage)
        return -EPROTO;
    vgpu_worker_count(&page->calls_total);
    vgpu_worker_count(&page->calls[header->call]);
    if (began)
        vgpu_timing_end(page, which, began);
    if (header->flags || result.result != CUDA_SUCCESS)
        report(worker, header, &result, answer);
    return 0;
}

int vgpu_loop_record(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                     const uint8_t *payload)
{
    uint8_t answer[VGPU_REPLY_PAYLOAD_MAX];
    worker->garbage = NULL; /* who calls this may go on after some */
    return replay_record(worker, header, payload, answer);
}

static bool serve(struct loop *loop)
{
    struct vgpu_worker *worker = loop->worker;
    worker->current = NULL; /* a primitive has a context of its own */
    worker->current_id = 0;
    return vgpu_primitive_serve(loop->primitive, worker->socket);
}

static bool guest_sleeps(const struct vgpu_worker *worker)
{
    /* relaxed: it only says how urgent it is */
    return __atomic_load_n(&vgpu_worker_channel(worker)->guest_sleeps, __ATOMIC_RELAXED) != 0;
}

/* Nanoseconds to the next look at what is under way, in proportion to the wait so far: a late look
 * costs little of a long wait. Looks are the more frequent if the guest does nothing but wait, and
 * there is a processor for them. */
static uint64_t pause_after(const struct loop *loop, uint64_t waited)
{
    bool awaited = loop->spin == SPIN_NANOSECONDS && guest_sleeps(loop->worker);
    uint64_t pause = waited / (awaited ? 256 : 32);
    uint64_t most = awaited ? SLEEP_MOST_AWAITED : SLEEP_MOST;
    return pause < SLEEP_LEAST ? SLEEP_LEAST : pause > most ? most : pause;
}

/* Something is to be seen of the GPU. Where streams wait for the program with nothing behind that,
 * nobody wants to know when they have. */
static bool is_to_be_looked_at(const struct vgpu_fences *fences)
{
    return fences->count > fences->waits;
}

/* How long it is likely to be worth it. Who waits for the GPU sends more when that is done. */
static uint64_t spin_time(const struct loop *loop)
{
    const struct vgpu_channel_header *channel = vgpu_worker_channel(loop->worker);
    /* relaxed: a hint */
    if (is_to_be_looked_at(&loop->worker->fences) && loop->spin == SPIN_NANOSECONDS &&
        __atomic_load_n(&channel->guest_waits, __ATOMIC_RELAXED))
        return SPIN_AWAITED;
    return loop->credit ? loop->spin : loop->spin / SPIN_RARELY;
}

/* Something has come. What counts is when, not whether we were awake: who sleeps too soon has to
 * find out. */
__attribute__((cold)) static void learn(struct loop *loop)
{
    bool soon = vgpu_timing_now() - loop->quiet < 2 * loop->spin; /* a sleeper learns of it late */
    if (soon && loop->credit < SPIN_CREDIT_MOST)
        loop->credit++;
    else if (!soon && loop->credit > 0)
        loop->credit--;
    loop->quiet = 0;
    loop->tidy = false;
}

/* The shorter of two times, of which 0 is for ever. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

/* Nanoseconds until it is time to look again; 0: not before something happens. */
static uint64_t sleep_time(const struct loop *loop, uint64_t waited)
{
    const struct vgpu_worker *worker = loop->worker;
    uint64_t time = vgpu_throttle_pause(loop->worker);

    if (is_to_be_looked_at(&worker->fences))
        return sooner(time, vgpu_bell_is_hung(worker) ? SLEEP_HUNG : pause_after(loop, waited));
    if (worker->reserve.count)
        time = sooner(time, waited < VGPU_RESERVE_NANOSECONDS ? VGPU_RESERVE_NANOSECONDS - waited
                                                              : RESERVE_AGAIN);
    /* The last mark was reached, but its bell, which has called us, may be under way yet. */
    if (worker->pools.untidy && vgpu_bell_is_hung(worker))
        time = sooner(time, SLEEP_MOST);
    return time;
}

/* Whether it may sleep: what has rung already does not ring again. */
static bool await_bell(const struct loop *loop)
{
    struct vgpu_worker *worker = loop->worker;
    bool for_any = loop->held && !loop->wants; /* marks are what the record waits for */
    if (worker->fences.count == 0 || !vgpu_bell_is_hung(worker))
        return true;
    return vgpu_bell_await(worker, for_any ? worker->fences.marks[0].batch
                                           : vgpu_lease_awaited(worker, loop->wants));
}

/* Waits for the doorbell, the mediator, or the time to look again. */
static bool sleep_until_called(struct loop *loop, uint64_t waited)
{
    struct vgpu_worker *worker = loop->worker;
    struct pollfd wanted[] = {{.fd = worker->socket, .events = POLLIN},
                              {.fd = worker->doorbell, .events = POLLIN}};
    const struct timespec limit = {.tv_nsec = (long)sleep_time(loop, waited)};
    worker->fences.unwatched = true;
    if (!await_bell(loop))
        return true;
    int ready = ppoll(wanted, 2, limit.tv_nsec ? &limit : NULL, NULL);
    vgpu_bell_awake(worker);
    if (ready <= 0)
        return true;
    if (wanted[1].revents) {
        uint64_t rings;
        (void)!read(worker->doorbell, &rings, sizeof(rings));
    }
    return wanted[0].revents == 0 || serve(loop);
}

/* A driver that is given memory back waits for all work, also for what has no fence: a stream may
 * wait for the program. */
static void tidy_memory(struct vgpu_worker *worker, uint64_t waited)
{
    bool kept = worker->reserve.count && waited >= VGPU_RESERVE_NANOSECONDS;
    if (worker->fences.count || (!kept && !worker->pools.untidy) || !vgpu_contexts_are_done(worker))
        return;
    vgpu_pools_tidy(worker);
    if (kept)
        vgpu_reserve_empty(worker);
}

/* Who waits for an answer waits for us to see the question. */
static void pause_for_record(const struct loop *loop, bool full)
{
    for (int i = 0; i < PAUSES && (full || !vgpu_ring_has(&loop->ring)); i++)
        __builtin_ia32_pause();
}

/* Nothing is in the ring, or must not be taken out. Returns false when the worker shall end. */
__attribute__((noinline)) static bool wait_for_work(struct loop *loop, bool full)
{
    struct vgpu_worker *worker = loop->worker;
    uint64_t time = vgpu_timing_now();
    /* relaxed, as all of the watchdog's words */
    __atomic_store_n(&worker->page->watch.call, 0, __ATOMIC_RELAXED);
    if (loop->quiet == 0)
        loop->quiet = loop->looked = time;
    if (time - loop->looked > LATE_NANOSECONDS) /* others had the processor */
        worker->fences.unwatched = true;
    loop->looked = time;
    uint64_t waited = time - loop->quiet;
    uint64_t hurry =
        loop->spin == SPIN_NANOSECONDS ? vgpu_lease_hurry(worker, loop->held && loop->wants) : 0;
    uint64_t spin = hurry ? hurry : spin_time(loop);
    if (!loop->tidy && (waited > TIDY_NANOSECONDS || waited >= spin)) {
        vgpu_usage_cover(worker);
        loop->tidy = true;
        loop->thorough = 0;
    }
    bool thorough =
        time - loop->thorough > (hurry ? HURRY_LOOK : THOROUGH_NANOSECONDS) || waited > spin;
    if (thorough)
        loop->thorough = time;
    bool news = vgpu_fence_poll(worker, thorough);
    vgpu_lease_look(worker, loop->held && loop->wants);
    if (thorough)
        vgpu_watch_look(worker, time);
    worker->fences.unwatched = false;
    if (news) {
        loop->quiet = time;
        return true;
    }
    if (waited < spin) {
        if (waited > SPIN_ALONE)
            sched_yield();
        else
            pause_for_record(loop, full);
        return true;
    }
    /* Marks were waited for, and have been reached without being news: nothing else would wake us.
     */
    if (loop->held && !loop->wants && worker->fences.count <= 1)
        return true;
    if (full && !loop->held) /* the rate is what is waited for, or marks are */
        vgpu_lease_rest(worker);
    if (full)
        return sleep_until_called(loop, waited);
    tidy_memory(worker, waited);
    vgpu_lease_rest(worker);
    if (!vgpu_ring_sleep(&loop->ring))
        return true;
    bool go_on = sleep_until_called(loop, waited);
    vgpu_ring_awake(&loop->ring);
    return go_on;
}

/* A busy worker, every so many records. What the GPU writes the guest sees by itself, so this is
 * for those who sleep, for what only we can write, and for the account. False: it shall end. */
__attribute__((noinline)) static bool look_around(struct loop *loop)
{
    struct vgpu_worker *worker = loop->worker;
    uint64_t time = vgpu_timing_now();
    bool urgent = worker->fences.by_cpu || worker->prints || guest_sleeps(worker);
    if (time - loop->thorough >= THOROUGH_NANOSECONDS) {
        loop->thorough = loop->looked = time;
        vgpu_launch_chain_go(worker);
        vgpu_usage_sample(worker);
        vgpu_fence_poll(worker, true);
        vgpu_watch_look(worker, time);
        vgpu_lease_look(worker, false);
        return serve(loop);
    }
    if (time - loop->looked >= (urgent ? LOOK_AWAITED : LOOK_NANOSECONDS)) {
        loop->looked = time;
        vgpu_fence_poll(worker, false);
    }
    return true;
}

__attribute__((cold)) static void log_garbage(const struct vgpu_worker *worker,
                                              const struct vgpu_call_header *header)
{
    const char *name = vgpu_call_name(header->call);
    vgpu_log("garbage in the ring: call %u (%s), %u bytes of payload: %s", header->call,
             name ? name : "unknown", header->payload_bytes,
             worker->garbage ? worker->garbage : "malformed");
}

/* Whether a record that was taken out may be replayed now. */
__attribute__((always_inline)) static inline bool admits(struct loop *loop,
                                                         const struct vgpu_call_header *header)
{
    loop->wants = !vgpu_admission_leased(loop->worker, header);
    return !loop->wants && vgpu_admission_clear(loop->worker, header);
}

/* Whether the next record may be taken out of the ring, or the one that was be replayed. */
static bool may_go_on(struct loop *loop, const struct vgpu_call_header *header)
{
    if (loop->worker->fences.count >= VGPU_MARKS_MANY)
        return false;
    return loop->held ? admits(loop, header) : vgpu_admission_takes(loop->worker);
}

/* Takes a record out of the ring, or looks again at the one that was: 1 if it may be replayed now,
 * 0 if there is none or it may not, or the negated enum vgpu_ring_fault. */
static inline int take(struct loop *loop, struct vgpu_call_header *header, uint8_t *payload)
{
    struct vgpu_worker *worker = loop->worker;
    int got = vgpu_ring_pop(&loop->ring, header, payload);
    if (got <= 0)
        return got;
    vgpu_admission_taken(worker, header->sequence);
    loop->held = !admits(loop, header);
    if (loop->held) {
        vgpu_timing_hold(&worker->timing, &loop->ring);
        if (loop->quiet) /* from now on a lease, or a mark, is waited for */
            learn(loop);
        return 0;
    }
    if (vgpu_timing_is_due(&worker->timing, &loop->ring))
        vgpu_timing_look(&worker->timing, worker->page, &loop->ring,
                         loop->quiet && !worker->fences.unwatched);
    return 1;
}

/* The record that was taken out is admitted at last. */
static int take_held(struct loop *loop)
{
    struct vgpu_worker *worker = loop->worker;
    loop->held = false;
    loop->quiet = 0; /* it is known already how soon the record came */
    loop->tidy = false;
    if (vgpu_timing_is_due(&worker->timing, &loop->ring))
        vgpu_timing_look(&worker->timing, worker->page, &loop->ring, false);
    return 1;
}

static enum vgpu_worker_exit run_channel(struct loop *loop)
{
    struct vgpu_worker *worker = loop->worker;
    struct vgpu_call_header header = {0};
    uint8_t answer[VGPU_REPLY_PAYLOAD_MAX];
    /* a driver reads a launch's parameters out of it, which may be aligned as strictly */
    _Alignas(16) uint8_t payload[VGPU_PAYLOAD_MAX];
    for (;;) {
        bool full = !may_go_on(loop, &header);
        int got = full ? 0 : loop->held ? take_held(loop) : take(loop, &header, payload);
        if (got < 0) {
            vgpu_log("garbage in the ring: %s",
                     got == -VGPU_RING_BAD_TAIL ? "impossible tail" : "payload too large");
            return VGPU_WORKER_EXIT_PROTOCOL;
        }
        if (got == 0) {
            vgpu_launch_chain_go(worker);
            if ((full || !loop->held) && !wait_for_work(loop, full))
                return VGPU_WORKER_EXIT_OK;
            continue;
        }
        if (replay_record(worker, &header, payload, answer) < 0) {
            log_garbage(worker, &header);
            return VGPU_WORKER_EXIT_PROTOCOL;
        }
        if (loop->quiet)
            learn(loop);
        if (++loop->records % RECORDS_PER_LOOK == 0 && !look_around(loop))
            return VGPU_WORKER_EXIT_OK;
    }
}

/* The guest may have seen the end of its work before us. What this worker ends with is counted as
 * work until it is gone, and a driver takes its time to let a context go. */
static void settle(struct vgpu_worker *worker)
{
    uint64_t start = vgpu_timing_now();
    vgpu_usage_cover(worker);
    do
        vgpu_fence_poll(worker, true);
    while (worker->busy_contexts && vgpu_timing_now() - start < SETTLE_NANOSECONDS);
}

static enum vgpu_worker_exit run_primitives(struct loop *loop)
{
    struct pollfd wanted = {.fd = loop->worker->socket, .events = POLLIN};
    while (vgpu_primitive_serve(loop->primitive, wanted.fd)) {
        int ready = poll(&wanted, 1, loop->primitive->context ? REST_MILLISECONDS : -1);
        if (ready < 0 && errno != EINTR)
            return VGPU_WORKER_EXIT_SETUP;
        if (ready == 0)
            vgpu_primitive_rest(loop->primitive);
    }
    return VGPU_WORKER_EXIT_OK;
}

enum vgpu_worker_exit vgpu_loop_run(struct vgpu_worker *worker, struct vgpu_primitive *primitive)
{
    struct loop loop = {.worker = worker, .primitive = primitive, .credit = SPIN_CREDIT_MOST};
    if (worker->extent == NULL)
        return run_primitives(&loop);
    loop.spin = sysconf(_SC_NPROCESSORS_ONLN) > 2 ? SPIN_NANOSECONDS : SPIN_FEW_CPUS;
    vgpu_ring_consumer_init(&loop.ring, worker->extent);
    worker->chains.enabled = true;
    enum vgpu_worker_exit status = run_channel(&loop);
    settle(worker);
    return status;
}
