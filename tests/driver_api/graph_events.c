/* SPDX-License-Identifier: MIT */
/* Graphs that record events and wait for them, and events that are recorded for graphs. */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/graph_parts.h"

static CUevent make_event(void)
{
    CUevent event;
    CHECK(cuEventCreate(&event, CU_EVENT_DEFAULT));
    return event;
}

static void record_now(const struct graph_setup *setup, CUevent event)
{
    CHECK(cuEventRecord(event, setup->stream));
    CHECK(cuStreamSynchronize(setup->stream));
}

/* Only what was recorded has a time. */
static int was_recorded(CUevent start, CUevent event)
{
    float time;
    CUresult error = cuEventElapsedTime(&time, start, event);
    EXPECT(error == CUDA_SUCCESS || error == CUDA_ERROR_INVALID_HANDLE);
    return error == CUDA_SUCCESS;
}

static void the_event_that_is_recorded(const struct graph_setup *setup)
{
    CUgraph graph = graph_make();
    CUevent start = make_event(), events[3], got;
    struct graph_kernel kernel;
    CUgraphNode nodes[2];
    for (int i = 0; i < 3; i++)
        events[i] = make_event();
    record_now(setup, start);
    CHECK(cuGraphAddKernelNode(&nodes[0], graph, NULL, 0,
                               graph_fill(setup, &kernel, setup->first, 1)));
    CHECK(cuGraphAddEventRecordNode(&nodes[1], graph, &nodes[0], 1, events[0]));
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuGraphEventRecordNodeSetEvent(nodes[1], events[1]));
    CHECK(cuGraphEventRecordNodeGetEvent(nodes[1], &got));
    EXPECT(got == events[1]);
    EXPECT(cuGraphEventRecordNodeSetEvent(nodes[0], events[1]) == CUDA_ERROR_INVALID_VALUE);
    graph_launch(setup, exec);
    EXPECT(was_recorded(start, events[0]) && !was_recorded(start, events[1]));
    graph_run(setup, graph);
    EXPECT(was_recorded(start, events[1]));
    CHECK(cuGraphExecEventRecordNodeSetEvent(exec, nodes[1], events[2]));
    CHECK(cuGraphEventRecordNodeGetEvent(nodes[1], &got));
    EXPECT(got == events[1] && !was_recorded(start, events[2]));
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuEventSynchronize(events[2]));
    EXPECT(was_recorded(start, events[2]));
    CHECK(cuStreamSynchronize(setup->stream));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    for (int i = 0; i < 3; i++)
        CHECK(cuEventDestroy(events[i]));
    CHECK(cuEventDestroy(start));
}

/* Work of another stream that waits for a word of the host's, and then fills `first`. */
struct gate {
    CUstream stream;
    unsigned int *word;
    CUdeviceptr address;
};

static struct gate open_gate(void)
{
    struct gate gate;
    CHECK(cuStreamCreate(&gate.stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemHostAlloc((void **)&gate.word, sizeof(*gate.word), CU_MEMHOSTALLOC_DEVICEMAP));
    CHECK(cuMemHostGetDevicePointer(&gate.address, gate.word, 0));
    *gate.word = 0;
    return gate;
}

static void fill_behind(const struct graph_setup *setup, const struct gate *gate,
                        unsigned int value, CUevent event)
{
    CHECK(cuStreamWaitValue32(gate->stream, gate->address, value, CU_STREAM_WAIT_VALUE_EQ));
    CHECK(cuMemsetD32Async(setup->first, value, GRAPH_COUNT, gate->stream));
    CHECK(cuEventRecord(event, gate->stream));
}

/* Launches a graph that has to wait for what is behind the gate. */
static void launch_and_let_through(const struct graph_setup *setup, const struct gate *gate,
                                   CUgraphExec exec, unsigned int value)
{
    CHECK(cuGraphLaunch(exec, setup->stream));
    usleep(20000);
    EXPECT(cuStreamQuery(setup->stream) == CUDA_ERROR_NOT_READY);
    __atomic_store_n(gate->word, value, __ATOMIC_RELEASE);
    CHECK(cuStreamSynchronize(setup->stream));
    graph_expect(setup->second, value, 0);
}

static void the_event_that_is_waited_for(const struct graph_setup *setup)
{
    struct gate gate = open_gate();
    CUgraph graph = graph_make();
    CUevent done = make_event(), event = make_event(), got;
    CUDA_MEMCPY3D copy = graph_copy(setup->second, setup->first);
    CUgraphNode nodes[2];
    CHECK(cuGraphAddEventWaitNode(&nodes[0], graph, NULL, 0, done));
    CHECK(cuGraphAddMemcpyNode(&nodes[1], graph, nodes, 1, &copy, setup->context));
    CHECK(cuGraphEventWaitNodeGetEvent(nodes[0], &got));
    EXPECT(got == done);
    EXPECT(cuGraphEventWaitNodeGetEvent(nodes[1], &got) == CUDA_ERROR_INVALID_VALUE);
    record_now(setup, done);
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuGraphEventWaitNodeSetEvent(nodes[0], event));
    CHECK(cuGraphEventWaitNodeGetEvent(nodes[0], &got));
    EXPECT(got == event);
    EXPECT(cuGraphEventWaitNodeSetEvent(nodes[1], event) == CUDA_ERROR_INVALID_VALUE);
    CUgraphExec later = graph_instantiate(graph);
    fill_behind(setup, &gate, 1, event);
    graph_launch(setup, exec); /* waits for the event that it was made with */
    launch_and_let_through(setup, &gate, later, 1);
    fill_behind(setup, &gate, 2, event);
    CHECK(cuGraphExecEventWaitNodeSetEvent(exec, nodes[0], event));
    launch_and_let_through(setup, &gate, exec, 2);
    fill_behind(setup, &gate, 3, event);
    CHECK(cuGraphExecEventWaitNodeSetEvent(later, nodes[0], done));
    graph_launch(setup, later);
    __atomic_store_n(gate.word, 3, __ATOMIC_RELEASE);
    CHECK(cuStreamSynchronize(gate.stream));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphExecDestroy(later));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuEventDestroy(done));
    CHECK(cuEventDestroy(event));
    CHECK(cuStreamDestroy(gate.stream));
    CHECK(cuMemFreeHost(gate.word));
}

static CUgraphNode only_node_of(CUgraph graph, CUgraphNodeType type)
{
    CUgraphNode nodes[8], found = NULL;
    CUgraphNodeType got;
    size_t count = 8;
    CHECK(cuGraphGetNodes(graph, nodes, &count));
    for (size_t i = 0; i < count; i++) {
        CHECK(cuGraphNodeGetType(nodes[i], &got));
        if (got != type)
            continue;
        EXPECT(found == NULL);
        found = nodes[i];
    }
    EXPECT(found != NULL);
    return found;
}

/* What a capture calls external is recorded and waited for when the graph runs. */
static void events_recorded_with_flags(const struct graph_setup *setup)
{
    CUevent start = make_event(), plain = make_event(), event = make_event(), got;
    CUgraph graph;
    CHECK(cuEventRecordWithFlags(start, setup->stream, CU_EVENT_RECORD_DEFAULT));
    CHECK(cuEventRecordWithFlags(plain, setup->stream, CU_EVENT_RECORD_DEFAULT));
    CHECK(cuEventSynchronize(plain));
    EXPECT(was_recorded(start, plain));
    EXPECT(cuEventRecordWithFlags(event, setup->stream, CU_EVENT_RECORD_EXTERNAL) != CUDA_SUCCESS);
    EXPECT(cuEventRecordWithFlags(event, setup->stream, 2) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CHECK(cuStreamWaitEvent(setup->stream, plain, CU_EVENT_WAIT_EXTERNAL));
    CHECK(cuMemsetD32Async(setup->first, 5, GRAPH_COUNT, setup->stream));
    CHECK(cuEventRecordWithFlags(event, setup->stream, CU_EVENT_RECORD_EXTERNAL));
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    CHECK(
        cuGraphEventRecordNodeGetEvent(only_node_of(graph, CU_GRAPH_NODE_TYPE_EVENT_RECORD), &got));
    EXPECT(got == event);
    CHECK(cuGraphEventWaitNodeGetEvent(only_node_of(graph, CU_GRAPH_NODE_TYPE_WAIT_EVENT), &got));
    EXPECT(got == plain);
    EXPECT(!was_recorded(start, event));
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuEventSynchronize(event));
    EXPECT(was_recorded(start, event));
    graph_expect(setup->first, 5, 0);
    CHECK(cuStreamSynchronize(setup->stream));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuEventDestroy(start));
    CHECK(cuEventDestroy(plain));
    CHECK(cuEventDestroy(event));
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    the_event_that_is_recorded(&setup);
    the_event_that_is_waited_for(&setup);
    events_recorded_with_flags(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
