/* SPDX-License-Identifier: MIT */
#include "driver_test.h"

static void memory_is_allocated_and_freed_once(void **state)
{
    size_t size, free_before, free_after, total;
    CUdeviceptr memory, base;

    (void)state;
    assert_cuda(cuMemGetInfo(&free_before, &total));
    assert_cuda(cuMemAlloc(&memory, 1000));
    assert_cuda(cuMemGetAddressRange(&base, &size, memory + 999));
    assert_int_equal(base, memory);
    assert_int_equal(size, 1000);
    assert_cuda_error(cuMemGetAddressRange(&base, &size, memory + 1000), CUDA_ERROR_NOT_FOUND);
    assert_cuda_error(cuMemFree(memory + 8), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemFree(memory));
    assert_cuda_error(cuMemFree(memory), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemFree(0));
    assert_cuda(cuMemGetInfo(&free_after, &total));
    assert_int_equal(free_before, free_after);
    assert_cuda_error(cuMemAlloc(&memory, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemAlloc(&memory, total + 1), CUDA_ERROR_OUT_OF_MEMORY);
    assert_cuda_error(cuMemAlloc(&memory, SIZE_MAX), CUDA_ERROR_OUT_OF_MEMORY);
}

static void copies_go_there_and_back(void **state)
{
    CUdeviceptr one, two;
    char out[64] = "what goes in comes out", back[64] = "";

    (void)state;
    assert_cuda(cuMemAlloc(&one, sizeof(out)));
    assert_cuda(cuMemAlloc(&two, sizeof(out)));
    assert_cuda(cuMemcpyHtoD(one, out, sizeof(out)));
    assert_cuda(cuMemcpyDtoD(two, one, sizeof(out)));
    assert_cuda(cuMemcpyDtoH(back, two, sizeof(out)));
    assert_string_equal(back, out);
    memset(back, 0, sizeof(back));
    assert_cuda(cuMemcpy((CUdeviceptr)(uintptr_t)back, one, sizeof(out)));
    assert_string_equal(back, out);
    assert_cuda(cuMemcpyHtoD(one, out, 0));
}

static void copies_outside_of_an_allocation_are_refused(void **state)
{
    CUdeviceptr memory;
    char bytes[128] = "";

    (void)state;
    assert_cuda(cuMemAlloc(&memory, 64));
    assert_cuda_error(cuMemcpyHtoD(memory, bytes, 65), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyHtoD(memory + 60, bytes, 5), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyDtoH(bytes, memory, 65), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyDtoH(bytes, 0x1000, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyHtoD(memory, NULL, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyHtoD(UINT64_MAX - 2, bytes, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpyDtoD(memory, memory + 32, 33), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemFree(memory));
    assert_cuda_error(cuMemcpyHtoD(memory, bytes, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemcpy(memory, (CUdeviceptr)(uintptr_t)bytes, 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemsetD8(memory, 0, 4), CUDA_ERROR_INVALID_VALUE);
}

static void fills_write_their_element(void **state)
{
    static const unsigned short halves[2] = {0x1234, 0x1234};
    unsigned char back[16];
    CUdeviceptr memory;

    (void)state;
    assert_cuda(cuMemAlloc(&memory, 16));
    assert_cuda(cuMemsetD32(memory, 0xa1b2c3d4, 4));
    assert_cuda(cuMemsetD16(memory + 4, 0x1234, 2));
    assert_cuda(cuMemsetD8(memory + 8, 0x7f, 3));
    assert_cuda(cuMemcpyDtoH(back, memory, 16));
    assert_memory_equal(back, "\xd4\xc3\xb2\xa1", 4);
    assert_memory_equal(back + 4, halves, 4);
    assert_memory_equal(back + 8, "\x7f\x7f\x7f\xa1", 4);
    assert_cuda_error(cuMemsetD32(memory + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemsetD32(memory, 0, 5), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemsetD32(memory, 0, SIZE_MAX / 2), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemsetD2D8(memory, 8, 0xee, 2, 2));
    assert_cuda(cuMemcpyDtoH(back, memory, 16));
    assert_int_equal(back[1], 0xee);
    assert_int_equal(back[2], 0xb2);
    assert_int_equal(back[8], 0xee);
    assert_int_equal(back[10], 0x7f);
    assert_cuda_error(cuMemsetD2D8(memory, 8, 0, 2, 3), CUDA_ERROR_INVALID_VALUE);
}

static void boxes_are_cut_out_of_pitched_memory(void **state)
{
    enum { WIDTH = 6, HEIGHT = 3 };
    char in[HEIGHT][10], out[2][4];
    CUDA_MEMCPY2D copy = {0};
    CUdeviceptr memory;
    size_t pitch;

    (void)state;
    for (int i = 0; i < HEIGHT * 10; i++)
        in[i / 10][i % 10] = (char)i;
    assert_cuda(cuMemAllocPitch(&memory, &pitch, WIDTH, HEIGHT, 4));
    assert_true(pitch >= WIDTH && pitch % 512 == 0);
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = in;
    copy.srcXInBytes = 2;
    copy.srcPitch = 10;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = memory;
    copy.dstPitch = pitch;
    copy.WidthInBytes = WIDTH;
    copy.Height = HEIGHT;
    assert_cuda(cuMemcpy2D(&copy));
    copy = (CUDA_MEMCPY2D){.srcXInBytes = 1,
                           .srcY = 1,
                           .srcMemoryType = CU_MEMORYTYPE_DEVICE,
                           .srcDevice = memory,
                           .srcPitch = pitch,
                           .dstMemoryType = CU_MEMORYTYPE_HOST,
                           .dstHost = out,
                           .dstPitch = 4,
                           .WidthInBytes = 4,
                           .Height = 2};
    assert_cuda(cuMemcpy2D(&copy));
    for (int y = 0; y < 2; y++) {
        for (int x = 0; x < 4; x++)
            assert_int_equal(out[y][x], (y + 1) * 10 + x + 3);
    }
    copy.Height = 1000;
    assert_cuda_error(cuMemcpy2D(&copy), CUDA_ERROR_INVALID_VALUE);
    copy.Height = 2;
    copy.dstPitch = 3;
    assert_cuda_error(cuMemcpy2D(&copy), CUDA_ERROR_INVALID_VALUE);
    copy.dstPitch = 4;
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    assert_cuda_error(cuMemcpy2D(&copy), CUDA_ERROR_INVALID_HANDLE);
    assert_cuda_error(cuMemcpy2D(NULL), CUDA_ERROR_INVALID_VALUE);
}

static void volumes_are_copied_plane_by_plane(void **state)
{
    int in[2][3][4], out[2][3][4];
    CUDA_MEMCPY3D copy = {0};
    CUdeviceptr memory;

    (void)state;
    for (int i = 0; i < 24; i++)
        ((int *)in)[i] = i;
    memset(out, 0, sizeof(out));
    assert_cuda(cuMemAlloc(&memory, sizeof(in)));
    assert_cuda(cuMemcpyHtoD(memory, in, sizeof(in)));
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = memory;
    copy.srcPitch = sizeof(in[0][0]);
    copy.srcHeight = 3;
    copy.srcXInBytes = 4;
    copy.srcY = 1;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = out;
    copy.dstPitch = sizeof(out[0][0]);
    copy.dstHeight = 3;
    copy.WidthInBytes = 8;
    copy.Height = 2;
    copy.Depth = 2;
    assert_cuda(cuMemcpy3D(&copy));
    assert_int_equal(out[0][0][0], in[0][1][1]);
    assert_int_equal(out[1][1][1], in[1][2][2]);
    assert_int_equal(out[1][1][2], 0);
    copy.Depth = 3;
    assert_cuda_error(cuMemcpy3D(&copy), CUDA_ERROR_INVALID_VALUE);
}

static void host_memory_is_known_by_its_address(void **state)
{
    unsigned int type = 0, flags = 0;
    CUdeviceptr device;
    int *pinned, *own = aligned_alloc(4096, 8192);

    (void)state;
    assert_cuda(cuMemHostAlloc((void **)&pinned, 5000, CU_MEMHOSTALLOC_PORTABLE));
    assert_cuda(cuMemHostGetDevicePointer(&device, pinned, 0));
    assert_int_equal(device, (uintptr_t)pinned);
    assert_cuda(cuMemHostGetFlags(&flags, pinned));
    assert_int_equal(flags, CU_MEMHOSTALLOC_PORTABLE);
    assert_cuda(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, device + 4999));
    assert_int_equal(type, CU_MEMORYTYPE_HOST);
    assert_cuda(cuMemFreeHost(pinned));
    assert_cuda_error(cuMemFreeHost(pinned), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemFreeHost(own), CUDA_ERROR_INVALID_VALUE);

    assert_cuda_error(cuMemHostUnregister(own), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    assert_cuda(cuMemHostRegister(own, 8192, 0));
    assert_cuda_error(cuMemHostRegister(own + 10, 100, 0),
                      CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    assert_cuda(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                      (CUdeviceptr)(uintptr_t)own));
    assert_cuda(cuMemsetD32((CUdeviceptr)(uintptr_t)own, 77, 10));
    assert_int_equal(own[9], 77);
    assert_cuda_error(cuMemHostUnregister(own + 4), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemHostUnregister(own));
    assert_cuda_error(cuMemHostRegister(NULL, 100, 0), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemHostRegister(own, SIZE_MAX, 0), CUDA_ERROR_INVALID_VALUE);
    free(own);
}

static void pointers_have_attributes(void **state)
{
    CUpointer_attribute names[] = {CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                   CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                                   CU_POINTER_ATTRIBUTE_RANGE_SIZE,
                                   CU_POINTER_ATTRIBUTE_IS_MANAGED};
    CUcontext context, current;
    unsigned int type, managed;
    CUdeviceptr memory;
    int ordinal, local;
    size_t size;
    void *values[] = {&context, &type, &ordinal, &size, &managed};

    (void)state;
    assert_cuda(cuCtxGetCurrent(&current));
    assert_cuda(cuMemAllocManaged(&memory, 300, CU_MEM_ATTACH_GLOBAL));
    *(int *)(uintptr_t)memory = 5; /* the program reaches it, too */
    assert_cuda(cuPointerGetAttributes(5, names, values, memory + 299));
    assert_ptr_equal(context, current);
    assert_int_equal(type, CU_MEMORYTYPE_DEVICE);
    assert_int_equal(ordinal, 0);
    assert_int_equal(size, 300);
    assert_int_equal(managed, 1);
    assert_cuda(cuPointerGetAttributes(5, names, values, (CUdeviceptr)(uintptr_t)&local));
    assert_null(context);
    assert_int_equal(type, 0);
    assert_int_equal(ordinal, CU_DEVICE_INVALID);
    assert_cuda_error(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                            (CUdeviceptr)(uintptr_t)&local),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuMemAllocManaged(&memory, 300, 0), CUDA_ERROR_INVALID_VALUE);
}

static void pool_memory_is_freed_in_order_with_its_stream(void **state)
{
    size_t before, after, total;
    CUmemoryPool pool;
    cuuint64_t used;
    CUdeviceptr memory;
    CUstream stream;

    (void)state;
    assert_cuda(cuMemGetInfo(&before, &total));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuDeviceGetDefaultMemPool(&pool, 0));
    assert_cuda(cuMemAllocAsync(&memory, 4096, stream));
    assert_cuda(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    assert_int_equal(used, 4096);
    assert_cuda(cuMemsetD8Async(memory, 1, 4096, stream));
    assert_cuda(cuMemFreeAsync(memory, stream));
    assert_cuda(cuStreamSynchronize(stream));
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(before, after);
    assert_cuda_error(cuMemFreeAsync(memory, stream), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &used));
    assert_int_equal(used, 4096);
}

static void allocating_is_refused_while_a_stream_captures(void **state)
{
    CUdeviceptr memory, before;
    CUstream stream;
    CUgraph graph;
    void *host;

    (void)state;
    assert_cuda(cuMemAlloc(&before, 64));
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    assert_cuda(cuMemAlloc(&memory, 64));
    assert_cuda(cuMemFree(memory));
    assert_cuda(cuStreamEndCapture(stream, &graph));
    assert_cuda(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    assert_cuda_error(cuMemAlloc(&memory, 64), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_cuda_error(cuMemHostAlloc(&host, 64, 0), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_cuda_error(cuMemFree(before), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_cuda_error(cuStreamEndCapture(stream, &graph), CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_cuda(cuMemFree(before));
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(memory_is_allocated_and_freed_once),
        in_context(copies_go_there_and_back),
        in_context(copies_outside_of_an_allocation_are_refused),
        in_context(fills_write_their_element),
        in_context(boxes_are_cut_out_of_pitched_memory),
        in_context(volumes_are_copied_plane_by_plane),
        in_context(host_memory_is_known_by_its_address),
        in_context(pointers_have_attributes),
        in_context(pool_memory_is_freed_in_order_with_its_stream),
        in_context(allocating_is_refused_while_a_stream_captures),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
