/* SPDX-License-Identifier: MIT */
/* Arrays: charged, cleared, whole or in parts; and what reads them. */
#include <string.h>

#include "protocol/copy.h"
#include "protocol/texture.h"
#include "worker/memory/array.h"
#include "worker/tests/fixture.h"

enum { ARRAY = OTHER + 1, ARRAY2, MIPMAP, TEXTURE, SURFACE };

static CUresult create(struct vgpu_channel *channel, uint64_t width, uint64_t height,
                       uint64_t depth, uint32_t format, uint32_t flags)
{
    uint32_t side, bytes;
    return vgpu_send_cuArray3DCreate(channel, CONTEXT, ARRAY, width, height, depth, format, 1,
                                     flags, &side, &bytes);
}

static void expect_zeros(struct vgpu_channel *channel, uint32_t array, uint64_t width,
                         uint64_t height, uint64_t depth)
{
    const struct vgpu_box box = {
        .width = width,
        .height = height,
        .depth = depth,
        .source = {.kind = VGPU_SIDE_ARRAY, .array = array},
        .destination = {.kind = VGPU_SIDE_STAGING, .pitch = width, .height = height}};
    memset(fixture_staging(channel), 0xee, width * height * depth);
    assert_int_equal(vgpu_send_vgpuCopyBox(channel, CONTEXT, 0, &box, sizeof(box)), 0);
    assert_int_equal(fixture_take_error(channel), 0);
    for (uint64_t i = 0; i < width * height * depth; i++)
        assert_int_equal(fixture_staging(channel)[i], 0);
}

static void an_array_is_charged_and_cleared(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(create(channel, 100, 30, 5, CU_AD_FORMAT_UNSIGNED_INT8, 0), 0);
    assert_int_equal(channel->ledger.used, 100 * 30 * 5);
    assert_int_equal(channel->page.bytes_cleared, 100 * 30 * 5);
    assert_int_equal(fake.memory, 0); /* what it was cleared with is gone */
    expect_zeros(channel, ARRAY, 100, 30, 5);
    assert_int_equal(vgpu_send_cuArrayDestroy(channel, CONTEXT, ARRAY), 0);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

static void what_cannot_be_is_refused_and_not_charged(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(create(channel, 0, 0, 0, CU_AD_FORMAT_FLOAT, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(create(channel, 5, 0, 0, 12345, 0), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(create(channel, UINT64_MAX, UINT64_MAX, 2, CU_AD_FORMAT_FLOAT, 0),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(create(channel, QUOTA, 1, 1, CU_AD_FORMAT_FLOAT, 0), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(create(channel, 64, 64, 0, CU_AD_FORMAT_FLOAT, CUDA_ARRAY3D_SPARSE),
                     CUDA_ERROR_NOT_SUPPORTED);
    fake.fail_next = CUDA_ERROR_OUT_OF_MEMORY;
    assert_int_equal(create(channel, 64, 64, 0, CU_AD_FORMAT_FLOAT, 0), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

static void planes_are_cleared_and_go_with_their_array(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t width = 0, height = 0;
    uint32_t format = 0, channels = 0;
    assert_int_equal(create(channel, 64, 32, 0, CU_AD_FORMAT_NV12, 0), 0);
    assert_int_equal(channel->ledger.used, 64 * 32 * 3 / 2);
    assert_int_equal(vgpu_send_cuArrayGetPlane(channel, CONTEXT, ARRAY2, ARRAY, 1, &width, &height,
                                               &format, &channels),
                     0);
    assert_int_equal(width, 32);
    assert_int_equal(height, 16);
    assert_int_equal(format, CU_AD_FORMAT_UNSIGNED_INT8);
    assert_int_equal(channels, 2);
    expect_zeros(channel, ARRAY2, 64, 16, 1);
    assert_int_equal(vgpu_send_cuArrayDestroy(channel, CONTEXT, ARRAY), 0);
    assert_int_equal(vgpu_send_cuArrayDestroy(channel, CONTEXT, ARRAY2), CUDA_ERROR_INVALID_HANDLE);
    fixture_close(channel);
}

static void destroying_a_part_is_garbage(void **state)
{
    (void)state;
    uint32_t side = 0, bytes = 0;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(vgpu_send_cuMipmappedArrayCreate(channel, CONTEXT, MIPMAP, 64, 64, 0,
                                                      CU_AD_FORMAT_UNSIGNED_INT8, 1, 0, 3, &side,
                                                      &bytes),
                     0);
    assert_int_equal(vgpu_send_cuMipmappedArrayGetLevel(channel, CONTEXT, ARRAY, MIPMAP, 1), 0);
    vgpu_send_cuArrayDestroy(channel, CONTEXT, ARRAY);
    assert_true(channel->garbage);
    fixture_close(channel);
}

static void levels_are_charged_cleared_and_go_together(void **state)
{
    (void)state;
    uint32_t side = 0, bytes = 0;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(vgpu_send_cuMipmappedArrayCreate(channel, CONTEXT, MIPMAP, 64, 64, 0,
                                                      CU_AD_FORMAT_UNSIGNED_INT8, 1, 0, 3, &side,
                                                      &bytes),
                     0);
    assert_int_equal(side, 1);
    assert_int_equal(bytes, 1);
    assert_int_equal(channel->ledger.used, 64 * 64 + 32 * 32 + 16 * 16);
    assert_int_equal(vgpu_send_cuMipmappedArrayGetLevel(channel, CONTEXT, ARRAY, MIPMAP, 2), 0);
    assert_int_equal(vgpu_send_cuMipmappedArrayGetLevel(channel, CONTEXT, ARRAY2, MIPMAP, 3),
                     CUDA_ERROR_INVALID_VALUE);
    expect_zeros(channel, ARRAY, 16, 16, 1);
    assert_int_equal(vgpu_send_cuMipmappedArrayDestroy(channel, CONTEXT, MIPMAP), 0);
    assert_int_equal(channel->ledger.used, 0);
    assert_int_equal(vgpu_send_cuArrayDestroy(channel, CONTEXT, ARRAY), CUDA_ERROR_INVALID_HANDLE);
    fixture_close(channel);
}

static void bytes_follow_the_format(void **state)
{
    (void)state;
    CUDA_ARRAY3D_DESCRIPTOR array = {
        .Width = 5, .Height = 9, .Format = CU_AD_FORMAT_BC1_UNORM, .NumChannels = 4};
    uint64_t bytes = 0;
    assert_true(vgpu_array_bytes(&array, 0, &bytes));
    assert_int_equal(bytes, 2 * 3 * 8);
    array.Format = CU_AD_FORMAT_HALF;
    assert_true(vgpu_array_bytes(&array, 0, &bytes));
    assert_int_equal(bytes, 5 * 9 * 8);
    array.Depth = 6;
    array.Flags = CUDA_ARRAY3D_LAYERED;
    assert_true(vgpu_array_bytes(&array, 2, &bytes));
    assert_int_equal(bytes, (5 * 9 + 2 * 4) * 6 * 8);
    array.Flags = 0;
    assert_true(vgpu_array_bytes(&array, 2, &bytes));
    assert_int_equal(bytes, (5 * 9 * 6 + 2 * 4 * 3) * 8);
    array.NumChannels = UINT32_MAX;
    assert_false(vgpu_array_bytes(&array, 0, &bytes));
}

static void textures_read_arrays_by_their_ids(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_texture_description texture = {.type = CU_RESOURCE_TYPE_ARRAY,
                                               .array = ARRAY,
                                               .filter_mode = CU_TR_FILTER_MODE_LINEAR,
                                               .border = {0, 0, 0, 0.5f}};
    uint64_t value = 0;
    assert_int_equal(
        vgpu_send_cuTexObjectCreate(channel, CONTEXT, &value, TEXTURE, &texture, sizeof(texture)),
        CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(create(channel, 16, 16, 0, CU_AD_FORMAT_FLOAT, 0), 0);
    assert_int_equal(
        vgpu_send_cuTexObjectCreate(channel, CONTEXT, &value, TEXTURE, &texture, sizeof(texture)),
        0);
    assert_int_not_equal(value, 0);
    assert_int_equal(fake.texture.filterMode, CU_TR_FILTER_MODE_LINEAR);
    assert_true(fake.texture.borderColor[3] == 0.5f);
    assert_false(fake.texture_view);
    assert_int_equal(vgpu_send_cuSurfObjectCreate(channel, CONTEXT, &value, SURFACE, ARRAY), 0);
    assert_int_equal(vgpu_send_cuArrayDestroy(channel, CONTEXT, ARRAY), 0);
    assert_int_equal(vgpu_send_cuTexObjectDestroy(channel, CONTEXT, TEXTURE), 0);
    assert_int_equal(vgpu_send_cuTexObjectDestroy(channel, CONTEXT, TEXTURE),
                     CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(vgpu_send_cuTexObjectDestroy(channel, CONTEXT, SURFACE),
                     CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(vgpu_send_cuSurfObjectDestroy(channel, CONTEXT, SURFACE), 0);
    texture.type = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
    texture.array = STREAM;
    assert_int_equal(
        vgpu_send_cuTexObjectCreate(channel, CONTEXT, &value, TEXTURE, &texture, sizeof(texture)),
        CUDA_ERROR_INVALID_HANDLE);
    vgpu_send_cuTexObjectCreate(channel, CONTEXT, &value, TEXTURE, &texture, 5);
    assert_true(channel->garbage);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_is_charged_and_cleared),
        cmocka_unit_test(what_cannot_be_is_refused_and_not_charged),
        cmocka_unit_test(planes_are_cleared_and_go_with_their_array),
        cmocka_unit_test(destroying_a_part_is_garbage),
        cmocka_unit_test(levels_are_charged_cleared_and_go_together),
        cmocka_unit_test(bytes_follow_the_format),
        cmocka_unit_test(textures_read_arrays_by_their_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
