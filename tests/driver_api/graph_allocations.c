/* SPDX-License-Identifier: MIT */
/* What graphs allocate and leave allocated is memory as any other, until somebody frees it. */
#include <string.h>

#include "tests/driver_api/check.h"

enum { COUNT = 4096, BYTES = COUNT * 4 };

static CUstream stream;

static CUgraphExec instantiate(CUgraph graph)
{
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    CHECK(cuGraphDestroy(graph));
    return exec;
}

/* A graph that allocates memory and fills it. */
static CUgraphExec make_graph(CUcontext context, unsigned int value, CUdeviceptr *memory)
{
    CUDA_MEM_ALLOC_NODE_PARAMS alloc;
    CUDA_MEMSET_NODE_PARAMS fill;
    CUgraphNode nodes[2];
    CUgraph graph;
    memset(&alloc, 0, sizeof(alloc));
    alloc.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    alloc.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    alloc.bytesize = BYTES;
    CHECK(cuGraphCreate(&graph, 0));
    CHECK(cuGraphAddMemAllocNode(&nodes[0], graph, NULL, 0, &alloc));
    memset(&fill, 0, sizeof(fill));
    fill.dst = alloc.dptr;
    fill.value = value;
    fill.elementSize = 4;
    fill.width = COUNT;
    fill.height = 1;
    CHECK(cuGraphAddMemsetNode(&nodes[1], graph, nodes, 1, &fill, context));
    *memory = alloc.dptr;
    return instantiate(graph);
}

/* The same from a capture. */
static CUgraphExec capture_graph(unsigned int value, CUdeviceptr *memory)
{
    CUgraph graph;
    CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CHECK(cuMemAllocAsync(memory, BYTES, stream));
    CHECK(cuMemsetD32Async(*memory, value, COUNT, stream));
    CHECK(cuStreamEndCapture(stream, &graph));
    return instantiate(graph);
}

static void expect_filled(const unsigned int *words, unsigned int value)
{
    for (int i = 0; i < COUNT; i++)
        EXPECT(words[i] == value);
}

/* Copies to and from it, whichever call is made. */
static void test_copies(CUdeviceptr memory, unsigned int value)
{
    CUdeviceptr other = check_memory(BYTES);
    unsigned int *words, *pinned;
    CUmemorytype type = 0;
    words = malloc(BYTES);
    CHECK(cuMemHostAlloc((void **)&pinned, BYTES, 0));
    CHECK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory));
    EXPECT(type == CU_MEMORYTYPE_DEVICE);
    memset(words, 0xee, BYTES);
    CHECK(cuMemcpy((CUdeviceptr)(uintptr_t)words, memory, BYTES));
    expect_filled(words, value);
    memset(pinned, 0xee, BYTES);
    CHECK(cuMemcpyAsync((CUdeviceptr)(uintptr_t)pinned, memory, BYTES, stream));
    CHECK(cuStreamSynchronize(stream));
    expect_filled(pinned, value);
    CHECK(cuMemcpyAsync(other, memory, BYTES, stream));
    CHECK(cuMemsetD32Async(memory, ~value, COUNT, stream));
    CHECK(cuMemcpyDtoHAsync(words, other, BYTES, stream));
    CHECK(cuStreamSynchronize(stream));
    expect_filled(words, value);
    CHECK(cuMemcpyDtoH(words, memory, BYTES));
    expect_filled(words, ~value);
    for (int i = 0; i < COUNT; i++)
        words[i] = 1000;
    CHECK(cuMemcpyAsync(memory, (CUdeviceptr)(uintptr_t)words, BYTES, stream));
    CHECK(cuMemcpy(other, memory, BYTES));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemcpyDtoH(words, memory, BYTES));
    expect_filled(words, 1000);
    CHECK(cuMemFreeHost(pinned));
    CHECK(cuMemFree(other));
    free(words);
}

/* Freed, it is the graph's again, for its next launch, and nobody else's. */
static void test_freed(CUgraphExec exec, CUdeviceptr memory, unsigned int value)
{
    unsigned int *words = malloc(BYTES);
    CUdeviceptr others[4];
    CHECK(cuMemFreeAsync(memory, stream));
    for (int i = 0; i < 4; i++) {
        CHECK(cuMemAllocAsync(&others[i], BYTES, stream));
        EXPECT(others[i] != memory);
        CHECK(cuMemsetD32Async(others[i], 7 + (unsigned int)i, COUNT, stream));
    }
    CHECK(cuGraphLaunch(exec, stream));
    for (unsigned int i = 0; i < 4; i++) {
        CHECK(cuMemcpyDtoHAsync(words, others[i], BYTES, stream));
        CHECK(cuStreamSynchronize(stream));
        expect_filled(words, 7 + i);
        CHECK(cuMemFreeAsync(others[i], stream));
    }
    CHECK(cuMemcpyDtoH(words, memory, BYTES));
    expect_filled(words, value);
    EXPECT(cuGraphLaunch(exec, stream) == CUDA_ERROR_INVALID_VALUE); /* it is allocated */
    CHECK(cuMemFree(memory));
    EXPECT(cuMemFreeAsync(memory, stream) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuMemFreeAsync(memory, stream));
    CHECK(cuStreamSynchronize(stream));
    free(words);
}

static void test_graph(CUgraphExec exec, CUdeviceptr memory, unsigned int value)
{
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    test_copies(memory, value);
    test_freed(exec, memory, value);
    CHECK(cuGraphExecDestroy(exec));
}

int main(void)
{
    CUcontext context = check_context();
    CUdeviceptr memory;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUgraphExec exec = make_graph(context, 0x11223344, &memory);
    test_graph(exec, memory, 0x11223344);
    exec = capture_graph(0x55667788, &memory);
    test_graph(exec, memory, 0x55667788);
    CHECK(cuStreamDestroy(stream));
    printf("graph memory: all is well\n");
    return 0;
}
