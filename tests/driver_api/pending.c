/* SPDX-License-Identifier: MIT */
/* A stream does not get on: what calls say and take with them is settled when they are made, and
 * what is destroyed meanwhile goes when the stream has done with it. None of them waits. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/words.h"

enum { COUNT = 256, PATIENCE = 20 /* seconds, after which a call has waited that must not */ };

static unsigned int *gate, *results; /* page-locked */
static CUstream held;
static const char *test_name;

static void waited_too_long(int number)
{
    static const char text[] = "FAIL a call waits for the stream: ";
    (void)number;
    if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ||
        write(STDOUT_FILENO, test_name, strlen(test_name)) < 0 || write(STDOUT_FILENO, "\n", 1) < 0)
        _exit(2);
    _exit(1);
}

static void hold(CUstream stream)
{
    CUdeviceptr address;
    __atomic_store_n(gate, 0, __ATOMIC_RELEASE);
    CHECK(cuMemHostGetDevicePointer(&address, gate, 0));
    CHECK(cuStreamWaitValue32(stream, address, 1, CU_STREAM_WAIT_VALUE_GEQ));
}

static void let_go(CUstream stream)
{
    EXPECT(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY); /* it was held until here */
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    CHECK(cuStreamSynchronize(stream));
}

static CUstream new_stream(void)
{
    CUstream stream;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    return stream;
}

static CUevent new_event(unsigned int flags)
{
    CUevent event;
    CHECK(cuEventCreate(&event, flags));
    return event;
}

/* ---- events and streams ---- */

/* A wait is for the record that was the last one when it was asked for. */
static void test_recorded_again(void)
{
    CUstream waits = new_stream(), idle = new_stream();
    CUevent event = new_event(CU_EVENT_DISABLE_TIMING);
    hold(held);
    CHECK(cuEventRecord(event, held));
    CHECK(cuStreamWaitEvent(waits, event, 0));
    EXPECT(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    CHECK(cuEventRecord(event, idle));
    CHECK(cuEventSynchronize(event));
    CHECK(cuEventQuery(event));
    EXPECT(cuStreamQuery(waits) == CUDA_ERROR_NOT_READY);
    CHECK(cuEventRecord(event, held)); /* as the event is destroyed, too */
    EXPECT(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    CHECK(cuEventDestroy(event));
    EXPECT(cuStreamQuery(waits) == CUDA_ERROR_NOT_READY);
    let_go(held);
    CHECK(cuStreamSynchronize(waits));
    CHECK(cuStreamDestroy(waits));
    CHECK(cuStreamDestroy(idle));
}

/* A record that comes to be done after a later one in another stream is of no importance. */
static void test_recorded_out_of_order(void)
{
    CUevent start = new_event(0), event = new_event(0);
    CUstream idle = new_stream();
    float before = -1, after = -1;
    CHECK(cuEventRecord(start, idle));
    hold(held);
    CHECK(cuEventRecord(event, held));
    CHECK(cuEventRecord(event, idle));
    CHECK(cuEventSynchronize(event));
    CHECK(cuEventElapsedTime(&before, start, event));
    let_go(held);
    CHECK(cuEventQuery(event));
    CHECK(cuEventSynchronize(event));
    CHECK(cuEventElapsedTime(&after, start, event));
    EXPECT(before >= 0 && after >= before);
    hold(held); /* and nobody asks before both are done */
    CHECK(cuEventRecord(event, held));
    EXPECT(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    CHECK(cuEventRecord(event, idle));
    CHECK(cuStreamSynchronize(idle));
    let_go(held);
    CHECK(cuEventQuery(event));
    CHECK(cuEventSynchronize(event));
    CHECK(cuEventDestroy(start));
    CHECK(cuEventDestroy(event));
    CHECK(cuStreamDestroy(idle));
}

static void test_elapsed(void)
{
    CUevent start = new_event(0), end = new_event(0);
    CUstream idle = new_stream();
    float first = -1, second = -1;
    CHECK(cuEventRecord(start, idle));
    CHECK(cuEventRecord(end, idle));
    CHECK(cuEventSynchronize(end));
    CHECK(cuEventElapsedTime(&first, start, end));
    hold(held);
    CHECK(cuEventRecord(end, held));
    EXPECT(cuEventElapsedTime(&second, start, end) == CUDA_ERROR_NOT_READY);
    let_go(held);
    CHECK(cuEventElapsedTime(&second, start, end));
    EXPECT(first >= 0 && second > first);
    CHECK(cuEventDestroy(start));
    CHECK(cuEventDestroy(end));
    CHECK(cuStreamDestroy(idle));
}

/* What it was given is done all the same. */
static void test_destroyed_stream(void)
{
    CUdeviceptr memory = check_memory(COUNT * 4);
    CUevent event = new_event(CU_EVENT_DISABLE_TIMING);
    CUstream stream = new_stream();
    CHECK(cuMemsetD32(memory, 1, COUNT));
    CHECK(cuCtxSynchronize());
    memset(results, 0, COUNT * 4);
    hold(stream);
    CHECK(cuMemsetD32Async(memory, 7, COUNT, stream));
    CHECK(cuMemcpyDtoHAsync(results, memory, COUNT * 4, stream));
    CHECK(cuEventRecord(event, stream));
    CHECK(cuStreamDestroy(stream));
    EXPECT(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
    CHECK(cuEventSynchronize(event));
    EXPECT(results[0] == 7 && results[COUNT - 1] == 7);
    CHECK(cuEventDestroy(event));
    CHECK(cuMemFree(memory));
}

/* ---- what calls take with them ---- */

static void test_taken_along(void)
{
    CUdeviceptr memory = check_memory(8 * COUNT * 4), word;
    unsigned int source[COUNT], value = 500;
    int count = COUNT;
    CUdeviceptr out = memory + COUNT * 4;
    void *parameters[] = {&out, &value, &count};
    CUstreamBatchMemOpParams write[2];
    CHECK(cuMemHostGetDevicePointer(&word, gate, 0));
    for (unsigned int i = 0; i < COUNT; i++)
        source[i] = i;
    memset(write, 0, sizeof(write));
    for (int i = 0; i < 2; i++) {
        write[i].operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
        write[i].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
        write[i].writeValue.address = word + 4 + 4 * (CUdeviceptr)i;
        write[i].writeValue.value = 21;
    }
    hold(held);
    CHECK(cuMemcpyHtoDAsync(memory, source, sizeof(source), held));
    memset(source, 0xff, sizeof(source));
    CHECK(cuLaunchKernel(fill, 1, 1, 1, COUNT, 1, 1, 0, held, parameters, NULL));
    value = 9;
    out = memory;
    CHECK(cuStreamBatchMemOp(held, 2, write, 0));
    memset(write, 0, sizeof(write));
    CHECK(cuMemcpyDtoHAsync(results, memory, 2 * COUNT * 4, held));
    let_go(held);
    for (unsigned int i = 0; i < COUNT; i++)
        EXPECT(results[i] == i && results[COUNT + i] == 500 + i);
    EXPECT(gate[1] == 21 && gate[2] == 21);
    CHECK(cuMemFree(memory));
}

/* ---- memory ---- */

static void test_freed_once(void)
{
    CUdeviceptr memory;
    CUstream other = new_stream();
    CHECK(cuMemAllocAsync(&memory, 1000, held));
    CHECK(cuStreamSynchronize(held));
    hold(held);
    CHECK(cuMemFreeAsync(memory, held));
    EXPECT(cuMemFreeAsync(memory, held) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemFreeAsync(memory, other) == CUDA_ERROR_INVALID_VALUE);
    let_go(held);
    EXPECT(cuMemFreeAsync(memory, held) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamDestroy(other));
}

/* A pool goes when the last of its memory does. */
static void test_destroyed_pool(void)
{
    CUmemPoolProps kind;
    CUmemoryPool pool;
    CUdeviceptr memory;
    memset(&kind, 0, sizeof(kind));
    kind.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    kind.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    CHECK(cuMemPoolCreate(&pool, &kind));
    CHECK(cuMemAllocFromPoolAsync(&memory, COUNT * 4, pool, held));
    CHECK(cuStreamSynchronize(held));
    memset(results, 0, COUNT * 4);
    hold(held);
    CHECK(cuMemsetD32Async(memory, 11, COUNT, held));
    CHECK(cuMemPoolDestroy(pool));
    CHECK(cuMemcpyDtoHAsync(results, memory, COUNT * 4, held));
    CHECK(cuMemFreeAsync(memory, held));
    let_go(held);
    EXPECT(results[0] == 11 && results[COUNT - 1] == 11);
}

/* ---- graphs ---- */

static CUDA_MEMSET_NODE_PARAMS set_to(CUdeviceptr memory, unsigned int value)
{
    CUDA_MEMSET_NODE_PARAMS params;
    memset(&params, 0, sizeof(params));
    params.dst = memory;
    params.value = value;
    params.elementSize = 4;
    params.width = COUNT;
    params.height = 1;
    return params;
}

static CUgraph new_graph(void)
{
    CUgraph graph;
    CHECK(cuGraphCreate(&graph, 0));
    return graph;
}

static CUgraphExec instantiate(CUgraph graph)
{
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    return exec;
}

/* Launches that are under way stay as they were, whatever becomes of the executable graph. */
static void test_changed_graph(CUcontext context)
{
    CUdeviceptr memory = check_memory(COUNT * 4);
    CUDA_MEMSET_NODE_PARAMS params = set_to(memory, 1);
    CUgraph graph = new_graph();
    CUgraphNode node;
    CHECK(cuGraphAddMemsetNode(&node, graph, NULL, 0, &params, context));
    CUgraphExec exec = instantiate(graph);
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuStreamSynchronize(held));
    memset(results, 0, COUNT * 4);
    hold(held);
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuMemcpyDtoHAsync(&results[0], memory, 4, held));
    params.value = 2;
    CHECK(cuGraphExecMemsetNodeSetParams(exec, node, &params, context));
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuMemcpyDtoHAsync(&results[1], memory, 4, held));
    CHECK(cuMemsetD32Async(memory, 3, COUNT, held));
    CHECK(cuGraphNodeSetEnabled(exec, node, 0));
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuMemcpyDtoHAsync(&results[2], memory, 4, held));
    CHECK(cuGraphNodeSetEnabled(exec, node, 1));
    params.value = 4;
    CHECK(cuGraphMemsetNodeSetParams(node, &params));
    CUgraphExecUpdateResultInfo info;
    CHECK(cuGraphExecUpdate(exec, graph, &info));
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuMemcpyDtoHAsync(&results[3], memory, 4, held));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    let_go(held);
    for (unsigned int i = 0; i < 4; i++)
        EXPECT(results[i] == i + 1);
    CHECK(cuMemFree(memory));
}

static void CUDA_CB note_end(void *data)
{
    __atomic_fetch_add((int *)data, 1, __ATOMIC_RELEASE);
}

/* What a graph owns lives as long as its launches. */
static void test_owned_by_graph(CUcontext context)
{
    static int ended;
    CUdeviceptr memory = check_memory(COUNT * 4);
    CUDA_MEMSET_NODE_PARAMS params = set_to(memory, 1);
    CUgraph graph = new_graph();
    CUgraphNode node;
    CUuserObject object;
    CHECK(cuGraphAddMemsetNode(&node, graph, NULL, 0, &params, context));
    CHECK(cuUserObjectCreate(&object, &ended, note_end, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    CHECK(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    CUgraphExec exec = instantiate(graph);
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuStreamSynchronize(held));
    hold(held);
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    usleep(20000);
    EXPECT(__atomic_load_n(&ended, __ATOMIC_ACQUIRE) == 0);
    let_go(held);
    while (__atomic_load_n(&ended, __ATOMIC_ACQUIRE) == 0) /* the alarm ends it */
        usleep(1000);
    EXPECT(__atomic_load_n(&ended, __ATOMIC_ACQUIRE) == 1);
    CHECK(cuMemFree(memory));
}

/* A graph that leaves memory allocated is launched again when somebody has freed that, or is going
 * to in the stream's order. */
static void test_memory_of_graph(CUcontext context)
{
    CUDA_MEM_ALLOC_NODE_PARAMS alloc;
    CUgraph graph = new_graph();
    CUgraphNode nodes[2];
    memset(&alloc, 0, sizeof(alloc));
    alloc.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    alloc.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    alloc.bytesize = COUNT * 4;
    CHECK(cuGraphAddMemAllocNode(&nodes[0], graph, NULL, 0, &alloc));
    CUDA_MEMSET_NODE_PARAMS params = set_to(alloc.dptr, 77);
    CHECK(cuGraphAddMemsetNode(&nodes[1], graph, nodes, 1, &params, context));
    CUgraphExec exec = instantiate(graph);
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuMemFreeAsync(alloc.dptr, held));
    CHECK(cuStreamSynchronize(held));
    memset(results, 0, COUNT * 4);
    hold(held);
    CHECK(cuGraphLaunch(exec, held));
    EXPECT(cuGraphLaunch(exec, held) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemcpyDtoHAsync(&results[0], alloc.dptr, 4, held));
    CHECK(cuMemFreeAsync(alloc.dptr, held));
    EXPECT(cuMemFreeAsync(alloc.dptr, held) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGraphLaunch(exec, held));
    CHECK(cuMemcpyDtoHAsync(&results[1], alloc.dptr, 4, held));
    CHECK(cuMemFreeAsync(alloc.dptr, held));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    let_go(held);
    EXPECT(results[0] == 77 && results[1] == 77);
}

#define RUN(test, ...)                                                                             \
    do {                                                                                           \
        test_name = #test;                                                                         \
        alarm(PATIENCE);                                                                           \
        test(__VA_ARGS__);                                                                         \
        alarm(0);                                                                                  \
    } while (0)

int main(void)
{
    CUcontext context = check_context();
    signal(SIGALRM, waited_too_long);
    CHECK(cuMemHostAlloc((void **)&gate, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    CHECK(cuMemHostAlloc((void **)&results, 8 * COUNT * 4, 0));
    held = new_stream();
    RUN(test_recorded_again);
    RUN(test_recorded_out_of_order);
    RUN(test_elapsed);
    /* From now on some of the code prints, and a mediator's worker has to write fences itself. */
    words_load(check_module());
    RUN(test_recorded_out_of_order);
    /* A driver that loads code late waits for all work then. */
    CUdeviceptr memory = check_memory(WORDS * 4);
    launch_fill(memory, 0, held);
    CHECK(cuMemsetD32Async(memory, 0, COUNT, held));
    CHECK(cuCtxSynchronize());
    RUN(test_destroyed_stream);
    RUN(test_taken_along);
    RUN(test_freed_once);
    RUN(test_destroyed_pool);
    RUN(test_changed_graph, context);
    RUN(test_owned_by_graph, context);
    RUN(test_memory_of_graph, context);
    CHECK(cuMemFree(memory));
    CHECK(cuStreamDestroy(held));
    CHECK(cuMemFreeHost(gate));
    CHECK(cuMemFreeHost(results));
    printf("pending: all is well\n");
    return 0;
}
