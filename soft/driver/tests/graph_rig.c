/* SPDX-License-Identifier: MIT */
#include "soft/driver/tests/graph_rig.h"

#include <stdatomic.h>

CUfunction poke;
CUdeviceptr words; /* 16 words of device memory, 0 at first */
CUcontext context;
CUstream stream;
CUgraph graph;

int graph_opens(void **state)
{
    CUmodule module;

    context_opens(state);
    assert_cuda(cuCtxGetCurrent(&context));
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&poke, module, "poke"));
    assert_cuda(cuMemAlloc(&words, 64));
    assert_cuda(cuMemsetD32(words, 0, 16));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuGraphCreate(&graph, 0));
    return 0;
}

int graph_closes(void **state)
{
    cuGraphDestroy(graph);
    return context_closes(state);
}

int word(unsigned int index)
{
    int value;

    assert_cuda(cuMemcpyDtoH(&value, words + 4 * index, sizeof(value)));
    return value;
}

CUDA_KERNEL_NODE_PARAMS poke_params(CUdeviceptr *place, int *value, void *arguments[2])
{
    arguments[0] = place;
    arguments[1] = value;
    return (CUDA_KERNEL_NODE_PARAMS){.func = poke,
                                     .gridDimX = 1,
                                     .gridDimY = 1,
                                     .gridDimZ = 1,
                                     .blockDimX = 1,
                                     .blockDimY = 1,
                                     .blockDimZ = 1,
                                     .kernelParams = arguments};
}

CUgraphNode add_poke(CUgraph where, const CUgraphNode *after, size_t count, unsigned int index,
                     int value)
{
    CUdeviceptr place = words + 4 * index;
    CUDA_KERNEL_NODE_PARAMS params;
    void *arguments[2];
    CUgraphNode node;

    params = poke_params(&place, &value, arguments);
    assert_cuda(cuGraphAddKernelNode(&node, where, after, count, &params));
    return node;
}

CUDA_MEMCPY3D copy_words(unsigned int to, unsigned int from)
{
    return (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                           .srcDevice = words + 4 * from,
                           .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                           .dstDevice = words + 4 * to,
                           .WidthInBytes = 4,
                           .Height = 1,
                           .Depth = 1};
}

CUgraphExec instantiate(CUgraph which)
{
    CUgraphExec executable;

    assert_cuda(cuGraphInstantiate(&executable, which, 0));
    return executable;
}

void run(CUgraphExec executable)
{
    assert_cuda(cuGraphLaunch(executable, stream));
    assert_cuda(cuStreamSynchronize(stream));
}

void count_up(void *data)
{
    atomic_fetch_add((_Atomic int *)data, 1);
}
