/* SPDX-License-Identifier: MIT */
/* Graphs that copy from and to ordinary memory of the program: which memory that is, when it is
 * read and written, and what is left alone. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/driver_api/graph_parts.h"

#define BYTES (GRAPH_COUNT * 4)

static unsigned int *map(unsigned int value)
{
    unsigned int *memory =
        mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED);
    for (unsigned int i = 0; i < GRAPH_COUNT; i++)
        memory[i] = value;
    return memory;
}

static void unmap(unsigned int *memory)
{
    EXPECT(munmap(memory, BYTES) == 0);
}

static int is_all(const unsigned int *memory, unsigned int value)
{
    for (unsigned int i = 0; i < GRAPH_COUNT; i++) {
        if (memory[i] != value)
            return 0;
    }
    return 1;
}

static CUDA_MEMCPY3D upload(CUdeviceptr to, const void *from)
{
    CUDA_MEMCPY3D copy = graph_copy(to, 0);
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = from;
    return copy;
}

/* From `in` to the device and back to `out`. */
static CUgraph make_round_trip(const struct graph_setup *setup, const void *in, void *out,
                               CUgraphNode *nodes)
{
    CUDA_MEMCPY3D to = upload(setup->first, in), from = graph_download(out, setup->first);
    CUgraph graph = graph_make();
    CHECK(cuGraphAddMemcpyNode(&nodes[0], graph, NULL, 0, &to, setup->context));
    CHECK(cuGraphAddMemcpyNode(&nodes[1], graph, nodes, 1, &from, setup->context));
    return graph;
}

static void copies_are_set_in_the_graph(const struct graph_setup *setup)
{
    unsigned int *in[2] = {map(1), map(2)}, *out[2] = {map(0), map(0)};
    CUgraphNode nodes[2];
    CUgraph graph = make_round_trip(setup, in[0], out[0], nodes);
    CUgraphExec before = graph_instantiate(graph);
    CUDA_MEMCPY3D to = upload(setup->first, in[1]), from = graph_download(out[1], setup->first);
    CUDA_MEMCPY3D got;
    CHECK(cuGraphMemcpyNodeSetParams(nodes[0], &to));
    CHECK(cuGraphMemcpyNodeSetParams(nodes[1], &from));
    CHECK(cuGraphMemcpyNodeGetParams(nodes[0], &got));
    EXPECT(got.srcMemoryType == CU_MEMORYTYPE_HOST && got.srcHost == in[1]);
    CHECK(cuGraphMemcpyNodeGetParams(nodes[1], &got));
    EXPECT(got.dstMemoryType == CU_MEMORYTYPE_HOST && got.dstHost == out[1]);
    graph_launch(setup, before);
    EXPECT(is_all(out[0], 1) && is_all(out[1], 0));
    CHECK(cuGraphExecDestroy(before));
    unmap(in[0]);
    unmap(out[0]);
    graph_run(setup, graph);
    EXPECT(is_all(out[1], 2));
    CHECK(cuGraphDestroy(graph));
    unmap(in[1]);
    unmap(out[1]);
}

/* The graph writes to other memory now, and not to what it had, which may go. */
static void expect_moved(const struct graph_setup *setup, CUgraphExec exec, unsigned int *old_in,
                         unsigned int *old_out, const unsigned int *out, unsigned int value)
{
    memset(old_out, 0x11, BYTES);
    graph_launch(setup, exec);
    EXPECT(is_all(out, value) && is_all(old_out, 0x11111111));
    unmap(old_in);
    unmap(old_out);
    graph_launch(setup, exec);
}

/* The memory that was used before is the program's alone again. */
static void copies_are_set_in_an_executable_graph(const struct graph_setup *setup)
{
    unsigned int *in = map(1), *out = map(0);
    CUgraphNode nodes[2];
    CUgraph graph = make_round_trip(setup, in, out, nodes);
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    EXPECT(is_all(out, 1));
    for (unsigned int i = 2; i < 6; i++) {
        unsigned int *next_in = map(i), *next_out = map(0);
        CUDA_MEMCPY3D to = upload(setup->first, next_in);
        CUDA_MEMCPY3D from = graph_download(next_out, setup->first);
        CHECK(cuGraphExecMemcpyNodeSetParams(exec, nodes[0], &to, setup->context));
        CHECK(cuGraphExecMemcpyNodeSetParams(exec, nodes[1], &from, setup->context));
        expect_moved(setup, exec, in, out, next_out, i);
        in = next_in;
        out = next_out;
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    unmap(in);
    unmap(out);
}

static void an_update_brings_other_memory(const struct graph_setup *setup)
{
    unsigned int *in = map(1), *out = map(0);
    CUgraphExecUpdateResultInfo info;
    CUgraphNode nodes[2];
    CUgraph graph = make_round_trip(setup, in, out, nodes);
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuGraphDestroy(graph));
    graph_launch(setup, exec);
    for (unsigned int i = 2; i < 5; i++) {
        unsigned int *next_in = map(i), *next_out = map(0);
        CUgraph next = make_round_trip(setup, next_in, next_out, nodes);
        CHECK(cuGraphExecUpdate(exec, next, &info));
        CHECK(cuGraphDestroy(next));
        expect_moved(setup, exec, in, out, next_out, i);
        in = next_in;
        out = next_out;
    }
    CHECK(cuGraphExecDestroy(exec));
    unmap(in);
    unmap(out);
}

/* Of copies that a capture made, too, which had no names when they were made. */
static void captured_copies_are_set(const struct graph_setup *setup)
{
    unsigned int *out = map(0), *other = map(0), *third = map(0);
    CUDA_MEMCPY3D copy, from = graph_download(other, setup->first);
    CUgraphNode node;
    CUgraph graph;
    size_t count = 1;
    CHECK(cuMemsetD32(setup->first, 9, GRAPH_COUNT));
    CHECK(cuStreamSynchronize(NULL));
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuMemcpyDtoHAsync(out, setup->first, BYTES, setup->stream));
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    CHECK(cuGraphGetNodes(graph, &node, &count));
    EXPECT(count == 1);
    CHECK(cuGraphMemcpyNodeGetParams(node, &copy));
    EXPECT(copy.dstHost == out);
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuGraphMemcpyNodeSetParams(node, &from));
    CUgraphExec second = graph_instantiate(graph);
    graph_launch(setup, second);
    EXPECT(is_all(other, 9) && is_all(out, 0));
    from = graph_download(third, setup->first);
    CHECK(cuGraphExecMemcpyNodeSetParams(exec, node, &from, setup->context));
    CHECK(cuGraphExecMemcpyNodeSetParams(second, node, &from, setup->context));
    unmap(other);
    graph_launch(setup, second);
    EXPECT(is_all(third, 9));
    memset(third, 0, BYTES);
    graph_launch(setup, exec);
    EXPECT(is_all(third, 9) && is_all(out, 0));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphExecDestroy(second));
    CHECK(cuGraphDestroy(graph));
    unmap(out);
    unmap(third);
}

/* A node that does not run writes nothing, and one that is gone neither. */
static void what_does_not_run_writes_nothing(const struct graph_setup *setup)
{
    unsigned int *in = map(1), *out = map(0);
    CUgraphNode nodes[2];
    CUgraph graph = make_round_trip(setup, in, out, nodes);
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    EXPECT(is_all(out, 1));
    CHECK(cuGraphNodeSetEnabled(exec, nodes[1], 0));
    CHECK(cuGraphLaunch(exec, setup->stream));
    memset(out, 0x11, BYTES);
    CHECK(cuStreamSynchronize(setup->stream));
    EXPECT(is_all(out, 0x11111111));
    CHECK(cuGraphNodeSetEnabled(exec, nodes[1], 1));
    graph_launch(setup, exec);
    EXPECT(is_all(out, 1));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroyNode(nodes[1]));
    unmap(out);
    graph_run(setup, graph);
    graph_expect(setup->first, 1, 0);
    CHECK(cuGraphDestroy(graph));
    unmap(in);
}

/* ---- the program looks while the graph runs ---- */

struct exchange {
    unsigned int *in, *out;
    unsigned int seen;
};

static void CUDA_CB take_and_give(void *data)
{
    struct exchange *exchange = data;
    exchange->seen = exchange->out[0];
    for (unsigned int i = 0; i < GRAPH_COUNT; i++)
        exchange->in[i] = exchange->out[i] + 100;
}

/* Memory is downloaded, a function of the program reads it and writes what is uploaded next. */
static CUgraph make_exchange(const struct graph_setup *setup, struct exchange *exchange)
{
    CUDA_MEMCPY3D from = graph_download(exchange->out, setup->first);
    CUDA_MEMCPY3D to = upload(setup->second, exchange->in);
    CUDA_HOST_NODE_PARAMS host = {take_and_give, exchange};
    CUgraph graph = graph_make();
    CUgraphNode nodes[3];
    CHECK(cuGraphAddMemcpyNode(&nodes[0], graph, NULL, 0, &from, setup->context));
    CHECK(cuGraphAddHostNode(&nodes[1], graph, &nodes[0], 1, &host));
    CHECK(cuGraphAddMemcpyNode(&nodes[2], graph, &nodes[1], 1, &to, setup->context));
    return graph;
}

static void run_exchange(const struct graph_setup *setup, CUgraph graph, struct exchange *exchange)
{
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int value = 5; value < 8; value++) {
        CHECK(cuMemsetD32Async(setup->first, value, GRAPH_COUNT, setup->stream));
        CHECK(cuGraphLaunch(exec, setup->stream));
        CHECK(cuMemsetD32Async(setup->first, value + 10, GRAPH_COUNT, setup->stream));
        CHECK(cuGraphLaunch(exec, setup->stream)); /* behind the first */
        CHECK(cuStreamSynchronize(setup->stream));
        EXPECT(exchange->seen == value + 10 && is_all(exchange->out, value + 10));
        graph_expect(setup->second, value + 110, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
}

/* Only page-locked memory is read when the copy's turn has come: other memory is read as it is at
 * the launch. */
static void functions_of_the_program_see_the_copies(const struct graph_setup *setup)
{
    struct exchange exchange = {map(0), map(0), 0};
    CHECK(cuMemHostRegister(exchange.in, BYTES, 0));
    CUgraph graph = make_exchange(setup, &exchange), outer = graph_make();
    CUgraphNode child;
    run_exchange(setup, graph, &exchange);
    CHECK(cuGraphAddChildGraphNode(&child, outer, NULL, 0, graph));
    CHECK(cuGraphDestroy(graph));
    run_exchange(setup, outer, &exchange);
    CHECK(cuGraphDestroy(outer));
    CHECK(cuStreamBeginCapture(setup->stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(cuMemcpyDtoHAsync(exchange.out, setup->first, BYTES, setup->stream));
    CHECK(cuLaunchHostFunc(setup->stream, take_and_give, &exchange));
    CHECK(cuMemcpyHtoDAsync(setup->second, exchange.in, BYTES, setup->stream));
    CHECK(cuStreamEndCapture(setup->stream, &graph));
    run_exchange(setup, graph, &exchange);
    CHECK(cuGraphDestroy(graph));
    CHECK(cuMemHostUnregister(exchange.in));
    unmap(exchange.in);
    unmap(exchange.out);
}

/* What the launch found there, as NVIDIA's driver has it, or what the function wrote. */
static void functions_write_to_ordinary_memory(const struct graph_setup *setup)
{
    struct exchange exchange = {map(0), map(0), 0};
    CUgraph graph = make_exchange(setup, &exchange);
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int value = 5; value < 8; value++) {
        unsigned int got = 0;
        for (unsigned int i = 0; i < GRAPH_COUNT; i++)
            exchange.in[i] = value;
        CHECK(cuMemsetD32Async(setup->first, value + 10, GRAPH_COUNT, setup->stream));
        graph_launch(setup, exec);
        EXPECT(exchange.seen == value + 10);
        CHECK(cuMemcpyDtoH(&got, setup->second, sizeof(got)));
        EXPECT(got == value || got == value + 110);
        graph_expect(setup->second, got, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    unmap(exchange.in);
    unmap(exchange.out);
}

static void CUDA_CB take_all(void *data)
{
    struct exchange *exchange = data;
    for (unsigned int i = 0; i < GRAPH_COUNT; i++)
        exchange->seen += exchange->out[i];
    memset(exchange->out, 0, BYTES);
}

/* The same is copied each time, and a function of the program takes it away again. */
static void functions_change_what_was_copied(const struct graph_setup *setup)
{
    struct exchange exchange = {NULL, map(0), 0};
    CUDA_MEMCPY3D from = graph_download(exchange.out, setup->first);
    CUDA_HOST_NODE_PARAMS host = {take_all, &exchange};
    CUgraph graph = graph_make();
    CUgraphNode nodes[2];
    CHECK(cuGraphAddMemcpyNode(&nodes[0], graph, NULL, 0, &from, setup->context));
    CHECK(cuGraphAddHostNode(&nodes[1], graph, &nodes[0], 1, &host));
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuMemsetD32Async(setup->first, 0x01020304, GRAPH_COUNT, setup->stream));
    for (int i = 0; i < 5; i++)
        CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuStreamSynchronize(setup->stream));
    EXPECT(exchange.seen == 5u * 0x01020304u * GRAPH_COUNT && is_all(exchange.out, 0));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    unmap(exchange.out);
}

/* An update, and then a copy that the executable graph was not made with. */
static void a_copy_is_set_after_an_update(const struct graph_setup *setup)
{
    unsigned int *in = map(1), *out[3] = {map(0), map(0), map(0)};
    CUgraphExecUpdateResultInfo info;
    CUgraphNode nodes[2], found;
    CUgraph graph = make_round_trip(setup, in, out[0], nodes), clone;
    CUgraphExec exec = graph_instantiate(graph);
    CUDA_MEMCPY3D from = graph_download(out[1], setup->first);
    CHECK(cuGraphClone(&clone, graph));
    CHECK(cuGraphNodeFindInClone(&found, nodes[1], clone));
    CHECK(cuGraphMemcpyNodeSetParams(found, &from));
    CHECK(cuGraphExecUpdate(exec, clone, &info));
    graph_launch(setup, exec);
    EXPECT(is_all(out[0], 0) && is_all(out[1], 1));
    from = graph_download(out[2], setup->first);
    CHECK(cuGraphExecMemcpyNodeSetParams(exec, nodes[1], &from, setup->context));
    memset(in, 0, BYTES);
    unmap(out[0]);
    unmap(out[1]);
    memset(out[2], 0x11, BYTES);
    graph_launch(setup, exec);
    EXPECT(is_all(out[2], 0));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuGraphDestroy(clone));
    unmap(in);
    unmap(out[2]);
}

/* What is before an event is there when the event is, even if the graph goes on. */
static void copies_before_an_event(const struct graph_setup *setup)
{
    unsigned int *out = map(0), *gate;
    CUdeviceptr address;
    CUgraph graph = graph_make();
    CUDA_MEMCPY3D from = graph_download(out, setup->first);
    CUgraphNode nodes[3];
    CUevent event;
    alarm(60); /* a launch that waited for its copies would wait for ever */
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CHECK(cuMemHostAlloc((void **)&gate, sizeof(*gate), CU_MEMHOSTALLOC_DEVICEMAP));
    CHECK(cuMemHostGetDevicePointer(&address, gate, 0));
    *gate = 0;
    CUstreamBatchMemOpParams wait = {.waitValue = {.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32,
                                                   .address = address,
                                                   .value = 1,
                                                   .flags = CU_STREAM_WAIT_VALUE_EQ}};
    CUDA_BATCH_MEM_OP_NODE_PARAMS operations = {
        .ctx = setup->context, .count = 1, .paramArray = &wait};
    CHECK(cuGraphAddMemcpyNode(&nodes[0], graph, NULL, 0, &from, setup->context));
    CHECK(cuGraphAddEventRecordNode(&nodes[1], graph, &nodes[0], 1, event));
    CHECK(cuGraphAddBatchMemOpNode(&nodes[2], graph, &nodes[1], 1, &operations));
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuMemsetD32Async(setup->first, 6, GRAPH_COUNT, setup->stream));
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuEventSynchronize(event));
    EXPECT(is_all(out, 6));
    memset(out, 0x22, BYTES); /* it is the program's again */
    EXPECT(cuStreamQuery(setup->stream) == CUDA_ERROR_NOT_READY);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    CHECK(cuStreamSynchronize(setup->stream));
    EXPECT(is_all(out, 0x22222222));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuEventDestroy(event));
    CHECK(cuMemFreeHost(gate));
    unmap(out);
    alarm(0);
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    copies_are_set_in_the_graph(&setup);
    copies_are_set_in_an_executable_graph(&setup);
    an_update_brings_other_memory(&setup);
    captured_copies_are_set(&setup);
    what_does_not_run_writes_nothing(&setup);
    functions_of_the_program_see_the_copies(&setup);
    functions_write_to_ordinary_memory(&setup);
    functions_change_what_was_copied(&setup);
    a_copy_is_set_after_an_update(&setup);
    copies_before_an_event(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
