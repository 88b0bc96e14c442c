/* SPDX-License-Identifier: MIT */
/**
 * One tenant of bench/fairness/run: UID KERNEL_US BATCH DEPTH GAP_US. Becomes that user, so that
 * the mediator takes it for a tenant of its own; says "ready"; from the first line of input to the
 * next keeps DEPTH requests of BATCH kernels under way, or with a gap one after the other; then
 * prints how many there were and how long they took. Kernels of KERNEL_US are measured when nobody
 * else is there.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/programs/bench.h"

enum { DEPTH_MOST = 64, REQUESTS_MOST = 1 << 20 };

struct tenant {
    struct bench bench;
    CUstream stream;
    CUevent ends[DEPTH_MOST];
    uint64_t begins[DEPTH_MOST];
    unsigned int rounds, batch, depth, gap;
    double *replies; /* microseconds */
    unsigned int count;
};

static void launch(struct tenant *tenant, unsigned int rounds)
{
    void *parameters[] = {&tenant->bench.memory, &rounds};
    BENCH(
        cuLaunchKernel(tenant->bench.busy, 1, 1, 1, 1, 1, 1, 0, tenant->stream, parameters, NULL));
}

/* Nanoseconds of a kernel of so many rounds: the least of some, with what a launch costs. */
static double measure(struct tenant *tenant, unsigned int rounds)
{
    double least = 1e18;
    for (int i = 0; i < 5; i++) {
        uint64_t start = bench_now();
        launch(tenant, rounds);
        BENCH(cuStreamSynchronize(tenant->stream));
        double passed = (double)(bench_now() - start);
        least = passed < least ? passed : least;
    }
    return least;
}

/* With a kernel that lasts long enough for a launch's own time, and noise, not to matter. */
static void calibrate(struct tenant *tenant, double microseconds)
{
    double none = measure(tenant, 1), passed;
    unsigned int rounds = 1000;
    while ((passed = measure(tenant, rounds) - none) < 5e6 && rounds < 1u << 30)
        rounds *= 2;
    tenant->rounds = (unsigned int)(microseconds * 1e3 * rounds / passed) + 1;
}

static bool has_input(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

static void end_request(struct tenant *tenant, unsigned int place)
{
    BENCH(cuEventSynchronize(tenant->ends[place]));
    if (tenant->count < REQUESTS_MOST)
        tenant->replies[tenant->count++] = (double)(bench_now() - tenant->begins[place]) / 1e3;
}

static void work(struct tenant *tenant)
{
    struct timespec pause = {.tv_nsec = tenant->gap % 1000000 * 1000L,
                             .tv_sec = tenant->gap / 1000000};
    for (unsigned int request = 0; !has_input(); request++) {
        unsigned int place = request % tenant->depth;
        if (request >= tenant->depth)
            end_request(tenant, place);
        if (tenant->gap)
            nanosleep(&pause, NULL);
        tenant->begins[place] = bench_now();
        for (unsigned int i = 0; i < tenant->batch; i++)
            launch(tenant, tenant->rounds);
        BENCH(cuEventRecord(tenant->ends[place], tenant->stream));
        if (tenant->gap) /* the reply is looked at when it is there, and then comes the pause */
            BENCH(cuEventSynchronize(tenant->ends[place]));
    }
}

static int by_size(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static void report(struct tenant *tenant)
{
    qsort(tenant->replies, tenant->count, sizeof(*tenant->replies), by_size);
    printf("requests %u\n", tenant->count);
    if (tenant->count)
        printf("reply_p50_us %.1f\nreply_p99_us %.1f\n", tenant->replies[tenant->count / 2],
               tenant->replies[(unsigned int)(0.99 * tenant->count)]);
}

int main(int argc, char **argv)
{
    static struct tenant tenant;
    char line[64];
    if (argc != 6) {
        fputs("usage: tenant UID KERNEL_US BATCH DEPTH GAP_US\n", stderr);
        return 2;
    }
    if (setuid((uid_t)atoi(argv[1])) != 0)
        bench_fail("setuid");
    tenant.batch = (unsigned int)atoi(argv[3]);
    tenant.depth = (unsigned int)atoi(argv[4]);
    tenant.gap = (unsigned int)atoi(argv[5]);
    if (tenant.batch == 0 || tenant.depth == 0 || tenant.depth > DEPTH_MOST)
        return 2;
    tenant.replies = bench_allocate(REQUESTS_MOST * sizeof(*tenant.replies));
    bench_begin(&tenant.bench, 0, NULL);
    BENCH(cuStreamCreate(&tenant.stream, CU_STREAM_NON_BLOCKING));
    for (unsigned int i = 0; i < tenant.depth; i++)
        BENCH(cuEventCreate(&tenant.ends[i], CU_EVENT_DISABLE_TIMING));
    calibrate(&tenant, atof(argv[2]));
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        return 1;
    work(&tenant);
    BENCH(cuStreamSynchronize(tenant.stream));
    report(&tenant);
    return 0;
}
