/* SPDX-License-Identifier: MIT */
/* The rules of the handle table: who may have an id, who finds it, what goes with what. */
#include <string.h>

#include "worker/tests/fixture.h"

static int objects[8];

static CUresult find(struct vgpu_channel *channel, enum vgpu_kind kind, uint32_t id, void **object)
{
    return vgpu_handles_find(&channel->worker, kind, id, object);
}

static void default_streams_are_always_there(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open();
    void *object = &objects;
    assert_int_equal(find(channel, VGPU_KIND_STREAM, 0, &object), CUDA_SUCCESS);
    assert_null(object);
    assert_int_equal(find(channel, VGPU_KIND_STREAM, 1, &object), CUDA_SUCCESS);
    assert_ptr_equal(object, CU_STREAM_LEGACY);
    assert_int_equal(find(channel, VGPU_KIND_STREAM, 2, &object), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(find(channel, VGPU_KIND_EVENT, 0, &object), CUDA_ERROR_INVALID_HANDLE);
    fixture_close(channel);
}

static void ids_outside_the_range_are_not_free(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open();
    const uint32_t bad[] = {0, 1, VGPU_HANDLE_FIRST - 1, VGPU_HANDLE_MAX, UINT32_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        void *object;
        assert_false(vgpu_handles_free(&channel->worker, bad[i]));
        assert_int_not_equal(find(channel, VGPU_KIND_MODULE, bad[i], &object), CUDA_SUCCESS);
        vgpu_handles_remove(&channel->worker, bad[i]);
    }
    assert_true(vgpu_handles_free(&channel->worker, VGPU_HANDLE_FIRST));
    assert_true(vgpu_handles_free(&channel->worker, VGPU_HANDLE_MAX - 1));
    fixture_close(channel);
}

static void only_the_right_kind_is_found(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open();
    for (uint32_t kind = VGPU_KIND_CONTEXT; kind < VGPU_KIND_LAUNCHABLE; kind++) {
        if (kind == VGPU_KIND_STREAM)
            continue; /* the driver is asked about a new stream */
        assert_true(vgpu_handles_free(&channel->worker, 20 + kind));
        vgpu_handles_add(&channel->worker, kind, 20 + kind, &objects[kind % 8]);
        assert_false(vgpu_handles_free(&channel->worker, 20 + kind));
        for (uint32_t asked = VGPU_KIND_CONTEXT; asked <= VGPU_KIND_LAUNCHABLE; asked++) {
            void *object = NULL;
            bool right =
                asked == kind || (asked == VGPU_KIND_LAUNCHABLE &&
                                  (kind == VGPU_KIND_FUNCTION || kind == VGPU_KIND_KERNEL));
            CUresult wrong =
                asked == VGPU_KIND_CONTEXT ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_HANDLE;
            assert_int_equal(find(channel, asked, 20 + kind, &object),
                             right ? CUDA_SUCCESS : wrong);
            if (right)
                assert_ptr_equal(object, &objects[kind % 8]);
        }
        vgpu_handles_remove(&channel->worker, 20 + kind);
        assert_true(vgpu_handles_free(&channel->worker, 20 + kind));
    }
    fixture_close(channel);
}

static void an_id_in_use_is_garbage(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0), 0);
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, STREAM, 0), CUDA_ERROR_UNKNOWN);
    assert_true(channel->garbage);
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, 3, 0), CUDA_ERROR_UNKNOWN);
    assert_true(channel->garbage);
    fixture_close(channel);
}

static void functions_go_with_their_module(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    void *object;
    fixture_load(channel, ".version 6.4");
    assert_int_equal(
        vgpu_send_cuModuleGetFunction(channel, CONTEXT, OTHER, MODULE, "x", NULL, 0, NULL), 0);
    assert_int_equal(vgpu_send_cuModuleUnload(channel, CONTEXT, MODULE), 0);
    assert_int_not_equal(find(channel, VGPU_KIND_LAUNCHABLE, FUNCTION, &object), 0);
    assert_true(vgpu_handles_free(&channel->worker, FUNCTION));
    assert_true(vgpu_handles_free(&channel->worker, OTHER));
    fixture_launch(channel, 0);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(fake.launches, 0);
    fixture_close(channel);
}

static void load_library(struct vgpu_channel *channel)
{
    memcpy(fixture_staging(channel), ".version", 8);
    assert_int_equal(vgpu_send_vgpuImageAppend(channel, 0, 0, 8, 1), 0);
    assert_int_equal(
        vgpu_send_cuLibraryLoadData(channel, 0, LIBRARY, NULL, 0, NULL, 0, NULL, 0, NULL), 0);
    assert_int_equal(vgpu_send_cuLibraryGetKernel(channel, 0, KERNEL, LIBRARY, "k", NULL, 0, NULL),
                     0);
    assert_int_equal(vgpu_send_cuLibraryGetModule(channel, CONTEXT, MODULE, LIBRARY), 0);
    assert_int_equal(vgpu_send_cuKernelGetFunction(channel, CONTEXT, FUNCTION, KERNEL), 0);
}

static void kernels_modules_and_functions_go_with_their_library(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    load_library(channel);
    assert_int_equal(vgpu_send_cuLibraryUnload(channel, 0, LIBRARY), 0);
    for (uint32_t id = MODULE; id <= KERNEL; id++)
        assert_true(vgpu_handles_free(&channel->worker, id));
    fixture_close(channel);
}

static void a_context_takes_with_it_what_was_made_in_it(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    load_library(channel);
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 1, 0), 0);
    assert_int_equal(vgpu_send_cuEventCreate(channel, CONTEXT, EVENT, 0), 0);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRelease(channel, 0, CONTEXT, 0), 0);
    const uint32_t gone[] = {CONTEXT, STREAM, EVENT, MODULE, FUNCTION};
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        assert_true(vgpu_handles_free(&channel->worker, gone[i]));
    assert_false(vgpu_handles_free(&channel->worker, LIBRARY)); /* of no context */
    assert_false(vgpu_handles_free(&channel->worker, KERNEL));
    assert_int_equal(vgpu_send_cuLibraryUnload(channel, 0, LIBRARY), 0);
    assert_int_equal(fake.objects, 0);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_streams_are_always_there),
        cmocka_unit_test(ids_outside_the_range_are_not_free),
        cmocka_unit_test(only_the_right_kind_is_found),
        cmocka_unit_test(an_id_in_use_is_garbage),
        cmocka_unit_test(functions_go_with_their_module),
        cmocka_unit_test(kernels_modules_and_functions_go_with_their_library),
        cmocka_unit_test(a_context_takes_with_it_what_was_made_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
