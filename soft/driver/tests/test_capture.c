/* SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "driver_test.h"

static CUfunction poke;
static CUdeviceptr words; /* 16 words of device memory, 0 at first */
static CUstream stream, other;
static CUevent event, joined;

static int opens(void **state)
{
    CUmodule module;

    context_opens(state);
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&poke, module, "poke"));
    assert_cuda(cuMemAlloc(&words, 64));
    assert_cuda(cuMemsetD32(words, 0, 16));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    assert_cuda(cuEventCreate(&joined, CU_EVENT_DISABLE_TIMING));
    return 0;
}

static CUresult poke_in(CUstream where, unsigned int index, int value)
{
    CUdeviceptr place = words + 4 * index;

    return cuLaunchKernel(poke, 1, 1, 1, 1, 1, 1, 0, where, (void *[]){&place, &value}, NULL);
}

static int word(unsigned int index)
{
    int value;

    assert_cuda(cuMemcpyDtoH(&value, words + 4 * index, sizeof(value)));
    return value;
}

static CUstreamCaptureStatus status_of(CUstream which)
{
    CUstreamCaptureStatus status;

    assert_cuda(cuStreamIsCapturing(which, &status));
    return status;
}

static void launch(CUgraph graph)
{
    CUgraphExec executable;

    assert_cuda(cuGraphInstantiate(&executable, graph, 0));
    assert_cuda(cuGraphLaunch(executable, stream));
    assert_cuda(cuStreamSynchronize(stream));
    assert_cuda(cuGraphExecDestroy(executable));
}

static void set_flag(void *data)
{
    *(int *)data += 1;
}

static void what_a_stream_is_told_becomes_a_graph_that_repeats_it(void **state)
{
    static const CUgraphNodeType wanted[] = {CU_GRAPH_NODE_TYPE_MEMSET, CU_GRAPH_NODE_TYPE_KERNEL,
                                             CU_GRAPH_NODE_TYPE_MEMCPY, CU_GRAPH_NODE_TYPE_HOST,
                                             CU_GRAPH_NODE_TYPE_BATCH_MEM_OP};
    CUgraphNode nodes[8];
    size_t count = 8, edges = 0;
    int called = 0, back = 0;
    CUgraphNodeType type;
    CUgraph graph;

    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_int_equal(status_of(stream), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    assert_cuda(cuMemsetD32Async(words, 7, 2, stream));
    assert_cuda(poke_in(stream, 1, 8));
    assert_cuda(cuMemcpyDtoHAsync(&back, words + 4, sizeof(back), stream));
    assert_cuda(cuLaunchHostFunc(stream, set_flag, &called));
    assert_cuda(cuStreamWriteValue32(stream, words + 8, 9, 0));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_int_equal(status_of(stream), CU_STREAM_CAPTURE_STATUS_NONE);
    assert_cuda(cuStreamSynchronize(stream));
    assert_int_equal(word(0), 0);
    assert_int_equal(called, 0);
    assert_cuda(cuGraphGetNodes(graph, nodes, &count));
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        assert_cuda(cuGraphNodeGetType(nodes[i], &type));
        assert_int_equal(type, wanted[i]);
    }
    assert_cuda(cuGraphGetEdges(graph, NULL, NULL, NULL, &edges));
    assert_int_equal(edges, 4);
    for (int i = 1; i <= 2; i++) {
        launch(graph);
        assert_int_equal(called, i);
        assert_int_equal(back, 8);
        assert_int_equal(word(0), 7);
        assert_int_equal(word(2), 9);
        assert_cuda(cuMemsetD32(words, 0, 3));
        back = 0;
    }
    assert_cuda(cuGraphDestroy(graph));
}

static void an_event_takes_another_stream_along_and_back(void **state)
{
    CUgraphNode nodes[3], from[4], to[4];
    size_t count = 3, edges = 4, roots = 0;
    CUgraph graph;

    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    assert_cuda(poke_in(stream, 0, 1));
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda(cuStreamWaitEvent(other, event, 0));
    assert_int_equal(status_of(other), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    assert_cuda(poke_in(other, 1, 2));
    assert_cuda(cuEventRecord(joined, other));
    assert_cuda(poke_in(stream, 2, 3));
    assert_cuda(cuStreamWaitEvent(stream, joined, 0));
    assert_cuda(poke_in(stream, 3, 4));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_int_equal(status_of(other), CU_STREAM_CAPTURE_STATUS_NONE);
    assert_cuda(cuGraphGetNodes(graph, NULL, &count));
    assert_int_equal(count, 4);
    assert_cuda(cuGraphGetEdges(graph, from, to, NULL, &edges));
    assert_int_equal(edges, 4);
    assert_cuda(cuGraphGetRootNodes(graph, NULL, &roots));
    assert_int_equal(roots, 1);
    assert_cuda(cuGraphNodeGetDependencies(to[3], NULL, NULL, &count));
    assert_int_equal(count, 2);
    assert_cuda(cuGraphNodeGetDependentNodes(from[0], nodes, NULL, &count));
    assert_int_equal(count, 2);
    launch(graph);
    for (unsigned int i = 0; i < 4; i++)
        assert_int_equal(word(i), i + 1);
    /* The event was captured, and is not an event of any stream's. */
    assert_cuda_error(cuEventQuery(event), CUDA_ERROR_CAPTURED_EVENT);
    assert_cuda_error(cuEventSynchronize(event), CUDA_ERROR_CAPTURED_EVENT);
    assert_cuda(cuEventRecord(event, other));
    assert_cuda(cuEventSynchronize(event));
    assert_cuda(cuGraphDestroy(graph));
}

static void ends_invalid(CUstream which)
{
    CUgraph graph = (CUgraph)1;

    assert_int_equal(status_of(which), CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    assert_cuda_error(poke_in(which, 0, 1), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_cuda_error(cuStreamEndCapture(which, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_null(graph);
    assert_int_equal(status_of(which), CU_STREAM_CAPTURE_STATUS_NONE);
}

static void waiting_for_a_capture_is_an_error_that_ends_it(void **state)
{
    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuStreamSynchronize(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuStreamQuery(stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuCtxSynchronize(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda_error(cuEventQuery(event), CUDA_ERROR_CAPTURED_EVENT);
    ends_invalid(stream);
}

static void events_of_contexts_and_captures_exclude_each_other(void **state)
{
    CUcontext context;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&context));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuCtxRecordEvent(context, event), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda_error(cuCtxWaitEvent(context, event), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
    assert_cuda(cuCtxRecordEvent(context, event));
    assert_cuda(cuCtxWaitEvent(context, event));
}

static void hear(CUstream where, CUresult status, void *data)
{
    (void)where, (void)status, (void)data;
}

static void callbacks_cannot_be_captured(void **state)
{
    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuStreamAddCallback(stream, hear, NULL, 0),
                      CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
}

static CUresult allocate(void)
{
    CUdeviceptr memory;

    return cuMemAlloc(&memory, 16);
}

static void unsafe_calls_are_refused_as_the_modes_say(void **state)
{
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    CUgraph graph;

    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda_error(allocate(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    assert_cuda_error(allocate(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda(allocate());
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(cuThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_GLOBAL);
    assert_cuda(allocate());
    assert_cuda(cuThreadExchangeStreamCaptureMode(&mode));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    mode = 5;
    assert_cuda_error(cuThreadExchangeStreamCaptureMode(&mode), CUDA_ERROR_INVALID_VALUE);
}

static CUcontext shared_context;

static void *allocate_with_context(void *mode)
{
    static CUresult result;

    assert_cuda(cuCtxSetCurrent(shared_context));
    assert_cuda(cuThreadExchangeStreamCaptureMode(mode));
    result = allocate();
    return &result;
}

static CUresult allocate_in_other_thread(CUstreamCaptureMode mode)
{
    pthread_t thread;
    void *result;

    pthread_create(&thread, NULL, allocate_with_context, &mode);
    pthread_join(thread, &result);
    return *(CUresult *)result;
}

static void other_threads_are_told_by_global_captures_only(void **state)
{
    CUgraph graph;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&shared_context));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    assert_cuda(allocate_in_other_thread(CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(allocate_in_other_thread(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    assert_cuda(allocate_in_other_thread(CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_int_equal(status_of(stream), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    assert_cuda_error(allocate_in_other_thread(CU_STREAM_CAPTURE_MODE_GLOBAL),
                      CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ends_invalid(stream);
}

static void the_legacy_stream_cannot_be_used_beside_a_blocking_capture(void **state)
{
    CUstreamCaptureStatus status;
    CUstream blocking;
    CUgraph graph;

    (void)state;
    assert_cuda_error(cuStreamBeginCapture(NULL, CU_STREAM_CAPTURE_MODE_GLOBAL),
                      CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_cuda(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    assert_cuda(cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuStreamIsCapturing(NULL, &status), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    assert_int_equal(status_of(blocking), CU_STREAM_CAPTURE_STATUS_ACTIVE);
    assert_cuda_error(poke_in(NULL, 0, 1), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    ends_invalid(blocking);
    assert_cuda(cuStreamBeginCapture(blocking, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuMemsetD32(words, 0, 1), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    ends_invalid(blocking);
    /* One that does not wait for it is left alone. */
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda(poke_in(NULL, 0, 1));
    assert_cuda(cuStreamEndCapture(stream, &graph));
}

static void what_was_taken_along_has_to_come_back(void **state)
{
    CUgraph graph = (CUgraph)1;

    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda(cuStreamWaitEvent(other, event, 0));
    assert_cuda(poke_in(other, 1, 2));
    assert_cuda_error(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    assert_null(graph);
    assert_int_equal(status_of(other), CU_STREAM_CAPTURE_STATUS_NONE);
    assert_cuda(poke_in(other, 1, 2));
    assert_cuda(cuStreamSynchronize(other));
}

static void a_capture_ends_where_and_by_whom_it_was_begun(void **state)
{
    CUgraph graph;

    (void)state;
    assert_cuda_error(cuStreamEndCapture(stream, &graph), CUDA_ERROR_ILLEGAL_STATE);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda_error(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL),
                      CUDA_ERROR_ILLEGAL_STATE);
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda(cuStreamWaitEvent(other, event, 0));
    assert_cuda_error(cuStreamEndCapture(other, &graph), CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    ends_invalid(stream);
}

static void *end_it(void *result)
{
    CUgraph graph;

    assert_cuda(cuCtxSetCurrent(shared_context));
    *(CUresult *)result = cuStreamEndCapture(stream, &graph);
    return NULL;
}

static CUresult end_elsewhere(void)
{
    CUresult result;
    pthread_t thread;

    pthread_create(&thread, NULL, end_it, &result);
    pthread_join(thread, NULL);
    return result;
}

static void another_thread_ends_relaxed_captures_only(void **state)
{
    CUgraph graph;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&shared_context));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    assert_cuda_error(end_elsewhere(), CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda(end_elsewhere());
}

static void captures_do_not_meet_each_other_or_what_is_not_captured(void **state)
{
    CUstream third;

    (void)state;
    assert_cuda(cuStreamCreate(&third, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuEventRecord(joined, third));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(cuStreamBeginCapture(other, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda_error(cuStreamWaitEvent(other, event, 0), CUDA_ERROR_STREAM_CAPTURE_MERGE);
    ends_invalid(stream);
    ends_invalid(other);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda_error(cuStreamWaitEvent(stream, joined, 0), CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    ends_invalid(stream);
}

static void external_events_are_nodes(void **state)
{
    CUgraphNode nodes[3];
    size_t count = 3;
    CUgraphNodeType type;
    CUevent found;
    CUgraph graph;

    (void)state;
    assert_cuda_error(cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_EXTERNAL),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuStreamWaitEvent(stream, event, CU_EVENT_WAIT_EXTERNAL),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(cuStreamWaitEvent(stream, joined, CU_EVENT_WAIT_EXTERNAL));
    assert_cuda(poke_in(stream, 0, 1));
    assert_cuda(cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_EXTERNAL));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_cuda(cuGraphGetNodes(graph, nodes, &count));
    assert_int_equal(count, 3);
    assert_cuda(cuGraphNodeGetType(nodes[0], &type));
    assert_int_equal(type, CU_GRAPH_NODE_TYPE_WAIT_EVENT);
    assert_cuda(cuGraphEventRecordNodeGetEvent(nodes[2], &found));
    assert_ptr_equal(found, event);
    launch(graph);
    assert_cuda(cuEventQuery(event));
}

static void a_capture_tells_of_itself_and_lets_itself_be_changed(void **state)
{
    CUstreamCaptureStatus status;
    const CUgraphEdgeData *data;
    const CUgraphNode *nodes;
    CUgraph graph, found;
    cuuint64_t id, again;
    CUgraphNode empty;
    size_t count;

    (void)state;
    assert_cuda_error(cuStreamUpdateCaptureDependencies(stream, NULL, NULL, 0, 0),
                      CUDA_ERROR_ILLEGAL_STATE);
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(poke_in(stream, 0, 1));
    assert_cuda(cuStreamGetCaptureInfo(stream, &status, &id, &graph, &nodes, &data, &count));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
    assert_int_equal(count, 1);
    assert_cuda(cuGraphAddEmptyNode(&empty, graph, nodes, count));
    assert_cuda(cuStreamUpdateCaptureDependencies(stream, &empty, NULL, 1,
                                                  CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    assert_cuda(cuStreamGetCaptureInfo(stream, &status, &again, NULL, &nodes, NULL, &count));
    assert_int_equal(count, 1);
    assert_ptr_equal(nodes[0], empty);
    assert_true(id == again);
    assert_cuda_error(cuGraphDestroyNode(empty), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphDestroy(graph), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(poke_in(stream, 1, 2));
    assert_cuda(cuStreamEndCapture(stream, &found));
    assert_ptr_equal(found, graph);
    assert_cuda(cuGraphGetNodes(graph, NULL, &count));
    assert_int_equal(count, 3);
    assert_cuda(cuGraphGetEdges(graph, NULL, NULL, NULL, &count));
    assert_int_equal(count, 2);
    assert_cuda(cuGraphDestroy(graph));
}

static void a_capture_may_go_on_in_a_graph(void **state)
{
    CUgraph graph, found;
    CUgraphNode root;
    CUgraphExec executable;
    size_t count;

    (void)state;
    assert_cuda(cuGraphCreate(&graph, 0));
    assert_cuda(cuGraphAddEmptyNode(&root, graph, NULL, 0));
    assert_cuda(
        cuStreamBeginCaptureToGraph(stream, graph, &root, NULL, 1, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(poke_in(stream, 0, 5));
    assert_cuda_error(cuGraphInstantiate(&executable, graph, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuStreamEndCapture(stream, &found));
    assert_ptr_equal(found, graph);
    assert_cuda(cuGraphNodeGetDependentNodes(root, NULL, NULL, &count));
    assert_int_equal(count, 1);
    launch(graph);
    assert_int_equal(word(0), 5);
}

static void a_launch_in_a_capture_is_refused(void **state)
{
    CUgraphExec executable;
    CUstreamCaptureStatus status;
    CUgraph graph, outer;

    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(poke_in(stream, 3, 6));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_cuda(cuGraphInstantiate(&executable, graph, 0));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda_error(cuGraphLaunch(executable, stream), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_cuda(cuStreamIsCapturing(stream, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
    assert_cuda_error(cuGraphLaunch(executable, stream), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_cuda_error(cuStreamEndCapture(stream, &outer), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_null(outer);
    assert_int_equal(word(3), 0);
    assert_cuda(cuGraphExecDestroy(executable));
}

static void allocations_in_order_are_nodes(void **state)
{
    CUdeviceptr memory = 0, other_memory;
    CUgraphNode nodes[4];
    size_t count = 4;
    CUgraphNodeType type;
    CUgraph graph;

    (void)state;
    assert_cuda(cuMemAllocAsync(&other_memory, 64, other));
    assert_cuda(cuStreamSynchronize(other));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(cuMemAllocAsync(&memory, 64, stream));
    assert_cuda(cuMemsetD32Async(memory, 5, 1, stream));
    assert_cuda(cuMemcpyDtoDAsync(words, memory, 4, stream));
    assert_cuda_error(cuMemFreeAsync(other_memory, stream), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemFreeAsync(memory, stream));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_cuda(cuGraphGetNodes(graph, nodes, &count));
    assert_int_equal(count, 4);
    assert_cuda(cuGraphNodeGetType(nodes[0], &type));
    assert_int_equal(type, CU_GRAPH_NODE_TYPE_MEM_ALLOC);
    assert_cuda(cuGraphNodeGetType(nodes[3], &type));
    assert_int_equal(type, CU_GRAPH_NODE_TYPE_MEM_FREE);
    launch(graph);
    launch(graph);
    assert_int_equal(word(0), 5);
    assert_cuda(cuMemFreeAsync(other_memory, other));
}

static void a_stream_that_ends_ends_its_capture(void **state)
{
    (void)state;
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda(poke_in(stream, 3, 6));
    assert_cuda(cuEventRecord(event, stream));
    assert_cuda(cuStreamWaitEvent(other, event, 0));
    assert_cuda(cuStreamDestroy(stream));
    assert_int_equal(status_of(other), CU_STREAM_CAPTURE_STATUS_NONE);
    assert_cuda(cuCtxSynchronize());
}

#define with_streams(test) cmocka_unit_test_setup_teardown(test, opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_streams(what_a_stream_is_told_becomes_a_graph_that_repeats_it),
        with_streams(an_event_takes_another_stream_along_and_back),
        with_streams(waiting_for_a_capture_is_an_error_that_ends_it),
        with_streams(events_of_contexts_and_captures_exclude_each_other),
        with_streams(callbacks_cannot_be_captured),
        with_streams(unsafe_calls_are_refused_as_the_modes_say),
        with_streams(other_threads_are_told_by_global_captures_only),
        with_streams(the_legacy_stream_cannot_be_used_beside_a_blocking_capture),
        with_streams(what_was_taken_along_has_to_come_back),
        with_streams(a_capture_ends_where_and_by_whom_it_was_begun),
        with_streams(another_thread_ends_relaxed_captures_only),
        with_streams(captures_do_not_meet_each_other_or_what_is_not_captured),
        with_streams(external_events_are_nodes),
        with_streams(a_capture_tells_of_itself_and_lets_itself_be_changed),
        with_streams(a_capture_may_go_on_in_a_graph),
        with_streams(a_launch_in_a_capture_is_refused),
        with_streams(allocations_in_order_are_nodes),
        with_streams(a_stream_that_ends_ends_its_capture),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
