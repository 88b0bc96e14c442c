/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "driver_test.h"

/* A host function that holds a stream up until the test opens the gate. */
static _Atomic int gate_open, gate_reached, order;

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void wait_for_flag(void *flag)
{
    while (!atomic_load((_Atomic int *)flag))
        pause_a_little();
}

static void wait_at_gate(void *data)
{
    (void)data;
    atomic_store(&gate_reached, 1);
    wait_for_flag(&gate_open);
}

static void note_order(void *data)
{
    *(int *)data = atomic_fetch_add(&order, 1) + 1;
}

static void close_gate(CUstream stream)
{
    atomic_store(&gate_open, 0);
    atomic_store(&gate_reached, 0);
    atomic_store(&order, 0);
    assert_cuda(cuLaunchHostFunc(stream, wait_at_gate, NULL));
    wait_for_flag(&gate_reached);
}

static void work_is_done_in_order_and_asked_for(void **state)
{
    int first = 0, second = 0;
    CUstream stream;

    (void)state;
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuStreamQuery(stream));
    close_gate(stream);
    assert_cuda(cuLaunchHostFunc(stream, note_order, &first));
    assert_cuda(cuLaunchHostFunc(stream, note_order, &second));
    assert_cuda_error(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
    assert_int_equal(first, 0);
    atomic_store(&gate_open, 1);
    assert_cuda(cuStreamSynchronize(stream));
    assert_int_equal(first, 1);
    assert_int_equal(second, 2);
    assert_cuda(cuStreamQuery(stream));
    assert_cuda(cuStreamDestroy(stream));
    assert_cuda_error(cuStreamDestroy(stream), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuStreamQuery(stream), CUDA_ERROR_INVALID_HANDLE);
}

static void a_destroyed_stream_finishes_its_work(void **state)
{
    int done = 0;
    CUstream stream;

    (void)state;
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    close_gate(stream);
    assert_cuda(cuLaunchHostFunc(stream, note_order, &done));
    assert_cuda(cuStreamDestroy(stream));
    atomic_store(&gate_open, 1);
    assert_cuda(cuCtxSynchronize());
    assert_int_equal(done, 1);
}

static void the_legacy_stream_waits_for_blocking_streams_and_they_for_it(void **state)
{
    int legacy = 0, later = 0, independent = 0;
    CUstream blocking, other, free_stream;

    (void)state;
    assert_cuda(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
    assert_cuda(cuStreamCreate(&other, CU_STREAM_DEFAULT));
    assert_cuda(cuStreamCreate(&free_stream, CU_STREAM_NON_BLOCKING));
    close_gate(blocking);
    assert_cuda(cuLaunchHostFunc(NULL, note_order, &legacy));
    assert_cuda(cuLaunchHostFunc(other, note_order, &later));
    assert_cuda(cuLaunchHostFunc(free_stream, note_order, &independent));
    assert_cuda(cuStreamSynchronize(free_stream));
    assert_int_equal(independent, 1);
    assert_cuda_error(cuStreamQuery(NULL), CUDA_ERROR_NOT_READY);
    assert_int_equal(legacy, 0);
    assert_int_equal(later, 0);
    atomic_store(&gate_open, 1);
    assert_cuda(cuStreamSynchronize(other));
    assert_int_equal(legacy, 2);
    assert_int_equal(later, 3);
}

struct waiter {
    pthread_t thread;
    CUcontext context;
    CUevent event;
    _Atomic int done;
};

static void *wait_for_event(void *argument)
{
    struct waiter *waiter = argument;
    assert_cuda(cuCtxSetCurrent(waiter->context));
    assert_cuda(cuEventSynchronize(waiter->event));
    atomic_store(&waiter->done, 1);
    return NULL;
}

static void threads_wait_for_different_places_of_a_stream(void **state)
{
    struct waiter waiters[4] = {0};
    _Atomic int second_gate = 0; /* between two and two */
    CUstream stream;

    (void)state;
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    close_gate(stream);
    for (int i = 0; i < 4; i++) {
        assert_cuda(cuCtxGetCurrent(&waiters[i].context));
        assert_cuda(cuEventCreate(&waiters[i].event, CU_EVENT_DISABLE_TIMING));
        assert_cuda(cuEventRecord(waiters[i].event, stream));
        if (i == 1)
            assert_cuda(cuLaunchHostFunc(stream, wait_for_flag, &second_gate));
    }
    for (int i = 3; i >= 0; i--) {
        pthread_create(&waiters[i].thread, NULL, wait_for_event, &waiters[i]);
        pause_a_little();
    }
    atomic_store(&gate_open, 1);
    for (int i = 0; i < 4; i++) {
        if (i == 2) {
            assert_int_equal(waiters[2].done + waiters[3].done, 0);
            atomic_store(&second_gate, 1);
        }
        pthread_join(waiters[i].thread, NULL);
        assert_cuda(cuEventDestroy(waiters[i].event));
    }
    assert_cuda(cuStreamDestroy(stream));
}

static void values_are_written_after_earlier_work(void **state)
{
    uint32_t *word;
    uint64_t *wide;
    CUstream stream;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&word, 64, 0));
    wide = (uint64_t *)(word + 2);
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    close_gate(stream);
    assert_cuda(cuStreamWriteValue32(stream, (CUdeviceptr)(uintptr_t)word, 41, 0));
    assert_cuda(cuStreamWriteValue64(stream, (CUdeviceptr)(uintptr_t)wide, 1ull << 40, 0));
    pause_a_little();
    assert_int_equal(__atomic_load_n(word, __ATOMIC_ACQUIRE), 0);
    atomic_store(&gate_open, 1);
    while (__atomic_load_n(wide, __ATOMIC_ACQUIRE) == 0)
        pause_a_little();
    assert_int_equal(*word, 41);
    assert_cuda_error(cuStreamWriteValue32(stream, (CUdeviceptr)(uintptr_t)word + 2, 1, 0),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuStreamWriteValue32(stream, 0x1000, 1, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuStreamWriteValue32(stream, (CUdeviceptr)(uintptr_t)word, 1, 8),
                      CUDA_ERROR_INVALID_VALUE);
}

static void a_stream_waits_for_a_value(void **state)
{
    static const struct {
        unsigned int flags;
        uint32_t before, wanted, after;
    } cases[] = {
        {CU_STREAM_WAIT_VALUE_GEQ, 4, 5, 6},
        {CU_STREAM_WAIT_VALUE_GEQ, 0xfffffff0, 3, 3}, /* cyclic */
        {CU_STREAM_WAIT_VALUE_EQ, 4, 5, 5},
        {CU_STREAM_WAIT_VALUE_AND, 2, 4, 6},
        {CU_STREAM_WAIT_VALUE_NOR, 0xfffffff0, 0x0000000f, 0x7ffffff0},
    };
    uint32_t *word;
    CUstream stream;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&word, 64, 0));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        __atomic_store_n(word, cases[i].before, __ATOMIC_RELEASE);
        assert_cuda(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)word, cases[i].wanted,
                                        cases[i].flags));
        pause_a_little();
        assert_cuda_error(cuStreamQuery(stream), CUDA_ERROR_NOT_READY);
        __atomic_store_n(word, cases[i].after, __ATOMIC_RELEASE);
        assert_cuda(cuStreamSynchronize(stream));
    }
}

static void a_context_that_ends_does_not_wait_for_a_value(void **state)
{
    CUcontext context;
    uint32_t *word;
    CUstream stream;

    (void)state;
    assert_cuda(cuCtxCreate(&context, NULL, 0, 0));
    assert_cuda(cuMemHostAlloc((void **)&word, 64, 0));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuStreamWaitValue32(stream, (CUdeviceptr)(uintptr_t)word, 1, 0));
    assert_cuda(cuCtxDestroy(context));
}

static void events_order_streams_and_measure_time(void **state)
{
    CUstream one, two;
    CUevent start, end, untimed, never;
    float milliseconds = -1;
    int after = 0;

    (void)state;
    assert_cuda(cuStreamCreate(&one, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuStreamCreate(&two, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuEventCreate(&start, 0));
    assert_cuda(cuEventCreate(&end, 0));
    assert_cuda(cuEventCreate(&never, 0));
    assert_cuda(cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
    assert_cuda(cuEventRecord(start, one));
    close_gate(one);
    assert_cuda(cuEventRecord(end, one));
    assert_cuda(cuStreamWaitEvent(two, end, 0));
    assert_cuda(cuLaunchHostFunc(two, note_order, &after));
    assert_cuda_error(cuEventQuery(end), CUDA_ERROR_NOT_READY);
    assert_cuda_error(cuEventElapsedTime(&milliseconds, start, end), CUDA_ERROR_NOT_READY);
    pause_a_little();
    assert_int_equal(after, 0);
    atomic_store(&gate_open, 1);
    assert_cuda(cuEventSynchronize(end));
    assert_cuda(cuStreamSynchronize(two));
    assert_int_equal(after, 1);
    assert_cuda(cuEventElapsedTime(&milliseconds, start, end));
    assert_true(milliseconds >= 0.2f && milliseconds < 60000);
    assert_cuda(cuEventQuery(never));
    assert_cuda(cuEventSynchronize(never));
    assert_cuda_error(cuEventElapsedTime(&milliseconds, start, never), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda(cuEventRecord(untimed, one));
    assert_cuda(cuEventSynchronize(untimed));
    assert_cuda_error(cuEventElapsedTime(&milliseconds, start, untimed), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda(cuEventDestroy(start));
    assert_cuda_error(cuEventRecord(start, one), CUDA_ERROR_INVALID_HANDLE);
}

static void pinned_copies_wait_in_the_stream_and_pageable_ones_are_taken_at_once(void **state)
{
    int pageable = 5, back = 0, *pinned;
    CUdeviceptr memory;
    CUstream stream;

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&pinned, sizeof(int), 0));
    assert_cuda(cuMemAlloc(&memory, 2 * sizeof(int)));
    assert_cuda(cuMemsetD32(memory, 0, 2));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    *pinned = 1;
    close_gate(stream);
    assert_cuda(cuMemcpyHtoDAsync(memory, pinned, sizeof(int), stream));
    assert_cuda(cuMemcpyHtoDAsync(memory + 4, &pageable, sizeof(int), stream));
    *pinned = 2;
    pageable = 6;
    atomic_store(&gate_open, 1);
    /* To pageable memory: done on return. */
    assert_cuda(cuMemcpyDtoHAsync(&back, memory, sizeof(int), stream));
    assert_int_equal(back, 2);
    assert_cuda(cuMemcpyDtoHAsync(&back, memory + 4, sizeof(int), stream));
    assert_int_equal(back, 5);
}

static void *own_stream_id(void *context)
{
    static unsigned long long id;

    assert_cuda(cuCtxSetCurrent(context));
    assert_cuda(cuStreamGetId(CU_STREAM_PER_THREAD, &id));
    return &id;
}

static void each_thread_has_a_stream_of_its_own(void **state)
{
    unsigned long long mine, again, legacy;
    CUcontext context;
    pthread_t thread;
    void *other;

    (void)state;
    assert_cuda(cuCtxGetCurrent(&context));
    assert_cuda(cuStreamGetId(CU_STREAM_PER_THREAD, &mine));
    assert_cuda(cuStreamGetId(CU_STREAM_PER_THREAD, &again));
    assert_cuda(cuStreamGetId(CU_STREAM_LEGACY, &legacy));
    assert_true(mine == again && mine != legacy);
    pthread_create(&thread, NULL, own_stream_id, context);
    pthread_join(thread, &other);
    assert_true(*(unsigned long long *)other != mine);
}

static void *heard_stream;
static CUresult heard_status;

static void hear(CUstream stream, CUresult status, void *data)
{
    heard_stream = stream;
    heard_status = status;
    *(int *)data = 1;
}

static void streams_have_properties_and_callbacks(void **state)
{
    int least, greatest, priority, called = 0;
    CUstreamCaptureStatus status;
    unsigned int flags;
    CUcontext context, current;
    CUstream stream;

    (void)state;
    assert_cuda(cuCtxGetStreamPriorityRange(&least, &greatest));
    assert_true(greatest < least);
    assert_cuda(cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, -1000));
    assert_cuda(cuStreamGetPriority(stream, &priority));
    assert_int_equal(priority, greatest);
    assert_cuda(cuStreamGetFlags(stream, &flags));
    assert_int_equal(flags, CU_STREAM_NON_BLOCKING);
    assert_cuda(cuCtxGetCurrent(&current));
    assert_cuda(cuStreamGetCtx(stream, &context));
    assert_ptr_equal(context, current);
    assert_cuda(cuStreamIsCapturing(stream, &status));
    assert_int_equal(status, CU_STREAM_CAPTURE_STATUS_NONE);
    assert_cuda(cuStreamAddCallback(stream, hear, &called, 0));
    assert_cuda(cuStreamSynchronize(stream));
    assert_int_equal(called, 1);
    assert_ptr_equal(heard_stream, stream);
    assert_int_equal(heard_status, CUDA_SUCCESS);
    assert_cuda_error(cuStreamCreate(&stream, 8), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuStreamCreate(NULL, 0), CUDA_ERROR_INVALID_VALUE);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(work_is_done_in_order_and_asked_for),
        in_context(a_destroyed_stream_finishes_its_work),
        in_context(the_legacy_stream_waits_for_blocking_streams_and_they_for_it),
        in_context(threads_wait_for_different_places_of_a_stream),
        in_context(values_are_written_after_earlier_work),
        in_context(a_stream_waits_for_a_value),
        in_context(a_context_that_ends_does_not_wait_for_a_value),
        in_context(events_order_streams_and_measure_time),
        in_context(pinned_copies_wait_in_the_stream_and_pageable_ones_are_taken_at_once),
        in_context(each_thread_has_a_stream_of_its_own),
        in_context(streams_have_properties_and_callbacks),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
