/* SPDX-License-Identifier: MIT */
#include "soft/simt/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "interop/thread.h"
#include "soft/simt/meeting.h"

/* The one pool of the process. Threads start when they are first of use and stay. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job may want threads */
    pthread_cond_t idle; /* a thread has left a job */
    struct vgpu_job *first;
    struct vgpu_runner *spare; /* of launching threads */
    uint32_t threads, processors;
    uint32_t jobs, launching; /* jobs, and threads that launched one and run its blocks */
    uint64_t launches;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .idle = PTHREAD_COND_INITIALIZER};

/* ---- sharing threads among jobs ---- */

/* Gives a job `share` pool threads: those that it lacks may come, and those too many should go. */
static void set_share(struct vgpu_job *job, uint32_t share)
{
    uint32_t there = job->working - job->parting;

    job->wanted = share > there ? share - there : 0;
    atomic_store_explicit(&job->leaving, there > share ? (int)(there - share) : 0,
                          memory_order_relaxed);
}

/*
 * Launching threads run their own jobs; the processors that are left are for pool threads. What a
 * job has no use for is for those behind it. With the lock held.
 */
static void share_threads(void)
{
    uint32_t spare = pool.processors > pool.launching ? pool.processors - pool.launching : 0;
    uint32_t jobs = pool.jobs;
    bool wanted = false;

    for (struct vgpu_job *job = pool.first; job != NULL; job = job->next, jobs--) {
        uint32_t share = (spare + jobs - 1) / jobs;

        share = share < job->most ? share : job->most;
        spare -= share;
        set_share(job, share);
        wanted |= job->wanted > 0;
    }
    if (wanted)
        pthread_cond_broadcast(&pool.work);
}

/* True if the thread is one of those that should go. */
static bool may_leave(struct vgpu_job *job)
{
    bool left = false;

    pthread_mutex_lock(&pool.lock);
    if (atomic_load_explicit(&job->leaving, memory_order_relaxed) > 0) {
        atomic_fetch_sub_explicit(&job->leaving, 1, memory_order_relaxed);
        job->parting++;
        left = true;
    }
    pthread_mutex_unlock(&pool.lock);
    return left;
}

/* ---- running blocks ---- */

void vgpu_job_fail(struct vgpu_job *job, int error, const struct vgpu_fault *fault)
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

bool vgpu_job_run(struct vgpu_job *job, struct vgpu_runner *runner, bool of_the_pool)
{
    const struct vgpu_launch *launch = job->grid.launch;
    struct vgpu_fault fault;
    bool left = false;
    uint64_t index;
    int error = vgpu_runner_begin(runner, &job->grid);

    while (error == 0) {
        if (atomic_load_explicit(&job->grid.stop, memory_order_relaxed) != 0)
            break;
        if (of_the_pool && atomic_load_explicit(&job->leaving, memory_order_relaxed) > 0) {
            left = may_leave(job);
            if (left)
                break;
        }
        index = atomic_fetch_add_explicit(&job->grid.next, 1, memory_order_relaxed);
        if (index >= job->grid.blocks)
            break;
        if (launch->cancel != NULL && *launch->cancel != 0) {
            fault = (struct vgpu_fault){.kind = VGPU_FAULT_CANCELLED, .text = "cancelled"};
            error = -EFAULT;
        } else {
            error = vgpu_runner_block(runner, index, &fault);
        }
        if (job->grid.meeting != NULL)
            vgpu_meeting_leave(job->grid.meeting);
    }
    if (vgpu_runner_counts(runner) != NULL)
        vgpu_profile_add(job->grid.kernel->name, vgpu_runner_counts(runner));
    if (error != 0)
        vgpu_job_fail(job, error, error == -EFAULT ? &fault : NULL);
    return left;
}

/* ---- pool threads ---- */

static struct vgpu_job *find_work(void)
{
    for (struct vgpu_job *job = pool.first; job != NULL; job = job->next) {
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
        struct vgpu_job *job = find_work();
        bool left;

        if (job == NULL) {
            pthread_cond_wait(&pool.work, &pool.lock);
            continue;
        }
        job->wanted--;
        job->working++;
        pthread_mutex_unlock(&pool.lock);
        left = vgpu_job_run(job, runner, true);
        pthread_mutex_lock(&pool.lock);
        job->working--;
        if (left) {
            job->parting--;
        } else {
            /* There are no more blocks to begin: whoever is still at it needs no help. */
            job->most = job->working - job->parting;
            share_threads();
        }
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
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (pool.threads < wanted) {
        if (vgpu_thread_create(&thread, &attributes, serve,
                               (void *)(uintptr_t)(pool.threads + 1)) != 0)
            break;
        pool.threads++;
    }
    pthread_attr_destroy(&attributes);
}

/* ---- launching threads ---- */

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
static void number(struct vgpu_job *job)
{
    if (pool.processors == 0)
        pool.processors = count_processors();
    job->grid.id = ++pool.launches;
}

void vgpu_pool_number(struct vgpu_job *job)
{
    pthread_mutex_lock(&pool.lock);
    number(job);
    pthread_mutex_unlock(&pool.lock);
}

uint32_t vgpu_pool_processors(void)
{
    return pool.processors;
}

static void publish(struct vgpu_job *job)
{
    struct vgpu_job **end = &pool.first;

    pthread_mutex_lock(&pool.lock);
    number(job);
    /* The launching thread is one of them; a single block needs no other. */
    job->most = pool.processors - 1;
    if (job->grid.blocks - 1 < job->most)
        job->most = (uint32_t)(job->grid.blocks - 1);
    start_threads(job->most);
    while (*end != NULL)
        end = &(*end)->next;
    *end = job;
    pool.jobs++;
    pool.launching++;
    share_threads();
    pthread_mutex_unlock(&pool.lock);
}

static void withdraw(struct vgpu_job *job)
{
    struct vgpu_job **link = &pool.first;

    pthread_mutex_lock(&pool.lock);
    pool.launching--;
    job->most = job->working - job->parting;
    share_threads();
    while (job->working > 0)
        pthread_cond_wait(&pool.idle, &pool.lock);
    while (*link != NULL && *link != job)
        link = &(*link)->next;
    *link = job->next;
    pool.jobs--;
    if (pool.jobs > 0)
        share_threads();
    pthread_mutex_unlock(&pool.lock);
}

void vgpu_pool_run(struct vgpu_job *job)
{
    struct vgpu_runner *runner;

    publish(job);
    runner = take_runner();
    if (runner != NULL)
        vgpu_job_run(job, runner, false);
    else
        vgpu_job_fail(job, -ENOMEM, NULL);
    withdraw(job);
    if (runner != NULL)
        put_runner(runner);
}
