/* SPDX-License-Identifier: MIT */
/** usage: soak_guest UID SEED SECONDS: becomes that user, who need not be able to read the folder
 *  that this is in; then a mixture of what programs do with a GPU, in an order that SEED gives, for
 *  so long. Whatever is computed or copied is checked. Prints how many steps there were; status 1
 * if anything is wrong. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/faults/add_one.h"

enum { BYTES_MOST = 1 << 20, LAUNCHES_MOST = 64, GRAPH_LAUNCHES = 8 };

struct soak {
    uint64_t random;
    CUmodule module;
    CUfunction add_one;
    CUstream stream;
    CUdeviceptr counter;
    unsigned int counted; /* what the counter has to be */
    uint8_t *sent, *received;
    unsigned int *gate; /* what streams wait for, as they wait for `waits` more each time */
    CUdeviceptr gate_address;
    unsigned int waits; /* atomic: functions of streams that are gone may read it */
};

/* splitmix64 */
static uint64_t next(struct soak *soak)
{
    uint64_t z = soak->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t some_bytes(struct soak *soak)
{
    return (next(soak) % BYTES_MOST >> next(soak) % 12) / 4 * 4 + 4;
}

static void check_counter(struct soak *soak)
{
    unsigned int counted;

    CHECK(cuMemcpyDtoHAsync(&counted, soak->counter, sizeof(counted), soak->stream));
    CHECK(cuStreamSynchronize(soak->stream));
    EXPECT(counted == soak->counted);
}

static void launch(struct soak *soak)
{
    void *parameters[] = {&soak->counter};

    CHECK(cuLaunchKernel(soak->add_one, 1, 1, 1, 1, 1, 1, 0, soak->stream, parameters, NULL));
}

static void do_launches(struct soak *soak)
{
    unsigned int count = (unsigned int)(next(soak) % LAUNCHES_MOST) + 1;

    for (unsigned int i = 0; i < count; i++)
        launch(soak);
    soak->counted += count;
    if (next(soak) % 4 == 0)
        check_counter(soak);
}

static void do_copies(struct soak *soak)
{
    size_t bytes = some_bytes(soak);
    CUdeviceptr first, second;

    memset(soak->sent, (int)next(soak), bytes);
    *(uint32_t *)soak->sent = (uint32_t)next(soak);
    CHECK(cuMemAlloc(&first, bytes));
    CHECK(cuMemAlloc(&second, bytes));
    CHECK(cuMemcpyHtoDAsync(first, soak->sent, bytes, soak->stream));
    CHECK(cuMemcpyDtoDAsync(second, first, bytes, soak->stream));
    CHECK(cuMemcpyDtoHAsync(soak->received, second, bytes, soak->stream));
    CHECK(cuStreamSynchronize(soak->stream));
    EXPECT(memcmp(soak->sent, soak->received, bytes) == 0);
    CHECK(cuMemFree(first));
    CHECK(cuMemFree(second));
}

static void do_pool(struct soak *soak)
{
    size_t bytes = some_bytes(soak);
    unsigned char value = (unsigned char)next(soak);
    CUdeviceptr memory;

    CHECK(cuMemAllocAsync(&memory, bytes, soak->stream));
    CHECK(cuMemsetD8Async(memory, value, bytes, soak->stream));
    CHECK(cuMemcpyDtoHAsync(soak->received, memory, bytes, soak->stream));
    CHECK(cuMemFreeAsync(memory, soak->stream));
    CHECK(cuStreamSynchronize(soak->stream));
    EXPECT(soak->received[0] == value && soak->received[bytes - 1] == value);
}

static void do_graph(struct soak *soak)
{
    CUgraph graph;
    CUgraphExec executable;
    unsigned int times = (unsigned int)(next(soak) % 4) + 1;

    CHECK(cuStreamBeginCapture(soak->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    for (int i = 0; i < GRAPH_LAUNCHES; i++)
        launch(soak);
    CHECK(cuStreamEndCapture(soak->stream, &graph));
    CHECK(cuGraphInstantiate(&executable, graph, 0));
    for (unsigned int i = 0; i < times; i++)
        CHECK(cuGraphLaunch(executable, soak->stream));
    soak->counted += times * GRAPH_LAUNCHES;
    check_counter(soak);
    CHECK(cuGraphExecDestroy(executable));
    CHECK(cuGraphDestroy(graph));
}

static void do_events(struct soak *soak)
{
    CUstream other;
    CUevent begin, end;
    float milliseconds;

    CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&begin, CU_EVENT_DEFAULT));
    CHECK(cuEventCreate(&end, CU_EVENT_DEFAULT));
    CHECK(cuEventRecord(begin, soak->stream));
    launch(soak);
    soak->counted++;
    CHECK(cuEventRecord(end, soak->stream));
    CHECK(cuStreamWaitEvent(other, end, 0));
    CHECK(cuStreamSynchronize(other));
    CHECK(cuEventElapsedTime(&milliseconds, begin, end));
    EXPECT(milliseconds >= 0);
    CHECK(cuEventDestroy(begin));
    CHECK(cuEventDestroy(end));
    CHECK(cuStreamDestroy(other));
}

static void CUDA_CB await_gate(void *data)
{
    const struct soak *soak = data;
    const struct timespec pause = {.tv_nsec = 20000};

    while (__atomic_load_n(soak->gate, __ATOMIC_ACQUIRE) <
           __atomic_load_n(&soak->waits, __ATOMIC_RELAXED))
        nanosleep(&pause, NULL);
}

/* One stream waits for us, until another has done its work. */
static void do_wait(struct soak *soak)
{
    bool function = next(soak) % 2;
    CUstream other;

    __atomic_store_n(&soak->waits, soak->waits + 1, __ATOMIC_RELAXED);
    CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    if (function)
        CHECK(cuLaunchHostFunc(other, await_gate, soak));
    else
        CHECK(
            cuStreamWaitValue32(other, soak->gate_address, soak->waits, CU_STREAM_WAIT_VALUE_GEQ));
    CHECK(cuMemsetD32Async(soak->counter + sizeof(soak->counted), soak->waits, 1, other));
    do_launches(soak);
    check_counter(soak);
    __atomic_store_n(soak->gate, soak->waits, __ATOMIC_RELEASE);
    if (next(soak) % 2)
        CHECK(cuStreamSynchronize(other));
    CHECK(cuStreamDestroy(other));
}

static void do_module(struct soak *soak)
{
    CHECK(cuStreamSynchronize(soak->stream));
    CHECK(cuModuleUnload(soak->module));
    CHECK(cuModuleLoadData(&soak->module, add_one_ptx));
    soak->add_one = check_function(soak->module, "add_one");
}

static void do_pause(struct soak *soak)
{
    const struct timespec pause = {.tv_nsec = (long)(next(soak) % 5000000)};

    nanosleep(&pause, NULL);
}

static void step(struct soak *soak)
{
    static void (*const steps[])(struct soak *) = {
        do_launches, do_launches, do_copies, do_copies, do_pool,
        do_graph,    do_events,   do_wait,   do_module, do_pause,
    };

    steps[next(soak) % (sizeof(steps) / sizeof(*steps))](soak);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct soak soak = {.random = argc == 4 ? strtoull(argv[2], NULL, 10) : 0};
    unsigned int steps = 0;

    if (argc != 4)
        return 2;
    EXPECT(setuid((uid_t)strtoul(argv[1], NULL, 10)) == 0);
    double end = now() + atof(argv[3]);
    soak.sent = malloc(BYTES_MOST + 4);
    soak.received = malloc(BYTES_MOST + 4);
    check_context();
    CHECK(cuModuleLoadData(&soak.module, add_one_ptx));
    soak.add_one = check_function(soak.module, "add_one");
    CHECK(cuStreamCreate(&soak.stream, CU_STREAM_NON_BLOCKING));
    soak.counter = check_memory(2 * sizeof(soak.counted));
    CHECK(cuMemHostAlloc((void **)&soak.gate, sizeof(*soak.gate), 0));
    CHECK(cuMemHostGetDevicePointer(&soak.gate_address, soak.gate, 0));
    *soak.gate = 0;
    CHECK(cuMemsetD32Async(soak.counter, 0, 1, soak.stream));
    for (; now() < end; steps++)
        step(&soak);
    check_counter(&soak);
    CHECK(cuCtxSynchronize());
    CHECK(cuStreamDestroy(soak.stream));
    CHECK(cuMemFree(soak.counter));
    CHECK(cuMemFreeHost(soak.gate));
    CHECK(cuModuleUnload(soak.module));
    CHECK(cuDevicePrimaryCtxRelease(0));
    free(soak.sent);
    free(soak.received);
    printf("steps %u\n", steps);
    return 0;
}
