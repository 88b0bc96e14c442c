/* SPDX-License-Identifier: MIT */
/** How much do 1 to 16 processes at once get done, and how long does each of them wait? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/programs/bench.h"

enum { PROCESSES_MOST = 16, BURST = 256 };

struct shared {
    unsigned int ready;  /* atomic */
    uint64_t begin, end; /* monotonic nanoseconds; 0 until all are ready; atomic */
    uint64_t launches[PROCESSES_MOST];
    uint64_t waits[PROCESSES_MOST];
};

static uint64_t wait_for_begin(struct shared *shared)
{
    uint64_t begin;
    /* release: pairs with the acquire load in the parent */
    __atomic_fetch_add(&shared->ready, 1, __ATOMIC_RELEASE);
    while ((begin = __atomic_load_n(&shared->begin, __ATOMIC_ACQUIRE)) == 0)
        usleep(1000);
    while (bench_now() < begin)
        ;
    return begin;
}

/* Bursts of launches in the first half of the time, single launches with a wait in the second. */
static int work(struct shared *shared, unsigned int number, int argc, char **argv)
{
    struct bench bench;
    CUstream stream;
    bench_begin(&bench, argc, argv);
    BENCH(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    uint64_t begin = wait_for_begin(shared);
    uint64_t half = begin + (shared->end - begin) / 2;
    while (bench_now() < half) {
        for (unsigned int i = 0; i < BURST; i++)
            bench_launch(&bench, stream);
        BENCH(cuStreamSynchronize(stream));
        shared->launches[number] += BURST;
    }
    while (bench_now() < shared->end) {
        bench_launch(&bench, stream);
        BENCH(cuStreamSynchronize(stream));
        shared->waits[number]++;
    }
    return 0;
}

static void start_all(struct shared *shared, unsigned int count, uint64_t nanoseconds)
{
    int status;
    while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) < count) {
        pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended > 0) {
            fprintf(stderr, "processes: one of %u could not start\n", count);
            _exit(1);
        }
        usleep(1000);
    }
    uint64_t begin = bench_now() + 5000000;
    shared->end = begin + nanoseconds;
    __atomic_store_n(&shared->begin, begin, __ATOMIC_RELEASE);
}

static int at_once(struct shared *shared, unsigned int count, int argc, char **argv)
{
    bool small = argc > 1 && strcmp(argv[1], "--small") == 0;
    uint64_t nanoseconds = small ? 200000000 : 2000000000;
    uint64_t launches = 0, waits = 0;
    int failed = 0, status;
    memset(shared, 0, sizeof(*shared));
    for (unsigned int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child < 0)
            bench_fail("fork");
        if (child == 0)
            exit(work(shared, i, argc, argv));
    }
    start_all(shared, count, nanoseconds);
    while (wait(&status) > 0)
        failed |= status;
    for (unsigned int i = 0; i < count; i++) {
        launches += shared->launches[i];
        waits += shared->waits[i];
    }
    double half = (double)nanoseconds / 2e9;
    printf("processes.%02u.launches %.6g 1/s\n", count, (double)launches / half);
    printf("processes.%02u.synchronise %.6g us\n", count, half * 1e6 * count / (double)waits);
    fflush(stdout);
    return failed;
}

int main(int argc, char **argv)
{
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        bench_fail("mmap");
    for (unsigned int count = 1; count <= PROCESSES_MOST; count *= 2) {
        if (at_once(shared, count, argc, argv) != 0)
            return 1;
    }
    return 0;
}
