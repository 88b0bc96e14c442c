/* SPDX-License-Identifier: MIT */
/* Memory that graphs allocate: in graphs that lie in others, and what the device says of it. */
#include "tests/driver_api/graph_parts.h"

static cuuint64_t graph_memory(CUgraphMem_attribute attribute)
{
    cuuint64_t bytes = 0;
    CHECK(cuDeviceGetGraphMemAttribute(0, attribute, &bytes));
    return bytes;
}

/* What is freed is given back by this only. */
static void trim(void)
{
    CHECK(cuDeviceGraphMemTrim(0));
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) == 0);
}

static CUDA_MEM_ALLOC_NODE_PARAMS allocation(void)
{
    return (CUDA_MEM_ALLOC_NODE_PARAMS){
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}},
        .bytesize = GRAPH_COUNT * 4};
}

/* Memory that is allocated, filled, copied to `first` and freed. */
static CUgraph make_allocation(const struct graph_setup *setup, unsigned int value)
{
    CUgraph graph = graph_make();
    CUgraphNode nodes[4];
    CUDA_MEM_ALLOC_NODE_PARAMS alloc = allocation();
    CHECK(cuGraphAddMemAllocNode(&nodes[0], graph, NULL, 0, &alloc));
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(alloc.dptr, value);
    CUDA_MEMCPY3D copy = graph_copy(setup->first, alloc.dptr);
    CHECK(cuGraphAddMemsetNode(&nodes[1], graph, nodes, 1, &set, setup->context));
    CHECK(cuGraphAddMemcpyNode(&nodes[2], graph, &nodes[1], 1, &copy, setup->context));
    CHECK(cuGraphAddMemFreeNode(&nodes[3], graph, &nodes[2], 1, alloc.dptr));
    return graph;
}

static void children_have_memory_of_their_own(const struct graph_setup *setup)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_GRAPH};
    CUgraph outer = graph_make(), child = make_allocation(setup, 41), inside, clone;
    CUDA_MEM_ALLOC_NODE_PARAMS more = allocation();
    CUgraphNode node, parent;
    EXPECT(cuGraphAddChildGraphNode(&node, outer, NULL, 0, child) != CUDA_SUCCESS);
    EXPECT(cuGraphClone(&clone, child) != CUDA_SUCCESS);
    parameters.graph.graph = child;
    parameters.graph.ownership = CU_GRAPH_CHILD_GRAPH_OWNERSHIP_MOVE;
    CHECK(cuGraphAddNode(&parent, outer, NULL, NULL, 0, &parameters));
    EXPECT(cuGraphDestroy(child) != CUDA_SUCCESS);
    EXPECT(cuGraphAddMemAllocNode(&node, child, NULL, 0, &more) != CUDA_SUCCESS);
    CHECK(cuGraphChildGraphNodeGetGraph(parent, &inside));
    EXPECT(inside == child);
    CUgraphExec exec = graph_instantiate(outer);
    for (int i = 0; i < 2; i++) {
        CHECK(cuMemsetD32Async(setup->first, 0, GRAPH_COUNT, setup->stream));
        graph_launch(setup, exec);
        graph_expect(setup->first, 41, 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(outer));
    trim();
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT) == 0);
}

/* A graph that allocates and does not free. */
static CUgraph make_lender(CUdeviceptr *memory)
{
    CUDA_MEM_ALLOC_NODE_PARAMS alloc = allocation();
    CUgraph graph = graph_make();
    CUgraphNode node;
    CHECK(cuGraphAddMemAllocNode(&node, graph, NULL, 0, &alloc));
    *memory = alloc.dptr;
    return graph;
}

static void use(const struct graph_setup *setup, CUdeviceptr memory, unsigned int value)
{
    CHECK(cuMemsetD32Async(memory, value, GRAPH_COUNT, setup->stream));
    CHECK(cuMemcpyDtoDAsync(setup->first, memory, GRAPH_COUNT * 4, setup->stream));
    CHECK(cuStreamSynchronize(setup->stream));
    graph_expect(setup->first, value, 0);
    graph_expect(memory, value, 0);
}

static void memory_is_freed_in_every_way(const struct graph_setup *setup)
{
    CUdeviceptr memory;
    CUgraph graph = make_lender(&memory), freer = graph_make();
    CUgraphNode node;
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    use(setup, memory, 1);
    CHECK(cuMemFreeAsync(memory, setup->stream));
    graph_launch(setup, exec);
    use(setup, memory, 2);
    CHECK(cuMemFree(memory));
    CHECK(cuGraphAddMemFreeNode(&node, freer, NULL, 0, memory));
    CUgraphExec freeing = graph_instantiate(freer);
    for (unsigned int i = 3; i < 5; i++) {
        graph_launch(setup, exec);
        use(setup, memory, i);
        graph_launch(setup, freeing);
    }
    EXPECT(cuGraphAddMemFreeNode(&node, graph, NULL, 0, memory) == CUDA_ERROR_INVALID_VALUE);
    trim();
    CHECK(cuGraphExecDestroy(freeing));
    CHECK(cuGraphDestroy(freer));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(
        cuGraphInstantiateWithFlags(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH));
    for (unsigned int i = 5; i < 8; i++) {
        graph_launch(setup, exec);
        use(setup, memory, i);
    }
    CHECK(cuMemFree(memory));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void what_is_not_freed_is_not_allocated_again(const struct graph_setup *setup)
{
    CUdeviceptr memory;
    CUgraph graph = make_lender(&memory);
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    CUresult error = cuGraphLaunch(exec, setup->stream);
    if (error == CUDA_SUCCESS) /* what is not waited for is told later */
        error = cuStreamSynchronize(setup->stream);
    EXPECT(error == CUDA_ERROR_INVALID_VALUE);
    use(setup, memory, 3);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    use(setup, memory, 4); /* it outlives its graph */
    CHECK(cuMemFree(memory));
}

static void graphs_with_memory_are_not_changed(const struct graph_setup *setup)
{
    CUgraph graph = make_allocation(setup, 1);
    CUgraphExec exec = graph_instantiate(graph), second;
    CUgraphNode nodes[4], again;
    CUDA_MEM_ALLOC_NODE_PARAMS got;
    CUgraphNodeType type;
    size_t count = 4;
    CHECK(cuGraphGetNodes(graph, nodes, &count));
    EXPECT(count == 4);
    for (int i = 0; i < 4; i++) {
        CHECK(cuGraphNodeGetType(nodes[i], &type));
        if (type == CU_GRAPH_NODE_TYPE_MEM_ALLOC)
            CHECK(cuGraphMemAllocNodeGetParams(nodes[i], &got));
        EXPECT(cuGraphDestroyNode(nodes[i]) != CUDA_SUCCESS);
        CHECK(cuGraphNodeGetType(nodes[i], &type));
    }
    EXPECT(cuGraphAddMemFreeNode(&again, graph, NULL, 0, got.dptr) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphAddMemFreeNode(&again, graph, NULL, 0, setup->first) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphInstantiate(&second, graph, 0) != CUDA_SUCCESS);
    graph_launch(setup, exec);
    graph_expect(setup->first, 1, 0);
    CHECK(cuGraphExecDestroy(exec));
    graph_run(setup, graph);
    CHECK(cuGraphDestroy(graph));
}

static void marks_of_graph_memory_are_reset(const struct graph_setup *setup)
{
    cuuint64_t value = 0;
    CUdeviceptr memory;
    CUgraph graph = make_lender(&memory);
    graph_run(setup, graph);
    CHECK(cuGraphDestroy(graph));
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) >= GRAPH_COUNT * 4);
    CHECK(cuMemFreeAsync(memory, setup->stream));
    CHECK(cuStreamSynchronize(setup->stream));
    trim();
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) >= GRAPH_COUNT * 4);
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) >= GRAPH_COUNT * 4);
    CHECK(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &value));
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) == 0);
    CHECK(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH, &value));
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) ==
           graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT));
    value = 4096;
    EXPECT(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &value) !=
           CUDA_SUCCESS);
    value = 0;
    EXPECT(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &value) !=
           CUDA_SUCCESS);
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    children_have_memory_of_their_own(&setup);
    memory_is_freed_in_every_way(&setup);
    what_is_not_freed_is_not_allocated_again(&setup);
    graphs_with_memory_are_not_changed(&setup);
    marks_of_graph_memory_are_reset(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
