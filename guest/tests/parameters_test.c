/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest/code/launch.h"

/* (char, double, int): 1 byte at 0, 8 at 8, 4 at 16. */
static const struct vgpu_function_info info = {
    .parameter_bytes = 20,
    .parameter_count = 3,
    .parameter = {{0, 1}, {8, 8}, {16, 4}},
};

static const struct vgpu_function_info none = {0};

static char a = 'x';
static double b = 1.5;
static int c = -7;
static unsigned char block[64];

static void each_parameter_goes_to_its_place(void **state)
{
    (void)state;
    static const char zeros[7];
    void *parameters[] = {&a, &b, &c};
    memset(block, 0xff, sizeof(block));
    assert_int_equal(vgpu_launch_pack(&info, parameters, NULL, block), CUDA_SUCCESS);
    assert_int_equal(block[0], 'x');
    assert_memory_equal(block + 1, zeros, 7);
    assert_memory_equal(block + 8, &b, 8);
    assert_memory_equal(block + 16, &c, 4);
    assert_int_equal(block[20], 0xff);
}

static void missing_parameters_are_refused(void **state)
{
    (void)state;
    void *parameters[] = {&a, NULL, &c};
    assert_int_equal(vgpu_launch_pack(&info, NULL, NULL, block), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_launch_pack(&info, parameters, NULL, block), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_launch_pack(&none, NULL, NULL, block), CUDA_SUCCESS);
}

static void a_layout_beyond_the_block_is_refused(void **state)
{
    (void)state;
    struct vgpu_function_info wrong = {
        .parameter_bytes = 8, .parameter_count = 1, .parameter = {{UINT32_MAX, 4}}};
    void *parameters[] = {&c};
    assert_int_equal(vgpu_launch_pack(&wrong, parameters, NULL, block), CUDA_ERROR_INVALID_VALUE);
    wrong.parameter[0] = (struct vgpu_parameter){6, 4};
    assert_int_equal(vgpu_launch_pack(&wrong, parameters, NULL, block), CUDA_ERROR_INVALID_VALUE);
}

static CUresult pack_buffer(const struct vgpu_function_info *of, const void *buffer, size_t bytes)
{
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_BUFFER_POINTER,
                     (void *)buffer, CU_LAUNCH_PARAM_END};
    return vgpu_launch_pack(of, NULL, extra, block);
}

static void a_buffer_is_taken_as_it_is(void **state)
{
    (void)state;
    unsigned char buffer[64];
    for (unsigned int i = 0; i < sizeof(buffer); i++)
        buffer[i] = (unsigned char)i;
    memset(block, 0xff, sizeof(block));
    assert_int_equal(pack_buffer(&info, buffer, 20), CUDA_SUCCESS);
    assert_memory_equal(block, buffer, 20);
    assert_int_equal(block[20], 0xff);
    /* The size of a structure is rounded up to its alignment. */
    assert_int_equal(pack_buffer(&info, buffer, 24), CUDA_SUCCESS);
    assert_int_equal(block[20], 0xff);
    assert_int_equal(pack_buffer(&info, buffer, 8), CUDA_SUCCESS);
    assert_int_equal(block[8], 0);
}

static void a_buffer_that_is_too_long_is_refused(void **state)
{
    (void)state;
    assert_int_equal(pack_buffer(&info, block, 64), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    assert_int_equal(pack_buffer(&none, block, 16), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    assert_int_equal(pack_buffer(&none, NULL, 0), CUDA_SUCCESS);
    assert_int_equal(pack_buffer(&info, NULL, 20), CUDA_ERROR_INVALID_VALUE);
}

static void one_way_at_a_time(void **state)
{
    (void)state;
    size_t bytes = 20;
    void *parameters[] = {&a, &b, &c};
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_BUFFER_POINTER, block,
                     CU_LAUNCH_PARAM_END};
    void *unknown[] = {(void *)9, &bytes, CU_LAUNCH_PARAM_END};
    assert_int_equal(vgpu_launch_pack(&info, parameters, extra, block), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_launch_pack(&info, NULL, unknown, block), CUDA_ERROR_INVALID_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_parameter_goes_to_its_place),
        cmocka_unit_test(missing_parameters_are_refused),
        cmocka_unit_test(a_layout_beyond_the_block_is_refused),
        cmocka_unit_test(a_buffer_is_taken_as_it_is),
        cmocka_unit_test(a_buffer_that_is_too_long_is_refused),
        cmocka_unit_test(one_way_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
