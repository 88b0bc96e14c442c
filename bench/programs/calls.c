/* SPDX-License-Identifier: MIT */
/**
 * What does a call cost the thread that makes it? Bursts that are shorter than the queues of the
 * driver and of vgpu are long, each behind a synchronisation.
 *
 * calls WHAT,... COUNT makes one burst of each and prints nothing: bench/counts looks at them from
 * outside, at what runs below the function `measured`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/programs/bench.h"

enum { BURST = 512, BYTES = 4096, MANY_BYTES = 65536 };

static struct {
    struct bench bench;
    CUstream stream;
    CUevent event;
    CUgraphExec graph;
    CUgraphExec updated;
    CUgraphNode node; /* of the graph that `updated` was made from */
    char *pinned;
    char *pageable;
} state;

static void launch(void)
{
    bench_launch(&state.bench, state.stream);
}

static void launch_parameters(void)
{
    bench_launch_scale(&state.bench, state.stream);
}

static void launch_synchronise(void)
{
    launch();
    BENCH(cuStreamSynchronize(state.stream));
}

static void get_current(void)
{
    CUcontext context;
    BENCH(cuCtxGetCurrent(&context));
}

static void get_device(void)
{
    CUdevice device;
    BENCH(cuCtxGetDevice(&device));
}

static void primary_state(void)
{
    unsigned int flags;
    int active;
    BENCH(cuDevicePrimaryCtxGetState(0, &flags, &active));
}

static void is_capturing(void)
{
    CUstreamCaptureStatus status;
    BENCH(cuStreamIsCapturing(state.stream, &status));
}

static void pointer_attribute(void)
{
    unsigned int type;
    BENCH(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, state.bench.memory));
}

static void stream_query(void)
{
    BENCH(cuStreamQuery(state.stream));
}

static void event_record(void)
{
    BENCH(cuEventRecord(state.event, state.stream));
}

static void event_query(void)
{
    BENCH(cuEventQuery(state.event));
}

static void upload_pinned(void)
{
    BENCH(cuMemcpyHtoDAsync(state.bench.memory, state.pinned, BYTES, state.stream));
}

static void upload_pageable(void)
{
    BENCH(cuMemcpyHtoDAsync(state.bench.memory, state.pageable, 4, state.stream));
}

static void upload_pageable_more(void)
{
    BENCH(cuMemcpyHtoDAsync(state.bench.memory, state.pageable, MANY_BYTES, state.stream));
}

static void download_pageable_more(void)
{
    BENCH(cuMemcpyDtoHAsync(state.pageable, state.bench.memory, MANY_BYTES, state.stream));
}

static void download_pinned(void)
{
    BENCH(cuMemcpyDtoHAsync(state.pinned, state.bench.memory, BYTES, state.stream));
}

static void set_memory(void)
{
    BENCH(cuMemsetD8Async(state.bench.memory, 0, BYTES, state.stream));
}

static void wait_event(void)
{
    BENCH(cuStreamWaitEvent(state.stream, state.event, 0));
}

static void graph_launch(void)
{
    BENCH(cuGraphLaunch(state.graph, state.stream));
}

/* What a program does that gives a graph's kernels other memory before each launch. */
static void graph_update(void)
{
    void *none[] = {NULL};
    CUDA_KERNEL_NODE_PARAMS kernel = {.func = state.bench.empty,
                                      .gridDimX = 1,
                                      .gridDimY = 1,
                                      .gridDimZ = 1,
                                      .blockDimX = 1,
                                      .blockDimY = 1,
                                      .blockDimZ = 1,
                                      .kernelParams = none};
    if (state.node == NULL) {
        CUgraph graph;
        BENCH(cuGraphCreate(&graph, 0));
        BENCH(cuGraphAddKernelNode(&state.node, graph, NULL, 0, &kernel));
        BENCH(cuGraphInstantiate(&state.updated, graph, 0));
    }
    BENCH(cuGraphExecKernelNodeSetParams(state.updated, state.node, &kernel));
}

static void pool_alloc_free(void)
{
    CUdeviceptr address;
    BENCH(cuMemAllocAsync(&address, BYTES, state.stream));
    BENCH(cuMemFreeAsync(address, state.stream));
}

static void alloc_free(void)
{
    CUdeviceptr address;
    BENCH(cuMemAlloc(&address, BYTES));
    BENCH(cuMemFree(address));
}

static const struct what {
    const char *name;
    void (*call)(void);
} whats[] = {
    {"launch", launch},
    {"launch_parameters", launch_parameters},
    {"launch_synchronise", launch_synchronise},
    {"ctx_get_current", get_current},
    {"ctx_get_device", get_device},
    {"primary_state", primary_state},
    {"is_capturing", is_capturing},
    {"pointer_attribute", pointer_attribute},
    {"stream_query", stream_query},
    {"event_record", event_record},
    {"event_query", event_query},
    {"wait_event", wait_event},
    {"upload_pinned", upload_pinned},
    {"upload_pageable_4", upload_pageable},
    {"upload_pageable_65536", upload_pageable_more},
    {"download_pinned", download_pinned},
    {"download_pageable_65536", download_pageable_more},
    {"memset", set_memory},
    {"graph_launch", graph_launch},
    {"graph_update", graph_update},
    {"pool_alloc_free", pool_alloc_free},
    {"alloc_free", alloc_free},
};

static void capture_graph(void)
{
    CUgraph graph;
    BENCH(cuStreamBeginCapture(state.stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    launch();
    launch();
    BENCH(cuStreamEndCapture(state.stream, &graph));
    BENCH(cuGraphInstantiate(&state.graph, graph, 0));
    BENCH(cuGraphDestroy(graph));
}

static void prepare(void)
{
    BENCH(cuStreamCreate(&state.stream, CU_STREAM_NON_BLOCKING));
    BENCH(cuEventCreate(&state.event, CU_EVENT_DISABLE_TIMING));
    BENCH(cuMemHostAlloc((void **)&state.pinned, BYTES, 0));
    state.pageable = bench_allocate(MANY_BYTES);
    memset(state.pageable, 1, MANY_BYTES);
    capture_graph();
    event_record();
    BENCH(cuStreamSynchronize(state.stream));
}

/* A function of its own, so that instructions can be counted that it and what it calls take. */
static __attribute__((noinline)) void measured(void (*call)(void), unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        call();
}

static const struct what *find(const char *name)
{
    for (size_t i = 0; i < sizeof(whats) / sizeof(*whats); i++) {
        if (strcmp(whats[i].name, name) == 0)
            return &whats[i];
    }
    fprintf(stderr, "calls: there is no %s\n", name);
    exit(2);
}

static void once(char *names, const char *count)
{
    char *rest = NULL;
    for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        const struct what *what = find(name);
        what->call();
        BENCH(cuStreamSynchronize(state.stream));
        measured(what->call, (unsigned int)strtoul(count, NULL, 10));
        BENCH(cuStreamSynchronize(state.stream));
    }
}

int main(int argc, char **argv)
{
    static struct bench_samples samples;
    bench_begin(&state.bench, argc, argv);
    prepare();
    if (argc == 3) {
        once(argv[1], argv[2]);
        return 0;
    }
    for (size_t i = 0; i < sizeof(whats) / sizeof(*whats); i++) {
        for (unsigned int turn = 0; turn <= bench_times(&state.bench, 50, 5); turn++) {
            BENCH(cuStreamSynchronize(state.stream));
            uint64_t start = bench_now();
            measured(whats[i].call, BURST);
            if (turn) /* the first is warming up */
                bench_add(&samples, start, BURST);
        }
        BENCH(cuStreamSynchronize(state.stream));
        bench_print(&samples, "ns", 1, "call.%s", whats[i].name);
    }
    return 0;
}
