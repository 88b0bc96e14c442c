/* SPDX-License-Identifier: MIT */
/* Executable graphs that change: node by node, child by child, or as a whole. */
#include <string.h>

#include "tests/driver_api/graph_parts.h"

static void an_executable_graph_changes(const struct graph_setup *setup)
{
    CUgraphNode nodes[3];
    CUgraph graph = graph_diamond(setup, nodes);
    CUgraphExec exec = graph_instantiate(graph);
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(setup->second, 7);
    struct graph_kernel kernel;
    unsigned int enabled = 9;
    CHECK(cuGraphExecKernelNodeSetParams(exec, nodes[1],
                                         graph_fill(setup, &kernel, setup->first, 100)));
    CHECK(cuGraphExecMemsetNodeSetParams(exec, nodes[0], &set, setup->context));
    graph_launch(setup, exec);
    graph_expect(setup->first, 121, 1);
    for (unsigned int value = 200; value < 203; value++) {
        CHECK(cuGraphExecKernelNodeSetParams(exec, nodes[1],
                                             graph_fill(setup, &kernel, setup->first, value)));
        graph_launch(setup, exec);
        graph_expect(setup->first, value + 21, 1);
    }
    graph_fill(setup, &kernel, setup->first, 9);
    kernel.node.blockDimX = 4096;
    EXPECT(cuGraphExecKernelNodeSetParams(exec, nodes[1], &kernel.node) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphExecKernelNodeSetParams(exec, nodes[1],
                                         graph_fill(setup, &kernel, setup->first, 100)));
    CHECK(cuGraphNodeSetEnabled(exec, nodes[2], 0));
    CHECK(cuGraphNodeGetEnabled(exec, nodes[2], &enabled));
    EXPECT(enabled == 0);
    graph_launch(setup, exec);
    graph_expect(setup->first, 100, 1);
    graph_run(setup, graph); /* the graph itself is as it was */
    graph_expect(setup->first, 25, 1);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

/* As programs do before each launch: the same nodes, other memory. */
static void the_same_change_again_and_again(const struct graph_setup *setup)
{
    enum { PLACES = 8 };
    CUdeviceptr from = check_memory(PLACES * GRAPH_COUNT * 4),
                to = check_memory(PLACES * GRAPH_COUNT * 4);
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(from, 1);
    CUDA_MEMCPY3D copy = graph_copy(to, from);
    CUgraph graph;
    CUgraphExec exec;
    CUgraphNode nodes[2];
    CHECK(cuGraphCreate(&graph, 0));
    CHECK(cuGraphAddMemsetNode(&nodes[0], graph, NULL, 0, &set, setup->context));
    CHECK(cuGraphAddMemcpyNode(&nodes[1], graph, &nodes[0], 1, &copy, setup->context));
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    for (unsigned int i = 0; i < PLACES; i++) {
        set.dst = copy.srcDevice = from + (CUdeviceptr)i * GRAPH_COUNT * 4;
        copy.dstDevice = to + (CUdeviceptr)i * GRAPH_COUNT * 4;
        set.value = i / 4; /* twice the same, with other memory */
        CHECK(cuGraphExecMemsetNodeSetParams(exec, nodes[0], &set, setup->context));
        CHECK(cuGraphExecMemcpyNodeSetParams(exec, nodes[1], &copy, setup->context));
        CHECK(cuGraphLaunch(exec, setup->stream));
    }
    set.dst = 0x123456789000;
    EXPECT(cuGraphExecMemsetNodeSetParams(exec, nodes[0], &set, setup->context) != CUDA_SUCCESS);
    set.elementSize = 0;
    EXPECT(cuGraphExecMemsetNodeSetParams(exec, nodes[0], &set, setup->context) != CUDA_SUCCESS);
    CHECK(cuStreamSynchronize(setup->stream));
    for (unsigned int i = 0; i < PLACES; i++)
        graph_expect(to + (CUdeviceptr)i * GRAPH_COUNT * 4, i / 4, 0);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuMemFree(from));
    CHECK(cuMemFree(to));
}

static void an_update_takes_another_graph(const struct graph_setup *setup)
{
    CUgraphNode nodes[3], others[3], extra;
    CUgraph graph = graph_diamond(setup, nodes), other = graph_diamond(setup, others);
    CUgraphExec exec = graph_instantiate(graph);
    CUgraphExecUpdateResultInfo info;
    struct graph_kernel kernel;
    CHECK(cuGraphKernelNodeSetParams(others[1], graph_fill(setup, &kernel, setup->first, 50)));
    CHECK(cuGraphExecUpdate(exec, other, &info));
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_SUCCESS);
    graph_launch(setup, exec);
    graph_expect(setup->first, 65, 1);
    CHECK(cuGraphAddEmptyNode(&extra, other, &others[2], 1));
    EXPECT(cuGraphExecUpdate(exec, other, &info) == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED && info.errorNode == NULL);
    graph_launch(setup, exec);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuGraphDestroy(other));
}

/* An update that fails says where, and nothing is changed. */
static void an_update_says_why_it_fails(const struct graph_setup *setup)
{
    CUDA_MEMCPY3D copy = graph_copy(setup->second, setup->first);
    CUgraphNode nodes[3], others[3];
    CUgraph graph = graph_diamond(setup, nodes), other = graph_make();
    CUgraphExec exec = graph_instantiate(graph);
    CUgraphExecUpdateResultInfo info;
    struct graph_kernel kernel;
    CHECK(cuGraphAddMemcpyNode(&others[0], other, NULL, 0, &copy, setup->context));
    CHECK(cuGraphAddKernelNode(&others[1], other, NULL, 0,
                               graph_fill(setup, &kernel, setup->first, 900)));
    CHECK(cuGraphAddKernelNode(&others[2], other, others, 2,
                               graph_add(setup, &kernel, setup->first, setup->second)));
    EXPECT(cuGraphExecUpdate(exec, other, &info) == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
    EXPECT(info.errorNode == others[0]);
    CHECK(cuGraphDestroy(other));
    other = graph_diamond(setup, others);
    CHECK(cuGraphKernelNodeSetParams(others[1], graph_fill(setup, &kernel, setup->first, 900)));
    CHECK(cuGraphRemoveDependencies(other, others, &others[2], NULL, 1));
    EXPECT(cuGraphExecUpdate(exec, other, &info) == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
    EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
    EXPECT(info.errorNode == others[0] || info.errorNode == others[2]);
    EXPECT(cuGraphExecUpdate(exec, NULL, &info) == CUDA_ERROR_INVALID_VALUE);
    graph_launch(setup, exec);
    graph_expect(setup->first, 25, 1);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuGraphDestroy(other));
}

/* ---- what is in a child node ---- */

/* As programs do that captured a library's work once for each of a few places in memory. */
static void children_take_turns(const struct graph_setup *setup)
{
    CUgraphNode nodes[2][3], child, extra;
    CUgraph children[2] = {graph_diamond(setup, nodes[0]), graph_diamond(setup, nodes[1])};
    CUgraph outer = graph_make(), inside, larger;
    struct graph_kernel kernel;
    CHECK(cuGraphKernelNodeSetParams(nodes[1][1], graph_fill(setup, &kernel, setup->first, 100)));
    CHECK(cuGraphAddChildGraphNode(&child, outer, NULL, 0, children[0]));
    CUgraphExec exec = graph_instantiate(outer);
    for (unsigned int i = 0; i < 6; i++) {
        CHECK(cuGraphExecChildGraphNodeSetParams(exec, child, children[i % 2]));
        graph_launch(setup, exec);
        graph_expect(setup->first, i % 2 ? 115 : 25, 1);
    }
    /* One that changes is another one. */
    CHECK(cuGraphKernelNodeSetParams(nodes[1][1], graph_fill(setup, &kernel, setup->first, 200)));
    graph_launch(setup, exec);
    graph_expect(setup->first, 115, 1);
    CHECK(cuGraphExecChildGraphNodeSetParams(exec, child, children[1]));
    graph_launch(setup, exec);
    graph_expect(setup->first, 215, 1);
    CHECK(cuGraphClone(&larger, children[0]));
    CHECK(cuGraphAddEmptyNode(&extra, larger, NULL, 0));
    EXPECT(cuGraphExecChildGraphNodeSetParams(exec, child, larger) != CUDA_SUCCESS);
    CHECK(cuGraphDestroy(larger));
    graph_launch(setup, exec);
    graph_expect(setup->first, 215, 1);
    CHECK(cuGraphExecChildGraphNodeSetParams(exec, child, children[0]));
    CHECK(cuGraphDestroy(children[0])); /* what was taken does not go with it */
    graph_launch(setup, exec);
    graph_expect(setup->first, 25, 1);
    /* What lies in the graph itself is as it was, and is taken again. */
    CHECK(cuGraphChildGraphNodeGetGraph(child, &inside));
    CHECK(cuGraphExecChildGraphNodeSetParams(exec, child, children[1]));
    CHECK(cuGraphExecChildGraphNodeSetParams(exec, child, inside));
    graph_launch(setup, exec);
    graph_expect(setup->first, 25, 1);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(children[1]));
    CHECK(cuGraphDestroy(outer));
}

/* The same places in a graph and in an executable one are not the same: each has taken its own. */
static void children_of_several_graphs(const struct graph_setup *setup)
{
    CUgraphNode nodes[3], children[2];
    CUgraph inner = graph_diamond(setup, nodes), outer = graph_make(), other = graph_make();
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(setup->second, 1);
    CUgraphNode node;
    CHECK(cuGraphAddChildGraphNode(&children[0], outer, NULL, 0, inner));
    CUgraphExec first = graph_instantiate(outer), second;
    for (int i = 0; i < 2; i++)
        CHECK(cuGraphExecChildGraphNodeSetParams(first, children[0], inner));
    CUgraph small = graph_make();
    CHECK(cuGraphAddMemsetNode(&node, small, NULL, 0, &set, setup->context));
    CHECK(cuGraphAddChildGraphNode(&children[1], other, NULL, 0, small));
    second = graph_instantiate(other);
    for (int i = 0; i < 2; i++) {
        CHECK(cuGraphExecChildGraphNodeSetParams(second, children[1], small));
        EXPECT(cuGraphExecChildGraphNodeSetParams(second, children[1], inner) != CUDA_SUCCESS);
        EXPECT(cuGraphExecChildGraphNodeSetParams(first, children[0], small) != CUDA_SUCCESS);
        EXPECT(cuGraphExecChildGraphNodeSetParams(second, children[0], small) != CUDA_SUCCESS);
    }
    graph_launch(setup, first);
    graph_expect(setup->first, 25, 1);
    graph_launch(setup, second);
    graph_expect(setup->second, 1, 0);
    CHECK(cuGraphExecDestroy(first));
    CHECK(cuGraphExecDestroy(second));
    CHECK(cuGraphDestroy(small));
    CHECK(cuGraphDestroy(other));
    CHECK(cuGraphDestroy(outer));
    CHECK(cuGraphDestroy(inner));
}

static void CUDA_CB count_call(void *data)
{
    ++*(int *)data;
}

/* Calls of the program, and results in its ordinary memory. */
static CUgraph make_report(const struct graph_setup *setup, unsigned int *results, int *calls)
{
    CUDA_MEMCPY3D copy = graph_download(results, setup->first);
    CUDA_HOST_NODE_PARAMS host = {count_call, calls};
    CUgraph graph = graph_make();
    CUgraphNode nodes[2];
    CHECK(cuGraphAddMemcpyNode(&nodes[0], graph, NULL, 0, &copy, setup->context));
    CHECK(cuGraphAddHostNode(&nodes[1], graph, &nodes[0], 1, &host));
    return graph;
}

static void a_child_brings_what_it_needs(const struct graph_setup *setup)
{
    static unsigned int results[2][GRAPH_COUNT];
    static int calls[2];
    CUgraph reports[2], outer = graph_make();
    CUgraphNode child;
    for (int i = 0; i < 2; i++)
        reports[i] = make_report(setup, results[i], &calls[i]);
    CHECK(cuGraphAddChildGraphNode(&child, outer, NULL, 0, reports[0]));
    CUgraphExec exec = graph_instantiate(outer);
    for (unsigned int i = 1; i < 6; i++) {
        CHECK(cuMemsetD32Async(setup->first, i, GRAPH_COUNT, setup->stream));
        CHECK(cuGraphExecChildGraphNodeSetParams(exec, child, reports[i % 2]));
        graph_launch(setup, exec);
        EXPECT(results[i % 2][0] == i && results[i % 2][GRAPH_COUNT - 1] == i);
        EXPECT(results[(i + 1) % 2][0] == i - 1);
    }
    EXPECT(calls[0] == 2 && calls[1] == 3);
    CHECK(cuGraphExecDestroy(exec));
    for (int i = 0; i < 2; i++)
        CHECK(cuGraphDestroy(reports[i]));
    CHECK(cuGraphDestroy(outer));
}

/* As a program does that runs for long: each launch calls with other data. */
static void a_function_is_set_again_and_again(const struct graph_setup *setup)
{
    enum { TIMES = 70000, LAUNCHED = 200 };
    static int calls[TIMES];
    CUDA_HOST_NODE_PARAMS host = {count_call, calls};
    CUgraph graph = graph_make();
    CUgraphNode node;
    CHECK(cuGraphAddHostNode(&node, graph, NULL, 0, &host));
    CUgraphExec exec = graph_instantiate(graph);
    for (int i = 0; i < TIMES; i++) {
        host.userData = &calls[i];
        CHECK(cuGraphExecHostNodeSetParams(exec, node, &host));
        if (i % LAUNCHED == 0)
            CHECK(cuGraphLaunch(exec, setup->stream));
    }
    CHECK(cuStreamSynchronize(setup->stream));
    for (int i = 0; i < TIMES; i++)
        EXPECT(calls[i] == (i % LAUNCHED == 0));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    an_executable_graph_changes(&setup);
    the_same_change_again_and_again(&setup);
    an_update_takes_another_graph(&setup);
    an_update_says_why_it_fails(&setup);
    children_take_turns(&setup);
    children_of_several_graphs(&setup);
    a_child_brings_what_it_needs(&setup);
    a_function_is_set_again_and_again(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
