/* SPDX-License-Identifier: MIT */
/* Streams run beside each other: what one waits for, another one does. */
#include <time.h>

#include "driver_test.h"

enum { STREAMS = 8 };

struct parts {
    CUfunction spin, poke;
    CUdeviceptr flags;
};

static struct parts load(void)
{
    struct parts parts;
    CUmodule module;

    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&parts.spin, module, "spin"));
    assert_cuda(cuModuleGetFunction(&parts.poke, module, "poke"));
    assert_cuda(cuMemAlloc(&parts.flags, STREAMS * sizeof(int)));
    assert_cuda(cuMemsetD32(parts.flags, 0, STREAMS));
    return parts;
}

static void wait_for(const struct parts *parts, int flag, CUstream stream)
{
    CUdeviceptr at = parts->flags + (CUdeviceptr)flag * sizeof(int);
    void *parameters[] = {&at};

    assert_cuda(cuLaunchKernel(parts->spin, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

static void set(const struct parts *parts, int flag, CUstream stream)
{
    CUdeviceptr at = parts->flags + (CUdeviceptr)flag * sizeof(int);
    int value = 1;
    void *parameters[] = {&at, &value};

    assert_cuda(cuLaunchKernel(parts->poke, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

/* Each stream's kernel waits for one of the next stream, and the last one is launched last. */
static void kernels_wait_for_those_of_other_streams(void **state)
{
    struct parts parts = load();
    CUstream streams[STREAMS];

    (void)state;
    for (int i = 0; i < STREAMS; i++)
        assert_cuda(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
    for (int i = 1; i < STREAMS; i++) {
        wait_for(&parts, i, streams[i]);
        set(&parts, i - 1, streams[i]);
    }
    assert_cuda_error(cuStreamQuery(streams[1]), CUDA_ERROR_NOT_READY);
    set(&parts, STREAMS - 1, streams[0]);
    assert_cuda(cuCtxSynchronize());
    for (int i = 0; i < STREAMS; i++)
        assert_cuda(cuStreamQuery(streams[i]));
}

static void a_copy_ends_the_wait_of_a_kernel(void **state)
{
    struct parts parts = load();
    CUstream one, other;
    int *pinned;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&pinned, sizeof(*pinned), 0));
    *pinned = 1;
    assert_cuda(cuStreamCreate(&one, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    wait_for(&parts, 3, one);
    assert_cuda(cuMemcpyHtoDAsync(parts.flags + 3 * sizeof(int), pinned, sizeof(*pinned), other));
    assert_cuda(cuStreamSynchronize(one));
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* No shorter than the kernel was kept, and no longer than the program saw. */
static void events_tell_the_time_between_them(void **state)
{
    struct parts parts = load();
    float milliseconds = -1;
    CUevent start, end;
    CUstream stream;
    double before, kept;

    (void)state;
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuEventCreate(&start, 0));
    assert_cuda(cuEventCreate(&end, 0));
    before = now();
    assert_cuda(cuEventRecord(start, stream));
    assert_cuda(cuEventSynchronize(start));
    kept = now();
    wait_for(&parts, 0, stream);
    assert_cuda(cuEventRecord(end, stream));
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    kept = now() - kept;
    set(&parts, 0, NULL);
    assert_cuda(cuEventSynchronize(end));
    assert_cuda(cuEventElapsedTime(&milliseconds, start, end));
    assert_true((double)milliseconds >= kept - 0.01);
    assert_true((double)milliseconds <= now() - before + 0.01);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(kernels_wait_for_those_of_other_streams),
        in_context(a_copy_ends_the_wait_of_a_kernel),
        in_context(events_tell_the_time_between_them),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
