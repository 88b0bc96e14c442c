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
    CUgraph children[2];
    CUgraphExec parent;
    CUgraphNode child; /* of `parent`, where one of `children` is */
    char *pinned;
    char *planes; /* pinned, too */
    char *registered;
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

/* 8 planes of 16 rows that do not lie side by side in the program's memory. */
static CUDA_MEMCPY3D planes(void)
{
    return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_HOST,
                           .srcPitch = 128,
                           .srcHeight = 20,
                           .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                           .dstDevice = state.bench.memory,
                           .dstPitch = 512,
                           .dstHeight = 16,
                           .WidthInBytes = 100,
                           .Height = 16,
                           .Depth = 8};
}

static void upload_planes(void)
{
    CUDA_MEMCPY3D copy = planes();
    copy.srcHost = state.pageable;
    BENCH(cuMemcpy3DAsync(&copy, state.stream));
}

static void upload_planes_pinned(void)
{
    CUDA_MEMCPY3D copy = planes();
    copy.srcHost = state.planes;
    BENCH(cuMemcpy3DAsync(&copy, state.stream));
}

static void download_planes(void)
{
    CUDA_MEMCPY3D copy = planes();
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = copy.dstDevice;
    copy.srcPitch = copy.dstPitch;
    copy.srcHeight = copy.dstHeight;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = state.pageable;
    copy.dstPitch = 128;
    copy.dstHeight = 20;
    BENCH(cuMemcpy3DAsync(&copy, state.stream));
}

static void upload_registered(void)
{
    BENCH(cuMemcpyHtoDAsync(state.bench.memory, state.registered, BYTES, state.stream));
}

static void download_little(void)
{
    BENCH(cuMemcpyDtoH(state.pageable, state.bench.memory, 4));
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

static CUgraph capture_two(void)
{
    CUgraph graph;
    BENCH(cuStreamBeginCapture(state.stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    launch();
    launch();
    BENCH(cuStreamEndCapture(state.stream, &graph));
    return graph;
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

/* What JAX does that calls a library with other memory before each launch. */
static void graph_child(void)
{
    static unsigned int turn;
    if (state.parent == NULL) {
        CUgraph graph;
        BENCH(cuGraphCreate(&graph, 0));
        for (int i = 0; i < 2; i++)
            state.children[i] = capture_two();
        BENCH(cuGraphAddChildGraphNode(&state.child, graph, NULL, 0, state.children[0]));
        BENCH(cuGraphInstantiate(&state.parent, graph, 0));
    }
    BENCH(
        cuGraphExecChildGraphNodeSetParams(state.parent, state.child, state.children[turn++ % 2]));
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
    {"download_pageable_4", download_little},
    {"upload_planes", upload_planes},
    {"upload_planes_pinned", upload_planes_pinned},
    {"download_planes", download_planes},
    {"upload_registered", upload_registered},
    {"memset", set_memory},
    {"graph_launch", graph_launch},
    {"graph_update", graph_update},
    {"graph_child", graph_child},
    {"pool_alloc_free", pool_alloc_free},
    {"alloc_free", alloc_free},
};

static void capture_graph(void)
{
    CUgraph graph = capture_two();
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
    BENCH(cuMemHostAlloc((void **)&state.planes, MANY_BYTES, 0));
    state.registered = bench_allocate(MANY_BYTES);
    memset(state.registered, 1, MANY_BYTES);
    BENCH(cuMemHostRegister(state.registered, MANY_BYTES, 0));
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
