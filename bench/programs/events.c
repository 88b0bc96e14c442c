/* SPDX-License-Identifier: MIT */
/** What do events and queries cost, of work that is done and of work that is not? */
#include "bench/programs/bench.h"

enum { BURST = 256 };

static struct bench bench;
static CUstream stream;
static CUevent first, second;

static void expect(CUresult error, CUresult expected, const char *what)
{
    if (error != expected)
        bench_check(error ? error : CUDA_ERROR_UNKNOWN, what, __FILE__, __LINE__);
}

static void record(void)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(&bench, 100, 5); turn++) {
        uint64_t start = bench_now();
        for (unsigned int i = 0; i < BURST; i++)
            BENCH(cuEventRecord(first, stream));
        bench_add(&samples, start, BURST);
        BENCH(cuStreamSynchronize(stream));
    }
    bench_print(&samples, "us", 1, "event.record");
}

static void queries(void)
{
    static struct bench_samples event, query;
    for (int pending = 0; pending < 2; pending++) {
        for (unsigned int turn = 0; turn < bench_times(&bench, 50, 5); turn++) {
            CUresult expected = pending ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
            if (pending)
                bench_launch_busy(&bench, stream);
            BENCH(cuEventRecord(first, stream));
            if (!pending)
                BENCH(cuStreamSynchronize(stream));
            cuStreamQuery(stream); /* the first query of new work is another question */
            uint64_t start = bench_now();
            for (unsigned int i = 0; i < BURST; i++)
                expect(cuEventQuery(first), expected, "cuEventQuery");
            bench_add(&event, start, BURST);
            start = bench_now();
            for (unsigned int i = 0; i < BURST; i++)
                expect(cuStreamQuery(stream), expected, "cuStreamQuery");
            bench_add(&query, start, BURST);
            BENCH(cuStreamSynchronize(stream));
        }
        bench_print(&event, "us", 1, "event.query.%s", pending ? "pending" : "done");
        bench_print(&query, "us", 1, "stream.query.%s", pending ? "pending" : "done");
    }
}

static void first_query(void)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(&bench, 200, 10); turn++) {
        bench_launch(&bench, stream);
        uint64_t start = bench_now();
        cuStreamQuery(stream);
        bench_add(&samples, start, 1);
        BENCH(cuStreamSynchronize(stream));
    }
    bench_print(&samples, "us", 1, "stream.query.first_after_launch");
}

static void round_trip(void)
{
    static struct bench_samples wait, elapsed;
    for (unsigned int turn = 0; turn < bench_times(&bench, 300, 30); turn++) {
        float milliseconds;
        BENCH(cuEventRecord(first, stream));
        bench_launch(&bench, stream);
        uint64_t start = bench_now();
        BENCH(cuEventRecord(second, stream));
        BENCH(cuEventSynchronize(second));
        bench_add(&wait, start, 1);
        start = bench_now();
        BENCH(cuEventElapsedTime(&milliseconds, first, second));
        bench_add(&elapsed, start, 1);
    }
    bench_print(&wait, "us", 1, "event.record_synchronise");
    bench_print(&elapsed, "us", 1, "event.elapsed");
}

static void life(void)
{
    static struct bench_samples samples;
    for (unsigned int turn = 0; turn < bench_times(&bench, 50, 5); turn++) {
        uint64_t start = bench_now();
        for (unsigned int i = 0; i < BURST; i++) {
            CUevent event;
            BENCH(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
            BENCH(cuEventDestroy(event));
        }
        bench_add(&samples, start, BURST);
        BENCH(cuCtxSynchronize());
    }
    bench_print(&samples, "us", 1, "event.create_destroy");
}

int main(int argc, char **argv)
{
    bench_begin(&bench, argc, argv);
    BENCH(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    BENCH(cuEventCreate(&first, CU_EVENT_DEFAULT));
    BENCH(cuEventCreate(&second, CU_EVENT_DEFAULT));
    record();
    queries();
    first_query();
    round_trip();
    life();
    return 0;
}
