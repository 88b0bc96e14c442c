/* SPDX-License-Identifier: MIT */
#include "tests/driver_api/graph_parts.h"

struct graph_setup graph_open(void)
{
    struct graph_setup setup = {.context = check_context()};
    setup.module = check_module();
    setup.fill = check_function(setup.module, "fill");
    setup.add = check_function(setup.module, "add_scaled");
    setup.first = check_memory(GRAPH_COUNT * 4);
    setup.second = check_memory(GRAPH_COUNT * 4);
    CHECK(cuStreamCreate(&setup.stream, CU_STREAM_NON_BLOCKING));
    return setup;
}

CUDA_KERNEL_NODE_PARAMS *graph_fill(const struct graph_setup *setup, struct graph_kernel *kernel,
                                    CUdeviceptr out, unsigned int value)
{
    *kernel = (struct graph_kernel){.out = out, .value = value, .count = GRAPH_COUNT};
    kernel->parameters[0] = &kernel->out;
    kernel->parameters[1] = &kernel->value;
    kernel->parameters[2] = &kernel->count;
    kernel->node = graph_single(setup->fill, kernel->parameters);
    kernel->node.gridDimX = 8;
    kernel->node.blockDimX = 128;
    return &kernel->node;
}

CUDA_KERNEL_NODE_PARAMS *graph_add(const struct graph_setup *setup, struct graph_kernel *kernel,
                                   CUdeviceptr out, CUdeviceptr in)
{
    graph_fill(setup, kernel, out, 0);
    kernel->in = in;
    kernel->parameters[1] = &kernel->in;
    kernel->node.func = setup->add;
    return &kernel->node;
}

CUDA_KERNEL_NODE_PARAMS graph_single(CUfunction function, void **arguments)
{
    return (CUDA_KERNEL_NODE_PARAMS){.func = function,
                                     .gridDimX = 1,
                                     .gridDimY = 1,
                                     .gridDimZ = 1,
                                     .blockDimX = 1,
                                     .blockDimY = 1,
                                     .blockDimZ = 1,
                                     .kernelParams = arguments};
}

CUDA_MEMSET_NODE_PARAMS graph_memset(CUdeviceptr memory, unsigned int value)
{
    return (CUDA_MEMSET_NODE_PARAMS){
        .dst = memory, .value = value, .elementSize = 4, .width = GRAPH_COUNT, .height = 1};
}

CUDA_MEMCPY3D graph_copy(CUdeviceptr to, CUdeviceptr from)
{
    return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                           .srcDevice = from,
                           .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                           .dstDevice = to,
                           .WidthInBytes = GRAPH_COUNT * 4,
                           .Height = 1,
                           .Depth = 1};
}

void graph_expect(CUdeviceptr memory, unsigned int first, unsigned int step)
{
    static unsigned int got[GRAPH_COUNT];
    CHECK(cuMemcpyDtoH(got, memory, sizeof(got)));
    for (unsigned int i = 0; i < GRAPH_COUNT; i++)
        EXPECT(got[i] == first + i * step);
}

CUDA_MEMCPY3D graph_download(void *to, CUdeviceptr from)
{
    CUDA_MEMCPY3D copy = graph_copy(0, from);
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = to;
    return copy;
}

CUgraph graph_make(void)
{
    CUgraph graph;
    CHECK(cuGraphCreate(&graph, 0));
    return graph;
}

CUgraphExec graph_instantiate(CUgraph graph)
{
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    return exec;
}

void graph_launch(const struct graph_setup *setup, CUgraphExec exec)
{
    CHECK(cuGraphLaunch(exec, setup->stream));
    CHECK(cuStreamSynchronize(setup->stream));
}

void graph_run(const struct graph_setup *setup, CUgraph graph)
{
    CUgraphExec exec = graph_instantiate(graph);
    graph_launch(setup, exec);
    CHECK(cuGraphExecDestroy(exec));
}

CUgraph graph_diamond(const struct graph_setup *setup, CUgraphNode *nodes)
{
    struct graph_kernel kernel;
    CUgraph graph = graph_make();
    CUDA_MEMSET_NODE_PARAMS set = graph_memset(setup->second, 5);
    CHECK(cuGraphAddMemsetNode(&nodes[0], graph, NULL, 0, &set, setup->context));
    CHECK(cuGraphAddKernelNode(&nodes[1], graph, NULL, 0,
                               graph_fill(setup, &kernel, setup->first, 10)));
    CHECK(cuGraphAddKernelNode(&nodes[2], graph, nodes, 2,
                               graph_add(setup, &kernel, setup->first, setup->second)));
    return graph;
}
