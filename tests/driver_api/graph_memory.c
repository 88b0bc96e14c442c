/* SPDX-License-Identifier: MIT */
/* Memory that graphs allocate: in graphs that lie in others, and what the device says of it. */
#include "tests/driver_api/graph_parts.h"

static cuuint64_t graph_memory(CUgraphMem_attribute attribute)
{
    cuuint64_t bytes = 0;
    CHECK(cuDeviceGetGraphMemAttribute(0, attribute, &bytes));
    return bytes;
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
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) == 0);
}

static void marks_of_graph_memory_are_reset(const struct graph_setup *setup)
{
    cuuint64_t value = 0;
    CUgraph graph = graph_make();
    CUgraphNode node;
    CUDA_MEM_ALLOC_NODE_PARAMS alloc = allocation();
    CHECK(cuGraphAddMemAllocNode(&node, graph, NULL, 0, &alloc));
    graph_run(setup, graph);
    CHECK(cuGraphDestroy(graph));
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) >= GRAPH_COUNT * 4);
    CHECK(cuMemFreeAsync(alloc.dptr, setup->stream));
    CHECK(cuStreamSynchronize(setup->stream));
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) == 0);
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) >= GRAPH_COUNT * 4);
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) >= GRAPH_COUNT * 4);
    CHECK(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &value));
    EXPECT(graph_memory(CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) == 0);
    CHECK(cuDeviceGraphMemTrim(0));
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
    marks_of_graph_memory_are_reset(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
