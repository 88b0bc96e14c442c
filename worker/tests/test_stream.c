/* SPDX-License-Identifier: MIT */
/* Values that streams write and wait for, their attributes, and tensor maps: what gets through. */
#include <string.h>

#include "protocol/tensor_map.h"
#include "worker/tests/fixture.h"

/* What the driver was given. */
static struct {
    unsigned int batches, count, attributes, maps, rank;
    CUstreamBatchMemOpParams last;
    CUstreamAttrValue value;
} driver;

static CUresult keep_batch(CUstream stream, unsigned int count,
                           CUstreamBatchMemOpParams *operations, unsigned int flags)
{
    (void)stream;
    assert_int_equal(flags, 0);
    driver.batches++;
    driver.count = count;
    if (count)
        driver.last = operations[count - 1];
    return CUDA_SUCCESS;
}

static CUresult set_attribute(CUstream stream, CUstreamAttrID id, const CUstreamAttrValue *value)
{
    (void)stream, (void)id;
    driver.attributes++;
    driver.value = *value;
    return CUDA_SUCCESS;
}

static CUresult get_attribute(CUstream stream, CUstreamAttrID id, CUstreamAttrValue *value)
{
    (void)stream, (void)id;
    value->priority = driver.value.priority;
    return CUDA_SUCCESS;
}

static CUresult encode(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                       const cuuint64_t *dimensions, const cuuint64_t *strides,
                       const cuuint32_t *box, const cuuint32_t *steps,
                       CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                       CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
    (void)type, (void)strides, (void)box, (void)steps;
    (void)interleave, (void)swizzle, (void)promotion, (void)fill;
    driver.maps++;
    driver.rank = rank;
    map->opaque[0] = (uintptr_t)address;
    map->opaque[CU_TENSOR_MAP_NUM_QWORDS - 1] = dimensions[rank - 1];
    return CUDA_SUCCESS;
}

/* Every argument at a place of its own. */
static CUresult encode_wide(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                            void *address, const cuuint64_t *dimensions, const cuuint64_t *strides,
                            int lower, int upper, cuuint32_t channels, cuuint32_t pixels,
                            const cuuint32_t *steps, CUtensorMapInterleave interleave,
                            CUtensorMapIm2ColWideMode mode, CUtensorMapSwizzle swizzle,
                            CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
    const cuuint64_t said[CU_TENSOR_MAP_NUM_QWORDS] = {
        type,       rank,      (uintptr_t)address, dimensions[rank - 1],
        strides[0], steps[0],  (cuuint64_t)-lower, (cuuint64_t)upper,
        channels,   pixels,    (cuuint64_t)mode,   interleave,
        swizzle,    promotion, (cuuint64_t)fill};
    driver.maps++;
    memcpy(map->opaque, said, sizeof(said));
    return CUDA_SUCCESS;
}

static struct vgpu_channel *open_channel(void)
{
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_driver *table = fake_driver_table();
    table->cuStreamBatchMemOp = keep_batch;
    table->cuStreamSetAttribute = set_attribute;
    table->cuStreamGetAttribute = get_attribute;
    table->cuTensorMapEncodeTiled = encode;
    table->cuTensorMapEncodeIm2colWide = NULL;
    memset(&driver, 0, sizeof(driver));
    return channel;
}

static void a_batch_is_looked_through(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    CUstreamBatchMemOpParams operations[256];
    memset(operations, 0, sizeof(operations));
    for (size_t i = 0; i < 256; i++)
        operations[i].operation = CU_STREAM_MEM_OP_BARRIER;
    vgpu_send_cuStreamBatchMemOp(channel, CONTEXT, 0, operations, 255 * sizeof(*operations));
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    assert_int_equal(driver.count, 255);
    vgpu_send_cuStreamBatchMemOp(channel, CONTEXT, 0, operations, sizeof(operations));
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    vgpu_send_cuStreamBatchMemOp(channel, CONTEXT, 0, operations, sizeof(*operations) - 1);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    operations[1].operation = (CUstreamBatchMemOpType)77;
    vgpu_send_cuStreamBatchMemOp(channel, CONTEXT, 0, operations, 2 * sizeof(*operations));
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(driver.batches, 1);
    fixture_close(channel);
}

static void only_attributes_of_streams_get_through(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    CUstreamAttrValue value, back;
    size_t bytes;
    memset(&value, 0, sizeof(value));
    value.priority = -3;
    assert_int_equal(vgpu_send_cuStreamSetAttribute(
                         channel, CONTEXT, 0, CU_STREAM_ATTRIBUTE_PRIORITY, &value, sizeof(value)),
                     CUDA_SUCCESS);
    assert_int_equal(vgpu_send_cuStreamGetAttribute(channel, CONTEXT, 0,
                                                    CU_STREAM_ATTRIBUTE_PRIORITY, &back,
                                                    sizeof(back), &bytes),
                     CUDA_SUCCESS);
    assert_int_equal(bytes, sizeof(back));
    assert_memory_equal(&back, &value, sizeof(back)); /* nothing of the worker's stack */
    assert_int_equal(vgpu_send_cuStreamSetAttribute(channel, CONTEXT, 0,
                                                    CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT, &value,
                                                    sizeof(value)),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_cuStreamSetAttribute(channel, CONTEXT, 0,
                                                    CU_STREAM_ATTRIBUTE_PRIORITY, &value, 4),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(driver.attributes, 1);
    fixture_close(channel);
}

static void a_tensor_has_as_many_dimensions_as_it_may(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    struct vgpu_tensor_map_question question = {
        .kind = VGPU_TENSOR_MAP_TILED, .rank = 5, .address = 4096, .dimension = {1, 2, 3, 4, 5}};
    uint64_t map[CU_TENSOR_MAP_NUM_QWORDS];
    size_t bytes;
    assert_int_equal(vgpu_send_vgpuTensorMap(channel, CONTEXT, &question, sizeof(question), map,
                                             sizeof(map), &bytes),
                     CUDA_SUCCESS);
    assert_int_equal(bytes, sizeof(map));
    assert_int_equal(map[0], 4096);
    assert_int_equal(map[CU_TENSOR_MAP_NUM_QWORDS - 1], 5);
    const uint32_t ranks[] = {0, 6, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        question.rank = ranks[i];
        assert_int_equal(vgpu_send_vgpuTensorMap(channel, CONTEXT, &question, sizeof(question), map,
                                                 sizeof(map), &bytes),
                         CUDA_ERROR_INVALID_VALUE);
    }
    question.rank = 1;
    question.kind = 9;
    assert_int_equal(vgpu_send_vgpuTensorMap(channel, CONTEXT, &question, sizeof(question), map,
                                             sizeof(map), &bytes),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_vgpuTensorMap(channel, CONTEXT, &question, sizeof(question) - 1, map,
                                             sizeof(map), &bytes),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(driver.maps, 1);
    fixture_close(channel);
}

static void a_wide_map_is_asked_for_where_the_driver_has_them(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_channel();
    struct vgpu_tensor_map_question question = {.kind = VGPU_TENSOR_MAP_IM2COL_WIDE,
                                                .type = 1,
                                                .rank = 3,
                                                .address = 4096,
                                                .dimension = {7, 8, 9},
                                                .stride = {16, 32},
                                                .element_stride = {6, 1, 1},
                                                .lower = {-11},
                                                .upper = {12},
                                                .channels = 13,
                                                .pixels = 14,
                                                .mode = 1,
                                                .interleave = 2,
                                                .swizzle = 3,
                                                .promotion = 3,
                                                .fill = 1};
    const uint64_t expected[CU_TENSOR_MAP_NUM_QWORDS] = {1,  3,  4096, 9, 16, 6, 11, 12,
                                                         13, 14, 1,    2, 3,  3, 1};
    uint64_t map[CU_TENSOR_MAP_NUM_QWORDS];
    size_t bytes;
    assert_int_equal(vgpu_send_vgpuTensorMap(channel, CONTEXT, &question, sizeof(question), map,
                                             sizeof(map), &bytes),
                     CUDA_ERROR_NOT_SUPPORTED);
    fake_driver_table()->cuTensorMapEncodeIm2colWide = encode_wide;
    assert_int_equal(vgpu_send_vgpuTensorMap(channel, CONTEXT, &question, sizeof(question), map,
                                             sizeof(map), &bytes),
                     CUDA_SUCCESS);
    assert_memory_equal(map, expected, sizeof(map));
    assert_int_equal(driver.maps, 1);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_looked_through),
        cmocka_unit_test(only_attributes_of_streams_get_through),
        cmocka_unit_test(a_tensor_has_as_many_dimensions_as_it_may),
        cmocka_unit_test(a_wide_map_is_asked_for_where_the_driver_has_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
