/* SPDX-License-Identifier: MIT */
/* Two devices of one process: memory of their own, copies between them, access of kernels. */
#include "driver_test.h"

struct device {
    CUcontext context;
    CUmodule module;
    CUfunction poke, add;
};

struct pair {
    struct device a, b;
};

static void use(const struct device *device)
{
    assert_cuda(cuCtxSetCurrent(device->context));
}

static void open_device(struct device *device, int ordinal)
{
    assert_cuda(cuDevicePrimaryCtxRetain(&device->context, ordinal));
    use(device);
    assert_cuda(cuModuleLoadData(&device->module, test_ptx));
    assert_cuda(cuModuleGetFunction(&device->poke, device->module, "poke"));
    assert_cuda(cuModuleGetFunction(&device->add, device->module, "vector_add"));
}

static int devices_open(void **state)
{
    struct pair *pair = calloc(1, sizeof(*pair));

    assert_non_null(pair);
    assert_cuda(cuInit(0));
    open_device(&pair->a, 0);
    open_device(&pair->b, 1);
    *state = pair;
    return 0;
}

static int devices_close(void **state)
{
    assert_cuda(cuDevicePrimaryCtxReset(0));
    assert_cuda(cuDevicePrimaryCtxReset(1));
    assert_cuda(cuCtxSetCurrent(NULL));
    free(*state);
    return 0;
}

static CUdeviceptr allocate_on(const struct device *device, size_t size)
{
    CUdeviceptr memory;

    use(device);
    assert_cuda(cuMemAlloc(&memory, size));
    return memory;
}

static CUresult poke_from(const struct device *device, CUdeviceptr where, int value)
{
    void *parameters[] = {&where, &value};

    use(device);
    assert_cuda(cuLaunchKernel(device->poke, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    return cuCtxSynchronize();
}

static int word_at(CUdeviceptr where)
{
    int value = 0;

    assert_cuda(cuMemcpyDtoH(&value, where, sizeof(value)));
    return value;
}

static void each_device_has_its_memory(void **state)
{
    const struct pair *pair = *state;
    size_t before, other, after, total;
    int ordinal = -1;
    CUdevice device;
    CUdeviceptr memory;

    use(&pair->b);
    assert_cuda(cuMemGetInfo(&other, &total));
    assert_int_equal(total, 64 << 20);
    use(&pair->a);
    assert_cuda(cuMemGetInfo(&before, &total));
    memory = allocate_on(&pair->a, 32 << 20);
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(before - after, 32 << 20);
    use(&pair->b);
    assert_cuda(cuCtxGetDevice(&device));
    assert_int_equal(device, 1);
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(after, other);
    assert_cuda(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory));
    assert_int_equal(ordinal, 0);
}

static void variables_are_each_devices_own(void **state)
{
    const struct pair *pair = *state;
    CUdeviceptr one, other;
    size_t size;

    use(&pair->a);
    assert_cuda(cuModuleGetGlobal(&one, &size, pair->a.module, "counter"));
    assert_cuda(poke_from(&pair->a, one, 1234));
    use(&pair->b);
    assert_cuda(cuModuleGetGlobal(&other, &size, pair->b.module, "counter"));
    assert_int_not_equal(one, other);
    assert_int_equal(word_at(other), 7);
    assert_int_equal(word_at(one), 1234);
}

static void memory_is_copied_between_devices(void **state)
{
    const struct pair *pair = *state;
    CUdeviceptr from = allocate_on(&pair->a, 4096), to = allocate_on(&pair->b, 4096);
    CUDA_MEMCPY3D_PEER box = {
        .srcMemoryType = CU_MEMORYTYPE_DEVICE,
        .srcDevice = to,
        .srcContext = pair->b.context,
        .srcPitch = 64,
        .srcHeight = 2,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
        .dstDevice = from,
        .dstContext = pair->a.context,
        .dstPitch = 128,
        .dstHeight = 2,
        .WidthInBytes = 16,
        .Height = 2,
        .Depth = 1,
    };
    CUstream stream;

    assert_cuda(cuMemsetD32(from, 42, 1024));
    assert_cuda(cuMemcpyPeer(to, pair->b.context, from, pair->a.context, 4096));
    assert_int_equal(word_at(to + 4092), 42);
    assert_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    assert_cuda(cuMemsetD32Async(to, 43, 1024, stream));
    assert_cuda(cuMemcpyPeerAsync(from, pair->a.context, to, pair->b.context, 64, stream));
    assert_cuda(cuStreamSynchronize(stream));
    assert_int_equal(word_at(from + 60), 43);
    assert_int_equal(word_at(from + 64), 42);
    assert_cuda(cuMemcpy3DPeer(&box));
    assert_int_equal(word_at(from + 128 + 12), 43);
    assert_int_equal(word_at(from + 128 + 16), 42);
    box.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    box.srcContext = (CUcontext)&box; /* an array knows its own */
    assert_cuda(cuArrayCreate(&box.srcArray, &(CUDA_ARRAY_DESCRIPTOR){
                                                 .Width = 16,
                                                 .Height = 2,
                                                 .Format = CU_AD_FORMAT_UNSIGNED_INT8,
                                                 .NumChannels = 1,
                                             }));
    assert_cuda(cuMemcpy3DPeer(&box));
    assert_cuda(cuArrayDestroy(box.srcArray));
    assert_cuda_error(cuMemcpyPeer(to, (CUcontext)&box, from, pair->a.context, 4),
                      CUDA_ERROR_INVALID_CONTEXT);
    assert_cuda_error(cuMemcpyPeer(to, pair->b.context, from, pair->a.context, 4097),
                      CUDA_ERROR_INVALID_VALUE);
}

static void access_is_asked_for(void **state)
{
    const struct pair *pair = *state;
    CUcontext own;
    int value = -1;

    assert_cuda(cuDeviceCanAccessPeer(&value, 0, 1));
    assert_int_equal(value, 1);
    assert_cuda(cuDeviceCanAccessPeer(&value, 1, 1));
    assert_int_equal(value, 0);
    assert_cuda_error(cuDeviceCanAccessPeer(&value, 0, 2), CUDA_ERROR_INVALID_DEVICE);
    assert_cuda(
        cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, 0, 1));
    assert_int_equal(value, 1);
    assert_cuda_error(
        cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 1, 1),
        CUDA_ERROR_INVALID_DEVICE);
    use(&pair->a);
    assert_cuda_error(cuCtxEnablePeerAccess(pair->b.context, 1), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuCtxEnablePeerAccess(pair->a.context, 0),
                      CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
    assert_cuda_error(cuCtxEnablePeerAccess(NULL, 0), CUDA_ERROR_INVALID_CONTEXT);
    assert_cuda_error(cuCtxDisablePeerAccess(pair->b.context), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
    assert_cuda(cuCtxEnablePeerAccess(pair->b.context, 0));
    assert_cuda_error(cuCtxEnablePeerAccess(pair->b.context, 0),
                      CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    assert_cuda(cuCtxDisablePeerAccess(pair->b.context));
    assert_cuda_error(cuCtxDisablePeerAccess(pair->b.context), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
    assert_cuda(cuCtxCreate(&own, NULL, 0, 0));
    assert_cuda_error(cuCtxEnablePeerAccess(pair->a.context, 0),
                      CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
    assert_cuda(cuCtxDestroy(own));
}

static void kernels_reach_a_peer_only_with_access(void **state)
{
    const struct pair *pair = *state;
    CUdeviceptr there = allocate_on(&pair->b, 4096);
    int access = -1;

    use(&pair->a);
    assert_cuda(cuPointerGetAttribute(&access, CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, there));
    assert_int_equal(access, CU_POINTER_ATTRIBUTE_ACCESS_FLAG_NONE);
    assert_cuda(cuCtxEnablePeerAccess(pair->b.context, 0));
    assert_cuda(cuPointerGetAttribute(&access, CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, there));
    assert_int_equal(access, CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE);
    assert_cuda(poke_from(&pair->a, there, 5));
    assert_int_equal(word_at(there), 5);
    /* Also what was allocated since, and not what was not. */
    there = allocate_on(&pair->b, 4096);
    assert_cuda(poke_from(&pair->a, there + 4092, 6));
    assert_int_equal(word_at(there + 4092), 6);
    assert_cuda(cuMemFree(there));
    assert_cuda_error(poke_from(&pair->a, there, 7), CUDA_ERROR_ILLEGAL_ADDRESS);
}

/* Access is one way. */
static void a_peer_has_no_access_back(void **state)
{
    const struct pair *pair = *state;
    CUdeviceptr here = allocate_on(&pair->a, 4096);

    assert_cuda(cuCtxEnablePeerAccess(pair->b.context, 0));
    assert_cuda_error(poke_from(&pair->b, here, 7), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void access_ends_when_it_is_disabled(void **state)
{
    const struct pair *pair = *state;
    CUdeviceptr there = allocate_on(&pair->b, 4096);

    use(&pair->a);
    assert_cuda(cuCtxEnablePeerAccess(pair->b.context, 0));
    assert_cuda(poke_from(&pair->a, there, 5));
    assert_cuda(cuCtxDisablePeerAccess(pair->b.context));
    assert_cuda_error(poke_from(&pair->a, there, 6), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void access_ends_with_the_peers_context(void **state)
{
    const struct pair *pair = *state;
    CUdeviceptr there = allocate_on(&pair->b, 4096);
    CUcontext own;

    assert_cuda(cuCtxCreate(&own, NULL, 0, 1));
    use(&pair->a);
    assert_cuda(cuCtxEnablePeerAccess(own, 0));
    assert_cuda(poke_from(&pair->a, there, 5));
    assert_cuda(cuCtxDestroy(own));
    assert_cuda_error(poke_from(&pair->a, there, 6), CUDA_ERROR_ILLEGAL_ADDRESS);
}

/* Whole vectors, of which each is elsewhere. */
static void a_kernel_computes_with_two_devices_memory(void **state)
{
    enum { COUNT = 10000 };
    const struct pair *pair = *state;
    CUdeviceptr x = allocate_on(&pair->a, COUNT * 4), y = allocate_on(&pair->b, COUNT * 4);
    CUdeviceptr sum = allocate_on(&pair->b, COUNT * 4);
    static float values[COUNT];
    unsigned int n = COUNT;
    void *parameters[] = {&sum, &x, &y, &n};

    for (int i = 0; i < COUNT; i++)
        values[i] = (float)i;
    assert_cuda(cuMemcpyHtoD(x, values, sizeof(values)));
    assert_cuda(cuMemcpyPeer(y, pair->b.context, x, pair->a.context, sizeof(values)));
    use(&pair->a);
    assert_cuda(cuCtxEnablePeerAccess(pair->b.context, 0));
    assert_cuda(
        cuLaunchKernel(pair->a.add, COUNT / 250, 1, 1, 250, 1, 1, 0, NULL, parameters, NULL));
    assert_cuda(cuMemcpyDtoH(values, sum, sizeof(values)));
    for (int i = 0; i < COUNT; i++)
        assert_true(values[i] == 2.0f * (float)i);
}

static void mappings_say_who_reaches_them(void **state)
{
    const struct pair *pair = *state;
    CUmemLocation first = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
    CUmemAllocationProp properties = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                      .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 1}};
    CUmemAccessDesc both[] = {
        {.location = properties.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE},
        {.location = first, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE}};
    CUmemGenericAllocationHandle handle;
    unsigned long long flags = 99;
    CUdeviceptr there;
    size_t size;

    assert_cuda(
        cuMemGetAllocationGranularity(&size, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    assert_cuda(cuMemCreate(&handle, size, &properties, 0));
    assert_cuda(cuMemAddressReserve(&there, size, 0, 0, 0));
    assert_cuda(cuMemMap(there, size, 0, handle, 0));
    assert_cuda(cuMemSetAccess(there, size, both, 2));
    assert_cuda(cuMemGetAccess(&flags, &first, there));
    assert_int_equal(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    assert_cuda(poke_from(&pair->a, there, 5));
    assert_cuda(poke_from(&pair->b, there + 4, 6));
    assert_int_equal(word_at(there), 5);
    assert_int_equal(word_at(there + 4), 6);
    both[1].flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    assert_cuda(cuMemSetAccess(there, size, &both[1], 1));
    assert_cuda(cuMemGetAccess(&flags, &first, there));
    assert_int_equal(flags, CU_MEM_ACCESS_FLAGS_PROT_NONE);
    /* A peer's access to what was allocated is not one to what was mapped. */
    use(&pair->a);
    assert_cuda(cuCtxEnablePeerAccess(pair->b.context, 0));
    assert_cuda_error(poke_from(&pair->a, there, 7), CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_cuda(cuMemUnmap(there, size));
    assert_cuda(cuMemRelease(handle));
    assert_cuda(cuMemAddressFree(there, size));
}

static void pools_say_who_reaches_them(void **state)
{
    const struct pair *pair = *state;
    CUmemAccessDesc access = {.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0},
                              .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    CUmemAccess_flags flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    CUdeviceptr before, after;
    CUmemoryPool pool;

    use(&pair->b);
    assert_cuda(cuDeviceGetDefaultMemPool(&pool, 1));
    assert_cuda(cuMemAllocFromPoolAsync(&before, 4096, pool, NULL));
    assert_cuda(cuMemPoolSetAccess(pool, &access, 1));
    assert_cuda(cuMemPoolGetAccess(&flags, pool, &access.location));
    assert_int_equal(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    assert_cuda(cuMemAllocFromPoolAsync(&after, 4096, pool, NULL));
    assert_cuda(cuStreamSynchronize(NULL));
    assert_cuda(poke_from(&pair->a, before, 5));
    assert_cuda(poke_from(&pair->a, after, 6));
    assert_int_equal(word_at(before), 5);
    assert_int_equal(word_at(after), 6);
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
    assert_cuda(cuMemPoolSetAccess(pool, &access, 1));
    assert_cuda_error(poke_from(&pair->a, before, 7), CUDA_ERROR_ILLEGAL_ADDRESS);
    access.location.id = 1;
    assert_cuda_error(cuMemPoolSetAccess(pool, &access, 1), CUDA_ERROR_INVALID_VALUE);
    use(&pair->b);
    assert_cuda(cuMemFree(before));
    assert_cuda(cuMemFree(after));
}

int main(void)
{
#define PEER_TEST(name) cmocka_unit_test_setup_teardown(name, devices_open, devices_close)
    const struct CMUnitTest tests[] = {
        PEER_TEST(each_device_has_its_memory),
        PEER_TEST(variables_are_each_devices_own),
        PEER_TEST(memory_is_copied_between_devices),
        PEER_TEST(access_is_asked_for),
        PEER_TEST(kernels_reach_a_peer_only_with_access),
        PEER_TEST(a_peer_has_no_access_back),
        PEER_TEST(access_ends_when_it_is_disabled),
        PEER_TEST(access_ends_with_the_peers_context),
        PEER_TEST(a_kernel_computes_with_two_devices_memory),
        PEER_TEST(mappings_say_who_reaches_them),
        PEER_TEST(pools_say_who_reaches_them),
    };

    setenv("VGPU_SOFT_DEVICES", "2", 1);
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
