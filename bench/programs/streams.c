/* SPDX-License-Identifier: MIT */
/** Do launches into several streams, and waits between streams, cost more than those into one? */
#include "bench/programs/bench.h"

enum { STREAMS_MOST = 32 };

static struct bench bench;
static CUstream streams[STREAMS_MOST];
static CUevent events[2];

static void rate(unsigned int count)
{
    static struct bench_samples samples;
    unsigned int launches = bench_times(&bench, 10000, 640);
    uint64_t start = bench_now();
    for (unsigned int i = 0; i < launches; i++)
        bench_launch(&bench, streams[i % count]);
    BENCH(cuCtxSynchronize());
    bench_add(&samples, start, launches);
    bench_print(&samples, "1/s", 1, "streams.rate.%02u", count);
}

/* Each launch waits for the one before, in another stream. */
static void hand_over(void)
{
    static struct bench_samples samples;
    unsigned int launches = bench_times(&bench, 1000, 50);
    uint64_t start = bench_now();
    for (unsigned int i = 0; i < launches; i++) {
        bench_launch(&bench, streams[i % 2]);
        BENCH(cuEventRecord(events[i % 2], streams[i % 2]));
        BENCH(cuStreamWaitEvent(streams[(i + 1) % 2], events[i % 2], 0));
    }
    BENCH(cuCtxSynchronize());
    bench_add(&samples, start, launches);
    bench_print(&samples, "us", 1, "streams.hand_over");
}

static void life(void)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(&bench, 20, 10); turn++) {
        CUstream stream;
        uint64_t start = bench_now();
        BENCH(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
        BENCH(cuStreamDestroy(stream));
        bench_add(&samples, start, 1);
    }
    bench_print(&samples, "us", 1, "streams.create_destroy");
}

int main(int argc, char **argv)
{
    bench_begin(&bench, argc, argv);
    for (unsigned int i = 0; i < STREAMS_MOST; i++)
        BENCH(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
    for (unsigned int i = 0; i < 2; i++)
        BENCH(cuEventCreate(&events[i], CU_EVENT_DISABLE_TIMING));
    while (bench_turn(&bench)) {
        for (unsigned int count = 1; count <= STREAMS_MOST; count *= 4)
            rate(count);
        rate(STREAMS_MOST);
        hand_over();
        life();
    }
    return 0;
}
