/* SPDX-License-Identifier: MIT */
/* Graphs within graphs within graphs: what lies in them is done, told and changed as in the first.
 */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/graph_parts.h"

/* What a graph does for the program: it uploads `in`, adds 3 times as much to `first`, downloads
 * that to `out` and calls. */
struct report {
    unsigned int in[GRAPH_COUNT], out[GRAPH_COUNT];
    int calls;
};

static void CUDA_CB count_call(void *data)
{
    struct report *report = data;
    report->calls++;
}

static CUDA_MEMCPY3D upload(CUdeviceptr to, const void *from)
{
    CUDA_MEMCPY3D copy = graph_copy(to, 0);
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = from;
    return copy;
}

enum { UPLOADED, ADDED, DOWNLOADED, CALLED, NODES };

static CUgraph make_report(const struct graph_setup *setup, struct report *report,
                           CUgraphNode *nodes)
{
    CUDA_MEMCPY3D to = upload(setup->second, report->in);
    CUDA_MEMCPY3D from = graph_download(report->out, setup->first);
    CUDA_HOST_NODE_PARAMS host = {count_call, report};
    struct graph_kernel kernel;
    CUgraph graph = graph_make();
    CHECK(cuGraphAddMemcpyNode(&nodes[UPLOADED], graph, NULL, 0, &to, setup->context));
    CHECK(cuGraphAddKernelNode(&nodes[ADDED], graph, &nodes[UPLOADED], 1,
                               graph_add(setup, &kernel, setup->first, setup->second)));
    CHECK(cuGraphAddMemcpyNode(&nodes[DOWNLOADED], graph, &nodes[ADDED], 1, &from, setup->context));
    CHECK(cuGraphAddHostNode(&nodes[CALLED], graph, &nodes[DOWNLOADED], 1, &host));
    return graph;
}

/* `inner` in a graph by itself, in a graph with something else before it: `inner` ends. */
static CUgraph put_deep(const struct graph_setup *setup, CUgraph inner)
{
    CUDA_MEMSET_NODE_PARAMS clear = graph_memset(setup->first, 0);
    CUgraph middle = graph_make(), outer = graph_make();
    CUgraphNode child, cleared;
    CHECK(cuGraphAddChildGraphNode(&child, middle, NULL, 0, inner));
    CHECK(cuGraphDestroy(inner));
    CHECK(cuGraphAddMemsetNode(&cleared, outer, NULL, 0, &clear, setup->context));
    CHECK(cuGraphAddChildGraphNode(&child, outer, &cleared, 1, middle));
    CHECK(cuGraphDestroy(middle));
    return outer;
}

static CUgraphNode child_node_of(CUgraph graph)
{
    CUgraphNode nodes[NODES], child = NULL;
    CUgraphNodeType type;
    size_t count = NODES;
    CHECK(cuGraphGetNodes(graph, nodes, &count));
    for (size_t i = 0; i < count; i++) {
        CHECK(cuGraphNodeGetType(nodes[i], &type));
        if (type == CU_GRAPH_NODE_TYPE_GRAPH)
            child = nodes[i];
    }
    EXPECT(child != NULL);
    return child;
}

static CUgraph child_of(CUgraph graph)
{
    CUgraph child = NULL;
    CHECK(cuGraphChildGraphNodeGetGraph(child_node_of(graph), &child));
    return child;
}

/* The copy to or from memory of the program in a graph that make_report made, or a copy of it. */
static CUgraphNode find_copy(CUgraph graph, const void *host)
{
    CUgraphNode nodes[NODES];
    CUgraphNodeType type;
    CUDA_MEMCPY3D copy;
    size_t count = NODES;
    CHECK(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == NODES);
    for (size_t i = 0; i < count; i++) {
        CHECK(cuGraphNodeGetType(nodes[i], &type));
        if (type != CU_GRAPH_NODE_TYPE_MEMCPY)
            continue;
        CHECK(cuGraphMemcpyNodeGetParams(nodes[i], &copy));
        if ((copy.srcMemoryType == CU_MEMORYTYPE_HOST && copy.srcHost == host) ||
            (copy.dstMemoryType == CU_MEMORYTYPE_HOST && copy.dstHost == host))
            return nodes[i];
    }
    return NULL;
}

static void run_report(const struct graph_setup *setup, CUgraphExec exec, struct report *report,
                       unsigned int value)
{
    int calls = report->calls;
    for (unsigned int i = 0; i < GRAPH_COUNT; i++) {
        report->in[i] = value + i;
        report->out[i] = 0;
    }
    graph_launch(setup, exec);
    EXPECT(report->calls == calls + 1);
    for (unsigned int i = 0; i < GRAPH_COUNT; i++)
        EXPECT(report->out[i] == 3 * (value + i));
}

static void work_for_the_program_at_two_depths(const struct graph_setup *setup)
{
    static struct report report;
    CUgraphNode nodes[NODES];
    CUgraph outer = put_deep(setup, make_report(setup, &report, nodes)), clone;
    CUgraphExec exec = graph_instantiate(outer), of_clone;
    run_report(setup, exec, &report, 1);
    run_report(setup, exec, &report, 2);
    CHECK(cuGraphClone(&clone, outer));
    EXPECT(cuGraphNodeFindInClone(&nodes[0], child_node_of(clone), clone) ==
           CUDA_ERROR_INVALID_VALUE); /* it was not cloned itself */
    CHECK(cuGraphNodeFindInClone(&nodes[0], child_node_of(outer), clone));
    EXPECT(nodes[0] == child_node_of(clone));
    CHECK(cuGraphDestroy(outer));
    run_report(setup, exec, &report, 3);
    of_clone = graph_instantiate(clone);
    run_report(setup, of_clone, &report, 4);
    CHECK(cuGraphDestroy(clone));
    run_report(setup, of_clone, &report, 5);
    CHECK(cuGraphExecDestroy(of_clone));
    run_report(setup, exec, &report, 6);
    CHECK(cuGraphExecDestroy(exec));
}

/* Nodes of an inner graph tell what they do and are set; executable graphs do not see it. */
static void inner_nodes_are_asked_and_set(const struct graph_setup *setup)
{
    static struct report report, other;
    CUgraphNode nodes[NODES], found;
    CUgraph outer = put_deep(setup, make_report(setup, &report, nodes)), clone;
    CUgraph inner = child_of(child_of(outer));
    CUgraphExec exec = graph_instantiate(outer);
    CUDA_MEMCPY3D copy = graph_download(other.out, setup->first);
    found = find_copy(inner, report.out);
    EXPECT(found != NULL && find_copy(inner, report.in) != NULL);
    CHECK(cuGraphMemcpyNodeSetParams(found, &copy));
    EXPECT(find_copy(inner, other.out) == found && find_copy(inner, report.out) == NULL);
    run_report(setup, exec, &report, 1);
    EXPECT(other.out[0] == 0);
    CHECK(cuGraphClone(&clone, outer));
    EXPECT(find_copy(child_of(child_of(clone)), other.out) != NULL);
    report.out[0] = 77;
    graph_run(setup, clone);
    EXPECT(other.out[0] == 3 && other.out[1] == 6 && report.out[0] == 77);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(clone));
    CHECK(cuGraphDestroy(outer));
}

/* A graph that is given away is still the one that it was. */
static void a_graph_is_moved_into_another(const struct graph_setup *setup)
{
    static struct report report, other;
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_GRAPH};
    CUDA_MEMSET_NODE_PARAMS clear = graph_memset(setup->first, 0);
    CUDA_MEMCPY3D copy = graph_download(other.out, setup->first);
    CUgraphNode nodes[NODES], cleared, child;
    CUgraph inner = make_report(setup, &report, nodes), outer = graph_make();
    CUgraph elsewhere = graph_make(), clone;
    CHECK(cuGraphAddMemsetNode(&cleared, outer, NULL, 0, &clear, setup->context));
    parameters.graph.graph = inner;
    parameters.graph.ownership = CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
    CHECK(cuGraphAddNode(&child, outer, &cleared, NULL, 1, &parameters));
    EXPECT(child_of(outer) == inner);
    /* It is cloned and grows as before, but does not move again. */
    EXPECT(cuGraphAddNode(&child, elsewhere, NULL, NULL, 0, &parameters) ==
           CUDA_ERROR_NOT_SUPPORTED);
    CHECK(cuGraphDestroy(elsewhere));
    CHECK(cuGraphClone(&clone, inner));
    CHECK(cuGraphDestroy(clone));
    CHECK(cuGraphAddEmptyNode(&child, inner, &nodes[CALLED], 1));
    CUgraphExec exec = graph_instantiate(outer);
    run_report(setup, exec, &report, 1);
    CHECK(cuGraphMemcpyNodeSetParams(nodes[DOWNLOADED], &copy));
    run_report(setup, exec, &report, 2);
    CHECK(cuGraphExecDestroy(exec));
    memset(report.out, 0x33, sizeof(report.out));
    graph_run(setup, outer);
    EXPECT(other.out[0] == 6 && report.out[0] == 0x33333333 && report.calls == 3);
    CHECK(cuGraphDestroy(outer));
}

/* A graph that lies in a node is the node's alone. */
static void expect_owned(CUgraph inner)
{
    CUgraph other = graph_make();
    CUgraphNode child;
    CUgraphExec exec;
    size_t count = 1;
    EXPECT(cuGraphAddChildGraphNode(&child, other, NULL, 0, inner) == CUDA_ERROR_NOT_SUPPORTED);
    EXPECT(cuGraphInstantiate(&exec, inner, 0) == CUDA_ERROR_NOT_SUPPORTED);
    EXPECT(cuGraphDestroy(inner) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphGetNodes(other, NULL, &count));
    EXPECT(count == 0);
    CHECK(cuGraphDestroy(other));
}

/* A clone of such a graph is a graph as any, and goes into others. */
static void inner_graphs_are_taken_elsewhere(const struct graph_setup *setup)
{
    static struct report report;
    CUgraphNode nodes[NODES], child;
    CUgraph outer = put_deep(setup, make_report(setup, &report, nodes)), clone;
    CUgraph inner = child_of(child_of(outer)), other = graph_make();
    CUDA_MEMSET_NODE_PARAMS clear = graph_memset(setup->first, 0);
    CUgraphNode cleared;
    expect_owned(inner);
    CHECK(cuGraphClone(&clone, inner));
    CHECK(cuGraphDestroy(outer));
    CHECK(cuGraphAddMemsetNode(&cleared, other, NULL, 0, &clear, setup->context));
    CHECK(cuGraphAddChildGraphNode(&child, other, &cleared, 1, clone));
    CUgraphExec exec = graph_instantiate(other);
    run_report(setup, exec, &report, 8);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(other));
    exec = graph_instantiate(clone);
    CHECK(cuMemsetD32Async(setup->first, 0, GRAPH_COUNT, setup->stream));
    run_report(setup, exec, &report, 9);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(clone));
}

/* An update reaches what lies deep, and what it has brought outlives the graph it came with. */
static void an_update_reaches_inner_graphs(const struct graph_setup *setup)
{
    static struct report reports[3];
    CUgraphExecUpdateResultInfo info;
    CUgraphNode nodes[NODES];
    CUgraph outer = put_deep(setup, make_report(setup, &reports[0], nodes));
    CUgraphExec exec = graph_instantiate(outer);
    CHECK(cuGraphDestroy(outer));
    run_report(setup, exec, &reports[0], 1);
    for (int i = 1; i < 3; i++) {
        outer = put_deep(setup, make_report(setup, &reports[i], nodes));
        CHECK(cuGraphExecUpdate(exec, outer, &info));
        EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_SUCCESS);
        CHECK(cuGraphDestroy(outer));
        usleep(20000); /* what ends with a graph may end a little later */
        memset(reports[i - 1].out, 0x33, sizeof(reports[i - 1].out));
        run_report(setup, exec, &reports[i], 10 + (unsigned int)i);
        run_report(setup, exec, &reports[i], 20 + (unsigned int)i);
        EXPECT(reports[i - 1].out[0] == 0x33333333);
    }
    EXPECT(reports[0].calls == 1 && reports[1].calls == 2);
    CHECK(cuGraphExecDestroy(exec));
}

/* Another graph takes the place of one that lies in a node: the first is left alone from then on.
 */
static void a_child_takes_the_place_of_another(const struct graph_setup *setup)
{
    static struct report reports[3];
    CUDA_MEMSET_NODE_PARAMS clear = graph_memset(setup->first, 0);
    CUgraphNode nodes[NODES], cleared, child;
    CUgraph outer = graph_make(), inner = make_report(setup, &reports[0], nodes);
    CHECK(cuGraphAddMemsetNode(&cleared, outer, NULL, 0, &clear, setup->context));
    CHECK(cuGraphAddChildGraphNode(&child, outer, &cleared, 1, inner));
    CHECK(cuGraphDestroy(inner));
    CUgraphExec exec = graph_instantiate(outer);
    run_report(setup, exec, &reports[0], 1);
    for (int i = 1; i < 5; i++) {
        struct report *now = &reports[i % 3], *before = &reports[(i - 1) % 3];
        inner = make_report(setup, now, nodes);
        CHECK(cuGraphExecChildGraphNodeSetParams(exec, child, inner));
        CHECK(cuGraphDestroy(inner));
        usleep(20000); /* what ends with a graph may end a little later */
        memset(before->out, 0x33, sizeof(before->out));
        run_report(setup, exec, now, 10 + (unsigned int)i);
        EXPECT(before->out[0] == 0x33333333);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(outer));
}

/* Nodes that lie deep are set in an executable graph. */
static void inner_nodes_are_set_in_executable_graphs(const struct graph_setup *setup)
{
    static struct report report, other;
    CUgraphNode nodes[NODES], inner_nodes[NODES], kernel_node = NULL;
    CUgraph outer = put_deep(setup, make_report(setup, &report, nodes));
    CUgraph inner = child_of(child_of(outer));
    CUgraphExec exec = graph_instantiate(outer);
    CUDA_MEMCPY3D copy = graph_download(other.out, setup->first);
    struct graph_kernel kernel;
    CUgraphNodeType type;
    size_t count = NODES;
    CHECK(cuGraphGetNodes(inner, inner_nodes, &count));
    for (size_t i = 0; i < count; i++) {
        CHECK(cuGraphNodeGetType(inner_nodes[i], &type));
        if (type == CU_GRAPH_NODE_TYPE_KERNEL)
            kernel_node = inner_nodes[i];
    }
    run_report(setup, exec, &report, 1);
    memset(report.out, 0x33, sizeof(report.out));
    CHECK(
        cuGraphExecMemcpyNodeSetParams(exec, find_copy(inner, report.out), &copy, setup->context));
    for (unsigned int i = 1; i < 4; i++) {
        CHECK(cuGraphExecKernelNodeSetParams(exec, kernel_node,
                                             graph_fill(setup, &kernel, setup->first, i)));
        graph_launch(setup, exec);
        EXPECT(other.out[0] == i && other.out[GRAPH_COUNT - 1] == i + GRAPH_COUNT - 1);
        EXPECT(report.out[0] == 0x33333333);
    }
    EXPECT(report.calls == 4);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(outer));
}

/* ---- what ends while it runs ---- */

static void graphs_end_while_they_run(const struct graph_setup *setup)
{
    static struct report report;
    CUfunction busy = check_function(setup->module, "busy");
    CUdeviceptr word = check_memory(4);
    unsigned int rounds = 2000000;
    void *arguments[] = {&word, &rounds};
    CUDA_KERNEL_NODE_PARAMS kernel = graph_single(busy, arguments);
    CUgraphNode nodes[NODES], first, child;
    CUgraph inner = make_report(setup, &report, nodes), outer = graph_make();
    CHECK(cuGraphAddKernelNode(&first, outer, NULL, 0, &kernel));
    CHECK(cuGraphAddChildGraphNode(&child, outer, &first, 1, inner));
    CUgraphExec exec = graph_instantiate(outer);
    for (unsigned int i = 0; i < GRAPH_COUNT; i++)
        report.in[i] = i;
    CHECK(cuMemsetD32Async(setup->first, 0, GRAPH_COUNT, setup->stream));
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuGraphDestroy(inner));
    CHECK(cuGraphDestroy(outer));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuStreamSynchronize(setup->stream));
    EXPECT(report.calls == 2);
    for (unsigned int i = 0; i < GRAPH_COUNT; i++)
        EXPECT(report.out[i] == 6 * i);
    CHECK(cuMemFree(word));
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    work_for_the_program_at_two_depths(&setup);
    inner_nodes_are_asked_and_set(&setup);
    inner_graphs_are_taken_elsewhere(&setup);
    a_graph_is_moved_into_another(&setup);
    an_update_reaches_inner_graphs(&setup);
    a_child_takes_the_place_of_another(&setup);
    graphs_end_while_they_run(&setup);
    inner_nodes_are_set_in_executable_graphs(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
