/* SPDX-License-Identifier: MIT */
/** Do threads of one process keep each other from launching, or one's wait another's launches? */
#include <pthread.h>

#include "bench/programs/bench.h"

enum { THREADS_MOST = 16 };

static struct bench bench;

struct work {
    pthread_t thread;
    CUstream stream;
    unsigned int launches;
    unsigned int *running; /* atomic: threads that have not finished */
    pthread_barrier_t *begin;
    double latency; /* of a launch and its synchronisation, the mean, in nanoseconds */
};

static void *launch(void *argument)
{
    struct work *work = argument;
    BENCH(cuCtxSetCurrent(bench.context));
    pthread_barrier_wait(work->begin);
    for (unsigned int i = 0; i < work->launches; i++)
        bench_launch(&bench, work->stream);
    BENCH(cuStreamSynchronize(work->stream));
    return NULL;
}

static void *launch_and_wait(void *argument)
{
    struct work *work = argument;
    BENCH(cuCtxSetCurrent(bench.context));
    pthread_barrier_wait(work->begin);
    uint64_t start = bench_now();
    for (unsigned int i = 0; i < work->launches; i++) {
        bench_launch(&bench, work->stream);
        BENCH(cuStreamSynchronize(work->stream));
    }
    work->latency = (double)(bench_now() - start) / work->launches;
    return NULL;
}

/* Waits for long kernels as long as another thread works. */
static void *wait_for_long_kernels(void *argument)
{
    struct work *work = argument;
    BENCH(cuCtxSetCurrent(bench.context));
    pthread_barrier_wait(work->begin);
    /* relaxed: a hint */
    while (__atomic_load_n(work->running, __ATOMIC_RELAXED)) {
        bench_launch_busy(&bench, work->stream);
        BENCH(cuStreamSynchronize(work->stream));
    }
    return NULL;
}

static void start(struct work *work, void *(*body)(void *))
{
    if (pthread_create(&work->thread, NULL, body, work) != 0)
        bench_fail("pthread_create");
}

static void rate(unsigned int count)
{
    static struct bench_samples samples;
    struct work works[THREADS_MOST];
    pthread_barrier_t begin;
    unsigned int launches = bench_times(&bench, 20000, 640) / count;
    for (unsigned int turn = 0; turn < bench_times(&bench, 7, 3); turn++) {
        pthread_barrier_init(&begin, NULL, count + 1);
        for (unsigned int i = 0; i < count; i++) {
            works[i] = (struct work){.launches = launches, .begin = &begin};
            BENCH(cuStreamCreate(&works[i].stream, CU_STREAM_NON_BLOCKING));
            start(&works[i], launch);
        }
        pthread_barrier_wait(&begin);
        uint64_t begun = bench_now();
        for (unsigned int i = 0; i < count; i++)
            pthread_join(works[i].thread, NULL);
        bench_add(&samples, begun, (double)launches * count);
        for (unsigned int i = 0; i < count; i++)
            BENCH(cuStreamDestroy(works[i].stream));
        pthread_barrier_destroy(&begin);
    }
    bench_print(&samples, "1/s", 1, "threads.rate.%02u", count);
}

/* How long a launch takes to be done while another thread waits for long kernels. */
static void beside_a_wait(void)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(&bench, 7, 3); turn++) {
        unsigned int running = 1;
        pthread_barrier_t begin;
        pthread_barrier_init(&begin, NULL, 2);
        struct work waits = {.running = &running, .begin = &begin};
        struct work works = {.launches = bench_times(&bench, 1000, 50), .begin = &begin};
        BENCH(cuStreamCreate(&waits.stream, CU_STREAM_NON_BLOCKING));
        BENCH(cuStreamCreate(&works.stream, CU_STREAM_NON_BLOCKING));
        start(&waits, wait_for_long_kernels);
        start(&works, launch_and_wait);
        pthread_join(works.thread, NULL);
        __atomic_store_n(&running, 0, __ATOMIC_RELAXED);
        pthread_join(waits.thread, NULL);
        samples.sample[samples.count++] = works.latency;
        BENCH(cuStreamDestroy(waits.stream));
        BENCH(cuStreamDestroy(works.stream));
        pthread_barrier_destroy(&begin);
    }
    bench_print(&samples, "us", 1, "threads.synchronise_beside_a_wait");
}

int main(int argc, char **argv)
{
    bench_begin(&bench, argc, argv);
    for (unsigned int count = 1; count <= THREADS_MOST; count *= 2)
        rate(count);
    beside_a_wait();
    return 0;
}
