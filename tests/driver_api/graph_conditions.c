/* SPDX-License-Identifier: MIT */
/* Graphs that decide while they run what they do next: conditional nodes, whose conditions kernels
 * set. */
#include <string.h>

#include "tests/driver_api/conditions.h"
#include "tests/driver_api/graph_parts.h"

struct conditions {
    struct graph_setup setup;
    CUfunction set, count_down;
    CUdeviceptr word; /* that kernels read conditions from */
};

static CUgraphConditionalHandle make_handle(const struct conditions *test, CUgraph graph,
                                            unsigned int value)
{
    CUgraphConditionalHandle handle = 0;
    CHECK(cuGraphConditionalHandleCreate(&handle, graph, test->setup.context, value,
                                         CU_GRAPH_COND_ASSIGN_DEFAULT));
    EXPECT(handle != 0);
    return handle;
}

/* A conditional node behind `before`, if that is not NULL; its bodies. */
static CUgraph *add_choice(const struct conditions *test, CUgraph graph, const CUgraphNode *before,
                           CUgraphConditionalHandle handle, CUgraphConditionalNodeType type,
                           unsigned int size)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
    CUgraphNodeType got;
    CUgraphNode node;
    parameters.conditional.handle = handle;
    parameters.conditional.type = type;
    parameters.conditional.size = size;
    parameters.conditional.ctx = test->setup.context;
    CHECK(cuGraphAddNode(&node, graph, before, NULL, before ? 1 : 0, &parameters));
    EXPECT(parameters.conditional.phGraph_out != NULL);
    CHECK(cuGraphNodeGetType(node, &got));
    EXPECT(got == CU_GRAPH_NODE_TYPE_CONDITIONAL);
    return parameters.conditional.phGraph_out;
}

/* A kernel that is given a handle and the address of a word. */
static CUgraphNode add_setter(CUgraph graph, const CUgraphNode *before, CUfunction function,
                              CUgraphConditionalHandle handle, CUdeviceptr word)
{
    void *arguments[] = {&handle, &word};
    CUDA_KERNEL_NODE_PARAMS kernel = graph_single(function, arguments);
    CUgraphNode node;
    CHECK(cuGraphAddKernelNode(&node, graph, before, before ? 1 : 0, &kernel));
    return node;
}

static CUgraphNode add_fill(const struct conditions *test, CUgraph graph, const CUgraphNode *before,
                            CUdeviceptr memory, unsigned int value)
{
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(memory, value);
    CUgraphNode node;
    CHECK(cuGraphAddMemsetNode(&node, graph, before, before ? 1 : 0, &set, test->setup.context));
    return node;
}

/* Launches with this condition in the word, and `first` and `second` cleared. */
static void run_with(const struct conditions *test, CUgraphExec exec, unsigned int value)
{
    const struct graph_setup *setup = &test->setup;
    CHECK(cuMemsetD32Async(test->word, value, 1, setup->stream));
    CHECK(cuMemsetD32Async(setup->first, 0, GRAPH_COUNT, setup->stream));
    CHECK(cuMemsetD32Async(setup->second, 0, GRAPH_COUNT, setup->stream));
    graph_launch(setup, exec);
}

static void a_kernel_decides_whether(const struct conditions *test)
{
    const struct graph_setup *setup = &test->setup;
    CUgraph graph = graph_make();
    CUgraphConditionalHandle handle = make_handle(test, graph, 0);
    CUgraphNode setter = add_setter(graph, NULL, test->set, handle, test->word);
    CUgraph *bodies = add_choice(test, graph, &setter, handle, CU_GRAPH_COND_TYPE_IF, 1);
    add_fill(test, bodies[0], NULL, setup->first, 7);
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int value = 0; value < 3; value++) {
        run_with(test, exec, value);
        graph_expect(setup->first, value ? 7 : 0, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void one_of_two_runs(const struct conditions *test)
{
    const struct graph_setup *setup = &test->setup;
    CUgraph graph = graph_make();
    CUgraphConditionalHandle handle = make_handle(test, graph, 0);
    CUgraphNode setter = add_setter(graph, NULL, test->set, handle, test->word);
    CUgraph *bodies = add_choice(test, graph, &setter, handle, CU_GRAPH_COND_TYPE_IF, 2);
    EXPECT(bodies[0] != bodies[1]);
    add_fill(test, bodies[0], NULL, setup->first, 7);
    add_fill(test, bodies[1], NULL, setup->second, 8);
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int value = 0; value < 2; value++) {
        run_with(test, exec, value);
        graph_expect(setup->first, value ? 7 : 0, 0);
        graph_expect(setup->second, value ? 0 : 8, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

/* out += 3 * in as often as the counter says. */
static void a_loop_runs_until_it_is_told(const struct conditions *test)
{
    const struct graph_setup *setup = &test->setup;
    CUgraph graph = graph_make();
    CUgraphConditionalHandle handle = make_handle(test, graph, 1);
    struct graph_kernel kernel;
    CUgraphNode filled = add_fill(test, graph, NULL, setup->second, 1), added;
    CUgraph *bodies = add_choice(test, graph, &filled, handle, CU_GRAPH_COND_TYPE_WHILE, 1);
    CHECK(cuGraphAddKernelNode(&added, bodies[0], NULL, 0,
                               graph_add(setup, &kernel, setup->first, setup->second)));
    add_setter(bodies[0], &added, test->count_down, handle, test->word);
    CUgraphExec exec = graph_instantiate(graph);
    run_with(test, exec, 5);
    graph_expect(setup->first, 15, 0);
    run_with(test, exec, 100); /* the condition is 1 again at first */
    graph_expect(setup->first, 300, 0);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void one_of_many_runs(const struct conditions *test)
{
    const struct graph_setup *setup = &test->setup;
    CUgraph graph = graph_make();
    CUgraphConditionalHandle handle = make_handle(test, graph, 0);
    CUgraphNode setter = add_setter(graph, NULL, test->set, handle, test->word);
    CUgraph *bodies = add_choice(test, graph, &setter, handle, CU_GRAPH_COND_TYPE_SWITCH, 4);
    for (unsigned int i = 0; i < 4; i++)
        add_fill(test, bodies[i], NULL, setup->first, 10 + i);
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int value = 0; value < 6; value++) {
        run_with(test, exec, value);
        graph_expect(setup->first, value < 4 ? 10 + value : 0, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

/* A condition in a branch of another one, and the value that both begin with. */
static void choices_within_choices(const struct conditions *test)
{
    const struct graph_setup *setup = &test->setup;
    CUgraph graph = graph_make();
    CUgraphConditionalHandle outer = make_handle(test, graph, 1);
    CUgraph *bodies = add_choice(test, graph, NULL, outer, CU_GRAPH_COND_TYPE_IF, 1);
    CUgraphConditionalHandle inner = make_handle(test, bodies[0], 2);
    CUgraphNode setter = add_setter(bodies[0], NULL, test->set, inner, test->word);
    CUgraph *cases = add_choice(test, bodies[0], &setter, inner, CU_GRAPH_COND_TYPE_SWITCH, 2);
    add_fill(test, cases[0], NULL, setup->first, 5);
    add_fill(test, cases[1], NULL, setup->second, 6);
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int value = 0; value < 3; value++) {
        run_with(test, exec, value);
        graph_expect(setup->first, value == 0 ? 5 : 0, 0);
        graph_expect(setup->second, value == 1 ? 6 : 0, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

/* Bodies are graphs as others: streams are captured to them, and graphs are put into them. */
static void bodies_are_filled_in_other_ways(const struct conditions *test)
{
    const struct graph_setup *setup = &test->setup;
    CUgraphNode nodes[3], child;
    CUgraph graph = graph_make(), diamond = graph_diamond(setup, nodes), captured;
    CUgraphConditionalHandle handle = make_handle(test, graph, 0);
    CUgraphNode setter = add_setter(graph, NULL, test->set, handle, test->word);
    CUgraph *bodies = add_choice(test, graph, &setter, handle, CU_GRAPH_COND_TYPE_IF, 2);
    CHECK(cuGraphAddChildGraphNode(&child, bodies[0], NULL, 0, diamond));
    CHECK(cuStreamBeginCaptureToGraph(setup->stream, bodies[1], NULL, NULL, 0,
                                      CU_STREAM_CAPTURE_MODE_GLOBAL));
    CHECK(cuMemsetD32Async(setup->first, 99, GRAPH_COUNT, setup->stream));
    CHECK(cuStreamEndCapture(setup->stream, &captured));
    EXPECT(captured == bodies[1]);
    CHECK(cuGraphDestroy(diamond));
    CUgraphExec exec = graph_instantiate(graph);
    run_with(test, exec, 0);
    graph_expect(setup->first, 99, 0);
    run_with(test, exec, 1);
    graph_expect(setup->first, 25, 1);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

/* A graph whose body fills `first` if the value that its handle begins with is not 0. */
static CUgraph make_conditional(const struct conditions *test, unsigned int value,
                                unsigned int fill)
{
    CUgraph graph = graph_make();
    CUgraphConditionalHandle handle = make_handle(test, graph, value);
    CUgraph *bodies = add_choice(test, graph, NULL, handle, CU_GRAPH_COND_TYPE_IF, 1);
    add_fill(test, bodies[0], NULL, test->setup.first, fill);
    return graph;
}

static void updates_reach_bodies_and_handles(const struct conditions *test)
{
    const struct graph_setup *setup = &test->setup;
    CUgraphExecUpdateResultInfo info;
    CUgraph graph = make_conditional(test, 1, 3);
    CUgraphExec exec = graph_instantiate(graph);
    run_with(test, exec, 1);
    graph_expect(setup->first, 3, 0);
    for (unsigned int value = 0; value < 3; value++) {
        CUgraph other = make_conditional(test, value, 10 + value);
        CHECK(cuGraphExecUpdate(exec, other, &info));
        EXPECT(info.result == CU_GRAPH_EXEC_UPDATE_SUCCESS);
        CHECK(cuGraphDestroy(other));
        run_with(test, exec, 0);
        graph_expect(setup->first, value ? 10 + value : 0, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void such_graphs_are_not_copied(const struct conditions *test)
{
    CUgraph graph = make_conditional(test, 1, 3), outer = graph_make(), clone;
    CUgraphExec exec = graph_instantiate(graph), second;
    CUgraphNode child;
    EXPECT(cuGraphInstantiate(&second, graph, 0) != CUDA_SUCCESS);
    EXPECT(cuGraphClone(&clone, graph) != CUDA_SUCCESS);
    EXPECT(cuGraphAddChildGraphNode(&child, outer, NULL, 0, graph) != CUDA_SUCCESS);
    CHECK(cuGraphExecDestroy(exec));
    graph_run(&test->setup, graph); /* now there may be another one */
    CHECK(cuGraphDestroy(outer));
    CHECK(cuGraphDestroy(graph));
}

/* Memory of the program that bodies copy from, and to. */
struct program_memory {
    unsigned int in[GRAPH_COUNT], out[3][GRAPH_COUNT];
};

/* A graph with copies in bodies, one of which a stream was captured to. */
static CUgraph make_copies(const struct conditions *test, struct program_memory *memory)
{
    const struct graph_setup *setup = &test->setup;
    CUgraph graph = graph_make(), captured;
    CUgraphConditionalHandle handle = make_handle(test, graph, 0);
    CUgraphNode setter = add_setter(graph, NULL, test->set, handle, test->word), nodes[2];
    CUgraph *bodies = add_choice(test, graph, &setter, handle, CU_GRAPH_COND_TYPE_SWITCH, 3);
    for (unsigned int i = 0; i < 2; i++) {
        CUDA_MEMCPY3D to = graph_copy(setup->first, 0);
        CUDA_MEMCPY3D from = graph_download(memory->out[i], setup->first);
        to.srcMemoryType = CU_MEMORYTYPE_HOST;
        to.srcHost = memory->in;
        CHECK(cuGraphAddMemcpyNode(&nodes[0], bodies[i], NULL, 0, &to, setup->context));
        CHECK(cuGraphAddMemcpyNode(&nodes[1], bodies[i], nodes, 1, &from, setup->context));
    }
    CHECK(cuStreamBeginCaptureToGraph(setup->stream, bodies[2], NULL, NULL, 0,
                                      CU_STREAM_CAPTURE_MODE_GLOBAL));
    CHECK(cuMemcpyHtoDAsync(setup->first, memory->in, sizeof(memory->in), setup->stream));
    CHECK(cuMemcpyDtoHAsync(memory->out[2], setup->first, sizeof(memory->in), setup->stream));
    CHECK(cuStreamEndCapture(setup->stream, &captured));
    return graph;
}

/* Copies in a body that is not chosen are not made. */
static void run_copies(const struct conditions *test, CUgraphExec exec,
                       struct program_memory *memory)
{
    for (unsigned int value = 0; value < 8; value++) {
        memset(memory->in, (int)value + 1, sizeof(memory->in));
        CHECK(cuMemsetD32Async(test->word, value % 4, 1, test->setup.stream));
        CHECK(cuGraphLaunch(exec, test->setup.stream));
        for (unsigned int i = 0; i < 3; i++) {
            if (i != value % 4)
                memset(memory->out[i], 0x77, sizeof(memory->out[i]));
        }
        CHECK(cuStreamSynchronize(test->setup.stream));
        for (unsigned int i = 0; i < 3; i++) {
            const unsigned int *out = memory->out[i];
            EXPECT(out[0] == (i == value % 4 ? memory->in[0] : 0x77777777) &&
                   out[GRAPH_COUNT - 1] == out[0]);
        }
    }
    CHECK(cuGraphExecDestroy(exec));
}

static void copies_in_bodies(const struct conditions *test)
{
    struct program_memory *memory;
    CHECK(cuMemAllocHost((void **)&memory, sizeof(*memory)));
    CUgraph graph = make_copies(test, memory);
    run_copies(test, graph_instantiate(graph), memory);
    CHECK(cuGraphDestroy(graph));
    CHECK(cuMemFreeHost(memory));
}

/* NVIDIA's driver refuses such graphs; who takes them has to do as with any memory. */
static void copies_of_ordinary_memory_in_bodies(const struct conditions *test)
{
    static struct program_memory memory;
    CUgraph graph = make_copies(test, &memory);
    CUgraphExec exec;
    CUresult error = cuGraphInstantiate(&exec, graph, 0);
    if (error == CUDA_ERROR_INVALID_VALUE) {
        printf("no copies of ordinary memory in bodies\n");
    } else {
        CHECK(error);
        run_copies(test, exec, &memory);
    }
    CHECK(cuGraphDestroy(graph));
}

static void mistakes_are_found(const struct conditions *test)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_CONDITIONAL};
    CUgraph graph = graph_make();
    CUgraphConditionalHandle handle = 0;
    CUgraphNode node;
    EXPECT(cuGraphConditionalHandleCreate(&handle, NULL, test->setup.context, 0, 0) !=
           CUDA_SUCCESS);
    EXPECT(cuGraphConditionalHandleCreate(&handle, graph, test->setup.context, 0, 2) ==
           CUDA_ERROR_INVALID_VALUE);
    parameters.conditional.handle = make_handle(test, graph, 0);
    parameters.conditional.ctx = test->setup.context;
    parameters.conditional.type = CU_GRAPH_COND_TYPE_WHILE;
    parameters.conditional.size = 2; /* a loop has one body */
    EXPECT(cuGraphAddNode(&node, graph, NULL, NULL, 0, &parameters) == CUDA_ERROR_INVALID_VALUE);
    parameters.conditional.type = CU_GRAPH_COND_TYPE_IF;
    parameters.conditional.size = 3;
    EXPECT(cuGraphAddNode(&node, graph, NULL, NULL, 0, &parameters) == CUDA_ERROR_INVALID_VALUE);
    parameters.conditional.size = 0;
    EXPECT(cuGraphAddNode(&node, graph, NULL, NULL, 0, &parameters) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphDestroy(graph));
}

int main(void)
{
    struct conditions test = {.setup = graph_open()};
    CUmodule module;
    CHECK(cuModuleLoadData(&module, conditions_ptx));
    test.set = check_function(module, "set_condition");
    test.count_down = check_function(module, "count_down");
    test.word = check_memory(4);
    a_kernel_decides_whether(&test);
    one_of_two_runs(&test);
    a_loop_runs_until_it_is_told(&test);
    one_of_many_runs(&test);
    choices_within_choices(&test);
    bodies_are_filled_in_other_ways(&test);
    mistakes_are_found(&test);
    such_graphs_are_not_copied(&test);
    updates_reach_bodies_and_handles(&test);
    copies_in_bodies(&test);
    copies_of_ordinary_memory_in_bodies(&test);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
