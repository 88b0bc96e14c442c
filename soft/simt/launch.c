/* SPDX-License-Identifier: MIT */
/*
 * Launches: a pool of host threads, one per processor, that take blocks of the oldest launch in
 * ascending order. The thread that launches takes blocks too, and waits for those under way. A
 * cooperative launch has a thread for each of its blocks.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "soft/simt/block.h"

enum { MOST_TOGETHER = 1 << 16 };

struct job {
    struct vgpu_grid grid;
    struct job *next;
    uint32_t working; /* pool threads in it; under the lock */
    uint32_t wanted;  /* pool threads that may still join; under the lock */
    struct vgpu_fault fault;
    int error;
};

/* The one pool of the process. Threads start when they are first of use and stay. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job may want threads */
    pthread_cond_t idle; /* a thread has left a job */
    struct job *first;
    struct vgpu_runner *spare; /* of launching threads */
    uint32_t threads, processors;
    uint64_t launches;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .idle = PTHREAD_COND_INITIALIZER};

static void note_failure(struct job *job, int error, const struct vgpu_fault *fault)
{
    pthread_mutex_lock(&pool.lock);
    if (job->error == 0) {
        job->error = error;
        if (fault != NULL)
            job->fault = *fault;
        /* The cause is out of other blocks' way now; they stop at their next turn. */
        atomic_store_explicit(&job->grid.stop, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&pool.lock);
}

static void run_blocks(struct job *job, struct vgpu_runner *runner)
{
    const struct vgpu_launch *launch = job->grid.launch;
    struct vgpu_fault fault;
    uint64_t index;
    int error = vgpu_runner_begin(runner, &job->grid);

    while (error == 0) {
        if (atomic_load_explicit(&job->grid.stop, memory_order_relaxed) != 0)
            break;
        index = atomic_fetch_add_explicit(&job->grid.next, 1, memory_order_relaxed);
        if (index >= job->grid.blocks)
            break;
        if (launch->cancel != NULL && *launch->cancel != 0) {
            fault = (struct vgpu_fault){.kind = VGPU_FAULT_CANCELLED, .text = "cancelled"};
            error = -EFAULT;
        } else {
            error = vgpu_runner_block(runner, index, &fault);
        }
    }
    if (vgpu_runner_counts(runner) != NULL)
        vgpu_profile_add(job->grid.kernel->name, vgpu_runner_counts(runner));
    if (error != 0)
        note_failure(job, error, error == -EFAULT ? &fault : NULL);
}

/* ---- pool threads ---- */

static struct job *find_work(void)
{
    for (struct job *job = pool.first; job != NULL; job = job->next) {
        if (job->wanted > 0)
            return job;
    }
    return NULL;
}

static void *serve(void *argument)
{
    uint32_t number = (uint32_t)(uintptr_t)argument;
    struct vgpu_runner *runner = vgpu_runner_create(number, pool.processors);

    pthread_mutex_lock(&pool.lock);
    while (runner != NULL) {
        struct job *job = find_work();

        if (job == NULL) {
            pthread_cond_wait(&pool.work, &pool.lock);
            continue;
        }
        job->wanted--;
        job->working++;
        pthread_mutex_unlock(&pool.lock);
        run_blocks(job, runner);
        pthread_mutex_lock(&pool.lock);
        job->working--;
        pthread_cond_broadcast(&pool.idle);
    }
    pool.threads--;
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* With the lock held: enough threads for `wanted` blocks at once, as far as processors go. */
static void start_threads(uint32_t wanted)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;

    /* Signals are for the threads of the program that this is a library of. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (pool.threads < wanted) {
        if (pthread_create(&thread, &attributes, serve, (void *)(uintptr_t)(pool.threads + 1)) != 0)
            break;
        pool.threads++;
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- launches ---- */

static int check(const struct vgpu_launch *launch, uint64_t *blocks)
{
    const struct vgpu_program *program = launch->image->program;
    uint64_t threads = 1;

    *blocks = 1;
    if (launch->kernel >= program->kernel_count)
        return -EINVAL;
    for (int n = 0; n < 3; n++) {
        if (launch->block[n] == 0 || launch->block[n] > 1024 || launch->grid[n] == 0 ||
            launch->grid[n] > (n == 0 ? INT32_MAX : UINT16_MAX))
            return -EINVAL;
        threads *= launch->block[n];
        *blocks *= launch->grid[n];
    }
    if (launch->cooperative && *blocks > MOST_TOGETHER)
        return -EINVAL;
    if (threads > VGPU_MAX_WARPS * VGPU_LANES || launch->dynamic_shared_bytes > (1u << 20))
        return -EINVAL;
    if (launch->parameters == NULL &&
        program->module->functions[program->kernels[launch->kernel].function].parameter_bytes > 0)
        return -EINVAL;
    return 0;
}

static struct vgpu_runner *take_runner(void)
{
    struct vgpu_runner *runner;

    pthread_mutex_lock(&pool.lock);
    runner = pool.spare;
    pool.spare = NULL;
    pthread_mutex_unlock(&pool.lock);
    return runner != NULL ? runner : vgpu_runner_create(0, pool.processors);
}

static void put_runner(struct vgpu_runner *runner)
{
    pthread_mutex_lock(&pool.lock);
    if (pool.spare == NULL) {
        pool.spare = runner;
        runner = NULL;
    }
    pthread_mutex_unlock(&pool.lock);
    vgpu_runner_destroy(runner);
}

/* Those that this process may use: a container or taskset may have left it a part of them. */
static uint32_t count_processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t usable;

    if (sched_getaffinity(0, sizeof(usable), &usable) == 0)
        n = CPU_COUNT(&usable);
    return n < 1 ? 1 : n > 1024 ? 1024 : (uint32_t)n;
}

/* With the lock held. */
static void number_locked(struct job *job)
{
    if (pool.processors == 0)
        pool.processors = count_processors();
    job->grid.id = ++pool.launches;
}

static void number(struct job *job)
{
    pthread_mutex_lock(&pool.lock);
    number_locked(job);
    pthread_mutex_unlock(&pool.lock);
}

static void publish(struct job *job)
{
    struct job **end = &pool.first;

    pthread_mutex_lock(&pool.lock);
    number_locked(job);
    /* The launching thread is one of them; a single block needs no other. */
    job->wanted = pool.processors - 1;
    if (job->grid.blocks - 1 < job->wanted)
        job->wanted = (uint32_t)(job->grid.blocks - 1);
    start_threads(job->wanted);
    while (*end != NULL)
        end = &(*end)->next;
    *end = job;
    if (job->wanted > 0)
        pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
}

static void withdraw(struct job *job)
{
    struct job **link = &pool.first;

    pthread_mutex_lock(&pool.lock);
    job->wanted = 0;
    while (job->working > 0)
        pthread_cond_wait(&pool.idle, &pool.lock);
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    pthread_mutex_unlock(&pool.lock);
}

/* ---- cooperative launches ---- */

/* What its threads wait for: that all of them are there. */
struct crew {
    struct job *job;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int go; /* 1: run, -1: not all could be started */
};

static void *join_crew(void *argument)
{
    struct crew *crew = argument;
    struct vgpu_runner *runner;
    int go;

    pthread_mutex_lock(&crew->lock);
    while (crew->go == 0)
        pthread_cond_wait(&crew->changed, &crew->lock);
    go = crew->go;
    pthread_mutex_unlock(&crew->lock);
    if (go < 0)
        return NULL;
    runner = vgpu_runner_create(0, pool.processors);
    if (runner != NULL)
        run_blocks(crew->job, runner);
    else
        note_failure(crew->job, -ENOMEM, NULL);
    vgpu_runner_destroy(runner);
    return NULL;
}

/* Two words in device memory: a size, and where blocks meet. The library of device code knows. */
static int create_workspace(struct job *job)
{
    return vgpu_memory_allocate(job->grid.launch->image->memory, 512, &job->grid.workspace);
}

/* A thread for each block: they may wait for one another for as long as they like. */
static void run_together(struct job *job)
{
    struct crew crew = {
        .job = job, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    uint32_t wanted = (uint32_t)job->grid.blocks, started = 0;
    pthread_t *threads = calloc(wanted, sizeof(*threads));
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    while (threads != NULL && started < wanted &&
           pthread_create(&threads[started], NULL, join_crew, &crew) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_lock(&crew.lock);
    crew.go = started == wanted ? 1 : -1;
    pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
    if (started != wanted)
        note_failure(job, -ENOMEM, NULL);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

static void run_apart(struct job *job)
{
    struct vgpu_runner *runner;

    publish(job);
    runner = take_runner();
    if (runner != NULL)
        run_blocks(job, runner);
    else
        note_failure(job, -ENOMEM, NULL);
    withdraw(job);
    if (runner != NULL)
        put_runner(runner);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int vgpu_simt_run(const struct vgpu_launch *launch, struct vgpu_fault *fault)
{
    struct job job = {.grid = {.launch = launch}};
    double start = vgpu_profile_wanted() ? now() : 0;
    int error = check(launch, &job.grid.blocks);

    *fault = (struct vgpu_fault){0};
    if (error == 0)
        error = vgpu_image_kernel(launch->image, launch->kernel, &job.grid.placed);
    if (error != 0)
        return error;
    job.grid.kernel = &job.grid.placed->unit->functions[job.grid.placed->unit->kernel];
    if (launch->cooperative) {
        error = create_workspace(&job);
        if (error != 0)
            return error;
        number(&job);
        run_together(&job);
        vgpu_memory_free(launch->image->memory, job.grid.workspace);
    } else {
        run_apart(&job);
    }
    if (vgpu_profile_wanted())
        vgpu_profile_launch(job.grid.kernel->name, now() - start);
    *fault = job.fault;
    return job.error;
}
