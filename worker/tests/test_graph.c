/* SPDX-License-Identifier: MIT */
/* Graphs and captures: what the worker keeps out of them, and what it refuses of a hostile guest.
 */
#include <string.h>

#include "protocol/graph.h"
#include "worker/graph/capture.h"
#include "worker/tests/fixture.h"

enum { GRAPH = 40, NODE, NODE2, CHILD, EXEC };

/* A driver's graphs: handles are addresses of these. */
static struct {
    char graph, inner, node[4];
    size_t nodes;     /* in the graph */
    CUstream capture; /* the stream that captures */
    uint32_t destroyed, added;
} driver;

static CUresult f_create(CUgraph *graph, unsigned int flags)
{
    *graph = (CUgraph)&driver.graph;
    return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult f_destroy(CUgraph graph)
{
    driver.destroyed++;
    return graph ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult f_add(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                      const CUgraphEdgeData *data, size_t count, CUgraphNodeParams *parameters)
{
    (void)data, (void)parameters;
    assert_ptr_equal(graph, &driver.graph);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(dependencies[i], &driver.node[0]);
    *node = (CUgraphNode)&driver.node[driver.nodes++];
    driver.added++;
    return CUDA_SUCCESS;
}

static CUresult f_nodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    (void)graph;
    for (size_t i = 0; nodes && i < *count && i < driver.nodes; i++)
        nodes[i] = (CUgraphNode)&driver.node[i];
    *count = driver.nodes;
    return CUDA_SUCCESS;
}

static CUresult f_child(CUgraphNode node, CUgraph *graph)
{
    (void)node;
    *graph = (CUgraph)&driver.inner;
    return CUDA_SUCCESS;
}

static CUresult f_mode(CUstreamCaptureMode *mode)
{
    assert_int_equal(*mode, CU_STREAM_CAPTURE_MODE_RELAXED);
    return CUDA_SUCCESS;
}

static CUresult f_begin(CUstream stream, CUstreamCaptureMode mode)
{
    assert_int_equal(mode, CU_STREAM_CAPTURE_MODE_RELAXED);
    driver.capture = stream;
    return CUDA_SUCCESS;
}

static CUresult f_end(CUstream stream, CUgraph *graph)
{
    assert_ptr_equal(stream, driver.capture);
    driver.capture = NULL;
    *graph = (CUgraph)&driver.graph;
    return CUDA_SUCCESS;
}

static CUresult f_is_capturing(CUstream stream, CUstreamCaptureStatus *status)
{
    *status = stream && stream == driver.capture ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                                 : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

static size_t allocated; /* by each node of the graph */

static CUresult f_type(CUgraphNode node, CUgraphNodeType *type)
{
    (void)node;
    *type = allocated ? CU_GRAPH_NODE_TYPE_MEM_ALLOC : CU_GRAPH_NODE_TYPE_EMPTY;
    return CUDA_SUCCESS;
}

static CUresult f_alloc(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS *parameters)
{
    (void)node;
    *parameters = (CUDA_MEM_ALLOC_NODE_PARAMS){.bytesize = allocated};
    return CUDA_SUCCESS;
}

static CUresult f_instantiate(CUgraphExec *exec, CUgraph graph,
                              CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
    assert_ptr_equal(graph, &driver.graph);
    parameters->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
    *exec = (CUgraphExec)&driver.inner;
    return CUDA_SUCCESS;
}

static CUresult f_exec_destroy(CUgraphExec exec)
{
    return exec ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static struct vgpu_channel *open_graphs(void)
{
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_driver *table = fake_driver_table();
    memset(&driver, 0, sizeof(driver));
    table->cuGraphCreate = f_create;
    table->cuGraphDestroy = f_destroy;
    table->cuGraphAddNode = f_add;
    table->cuGraphGetNodes = f_nodes;
    table->cuGraphChildGraphNodeGetGraph = f_child;
    table->cuThreadExchangeStreamCaptureMode = f_mode;
    table->cuStreamBeginCapture = f_begin;
    table->cuStreamEndCapture = f_end;
    table->cuStreamIsCapturing = f_is_capturing;
    table->cuGraphNodeGetType = f_type;
    table->cuGraphMemAllocNodeGetParams = f_alloc;
    table->cuGraphInstantiateWithParams = f_instantiate;
    table->cuGraphExecDestroy = f_exec_destroy;
    allocated = 0;
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0),
                     CUDA_SUCCESS);
    return channel;
}

static void make_graph(struct vgpu_channel *channel)
{
    assert_int_equal(vgpu_send_cuGraphCreate(channel, 0, GRAPH, 0), CUDA_SUCCESS);
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
}

static CUresult add(struct vgpu_channel *channel, uint32_t node,
                    const struct vgpu_node_message *message, size_t bytes)
{
    uint64_t address;
    return vgpu_send_vgpuGraphAddNode(channel, CONTEXT, node, &address, GRAPH, message, bytes, NULL,
                                      0);
}

static CUresult add_empty(struct vgpu_channel *channel, uint32_t node)
{
    struct vgpu_node_message message = {.node.type = CU_GRAPH_NODE_TYPE_EMPTY};
    return add(channel, node, &message, sizeof(message.node));
}

static void nothing_of_ours_goes_into_a_capture(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    uint32_t graph = 0;
    uint64_t memory;
    fake.queued = true;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &memory, 64), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_vgpuBeginCapture(channel, CONTEXT, STREAM), CUDA_SUCCESS);
    assert_int_equal(channel->worker.captures, 1);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 3, 1);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_int_equal(fixture_fence(channel, 3), 1);
    vgpu_send_vgpuCopyInline(channel, CONTEXT, memory, STREAM, "text", 5);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    vgpu_send_vgpuCopyToDevice(channel, CONTEXT, memory, 5, 5, 1, 0, STREAM);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    vgpu_send_cuMemsetD8Async(channel, CONTEXT, memory, 1, 64, STREAM);
    vgpu_usage_cover(&channel->worker);
    assert_int_equal(fake_run(driver.capture, 100), 1); /* the memset, and no event beside it */
    assert_int_equal(vgpu_send_vgpuEndCapture(channel, CONTEXT, &graph, STREAM, GRAPH, 0, 0),
                     CUDA_SUCCESS);
    assert_int_equal(graph, GRAPH);
    assert_int_equal(channel->worker.captures, 0);
    vgpu_send_vgpuFence(channel, CONTEXT, STREAM, 3, 2);
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    fixture_close(channel);
}

static void a_capture_that_is_discarded_leaves_no_graph(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    uint32_t graph = 7;
    assert_int_equal(vgpu_send_vgpuBeginCapture(channel, CONTEXT, STREAM), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_vgpuEndCapture(channel, CONTEXT, &graph, STREAM, GRAPH, 0, 1),
                     CUDA_SUCCESS);
    assert_int_equal(graph, 0);
    assert_int_equal(driver.destroyed, 1);
    make_graph(channel); /* the id is free */
    fixture_close(channel);
}

static void nodes_of_the_driver_get_the_guests_ids(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    struct vgpu_wire_edge list[4];
    const uint32_t ids[2] = {NODE, NODE2};
    uint32_t used = 9, missing = 9, total = 0;
    size_t bytes;
    make_graph(channel);
    driver.nodes = 3;
    assert_int_equal(vgpu_send_vgpuGraphNameNodes(channel, 0, &used, &missing, GRAPH, NULL, 0),
                     CUDA_SUCCESS);
    assert_int_equal(used, 0);
    assert_int_equal(missing, 3);
    assert_int_equal(
        vgpu_send_vgpuGraphNameNodes(channel, 0, &used, &missing, GRAPH, ids, sizeof(ids)),
        CUDA_SUCCESS);
    assert_int_equal(used, 2);
    assert_int_equal(missing, 1);
    assert_int_equal(
        vgpu_send_vgpuGraphNodes(channel, 0, &total, GRAPH, 0, 1, list, sizeof(list), &bytes),
        CUDA_SUCCESS);
    assert_int_equal(total, 3);
    assert_int_equal(bytes, 2 * sizeof(list[0]));
    assert_int_equal(list[0].from, NODE2);
    assert_int_equal(list[1].from, 0);
    vgpu_send_cuGraphDestroy(channel, 0, GRAPH);
    assert_int_equal(vgpu_graph_names_find(&channel->worker.graph_names, &driver.node[0]), 0);
    fixture_close(channel);
}

static void ids_that_are_taken_are_garbage(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    const uint32_t ids[1] = {GRAPH};
    uint32_t used, missing;
    make_graph(channel);
    driver.nodes = 1;
    vgpu_send_vgpuGraphNameNodes(channel, 0, &used, &missing, GRAPH, ids, sizeof(ids));
    assert_true(channel->garbage);
    fixture_close(channel);
}

static void nodes_end_with_their_graph(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    make_graph(channel);
    assert_int_equal(add_empty(channel, NODE), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_cuGraphChildGraphNodeGetGraph(channel, 0, CHILD, NODE),
                     CUDA_SUCCESS);
    /* A graph in a node is not the guest's to destroy; its id is gone all the same. */
    vgpu_send_cuGraphDestroy(channel, 0, CHILD);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(driver.destroyed, 0);
    vgpu_send_cuGraphDestroy(channel, 0, GRAPH);
    assert_int_equal(driver.destroyed, 1);
    assert_int_equal(channel->worker.handles.table[NODE].kind, VGPU_KIND_NONE);
    assert_int_equal(channel->worker.graph_names.count, 0);
    fixture_close(channel);
}

static void a_node_is_as_long_as_it_says(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    struct vgpu_node_message message = {
        .node = {.type = CU_GRAPH_NODE_TYPE_EMPTY, .tail_bytes = 8}};
    make_graph(channel);
    add(channel, NODE, &message, sizeof(message.node));
    assert_true(channel->garbage);
    assert_int_equal(driver.added, 0);
    fixture_close(channel);
}

static void parameters_are_as_long_as_the_kernels(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    struct vgpu_node_message message = {.node = {.type = CU_GRAPH_NODE_TYPE_KERNEL,
                                                 .tail_bytes = FAKE_PARAMETER_BYTES - 4,
                                                 .kernel = {.function = FUNCTION}}};
    make_graph(channel);
    fixture_load(channel, ".version 8.0\n.target sm_50\n");
    assert_int_equal(add(channel, NODE, &message, sizeof(message.node) + FAKE_PARAMETER_BYTES - 4),
                     CUDA_ERROR_INVALID_VALUE);
    message.node.tail_bytes = FAKE_PARAMETER_BYTES;
    assert_int_equal(add(channel, NODE, &message, sizeof(message.node) + FAKE_PARAMETER_BYTES),
                     CUDA_SUCCESS);
    fixture_close(channel);
}

static void copies_touch_the_guests_memory_only(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    static char ours[64];
    struct vgpu_node_message message = {
        .node = {.type = CU_GRAPH_NODE_TYPE_MEMCPY,
                 .copy = {.source = {.type = CU_MEMORYTYPE_HOST, .address = (uintptr_t)ours},
                          .destination = {.type = CU_MEMORYTYPE_DEVICE, .address = 4096},
                          .width = 64,
                          .height = 1,
                          .depth = 1}}};
    make_graph(channel);
    assert_int_equal(add(channel, NODE, &message, sizeof(message.node)), CUDA_ERROR_INVALID_VALUE);
    message.node.copy.source.type = CU_MEMORYTYPE_UNIFIED;
    assert_int_equal(add(channel, NODE, &message, sizeof(message.node)), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(driver.added, 0);
    fixture_close(channel);
}

static void edges_name_nodes(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    struct vgpu_wire_edge edge = {.from = NODE};
    struct vgpu_node_message message = {.node.type = CU_GRAPH_NODE_TYPE_EMPTY};
    uint64_t address;
    make_graph(channel);
    assert_int_equal(vgpu_send_vgpuGraphAddNode(channel, CONTEXT, NODE2, &address, GRAPH, &message,
                                                sizeof(message.node), &edge, sizeof(edge)),
                     CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(add_empty(channel, NODE), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_vgpuGraphAddNode(channel, CONTEXT, NODE2, &address, GRAPH, &message,
                                                sizeof(message.node), &edge, sizeof(edge)),
                     CUDA_SUCCESS);
    vgpu_send_vgpuGraphAddNode(channel, CONTEXT, CHILD, &address, GRAPH, &message,
                               sizeof(message.node), &edge, sizeof(edge) - 1);
    assert_true(channel->garbage);
    fixture_close(channel);
}

static CUresult instantiate(struct vgpu_channel *channel, struct vgpu_graph_outcome *outcome)
{
    size_t bytes;
    return vgpu_send_vgpuGraphInstantiate(channel, CONTEXT, EXEC, GRAPH, 0, 0, outcome,
                                          sizeof(*outcome), &bytes);
}

static void memory_of_graphs_is_charged(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    struct vgpu_graph_outcome outcome;
    make_graph(channel);
    driver.nodes = 2;
    allocated = QUOTA;
    assert_int_equal(instantiate(channel, &outcome), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(outcome.result, CUDA_GRAPH_INSTANTIATE_ERROR);
    assert_int_equal(vgpu_ledger_used(&channel->worker.ledger), 0);
    allocated = QUOTA / 2;
    assert_int_equal(instantiate(channel, &outcome), CUDA_SUCCESS);
    assert_int_equal(outcome.judged, 1);
    assert_int_equal(vgpu_ledger_used(&channel->worker.ledger), QUOTA);
    vgpu_send_cuGraphExecDestroy(channel, 0, EXEC);
    assert_int_equal(vgpu_ledger_used(&channel->worker.ledger), 0);
    fixture_close(channel);
}

/* The driver might wait for it. */
static void memory_of_a_graph_that_may_run_is_given_up_later(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_graphs();
    struct vgpu_graph_outcome outcome;
    uint64_t memory;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &memory, 64), CUDA_SUCCESS);
    uint64_t used = vgpu_ledger_used(&channel->worker.ledger);
    make_graph(channel);
    driver.nodes = 2;
    allocated = QUOTA / 4;
    assert_int_equal(instantiate(channel, &outcome), CUDA_SUCCESS);
    fake.queued = true;
    vgpu_send_cuMemsetD8Async(channel, CONTEXT, memory, 1, 64, 0);
    vgpu_send_cuGraphExecDestroy(channel, 0, EXEC);
    assert_int_equal(vgpu_ledger_used(&channel->worker.ledger), used + QUOTA / 2);
    fake.queued = false;
    for (int i = 0; i < 10 && !vgpu_contexts_are_done(&channel->worker); i++)
        fake_run(NULL, 10);
    vgpu_pools_tidy(&channel->worker);
    assert_int_equal(vgpu_ledger_used(&channel->worker.ledger), used);
    fixture_close(channel);
}

static void many_names_are_found(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    static char objects[MANY * 16];
    struct vgpu_graph_names names = {0};
    for (uint32_t i = 0; i < MANY; i++)
        vgpu_graph_names_add(&names, objects + i * 16, i + 1);
    for (uint32_t i = 0; i < MANY; i += 3)
        vgpu_graph_names_remove(&names, objects + i * 16);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(vgpu_graph_names_find(&names, objects + i * 16), i % 3 ? i + 1 : 0);
    assert_int_equal(vgpu_graph_names_find(&names, NULL), 0);
    vgpu_graph_names_destroy(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_ours_goes_into_a_capture),
        cmocka_unit_test(a_capture_that_is_discarded_leaves_no_graph),
        cmocka_unit_test(nodes_of_the_driver_get_the_guests_ids),
        cmocka_unit_test(ids_that_are_taken_are_garbage),
        cmocka_unit_test(nodes_end_with_their_graph),
        cmocka_unit_test(a_node_is_as_long_as_it_says),
        cmocka_unit_test(parameters_are_as_long_as_the_kernels),
        cmocka_unit_test(copies_touch_the_guests_memory_only),
        cmocka_unit_test(edges_name_nodes),
        cmocka_unit_test(memory_of_graphs_is_charged),
        cmocka_unit_test(memory_of_a_graph_that_may_run_is_given_up_later),
        cmocka_unit_test(many_names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
