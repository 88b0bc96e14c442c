/* SPDX-License-Identifier: MIT */
/* Values that streams write and wait for, attributes of streams, events of whole contexts. */
#include <string.h>
#include <time.h>

#include "tests/driver_api/check.h"

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static uint64_t read_word(CUdeviceptr address)
{
    uint64_t value = 0;
    CHECK(cuMemcpyDtoH(&value, address, sizeof(value)));
    return value;
}

static int supports(CUdevice_attribute attribute)
{
    int value = 0;
    CHECK(cuDeviceGetAttribute(&value, attribute, 0));
    return value;
}

static void test_writes(CUstream stream)
{
    CUdeviceptr memory = check_memory(64);
    CHECK(cuMemsetD8(memory, 0, 64));
    CHECK(cuCtxSynchronize());
    CHECK(cuStreamWriteValue32(stream, memory, 0x12345678, 0));
    CHECK(cuStreamWriteValue32(stream, memory + 4, 1, 0));
    EXPECT(supports(CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS));
    CHECK(cuStreamWriteValue64(stream, memory + 8, 1ull << 40, 0));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(read_word(memory) == 0x112345678ull);
    EXPECT(read_word(memory + 8) == 1ull << 40);
    EXPECT(cuStreamWriteValue32(stream, memory + 2, 1, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWriteValue32(stream, 0, 1, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWriteValue32(stream, memory, 1, 8) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemFree(memory));
}

/* One stream waits for what another writes, whatever the condition is. */
static void test_waits(CUstream first, CUstream second)
{
    static const struct {
        unsigned int condition, before, wanted, after;
    } cases[] = {{CU_STREAM_WAIT_VALUE_EQ, 0, 7, 7},
                 {CU_STREAM_WAIT_VALUE_GEQ, 6, 7, 9},
                 {CU_STREAM_WAIT_VALUE_GEQ, 0xfffffff0, 2, 3}, /* it wraps */
                 {CU_STREAM_WAIT_VALUE_AND, 1, 6, 4}};
    CUdeviceptr memory = check_memory(64);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(cuMemsetD32(memory, cases[i].before, 1));
        CHECK(cuMemsetD32(memory + 8, 0, 2));
        CHECK(cuCtxSynchronize());
        CHECK(cuStreamWaitValue32(first, memory, cases[i].wanted, cases[i].condition));
        CHECK(cuStreamWriteValue32(first, memory + 8, 1, 0));
        nap();
        EXPECT(cuStreamQuery(first) == CUDA_ERROR_NOT_READY);
        CHECK(cuStreamWriteValue32(second, memory, cases[i].after, 0));
        CHECK(cuStreamSynchronize(second));
        CHECK(cuStreamSynchronize(first));
        EXPECT(read_word(memory + 8) == 1);
    }
    EXPECT(cuStreamWaitValue32(first, memory + 1, 1, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWaitValue32(first, memory, 1, 16) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemFree(memory));
}

/* Memory of the host that both sides see: the program itself ends the wait. */
static void test_host_memory(CUstream stream)
{
    volatile unsigned int *word;
    CUdeviceptr address;
    CHECK(cuMemHostAlloc((void **)&word, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    CHECK(cuMemHostGetDevicePointer(&address, (void *)word, 0));
    word[0] = word[1] = 0;
    CHECK(cuStreamWaitValue32(stream, address, 1, CU_STREAM_WAIT_VALUE_EQ));
    CHECK(cuStreamWriteValue32(stream, address + 4, 2, 0));
    nap();
    EXPECT(word[1] == 0);
    __atomic_store_n(&word[0], 1, __ATOMIC_RELEASE);
    CHECK(cuStreamSynchronize(stream));
    EXPECT(word[1] == 2);
    CHECK(cuMemFreeHost((void *)word));
}

static void test_batch(CUstream first, CUstream second)
{
    CUdeviceptr memory = check_memory(64);
    CUstreamBatchMemOpParams operations[4];
    memset(operations, 0, sizeof(operations));
    operations[0].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    operations[0].waitValue.address = memory;
    operations[0].waitValue.value = 3;
    operations[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    operations[1].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    operations[1].writeValue.address = memory + 16;
    operations[1].writeValue.value = 11;
    operations[2].memoryBarrier.operation = CU_STREAM_MEM_OP_BARRIER;
    operations[2].memoryBarrier.flags = CU_STREAM_MEMORY_BARRIER_TYPE_GPU;
    operations[3].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
    operations[3].writeValue.address = memory + 24;
    operations[3].writeValue.value64 = 1ull << 33;
    CHECK(cuMemsetD8(memory, 0, 64));
    CHECK(cuCtxSynchronize());
    CHECK(cuStreamBatchMemOp(first, 4, operations, 0));
    nap();
    EXPECT(cuStreamQuery(first) == CUDA_ERROR_NOT_READY);
    CHECK(cuStreamWriteValue32(second, memory, 3, 0));
    CHECK(cuStreamSynchronize(first));
    EXPECT(read_word(memory + 16) == 11 && read_word(memory + 24) == 1ull << 33);
    EXPECT(cuStreamBatchMemOp(first, 1, operations, 1) == CUDA_ERROR_INVALID_VALUE);
    operations[1].writeValue.address = memory + 17;
    EXPECT(cuStreamBatchMemOp(first, 2, operations, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(second));
    CHECK(cuMemFree(memory));
}

/* A batch has 255 operations at most. */
static void test_batch_sizes(CUstream stream)
{
    enum { MOST = 255 };
    CUdeviceptr memory = check_memory(4 * (MOST + 1));
    CUstreamBatchMemOpParams operations[MOST + 1];
    unsigned int back[MOST + 1];
    memset(operations, 0, sizeof(operations));
    for (unsigned int i = 0; i <= MOST; i++) {
        operations[i].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
        operations[i].writeValue.address = memory + 4ull * i;
        operations[i].writeValue.value = i + 1;
    }
    CHECK(cuMemsetD8(memory, 0, sizeof(back)));
    CHECK(cuCtxSynchronize());
    CHECK(cuStreamBatchMemOp(stream, 0, operations, 0));
    CHECK(cuStreamBatchMemOp(stream, MOST, operations, 0));
    EXPECT(cuStreamBatchMemOp(stream, MOST + 1, operations, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemcpyDtoH(back, memory, sizeof(back)));
    EXPECT(back[0] == 1 && back[MOST - 1] == MOST && back[MOST] == 0);
    CHECK(cuMemFree(memory));
}

static void test_attributes(CUstream first, CUstream second)
{
    CUstreamAttrValue value;
    int priority;
    memset(&value, 0, sizeof(value));
    value.syncPolicy = CU_SYNC_POLICY_BLOCKING_SYNC;
    CHECK(cuStreamSetAttribute(first, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &value));
    memset(&value, 0, sizeof(value));
    CHECK(cuStreamGetAttribute(first, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &value));
    EXPECT(value.syncPolicy == CU_SYNC_POLICY_BLOCKING_SYNC);
    CHECK(cuStreamCopyAttributes(second, first));
    memset(&value, 0, sizeof(value));
    CHECK(cuStreamGetAttribute(second, CU_STREAM_ATTRIBUTE_SYNCHRONIZATION_POLICY, &value));
    EXPECT(value.syncPolicy == CU_SYNC_POLICY_BLOCKING_SYNC);
    value.priority = -1;
    CHECK(cuStreamSetAttribute(first, CU_STREAM_ATTRIBUTE_PRIORITY, &value));
    CHECK(cuStreamGetPriority(first, &priority));
    EXPECT(priority == -1);
    EXPECT(cuStreamSetAttribute(first, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &value) ==
           CUDA_ERROR_INVALID_VALUE);
}

int main(void)
{
    CUstream first, second;
    check_context();
    CHECK(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING));
    test_writes(first);
    test_waits(first, second);
    test_host_memory(first);
    test_batch(first, second);
    test_batch_sizes(first);
    test_attributes(first, second);
    return 0;
}
