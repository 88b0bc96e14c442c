/* SPDX-License-Identifier: MIT */
#include "sim/machine.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "mediator/lease.h"
#include "sim/agenda.h"

#define IN_FLIGHT_MOST 256u     /* kernels: the length of a driver's queue */
#define SWITCH_EVERY   2000000u /* nanoseconds, of the GPU's own time slices */
#define NOBODY         UINT32_MAX

enum event_kind {
    EVENT_BRINGS,  /* a program brings its next request */
    EVENT_WORK,    /* the next recorded kernel arrives */
    EVENT_GPU,     /* the GPU has ended a kernel, or its time slice */
    EVENT_GRANTED, /* a lease has got to the worker */
    EVENT_IDLE,    /* the worker has been idle for the time of grace */
    EVENT_SAMPLE,
};

enum lease {
    LEASE_NONE,
    LEASE_OPEN,
    LEASE_SLICE,
    LEASE_ENDING,
};

struct request {
    uint64_t arrived;
    uint64_t lasts; /* each kernel; 0: as the plan says */
    uint32_t to_submit, to_end;
};

struct vm {
    struct vgpu_tenant tenant;
    const struct vgpu_sim_vm_plan *plan;
    struct vgpu_sim_result *result;
    struct request *requests; /* a ring, `room` of them; numbers are free-running */
    uint32_t room, first, submitting, last;
    uint64_t flight[IN_FLIGHT_MOST]; /* what is left of each kernel; a ring as well */
    uint32_t flight_first, flight_last;
    uint64_t flight_time;
    enum lease lease;
    uint64_t window;       /* of GPU time that may be in flight, if the lease is not open */
    uint32_t stamp;        /* voids what was planned for an older lease or idleness */
    uint32_t work;         /* recorded kernels that have arrived */
    uint64_t measured;     /* what the scheduler was told of result->used */
    uint64_t hungry_since; /* it has work since then and none of it runs; NEVER: not so */
};

struct machine {
    struct vgpu_scheduler scheduler;
    const struct vgpu_sim_scenario *scenario;
    struct vgpu_sim_outcome *outcome;
    struct vgpu_sim_agenda agenda;
    struct vgpu_pool pools[VGPU_SIM_POOLS_MOST];
    struct vm *vms;
    uint64_t now;
    uint64_t random;
    bool failed;      /* out of memory */
    uint32_t loaded;  /* VMs with kernels in flight */
    uint32_t hungry;  /* VMs with work, in flight or not */
    uint32_t running; /* VM whose kernel is on the GPU; NOBODY */
    uint64_t started; /* when that began */
    uint64_t turn;    /* when the first of that VM's kernels in a row began */
    uint32_t gpu_stamp;
    uint32_t last_holder;
    uint32_t samples;
};

static void plan(struct machine *machine, uint64_t after, enum event_kind kind, uint32_t vm,
                 uint32_t stamp)
{
    const struct vgpu_sim_event event = {
        .time = machine->now + after, .kind = kind, .vm = vm, .stamp = stamp};

    if (!vgpu_sim_agenda_add(&machine->agenda, event))
        machine->failed = true;
}

static struct vm *vm_of(struct vgpu_tenant *tenant)
{
    return (struct vm *)(void *)((char *)tenant - offsetof(struct vm, tenant));
}

static struct machine *machine_of(struct vgpu_scheduler *scheduler)
{
    return (struct machine *)(void *)((char *)scheduler - offsetof(struct machine, scheduler));
}

/* splitmix64: the same seed gives the same simulation. */
static double random_part(struct machine *machine)
{
    uint64_t z = machine->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / (double)(1ull << 53);
}

static uint64_t vary(struct machine *machine, const struct vm *vm, uint64_t time)
{
    if (vm->plan->spread == 0)
        return time;
    double factor = 1 + vm->plan->spread * (2 * random_part(machine) - 1);
    return (uint64_t)((double)time * factor) + (time ? 1 : 0);
}

static void note(struct machine *machine, struct vgpu_sim_series *series, uint64_t value)
{
    if (series->count == series->room) {
        uint32_t room = series->room ? 2 * series->room : 256;
        uint64_t *grown = reallocarray(series->values, room, sizeof(*grown));
        if (!grown) {
            machine->failed = true;
            return;
        }
        series->values = grown;
        series->room = room;
    }
    series->values[series->count++] = value;
}

static bool has_queued(const struct vm *vm)
{
    return vm->submitting != vm->last;
}

static bool has_flying(const struct vm *vm)
{
    return vm->flight_first != vm->flight_last;
}

static void note_hunger(struct machine *machine, struct vm *vm)
{
    uint64_t hunger = machine->now - vm->hungry_since;

    if (vm->hungry_since != VGPU_TIME_NEVER && hunger > vm->result->longest)
        vm->result->longest = hunger;
    vm->hungry_since = VGPU_TIME_NEVER;
}

/* The GPU takes the next kernel: of the VM that it was at, or after a time slice of the next. */
static void gpu_start(struct machine *machine)
{
    uint32_t count = machine->outcome->vm_count, before = machine->running, at = before;

    machine->running = NOBODY;
    machine->gpu_stamp++;
    if (machine->loaded == 0)
        return;
    if (at == NOBODY)
        at = 0;
    else if (machine->now - machine->turn >= SWITCH_EVERY)
        at = (at + 1) % count;
    while (!has_flying(&machine->vms[at]))
        at = (at + 1) % count;
    struct vm *vm = &machine->vms[at];
    uint64_t left = vm->flight[vm->flight_first % IN_FLIGHT_MOST];
    machine->running = at;
    machine->started = machine->now;
    if (at != before || machine->now - machine->turn >= SWITCH_EVERY)
        machine->turn = machine->now;
    note_hunger(machine, vm);
    plan(machine, machine->loaded > 1 && left > SWITCH_EVERY ? SWITCH_EVERY : left, EVENT_GPU, at,
         machine->gpu_stamp);
}

static uint64_t next_kernel(struct machine *machine, struct vm *vm, struct request *request)
{
    uint64_t lasts = request->lasts ? request->lasts : vary(machine, vm, vm->plan->kernel);

    if (request->to_submit == request->to_end)
        note(machine, &vm->result->waits, machine->now - request->arrived);
    if (--request->to_submit == 0)
        vm->submitting++;
    return lasts;
}

/* A second VM has work on the GPU: the kernel that runs gets no more than a time slice now. */
static void gpu_share(struct machine *machine)
{
    const struct vm *vm = &machine->vms[machine->running];
    uint64_t ran = machine->now - machine->started;

    if (vm->flight[vm->flight_first % IN_FLIGHT_MOST] - ran > SWITCH_EVERY)
        plan(machine, SWITCH_EVERY, EVENT_GPU, machine->running, ++machine->gpu_stamp);
}

/* The worker submits what its lease allows. */
static void submit(struct machine *machine, struct vm *vm)
{
    uint64_t window = vm->lease == LEASE_OPEN ? VGPU_TIME_NEVER : vm->window;

    while (has_queued(vm) && vm->flight_last - vm->flight_first < IN_FLIGHT_MOST) {
        struct request *request = &vm->requests[vm->submitting % vm->room];
        if (has_flying(vm) && vm->flight_time >= window)
            break;
        uint64_t lasts = next_kernel(machine, vm, request);
        if (!has_flying(vm) && ++machine->loaded == 2 && machine->running != NOBODY)
            gpu_share(machine);
        vm->flight[vm->flight_last++ % IN_FLIGHT_MOST] = lasts;
        vm->flight_time += lasts;
    }
    if (machine->running == NOBODY)
        gpu_start(machine);
}

/* What a worker does whenever something has changed for it: see worker/lease.c. */
static void act(struct machine *machine, struct vm *vm)
{
    uint32_t index = (uint32_t)(vm - machine->vms);

    if (vm->lease == LEASE_OPEN || vm->lease == LEASE_SLICE)
        submit(machine, vm);
    if (has_queued(vm) && vm->lease == LEASE_NONE) {
        vgpu_scheduler_want(&machine->scheduler, &vm->tenant, vm->last - vm->submitting,
                            machine->now);
    } else if (vm->lease == LEASE_ENDING && !has_flying(vm)) {
        vm->lease = LEASE_NONE;
        vgpu_scheduler_returned(&machine->scheduler, &vm->tenant, has_queued(vm), machine->now);
    } else if (vm->lease == LEASE_SLICE && !has_queued(vm) && !has_flying(vm)) {
        plan(machine, machine->scenario->grace, EVENT_IDLE, index, ++vm->stamp);
    }
}

static void operation_grant(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant, bool open)
{
    struct machine *machine = machine_of(scheduler);
    struct vm *vm = vm_of(tenant);
    uint32_t index = (uint32_t)(vm - machine->vms);

    if (vm->lease == LEASE_NONE) {
        vm->result->leases++;
        if (machine->last_holder != index)
            machine->outcome->handovers++;
        machine->last_holder = index;
    }
    vm->lease = open ? LEASE_OPEN : LEASE_SLICE;
    vm->window = machine->scenario->window;
    if (vgpu_scheduler_has_betters(scheduler, tenant, machine->now))
        vm->window /= VGPU_LEASE_HURRY;
    plan(machine, machine->scenario->handover, EVENT_GRANTED, index, ++vm->stamp);
}

static bool operation_reclaim(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct vm *vm = vm_of(tenant);

    (void)scheduler;
    if (has_queued(vm) || has_flying(vm))
        return false;
    vm->lease = LEASE_NONE;
    vm->stamp++;
    return true;
}

static bool operation_end(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct vm *vm = vm_of(tenant);

    if (operation_reclaim(scheduler, tenant))
        return true;
    vm->lease = LEASE_ENDING;
    vm->stamp++;
    /* A worker with nothing in flight gives the lease back at its next event; make one. */
    plan(machine_of(scheduler), 0, EVENT_GRANTED, (uint32_t)(vm - machine_of(scheduler)->vms),
         vm->stamp);
    return false;
}

static void operation_abandon(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct machine *machine = machine_of(scheduler);
    struct vm *vm = vm_of(tenant);

    vm->lease = LEASE_NONE; /* and its worker, which hears of it, wants it back if it has work */
    plan(machine, 0, EVENT_GRANTED, (uint32_t)(vm - machine->vms), ++vm->stamp);
}

static uint64_t operation_measure(struct vgpu_scheduler *scheduler, struct vgpu_tenant *tenant)
{
    struct vm *vm = vm_of(tenant);
    uint64_t used = vm->result->used - vm->measured;

    (void)scheduler;
    vm->measured = vm->result->used;
    return used;
}

static const struct vgpu_scheduler_operations operations = {
    .grant = operation_grant,
    .end = operation_end,
    .abandon = operation_abandon,
    .reclaim = operation_reclaim,
    .measure = operation_measure,
};

static void bring(struct machine *machine, struct vm *vm, uint64_t lasts, uint32_t kernels)
{
    if (vm->first == vm->last) {
        machine->hungry++;
        vm->hungry_since = machine->now;
    }
    vm->requests[vm->last++ % vm->room] = (struct request){
        .arrived = machine->now, .lasts = lasts, .to_submit = kernels, .to_end = kernels};
    act(machine, vm);
}

static void end_request(struct machine *machine, struct vm *vm, uint32_t index)
{
    const struct request *request = &vm->requests[vm->first % vm->room];

    note(machine, &vm->result->replies, machine->now - request->arrived);
    if (request->lasts == 0 && machine->now < vm->plan->until)
        plan(machine, vary(machine, vm, vm->plan->gap), EVENT_BRINGS, index, 0);
    vm->first++;
    if (vm->first == vm->last) {
        machine->hungry--;
        vm->hungry_since = VGPU_TIME_NEVER;
    }
}

static void gpu_event(struct machine *machine, uint32_t index)
{
    struct vm *vm = &machine->vms[index];
    uint64_t ran = machine->now - machine->started;
    uint64_t *left = &vm->flight[vm->flight_first % IN_FLIGHT_MOST];

    *left -= ran;
    vm->flight_time -= ran;
    vm->result->used += ran;
    machine->outcome->busy += ran;
    vm->hungry_since = machine->now;
    bool ended = *left == 0;
    if (ended) {
        vm->flight_first++;
        vm->result->kernels++;
        if (!has_flying(vm))
            machine->loaded--;
        if (--vm->requests[vm->first % vm->room].to_end == 0)
            end_request(machine, vm, index);
    }
    gpu_start(machine);
    if (ended)
        act(machine, vm);
}

static void work_event(struct machine *machine, struct vm *vm, uint32_t index)
{
    const struct vgpu_sim_work *work = &vm->plan->work[vm->work++];

    if (vm->work < vm->plan->work_count)
        plan(machine, work[1].arrives - machine->now, EVENT_WORK, index, 0);
    bring(machine, vm, work->lasts, work->count);
}

static void take_sample(struct machine *machine)
{
    for (uint32_t i = 0; i < machine->outcome->vm_count; i++) {
        struct vgpu_sim_result *result = machine->vms[i].result;
        bool runs = machine->running == i;
        result->samples[machine->samples] =
            result->used + (runs ? machine->now - machine->started : 0);
    }
    machine->samples++;
}

static void happen(struct machine *machine, const struct vgpu_sim_event *event)
{
    struct vm *vm = &machine->vms[event->vm];

    switch ((enum event_kind)event->kind) {
    case EVENT_BRINGS:
        bring(machine, vm, 0, vm->plan->batch);
        break;
    case EVENT_WORK:
        work_event(machine, vm, event->vm);
        break;
    case EVENT_GPU:
        if (event->stamp == machine->gpu_stamp)
            gpu_event(machine, event->vm);
        break;
    case EVENT_GRANTED:
        if (event->stamp == vm->stamp)
            act(machine, vm);
        break;
    case EVENT_IDLE:
        if (event->stamp == vm->stamp && !has_queued(vm) && !has_flying(vm))
            vgpu_scheduler_rest(&machine->scheduler, &vm->tenant, machine->now);
        break;
    case EVENT_SAMPLE:
        take_sample(machine);
        break;
    }
}

static void pass_to(struct machine *machine, uint64_t time)
{
    if (machine->running == NOBODY && machine->hungry)
        machine->outcome->wasted += time - machine->now;
    machine->now = time;
}

static void run(struct machine *machine)
{
    uint64_t length = machine->scenario->length;
    const struct vgpu_sim_event *first;

    while (!machine->failed) {
        uint64_t expiry = vgpu_scheduler_next(&machine->scheduler);
        first = vgpu_sim_agenda_first(&machine->agenda);
        uint64_t time = first && first->time <= expiry ? first->time : expiry;
        if (time > length)
            break;
        pass_to(machine, time > machine->now ? time : machine->now);
        if (first && first->time <= expiry) {
            struct vgpu_sim_event event = vgpu_sim_agenda_take(&machine->agenda);
            happen(machine, &event);
        } else {
            vgpu_scheduler_expire(&machine->scheduler, machine->now);
        }
    }
    pass_to(machine, length);
    for (uint32_t i = 0; i < machine->outcome->vm_count; i++) {
        if (i != machine->running)
            note_hunger(machine, &machine->vms[i]);
    }
}

static int set_up_vm(struct machine *machine, uint32_t index, FILE *errors)
{
    struct vm *vm = &machine->vms[index];
    const struct vgpu_sim_vm_plan *vm_plan = &machine->scenario->vms[index];

    vm->plan = vm_plan;
    vm->result = &machine->outcome->vms[index];
    vm->hungry_since = VGPU_TIME_NEVER;
    vgpu_tenant_init(&vm->tenant, &machine->pools[vm_plan->pool]);
    vm->tenant.priority = vm_plan->priority;
    vm->tenant.weight = vm_plan->weight;
    vgpu_scheduler_cap(&machine->scheduler, &vm->tenant, vm_plan->cap, 0);
    int error = vgpu_scheduler_reserve(&machine->scheduler, &vm->tenant, vm_plan->period,
                                       vm_plan->budget, 0);
    if (error) {
        fprintf(errors, "vm %s: %s\n", vm_plan->name,
                error == -ENOSPC ? "reservations may not exceed 90 % of the GPU"
                                 : "a budget is within its period of 1ms to 10s");
        return -EINVAL;
    }
    vm->room = vm_plan->depth + vm_plan->work_count;
    while (vm->room & (vm->room - 1)) /* numbers of requests wrap around at a power of two */
        vm->room += vm->room & -vm->room;
    vm->requests = calloc(vm->room ? vm->room : 1, sizeof(*vm->requests));
    if (!vm->requests)
        return -ENOMEM;
    for (uint32_t i = 0; i < vm_plan->depth; i++)
        plan(machine, vary(machine, vm, vm_plan->from + (i ? 0 : vm_plan->gap)), EVENT_BRINGS,
             index, 0);
    if (vm_plan->work_count)
        plan(machine, vm_plan->work[0].arrives, EVENT_WORK, index, 0);
    return 0;
}

static int set_up(struct machine *machine, FILE *errors)
{
    const struct vgpu_sim_scenario *scenario = machine->scenario;
    struct vgpu_sim_outcome *outcome = machine->outcome;
    int error = 0;

    *outcome = (struct vgpu_sim_outcome){
        .vms = calloc(scenario->vm_count + 1, sizeof(*outcome->vms)),
        .vm_count = scenario->vm_count,
        .length = scenario->length,
    };
    machine->vms = calloc(scenario->vm_count + 1, sizeof(*machine->vms));
    if (!machine->vms || !outcome->vms)
        return -ENOMEM;
    vgpu_scheduler_init(&machine->scheduler, scenario->policy, &operations);
    machine->scheduler.times = scenario->times;
    for (uint32_t i = 0; i < scenario->pool_count; i++) {
        vgpu_pool_init(&machine->pools[i]);
        machine->pools[i].weight = scenario->pools[i].weight;
    }
    for (uint32_t i = 0; i < scenario->vm_count && !error; i++)
        error = set_up_vm(machine, i, errors);
    for (uint32_t i = 1; i <= VGPU_SIM_SAMPLES; i++)
        plan(machine, scenario->length / VGPU_SIM_SAMPLES * i, EVENT_SAMPLE, 0, 0);
    return error;
}

int vgpu_sim_run(const struct vgpu_sim_scenario *scenario, struct vgpu_sim_outcome *outcome,
                 FILE *errors)
{
    struct machine machine = {
        .scenario = scenario,
        .outcome = outcome,
        .random = scenario->seed,
        .running = NOBODY,
        .last_holder = NOBODY,
    };
    int error = set_up(&machine, errors);

    if (!error)
        run(&machine);
    if (!error && machine.failed)
        error = -ENOMEM;
    for (uint32_t i = 0; machine.vms && i < outcome->vm_count; i++)
        free(machine.vms[i].requests);
    free(machine.vms);
    vgpu_sim_agenda_destroy(&machine.agenda);
    return error;
}
