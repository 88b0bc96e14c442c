/* SPDX-License-Identifier: MIT */
#include "worker/lease.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "worker/context.h"
#include "worker/kind.h"
#include "worker/log.h"
#include "worker/worker.h"

#define BATCHES_PER_WINDOW 4u
#define ESTIMATE_LEAST     500u        /* nanoseconds */
#define ESTIMATE_MOST      1000000000u /* more than any window */
#define CORRECTION_MOST    8.0         /* of an estimate at a time */
#define HURRY_TURN         2000000u    /* nanoseconds: more than is in flight in most turns */
#define HURRY_WAIT         500000u     /* what it takes who may preempt; others wait for longer */
#define STALL              50000000u   /* nanoseconds without room for a record */
#define STALLS_MOST        8u          /* that have more records go each time */
#define WAITING_MOST       10000000u   /* nanoseconds that may begin at once, beside others */

/* Has the mediator look at the page. If the socket is full, it has yet to look for an older one. */
static void tell(struct vgpu_worker *worker)
{
    const struct vgpu_worker_message message = {.op = VGPU_WORKER_LEASE};
    const size_t head = offsetof(struct vgpu_worker_message, data);

    if (send(worker->socket, &message, head, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
        errno != EPIPE && errno != ECONNRESET)
        vgpu_log("cannot tell the mediator of the lease: %s", strerror(errno));
}

/* Pairs with the mediator's exchanges: what was submitted before is part of what it takes back. */
static bool exchange(struct vgpu_worker *worker, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&worker->page->lease.state, &from, to, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static uint32_t state_of(const struct vgpu_worker *worker)
{
    return __atomic_load_n(&worker->page->lease.state, __ATOMIC_ACQUIRE);
}

/* Relaxed: the message, or the exchange that follows, brings it over. */
static void set_wants(struct vgpu_worker *worker, bool wants)
{
    __atomic_store_n(&worker->page->lease.wants, wants, __ATOMIC_RELAXED);
}

static bool is_uncounted(const struct vgpu_worker *worker)
{
    return worker->page->lease.in_flight == VGPU_LEASE_UNCOUNTED; /* nobody else writes it */
}

/* Says in the page how much is in flight, where all of that was counted. */
static void publish(struct vgpu_worker *worker)
{
    uint64_t in_flight = worker->lease.in_flight;
    uint32_t value =
        in_flight < VGPU_LEASE_UNCOUNTED ? (uint32_t)in_flight : VGPU_LEASE_UNCOUNTED - 1;

    __atomic_store_n(&worker->page->lease.in_flight, value, __ATOMIC_RELAXED);
}

static bool has_drained(struct vgpu_worker *worker)
{
    if (vgpu_fence_oldest(worker))
        return false;
    for (struct vgpu_context *context = worker->contexts; context; context = context->next) {
        vgpu_usage_reached(worker, context, !worker->fences.unwatched);
        if (!vgpu_usage_is_idle(context))
            return false;
    }
    return true;
}

/* Brings the estimates of the batches `from` to `to` nearer to what they took together. */
static void learn(struct vgpu_lease *lease, uint32_t from, uint32_t to, uint64_t took)
{
    bool seen[VGPU_LEASE_KINDS] = {false};
    uint64_t expected = 0;

    for (uint32_t number = from; number != to; number++)
        expected += lease->batches[number % VGPU_LEASE_BATCHES].estimate;
    if (expected == 0 || took == 0)
        return;
    double ratio = (double)took / (double)expected;
    ratio = ratio > CORRECTION_MOST       ? CORRECTION_MOST
            : ratio < 1 / CORRECTION_MOST ? 1 / CORRECTION_MOST
                                          : ratio;
    for (uint32_t number = from; number != to; number++) {
        const struct vgpu_lease_batch *batch = &lease->batches[number % VGPU_LEASE_BATCHES];
        for (uint32_t i = 0; i < batch->records; i++) {
            uint8_t kind = batch->kinds[i];
            double estimate = lease->estimates[kind] * (seen[kind] ? 1 : (1 + ratio) / 2);
            lease->estimates[kind] = estimate < ESTIMATE_LEAST  ? ESTIMATE_LEAST
                                     : estimate > ESTIMATE_MOST ? ESTIMATE_MOST
                                                                : (uint32_t)estimate;
            seen[kind] = true;
        }
    }
}

/* Of those of the batches `from` to `to` that have records behind a wait for the program, notes
 * with a mark how many nanoseconds that is. What is long, or may be, is half of what may wait.
 * Returns whether there are any. */
static bool leave_waiting(struct vgpu_worker *worker, uint32_t from, uint32_t to)
{
    const struct vgpu_fences *fences = &worker->fences;
    uint64_t window = __atomic_load_n(&worker->page->lease.window, __ATOMIC_RELAXED);
    uint32_t number = from;

    for (uint32_t i = 0; i < fences->count && fences->waits; i++) { /* in the order of batches */
        struct vgpu_mark *mark = &fences->marks[i];
        if (!mark->waits || mark->kind == VGPU_MARK_WAIT || (int32_t)(mark->batch - number) < 0)
            continue;
        if ((int32_t)(mark->batch - to) >= 0)
            break;
        uint64_t estimate = worker->lease.batches[mark->batch % VGPU_LEASE_BATCHES].estimate;
        mark->left = estimate > window ? WAITING_MOST / 2 : estimate;
        worker->lease.waiting += mark->left;
        number = mark->batch + 1;
    }
    return number != from;
}

/* Takes out the batches that the GPU has reached the end of, but for what waits for the program. */
static void take_out_done(struct vgpu_worker *worker)
{
    struct vgpu_lease *lease = &worker->lease;
    const struct vgpu_mark *mark = vgpu_fence_oldest(worker);
    uint32_t oldest = mark ? mark->batch : lease->filling;
    uint32_t first = lease->first;

    if ((int32_t)(oldest - first) <= 0) /* marks from before there were batches count as older */
        return;
    uint64_t measured = __atomic_load_n(&worker->page->gpu_nanoseconds, __ATOMIC_RELAXED);
    if (!leave_waiting(worker, first, oldest)) /* all of it has run */
        learn(lease, first, oldest, measured - lease->measured);
    lease->measured = measured;
    for (; first != oldest; first++) {
        struct vgpu_lease_batch *batch = &lease->batches[first % VGPU_LEASE_BATCHES];
        lease->in_flight -= batch->estimate;
        *batch = (struct vgpu_lease_batch){0};
    }
    lease->first = oldest;
    lease->stalls = lease->forced = 0;
    publish(worker); /* also of what was not counted: the marks were behind all that came before */
}

/* Puts marks behind the batch that is being filled, and begins the next. */
static void close_batch(struct vgpu_worker *worker)
{
    struct vgpu_lease *lease = &worker->lease;

    if (lease->batches[lease->filling % VGPU_LEASE_BATCHES].records == 0)
        return;
    vgpu_usage_cover(worker);
    lease->filling++;
}

static bool is_full(const struct vgpu_lease *lease, uint64_t window)
{
    const struct vgpu_lease_batch *batch = &lease->batches[lease->filling % VGPU_LEASE_BATCHES];

    return batch->estimate >= window / BATCHES_PER_WINDOW ||
           batch->records == VGPU_LEASE_BATCH_RECORDS;
}

/* What is in flight may wait for the very record that does not fit, as a kernel does that runs
 * until a copy tells it to end: so now and then one goes, fitting or not, then two, then four: it
 * may be the last of many. */
static bool has_stalled(struct vgpu_worker *worker)
{
    struct vgpu_lease *lease = &worker->lease;
    uint64_t time = vgpu_timing_now();

    if (lease->refused == 0)
        lease->refused = time;
    if (lease->forced == 0 && time - lease->refused < STALL)
        return false;
    if (lease->forced == 0) {
        lease->forced = 1u << lease->stalls;
        lease->stalls += lease->stalls < STALLS_MOST;
    }
    lease->forced--;
    lease->refused = 0;
    vgpu_lease_uncount(&worker->page->lease);
    return true;
}

/* Where this is false there are marks, of which the loop looks when they are reached. */
static bool fits(struct vgpu_worker *worker, const struct vgpu_call_header *header)
{
    struct vgpu_lease *lease = &worker->lease;
    /* relaxed: any of the mediator's values will do */
    uint64_t window = __atomic_load_n(&worker->page->lease.window, __ATOMIC_RELAXED);
    uint8_t kind = (uint8_t)vgpu_kind_of(header, VGPU_LEASE_KINDS);

    take_out_done(worker);
    if (lease->in_flight >= window || is_full(lease, window)) {
        close_batch(worker);
        take_out_done(worker); /* all of it, if there are no marks to wait for */
    }
    if (lease->filling - lease->first == VGPU_LEASE_BATCHES - 1 ||
        (lease->in_flight >= window && lease->in_flight > 0) || lease->waiting >= WAITING_MOST)
        return has_stalled(worker);
    lease->refused = 0;
    if (lease->estimates[kind] == 0) /* it could be long: alone, and drained */
        lease->estimates[kind] = (uint32_t)(window < ESTIMATE_MOST ? window : ESTIMATE_MOST) + 1;
    struct vgpu_lease_batch *batch = &lease->batches[lease->filling % VGPU_LEASE_BATCHES];
    batch->kinds[batch->records++] = kind;
    batch->estimate += lease->estimates[kind];
    lease->in_flight += lease->estimates[kind];
    if (!is_uncounted(worker))
        publish(worker);
    return true;
}

static bool admits_under(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                         uint32_t state)
{
    while (state & VGPU_LEASE_IDLE && !exchange(worker, state, state & ~VGPU_LEASE_IDLE))
        state = state_of(worker);
    switch (state & ~VGPU_LEASE_IDLE) {
    case VGPU_LEASE_OPEN:
        vgpu_lease_uncount(&worker->page->lease);
        return true;
    case VGPU_LEASE_BOUNDED:
        return fits(worker, header);
    case VGPU_LEASE_NONE:
        if (!worker->page->lease.wants) {
            set_wants(worker, true);
            tell(worker);
        }
        return false;
    default: /* it is ending: see vgpu_lease_look() */
        return false;
    }
}

bool vgpu_lease_admits(struct vgpu_worker *worker, const struct vgpu_call_header *header)
{
    if (!vgpu_usage_brings_work(header->call))
        return true;
    bool admitted = admits_under(worker, header, state_of(worker));
    if (admitted && worker->page->lease.wants)
        set_wants(worker, false);
    return admitted;
}

uint32_t vgpu_lease_awaited(const struct vgpu_worker *worker, bool waits)
{
    const struct vgpu_lease *lease = &worker->lease;
    uint32_t state = state_of(worker), batch = lease->first;
    uint64_t left = lease->in_flight;
    /* Half: little beside a slice, and enough for the GPU until the next work comes. */
    uint64_t most = __atomic_load_n(&worker->page->lease.window, __ATOMIC_RELAXED) / 2;

    if (state == VGPU_LEASE_ENDING && is_uncounted(worker))
        return lease->filling;
    if (state != VGPU_LEASE_ENDING && !(state == VGPU_LEASE_BOUNDED && waits))
        return lease->filling;
    for (; batch != lease->filling; batch++) {
        left -= lease->batches[batch % VGPU_LEASE_BATCHES].estimate;
        if (left <= most)
            break;
    }
    return batch;
}

uint64_t vgpu_lease_hurry(const struct vgpu_worker *worker, bool waits)
{
    uint32_t state = state_of(worker);

    if (state == VGPU_LEASE_ENDING ||
        (state == VGPU_LEASE_BOUNDED && (waits || vgpu_fence_oldest(worker))))
        return HURRY_TURN;
    return state == VGPU_LEASE_NONE && waits ? HURRY_WAIT : 0;
}

void vgpu_lease_look(struct vgpu_worker *worker, bool waits)
{
    if (state_of(worker) != VGPU_LEASE_ENDING)
        return;
    close_batch(worker);
    take_out_done(worker);
    if (!vgpu_lease_nearly_done(&worker->page->lease) && !has_drained(worker))
        return;
    set_wants(worker, waits);
    /* If the mediator was quicker, and has given up waiting, it has to know all the same. */
    exchange(worker, VGPU_LEASE_ENDING, VGPU_LEASE_NONE);
    tell(worker);
}

void vgpu_lease_resume(struct vgpu_worker *worker, struct vgpu_mark *mark)
{
    worker->lease.waiting -= mark->left;
    mark->left = 0;
}

void vgpu_lease_account(struct vgpu_worker *worker, uint64_t nanoseconds)
{
    if (state_of(worker) == VGPU_LEASE_NONE)
        __atomic_fetch_add(&worker->page->lease.late, nanoseconds, __ATOMIC_RELAXED);
}

void vgpu_lease_rest(struct vgpu_worker *worker)
{
    uint32_t state = state_of(worker);

    if ((state != VGPU_LEASE_OPEN && state != VGPU_LEASE_BOUNDED) || !has_drained(worker))
        return;
    /* Of an open lease nobody wants to know: it is taken when somebody asks. */
    if (exchange(worker, state, state | VGPU_LEASE_IDLE) && state == VGPU_LEASE_BOUNDED)
        tell(worker);
}
