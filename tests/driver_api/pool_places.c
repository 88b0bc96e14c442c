/* SPDX-License-Identifier: MIT */
/* Pools by the place of their memory, and what is refused of pools that nobody may share. */
#include <string.h>
#include <unistd.h>

#include "tests/driver_api/check.h"

static CUmemLocation device = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};

static CUmemPoolProps of_device(CUmemAllocationHandleType shared_as)
{
    CUmemPoolProps properties;
    memset(&properties, 0, sizeof(properties));
    properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.handleTypes = shared_as;
    properties.location = device;
    return properties;
}

static CUmemoryPool current(void)
{
    CUmemoryPool by_place = NULL, by_device = NULL;
    CHECK(cuMemGetMemPool(&by_place, &device, CU_MEM_ALLOCATION_TYPE_PINNED));
    CHECK(cuDeviceGetMemPool(&by_device, 0));
    EXPECT(by_place == by_device);
    return by_place;
}

static CUmemoryPool pool_of(CUdeviceptr address)
{
    CUmemoryPool pool = NULL;
    CHECK(cuPointerGetAttribute(&pool, CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, address));
    return pool;
}

/* The current pool is one and the same, whether it is asked for, and set, by device or place. */
static void test_current(void)
{
    CUmemPoolProps properties = of_device(CU_MEM_HANDLE_TYPE_NONE);
    CUmemoryPool own, first, second;
    CUdeviceptr one, other;
    CHECK(cuDeviceGetDefaultMemPool(&own, 0));
    EXPECT(current() == own);
    CHECK(cuMemPoolCreate(&first, &properties));
    CHECK(cuMemPoolCreate(&second, &properties));
    CHECK(cuMemSetMemPool(&device, CU_MEM_ALLOCATION_TYPE_PINNED, first));
    EXPECT(current() == first);
    CHECK(cuMemAllocAsync(&one, 4096, NULL));
    EXPECT(pool_of(one) == first);
    CHECK(cuDeviceSetMemPool(0, second));
    EXPECT(current() == second);
    CHECK(cuMemAllocAsync(&other, 4096, NULL));
    EXPECT(pool_of(other) == second && pool_of(one) == first);
    CHECK(cuMemSetMemPool(&device, CU_MEM_ALLOCATION_TYPE_PINNED, own));
    EXPECT(current() == own);
    CHECK(cuMemFreeAsync(one, NULL));
    CHECK(cuMemFreeAsync(other, NULL));
    CHECK(cuStreamSynchronize(NULL));
    CHECK(cuMemPoolDestroy(first));
    CHECK(cuMemPoolDestroy(second));
    EXPECT(current() == own);
}

static void test_wrong_places(void)
{
    const CUmemAllocationType pinned = CU_MEM_ALLOCATION_TYPE_PINNED;
    CUmemLocation none = {.type = CU_MEM_LOCATION_TYPE_INVALID}, far = device;
    CUmemoryPool pool, own = current();
    far.id = 4711;
    EXPECT(cuMemGetMemPool(NULL, &device, pinned) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemGetMemPool(&pool, NULL, pinned) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemGetMemPool(&pool, &none, pinned) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemGetMemPool(&pool, &far, pinned) != CUDA_SUCCESS);
    EXPECT(cuMemGetMemPool(&pool, &device, CU_MEM_ALLOCATION_TYPE_INVALID) ==
           CUDA_ERROR_INVALID_VALUE);
    far.type = CU_MEM_LOCATION_TYPE_HOST;
    EXPECT(cuMemGetMemPool(&pool, &far, (CUmemAllocationType)99) == CUDA_ERROR_INVALID_VALUE);
    far = device;
    far.id = 4711;
    EXPECT(cuMemSetMemPool(NULL, pinned, own) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemSetMemPool(&none, pinned, own) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemSetMemPool(&far, pinned, own) != CUDA_SUCCESS);
    EXPECT(cuMemSetMemPool(&device, CU_MEM_ALLOCATION_TYPE_INVALID, own) ==
           CUDA_ERROR_INVALID_VALUE);
    /* A pool of pinned memory cannot give managed memory. */
    EXPECT(cuMemSetMemPool(&device, CU_MEM_ALLOCATION_TYPE_MANAGED, own) != CUDA_SUCCESS);
    EXPECT(cuMemSetMemPool(&device, pinned, NULL) != CUDA_SUCCESS);
    EXPECT(current() == own);
}

/* Pools that were not made to be shared are not, and neither is their memory. */
static void test_unshared(void)
{
    CUmemPoolProps properties = of_device(CU_MEM_HANDLE_TYPE_NONE);
    CUmemPoolPtrExportData data;
    CUmemoryPool pool;
    CUdeviceptr address, plain = check_memory(4096);
    int file = -1;
    CHECK(cuMemPoolCreate(&pool, &properties));
    CHECK(cuMemAllocFromPoolAsync(&address, 4096, pool, NULL));
    CHECK(cuStreamSynchronize(NULL));
    EXPECT(cuMemPoolExportToShareableHandle(&file, pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                                            0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(file == -1);
    EXPECT(cuMemPoolExportPointer(&data, address) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemPoolExportPointer(&data, plain) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemPoolExportPointer(NULL, address) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemFreeAsync(address, NULL));
    CHECK(cuStreamSynchronize(NULL));
    CHECK(cuMemPoolDestroy(pool));
    CHECK(cuMemFree(plain));
}

/* A pool may be made for a way of sharing if the device says so, and is then exported that way. */
static void test_shared_as_the_device_says(void)
{
    const CUmemAllocationHandleType as_file = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    CUmemPoolProps properties = of_device(as_file);
    CUmemPoolPtrExportData data;
    CUmemoryPool pool = NULL;
    CUdeviceptr address;
    int kinds = 0, file = -1;
    CHECK(cuDeviceGetAttribute(&kinds, CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES, 0));
    if (!(kinds & (int)as_file)) {
        EXPECT(cuMemPoolCreate(&pool, &properties) != CUDA_SUCCESS);
        return;
    }
    CHECK(cuMemPoolCreate(&pool, &properties));
    CHECK(cuMemPoolExportToShareableHandle(&file, pool, as_file, 0));
    EXPECT(file >= 0);
    CHECK(cuMemAllocFromPoolAsync(&address, 4096, pool, NULL));
    CHECK(cuStreamSynchronize(NULL));
    CHECK(cuMemPoolExportPointer(&data, address));
    CHECK(cuMemFreeAsync(address, NULL));
    CHECK(cuStreamSynchronize(NULL));
    CHECK(cuMemPoolDestroy(pool));
    close(file);
}

int main(void)
{
    check_context();
    test_current();
    test_wrong_places();
    test_unshared();
    test_shared_as_the_device_says();
    printf("pool_places: all is well\n");
    return 0;
}
