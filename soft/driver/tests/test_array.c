/* SPDX-License-Identifier: MIT */
#include "driver_test.h"

static CUarray create(size_t width, size_t height, size_t depth, CUarray_format format,
                      unsigned int channels, unsigned int flags)
{
    CUDA_ARRAY3D_DESCRIPTOR descriptor = {.Width = width,
                                          .Height = height,
                                          .Depth = depth,
                                          .Format = format,
                                          .NumChannels = channels,
                                          .Flags = flags};
    CUarray array = NULL;

    assert_cuda(cuArray3DCreate(&array, &descriptor));
    return array;
}

static CUresult create_error(size_t width, size_t height, size_t depth, CUarray_format format,
                             unsigned int channels, unsigned int flags)
{
    CUDA_ARRAY3D_DESCRIPTOR descriptor = {.Width = width,
                                          .Height = height,
                                          .Depth = depth,
                                          .Format = format,
                                          .NumChannels = channels,
                                          .Flags = flags};
    CUarray array;

    return cuArray3DCreate(&array, &descriptor);
}

static void descriptions_are_told_back_and_checked(void **state)
{
    const unsigned int cube = CUDA_ARRAY3D_CUBEMAP, layered = CUDA_ARRAY3D_LAYERED;
    CUarray array = create(5, 7, 9, CU_AD_FORMAT_HALF, 4, CUDA_ARRAY3D_SURFACE_LDST);
    CUDA_ARRAY3D_DESCRIPTOR all;
    CUDA_ARRAY_DESCRIPTOR flat;

    (void)state;
    assert_cuda(cuArray3DGetDescriptor(&all, array));
    assert_int_equal(all.Depth, 9);
    assert_int_equal(all.Flags, CUDA_ARRAY3D_SURFACE_LDST);
    assert_cuda(cuArrayGetDescriptor(&flat, array));
    assert_int_equal(flat.Height, 7);
    assert_int_equal(flat.NumChannels, 4);
    assert_cuda(cuArrayDestroy(array));
    assert_cuda_error(cuArrayDestroy(array), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(create_error(0, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(create_error(4, 0, 0, CU_AD_FORMAT_FLOAT, 3, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(create_error(4, 0, 0, (CUarray_format)0x77, 1, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(create_error(4, 0, 2, CU_AD_FORMAT_FLOAT, 1, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(create_error(4, 5, 6, CU_AD_FORMAT_FLOAT, 1, cube), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(create_error(4, 4, 5, CU_AD_FORMAT_FLOAT, 1, cube), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(create_error(1 << 20, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(create_error(8, 8, 0, CU_AD_FORMAT_NV12, 1, 0), CUDA_ERROR_NOT_SUPPORTED);
    assert_cuda(create_error(4, 4, 12, CU_AD_FORMAT_FLOAT, 1, cube | layered));
    assert_cuda(create_error(4, 0, 12, CU_AD_FORMAT_FLOAT, 1, layered));
}

static void rows_go_in_and_out(void **state)
{
    CUarray array = create(16, 0, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0);
    CUarray other = create(16, 0, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0);
    unsigned int in[16], out[16] = {0};
    CUdeviceptr memory;

    (void)state;
    for (unsigned int i = 0; i < 16; i++)
        in[i] = i * 3;
    assert_cuda(cuMemcpyHtoA(array, 0, in, sizeof(in)));
    assert_cuda(cuMemcpyAtoA(other, 8, array, 0, 32));
    assert_cuda(cuMemcpyAtoH(out, other, 8, 32));
    assert_memory_equal(out, in, 32);
    assert_cuda(cuMemAlloc(&memory, 64));
    assert_cuda(cuMemcpyAtoD(memory, array, 32, 32));
    assert_cuda(cuMemcpyDtoA(other, 0, memory, 32));
    assert_cuda(cuMemcpyAtoHAsync(out, other, 0, 32, NULL));
    assert_cuda(cuCtxSynchronize());
    assert_memory_equal(out, in + 8, 32);
    assert_cuda_error(cuMemcpyHtoA(array, 4, in, sizeof(in)), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyHtoA(array, 2, in, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyHtoA((CUarray)in, 0, in, 4), CUDA_ERROR_INVALID_HANDLE);
}

static void boxes_go_in_and_out(void **state)
{
    enum { W = 5, H = 4, D = 3 };
    CUarray volume = create(W, H, D, CU_AD_FORMAT_SIGNED_INT16, 2, 0);
    CUarray layers = create(W, 0, D, CU_AD_FORMAT_SIGNED_INT16, 2, CUDA_ARRAY3D_LAYERED);
    int in[D][H][W], out[2][2][W], lines[D][W];
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = in,
                          .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                          .dstArray = volume,
                          .WidthInBytes = W * 4,
                          .Height = H,
                          .Depth = D};

    (void)state;
    for (int i = 0; i < D * H * W; i++)
        in[i / (W * H)][i / W % H][i % W] = i;
    assert_cuda(cuMemcpy3D(&copy));
    copy = (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                           .srcArray = volume,
                           .srcXInBytes = 4,
                           .srcY = 2,
                           .srcZ = 1,
                           .dstMemoryType = CU_MEMORYTYPE_HOST,
                           .dstHost = out,
                           .dstPitch = W * 4,
                           .WidthInBytes = 16,
                           .Height = 2,
                           .Depth = 2};
    assert_cuda(cuMemcpy3D(&copy));
    assert_int_equal(out[0][0][0], in[1][2][1]);
    assert_int_equal(out[1][1][3], in[2][3][4]);
    copy.Depth = 3;
    assert_cuda_error(cuMemcpy3D(&copy), CUDA_ERROR_INVALID_VALUE);
    /* Layers of lines are planes of one row. */
    copy = (CUDA_MEMCPY3D){.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                           .srcArray = volume,
                           .srcY = 3,
                           .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                           .dstArray = layers,
                           .WidthInBytes = W * 4,
                           .Height = 1,
                           .Depth = D};
    assert_cuda(cuMemcpy3D(&copy));
    copy.srcArray = layers;
    copy.srcY = 0;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = lines;
    assert_cuda(cuMemcpy3D(&copy));
    for (int z = 0; z < D; z++)
        assert_memory_equal(lines[z], in[z][3], sizeof(lines[z]));
}

static void levels_are_arrays_that_go_with_the_whole(void **state)
{
    CUDA_ARRAY3D_DESCRIPTOR descriptor = {
        .Width = 20, .Height = 6, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    float value = 4.5f, back = 0;
    size_t before, after, total;
    CUmipmappedArray whole;
    CUarray level;

    (void)state;
    assert_cuda(cuMemGetInfo(&before, &total));
    assert_cuda(cuMipmappedArrayCreate(&whole, &descriptor, 99));
    assert_cuda(cuMipmappedArrayGetLevel(&level, whole, 4));
    assert_cuda(cuArray3DGetDescriptor(&descriptor, level));
    assert_int_equal(descriptor.Width, 1);
    assert_int_equal(descriptor.Height, 1);
    assert_cuda(cuMemcpyHtoA(level, 0, &value, 4));
    assert_cuda(cuMemcpyAtoH(&back, level, 0, 4));
    assert_true(back == value);
    assert_cuda_error(cuArrayDestroy(level), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuMipmappedArrayGetLevel(&level, whole, 5), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMipmappedArrayDestroy(whole));
    assert_cuda_error(cuArray3DGetDescriptor(&descriptor, level), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(before, after);
}

static void batches_are_checked_and_done_in_order(void **state)
{
    CUmemcpyAttributes attributes[] = {
        {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM},
        {.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL},
    };
    size_t sizes[] = {8, 4, 4}, starts[] = {0, 2};
    CUarray array = create(4, 3, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, 0);
    int in[12], out[4] = {0};
    CUdeviceptr memory, to[3], from[3];
    CUstream stream;

    (void)state;
    for (int i = 0; i < 12; i++)
        in[i] = i + 1;
    assert_cuda(cuStreamCreate(&stream, 0));
    assert_cuda(cuMemAlloc(&memory, 64));
    to[0] = memory;
    to[1] = memory + 8;
    to[2] = memory + 12;
    for (int i = 0; i < 3; i++)
        from[i] = (CUdeviceptr)(uintptr_t)&in[2 * i];
    assert_cuda(cuMemcpyBatchAsync(to, from, sizes, 3, attributes, starts, 2, stream));
    assert_cuda(cuMemcpyDtoHAsync(out, memory, 16, stream));
    assert_cuda(cuStreamSynchronize(stream));
    assert_int_equal(out[1], 2);
    assert_int_equal(out[2], 3);
    assert_int_equal(out[3], 5);
    to[1] = memory + 62;
    assert_cuda(cuMemsetD8(memory, 0, 64));
    assert_cuda_error(cuMemcpyBatchAsync(to, from, sizes, 3, attributes, starts, 2, stream),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemcpyDtoH(out, memory, 4));
    assert_int_equal(out[0], 0); /* none of it was done */
    assert_cuda_error(cuMemcpyBatchAsync(to, from, sizes, 1, attributes, starts, 1, NULL),
                      CUDA_ERROR_INVALID_VALUE);

    CUDA_MEMCPY3D_BATCH_OP op = {
        .src = {.type = CU_MEMCPY_OPERAND_TYPE_POINTER,
                .op.ptr = {.ptr = (CUdeviceptr)(uintptr_t)in, .rowLength = 4}},
        .dst = {.type = CU_MEMCPY_OPERAND_TYPE_ARRAY,
                .op.array = {.array = array, .offset = {.x = 1, .y = 1}}},
        .extent = {3, 2, 1},
        .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM,
    };
    assert_cuda(cuMemcpy3DBatchAsync(1, &op, 0, stream));
    assert_cuda(cuStreamSynchronize(stream));
    CUDA_MEMCPY2D back = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .srcArray = array,
                          .srcY = 2,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = out,
                          .WidthInBytes = 16,
                          .Height = 1};
    assert_cuda(cuMemcpy2D(&back));
    assert_int_equal(out[1], in[4]);
    assert_int_equal(out[3], in[6]);
    op.extent.width = 4;
    assert_cuda_error(cuMemcpy3DBatchAsync(1, &op, 0, stream), CUDA_ERROR_INVALID_VALUE);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(descriptions_are_told_back_and_checked),
        in_context(rows_go_in_and_out),
        in_context(boxes_go_in_and_out),
        in_context(levels_are_arrays_that_go_with_the_whole),
        in_context(batches_are_checked_and_done_in_order),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
