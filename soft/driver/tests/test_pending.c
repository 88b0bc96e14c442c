/* SPDX-License-Identifier: MIT */
/* What is ended or changed while a stream is held back that has work for it. */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "driver_test.h"

static uint32_t *gate; /* page-locked, of all contexts */

static CUstream held_stream(void)
{
    CUstream stream;

    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    __atomic_store_n(gate, 0, __ATOMIC_RELEASE);
    assert_cuda(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)gate, 1, 0));
    return stream;
}

static void open_gate(void)
{
    __atomic_store_n(gate, 1, __ATOMIC_RELEASE);
}

static void *open_later(void *unused)
{
    const struct timespec pause = {.tv_nsec = 50000000};

    nanosleep(&pause, NULL);
    open_gate();
    return unused;
}

/* For calls that wait for the stream; they cannot have, if the gate is closed when they return. */
static pthread_t gate_opens_later(void)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, open_later, NULL), 0);
    return thread;
}

static void expect_waited(pthread_t thread)
{
    uint32_t open = __atomic_load_n(gate, __ATOMIC_ACQUIRE);

    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(open, 1);
}

static int opens(void **state)
{
    assert_int_equal(context_opens(state), 0);
    assert_cuda(cuMemHostAlloc((void **)&gate, 64, CU_MEMHOSTALLOC_PORTABLE));
    return 0;
}

static int closes(void **state)
{
    return context_closes(state);
}

static cuuint64_t bytes_used(void)
{
    CUmemoryPool pool;
    cuuint64_t used;

    assert_cuda(cuDeviceGetDefaultMemPool(&pool, 0));
    assert_cuda(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    return used;
}

/* ---- memory ---- */

static void memory_is_freed_although_its_stream_ends_before(void **state)
{
    CUcontext primary, context;
    CUdeviceptr memory;
    CUstream stream;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&primary));
    assert_cuda(cuCtxCreate(&context, NULL, 0, 0));
    stream = held_stream();
    assert_cuda(cuMemAllocAsync(&memory, 4096, stream));
    assert_int_equal(bytes_used(), 4096);
    assert_cuda(cuMemFreeAsync(memory, stream));
    assert_cuda(cuCtxDestroy(context));
    assert_cuda(cuCtxSetCurrent(primary));
    assert_int_equal(bytes_used(), 0);
}

static void memory_is_freed_although_its_stream_fails_before(void **state)
{
    CUdeviceptr memory, nowhere = 64;
    int value = 1;
    void *arguments[] = {&nowhere, &value};
    CUfunction poke;
    CUmodule module;
    CUstream stream;

    (void)state;
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&poke, module, "poke"));
    stream = held_stream();
    assert_cuda(cuMemAllocAsync(&memory, 4096, stream));
    assert_cuda(cuLaunchKernel(poke, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL));
    assert_cuda(cuMemFreeAsync(memory, stream));
    open_gate();
    assert_cuda_error(cuStreamSynchronize(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(bytes_used(), 0);
}

/* Every context reaches it, whichever has allocated it. */
static void host_memory_is_there_until_no_context_uses_it(void **state)
{
    enum { BYTES = 4096 };
    CUcontext primary, context;
    CUdeviceptr memory;
    CUstream stream;
    void *host, *registered = aligned_alloc(4096, BYTES);

    (void)state;
    assert_non_null(registered);
    assert_cuda(cuCtxGetCurrent(&primary));
    assert_cuda(cuMemHostAlloc(&host, BYTES, CU_MEMHOSTALLOC_PORTABLE));
    assert_cuda(cuMemHostRegister(registered, BYTES, CU_MEMHOSTREGISTER_PORTABLE));
    assert_cuda(cuCtxCreate(&context, NULL, 0, 0));
    assert_cuda(cuMemAlloc(&memory, BYTES));
    for (int i = 0; i < 2; i++) {
        assert_cuda(cuCtxSetCurrent(context));
        stream = held_stream();
        assert_cuda(cuMemcpyDtoHAsync(i ? registered : host, memory, BYTES, stream));
        assert_cuda(cuCtxSetCurrent(primary));
        pthread_t opener = gate_opens_later();
        if (i)
            assert_cuda(cuMemHostUnregister(registered));
        else
            assert_cuda(cuMemFreeHost(host));
        expect_waited(opener);
    }
    assert_cuda(cuCtxDestroy(context));
    assert_cuda(cuCtxSetCurrent(primary));
    free(registered);
}

static void variables_are_there_until_copies_of_them_are_done(void **state)
{
    CUdeviceptr table, other;
    CUlibrary library;
    CUstream stream;
    size_t bytes;
    int *host;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&host, 64, 0));
    memset(host, 0, 64);
    assert_cuda(cuLibraryLoadData(&library, test_ptx, NULL, NULL, 0, NULL, NULL, 0));
    assert_cuda(cuLibraryGetGlobal(&table, &bytes, library, "table"));
    assert_int_equal(bytes, 16);
    stream = held_stream();
    assert_cuda(cuMemcpyDtoHAsync(host, table, bytes, stream));
    pthread_t opener = gate_opens_later();
    assert_cuda(cuLibraryUnload(library));
    for (int i = 0; i < 8; i++) { /* what had the memory of the variables may be another's now */
        assert_cuda(cuMemAlloc(&other, 64));
        assert_cuda(cuMemsetD8(other, 0xee, 64));
    }
    expect_waited(opener);
    assert_cuda(cuStreamSynchronize(stream));
    for (int i = 0; i < 4; i++)
        assert_int_equal(host[i], 10 * (i + 1));
}

/* ---- textures ---- */

static const char fetch_ptx[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    ".visible .entry fetch(.param .u64 p_out, .param .u64 p_texture)\n{\n"
    ".reg .f32 %f<4>;\n.reg .b32 %r<2>;\n.reg .b64 %rd<3>;\n"
    "ld.param.u64 %rd1, [p_out];\nld.param.u64 %rd2, [p_texture];\nmov.u32 %r1, 2;\n"
    "tex.1d.v4.f32.s32 {%f0, %f1, %f2, %f3}, [%rd2, {%r1}];\n"
    "st.global.f32 [%rd1], %f0;\nret;\n}\n";

static void textures_are_there_until_kernels_have_read_them(void **state)
{
    static const float values[128] = {1, 2, 3, 4};
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_LINEAR};
    const CUDA_TEXTURE_DESC how = {.flags = 0};
    CUdeviceptr memory, out;
    CUtexObject texture, other;
    void *arguments[] = {&out, &texture};
    CUfunction fetch;
    CUmodule module;
    CUstream stream;
    float value = 0;

    (void)state;
    assert_cuda(cuModuleLoadData(&module, fetch_ptx));
    assert_cuda(cuModuleGetFunction(&fetch, module, "fetch"));
    assert_cuda(cuMemAlloc(&memory, sizeof(values)));
    assert_cuda(cuMemAlloc(&out, 4));
    assert_cuda(cuMemcpyHtoD(memory, values, sizeof(values)));
    resource.res.linear.devPtr = memory;
    resource.res.linear.format = CU_AD_FORMAT_FLOAT;
    resource.res.linear.numChannels = 1;
    resource.res.linear.sizeInBytes = sizeof(values);
    assert_cuda(cuTexObjectCreate(&texture, &resource, &how, NULL));
    stream = held_stream();
    assert_cuda(cuLaunchKernel(fetch, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL));
    assert_cuda(cuTexObjectDestroy(texture));
    assert_cuda_error(cuTexObjectGetResourceDesc(&resource, texture), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuTexObjectCreate(&other, &resource, &how, NULL));
    assert_true(other != texture);
    open_gate();
    assert_cuda(cuStreamSynchronize(stream));
    assert_cuda(cuMemcpyDtoH(&value, out, 4));
    assert_true(value == 3);
}

/* ---- events ---- */

enum { ROUNDS = 400 };

struct recorder {
    unsigned int turn; /* atomic: rounds that have begun */
    unsigned int done; /* atomic: records that were made */
    CUcontext context;
    CUevent event;
    CUstream stream;
};

/* Records once in each round, as soon as it can. */
static void *record(void *argument)
{
    struct recorder *recorder = argument;

    assert_cuda(cuCtxSetCurrent(recorder->context));
    for (unsigned int round = 1; round <= ROUNDS; round++) {
        while (__atomic_load_n(&recorder->turn, __ATOMIC_ACQUIRE) != round)
            continue;
        assert_cuda(cuEventRecord(recorder->event, recorder->stream));
        __atomic_store_n(&recorder->done, round, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* Two threads record one event: the last record is the one that is asked about, and its time. */
static void an_event_is_of_one_record(void **state)
{
    struct recorder other = {0};
    CUstream idle;
    CUevent start;
    pthread_t thread;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&other.context));
    assert_cuda(cuStreamCreate(&idle, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuEventCreate(&start, 0));
    assert_cuda(cuEventCreate(&other.event, 0));
    other.stream = held_stream();
    assert_int_equal(pthread_create(&thread, NULL, record, &other), 0);
    for (unsigned int round = 1; round <= ROUNDS; round++) {
        float milliseconds = -1;

        assert_cuda(cuEventRecord(start, idle));
        __atomic_store_n(&other.turn, round, __ATOMIC_RELEASE);
        for (volatile unsigned int pause = 0; pause < round % 256; pause++)
            continue;
        assert_cuda(cuEventRecord(other.event, idle));
        while (__atomic_load_n(&other.done, __ATOMIC_ACQUIRE) != round)
            sched_yield();
        if (cuEventQuery(other.event) == CUDA_SUCCESS) {
            assert_cuda(cuEventElapsedTime(&milliseconds, start, other.event));
            assert_true(milliseconds >= 0);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    open_gate();
    assert_cuda(cuEventSynchronize(other.event));
}

/* ---- two devices ---- */

static void kernels_reach_what_they_could_when_they_were_launched(void **state)
{
    CUcontext first, second;
    CUdeviceptr memory;
    int value = 77, back = 0;
    void *arguments[] = {&memory, &value};
    CUfunction poke;
    CUmodule module;
    CUstream stream;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&first));
    assert_cuda(cuDevicePrimaryCtxRetain(&second, 1));
    assert_cuda(cuCtxSetCurrent(second));
    assert_cuda(cuMemAlloc(&memory, 4));
    assert_cuda(cuCtxSetCurrent(first));
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&poke, module, "poke"));
    assert_cuda(cuCtxEnablePeerAccess(second, 0));
    stream = held_stream();
    assert_cuda(cuLaunchKernel(poke, 1, 1, 1, 1, 1, 1, 0, stream, arguments, NULL));
    pthread_t opener = gate_opens_later();
    assert_cuda(cuCtxDisablePeerAccess(second));
    expect_waited(opener);
    assert_cuda(cuStreamSynchronize(stream));
    assert_cuda(cuMemcpyDtoH(&back, memory, 4));
    assert_int_equal(back, 77);
    assert_cuda(cuDevicePrimaryCtxReset(1));
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, opens, closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(memory_is_freed_although_its_stream_ends_before),
        in_context(memory_is_freed_although_its_stream_fails_before),
        in_context(host_memory_is_there_until_no_context_uses_it),
        in_context(variables_are_there_until_copies_of_them_are_done),
        in_context(textures_are_there_until_kernels_have_read_them),
        in_context(an_event_is_of_one_record),
        in_context(kernels_reach_what_they_could_when_they_were_launched),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    setenv("VGPU_SOFT_DEVICES", "2", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
