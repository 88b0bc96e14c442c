/* SPDX-License-Identifier: MIT */
/* Values of 64 bits that streams write and wait for. */
#include <stdint.h>
#include <time.h>

#include "tests/driver_api/check.h"

#define HIGH (1ull << 32)

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static int supports(CUdevice_attribute attribute)
{
    int value = 0;
    CHECK(cuDeviceGetAttribute(&value, attribute, 0));
    return value;
}

static uint64_t read_word(CUdeviceptr address)
{
    uint64_t value = 0;
    CHECK(cuMemcpyDtoH(&value, address, sizeof(value)));
    return value;
}

static void write_word(CUdeviceptr address, uint64_t value)
{
    CHECK(cuMemcpyHtoD(address, &value, sizeof(value)));
    CHECK(cuCtxSynchronize());
}

/* The first stream waits at [0] and then writes [1]; the second writes what makes it go on. The
 * upper halves decide, so that the lower ones alone would say something else. */
static void test_conditions(CUstream first, CUstream second)
{
    static const struct {
        unsigned int condition;
        uint64_t before, wanted, almost, after;
    } cases[] = {
        {CU_STREAM_WAIT_VALUE_EQ, 5, 3 * HIGH + 5, 2 * HIGH + 5, 3 * HIGH + 5},
        {CU_STREAM_WAIT_VALUE_GEQ, 9, HIGH + 1, HIGH, HIGH + 7},
        {CU_STREAM_WAIT_VALUE_GEQ, 0 - 5 * HIGH, 0 - 2 * HIGH, 0 - 3 * HIGH, 3}, /* it wraps */
        {CU_STREAM_WAIT_VALUE_AND, 0xffffffff, 6 * HIGH, 9 * HIGH + 7, 4 * HIGH},
    };
    CUdeviceptr memory = check_memory(64);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_word(memory, cases[i].before);
        write_word(memory + 8, 0);
        CHECK(cuStreamWaitValue64(first, memory, cases[i].wanted, cases[i].condition));
        CHECK(cuStreamWriteValue64(first, memory + 8, 11 * HIGH + i, 0));
        nap();
        EXPECT(cuStreamQuery(first) == CUDA_ERROR_NOT_READY);
        CHECK(cuStreamWriteValue64(second, memory, cases[i].almost, 0));
        CHECK(cuStreamSynchronize(second));
        nap();
        EXPECT(cuStreamQuery(first) == CUDA_ERROR_NOT_READY);
        CHECK(cuStreamWriteValue64(second, memory, cases[i].after, 0));
        CHECK(cuStreamSynchronize(second));
        CHECK(cuStreamSynchronize(first));
        EXPECT(read_word(memory + 8) == 11 * HIGH + i);
        EXPECT(read_word(memory) == cases[i].after);
    }
    CHECK(cuMemFree(memory));
}

/* Goes on once not all bits are set in what is there and what is asked for together. */
static void test_nor(CUstream first, CUstream second)
{
    CUdeviceptr memory = check_memory(64);
    const uint64_t asked = ~(uint64_t)(6 * HIGH);
    if (!supports(CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR)) {
        EXPECT(cuStreamWaitValue64(first, memory, asked, CU_STREAM_WAIT_VALUE_NOR) ==
               CUDA_ERROR_NOT_SUPPORTED);
        CHECK(cuMemFree(memory));
        return;
    }
    write_word(memory, 6 * HIGH);
    CHECK(cuStreamWaitValue64(first, memory, asked, CU_STREAM_WAIT_VALUE_NOR));
    nap();
    EXPECT(cuStreamQuery(first) == CUDA_ERROR_NOT_READY);
    CHECK(cuStreamWriteValue64(second, memory, 4 * HIGH, 0));
    CHECK(cuStreamSynchronize(first));
    CHECK(cuStreamSynchronize(second));
    CHECK(cuMemFree(memory));
}

/* The host may be the one that writes. */
static void test_host_writes(CUstream stream)
{
    volatile uint64_t *words;
    CUdeviceptr address;
    CHECK(cuMemHostAlloc((void **)&words, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    CHECK(cuMemHostGetDevicePointer(&address, (void *)words, 0));
    words[0] = 7;
    words[1] = 0;
    CHECK(cuStreamWaitValue64(stream, address, 7 * HIGH, CU_STREAM_WAIT_VALUE_GEQ));
    CHECK(cuStreamWriteValue64(stream, address + 8, 9 * HIGH + 1, 0));
    nap();
    EXPECT(words[1] == 0);
    words[0] = 7 * HIGH;
    CHECK(cuStreamSynchronize(stream));
    EXPECT(words[1] == 9 * HIGH + 1);
    CHECK(cuMemFreeHost((void *)words));
}

/* In a graph they do at each launch what they do in a stream. */
static void test_captured(CUstream first, CUstream second)
{
    CUdeviceptr memory = check_memory(64);
    CUgraphExec exec;
    CUgraph graph;
    CHECK(cuStreamBeginCapture(first, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    CHECK(cuStreamWaitValue64(first, memory, 3 * HIGH, CU_STREAM_WAIT_VALUE_GEQ));
    CHECK(cuStreamWriteValue64(first, memory + 8, 5 * HIGH + 6, 0));
    CHECK(cuStreamEndCapture(first, &graph));
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    for (int launch = 0; launch < 2; launch++) {
        write_word(memory, 7);
        write_word(memory + 8, 0);
        CHECK(cuGraphLaunch(exec, first));
        nap();
        EXPECT(cuStreamQuery(first) == CUDA_ERROR_NOT_READY);
        EXPECT(read_word(memory + 8) == 0);
        CHECK(cuStreamWriteValue64(second, memory, 3 * HIGH, 0));
        CHECK(cuStreamSynchronize(first));
        EXPECT(read_word(memory + 8) == 5 * HIGH + 6);
    }
    CHECK(cuStreamSynchronize(second));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuMemFree(memory));
}

static void test_refusals(CUstream stream)
{
    CUdeviceptr memory = check_memory(64);
    EXPECT(cuStreamWaitValue64(stream, memory + 4, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWriteValue64(stream, memory + 4, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWaitValue64(stream, 0, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWriteValue64(stream, 0, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWaitValue64(stream, memory, 0, 1u << 20) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWriteValue64(stream, memory, 0, 1u << 20) == CUDA_ERROR_INVALID_VALUE);
    /* A hint that the first version took. */
    EXPECT(cuStreamWriteValue64(stream, memory, 0, CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER) !=
           CUDA_SUCCESS);
    if (!supports(CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES))
        EXPECT(cuStreamWaitValue64(stream, memory, 0, CU_STREAM_WAIT_VALUE_FLUSH) ==
               CUDA_ERROR_NOT_SUPPORTED);
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemFree(memory));
}

int main(void)
{
    CUstream first, second;
    check_context();
    if (!supports(CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS))
        return 77;
    CHECK(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    test_conditions(first, second);
    test_nor(first, second);
    test_host_writes(first);
    test_captured(first, second);
    test_refusals(first);
    CHECK(cuStreamDestroy(first));
    CHECK(cuStreamDestroy(second));
    printf("stream_values: all is well\n");
    return 0;
}
