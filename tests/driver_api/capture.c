/* SPDX-License-Identifier: MIT */
/* Stream capture: what it makes, what it forbids, and that a graph does what was captured. */
#include <pthread.h>
#include <string.h>

#include "tests/driver_api/check.h"

#define COUNT 1000

struct setup {
    CUcontext context;
    CUmodule module;
    CUfunction fill, add;
    CUdeviceptr first, second;
    CUstream stream, other; /* that the legacy stream does not wait for */
};

static CUstream make_stream(unsigned int flags)
{
    CUstream stream;
    CHECK(cuStreamCreate(&stream, flags));
    return stream;
}

static CUevent make_event(void)
{
    CUevent event;
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    return event;
}

static void fill(const struct setup *setup, CUdeviceptr out, unsigned int value, CUstream stream)
{
    int count = COUNT;
    void *parameters[] = {&out, &value, &count};
    CHECK(cuLaunchKernel(setup->fill, 8, 1, 1, 128, 1, 1, 0, stream, parameters, NULL));
}

/* out += 3 * in */
static void add(const struct setup *setup, CUdeviceptr out, CUdeviceptr in, CUstream stream)
{
    int count = COUNT;
    void *parameters[] = {&out, &in, &count};
    CHECK(cuLaunchKernel(setup->add, 8, 1, 1, 128, 1, 1, 0, stream, parameters, NULL));
}

static void expect(CUdeviceptr memory, unsigned int first, unsigned int step)
{
    static unsigned int got[COUNT];
    CHECK(cuMemcpyDtoH(got, memory, sizeof(got)));
    for (unsigned int i = 0; i < COUNT; i++)
        EXPECT(got[i] == first + i * step);
}

static CUgraphExec instantiate(CUgraph graph)
{
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    return exec;
}

static size_t node_count(CUgraph graph)
{
    size_t count = 0;
    CHECK(cuGraphGetNodes(graph, NULL, &count));
    return count;
}

static void run(CUgraph graph, CUstream stream)
{
    CUgraphExec exec = instantiate(graph);
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuGraphExecDestroy(exec));
}

static CUstreamCaptureStatus status_of(CUstream stream)
{
    CUstreamCaptureStatus status;
    CHECK(cuStreamIsCapturing(stream, &status));
    return status;
}

/* ---- what is captured ---- */

static void work_is_done_by_launches_only(const struct setup *setup)
{
    CUgraph graph;
    CUgraphExec exec;
    CHECK(cuMemsetD32(setup->first, 7, COUNT));
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT(status_of(setup->stream) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
    EXPECT(status_of(setup->other) == CU_STREAM_CAPTURE_STATUS_NONE);
    fill(setup, setup->first, 100, setup->stream);
    CHECK(cuMemcpyDtoDAsync(setup->second, setup->first, COUNT * 4, setup->stream));
    add(setup, setup->first, setup->second, setup->stream);
    CHECK(cuMemsetD32Async(setup->second, 5, COUNT, setup->stream));
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    EXPECT(status_of(setup->stream) == CU_STREAM_CAPTURE_STATUS_NONE);
    expect(setup->first, 7, 0);
    EXPECT(node_count(graph) == 4);
    exec = instantiate(graph);
    CHECK(cuGraphDestroy(graph));
    for (int i = 0; i < 3; i++) {
        CHECK(cuMemsetD32(setup->first, 0, COUNT));
        CHECK(cuStreamSynchronize(NULL)); /* streams that do not block do not wait for it */
        CHECK(cuGraphLaunch(exec, setup->stream));
        CHECK(cuStreamSynchronize(setup->stream));
        expect(setup->first, 400, 4);
        expect(setup->second, 5, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
}

static void a_fork_is_joined(const struct setup *setup)
{
    CUevent fork = make_event(), join = make_event();
    CUgraph graph;
    size_t edges = 0;
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    fill(setup, setup->first, 0, setup->stream);
    CHECK(cuEventRecord(fork, setup->stream));
    CHECK(cuStreamWaitEvent(setup->other, fork, 0));
    EXPECT(status_of(setup->other) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
    fill(setup, setup->second, 10, setup->other);
    CHECK(cuEventRecord(join, setup->other));
    CHECK(cuStreamWaitEvent(setup->stream, join, 0));
    add(setup, setup->first, setup->second, setup->stream);
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    EXPECT(status_of(setup->other) == CU_STREAM_CAPTURE_STATUS_NONE);
    EXPECT(node_count(graph) == 3);
    CHECK(cuGraphGetEdges(graph, NULL, NULL, NULL, &edges));
    EXPECT(edges == 3 || edges == 2);
    run(graph, setup->stream);
    expect(setup->first, 30, 4);
    CHECK(cuGraphDestroy(graph));
    CHECK(cuEventDestroy(fork));
    CHECK(cuEventDestroy(join));
}

static void a_capture_says_what_it_has(const struct setup *setup)
{
    CUstreamCaptureStatus status;
    cuuint64_t id = 0;
    CUgraph seen = NULL, graph;
    const CUgraphNode *dependencies = NULL;
    size_t count = 0;
    CUgraphNode node;
    CUgraphNodeType type;
    CHECK(cuStreamGetCaptureInfo(setup->stream, &status, &id, &seen, NULL, NULL, NULL));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_NONE);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    fill(setup, setup->first, 1, setup->stream);
    CHECK(cuStreamGetCaptureInfo(setup->stream, &status, &id, &seen, &dependencies, NULL, &count));
    EXPECT(status == CU_STREAM_CAPTURE_STATUS_ACTIVE && id != 0 && seen != NULL && count == 1);
    CHECK(cuGraphNodeGetType(dependencies[0], &type));
    EXPECT(type == CU_GRAPH_NODE_TYPE_KERNEL);
    /* A node of one's own between what is captured. */
    CUDA_MEMSET_NODE_PARAMS set = {
        .dst = setup->second, .value = 9, .elementSize = 4, .width = COUNT, .height = 1};
    CHECK(cuGraphAddMemsetNode(&node, seen, dependencies, count, &set, setup->context));
    CHECK(cuStreamUpdateCaptureDependencies(setup->stream, &node, NULL, 1,
                                            CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    add(setup, setup->first, setup->second, setup->stream);
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    EXPECT(graph == seen && node_count(graph) == 3);
    run(graph, setup->stream);
    expect(setup->first, 28, 1);
    CHECK(cuGraphDestroy(graph));
}

static void a_capture_goes_on_in_a_graph(const struct setup *setup)
{
    CUgraph graph, captured;
    CUgraphNode first;
    CUDA_MEMSET_NODE_PARAMS set = {
        .dst = setup->second, .value = 2, .elementSize = 4, .width = COUNT, .height = 1};
    CHECK(cuGraphCreate(&graph, 0));
    CHECK(cuGraphAddMemsetNode(&first, graph, NULL, 0, &set, setup->context));
    CHECK(cuStreamBeginCaptureToGraph(setup->stream, graph, &first, NULL, 1,
                                      CU_STREAM_CAPTURE_MODE_GLOBAL));
    add(setup, setup->second, setup->second, setup->stream);
    CHECK(cuStreamEndCapture(setup->stream, &captured));
    EXPECT(captured == graph && node_count(graph) == 2);
    run(graph, setup->stream);
    expect(setup->second, 8, 0);
    CHECK(cuGraphDestroy(graph));
}

/* Memory of the host is read and written when the graph runs, whatever kind it is. */
static void host_memory_is_used_by_launches(const struct setup *setup, unsigned int *in,
                                            unsigned int *out)
{
    CUgraph graph;
    memset(out, 0, COUNT * 4);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuMemcpyHtoDAsync(setup->second, in, COUNT * 4, setup->stream));
    CHECK(cuMemsetD32Async(setup->first, 1, COUNT, setup->stream));
    add(setup, setup->first, setup->second, setup->stream);
    CHECK(cuMemcpyDtoHAsync(out, setup->first, COUNT * 4, setup->stream));
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    CUgraphExec exec = instantiate(graph);
    for (unsigned int round = 1; round < 4; round++) {
        for (unsigned int i = 0; i < COUNT; i++)
            in[i] = round * i;
        CHECK(cuGraphLaunch(exec, setup->stream));
        CHECK(cuStreamSynchronize(setup->stream));
        for (unsigned int i = 0; i < COUNT; i++)
            EXPECT(out[i] == 1 + 3 * round * i);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void all_host_memory(const struct setup *setup)
{
    static unsigned int in[COUNT], out[COUNT];
    void *pinned[2];
    host_memory_is_used_by_launches(setup, in, out);
    CHECK(cuMemAllocHost(&pinned[0], COUNT * 4));
    CHECK(cuMemAllocHost(&pinned[1], COUNT * 4));
    host_memory_is_used_by_launches(setup, pinned[0], pinned[1]);
    CHECK(cuMemFreeHost(pinned[0]));
    CHECK(cuMemFreeHost(pinned[1]));
}

static void CUDA_CB count_call(void *data)
{
    ++*(int *)data;
}

static void host_functions_run_in_each_launch(const struct setup *setup)
{
    CUgraph graph;
    int calls = 0;
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    fill(setup, setup->first, 0, setup->stream);
    CHECK(cuLaunchHostFunc(setup->stream, count_call, &calls));
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    EXPECT(calls == 0);
    CUgraphExec exec = instantiate(graph);
    CHECK(cuGraphDestroy(graph));
    for (int i = 1; i <= 3; i++) {
        CHECK(cuGraphLaunch(exec, setup->stream));
        CHECK(cuStreamSynchronize(setup->stream));
        EXPECT(calls == i);
    }
    CHECK(cuGraphExecDestroy(exec));
}

/* ---- what is forbidden ---- */

static void expect_invalidated(CUstream stream)
{
    CUgraph graph = (CUgraph)1;
    EXPECT(status_of(stream) == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    EXPECT(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    EXPECT(graph == NULL);
    EXPECT(status_of(stream) == CU_STREAM_CAPTURE_STATUS_NONE);
}

static void waiting_for_a_capture_ends_it(const struct setup *setup)
{
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    fill(setup, setup->first, 1, setup->stream);
    EXPECT(cuStreamSynchronize(setup->stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    expect_invalidated(setup->stream);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT(cuCtxSynchronize() == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    expect_invalidated(setup->stream);
}

static CUresult ask_flags(CUstream stream)
{
    unsigned int flags;
    return cuStreamGetFlags(stream, &flags);
}

static CUresult ask_id(CUstream stream)
{
    unsigned long long id;
    return cuStreamGetId(stream, &id);
}

static CUresult ask_device(CUstream stream)
{
    CUdevice device;
    return cuStreamGetDevice(stream, &device);
}

static CUresult ask_priority(CUstream stream)
{
    int priority;
    return cuStreamGetPriority(stream, &priority);
}

static CUresult ask_context(CUstream stream)
{
    CUcontext context;
    return cuStreamGetCtx(stream, &context);
}

static void questions_end_a_capture(const struct setup *setup)
{
    static const struct {
        CUresult (*ask)(CUstream stream);
        CUresult during;
    } questions[] = {{ask_flags, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED},
                     {ask_id, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED},
                     {ask_device, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED},
                     {ask_priority, CUDA_SUCCESS},
                     {ask_context, CUDA_SUCCESS}};
    CUstream blocking = make_stream(CU_STREAM_DEFAULT);
    CUgraph graph;
    for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
        CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
        CHECK(questions[i].ask(setup->other));
        CHECK(questions[i].ask(NULL));
        EXPECT(cuStreamGetFlags(setup->stream, NULL) == CUDA_ERROR_INVALID_VALUE);
        EXPECT(status_of(setup->stream) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
        EXPECT(questions[i].ask(setup->stream) == questions[i].during);
        EXPECT(questions[i].ask(setup->stream) == questions[i].during);
        if (questions[i].during) {
            expect_invalidated(setup->stream);
        } else {
            CHECK(cuStreamEndCapture(setup->stream, &graph));
            CHECK(cuGraphDestroy(graph));
        }
        CHECK(cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
        EXPECT(questions[i].ask(NULL) == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        EXPECT(questions[i].ask(NULL) == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        expect_invalidated(blocking);
    }
    CHECK(cuStreamDestroy(blocking));
}

static void queries_end_a_capture(const struct setup *setup)
{
    CHECK(cuCtxSynchronize()); /* or there is work that is not done */
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuStreamQuery(setup->other));
    CHECK(cuStreamQuery(NULL));
    for (int i = 0; i < 2; i++)
        EXPECT(cuStreamQuery(setup->stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    expect_invalidated(setup->stream);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    for (int i = 0; i < 2; i++)
        EXPECT(cuStreamQuery(setup->other) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    expect_invalidated(setup->stream);
}

static void launches_of_graphs_are_not_captured(const struct setup *setup)
{
    static const CUstreamCaptureMode modes[] = {CU_STREAM_CAPTURE_MODE_GLOBAL,
                                                CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
                                                CU_STREAM_CAPTURE_MODE_RELAXED};
    CUgraph graph;
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    fill(setup, setup->first, 3, setup->stream);
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    CUgraphExec exec = instantiate(graph);
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        CHECK(cuStreamBeginCapture(setup->stream, modes[i]));
        EXPECT(cuGraphLaunch(exec, setup->stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        EXPECT(cuMemsetD32Async(setup->first, 9, COUNT, setup->stream) ==
               CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        expect_invalidated(setup->stream);
    }
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuStreamSynchronize(setup->stream));
    expect(setup->first, 3, 1);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void unsafe_calls_are_a_matter_of_modes(const struct setup *setup)
{
    CUdeviceptr memory;
    CUgraph graph;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    EXPECT(cuMemAlloc(&memory, 4096) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    expect_invalidated(setup->stream);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    fill(setup, setup->first, 1, setup->stream);
    CHECK(cuThreadExchangeStreamCaptureMode(&mode));
    EXPECT(mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
    CHECK(cuMemAlloc(&memory, 4096));
    CHECK(cuMemFree(memory));
    CHECK(cuThreadExchangeStreamCaptureMode(&mode));
    EXPECT(mode == CU_STREAM_CAPTURE_MODE_RELAXED);
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    CHECK(cuGraphDestroy(graph));
}

static void the_legacy_stream_keeps_away(const struct setup *setup)
{
    CUstream blocking = make_stream(CU_STREAM_DEFAULT);
    CUstreamCaptureStatus status;
    CHECK(cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT(cuStreamIsCapturing(NULL, &status) == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    EXPECT(status_of(blocking) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
    EXPECT(cuMemsetD32Async(setup->first, 0, COUNT, NULL) == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    expect_invalidated(blocking);
    CHECK(cuStreamDestroy(blocking));
    EXPECT(cuStreamBeginCapture(CU_STREAM_LEGACY, CU_STREAM_CAPTURE_MODE_GLOBAL) ==
           CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

static void events_stay_in_their_capture(const struct setup *setup)
{
    CUevent outside = make_event(), inside = make_event();
    CUgraph graph;
    CHECK(cuEventRecord(outside, setup->other));
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT(cuStreamWaitEvent(setup->stream, outside, 0) == CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    expect_invalidated(setup->stream);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuStreamBeginCapture(setup->other, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuEventRecord(inside, setup->stream));
    EXPECT(cuStreamWaitEvent(setup->other, inside, 0) == CUDA_ERROR_STREAM_CAPTURE_MERGE);
    cuStreamEndCapture(setup->stream, &graph);
    cuStreamEndCapture(setup->other, &graph);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuEventRecord(inside, setup->stream));
    EXPECT(cuEventQuery(inside) == CUDA_ERROR_CAPTURED_EVENT);
    cuStreamEndCapture(setup->stream, &graph);
    CHECK(cuEventRecord(inside, setup->stream));
    CHECK(cuEventSynchronize(inside));
    CHECK(cuEventDestroy(inside));
    CHECK(cuEventDestroy(outside));
}

static void ends_must_match(const struct setup *setup)
{
    CUevent fork = make_event();
    CUgraph graph;
    EXPECT(cuStreamEndCapture(setup->stream, &graph) == CUDA_ERROR_ILLEGAL_STATE);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    EXPECT(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED) ==
           CUDA_ERROR_ILLEGAL_STATE);
    CHECK(cuEventRecord(fork, setup->stream));
    CHECK(cuStreamWaitEvent(setup->other, fork, 0));
    fill(setup, setup->first, 1, setup->other);
    EXPECT(cuStreamEndCapture(setup->stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    EXPECT(status_of(setup->other) == CU_STREAM_CAPTURE_STATUS_NONE);
    CHECK(cuEventDestroy(fork));
}

static void *end_elsewhere(void *argument)
{
    const struct setup *setup = argument;
    CUgraph graph;
    CHECK(cuCtxSetCurrent(setup->context));
    EXPECT(cuStreamEndCapture(setup->stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    return NULL;
}

static void threads_end_their_own(struct setup *setup)
{
    pthread_t thread;
    CUgraph graph;
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    EXPECT(pthread_create(&thread, NULL, end_elsewhere, setup) == 0);
    pthread_join(thread, NULL);
    cuStreamEndCapture(setup->stream, &graph);
    EXPECT(status_of(setup->stream) == CU_STREAM_CAPTURE_STATUS_NONE);
}

int main(void)
{
    struct setup setup = {.context = check_context()};
    setup.module = check_module();
    setup.fill = check_function(setup.module, "fill");
    setup.add = check_function(setup.module, "add_scaled");
    setup.first = check_memory(COUNT * 4);
    setup.second = check_memory(COUNT * 4);
    setup.stream = make_stream(CU_STREAM_NON_BLOCKING);
    setup.other = make_stream(CU_STREAM_NON_BLOCKING);
    work_is_done_by_launches_only(&setup);
    a_fork_is_joined(&setup);
    a_capture_says_what_it_has(&setup);
    a_capture_goes_on_in_a_graph(&setup);
    all_host_memory(&setup);
    host_functions_run_in_each_launch(&setup);
    waiting_for_a_capture_ends_it(&setup);
    questions_end_a_capture(&setup);
    queries_end_a_capture(&setup);
    launches_of_graphs_are_not_captured(&setup);
    unsafe_calls_are_a_matter_of_modes(&setup);
    the_legacy_stream_keeps_away(&setup);
    events_stay_in_their_capture(&setup);
    ends_must_match(&setup);
    threads_end_their_own(&setup);
    work_is_done_by_launches_only(&setup); /* nothing of all that is left */
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
