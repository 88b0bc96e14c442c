/* SPDX-License-Identifier: MIT */
/* What a device denies by its attributes, the functions refuse. A device that promises more passes
 * without those cases: they are about devices that deny. */
#include <string.h>

#include "tests/driver_api/check.h"

static int attribute(CUdevice_attribute which)
{
    int value = 0;
    CHECK(cuDeviceGetAttribute(&value, which, 0));
    return value;
}

static void test_peers(CUcontext context)
{
    int can = 7;
    CHECK(cuDeviceCanAccessPeer(&can, 0, 0));
    EXPECT(can == 0);
    EXPECT(cuCtxEnablePeerAccess(context, 0) == CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
    EXPECT(cuCtxDisablePeerAccess(context) == CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
    EXPECT(cuCtxEnablePeerAccess(NULL, 0) != CUDA_SUCCESS);
}

static void test_processes(void)
{
    CUipcMemHandle memory_handle;
    CUipcEventHandle event_handle;
    CUdeviceptr memory = check_memory(4096);
    CUevent event;
    if (attribute(CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED))
        return;
    CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    EXPECT(cuIpcGetMemHandle(&memory_handle, memory) != CUDA_SUCCESS);
    EXPECT(cuIpcGetEventHandle(&event_handle, event) != CUDA_SUCCESS);
    CHECK(cuEventDestroy(event));
    CHECK(cuMemFree(memory));
}

/* Programs ask for such memory without looking at the attribute: that works, its export does not.
 */
static void test_exports(void)
{
    CUmemAllocationProp properties;
    CUmemGenericAllocationHandle handle;
    CUmemoryPool pool;
    CUmemPoolProps of_pool;
    size_t step;
    int descriptor = -1;
    memset(&of_pool, 0, sizeof(of_pool));
    of_pool.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    of_pool.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    of_pool.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    if (attribute(CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES) == 0)
        EXPECT(cuMemPoolCreate(&pool, &of_pool) != CUDA_SUCCESS);
    if (attribute(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED))
        return;
    memset(&properties, 0, sizeof(properties));
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    CHECK(cuMemGetAllocationGranularity(&step, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    CHECK(cuMemCreate(&handle, step, &properties, 0));
    EXPECT(cuMemExportToShareableHandle(
               &descriptor, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0) != CUDA_SUCCESS);
    CHECK(cuMemRelease(handle));
}

static void test_arrays_without_memory(void)
{
    CUDA_ARRAY3D_DESCRIPTOR is = {256, 256, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_SPARSE};
    CUarray array;
    if (!attribute(CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED))
        EXPECT(cuArray3DCreate(&array, &is) != CUDA_SUCCESS);
    is.Flags = CUDA_ARRAY3D_DEFERRED_MAPPING;
    if (!attribute(CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED))
        EXPECT(cuArray3DCreate(&array, &is) != CUDA_SUCCESS);
}

static void test_multicast(void)
{
    CUmulticastObjectProp properties = {.numDevices = 1, .size = 1 << 21};
    size_t step;
    if (!attribute(CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED))
        EXPECT(cuMulticastGetGranularity(&step, &properties, CU_MULTICAST_GRANULARITY_MINIMUM) !=
               CUDA_SUCCESS);
}

int main(void)
{
    CUcontext context = check_context();
    test_peers(context);
    test_processes();
    test_exports();
    test_arrays_without_memory();
    test_multicast();
    printf("sharing: all is well\n");
    return 0;
}
