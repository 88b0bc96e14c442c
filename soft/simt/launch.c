/* SPDX-License-Identifier: MIT */
/* Launches: what a kernel may have, and blocks that run at once. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "interop/thread.h"
#include "soft/simt/meeting.h"
#include "soft/simt/pool.h"
#include "soft/simt/timeline.h"

enum { MOST_TOGETHER = 1 << 16 };

/* Also fills in what the launch says in another way. */
static int check(const struct vgpu_launch *launch, uint64_t *blocks, uint32_t cluster[3])
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
        cluster[n] = launch->cluster[n] != 0 ? launch->cluster[n] : 1;
        if (cluster[n] > VGPU_MAX_CLUSTER || launch->grid[n] % cluster[n] != 0)
            return -EINVAL;
        threads *= launch->block[n];
        *blocks *= launch->grid[n] / cluster[n];
    }
    if (cluster[0] * cluster[1] * cluster[2] > VGPU_MAX_CLUSTER)
        return -EINVAL;
    if (launch->cooperative && *blocks > MOST_TOGETHER)
        return -EINVAL;
    if (threads > VGPU_MAX_WARPS * VGPU_LANES || launch->dynamic_shared_bytes > (1u << 20))
        return -EINVAL;
    if (launch->parameters == NULL &&
        program->module->functions[program->kernels[launch->kernel].function].parameter_bytes > 0)
        return -EINVAL;
    return 0;
}

/* ---- cooperative launches ---- */

/* What its threads wait for: that all of them are there. */
struct crew {
    struct vgpu_job *job;
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
    runner = vgpu_runner_create(0, vgpu_pool_processors());
    if (runner != NULL)
        vgpu_job_run(crew->job, runner, false);
    else
        vgpu_job_fail(crew->job, -ENOMEM, NULL);
    vgpu_runner_destroy(runner);
    return NULL;
}

/* A thread for each block: they may wait for one another for as long as they like. */
static void run_together(struct vgpu_job *job)
{
    struct crew crew = {
        .job = job, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    uint32_t wanted = (uint32_t)job->grid.blocks, started = 0;
    pthread_t *threads = calloc(wanted, sizeof(*threads));

    while (threads != NULL && started < wanted &&
           vgpu_thread_create(&threads[started], NULL, join_crew, &crew) == 0)
        started++;
    pthread_mutex_lock(&crew.lock);
    crew.go = started == wanted ? 1 : -1;
    pthread_cond_broadcast(&crew.changed);
    pthread_mutex_unlock(&crew.lock);
    if (started != wanted)
        vgpu_job_fail(job, -ENOMEM, NULL);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int vgpu_simt_run(const struct vgpu_launch *launch, struct vgpu_fault *fault)
{
    struct vgpu_job job = {.grid = {.launch = launch}};
    bool timed = vgpu_profile_wanted() || vgpu_timeline_wanted();
    double start = timed ? now() : 0;
    int error = check(launch, &job.grid.blocks, job.grid.cluster);

    *fault = (struct vgpu_fault){0};
    if (error == 0)
        error = vgpu_image_kernel(launch->image, launch->kernel, &job.grid.placed);
    if (error != 0)
        return error;
    job.grid.kernel = &job.grid.placed->unit->functions[job.grid.placed->unit->kernel];
    if (launch->cooperative) {
        job.grid.meeting = vgpu_meeting_create((uint32_t)job.grid.blocks);
        if (job.grid.meeting == NULL)
            return -ENOMEM;
        job.grid.workspace = (uint64_t)(uintptr_t)job.grid.meeting->workspace;
        vgpu_pool_number(&job);
        run_together(&job);
        vgpu_meeting_destroy(job.grid.meeting);
    } else {
        vgpu_pool_run(&job);
    }
    double end = timed ? now() : 0;
    if (vgpu_profile_wanted())
        vgpu_profile_launch(job.grid.kernel->name, end - start);
    if (vgpu_timeline_wanted())
        vgpu_timeline_add(job.grid.kernel->name, start, end);
    *fault = job.fault;
    return job.error;
}
