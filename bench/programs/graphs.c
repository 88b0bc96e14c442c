/* SPDX-License-Identifier: MIT */
/** What do graphs cost: to capture, to instantiate, to launch? */
#include "bench/programs/bench.h"

static struct bench bench;
static CUstream stream;

static CUgraph capture(unsigned int nodes)
{
    CUgraph graph;
    BENCH(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    for (unsigned int i = 0; i < nodes; i++)
        bench_launch_scale(&bench, stream);
    BENCH(cuStreamEndCapture(stream, &graph));
    return graph;
}

static void life(unsigned int nodes)
{
    static struct bench_samples captured, instantiated;
    for (unsigned int turn = 0; turn < bench_times(&bench, 10, 3); turn++) {
        CUgraphExec exec;
        uint64_t start = bench_now();
        CUgraph graph = capture(nodes);
        bench_add(&captured, start, 1);
        start = bench_now();
        BENCH(cuGraphInstantiate(&exec, graph, 0));
        bench_add(&instantiated, start, 1);
        BENCH(cuGraphExecDestroy(exec));
        BENCH(cuGraphDestroy(graph));
    }
    bench_print(&captured, "us", 1, "graph.capture.%04u", nodes);
    bench_print(&instantiated, "us", 1, "graph.instantiate.%04u", nodes);
}

static void launches(unsigned int nodes)
{
    static struct bench_samples enqueue, done, latency;
    enum { BURST = 32 };
    CUgraphExec exec;
    CUgraph graph = capture(nodes);
    BENCH(cuGraphInstantiate(&exec, graph, 0));
    BENCH(cuGraphLaunch(exec, stream));
    BENCH(cuStreamSynchronize(stream));
    for (unsigned int turn = 0; turn < bench_times(&bench, 30, 3); turn++) {
        uint64_t start = bench_now();
        for (unsigned int i = 0; i < BURST; i++)
            BENCH(cuGraphLaunch(exec, stream));
        bench_add(&enqueue, start, BURST);
        BENCH(cuStreamSynchronize(stream));
        bench_add(&done, start, BURST);
    }
    for (unsigned int turn = 0; turn < bench_times(&bench, 200, 10); turn++) {
        uint64_t start = bench_now();
        BENCH(cuGraphLaunch(exec, stream));
        BENCH(cuStreamSynchronize(stream));
        bench_add(&latency, start, 1);
    }
    bench_print(&enqueue, "us", 1, "graph.launch.enqueue.%04u", nodes);
    bench_print(&done, "1/s", 1, "graph.launch.rate.%04u", nodes);
    bench_print(&latency, "us", 1, "graph.launch.synchronise.%04u", nodes);
    BENCH(cuGraphExecDestroy(exec));
    BENCH(cuGraphDestroy(graph));
}

int main(int argc, char **argv)
{
    bench_begin(&bench, argc, argv);
    BENCH(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (unsigned int nodes = 1; nodes <= bench_times(&bench, 1000, 10); nodes *= 10) {
        life(nodes);
        launches(nodes);
    }
    return 0;
}
