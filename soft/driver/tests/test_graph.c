/* SPDX-License-Identifier: MIT */
/* Graphs: what is in them, and how they are changed and copied. */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "soft/driver/tests/graph_rig.h"

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
        with_graph(kernel_nodes_have_attributes),
        with_graph(a_graph_is_printed_for_graphviz),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
