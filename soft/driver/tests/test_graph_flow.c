/* SPDX-License-Identifier: MIT */
/* Graphs that allocate memory, and those whose kernels decide what runs. */
#include "soft/driver/tests/graph_rig.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_graph(memory_is_allocated_and_freed_within_a_graph),
        with_graph(memory_may_outlive_its_graph),
        with_graph(a_graph_may_free_before_it_allocates_again),
        with_graph(conditions_choose_what_runs),
        with_graph(kernels_decide_how_long_a_loop_runs),
        with_graph(a_handle_without_a_node_is_an_error),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
