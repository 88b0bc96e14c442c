/* SPDX-License-Identifier: MIT */
/* What a device says of itself: whichever way it is asked, it says the same. */
#include <string.h>

#include "tests/driver_api/check.h"

/* Old programs still ask the deprecated ones. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

enum { NO_DEVICE = 4711, OPERATIONS = CU_ATOMIC_OPERATION_MAX };

static int attribute(CUdevice_attribute which)
{
    int value = -1;
    CHECK(cuDeviceGetAttribute(&value, which, 0));
    return value;
}

static void test_capability(void)
{
    int major = -1, minor = -1;
    CHECK(cuDeviceComputeCapability(&major, &minor, 0));
    EXPECT(major == attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
    EXPECT(minor == attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
    EXPECT(cuDeviceComputeCapability(&major, &minor, NO_DEVICE) == CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceComputeCapability(NULL, &minor, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuDeviceComputeCapability(&major, NULL, 0) == CUDA_ERROR_INVALID_VALUE);
}

static void test_properties(void)
{
    CUdevprop is;
    memset(&is, 0xff, sizeof(is));
    CHECK(cuDeviceGetProperties(&is, 0));
    EXPECT(is.maxThreadsPerBlock == attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK));
    EXPECT(is.maxThreadsDim[0] == attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X));
    EXPECT(is.maxThreadsDim[1] == attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y));
    EXPECT(is.maxThreadsDim[2] == attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z));
    EXPECT(is.maxGridSize[0] == attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X));
    EXPECT(is.maxGridSize[1] == attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y));
    EXPECT(is.maxGridSize[2] == attribute(CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z));
    EXPECT(is.sharedMemPerBlock == attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK));
    EXPECT(is.totalConstantMemory == attribute(CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY));
    EXPECT(is.SIMDWidth == attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE));
    EXPECT(is.memPitch == attribute(CU_DEVICE_ATTRIBUTE_MAX_PITCH));
    EXPECT(is.regsPerBlock == attribute(CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK));
    EXPECT(is.clockRate == attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE));
    EXPECT(is.textureAlign == attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT));
    EXPECT(cuDeviceGetProperties(&is, NO_DEVICE) == CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetProperties(NULL, 0) == CUDA_ERROR_INVALID_VALUE);
}

static void test_identity(void)
{
    static const CUuuid nobody;
    CUuuid once, again;
    char luid[8] = {0};
    unsigned int mask = 0;
    memset(&once, 0, sizeof(once));
    memset(&again, 0xff, sizeof(again));
    CHECK(cuDeviceGetUuid(&once, 0));
    CHECK(cuDeviceGetUuid(&again, 0));
    EXPECT(memcmp(&once, &again, sizeof(once)) == 0);
    EXPECT(memcmp(&once, &nobody, sizeof(once)) != 0);
    EXPECT(cuDeviceGetUuid(&once, NO_DEVICE) == CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetUuid(NULL, 0) == CUDA_ERROR_INVALID_VALUE);
    /* Whether it has a LUID is its system's business. */
    EXPECT(cuDeviceGetLuid(luid, &mask, NO_DEVICE) != CUDA_SUCCESS);
}

/* A context can be held to a number of multiprocessors if, and only if, the device says so. */
static void test_affinity(void)
{
    CUexecAffinityParam half = {.type = CU_EXEC_AFFINITY_TYPE_SM_COUNT};
    CUctxCreateParams parameters = {.execAffinityParams = &half, .numExecAffinityParams = 1};
    CUcontext context;
    int supported = -1;
    CHECK(cuDeviceGetExecAffinitySupport(&supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0));
    EXPECT(supported == 0 || supported == 1);
    half.param.smCount.val = 1;
    if (!supported)
        EXPECT(cuCtxCreate(&context, &parameters, 0, 0) == CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY);
    EXPECT(cuDeviceGetExecAffinitySupport(&supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, NO_DEVICE) ==
           CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetExecAffinitySupport(NULL, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuDeviceGetExecAffinitySupport(&supported, (CUexecAffinityType)99, 0));
    EXPECT(supported == 0);
}

/* No known capability, all of them. */
static const unsigned int all_capabilities =
    CU_ATOMIC_CAPABILITY_SIGNED | CU_ATOMIC_CAPABILITY_UNSIGNED | CU_ATOMIC_CAPABILITY_REDUCTION |
    CU_ATOMIC_CAPABILITY_SCALAR_32 | CU_ATOMIC_CAPABILITY_SCALAR_64 |
    CU_ATOMIC_CAPABILITY_SCALAR_128 | CU_ATOMIC_CAPABILITY_VECTOR_32x4;

static void test_atomics_of_the_host(void)
{
    CUatomicOperation operations[OPERATIONS];
    unsigned int all[OPERATIONS], one;
    for (int i = 0; i < OPERATIONS; i++) {
        operations[i] = (CUatomicOperation)i;
        all[i] = ~0u;
    }
    CHECK(cuDeviceGetHostAtomicCapabilities(all, operations, OPERATIONS, 0));
    for (int i = 0; i < OPERATIONS; i++) {
        one = ~0u;
        CHECK(cuDeviceGetHostAtomicCapabilities(&one, &operations[i], 1, 0));
        EXPECT(one == all[i] && (one & ~all_capabilities) == 0);
        /* All there are is what the attribute promises. */
        if (attribute(CU_DEVICE_ATTRIBUTE_HOST_NATIVE_ATOMIC_SUPPORTED) &&
            i == CU_ATOMIC_OPERATION_INTEGER_ADD)
            EXPECT(one & CU_ATOMIC_CAPABILITY_SCALAR_32);
    }
    EXPECT(cuDeviceGetHostAtomicCapabilities(all, operations, OPERATIONS, NO_DEVICE) ==
           CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetHostAtomicCapabilities(NULL, operations, 1, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuDeviceGetHostAtomicCapabilities(all, NULL, 1, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuDeviceGetHostAtomicCapabilities(all, operations, 0, 0) == CUDA_ERROR_INVALID_VALUE);
    operations[1] = (CUatomicOperation)99;
    EXPECT(cuDeviceGetHostAtomicCapabilities(all, operations, 2, 0) == CUDA_ERROR_INVALID_VALUE);
}

/* A device is no peer of itself. */
static void test_no_peer_of_itself(void)
{
    CUatomicOperation operation = CU_ATOMIC_OPERATION_INTEGER_ADD;
    unsigned int capabilities = 0;
    int value = 0;
    EXPECT(cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 0) ==
           CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0,
                                   NO_DEVICE) == CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetP2PAttribute(&value, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, NO_DEVICE,
                                   0) == CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetP2PAtomicCapabilities(&capabilities, &operation, 1, 0, 0) ==
           CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGetP2PAtomicCapabilities(&capabilities, &operation, 1, 0, NO_DEVICE) ==
           CUDA_ERROR_INVALID_DEVICE);
}

/* Where there is a second device, what is said of the way to it agrees. */
static void test_peer(void)
{
    CUatomicOperation operation = CU_ATOMIC_OPERATION_INTEGER_ADD;
    unsigned int capabilities = ~0u;
    int count = 0, can = -1, reaches = -1, atomics = -1, value;
    CHECK(cuDeviceGetCount(&count));
    if (count < 2)
        return;
    CHECK(cuDeviceCanAccessPeer(&can, 0, 1));
    CHECK(cuDeviceGetP2PAttribute(&reaches, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1));
    EXPECT(can == reaches);
    CHECK(cuDeviceGetP2PAttribute(&atomics, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, 0, 1));
    CHECK(cuDeviceGetP2PAtomicCapabilities(&capabilities, &operation, 1, 0, 1));
    EXPECT((capabilities & ~all_capabilities) == 0);
    EXPECT(!atomics || capabilities & CU_ATOMIC_CAPABILITY_SCALAR_32);
    EXPECT(cuDeviceGetP2PAttribute(NULL, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuDeviceGetP2PAttribute(&value, (CUdevice_P2PAttribute)99, 0, 1) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuDeviceGetP2PAtomicCapabilities(&capabilities, &operation, 0, 0, 1) ==
           CUDA_ERROR_INVALID_VALUE);
    operation = (CUatomicOperation)99;
    EXPECT(cuDeviceGetP2PAtomicCapabilities(&capabilities, &operation, 1, 0, 1) ==
           CUDA_ERROR_INVALID_VALUE);
}

int main(void)
{
    CHECK(cuInit(0)); /* none of this needs a context */
    test_capability();
    test_properties();
    test_identity();
    test_affinity();
    test_atomics_of_the_host();
    test_no_peer_of_itself();
    test_peer();
    printf("devices: all is well\n");
    return 0;
}
