/* SPDX-License-Identifier: MIT */
/** What does a launch cost the program, how many per second are there, how long until one is done?
 */
#include "bench/programs/bench.h"

enum { BURST = 512 };

typedef void launch_function(const struct bench *bench, CUstream stream);

static void enqueue(const struct bench *bench, launch_function *launch, CUstream stream,
                    const char *name)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(bench, 10, 5); turn++) {
        uint64_t start = bench_now();
        for (unsigned int i = 0; i < BURST; i++)
            launch(bench, stream);
        bench_add(&samples, start, BURST);
        BENCH(cuStreamSynchronize(stream));
    }
    bench_print(&samples, "us", 1, "launch.enqueue.%s", name);
}

static void rate(const struct bench *bench, launch_function *launch, CUstream stream,
                 const char *name)
{
    static struct bench_samples samples;
    unsigned int count = bench_times(bench, 20000, 1000);
    uint64_t start = bench_now();
    for (unsigned int i = 0; i < count; i++)
        launch(bench, stream);
    BENCH(cuStreamSynchronize(stream));
    bench_add(&samples, start, count);
    bench_print(&samples, "1/s", 1, "launch.rate.%s", name);
}

static void latency(const struct bench *bench, CUstream stream)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(bench, 100, 50); turn++) {
        uint64_t start = bench_now();
        bench_launch(bench, stream);
        BENCH(cuStreamSynchronize(stream));
        bench_add(&samples, start, 1);
    }
    bench_print(&samples, "us", 1, "launch.synchronise");
    for (unsigned int turn = 0; turn < bench_times(bench, 100, 50); turn++) {
        uint64_t start = bench_now();
        bench_launch(bench, stream);
        BENCH(cuCtxSynchronize());
        bench_add(&samples, start, 1);
    }
    bench_print(&samples, "us", 1, "launch.synchronise_context");
}

int main(int argc, char **argv)
{
    struct bench bench;
    CUstream stream;
    bench_begin(&bench, argc, argv);
    BENCH(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    while (bench_turn(&bench)) {
        enqueue(&bench, bench_launch, stream, "empty");
        enqueue(&bench, bench_launch_scale, stream, "parameters");
        rate(&bench, bench_launch, stream, "empty");
        rate(&bench, bench_launch_scale, stream, "parameters");
        latency(&bench, stream);
    }
    return 0;
}
