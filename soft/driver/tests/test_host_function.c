/* SPDX-License-Identifier: MIT */
/* Functions of the program's that the driver calls: in streams, and when user objects end. */
#include <stdatomic.h>
#include <time.h>

#include "driver_test.h"

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void call_the_driver(void *data)
{
    CUresult *results = data;
    CUdeviceptr memory;

    results[0] = cuMemAlloc(&memory, 16);
    results[1] = cuStreamQuery(NULL);
    results[2] = cuCtxSynchronize();
}

static void a_host_function_may_not_call_the_driver(void **state)
{
    CUresult results[3] = {CUDA_SUCCESS, CUDA_SUCCESS, CUDA_SUCCESS};

    (void)state;
    assert_cuda(cuLaunchHostFunc(NULL, call_the_driver, results));
    assert_cuda(cuCtxSynchronize());
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i], CUDA_ERROR_NOT_PERMITTED);
    assert_cuda_error(cuLaunchHostFunc(NULL, NULL, NULL), CUDA_ERROR_INVALID_VALUE);
}

static CUresult heard = CUDA_ERROR_UNKNOWN;
static _Atomic int called;

static void hear(CUstream stream, CUresult status, void *data)
{
    (void)stream, (void)data;
    heard = status;
    atomic_store(&called, 1);
}

static void count(void *data)
{
    atomic_fetch_add((_Atomic int *)data, 1);
}

static void after_an_error_callbacks_hear_of_it_and_host_functions_are_not_called(void **state)
{
    _Atomic int functions = 0;
    CUdeviceptr nowhere = 0x10;
    CUfunction poke;
    CUmodule module;
    CUstream stream;
    int value = 1;

    (void)state;
    assert_cuda(cuModuleLoadData(&module, test_ptx));
    assert_cuda(cuModuleGetFunction(&poke, module, "poke"));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    atomic_store(&called, 0);
    assert_cuda(
        cuLaunchKernel(poke, 1, 1, 1, 1, 1, 1, 0, stream, (void *[]){&nowhere, &value}, NULL));
    /* The kernel may have failed by now, and then these say so. */
    if (cuLaunchHostFunc(stream, count, &functions) == CUDA_SUCCESS &&
        cuStreamAddCallback(stream, hear, NULL, 0) == CUDA_SUCCESS) {
        while (!atomic_load(&called))
            pause_a_little();
        assert_int_equal(heard, CUDA_ERROR_ILLEGAL_ADDRESS);
    }
    assert_cuda_error(cuStreamSynchronize(stream), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_int_equal(atomic_load(&functions), 0);
}

static void wait_for_count(_Atomic int *counted, int wanted)
{
    for (int i = 0; i < 20000 && atomic_load(counted) < wanted; i++)
        pause_a_little();
    assert_int_equal(atomic_load(counted), wanted);
}

static void a_user_object_ends_with_its_last_reference(void **state)
{
    _Atomic int ended = 0;
    CUuserObject object;

    (void)state;
    assert_cuda(cuUserObjectCreate(&object, &ended, count, 2, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    assert_cuda(cuUserObjectRetain(object, 1));
    assert_cuda(cuUserObjectRelease(object, 2));
    assert_int_equal(atomic_load(&ended), 0);
    assert_cuda(cuUserObjectRelease(object, 1));
    wait_for_count(&ended, 1);
    assert_cuda_error(cuUserObjectRetain(object, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(
        cuUserObjectCreate(&object, &ended, count, 0, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC),
        CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuUserObjectCreate(&object, &ended, count, 1, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(
        cuUserObjectCreate(&object, &ended, NULL, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC),
        CUDA_ERROR_INVALID_VALUE);
}

static void graphs_and_their_copies_keep_user_objects(void **state)
{
    _Atomic int ended = 0;
    CUgraph graph, clone;
    CUgraphExec executable;
    CUuserObject object;

    (void)state;
    assert_cuda(cuGraphCreate(&graph, 0));
    assert_cuda(cuUserObjectCreate(&object, &ended, count, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    assert_cuda(cuGraphRetainUserObject(graph, object, 2, 0));
    assert_cuda(cuGraphReleaseUserObject(graph, object, 1));
    assert_cuda_error(cuGraphReleaseUserObject(graph, object, 2), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuUserObjectRelease(object, 1));
    assert_cuda(cuGraphClone(&clone, graph));
    assert_cuda(cuGraphInstantiate(&executable, graph, 0));
    assert_cuda(cuGraphDestroy(graph));
    assert_cuda(cuGraphDestroy(clone));
    pause_a_little();
    assert_int_equal(atomic_load(&ended), 0);
    assert_cuda(cuGraphExecDestroy(executable));
    wait_for_count(&ended, 1);
}

static void a_moved_reference_is_the_graphs(void **state)
{
    _Atomic int ended = 0;
    CUuserObject object;
    CUgraph graph;

    (void)state;
    assert_cuda(cuGraphCreate(&graph, 0));
    assert_cuda(cuUserObjectCreate(&object, &ended, count, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    assert_cuda(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    assert_cuda(cuGraphDestroy(graph));
    wait_for_count(&ended, 1);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(a_host_function_may_not_call_the_driver),
        in_context(after_an_error_callbacks_hear_of_it_and_host_functions_are_not_called),
        in_context(a_user_object_ends_with_its_last_reference),
        in_context(graphs_and_their_copies_keep_user_objects),
        in_context(a_moved_reference_is_the_graphs),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
