/* SPDX-License-Identifier: MIT */
/**
 * One tenant of bench/fairness/run: UID ROUNDS BATCH DEPTH GAP_US. Becomes that user (0: stays who
 * it is), so that the mediator takes it for a tenant of its own; says "ready"; from a line of input
 * to the next keeps DEPTH requests of BATCH kernels of ROUNDS rounds under way, or with a gap one
 * after the other. The second line is SINCE UNTIL, monotonic nanoseconds: prints how many requests
 * ended then, how long they had taken (each of them, if there is a gap), what was done in a second,
 * and "end". The time is the same for all tenants, whose turns would else count more or less often
 * by chance. So it goes on, until the input ends. Without rounds a request is BATCH times some
 * memory, taken, written to and given back. UID alone: prints how many rounds a kernel of a
 * microsecond has, measured with nobody else there.
 */
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/programs/bench.h"

enum {
    DEPTH_MOST = 64,
    REQUESTS_MOST = 1 << 20,
    FLOOD_BYTES = 4 << 20,
};

struct reply {
    uint64_t ended;
    double took; /* microseconds */
};

struct tenant {
    struct bench bench;
    CUstream stream;
    CUevent ends[DEPTH_MOST];
    uint64_t begins[DEPTH_MOST];
    unsigned int rounds, batch, depth, gap;
    struct reply *replies;
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
static double rounds_of_a_microsecond(struct tenant *tenant)
{
    double none = measure(tenant, 1), passed;
    unsigned int rounds = 1000;
    while ((passed = measure(tenant, rounds) - none) < 2e7 && rounds < 1u << 30)
        rounds *= 2;
    return rounds * 1e3 / passed;
}

static void flood(struct tenant *tenant)
{
    CUdeviceptr memory;
    BENCH(cuMemAlloc(&memory, FLOOD_BYTES));
    BENCH(cuMemsetD8Async(memory, 1, FLOOD_BYTES, tenant->stream));
    BENCH(cuMemFree(memory));
}

static bool has_input(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

static void end_request(struct tenant *tenant, unsigned int place)
{
    BENCH(cuEventSynchronize(tenant->ends[place]));
    uint64_t now = bench_now();
    if (tenant->count < REQUESTS_MOST)
        tenant->replies[tenant->count++] =
            (struct reply){now, (double)(now - tenant->begins[place]) / 1e3};
}

static void begin_request(struct tenant *tenant, unsigned int place)
{
    tenant->begins[place] = bench_now();
    for (unsigned int i = 0; i < tenant->batch; i++) {
        if (tenant->rounds)
            launch(tenant, tenant->rounds);
        else
            flood(tenant);
    }
    BENCH(cuEventRecord(tenant->ends[place], tenant->stream));
}

static void work(struct tenant *tenant)
{
    struct timespec pause = {.tv_nsec = tenant->gap % 1000000 * 1000L,
                             .tv_sec = tenant->gap / 1000000};
    unsigned int begun = 0, ended = 0;
    assert(tenant->depth > 0);
    while (!has_input()) {
        if (begun - ended == tenant->depth)
            end_request(tenant, ended++ % tenant->depth);
        if (tenant->gap)
            nanosleep(&pause, NULL);
        begin_request(tenant, begun++ % tenant->depth);
        if (tenant->gap) /* the reply is looked at when it is there, and then comes the pause */
            end_request(tenant, ended++ % tenant->depth);
    }
}

static int by_size(const void *a, const void *b)
{
    double first = ((const struct reply *)a)->took, second = ((const struct reply *)b)->took;
    return (first > second) - (first < second);
}

/* Keeps those of a time. */
static void choose(struct tenant *tenant, uint64_t since, uint64_t until)
{
    unsigned int kept = 0;
    for (unsigned int i = 0; i < tenant->count; i++) {
        if (tenant->replies[i].ended > since && tenant->replies[i].ended <= until)
            tenant->replies[kept++] = tenant->replies[i];
    }
    tenant->count = kept;
}

static void report(struct tenant *tenant, uint64_t since, uint64_t until)
{
    choose(tenant, since, until);
    qsort(tenant->replies, tenant->count, sizeof(*tenant->replies), by_size);
    printf("requests %u\n", tenant->count);
    if (tenant->count)
        printf("reply_p50_us %.1f\nreply_p99_us %.1f\n", tenant->replies[tenant->count / 2].took,
               tenant->replies[(unsigned int)(0.99 * tenant->count)].took);
    if (tenant->gap) { /* few */
        printf("replies_us");
        for (unsigned int i = 0; i < tenant->count; i++)
            printf(" %.1f", tenant->replies[i].took);
        printf("\n");
    }
    if (until > since)
        printf("rounds_per_second %.0f\n", (double)tenant->count * tenant->batch * tenant->rounds *
                                               1e9 / (double)(until - since));
    puts("end");
    fflush(stdout);
}

static void become(const char *uid)
{
    if (atoi(uid) && setuid((uid_t)atoi(uid)) != 0)
        bench_fail("setuid");
}

/* False if the words do not say what to do. */
static bool read_words(struct tenant *tenant, char **words)
{
    tenant->rounds = (unsigned int)atoi(words[0]);
    tenant->batch = (unsigned int)atoi(words[1]);
    tenant->depth = (unsigned int)atoi(words[2]);
    tenant->gap = (unsigned int)atoi(words[3]);
    return tenant->batch && tenant->depth && tenant->depth <= DEPTH_MOST;
}

/* False: there is nothing more to do. */
static bool take_turn(struct tenant *tenant)
{
    char line[64], *rest;
    if (!fgets(line, sizeof(line), stdin))
        return false;
    tenant->count = 0;
    work(tenant);
    BENCH(cuStreamSynchronize(tenant->stream));
    if (!fgets(line, sizeof(line), stdin))
        return false;
    uint64_t since = strtoull(line, &rest, 10), until = strtoull(rest, NULL, 10);
    report(tenant, since, until);
    return true;
}

int main(int argc, char **argv)
{
    static struct tenant tenant;
    if (argc != 2 && (argc != 6 || !read_words(&tenant, argv + 2))) {
        fputs("usage: tenant UID [ROUNDS BATCH DEPTH GAP_US]\n", stderr);
        return 2;
    }
    become(argv[1]);
    tenant.replies = bench_allocate(REQUESTS_MOST * sizeof(*tenant.replies));
    bench_begin(&tenant.bench, 0, NULL);
    BENCH(cuStreamCreate(&tenant.stream, CU_STREAM_NON_BLOCKING));
    for (unsigned int i = 0; i < tenant.depth; i++)
        BENCH(cuEventCreate(&tenant.ends[i], CU_EVENT_DISABLE_TIMING));
    if (argc == 2) {
        printf("%.3f\n", rounds_of_a_microsecond(&tenant));
        return 0;
    }
    launch(&tenant, 1);
    BENCH(cuStreamSynchronize(tenant.stream));
    puts("ready");
    fflush(stdout);
    while (take_turn(&tenant))
        continue;
    return 0;
}
