/* SPDX-License-Identifier: MIT */
/* Executable graphs: launches, events, updates, faults. */
#include <stdatomic.h>

#include "soft/driver/tests/graph_rig.h"

/* An event and a gate that a graph waits at. */
static void events_are_recorded_and_waited_for_by_each_launch(void **state)
{
    CUgraphNode waits, pokes, records;
    CUevent before, after;
    CUgraphExec executable;
    uint32_t *gate;

    (void)state;
    assert_cuda(cuEventCreate(&before, 0));
    assert_cuda(cuEventCreate(&after, 0));
    assert_cuda(cuMemHostAlloc((void **)&gate, 64, 0));
    *gate = 0;
    assert_cuda(cuGraphAddEventWaitNode(&waits, graph, NULL, 0, before));
    pokes = add_poke(graph, &waits, 1, 0, 1);
    assert_cuda(cuGraphAddEventRecordNode(&records, graph, &pokes, 1, after));
    executable = instantiate(graph);
    run(executable);
    assert_cuda(cuEventQuery(after));
    assert_cuda(cuMemsetD32(words, 0, 1));
    /* Held up by what the event stands for when it is launched again. */
    assert_cuda(cuStreamWaitValue32(CU_STREAM_PER_THREAD, (CUdeviceptr)(uintptr_t)gate, 1, 0));
    assert_cuda(cuEventRecord(before, CU_STREAM_PER_THREAD));
    assert_cuda(cuGraphLaunch(executable, stream));
    assert_cuda_error(cuEventQuery(after), CUDA_ERROR_NOT_READY);
    assert_cuda_error(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    assert_cuda(cuEventSynchronize(after));
    assert_int_equal(word(0), 1);
}

static void a_record_is_reached_while_the_graph_goes_on(void **state)
{
    CUstreamBatchMemOpParams wait = {0};
    CUDA_BATCH_MEM_OP_NODE_PARAMS batch = {.count = 1, .paramArray = &wait};
    CUgraphNode records, waits;
    CUevent event;
    uint32_t *gate;

    (void)state;
    batch.ctx = context;
    assert_cuda(cuMemHostAlloc((void **)&gate, 64, 0));
    *gate = 0;
    wait.waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    wait.waitValue.address = (CUdeviceptr)(uintptr_t)gate;
    wait.waitValue.value = 1;
    assert_cuda(cuEventCreate(&event, 0));
    /* The wait is ready first, and must not hold up what does not depend on it. */
    assert_cuda(cuGraphAddBatchMemOpNode(&waits, graph, NULL, 0, &batch));
    assert_cuda(cuGraphAddEventRecordNode(&records, graph, NULL, 0, event));
    assert_cuda(cuGraphLaunch(instantiate(graph), stream));
    assert_cuda(cuEventSynchronize(event));
    assert_cuda_error(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    assert_cuda(cuStreamSynchronize(stream));
    assert_cuda(cuGraphBatchMemOpNodeGetParams(waits, &batch));
    assert_int_equal(batch.count, 1);
    assert_true(batch.paramArray[0].waitValue.address == (CUdeviceptr)(uintptr_t)gate);
}

static void updates_are_for_later_launches(void **state)
{
    CUDA_MEMSET_NODE_PARAMS fill = {
        .dst = words, .value = 1, .elementSize = 4, .width = 1, .height = 1};
    CUDA_MEMCPY3D copy = copy_words(4, 0);
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUgraphNode filled, copied, poked;
    CUdeviceptr place = words + 4 * 8;
    CUgraphExec executable;
    unsigned int enabled;
    void *arguments[2];
    int value = 8;

    (void)state;
    assert_cuda(cuGraphAddMemsetNode(&filled, graph, NULL, 0, &fill, context));
    assert_cuda(cuGraphAddMemcpyNode(&copied, graph, &filled, 1, &copy, context));
    poked = add_poke(graph, &copied, 1, 6, 6);
    executable = instantiate(graph);
    fill.value = 2;
    assert_cuda(cuGraphExecMemsetNodeSetParams(executable, filled, &fill, context));
    copy.dstDevice += 4;
    assert_cuda(cuGraphExecMemcpyNodeSetParams(executable, copied, &copy, context));
    kernel = poke_params(&place, &value, arguments);
    assert_cuda(cuGraphExecKernelNodeSetParams(executable, poked, &kernel));
    run(executable);
    assert_int_equal(word(0), 2);
    assert_int_equal(word(4), 0);
    assert_int_equal(word(5), 2);
    assert_int_equal(word(6), 0);
    assert_int_equal(word(8), 8);
    copy.Height = 2;
    assert_cuda_error(cuGraphExecMemcpyNodeSetParams(executable, copied, &copy, context),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphExecMemsetNodeSetParams(executable, copied, &fill, context),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemsetD32(words, 0, 16));
    assert_cuda(cuGraphNodeSetEnabled(executable, poked, 0));
    assert_cuda(cuGraphNodeGetEnabled(executable, poked, &enabled));
    assert_int_equal(enabled, 0);
    run(executable);
    assert_int_equal(word(8), 0);
    assert_int_equal(word(5), 2);
}

static void other_nodes_are_updated_one_by_one(void **state)
{
    CUstreamBatchMemOpParams write = {0};
    CUDA_BATCH_MEM_OP_NODE_PARAMS batch = {.count = 1, .paramArray = &write};
    _Atomic int first = 0, second = 0;
    CUDA_HOST_NODE_PARAMS host = {count_up, &first};
    CUgraphNode hosted, recorded, written, nested;
    CUgraph child, other_child;
    CUgraphNodeParams params = {.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD};
    CUevent events[2];
    CUgraphExec executable;
    float milliseconds;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_cuda(cuEventCreate(&events[i], 0));
    assert_cuda(cuGraphCreate(&child, 0));
    add_poke(child, NULL, 0, 0, 1);
    batch.ctx = context;
    write.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    write.writeValue.address = words + 4;
    write.writeValue.value = 1;
    assert_cuda(cuGraphAddHostNode(&hosted, graph, NULL, 0, &host));
    assert_cuda(cuGraphAddEventRecordNode(&recorded, graph, NULL, 0, events[0]));
    assert_cuda(cuGraphAddBatchMemOpNode(&written, graph, NULL, 0, &batch));
    assert_cuda(cuGraphAddChildGraphNode(&nested, graph, NULL, 0, child));
    executable = instantiate(graph);
    host.userData = &second;
    assert_cuda(cuGraphExecHostNodeSetParams(executable, hosted, &host));
    params.eventRecord.event = events[1];
    assert_cuda(cuGraphExecNodeSetParams(executable, recorded, &params));
    write.writeValue.value = 2;
    assert_cuda(cuGraphExecBatchMemOpNodeSetParams(executable, written, &batch));
    assert_cuda(cuGraphCreate(&other_child, 0));
    add_poke(other_child, NULL, 0, 2, 3);
    assert_cuda(cuGraphExecChildGraphNodeSetParams(executable, nested, other_child));
    run(executable);
    assert_int_equal(atomic_load(&first), 0);
    assert_int_equal(atomic_load(&second), 1);
    assert_int_equal(word(0), 0);
    assert_int_equal(word(1), 2);
    assert_int_equal(word(2), 3);
    /* Only the second was recorded. */
    assert_cuda(cuEventElapsedTime(&milliseconds, events[1], events[1]));
    assert_cuda_error(cuEventElapsedTime(&milliseconds, events[0], events[0]),
                      CUDA_ERROR_INVALID_HANDLE);
    batch.count = 0;
    assert_cuda_error(cuGraphExecBatchMemOpNodeSetParams(executable, written, &batch),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphNodeSetEnabled(executable, hosted, 0), CUDA_ERROR_INVALID_VALUE);
    add_poke(other_child, NULL, 0, 2, 3);
    assert_cuda_error(cuGraphExecChildGraphNodeSetParams(executable, nested, other_child),
                      CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
}

static CUgraph graph_of_pokes(int first, int second)
{
    CUgraph made;
    CUgraphNode node;

    assert_cuda(cuGraphCreate(&made, 0));
    node = add_poke(made, NULL, 0, 0, first);
    add_poke(made, &node, 1, 1, second);
    return made;
}

static void a_whole_graph_is_updated_or_nothing_is(void **state)
{
    CUgraph similar = graph_of_pokes(3, 4), different = graph_of_pokes(5, 6);
    CUgraph base = graph_of_pokes(1, 2), third;
    CUgraphExecUpdateResultInfo info;
    CUgraphExec executable = instantiate(base);
    CUgraphNode nodes[2], empty;
    size_t count = 2;

    (void)state;
    assert_cuda(cuGraphExecUpdate(executable, similar, &info));
    assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_SUCCESS);
    run(executable);
    assert_int_equal(word(0), 3);
    assert_int_equal(word(1), 4);
    assert_cuda(cuGraphGetNodes(different, nodes, &count));
    assert_cuda(cuGraphRemoveDependencies(different, &nodes[0], &nodes[1], NULL, 1));
    assert_cuda_error(cuGraphExecUpdate(executable, different, &info),
                      CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    assert_ptr_equal(info.errorNode, nodes[1]);
    assert_cuda(cuGraphCreate(&third, 0));
    nodes[0] = add_poke(third, NULL, 0, 0, 7);
    assert_cuda(cuGraphAddEmptyNode(&empty, third, nodes, 1));
    assert_cuda_error(cuGraphExecUpdate(executable, third, &info),
                      CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    assert_int_equal(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
    assert_ptr_equal(info.errorNode, empty);
    run(executable);
    assert_int_equal(word(0), 3);
    /* Nodes are still those of the graph that it was made of. */
    count = 2;
    assert_cuda(cuGraphGetNodes(base, nodes, &count));
    assert_cuda(cuGraphNodeSetEnabled(executable, nodes[1], 0));
    assert_cuda(cuMemsetD32(words, 0, 2));
    run(executable);
    assert_int_equal(word(0), 3);
    assert_int_equal(word(1), 0);
}

static void a_launch_under_way_keeps_what_it_was_launched_with(void **state)
{
    CUgraphNode waits, poked;
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUdeviceptr place = words + 4;
    CUgraphExec executable;
    void *arguments[2];
    int value = 2;
    uint32_t *gate;
    CUevent event;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&gate, 64, 0));
    *gate = 0;
    assert_cuda(cuEventCreate(&event, 0));
    assert_cuda(cuGraphAddEventWaitNode(&waits, graph, NULL, 0, event));
    poked = add_poke(graph, &waits, 1, 0, 1);
    executable = instantiate(graph);
    assert_cuda(cuStreamWaitValue32(CU_STREAM_PER_THREAD, (CUdeviceptr)(uintptr_t)gate, 1, 0));
    assert_cuda(cuEventRecord(event, CU_STREAM_PER_THREAD));
    assert_cuda(cuGraphLaunch(executable, stream));
    kernel = poke_params(&place, &value, arguments);
    assert_cuda(cuGraphExecKernelNodeSetParams(executable, poked, &kernel));
    assert_cuda(cuGraphExecDestroy(executable));
    assert_cuda(cuGraphDestroy(graph));
    assert_cuda(cuEventDestroy(event));
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    assert_cuda(cuStreamSynchronize(stream));
    assert_int_equal(word(0), 1);
    assert_int_equal(word(1), 0);
}

static void launches_of_one_graph_follow_each_other(void **state)
{
    CUgraphNode waits;
    CUgraphExec executable;
    CUstream other;
    uint32_t *gate;
    CUevent event;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&gate, 64, 0));
    *gate = 0;
    assert_cuda(cuEventCreate(&event, 0));
    assert_cuda(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuGraphAddEventWaitNode(&waits, graph, NULL, 0, event));
    executable = instantiate(graph);
    assert_cuda(cuStreamWaitValue32(CU_STREAM_PER_THREAD, (CUdeviceptr)(uintptr_t)gate, 1, 0));
    assert_cuda(cuEventRecord(event, CU_STREAM_PER_THREAD));
    assert_cuda(cuGraphLaunch(executable, stream));
    assert_cuda(cuEventRecord(event, other));
    assert_cuda(cuGraphLaunch(executable, other));
    assert_cuda_error(cuStreamQuery(other), CUDA_ERROR_NOT_READY);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    assert_cuda(cuStreamSynchronize(other));
    assert_cuda(cuStreamQuery(stream));
}

static void a_fault_in_a_graph_is_a_fault_of_the_context(void **state)
{
    _Atomic int called = 0;
    CUDA_HOST_NODE_PARAMS host = {count_up, &called};
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUdeviceptr nowhere = 16;
    CUgraphNode node, after;
    void *arguments[2];
    int value = 1;

    (void)state;
    kernel = poke_params(&nowhere, &value, arguments);
    assert_cuda(cuGraphAddKernelNode(&node, graph, NULL, 0, &kernel));
    assert_cuda(cuGraphAddHostNode(&after, graph, &node, 1, &host));
    assert_cuda(cuGraphLaunch(instantiate(graph), stream));
    assert_cuda_error(cuStreamSynchronize(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(atomic_load(&called), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_graph(events_are_recorded_and_waited_for_by_each_launch),
        with_graph(a_record_is_reached_while_the_graph_goes_on),
        with_graph(updates_are_for_later_launches),
        with_graph(other_nodes_are_updated_one_by_one),
        with_graph(a_whole_graph_is_updated_or_nothing_is),
        with_graph(a_launch_under_way_keeps_what_it_was_launched_with),
        with_graph(launches_of_one_graph_follow_each_other),
        with_graph(a_fault_in_a_graph_is_a_fault_of_the_context),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
