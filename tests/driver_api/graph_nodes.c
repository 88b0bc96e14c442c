/* SPDX-License-Identifier: MIT */
/* Nodes of every kind: added, asked and changed by the calls for all kinds and by those for one. */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/graph_parts.h"

static CUgraphNode add(CUgraph graph, const CUgraphNode *before, size_t count,
                       CUgraphNodeParams *parameters)
{
    CUgraphNodeType type;
    CUgraphNode node;
    CHECK(cuGraphAddNode(&node, graph, before, NULL, count, parameters));
    CHECK(cuGraphNodeGetType(node, &type));
    EXPECT(type == parameters->type);
    return node;
}

static CUgraphNodeParams kernel_parameters(const CUDA_KERNEL_NODE_PARAMS *kernel)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_KERNEL};
    memcpy(&parameters.kernel, kernel, sizeof(*kernel));
    return parameters;
}

static CUgraphNodeParams memset_parameters(const struct graph_setup *setup, CUdeviceptr memory,
                                           unsigned int value)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEMSET};
    parameters.memset = (CUDA_MEMSET_NODE_PARAMS_v2){.dst = memory,
                                                     .value = value,
                                                     .elementSize = 4,
                                                     .width = GRAPH_COUNT,
                                                     .height = 1,
                                                     .ctx = setup->context};
    return parameters;
}

static CUgraphNodeParams copy_parameters(const struct graph_setup *setup, CUdeviceptr to,
                                         CUdeviceptr from)
{
    CUgraphNodeParams parameters = {.type = CU_GRAPH_NODE_TYPE_MEMCPY};
    parameters.memcpy.copyCtx = setup->context;
    parameters.memcpy.copyParams = graph_copy(to, from);
    return parameters;
}

static unsigned int word_at(CUdeviceptr address)
{
    unsigned int word;
    CHECK(cuMemcpyDtoH(&word, address, sizeof(word)));
    return word;
}

static void CUDA_CB count_call(void *data)
{
    ++*(int *)data;
}

static void draw(CUgraph graph)
{
    char path[] = "/tmp/graph-XXXXXX", text[8] = "";
    int file = mkstemp(path);
    CHECK(cuGraphDebugDotPrint(graph, path, CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE));
    EXPECT(file >= 0 && read(file, text, 7) == 7 && strcmp(text, "digraph") == 0);
    close(file);
    unlink(path);
}

/* One node of each kind in a row, and all of them do their work. */
static void nodes_of_all_kinds(const struct graph_setup *setup)
{
    static int calls;
    CUgraph graph = graph_make(), child = graph_make();
    struct graph_kernel kernel;
    CUgraphNode nodes[11];
    CUevent event;
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CUgraphNodeParams alloc = {.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC};
    alloc.alloc.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    alloc.alloc.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    alloc.alloc.bytesize = GRAPH_COUNT * 4;
    nodes[0] = add(graph, NULL, 0, &alloc);
    EXPECT(alloc.alloc.dptr != 0);
    CUgraphNodeParams set = memset_parameters(setup, alloc.alloc.dptr, 4);
    nodes[1] = add(graph, &nodes[0], 1, &set);
    CUgraphNodeParams fill = kernel_parameters(graph_fill(setup, &kernel, setup->first, 3));
    nodes[2] = add(graph, &nodes[1], 1, &fill);
    CUgraphNodeParams add_up =
        kernel_parameters(graph_add(setup, &kernel, setup->first, alloc.alloc.dptr));
    nodes[3] = add(graph, &nodes[2], 1, &add_up);
    CUgraphNodeParams freed = {.type = CU_GRAPH_NODE_TYPE_MEM_FREE};
    freed.free.dptr = alloc.alloc.dptr;
    nodes[4] = add(graph, &nodes[3], 1, &freed);
    CUgraphNodeParams host = {.type = CU_GRAPH_NODE_TYPE_HOST};
    host.host.fn = count_call;
    host.host.userData = &calls;
    nodes[5] = add(graph, &nodes[4], 1, &host);
    CUgraphNodeParams record = {.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD};
    record.eventRecord.event = event;
    nodes[6] = add(graph, &nodes[5], 1, &record);
    CUgraphNodeParams wait = {.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT};
    wait.eventWait.event = event;
    nodes[7] = add(graph, &nodes[6], 1, &wait);
    CUgraphNodeParams copy = copy_parameters(setup, setup->second, setup->first);
    add(child, NULL, 0, &copy);
    CUgraphNodeParams inner = {.type = CU_GRAPH_NODE_TYPE_GRAPH};
    inner.graph.graph = child;
    nodes[8] = add(graph, &nodes[7], 1, &inner);
    CUgraphNodeParams empty = {.type = CU_GRAPH_NODE_TYPE_EMPTY};
    nodes[9] = add(graph, &nodes[8], 1, &empty);
    CUstreamBatchMemOpParams write = {.writeValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32,
                                                     .address = setup->second,
                                                     .value = 4242}};
    CUgraphNodeParams operations = {.type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP};
    operations.memOp.ctx = setup->context;
    operations.memOp.count = 1;
    operations.memOp.paramArray = &write;
    nodes[10] = add(graph, &nodes[9], 1, &operations);
    CHECK(cuGraphDestroy(child));
    draw(graph);
    CUgraphExec exec = graph_instantiate(graph);
    for (int i = 1; i < 3; i++) {
        CHECK(cuMemsetD32Async(setup->second, 0, GRAPH_COUNT, setup->stream));
        graph_launch(setup, exec);
        EXPECT(calls == i);
        graph_expect(setup->first, 15, 1);
        EXPECT(word_at(setup->second) == 4242 && word_at(setup->second + 4) == 16);
        EXPECT(word_at(setup->second + 4 * (GRAPH_COUNT - 1)) == 14 + GRAPH_COUNT);
    }
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuEventDestroy(event));
}

static void what_is_not_a_node_is_refused(const struct graph_setup *setup)
{
    CUgraphNodeParams set = memset_parameters(setup, setup->first, 1), other = set;
    CUgraph graph = graph_make();
    CUgraphNode node = NULL, got;
    EXPECT(cuGraphAddNode(&node, graph, NULL, NULL, 0, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(node == NULL);
    node = add(graph, NULL, 0, &set);
    other.type = CU_GRAPH_NODE_TYPE_HOST;
    memset(other.reserved1, 0, sizeof(other.reserved1));
    other.host.fn = count_call;
    EXPECT(cuGraphNodeSetParams(node, &other) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphNodeSetParams(node, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphNodeSetParams(NULL, &set) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphAddNode(&got, graph, &node, NULL, 1, &set));
    CHECK(cuGraphDestroy(graph));
}

/* The same nodes set anew: in the graph, which executable ones do not see, then in one of those. */
static void nodes_are_set_by_the_calls_for_all(const struct graph_setup *setup)
{
    CUgraphNodeParams set = memset_parameters(setup, setup->first, 1);
    CUgraphNodeParams copy = copy_parameters(setup, setup->second, setup->first);
    CUgraph graph = graph_make();
    struct graph_kernel kernel;
    CUDA_KERNEL_NODE_PARAMS got;
    CUgraphNode nodes[3];
    nodes[0] = add(graph, NULL, 0, &set);
    CUgraphNodeParams sum =
        kernel_parameters(graph_add(setup, &kernel, setup->first, setup->first));
    nodes[1] = add(graph, nodes, 1, &sum);
    nodes[2] = add(graph, &nodes[1], 1, &copy);
    CUgraphExec old = graph_instantiate(graph);
    set.memset.value = 10;
    CHECK(cuGraphNodeSetParams(nodes[0], &set));
    sum = kernel_parameters(graph_fill(setup, &kernel, setup->first, 20));
    CHECK(cuGraphNodeSetParams(nodes[1], &sum));
    CHECK(cuGraphKernelNodeGetParams(nodes[1], &got));
    EXPECT(got.func == setup->fill && *(unsigned int *)got.kernelParams[1] == 20);
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, old);
    graph_expect(setup->second, 4, 0);
    graph_launch(setup, exec);
    graph_expect(setup->second, 20, 1);
    sum = kernel_parameters(graph_fill(setup, &kernel, setup->first, 30));
    CHECK(cuGraphExecNodeSetParams(exec, nodes[1], &sum));
    copy = copy_parameters(setup, setup->second + 4, setup->first);
    copy.memcpy.copyParams.WidthInBytes -= 4;
    CHECK(cuGraphExecNodeSetParams(exec, nodes[2], &copy));
    graph_launch(setup, exec);
    EXPECT(word_at(setup->second) == 20 && word_at(setup->second + 4) == 30 &&
           word_at(setup->second + 4 * (GRAPH_COUNT - 1)) == 30 + GRAPH_COUNT - 2);
    EXPECT(cuGraphExecNodeSetParams(exec, nodes[0], &sum) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphExecNodeSetParams(exec, nodes[0], NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphExecDestroy(old));
    CHECK(cuGraphDestroy(graph));
}

static CUDA_BATCH_MEM_OP_NODE_PARAMS batch(const struct graph_setup *setup,
                                           CUstreamBatchMemOpParams *writes, unsigned int value)
{
    for (unsigned int i = 0; i < 2; i++)
        writes[i] =
            (CUstreamBatchMemOpParams){.writeValue = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32,
                                                      .address = setup->second + i * 4,
                                                      .value = value + i}};
    return (CUDA_BATCH_MEM_OP_NODE_PARAMS){.ctx = setup->context, .count = 2, .paramArray = writes};
}

static void memory_operations_are_set(const struct graph_setup *setup)
{
    CUstreamBatchMemOpParams writes[2];
    CUDA_BATCH_MEM_OP_NODE_PARAMS operations = batch(setup, writes, 10), got;
    CUgraph graph = graph_make();
    CUgraphNode node;
    CHECK(cuGraphAddBatchMemOpNode(&node, graph, NULL, 0, &operations));
    memset(writes, 0, sizeof(writes)); /* what it points to was copied */
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    EXPECT(word_at(setup->second) == 10 && word_at(setup->second + 4) == 11);
    operations = batch(setup, writes, 20);
    CHECK(cuGraphBatchMemOpNodeSetParams(node, &operations));
    CHECK(cuGraphBatchMemOpNodeGetParams(node, &got));
    EXPECT(got.count == 2 && got.paramArray[1].writeValue.value == 21);
    graph_launch(setup, exec);
    EXPECT(word_at(setup->second) == 10);
    operations = batch(setup, writes, 30);
    CHECK(cuGraphExecBatchMemOpNodeSetParams(exec, node, &operations));
    graph_launch(setup, exec);
    EXPECT(word_at(setup->second) == 30 && word_at(setup->second + 4) == 31);
    graph_run(setup, graph);
    EXPECT(word_at(setup->second) == 20 && word_at(setup->second + 4) == 21);
    operations.count = 1; /* as many as there were */
    EXPECT(cuGraphExecBatchMemOpNodeSetParams(exec, node, &operations) != CUDA_SUCCESS);
    EXPECT(cuGraphBatchMemOpNodeSetParams(node, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphExecBatchMemOpNodeSetParams(exec, NULL, &operations) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

static void host_functions_are_set(const struct graph_setup *setup)
{
    static int calls[3];
    CUDA_HOST_NODE_PARAMS host = {count_call, &calls[0]}, got;
    CUgraph graph = graph_make(), clone;
    CUgraphNode node, found;
    CHECK(cuGraphAddHostNode(&node, graph, NULL, 0, &host));
    CUgraphExec exec = graph_instantiate(graph);
    host.userData = &calls[1];
    CHECK(cuGraphHostNodeSetParams(node, &host));
    CHECK(cuGraphHostNodeGetParams(node, &got));
    EXPECT(got.fn == count_call && got.userData == &calls[1]);
    graph_launch(setup, exec);
    graph_run(setup, graph);
    EXPECT(calls[0] == 1 && calls[1] == 1);
    host.userData = &calls[2];
    CHECK(cuGraphExecHostNodeSetParams(exec, node, &host));
    CHECK(cuGraphClone(&clone, graph));
    CHECK(cuGraphNodeFindInClone(&found, node, clone));
    CHECK(cuGraphHostNodeGetParams(found, &got));
    EXPECT(got.userData == &calls[1]);
    CHECK(cuGraphDestroy(graph)); /* what was taken from it does not go with it */
    graph_launch(setup, exec);
    EXPECT(calls[0] == 1 && calls[1] == 1 && calls[2] == 1);
    CHECK(cuGraphHostNodeSetParams(found, &host));
    graph_run(setup, clone);
    EXPECT(calls[1] == 1 && calls[2] == 2);
    host.fn = NULL;
    EXPECT(cuGraphHostNodeSetParams(found, &host) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphHostNodeSetParams(found, NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(clone));
}

/* What was refused is forgotten, and nothing else is with it. */
static void a_refused_function_takes_no_other_away(const struct graph_setup *setup)
{
    static int calls[2];
    CUgraphNodeParams host = {.type = CU_GRAPH_NODE_TYPE_HOST};
    CUgraph refusing = graph_make(), graph = graph_make();
    CUDA_HOST_NODE_PARAMS accepted = {count_call, &calls[1]};
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(setup->first, 1);
    CUgraphNode node, foreign;
    CHECK(cuGraphAddMemsetNode(&node, refusing, NULL, 0, &set, setup->context));
    CHECK(cuGraphAddEmptyNode(&foreign, graph, NULL, 0));
    host.host.fn = count_call;
    host.host.userData = &calls[0];
    EXPECT(cuGraphNodeSetParams(node, &host) != CUDA_SUCCESS);
    EXPECT(cuGraphAddNode(&node, refusing, &foreign, NULL, 1, &host) != CUDA_SUCCESS);
    for (int i = 0; i < 4; i++)
        CHECK(cuGraphAddHostNode(&node, graph, NULL, 0, &accepted));
    CHECK(cuGraphDestroy(refusing));
    usleep(50000);
    graph_run(setup, graph);
    EXPECT(calls[0] == 0 && calls[1] == 4);
    CHECK(cuGraphDestroy(graph));
}

static void attributes_are_copied(const struct graph_setup *setup)
{
    CUgraphNode nodes[3];
    CUgraph graph = graph_diamond(setup, nodes);
    CUkernelNodeAttrValue value, got;
    int least, greatest;
    CHECK(cuCtxGetStreamPriorityRange(&least, &greatest));
    memset(&value, 0, sizeof(value));
    value.priority = greatest;
    CHECK(cuGraphKernelNodeSetAttribute(nodes[1], CU_KERNEL_NODE_ATTRIBUTE_PRIORITY, &value));
    CHECK(cuGraphKernelNodeCopyAttributes(nodes[2], nodes[1]));
    memset(&got, 0x55, sizeof(got));
    CHECK(cuGraphKernelNodeGetAttribute(nodes[2], CU_KERNEL_NODE_ATTRIBUTE_PRIORITY, &got));
    EXPECT(got.priority == greatest);
    EXPECT(cuGraphKernelNodeCopyAttributes(nodes[0], nodes[1]) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGraphKernelNodeCopyAttributes(nodes[2], NULL) == CUDA_ERROR_INVALID_VALUE);
    graph_run(setup, graph);
    graph_expect(setup->first, 25, 1);
    CHECK(cuGraphDestroy(graph));
}

static void an_executable_graph_knows_its_flags(const struct graph_setup *setup)
{
    enum {
        FREES = CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH,
        UPLOADED = CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD,
        RANKED = CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY,
    };
    static const unsigned long long flags[] = {0, FREES, RANKED, FREES | RANKED};
    CUgraphNode nodes[3];
    CUgraph graph = graph_diamond(setup, nodes);
    cuuint64_t got;
    CUgraphExec exec;
    for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        got = 99;
        CHECK(cuGraphInstantiateWithFlags(&exec, graph, flags[i]));
        CHECK(cuGraphExecGetFlags(exec, &got));
        EXPECT(got == (flags[i] & FREES)); /* of priorities it says nothing */
        EXPECT(cuGraphExecGetFlags(exec, NULL) == CUDA_ERROR_INVALID_VALUE);
        graph_launch(setup, exec);
        graph_expect(setup->first, 25, 1);
        CHECK(cuGraphExecDestroy(exec));
    }
    /* Nor that it was uploaded when it was made, for which there is only one way. */
    CUDA_GRAPH_INSTANTIATE_PARAMS parameters = {.flags = UPLOADED | RANKED,
                                                .hUploadStream = setup->stream};
    EXPECT(cuGraphInstantiateWithFlags(&exec, graph, UPLOADED) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphInstantiateWithParams(&exec, graph, &parameters));
    got = 99;
    CHECK(cuGraphExecGetFlags(exec, &got));
    EXPECT(got == 0);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
}

/* Kernels of libraries, and arguments in one piece. */
static void kernels_are_named_in_other_ways(const struct graph_setup *setup)
{
    CUgraph graph = graph_make();
    struct graph_kernel kernel;
    CUgraphNode nodes[2];
    CUlibrary library;
    CUkernel fill;
    struct {
        CUdeviceptr out;
        unsigned int value;
        int count;
    } arguments = {setup->second, 60, GRAPH_COUNT};
    size_t bytes = sizeof(arguments);
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &arguments, CU_LAUNCH_PARAM_BUFFER_SIZE,
                     &bytes, CU_LAUNCH_PARAM_END};
    CUDA_KERNEL_NODE_PARAMS packed = *graph_fill(setup, &kernel, 0, 0), got;
    packed.kernelParams = NULL;
    packed.extra = extra;
    CHECK(cuGraphAddKernelNode(&nodes[0], graph, NULL, 0, &packed));
    memset(&arguments, 0, sizeof(arguments)); /* it was copied */
    CHECK(cuLibraryLoadData(&library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuLibraryGetKernel(&fill, library, "fill"));
    graph_fill(setup, &kernel, setup->first, 50);
    kernel.node.func = NULL;
    kernel.node.kern = fill;
    kernel.node.ctx = setup->context;
    CHECK(cuGraphAddKernelNode(&nodes[1], graph, NULL, 0, &kernel.node));
    CHECK(cuGraphKernelNodeGetParams(nodes[1], &got));
    EXPECT(got.gridDimX == 8 && *(unsigned int *)got.kernelParams[1] == 50);
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    graph_expect(setup->first, 50, 1);
    graph_expect(setup->second, 60, 1);
    kernel.value = 70;
    CHECK(cuGraphExecKernelNodeSetParams(exec, nodes[1], &kernel.node));
    graph_launch(setup, exec);
    graph_expect(setup->first, 70, 1);
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuLibraryUnload(library));
}

/* An edge that lets a kernel begin before the one before it has ended. */
static void edges_say_more(const struct graph_setup *setup)
{
    const CUgraphEdgeData early = {.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
                                   .type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC};
    CUgraphEdgeData data[4];
    CUgraphNode nodes[2], found[4], to[4];
    CUgraph graph = graph_make(), clone;
    struct graph_kernel kernel;
    size_t count = 4;
    CUgraphNodeParams fill = kernel_parameters(graph_fill(setup, &kernel, setup->first, 1));
    nodes[0] = add(graph, NULL, 0, &fill);
    fill = kernel_parameters(graph_fill(setup, &kernel, setup->second, 2));
    CHECK(cuGraphAddNode(&nodes[1], graph, &nodes[0], &early, 1, &fill));
    EXPECT(cuGraphNodeGetDependencies(nodes[1], found, NULL, &count) == CUDA_ERROR_LOSSY_QUERY);
    count = 4;
    CHECK(cuGraphNodeGetDependencies(nodes[1], found, data, &count));
    EXPECT(count == 1 && found[0] == nodes[0]);
    EXPECT(data[0].type == early.type && data[0].from_port == early.from_port);
    CHECK(cuGraphClone(&clone, graph));
    count = 4;
    CHECK(cuGraphGetEdges(clone, found, to, data, &count));
    EXPECT(count == 1 && data[0].type == early.type);
    graph_run(setup, clone);
    graph_expect(setup->first, 1, 1);
    graph_expect(setup->second, 2, 1);
    CHECK(cuGraphRemoveDependencies(graph, nodes, &nodes[1], &early, 1));
    CHECK(cuGraphNodeGetDependencies(nodes[1], NULL, NULL, &count));
    EXPECT(count == 0);
    CHECK(cuGraphDestroy(clone));
    CHECK(cuGraphDestroy(graph));
}

int main(void)
{
    const struct graph_setup setup = graph_open();
    nodes_of_all_kinds(&setup);
    what_is_not_a_node_is_refused(&setup);
    nodes_are_set_by_the_calls_for_all(&setup);
    memory_operations_are_set(&setup);
    host_functions_are_set(&setup);
    a_refused_function_takes_no_other_away(&setup);
    attributes_are_copied(&setup);
    kernels_are_named_in_other_ways(&setup);
    edges_say_more(&setup);
    an_executable_graph_knows_its_flags(&setup);
    CHECK(cuCtxSynchronize());
    printf("ok\n");
    return 0;
}
