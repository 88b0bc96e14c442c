/* SPDX-License-Identifier: MIT */
/* Managed memory, hints about it, and what pointers to memory of the host say of themselves. */
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/words.h"

static void test_both_sides(void)
{
    CUdeviceptr a, b, device = check_memory(WORDS * 4);
    CHECK(cuMemAllocManaged(&a, WORDS * 4, CU_MEM_ATTACH_GLOBAL));
    CHECK(cuMemAllocManaged(&b, WORDS * 4, CU_MEM_ATTACH_HOST));
    unsigned int *words = (unsigned int *)(uintptr_t)a, *others = (unsigned int *)(uintptr_t)b;
    CHECK(cuStreamAttachMemAsync(NULL, b, 0, CU_MEM_ATTACH_GLOBAL));
    CHECK(cuCtxSynchronize());
    for (int round = 0; round < 3; round++) {
        for (unsigned int i = 0; i < WORDS; i++)
            others[i] = i + (unsigned int)round;
        launch_fill(a, 10, NULL);
        launch_add(a, b, NULL);
        CHECK(cuCtxSynchronize());
        for (unsigned int i = 0; i < WORDS; i++)
            EXPECT(words[i] == 10 + i + 3 * (i + (unsigned int)round));
    }
    CHECK(cuMemcpyDtoD(device, a, WORDS * 4));
    CHECK(cuMemsetD32(a, 5, WORDS));
    CHECK(cuMemcpy(b, device, WORDS * 4));
    CHECK(cuCtxSynchronize());
    EXPECT(words[9] == 5 && others[9] == 10 + 9 + 3 * 11);
    CHECK(cuMemFree(a));
    CHECK(cuMemFree(b));
    CHECK(cuMemFree(device));
    EXPECT(cuMemFree(a) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAllocManaged(&a, 0, CU_MEM_ATTACH_GLOBAL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAllocManaged(&a, 64, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAllocManaged(&a, 64, CU_MEM_ATTACH_SINGLE) == CUDA_ERROR_INVALID_VALUE);
}

static int range_attribute(CUdeviceptr address, size_t bytes, CUmem_range_attribute attribute)
{
    int value = 99;
    CHECK(cuMemRangeGetAttribute(&value, sizeof(value), attribute, address, bytes));
    return value;
}

static void test_hints(void)
{
    const CUmemLocation device = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
    const CUmemLocation host = {.type = CU_MEM_LOCATION_TYPE_HOST};
    const size_t bytes = (size_t)WORDS * 4;
    CUdeviceptr memory, plain = check_memory(64);
    CHECK(cuMemAllocManaged(&memory, bytes, CU_MEM_ATTACH_GLOBAL));
    EXPECT(range_attribute(memory, bytes, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY) == 0);
    EXPECT(range_attribute(memory, bytes, CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION) ==
           CU_DEVICE_INVALID);
    CHECK(cuMemAdvise(memory, bytes, CU_MEM_ADVISE_SET_READ_MOSTLY, device));
    CHECK(cuMemAdvise(memory, bytes, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, device));
    CHECK(cuMemAdvise(memory, bytes, CU_MEM_ADVISE_SET_ACCESSED_BY, host));
    EXPECT(range_attribute(memory, bytes, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY) == 1);
    EXPECT(range_attribute(memory, bytes, CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION) == 0);
    CHECK(cuMemAdvise(memory, bytes, CU_MEM_ADVISE_UNSET_READ_MOSTLY, device));
    EXPECT(range_attribute(memory, bytes, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY) == 0);
    CHECK(cuMemPrefetchAsync(memory, bytes, device, 0, NULL));
    EXPECT(range_attribute(memory, bytes, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION) == 0);
    CHECK(cuMemPrefetchAsync(memory, bytes, host, 0, NULL));
    EXPECT(range_attribute(memory, bytes, CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION) ==
           CU_DEVICE_CPU);
    EXPECT(cuMemPrefetchAsync(plain, 64, device, 0, NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuCtxSynchronize());
    CHECK(cuMemFree(memory));
    CHECK(cuMemFree(plain));
}

struct said {
    CUcontext context;
    unsigned int type, managed;
    CUdeviceptr device;
    void *host;
    CUdeviceptr start;
    size_t bytes;
    int ordinal;
};

static struct said ask(CUdeviceptr address)
{
    struct said said = {0};
    CUpointer_attribute attributes[] = {
        CU_POINTER_ATTRIBUTE_CONTEXT,      CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
        CU_POINTER_ATTRIBUTE_IS_MANAGED,   CU_POINTER_ATTRIBUTE_DEVICE_POINTER,
        CU_POINTER_ATTRIBUTE_HOST_POINTER, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
        CU_POINTER_ATTRIBUTE_RANGE_SIZE,   CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    void *data[] = {&said.context, &said.type,  &said.managed, &said.device,
                    &said.host,    &said.start, &said.bytes,   &said.ordinal};
    CHECK(cuPointerGetAttributes(8, attributes, data, address));
    return said;
}

static void test_attributes(CUcontext context)
{
    CUdeviceptr managed;
    void *pinned, *own = malloc(1 << 20);
    unsigned int one = 1;
    CHECK(cuMemAllocManaged(&managed, 4096, CU_MEM_ATTACH_GLOBAL));
    CHECK(cuMemHostAlloc(&pinned, 4096, CU_MEMHOSTALLOC_PORTABLE));
    memset(own, 0, 1 << 20);
    CHECK(cuMemHostRegister(own, 1 << 20, CU_MEMHOSTREGISTER_PORTABLE));

    struct said said = ask(managed + 8);
    EXPECT(said.type == CU_MEMORYTYPE_DEVICE && said.managed == 1);
    EXPECT(said.device == managed + 8 && said.host == (void *)(uintptr_t)(managed + 8));
    EXPECT(said.start == managed && said.ordinal == 0);
    said = ask((uintptr_t)pinned + 100);
    EXPECT(said.type == CU_MEMORYTYPE_HOST && said.managed == 0 && said.context == context);
    EXPECT(said.device == (uintptr_t)pinned + 100 && said.host == (char *)pinned + 100);
    EXPECT(said.start == (uintptr_t)pinned);
    said = ask((uintptr_t)own + 100);
    EXPECT(said.type == CU_MEMORYTYPE_HOST && said.device == (uintptr_t)own + 100);
    CHECK(cuPointerSetAttribute(&one, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, managed));

    CHECK(cuMemFree(managed));
    CHECK(cuMemFreeHost(pinned));
    CHECK(cuMemHostUnregister(own));
    said = ask((uintptr_t)own);
    EXPECT(said.type == 0 && said.device == 0 && said.ordinal == -2);
    free(own);
}

static void test_device_says_so(void)
{
    static const CUdevice_attribute wanted[] = {
        CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY,
        CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS,
        CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM,
        CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        int value = 0;
        CHECK(cuDeviceGetAttribute(&value, wanted[i], 0));
        EXPECT(value == 1);
    }
}

int main(void)
{
    CUcontext context = check_context();
    CUmodule module = check_module();
    words_load(module);
    test_both_sides();
    test_hints();
    test_attributes(context);
    test_device_says_so();
    printf("managed memory: all right\n");
    return 0;
}
