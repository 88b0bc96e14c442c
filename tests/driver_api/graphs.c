/* SPDX-License-Identifier: MIT */
/* Graphs that are built node by node: what they do, and what they say of themselves. */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/graph_parts.h"

static void nodes_run_in_their_order(const struct graph_setup *setup)
{
    CUgraphNode nodes[4];
    CUgraph graph = graph_diamond(setup, nodes);
    CUDA_MEMCPY3D copy = graph_copy(setup->second, setup->first);
    CHECK(cuGraphAddMemcpyNode(&nodes[3], graph, &nodes[2], 1, &copy, setup->context));
    graph_run(setup, graph);
    graph_expect(setup->first, 25, 1);
    graph_expect(setup->second, 25, 1);
    CHECK(cuGraphDestroy(graph));
}

static void a_graph_says_what_it_is(const struct graph_setup *setup)
{
    CUgraphNode nodes[4], got[8], from[8], to[8];
    CUgraph graph = graph_diamond(setup, nodes);
    CUgraphNodeType type;
    size_t count = 8;
    CHECK(cuGraphAddEmptyNode(&nodes[3], graph, &nodes[1], 1));
    CHECK(cuGraphGetNodes(graph, got, &count));
    EXPECT(count == 4);
    for (int i = 0; i < 4; i++)
        EXPECT(got[i] == nodes[0] || got[i] == nodes[1] || got[i] == nodes[2] ||
               got[i] == nodes[3]);
    EXPECT(got[4] == NULL);
    count = 8;
    CHECK(cuGraphGetRootNodes(graph, got, &count));
    EXPECT(count == 2);
    count = 8;
    CHECK(cuGraphGetEdges(graph, from, to, NULL, &count));
    EXPECT(count == 3);
    count = 8;
    CHECK(cuGraphNodeGetDependencies(nodes[2], got, NULL, &count));
    EXPECT(count == 2 && got[0] != got[1]);
    count = 8;
    CHECK(cuGraphNodeGetDependentNodes(nodes[1], got, NULL, &count));
    EXPECT(count == 2);
    CHECK(cuGraphNodeGetType(nodes[3], &type));
    EXPECT(type == CU_GRAPH_NODE_TYPE_EMPTY);
    CHECK(cuGraphRemoveDependencies(graph, &nodes[1], &nodes[3], NULL, 1));
    CHECK(cuGraphAddDependencies(graph, &nodes[2], &nodes[3], NULL, 1));
    count = 8;
    CHECK(cuGraphNodeGetDependencies(nodes[3], got, NULL, &count));
    EXPECT(count == 1 && got[0] == nodes[2]);
    CHECK(cuGraphDestroyNode(nodes[3]));
    CHECK(cuGraphGetNodes(graph, NULL, &count));
    EXPECT(count == 3);
    EXPECT(cuGraphGetNodes(NULL, NULL, &count) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphDestroy(graph));
}

static void parameters_are_told_and_changed(const struct graph_setup *setup)
{
    CUgraphNode nodes[3];
    CUgraph graph = graph_diamond(setup, nodes);
    CUDA_KERNEL_NODE_PARAMS got;
    CUDA_MEMSET_NODE_PARAMS set;
    struct graph_kernel kernel;
    CHECK(cuGraphKernelNodeGetParams(nodes[1], &got));
    EXPECT(got.func == setup->fill && got.gridDimX == 8 && got.blockDimX == 128);
    EXPECT(*(CUdeviceptr *)got.kernelParams[0] == setup->first);
    EXPECT(*(unsigned int *)got.kernelParams[1] == 10 &&
           *(int *)got.kernelParams[2] == GRAPH_COUNT);
    CHECK(cuGraphKernelNodeSetParams(nodes[1], graph_fill(setup, &kernel, setup->first, 20)));
    CHECK(cuGraphKernelNodeGetParams(nodes[1], &got));
    EXPECT(*(unsigned int *)got.kernelParams[1] == 20);
    CHECK(cuGraphMemsetNodeGetParams(nodes[0], &set));
    EXPECT(set.dst == setup->second && set.value == 5 && set.elementSize == 4);
    EXPECT(set.width * set.height == GRAPH_COUNT);
    set = graph_memset(setup->second, 6);
    CHECK(cuGraphMemsetNodeSetParams(nodes[0], &set));
    graph_run(setup, graph);
    graph_expect(setup->first, 38, 1);
    EXPECT(cuGraphMemsetNodeGetParams(nodes[1], &set) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphDestroy(graph));
}

static void clones_and_children(const struct graph_setup *setup)
{
    CUgraphNode nodes[3], found, child, inner[3];
    CUgraph graph = graph_diamond(setup, nodes), clone, outer = graph_make(), inside;
    struct graph_kernel kernel;
    size_t count = 3;
    CHECK(cuGraphClone(&clone, graph));
    CHECK(cuGraphNodeFindInClone(&found, nodes[1], clone));
    EXPECT(found != NULL && found != nodes[1]);
    CHECK(cuGraphKernelNodeSetParams(found, graph_fill(setup, &kernel, setup->first, 1000)));
    graph_run(setup, graph);
    graph_expect(setup->first, 25, 1);
    graph_run(setup, clone);
    graph_expect(setup->first, 1015, 1);
    CHECK(cuGraphAddChildGraphNode(&child, outer, NULL, 0, clone));
    CHECK(cuGraphDestroy(clone));
    CHECK(cuGraphChildGraphNodeGetGraph(child, &inside));
    CHECK(cuGraphGetNodes(inside, inner, &count));
    EXPECT(count == 3 && inner[0] != NULL && inner[2] != NULL);
    EXPECT(cuGraphDestroy(inside) != CUDA_SUCCESS);
    CHECK(cuMemsetD32(setup->first, 0, GRAPH_COUNT));
    CHECK(cuStreamSynchronize(NULL)); /* streams that do not block do not wait for it */
    graph_run(setup, outer);
    graph_expect(setup->first, 1015, 1);
    CHECK(cuGraphDestroy(outer));
    CHECK(cuGraphDestroy(graph));
}

static void CUDA_CB count_call(void *data)
{
    ++*(int *)data;
}

static void host_nodes_call_the_program(const struct graph_setup *setup)
{
    static int calls, others;
    CUgraph graph = graph_make();
    CUgraphNode node;
    CUDA_HOST_NODE_PARAMS host = {count_call, &calls}, got;
    CHECK(cuGraphAddHostNode(&node, graph, NULL, 0, &host));
    CHECK(cuGraphHostNodeGetParams(node, &got));
    EXPECT(got.fn == count_call && got.userData == &calls);
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    graph_launch(setup, exec);
    EXPECT(calls == 2);
    host.userData = &others;
    CHECK(cuGraphExecHostNodeSetParams(exec, node, &host));
    graph_launch(setup, exec);
    EXPECT(calls == 2 && others == 1);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

/* An event that a graph records is recorded whenever the graph runs. */
static void events_in_graphs(const struct graph_setup *setup)
{
    CUgraph graph = graph_make();
    CUgraphNode nodes[3];
    CUevent event, got;
    struct graph_kernel kernel;
    CHECK(cuEventCreate(&event, CU_EVENT_DEFAULT));
    CHECK(cuGraphAddKernelNode(&nodes[0], graph, NULL, 0,
                               graph_fill(setup, &kernel, setup->first, 1)));
    CHECK(cuGraphAddEventRecordNode(&nodes[1], graph, &nodes[0], 1, event));
    CHECK(cuGraphAddEventWaitNode(&nodes[2], graph, &nodes[1], 1, event));
    CHECK(cuGraphEventRecordNodeGetEvent(nodes[1], &got));
    EXPECT(got == event);
    CUgraphExec exec = graph_instantiate(graph);
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuEventSynchronize(event));
    CHECK(cuEventQuery(event));
    graph_expect(setup->first, 1, 1);
    CHECK(cuStreamSynchronize(setup->stream));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuEventDestroy(event));
}

/* Nodes that copy from and to ordinary memory use it when they run. */
static void copies_of_ordinary_memory(const struct graph_setup *setup)
{
    static unsigned int in[GRAPH_COUNT], out[GRAPH_COUNT];
    CUgraph graph = graph_make();
    CUgraphNode nodes[2];
    CUDA_MEMCPY3D copy = graph_copy(setup->first, 0), got;
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = in;
    CHECK(cuGraphAddMemcpyNode(&nodes[0], graph, NULL, 0, &copy, setup->context));
    CHECK(cuGraphMemcpyNodeGetParams(nodes[0], &got));
    EXPECT(got.srcHost == in && got.WidthInBytes == sizeof(in));
    copy = graph_download(out, setup->first);
    CHECK(cuGraphAddMemcpyNode(&nodes[1], graph, nodes, 1, &copy, setup->context));
    CUgraphExec exec = graph_instantiate(graph);
    for (unsigned int round = 1; round < 4; round++) {
        for (unsigned int i = 0; i < GRAPH_COUNT; i++)
            in[i] = i * round;
        graph_launch(setup, exec);
        EXPECT(memcmp(in, out, sizeof(in)) == 0);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void an_object_goes_with_its_graph(const struct graph_setup *setup)
{
    static int destroyed;
    CUgraph graph = graph_make(), clone;
    CUuserObject object;
    (void)setup;
    CHECK(
        cuUserObjectCreate(&object, &destroyed, count_call, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CHECK(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    CHECK(cuGraphClone(&clone, graph));
    CHECK(cuGraphDestroy(graph));
    usleep(50000);
    EXPECT(__atomic_load_n(&destroyed, __ATOMIC_ACQUIRE) == 0);
    CHECK(cuGraphDestroy(clone));
    for (int i = 0; i < 5000 && __atomic_load_n(&destroyed, __ATOMIC_ACQUIRE) == 0; i++)
        usleep(1000);
    EXPECT(__atomic_load_n(&destroyed, __ATOMIC_ACQUIRE) == 1);
}

static void mistakes_are_found(const struct graph_setup *setup)
{
    CUgraphNode nodes[2];
    CUgraph graph = graph_make(), other = graph_make();
    CUgraphExec exec;
    CUDA_GRAPH_INSTANTIATE_PARAMS parameters = {0};
    struct graph_kernel kernel;
    CHECK(cuGraphAddEmptyNode(&nodes[0], graph, NULL, 0));
    CHECK(cuGraphAddEmptyNode(&nodes[1], graph, nodes, 1));
    EXPECT(cuGraphAddKernelNode(&nodes[0], NULL, NULL, 0,
                                graph_fill(setup, &kernel, setup->first, 1)) ==
           CUDA_ERROR_INVALID_VALUE);
    kernel.node.func = NULL;
    EXPECT(cuGraphAddKernelNode(&nodes[1], other, NULL, 0, &kernel.node) != CUDA_SUCCESS);
    EXPECT(cuGraphCreate(&other, 1) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphLaunch(NULL, setup->stream) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphInstantiate(&exec, graph, CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD) ==
           CUDA_ERROR_INVALID_VALUE);
    parameters.flags = CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD;
    parameters.hUploadStream = setup->stream;
    CHECK(cuGraphInstantiateWithParams(&exec, graph, &parameters));
    EXPECT(parameters.result_out == CUDA_GRAPH_INSTANTIATE_SUCCESS);
    CHECK(cuGraphUpload(exec, setup->stream));
    graph_launch(setup, exec);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuGraphDestroy(other));
}

static void graphs_have_memory_of_their_own(const struct graph_setup *setup)
{
    CUgraph graph = graph_make();
    CUgraphNode nodes[4];
    CUDA_MEM_ALLOC_NODE_PARAMS alloc = {
        .poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED,
                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}},
        .bytesize = GRAPH_COUNT * 4};
    CUDA_MEM_ALLOC_NODE_PARAMS got;
    CUdeviceptr freed = 0;
    cuuint64_t used = 1;
    CHECK(cuGraphAddMemAllocNode(&nodes[0], graph, NULL, 0, &alloc));
    EXPECT(alloc.dptr != 0);
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(alloc.dptr, 77);
    CUDA_MEMCPY3D copy = graph_copy(setup->first, alloc.dptr);
    CHECK(cuGraphAddMemsetNode(&nodes[1], graph, nodes, 1, &set, setup->context));
    CHECK(cuGraphAddMemcpyNode(&nodes[2], graph, &nodes[1], 1, &copy, setup->context));
    CHECK(cuGraphAddMemFreeNode(&nodes[3], graph, &nodes[2], 1, alloc.dptr));
    CHECK(cuGraphMemAllocNodeGetParams(nodes[0], &got));
    EXPECT(got.dptr == alloc.dptr && got.bytesize == GRAPH_COUNT * 4);
    CHECK(cuGraphMemFreeNodeGetParams(nodes[3], &freed));
    EXPECT(freed == alloc.dptr);
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    graph_launch(setup, exec);
    graph_expect(setup->first, 77, 0);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuDeviceGraphMemTrim(0));
    CHECK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
    EXPECT(used == 0);
}

static void memory_operations_and_attributes(const struct graph_setup *setup)
{
    CUgraph graph = graph_make();
    CUgraphNode nodes[2];
    struct graph_kernel kernel;
    CUstreamBatchMemOpParams write = {.writeValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32,
                                                     .address = setup->second,
                                                     .value = 4242,
                                                     .flags = CU_STREAM_WRITE_VALUE_DEFAULT}};
    CUDA_BATCH_MEM_OP_NODE_PARAMS operations = {
        .ctx = setup->context, .count = 1, .paramArray = &write};
    CUkernelNodeAttrValue priority, got;
    unsigned int value = 0;
    memset(&priority, 0, sizeof(priority));
    memset(&got, 0x55, sizeof(got));
    CHECK(cuGraphAddBatchMemOpNode(&nodes[0], graph, NULL, 0, &operations));
    CHECK(cuGraphAddKernelNode(&nodes[1], graph, nodes, 1,
                               graph_fill(setup, &kernel, setup->first, 1)));
    CHECK(cuGraphKernelNodeSetAttribute(nodes[1], CU_KERNEL_NODE_ATTRIBUTE_PRIORITY, &priority));
    CHECK(cuGraphKernelNodeGetAttribute(nodes[1], CU_KERNEL_NODE_ATTRIBUTE_PRIORITY, &got));
    EXPECT(got.priority == 0);
    memset(&operations, 0, sizeof(operations));
    CHECK(cuGraphBatchMemOpNodeGetParams(nodes[0], &operations));
    EXPECT(operations.count == 1 && operations.paramArray[0].writeValue.value == 4242);
    graph_run(setup, graph);
    CHECK(cuMemcpyDtoH(&value, setup->second, sizeof(value)));
    EXPECT(value == 4242);
    CHECK(cuGraphDestroy(graph));
}

static void a_picture_is_drawn(const struct graph_setup *setup)
{
    char path[] = "/tmp/graph-XXXXXX", text[8] = "";
    CUgraphNode nodes[3];
    CUgraph graph = graph_diamond(setup, nodes);
    int file = mkstemp(path);
    CHECK(cuGraphDebugDotPrint(graph, path, CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE));
    EXPECT(file >= 0 && read(file, text, 7) == 7 && strcmp(text, "digraph") == 0);
    close(file);
    unlink(path);
    CHECK(cuGraphDestroy(graph));
}

static void large_graphs(const struct graph_setup *setup)
{
    enum { NODES = 3000 };
    static CUgraphNode nodes[NODES], got[NODES];
    CUgraph graph = graph_make(), clone;
    size_t count = NODES;
    CUgraphNode last;
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(setup->first, 0);
    for (unsigned int i = 0; i < NODES; i++) {
        set.value = i;
        CHECK(cuGraphAddMemsetNode(&nodes[i], graph, i ? &nodes[i - 1] : NULL, i ? 1 : 0, &set,
                                   setup->context));
    }
    CHECK(cuGraphAddEmptyNode(&last, graph, nodes, NODES)); /* depends on them all */
    CHECK(cuGraphNodeGetDependencies(last, NULL, NULL, &count));
    EXPECT(count == NODES);
    CHECK(cuGraphClone(&clone, graph));
    CHECK(cuGraphGetNodes(clone, got, &count));
    EXPECT(count == NODES && got[NODES - 1] != NULL);
    graph_run(setup, clone);
    graph_expect(setup->first, NODES - 1, 0);
    CHECK(cuGraphDestroy(clone));
    CHECK(cuGraphDestroy(graph));
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    nodes_run_in_their_order(&setup);
    a_graph_says_what_it_is(&setup);
    parameters_are_told_and_changed(&setup);
    clones_and_children(&setup);
    host_nodes_call_the_program(&setup);
    events_in_graphs(&setup);
    copies_of_ordinary_memory(&setup);
    an_object_goes_with_its_graph(&setup);
    mistakes_are_found(&setup);
    graphs_have_memory_of_their_own(&setup);
    memory_operations_and_attributes(&setup);
    a_picture_is_drawn(&setup);
    large_graphs(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
