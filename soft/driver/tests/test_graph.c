/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "driver_test.h"

static CUfunction poke;
static CUdeviceptr words; /* 16 words of device memory, 0 at first */
static CUcontext context;
static CUstream stream;
static CUgraph graph;

static int opens(void **state)
{
    CUmodule module;

    context_opens(state);
    assert_cuda(cuCtxGetCurrent(&context));
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&poke, module, "poke"));
    assert_cuda(cuMemAlloc(&words, 64));
    assert_cuda(cuMemsetD32(words, 0, 16));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuGraphCreate(&graph, 0));
    return 0;
}

static int closes(void **state)
{
    cuGraphDestroy(graph);
    return context_closes(state);
}

static int word(unsigned int index)
{
    int value;

    assert_cuda(cuMemcpyDtoH(&value, words + 4 * index, sizeof(value)));
    return value;
}

/* Parameters of a kernel node that stores a word; the arguments are read before this returns. */
static CUDA_KERNEL_NODE_PARAMS poke_params(CUdeviceptr *place, int *value, void *arguments[2])
{
    arguments[0] = place;
    arguments[1] = value;
    return (CUDA_KERNEL_NODE_PARAMS){.func = poke,
                                     .gridDimX = 1,
                                     .gridDimY = 1,
                                     .gridDimZ = 1,
                                     .blockDimX = 1,
                                     .blockDimY = 1,
                                     .blockDimZ = 1,
                                     .kernelParams = arguments};
}

static CUgraphNode add_poke(CUgraph where, const CUgraphNode *after, size_t count,
                            unsigned int index, int value)
{
    CUdeviceptr place = words + 4 * index;
    CUDA_KERNEL_NODE_PARAMS params;
    void *arguments[2];
    CUgraphNode node;

    params = poke_params(&place, &value, arguments);
    assert_cuda(cuGraphAddKernelNode(&node, where, after, count, &params));
    return node;
}

static CUDA_MEMCPY3D copy_words(unsigned int to, unsigned int from)
{
    return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                           .srcDevice = words + 4 * from,
                           .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                           .dstDevice = words + 4 * to,
                           .WidthInBytes = 4,
                           .Height = 1,
                           .Depth = 1};
}

static CUgraphExec instantiate(CUgraph which)
{
    CUgraphExec executable;

    assert_cuda(cuGraphInstantiate(&executable, which, 0));
    return executable;
}

static void run(CUgraphExec executable)
{
    assert_cuda(cuGraphLaunch(executable, stream));
    assert_cuda(cuStreamSynchronize(stream));
}

static void count_up(void *data)
{
    atomic_fetch_add((_Atomic int *)data, 1);
}

static void nodes_run_after_what_they_depend_on(void **state)
{
    const CUDA_MEMSET_NODE_PARAMS fill = {
        .dst = words, .value = 3, .elementSize = 4, .width = 4, .height = 1};
    CUDA_MEMCPY3D copy = copy_words(8, 1);
    CUgraphNode filled, poked, copied, hosted;
    _Atomic int called = 0;
    CUDA_HOST_NODE_PARAMS host = {count_up, &called};
    CUgraphExec executable;

    (void)state;
    /* Added last to first as far as that goes. */
    assert_cuda(cuGraphAddHostNode(&hosted, graph, NULL, 0, &host));
    assert_cuda(cuGraphAddMemcpyNode(&copied, graph, NULL, 0, &copy, context));
    poked = add_poke(graph, NULL, 0, 1, 5);
    assert_cuda(cuGraphAddMemsetNode(&filled, graph, NULL, 0, &fill, context));
    assert_cuda(cuGraphAddDependencies(graph, (CUgraphNode[]){filled, poked, copied},
                                       (CUgraphNode[]){poked, copied, hosted}, NULL, 3));
    executable = instantiate(graph);
    for (int i = 1; i <= 3; i++) {
        assert_cuda(cuMemsetD32(words, 0, 16));
        run(executable);
        assert_int_equal(word(0), 3);
        assert_int_equal(word(1), 5);
        assert_int_equal(word(8), 5);
        assert_int_equal(atomic_load(&called), i);
    }
    assert_cuda(cuGraphExecDestroy(executable));
    assert_cuda_error(cuGraphLaunch(executable, stream), CUDA_ERROR_INVALID_VALUE);
}

static void wrong_parameters_are_refused(void **state)
{
    CUDA_MEMCPY3D copy = copy_words(8, 1);
    CUgraphNode node = NULL, again;
    CUgraph other, wild = (CUgraph)&node;

    (void)state;
    assert_cuda_error(cuGraphCreate(NULL, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphCreate(&other, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphCreate(&other, 0));
    assert_cuda_error(cuGraphAddEmptyNode(NULL, graph, NULL, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphAddEmptyNode(&node, wild, NULL, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphAddEmptyNode(&node, graph, NULL, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphAddEmptyNode(&node, graph, NULL, 0));
    assert_cuda_error(cuGraphAddEmptyNode(&again, other, &node, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphAddEmptyNode(&again, graph, (CUgraphNode[]){node, node}, 2),
                      CUDA_ERROR_INVALID_VALUE);
    copy.srcDevice = 16;
    assert_cuda_error(cuGraphAddMemcpyNode(&again, graph, NULL, 0, &copy, context),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphAddKernelNode(&again, graph, NULL, 0, NULL), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphMemcpyNodeGetParams(node, &copy), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphDestroy(other));
    assert_cuda_error(cuGraphDestroy(other), CUDA_ERROR_INVALID_VALUE);
}

static void the_structure_can_be_asked_for_and_changed(void **state)
{
    CUgraphNode a, b, c, list[4] = {0}, from[4], to[4];
    CUgraphNodeType type;
    size_t count;

    (void)state;
    assert_cuda(cuGraphAddEmptyNode(&a, graph, NULL, 0));
    assert_cuda(cuGraphAddEmptyNode(&b, graph, &a, 1));
    assert_cuda(cuGraphAddEmptyNode(&c, graph, (CUgraphNode[]){a, b}, 2));
    count = 4;
    list[3] = a;
    assert_cuda(cuGraphGetNodes(graph, list, &count));
    assert_int_equal(count, 3);
    assert_ptr_equal(list[2], c);
    assert_null(list[3]);
    count = 2;
    assert_cuda(cuGraphGetNodes(graph, list, &count));
    assert_int_equal(count, 2);
    count = 1;
    assert_cuda(cuGraphGetRootNodes(graph, list, &count));
    assert_ptr_equal(list[0], a);
    count = 4;
    assert_cuda(cuGraphNodeGetDependencies(c, list, NULL, &count));
    assert_int_equal(count, 2);
    assert_ptr_equal(list[1], b);
    assert_cuda(cuGraphNodeGetDependentNodes(a, NULL, NULL, &count));
    assert_int_equal(count, 2);
    count = 4;
    assert_cuda(cuGraphGetEdges(graph, from, to, NULL, &count));
    assert_int_equal(count, 3);
    assert_cuda_error(cuGraphAddDependencies(graph, &a, &b, NULL, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphAddDependencies(graph, &a, &a, NULL, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphRemoveDependencies(graph, &a, &c, NULL, 1));
    assert_cuda_error(cuGraphRemoveDependencies(graph, &a, &c, NULL, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphDestroyNode(b));
    assert_cuda_error(cuGraphNodeGetType(b, &type), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphGetEdges(graph, NULL, NULL, NULL, &count));
    assert_int_equal(count, 0);
    assert_cuda(cuGraphGetNodes(graph, NULL, &count));
    assert_int_equal(count, 2);
}

static void edges_have_data(void **state)
{
    const CUgraphEdgeData early = {.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
                                   .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
    CUgraphNode first, second, empty, list[2];
    CUgraphEdgeData found = {0};
    size_t count = 2;

    (void)state;
    first = add_poke(graph, NULL, 0, 0, 1);
    second = add_poke(graph, NULL, 0, 1, 1);
    assert_cuda(cuGraphAddEmptyNode(&empty, graph, NULL, 0));
    assert_cuda_error(cuGraphAddDependencies(graph, &first, &empty, &early, 1),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphAddDependencies(graph, &first, &second, &early, 1));
    assert_cuda_error(cuGraphNodeGetDependencies(second, list, NULL, &count),
                      CUDA_ERROR_LOSSY_QUERY);
    assert_cuda(cuGraphNodeGetDependencies(second, list, &found, &count));
    assert_int_equal(found.from_port, early.from_port);
    assert_cuda_error(cuGraphRemoveDependencies(graph, &first, &second, NULL, 1),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphRemoveDependencies(graph, &first, &second, &early, 1));
}

static void a_cycle_is_found_when_instantiating(void **state)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS params = {0};
    CUgraphExec executable;
    CUgraphNode a, b, c;

    (void)state;
    assert_cuda(cuGraphAddEmptyNode(&a, graph, NULL, 0));
    assert_cuda(cuGraphAddEmptyNode(&b, graph, &a, 1));
    assert_cuda(cuGraphAddEmptyNode(&c, graph, &b, 1));
    assert_cuda(cuGraphAddDependencies(graph, &b, &a, NULL, 1));
    assert_cuda_error(cuGraphInstantiateWithParams(&executable, graph, &params),
                      CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(params.result_out, CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE);
    assert_true(params.hErrNode_out == a || params.hErrNode_out == b);
    assert_cuda(cuGraphRemoveDependencies(graph, &b, &a, NULL, 1));
    params.flags = CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD;
    params.hUploadStream = stream;
    assert_cuda(cuGraphInstantiateWithParams(&executable, graph, &params));
    assert_int_equal(params.result_out, CUDA_GRAPH_INSTANTIATE_SUCCESS);
    assert_cuda(cuGraphExecGetFlags(executable, &params.flags));
    assert_int_equal(params.flags, 0);
    assert_cuda(cuGraphExecDestroy(executable));
}

static void arguments_are_copied_and_told_back(void **state)
{
    CUDA_KERNEL_NODE_PARAMS params;
    CUDA_KERNEL_NODE_PARAMS found;
    CUdeviceptr place = words;
    void *arguments[2];
    CUgraphNode node;
    int value = 4;

    (void)state;
    params = poke_params(&place, &value, arguments);
    assert_cuda(cuGraphAddKernelNode(&node, graph, NULL, 0, &params));
    value = 5;
    place = 0;
    assert_cuda(cuGraphKernelNodeGetParams(node, &found));
    assert_ptr_equal(found.func, poke);
    assert_int_equal(*(int *)found.kernelParams[1], 4);
    assert_true(*(CUdeviceptr *)found.kernelParams[0] == words);
    run(instantiate(graph));
    assert_int_equal(word(0), 4);
    /* Setting what was told, changed. */
    *(int *)arguments[1] = 6;
    *(CUdeviceptr *)arguments[0] = words;
    assert_cuda(cuGraphKernelNodeSetParams(node, &params));
    run(instantiate(graph));
    assert_int_equal(word(0), 6);
}

static void arguments_may_come_in_a_buffer(void **state)
{
    struct {
        CUdeviceptr place;
        int value;
    } buffer = {words, 11};
    size_t size = sizeof(buffer);
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &buffer, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    CUDA_KERNEL_NODE_PARAMS params = poke_params(NULL, NULL, (void *[2]){0});
    CUgraphNode node;

    (void)state;
    params.kernelParams = NULL;
    params.extra = extra;
    assert_cuda(cuGraphAddKernelNode(&node, graph, NULL, 0, &params));
    buffer.value = 0;
    assert_cuda(cuGraphKernelNodeGetParams(node, &params));
    assert_null(params.kernelParams);
    assert_ptr_equal(params.extra[0], CU_LAUNCH_PARAM_BUFFER_POINTER);
    run(instantiate(graph));
    assert_int_equal(word(0), 11);
}

static void any_node_is_added_by_one_call(void **state)
{
    CUgraphNodeParams params = {.type = CU_GRAPH_NODE_TYPE_MEMSET};
    CUgraphNode node;

    (void)state;
    params.memset = (CUDA_MEMSET_NODE_PARAMS_v2){words, 0, 9, 4, 2, 1, context};
    assert_cuda(cuGraphAddNode(&node, graph, NULL, NULL, 0, &params));
    params.memset.value = 10;
    assert_cuda(cuGraphNodeSetParams(node, &params));
    run(instantiate(graph));
    assert_int_equal(word(1), 10);
    params.reserved2 = 1;
    assert_cuda_error(cuGraphAddNode(&node, graph, NULL, NULL, 0, &params),
                      CUDA_ERROR_INVALID_VALUE);
    params.reserved2 = 0;
    params.reserved1[20] = 1;
    assert_cuda_error(cuGraphNodeSetParams(node, &params), CUDA_ERROR_INVALID_VALUE);
    params = (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_HOST};
    params.host.fn = count_up;
    assert_cuda_error(cuGraphNodeSetParams(node, &params), CUDA_ERROR_INVALID_VALUE);
}

static void a_clone_is_a_graph_of_its_own(void **state)
{
    CUgraphNode node, copy;
    CUgraph clone;
    size_t count;

    (void)state;
    node = add_poke(graph, NULL, 0, 0, 1);
    assert_cuda(cuGraphClone(&clone, graph));
    assert_cuda(cuGraphNodeFindInClone(&copy, node, clone));
    assert_ptr_not_equal(copy, node);
    assert_cuda(cuGraphDestroyNode(node));
    assert_cuda(cuGraphGetNodes(clone, NULL, &count));
    assert_int_equal(count, 1);
    run(instantiate(clone));
    assert_int_equal(word(0), 1);
    assert_cuda_error(cuGraphNodeFindInClone(&copy, copy, graph), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphDestroy(clone));
}

static void a_child_graph_is_copied_into_its_node(void **state)
{
    CUgraphNode child_node, node, inner;
    CUgraphExec executable;
    size_t count = 1;
    CUgraph child, body;

    (void)state;
    assert_cuda(cuGraphCreate(&child, 0));
    child_node = add_poke(child, NULL, 0, 0, 1);
    assert_cuda(cuGraphAddChildGraphNode(&node, graph, NULL, 0, child));
    (void)child_node;
    assert_cuda(cuGraphDestroy(child));
    assert_cuda(cuGraphChildGraphNodeGetGraph(node, &body));
    assert_cuda(cuGraphGetNodes(body, &inner, &count));
    add_poke(body, &inner, 1, 1, 2);
    assert_cuda_error(cuGraphDestroy(body), CUDA_ERROR_INVALID_VALUE);
    executable = instantiate(graph);
    run(executable);
    assert_int_equal(word(0), 1);
    assert_int_equal(word(1), 2);
    assert_cuda(cuGraphExecDestroy(executable));
}

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

static void kernel_nodes_have_attributes(void **state)
{
    CUlaunchAttributeValue value = {.priority = -2}, found = {0};
    CUgraphNode one, two;

    (void)state;
    one = add_poke(graph, NULL, 0, 0, 1);
    two = add_poke(graph, NULL, 0, 0, 1);
    assert_cuda(cuGraphKernelNodeSetAttribute(one, CU_LAUNCH_ATTRIBUTE_PRIORITY, &value));
    assert_cuda(cuGraphKernelNodeCopyAttributes(two, one));
    assert_cuda(cuGraphKernelNodeGetAttribute(two, CU_LAUNCH_ATTRIBUTE_PRIORITY, &found));
    assert_int_equal(found.priority, -2);
    assert_cuda_error(cuGraphKernelNodeGetAttribute(two, (CUlaunchAttributeID)1000, &found),
                      CUDA_ERROR_INVALID_VALUE);
}

static CUgraphNode add_alloc(CUdeviceptr *address)
{
    CUDA_MEM_ALLOC_NODE_PARAMS params = {
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}},
        .bytesize = 4096};
    CUgraphNode node;

    assert_cuda(cuGraphAddMemAllocNode(&node, graph, NULL, 0, &params));
    *address = params.dptr;
    return node;
}

static cuuint64_t used_by_graphs(void)
{
    cuuint64_t bytes;

    assert_cuda(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &bytes));
    return bytes;
}

static void memory_is_allocated_and_freed_within_a_graph(void **state)
{
    CUgraphNode allocated, filled, copied, freed, again;
    CUDA_MEMSET_NODE_PARAMS fill = {.value = 21, .elementSize = 4, .width = 1, .height = 1};
    CUDA_MEMCPY3D copy = copy_words(0, 0);
    CUDA_MEM_ALLOC_NODE_PARAMS params;
    CUdeviceptr address, found;
    CUgraphExec executable, second;
    CUgraph clone;

    (void)state;
    allocated = add_alloc(&address);
    fill.dst = copy.srcDevice = address;
    assert_cuda(cuGraphAddMemsetNode(&filled, graph, &allocated, 1, &fill, context));
    assert_cuda(cuGraphAddMemcpyNode(&copied, graph, &filled, 1, &copy, context));
    assert_cuda(cuGraphAddMemFreeNode(&freed, graph, &copied, 1, address));
    assert_cuda_error(cuGraphAddMemFreeNode(&again, graph, &copied, 1, address),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuGraphAddMemFreeNode(&again, graph, NULL, 0, words),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphMemAllocNodeGetParams(allocated, &params));
    assert_true(params.dptr == address && params.bytesize == 4096);
    assert_cuda(cuGraphMemFreeNodeGetParams(freed, &found));
    assert_true(found == address);
    assert_cuda_error(cuGraphClone(&clone, graph), CUDA_ERROR_NOT_SUPPORTED);
    assert_cuda_error(cuGraphDestroyNode(copied), CUDA_ERROR_INVALID_VALUE);
    executable = instantiate(graph);
    assert_cuda_error(cuGraphInstantiate(&second, graph, 0), CUDA_ERROR_INVALID_VALUE);
    for (int i = 0; i < 2; i++) {
        run(executable);
        assert_int_equal(word(0), 21);
        assert_int_equal(used_by_graphs(), 0);
    }
    assert_cuda_error(cuMemFree(address), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuGraphExecDestroy(executable));
    assert_cuda(cuGraphInstantiate(&second, graph, 0));
}

static void memory_may_outlive_its_graph(void **state)
{
    CUgraphExec executable;
    CUdeviceptr address;
    cuuint64_t high, zero = 0;

    (void)state;
    add_alloc(&address);
    executable = instantiate(graph);
    assert_cuda_error(cuMemFree(address), CUDA_ERROR_INVALID_VALUE);
    run(executable);
    assert_int_equal(used_by_graphs(), 4096);
    assert_cuda_error(cuGraphLaunch(executable, stream), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemFreeAsync(address, stream));
    assert_int_equal(used_by_graphs(), 0);
    assert_cuda_error(cuMemFreeAsync(address, stream), CUDA_ERROR_INVALID_VALUE);
    run(executable);
    assert_cuda(cuGraphExecDestroy(executable));
    assert_cuda(cuGraphDestroy(graph));
    assert_cuda(cuMemsetD32(address, 1, 1024));
    assert_cuda(cuMemFree(address));
    assert_cuda_error(cuMemsetD32(address, 1, 1024), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &high));
    assert_int_equal(high, 4096);
    assert_cuda(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &zero));
    assert_cuda(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &high));
    assert_int_equal(high, 0);
    assert_cuda(cuDeviceGraphMemTrim(0));
}

static void a_graph_may_free_before_it_allocates_again(void **state)
{
    CUgraphExec executable;
    CUdeviceptr address;

    (void)state;
    add_alloc(&address);
    assert_cuda(
        cuGraphInstantiate(&executable, graph, CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH));
    run(executable);
    run(executable);
    assert_int_equal(used_by_graphs(), 4096);
    assert_cuda(cuMemFree(address));
    assert_int_equal(used_by_graphs(), 0);
}

static void a_graph_is_printed_for_graphviz(void **state)
{
    char path[] = "graph-XXXXXX", text[4096];
    int descriptor = mkstemp(path);
    CUgraphNode node;
    FILE *file;

    (void)state;
    assert_true(descriptor >= 0);
    close(descriptor);
    node = add_poke(graph, NULL, 0, 0, 1);
    assert_cuda(cuGraphAddEmptyNode(&node, graph, &node, 1));
    assert_cuda(cuGraphDebugDotPrint(graph, path, CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE));
    file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    fclose(file);
    unlink(path);
    assert_int_equal(strncmp(text, "digraph", 7), 0);
    assert_non_null(strstr(text, "poke"));
    assert_non_null(strstr(text, "EMPTY"));
    assert_non_null(strstr(text, "->"));
    assert_cuda_error(cuGraphDebugDotPrint(graph, "no/such/folder/x", 0),
                      CUDA_ERROR_OPERATING_SYSTEM);
    assert_cuda_error(cuGraphDebugDotPrint(graph, NULL, 0), CUDA_ERROR_INVALID_VALUE);
}

/* Adds a conditional node on a new handle, which is the last one made. */
static CUgraphConditionalHandle last_handle;

static CUgraph *add_conditional(CUgraphConditionalNodeType type, unsigned int size,
                                unsigned int value)
{
    CUgraphNodeParams params = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
    CUgraphNode node;

    params.conditional.type = type;
    params.conditional.size = size;
    params.conditional.ctx = context;
    assert_cuda(cuGraphConditionalHandleCreate(&params.conditional.handle, graph, context, value,
                                               CU_GRAPH_COND_ASSIGN_DEFAULT));
    assert_cuda(cuGraphAddNode(&node, graph, NULL, NULL, 0, &params));
    last_handle = params.conditional.handle;
    return params.conditional.phGraph_out;
}

static void conditions_choose_what_runs(void **state)
{
    CUgraph *bodies, clone;
    CUgraphNode host;
    CUDA_HOST_NODE_PARAMS call = {count_up, NULL};
    CUgraphExec executable;

    (void)state;
    bodies = add_conditional(CU_GRAPH_COND_TYPE_IF, 2, 1);
    add_poke(bodies[0], NULL, 0, 0, 1);
    add_poke(bodies[1], NULL, 0, 1, 1);
    bodies = add_conditional(CU_GRAPH_COND_TYPE_IF, 2, 0);
    add_poke(bodies[0], NULL, 0, 2, 1);
    add_poke(bodies[1], NULL, 0, 3, 1);
    bodies = add_conditional(CU_GRAPH_COND_TYPE_SWITCH, 3, 2);
    for (unsigned int i = 0; i < 3; i++)
        add_poke(bodies[i], NULL, 0, 4 + i, 1);
    assert_cuda_error(cuGraphAddHostNode(&host, bodies[0], NULL, 0, &call),
                      CUDA_ERROR_NOT_SUPPORTED);
    assert_cuda_error(cuGraphClone(&clone, graph), CUDA_ERROR_NOT_SUPPORTED);
    run(instantiate(graph));
    assert_int_equal(word(0), 1);
    assert_int_equal(word(1), 0);
    assert_int_equal(word(2), 0);
    assert_int_equal(word(3), 1);
    assert_int_equal(word(4), 0);
    assert_int_equal(word(5), 0);
    assert_int_equal(word(6), 1);
    assert_cuda_error(cuGraphInstantiate(&executable, graph, 0), CUDA_ERROR_INVALID_VALUE);
}

/* step(handle, counter): counts down, and the condition is what is left. */
static const char step_ptx[] = ".version 8.0\n"
                               ".target sm_80\n"
                               ".address_size 64\n"
                               ".extern .func cudaGraphSetConditional(.param .b64 handle,\n"
                               "                                      .param .b32 value);\n"
                               ".visible .entry step(.param .u64 p_handle, .param .u64 p_counter)\n"
                               "{\n"
                               "    .reg .b32 %r<2>;\n"
                               "    .reg .b64 %rd<3>;\n"
                               "    ld.param.u64 %rd1, [p_handle];\n"
                               "    ld.param.u64 %rd2, [p_counter];\n"
                               "    ld.global.u32 %r1, [%rd2];\n"
                               "    sub.u32 %r1, %r1, 1;\n"
                               "    st.global.u32 [%rd2], %r1;\n"
                               "    {\n"
                               "    .param .b64 a;\n"
                               "    st.param.b64 [a], %rd1;\n"
                               "    .param .b32 b;\n"
                               "    st.param.b32 [b], %r1;\n"
                               "    call.uni cudaGraphSetConditional, (a, b);\n"
                               "    }\n"
                               "    ret;\n"
                               "}\n";

static void kernels_decide_how_long_a_loop_runs(void **state)
{
    CUDA_KERNEL_NODE_PARAMS params = poke_params(NULL, NULL, (void *[2]){0});
    CUDA_MEMSET_NODE_PARAMS fill = {
        .dst = words, .value = 5, .elementSize = 4, .width = 1, .height = 1};
    CUgraphNode node, filled, loop;
    CUgraphExec executable;
    CUgraph *body;
    CUmodule module;
    size_t count = 1;

    (void)state;
    assert_cuda(cuModuleLoadData(&module, step_ptx));
    assert_cuda(cuModuleGetFunction(&params.func, module, "step"));
    body = add_conditional(CU_GRAPH_COND_TYPE_WHILE, 1, 1);
    params.kernelParams = (void *[]){&last_handle, &words};
    assert_cuda(cuGraphAddKernelNode(&node, body[0], NULL, 0, &params));
    assert_cuda(cuGraphGetNodes(graph, &loop, &count));
    assert_cuda(cuGraphAddMemsetNode(&filled, graph, NULL, 0, &fill, context));
    assert_cuda(cuGraphAddDependencies(graph, &filled, &loop, NULL, 1));
    executable = instantiate(graph);
    for (int i = 0; i < 2; i++) {
        assert_cuda(cuMemsetD32(words, 99, 1));
        run(executable);
        assert_int_equal(word(0), 0);
    }
}

static void a_handle_without_a_node_is_an_error(void **state)
{
    CUDA_GRAPH_INSTANTIATE_PARAMS params = {0};
    CUgraphConditionalHandle handle;
    CUgraphExec executable;

    (void)state;
    assert_cuda(cuGraphConditionalHandleCreate(&handle, graph, context, 0, 0));
    assert_cuda_error(cuGraphInstantiateWithParams(&executable, graph, &params),
                      CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(params.result_out, CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED);
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

#define with_graph(test) cmocka_unit_test_setup_teardown(test, opens, closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_graph(nodes_run_after_what_they_depend_on),
        with_graph(wrong_parameters_are_refused),
        with_graph(the_structure_can_be_asked_for_and_changed),
        with_graph(edges_have_data),
        with_graph(a_cycle_is_found_when_instantiating),
        with_graph(arguments_are_copied_and_told_back),
        with_graph(arguments_may_come_in_a_buffer),
        with_graph(any_node_is_added_by_one_call),
        with_graph(a_clone_is_a_graph_of_its_own),
        with_graph(a_child_graph_is_copied_into_its_node),
        with_graph(events_are_recorded_and_waited_for_by_each_launch),
        with_graph(a_record_is_reached_while_the_graph_goes_on),
        with_graph(updates_are_for_later_launches),
        with_graph(other_nodes_are_updated_one_by_one),
        with_graph(a_whole_graph_is_updated_or_nothing_is),
        with_graph(a_launch_under_way_keeps_what_it_was_launched_with),
        with_graph(kernel_nodes_have_attributes),
        with_graph(memory_is_allocated_and_freed_within_a_graph),
        with_graph(memory_may_outlive_its_graph),
        with_graph(a_graph_may_free_before_it_allocates_again),
        with_graph(a_graph_is_printed_for_graphviz),
        with_graph(conditions_choose_what_runs),
        with_graph(kernels_decide_how_long_a_loop_runs),
        with_graph(a_handle_without_a_node_is_an_error),
        with_graph(launches_of_one_graph_follow_each_other),
        with_graph(a_fault_in_a_graph_is_a_fault_of_the_context),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
