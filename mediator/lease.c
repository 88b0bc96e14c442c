/* SPDX-License-Identifier: MIT */
#include "mediator/lease.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "mediator/log.h"
#include "mediator/session.h"

#define CHARGE_MOST 60000000000u /* nanoseconds, at a time */

static struct vgpu_vm *vgpu_lease_vm(struct vgpu_tenant *tenant)
{
    return vgpu_container(tenant, struct vgpu_vm, tenant);
}

static uint32_t vgpu_lease_of(const struct vgpu_channel *channel)
{
    /* Pairs with the worker's exchange: what it said before is there. */
    return __atomic_load_n(&channel->worker.page->lease.state, __ATOMIC_ACQUIRE);
}

static bool vgpu_lease_exchange(const struct vgpu_channel *channel, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&channel->worker.page->lease.state, &from, to, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static bool vgpu_lease_wants(const struct vgpu_channel *channel)
{
    /* Relaxed: a message came after it. */
    return vgpu_lease_of(channel) == VGPU_LEASE_NONE &&
           __atomic_load_n(&channel->worker.page->lease.wants, __ATOMIC_RELAXED) != 0;
}

/** Who was given a lease just as it asked for one has work, and has yet to look: taken back now,
 * the lease would be lost, as nobody asks twice. */
static bool vgpu_lease_is_idle(const struct vgpu_channel *channel)
{
    return vgpu_lease_of(channel) & VGPU_LEASE_IDLE &&
           __atomic_load_n(&channel->worker.page->lease.wants, __ATOMIC_RELAXED) == 0;
}

/** If the socket is full, the worker has yet to look because of an older message. */
static void vgpu_lease_tell(struct vgpu_channel *channel)
{
    if (channel->worker.socket.fd >= 0)
        vgpu_worker_send(&channel->worker, VGPU_WORKER_LEASE, NULL, 0);
}

static void vgpu_lease_give(struct vgpu_channel *channel, uint32_t lease)
{
    uint32_t state;

    /* What this overwrites can only be changed by the worker, and then it is looked at again. */
    do {
        state = vgpu_lease_of(channel);
        uint32_t idle = state & VGPU_LEASE_IDLE;
        if (state == VGPU_LEASE_NONE && !vgpu_lease_wants(channel))
            idle = VGPU_LEASE_IDLE;
        if (vgpu_lease_exchange(channel, state, lease | idle))
            break;
    } while (true);
    if (state == VGPU_LEASE_NONE || state == VGPU_LEASE_ENDING)
        vgpu_lease_tell(channel);
}

static void vgpu_lease_grant(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant,
                             bool open)
{
    struct vgpu_vm *vm = vgpu_lease_vm(tenant);

    uint32_t window = VGPU_LEASE_WINDOW;

    if (vgpu_scheduler_has_betters(scheduler, tenant, vgpu_loop_now()))
        window /= VGPU_LEASE_HURRY;
    vm->leases += !vm->has_lease;
    vm->has_lease = true;
    vm->is_open = open;
    for (struct vgpu_channel *channel = vm->channels; channel; channel = channel->next_of_vm) {
        /* relaxed: the worker takes whichever it sees */
        __atomic_store_n(&channel->worker.page->lease.window, window, __ATOMIC_RELAXED);
        vgpu_lease_give(channel, open ? VGPU_LEASE_OPEN : VGPU_LEASE_BOUNDED);
    }
}

/** True if the worker has no lease any more. */
static bool vgpu_lease_take(struct vgpu_channel *channel)
{
    uint32_t state = vgpu_lease_of(channel);

    return state == VGPU_LEASE_NONE ||
           (state & VGPU_LEASE_IDLE && vgpu_lease_exchange(channel, state, VGPU_LEASE_NONE));
}

/** So it is from now on, if little is left to do: a word to the worker, and the answer, would take
 *  as long. */
static bool vgpu_lease_take_nearly_done(struct vgpu_channel *channel)
{
    return vgpu_lease_of(channel) == VGPU_LEASE_BOUNDED &&
           vgpu_lease_nearly_done(&channel->worker.page->lease) &&
           vgpu_lease_exchange(channel, VGPU_LEASE_BOUNDED, VGPU_LEASE_NONE);
}

static bool vgpu_lease_end(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct vgpu_vm *vm = vgpu_lease_vm(tenant);
    bool all = true;

    (void)scheduler;
    vm->has_lease = false;
    for (struct vgpu_channel *channel = vm->channels; channel; channel = channel->next_of_vm) {
        uint32_t state;

        while (!vgpu_lease_take(channel) && !vgpu_lease_take_nearly_done(channel)) {
            state = vgpu_lease_of(channel);
            if (state & VGPU_LEASE_IDLE)
                continue;
            all = false;
            if (state == VGPU_LEASE_ENDING ||
                vgpu_lease_exchange(channel, state, VGPU_LEASE_ENDING)) {
                vgpu_lease_tell(channel);
                break;
            }
        }
    }
    return all;
}

static void vgpu_lease_abandon(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct vgpu_vm *vm = vgpu_lease_vm(tenant);

    (void)scheduler;
    vm->may_charge = CHARGE_MOST; /* what is left will be measured when the VM has no lease */
    for (struct vgpu_channel *channel = vm->channels; channel; channel = channel->next_of_vm) {
        if (vgpu_lease_exchange(channel, VGPU_LEASE_ENDING, VGPU_LEASE_NONE))
            vgpu_lease_tell(channel);
    }
}

static bool vgpu_lease_reclaim(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct vgpu_vm *vm = vgpu_lease_vm(tenant);
    bool all = true;

    for (struct vgpu_channel *channel = vm->channels; channel && all; channel = channel->next_of_vm)
        all = vgpu_lease_is_idle(channel) ||
              (vgpu_lease_of(channel) == VGPU_LEASE_NONE && !vgpu_lease_wants(channel));
    if (!all)
        return false;
    for (struct vgpu_channel *channel = vm->channels; channel && all; channel = channel->next_of_vm)
        all = vgpu_lease_take(channel);
    vm->has_lease = !all;
    if (!all) /* one has begun to work meanwhile: the others shall as well */
        vgpu_lease_grant(scheduler, tenant, vm->is_open);
    return all;
}

/** GPU time, since this was last asked, of work that chose its time itself. */
static uint64_t vgpu_lease_late(struct vgpu_channel *channel)
{
    uint64_t late = __atomic_load_n(&channel->worker.page->lease.late, __ATOMIC_RELAXED);
    uint64_t more = late > channel->late ? late - channel->late : 0;

    channel->late = late;
    return more < CHARGE_MOST ? more : CHARGE_MOST;
}

static uint64_t vgpu_lease_measure(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct vgpu_vm *vm = vgpu_lease_vm(tenant);
    uint64_t sum = vm->totals.gpu_nanoseconds, late = 0, now = vgpu_loop_now();
    uint64_t since = vm->charged_at > tenant->since ? vm->charged_at : tenant->since;

    (void)scheduler;
    for (struct vgpu_channel *channel = vm->channels; channel; channel = channel->next_of_vm) {
        sum += __atomic_load_n(&channel->worker.page->gpu_nanoseconds, __ATOMIC_RELAXED);
        late += vgpu_lease_late(channel);
    }
    /* Several workers can be busy at once, and a page can say anything: no more is charged than the
     * time in which the VM had a lease. */
    if ((tenant->state == VGPU_TENANT_HOLDS || tenant->state == VGPU_TENANT_ENDS) && now > since)
        vm->may_charge += now - since;
    if (vm->may_charge > CHARGE_MOST)
        vm->may_charge = CHARGE_MOST;
    uint64_t used = sum > vm->charged ? sum - vm->charged : 0;
    late = late < used ? late : used;
    used -= late;
    used = used < vm->may_charge ? used : vm->may_charge;
    vm->may_charge -= used;
    vm->charged = sum;
    vm->charged_at = now;
    return used + late;
}

static const struct vgpu_scheduler_operations vgpu_lease_operations = {
    .grant = vgpu_lease_grant,
    .end = vgpu_lease_end,
    .abandon = vgpu_lease_abandon,
    .reclaim = vgpu_lease_reclaim,
    .measure = vgpu_lease_measure,
};

/** Sets the timer to when the scheduler wants to be called. */
static void vgpu_lease_arm(struct vgpu_leases *leases)
{
    uint64_t next = vgpu_scheduler_next(&leases->scheduler);
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(next / 1000000000u),
                                           .tv_nsec = (long)(next % 1000000000u)}};

    if (next == VGPU_TIME_NEVER)
        when = (struct itimerspec){0};
    if (leases->timer.fd < 0 || timerfd_settime(leases->timer.fd, TFD_TIMER_ABSTIME, &when, NULL))
        vgpu_log(VGPU_LOG_ERROR, "no timer for leases: VMs that wait for the GPU wait for ever");
}

/** Says to the scheduler what it has to know of a VM whose workers have changed anything. */
static void vgpu_lease_inform(struct vgpu_leases *leases, struct vgpu_vm *vm)
{
    struct vgpu_scheduler *scheduler = &leases->scheduler;
    struct vgpu_tenant *tenant = &vm->tenant;
    uint64_t now = vgpu_loop_now();
    uint32_t wanting = 0, having = 0, idle = 0;

    for (struct vgpu_channel *channel = vm->channels; channel; channel = channel->next_of_vm) {
        wanting += vgpu_lease_wants(channel);
        having += vgpu_lease_of(channel) != VGPU_LEASE_NONE;
        idle += vgpu_lease_is_idle(channel);
    }
    if (tenant->state == VGPU_TENANT_HOLDS && wanting)
        vgpu_lease_grant(scheduler, tenant, vm->is_open);
    else if (tenant->state == VGPU_TENANT_HOLDS && idle == having)
        vgpu_scheduler_rest(scheduler, tenant, now);
    else if (tenant->state == VGPU_TENANT_ENDS && having == 0)
        vgpu_scheduler_returned(scheduler, tenant, wanting != 0, now);
    else if ((tenant->state == VGPU_TENANT_WAITS || tenant->state == VGPU_TENANT_CAPPED) &&
             wanting == 0)
        vgpu_scheduler_rest(scheduler, tenant, now);
    else if (wanting)
        vgpu_scheduler_want(scheduler, tenant, wanting, now);
}

/** Does what the scheduler has to do by now, if anything. */
static void vgpu_lease_expire(struct vgpu_leases *leases)
{
    struct vgpu_scheduler *scheduler = &leases->scheduler;
    struct vgpu_tenant *holder = scheduler->holder;

    vgpu_scheduler_expire(scheduler, vgpu_loop_now());
    if (holder && holder->state == VGPU_TENANT_RESTS) /* workers of it may have waited before */
        vgpu_lease_inform(leases, vgpu_lease_vm(holder));
}

/** After anything about a VM's workers has changed. Who preempts does so at once: a timer that is
 *  set to a time in the past comes an interrupt and a wake-up later. */
static void vgpu_lease_settle(struct vgpu_leases *leases, struct vgpu_vm *vm)
{
    vgpu_lease_inform(leases, vm);
    vgpu_lease_expire(leases);
    vgpu_lease_arm(leases);
}

static void vgpu_lease_expired(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_leases *leases = vgpu_container(source, struct vgpu_leases, timer);
    uint64_t count;

    (void)events;
    if (read(source->fd, &count, sizeof(count)) != sizeof(count))
        return;
    vgpu_lease_expire(leases);
    vgpu_lease_arm(leases);
}

int vgpu_lease_init(struct vgpu_leases *leases, struct vgpu_loop *loop,
                    const struct vgpu_policy *policy, uint32_t slice)
{
    vgpu_scheduler_init(&leases->scheduler, policy, &vgpu_lease_operations);
    leases->scheduler.times.slice = slice * 1000000ull;
    leases->scheduler.times.longest = leases->scheduler.times.slice * 4;
    leases->scheduler.times.round = leases->scheduler.times.slice * 30;
    for (uint32_t i = 0; i < VGPU_POOLS; i++)
        vgpu_pool_init(&leases->pools[i]);
    leases->loop = loop;
    leases->timer.ready = vgpu_lease_expired;
    leases->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (leases->timer.fd < 0)
        return -errno;
    int error = vgpu_loop_add(loop, &leases->timer, EPOLLIN);
    if (error) {
        close(leases->timer.fd);
        leases->timer.fd = -1;
    }
    return error;
}

void vgpu_lease_close(struct vgpu_leases *leases)
{
    vgpu_loop_remove(leases->loop, &leases->timer);
}

void vgpu_lease_pool(struct vgpu_leases *leases, uint32_t pool, uint32_t weight)
{
    leases->pools[pool - 'A'].weight = weight;
}

void vgpu_lease_attach(struct vgpu_leases *leases, struct vgpu_vm *vm)
{
    vm->tenant.priority = (enum vgpu_priority)vm->priority;
    vm->tenant.weight = (uint32_t)vm->limits.weight;
    vgpu_scheduler_move(&vm->tenant, &leases->pools[vm->pool - 'A']);
    if (vm->tenant.cap == vm->limits.share_cap)
        return;
    vgpu_scheduler_cap(&leases->scheduler, &vm->tenant, (uint32_t)vm->limits.share_cap,
                       vgpu_loop_now());
    vgpu_lease_arm(leases);
}

int vgpu_lease_reserve(struct vgpu_leases *leases, struct vgpu_vm *vm, uint32_t period,
                       uint32_t budget)
{
    if (vm->tenant.period == period * 1000000ull && vm->tenant.budget == budget * 1000000ull)
        return 0;
    return vgpu_scheduler_reserve(&leases->scheduler, &vm->tenant, period * 1000000ull,
                                  budget * 1000000ull, vgpu_loop_now());
}

uint32_t vgpu_lease_first(const struct vgpu_vm *vm)
{
    if (!vm->has_lease)
        return VGPU_LEASE_NONE;
    return (vm->is_open ? VGPU_LEASE_OPEN : VGPU_LEASE_BOUNDED) | VGPU_LEASE_IDLE;
}

void vgpu_lease_add(struct vgpu_channel *channel)
{
    struct vgpu_vm *vm = channel->session->vm;

    channel->next_of_vm = vm->channels;
    vm->channels = channel;
}

void vgpu_lease_drop(struct vgpu_leases *leases, struct vgpu_channel *channel)
{
    struct vgpu_vm *vm = channel->session->vm;
    struct vgpu_channel **place = &vm->channels;

    while (*place != channel)
        place = &(*place)->next_of_vm;
    *place = channel->next_of_vm;
    if (vm->channels) {
        vgpu_lease_settle(leases, vm);
        return;
    }
    vm->has_lease = false;
    vgpu_scheduler_remove(&leases->scheduler, &vm->tenant, vgpu_loop_now());
    vgpu_lease_arm(leases);
}

void vgpu_lease_heard(struct vgpu_leases *leases, struct vgpu_channel *channel)
{
    vgpu_lease_settle(leases, channel->session->vm);
}
