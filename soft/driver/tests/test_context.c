/* SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "driver_test.h"

static int no_context(void **state)
{
    (void)state;
    assert_cuda(cuInit(0));
    assert_cuda(cuCtxSetCurrent(NULL));
    return 0;
}

static CUcontext current(void)
{
    CUcontext context = (CUcontext)1;

    assert_cuda(cuCtxGetCurrent(&context));
    return context;
}

static int primary_is_active(void)
{
    unsigned int flags;
    int active = -1;

    assert_cuda(cuDevicePrimaryCtxGetState(0, &flags, &active));
    return active;
}

static void the_primary_context_lives_while_it_is_retained(void **state)
{
    CUcontext first, second;
    CUdeviceptr memory;

    (void)state;
    assert_int_equal(primary_is_active(), 0);
    assert_cuda(cuDevicePrimaryCtxRetain(&first, 0));
    assert_cuda(cuDevicePrimaryCtxRetain(&second, 0));
    assert_ptr_equal(first, second);
    assert_int_equal(primary_is_active(), 1);
    assert_null(current());
    assert_cuda(cuCtxSetCurrent(first));
    assert_cuda(cuMemAlloc(&memory, 100));
    assert_cuda(cuDevicePrimaryCtxRelease(0));
    assert_int_equal(primary_is_active(), 1);
    assert_cuda(cuDevicePrimaryCtxRelease(0));
    assert_int_equal(primary_is_active(), 0);
    assert_cuda_error(cuMemAlloc(&memory, 100), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    assert_cuda_error(cuDevicePrimaryCtxRelease(0), CUDA_ERROR_INVALID_CONTEXT);
    /* The handle is the same for life. */
    assert_cuda(cuDevicePrimaryCtxRetain(&second, 0));
    assert_ptr_equal(first, second);
    assert_cuda(cuMemAlloc(&memory, 100));
    assert_cuda(cuDevicePrimaryCtxRelease(0));
}

static void reset_frees_all_memory(void **state)
{
    size_t before, after, total;
    CUdeviceptr memory;
    CUcontext context;
    void *host;

    (void)state;
    assert_cuda(cuDevicePrimaryCtxRetain(&context, 0));
    assert_cuda(cuCtxSetCurrent(context));
    assert_cuda(cuMemGetInfo(&before, &total));
    assert_cuda(cuMemAlloc(&memory, 1 << 20));
    assert_cuda(cuMemHostAlloc(&host, 1 << 20, 0));
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_true(after <= before - (1 << 20));
    assert_cuda(cuDevicePrimaryCtxReset(0));
    assert_cuda(cuDevicePrimaryCtxRetain(&context, 0));
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(after, before);
    assert_cuda_error(cuMemFree(memory), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuDevicePrimaryCtxRelease(0));
}

static void contexts_stack_per_thread(void **state)
{
    CUcontext one, two, popped;
    unsigned long long first_id, second_id;
    CUdevice device;

    (void)state;
    assert_cuda(cuCtxCreate(&one, NULL, 0, 0));
    assert_ptr_equal(current(), one);
    assert_cuda(cuCtxCreate(&two, NULL, 0, 0));
    assert_ptr_equal(current(), two);
    assert_cuda(cuCtxGetId(one, &first_id));
    assert_cuda(cuCtxGetId(NULL, &second_id));
    assert_true(first_id != second_id);
    assert_cuda(cuCtxPopCurrent(&popped));
    assert_ptr_equal(popped, two);
    assert_ptr_equal(current(), one);
    assert_cuda(cuCtxPushCurrent(two));
    assert_cuda(cuCtxDestroy(two));
    assert_ptr_equal(current(), one);
    assert_cuda_error(cuCtxPushCurrent(two), CUDA_ERROR_INVALID_CONTEXT);
    assert_cuda_error(cuCtxDestroy(two), CUDA_ERROR_INVALID_CONTEXT);
    assert_cuda(cuCtxGetDevice(&device));
    assert_int_equal(device, 0);
    assert_cuda(cuCtxDestroy(one));
    assert_null(current());
    assert_cuda_error(cuCtxPopCurrent(&popped), CUDA_ERROR_INVALID_CONTEXT);
    assert_cuda_error(cuCtxGetDevice(&device), CUDA_ERROR_INVALID_CONTEXT);
    assert_cuda_error(cuCtxSynchronize(), CUDA_ERROR_INVALID_CONTEXT);
}

static void *destroy_it(void *context)
{
    return (void *)(uintptr_t)cuCtxDestroy(context);
}

static void a_context_destroyed_by_another_thread_is_an_error_to_use(void **state)
{
    CUdeviceptr memory;
    CUcontext context;
    pthread_t thread;
    CUstream stream;
    CUevent event;

    (void)state;
    assert_cuda(cuCtxCreate(&context, NULL, 0, 0));
    assert_cuda(cuStreamCreate(&stream, 0));
    assert_cuda(cuEventCreate(&event, 0));
    pthread_create(&thread, NULL, destroy_it, context);
    pthread_join(thread, NULL);
    assert_cuda_error(cuMemAlloc(&memory, 10), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    assert_cuda_error(cuEventQuery(event), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuStreamDestroy(stream), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda(cuCtxSetCurrent(NULL));
}

static void limits_and_flags_are_kept(void **state)
{
    unsigned int flags, version;
    CUcontext context;
    size_t value;

    (void)state;
    assert_cuda(cuCtxCreate(&context, NULL, CU_CTX_SCHED_YIELD, 0));
    assert_cuda(cuCtxGetFlags(&flags));
    assert_int_equal(flags, CU_CTX_SCHED_YIELD);
    assert_cuda(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
    assert_int_equal(value, 1024);
    assert_cuda(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
    assert_cuda(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
    assert_int_equal(value, 4096);
    assert_cuda_error(cuCtxGetLimit(&value, (CUlimit)99), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuCtxGetApiVersion(context, &version));
    assert_cuda_error(cuCtxCreate(&context, NULL, 1u << 30, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuCtxCreate(&context, NULL, 0, 9), CUDA_ERROR_INVALID_DEVICE);
    assert_cuda(cuCtxDestroy(current()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_primary_context_lives_while_it_is_retained, no_context),
        cmocka_unit_test_setup(reset_frees_all_memory, no_context),
        cmocka_unit_test_setup(contexts_stack_per_thread, no_context),
        cmocka_unit_test_setup(a_context_destroyed_by_another_thread_is_an_error_to_use,
                               no_context),
        cmocka_unit_test_setup(limits_and_flags_are_kept, no_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
