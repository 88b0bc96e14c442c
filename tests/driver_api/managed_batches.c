/* SPDX-License-Identifier: MIT */
/* Several ranges of managed memory in one call, and several questions about one range. */
#include <stdint.h>
#include <string.h>

#include "tests/driver_api/words.h"

enum { RANGES = 3, ATTRIBUTES = 8, BYTES = WORDS * 4 };

static CUmemLocation device = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
static CUmemLocation host = {.type = CU_MEM_LOCATION_TYPE_HOST};

static int attribute_of(CUdeviceptr address, size_t bytes, CUmem_range_attribute attribute)
{
    int value = 99;
    CHECK(cuMemRangeGetAttribute(&value, sizeof(value), attribute, address, bytes));
    return value;
}

/* The answers to all questions at once are those to each of them. */
static void expect_alike(CUdeviceptr address, size_t bytes)
{
    CUmem_range_attribute attributes[] = {CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY,
                                          CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION,
                                          CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION,
                                          CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE,
                                          CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE};
    enum { COUNT = sizeof(attributes) / sizeof(attributes[0]) };
    int values[COUNT];
    void *places[COUNT];
    size_t sizes[COUNT];
    for (int i = 0; i < COUNT; i++) {
        values[i] = 99;
        places[i] = &values[i];
        sizes[i] = sizeof(values[i]);
    }
    CHECK(cuMemRangeGetAttributes(places, sizes, attributes, COUNT, address, bytes));
    for (int i = 0; i < COUNT; i++)
        EXPECT(values[i] == attribute_of(address, bytes, attributes[i]));
}

static void test_questions(CUdeviceptr memory)
{
    CUmem_range_attribute attributes[] = {CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY,
                                          CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY,
                                          CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION};
    int accessors[3] = {9, 9, 9}, mostly = 9, preferred = 9;
    void *places[] = {accessors, &mostly, &preferred};
    size_t sizes[] = {sizeof(accessors), sizeof(mostly), sizeof(preferred)};
    expect_alike(memory, BYTES);
    CHECK(cuMemAdvise(memory, BYTES, CU_MEM_ADVISE_SET_ACCESSED_BY, device));
    CHECK(cuMemAdvise(memory, BYTES, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, host));
    CHECK(cuMemAdvise(memory, BYTES / 2, CU_MEM_ADVISE_SET_READ_MOSTLY, device));
    CHECK(cuMemRangeGetAttributes(places, sizes, attributes, 3, memory, BYTES));
    EXPECT(accessors[0] == 0 && accessors[1] == CU_DEVICE_INVALID &&
           accessors[2] == CU_DEVICE_INVALID);
    EXPECT(mostly == 0); /* of one half only */
    EXPECT(preferred == CU_DEVICE_CPU);
    CHECK(cuMemRangeGetAttributes(places + 1, sizes + 1, attributes + 1, 2, memory, BYTES / 2));
    EXPECT(mostly == 1 && preferred == CU_DEVICE_CPU);
    expect_alike(memory, BYTES);
    expect_alike(memory, BYTES / 2);
    sizes[2] = 3;
    EXPECT(cuMemRangeGetAttributes(places, sizes, attributes, 3, memory, BYTES) ==
           CUDA_ERROR_INVALID_VALUE);
    sizes[2] = sizeof(preferred);
    sizes[0] = 10; /* no whole number of devices */
    EXPECT(cuMemRangeGetAttributes(places, sizes, attributes, 3, memory, BYTES) ==
           CUDA_ERROR_INVALID_VALUE);
    sizes[0] = sizeof(accessors);
    EXPECT(cuMemRangeGetAttributes(NULL, sizes, attributes, 3, memory, BYTES) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemRangeGetAttributes(places, NULL, attributes, 3, memory, BYTES) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemRangeGetAttributes(places, sizes, NULL, 3, memory, BYTES) ==
           CUDA_ERROR_INVALID_VALUE);
}

struct batch {
    CUdeviceptr starts[RANGES];
    size_t sizes[RANGES];
};

static int last_prefetch(const struct batch *batch, int range)
{
    return attribute_of(batch->starts[range], batch->sizes[range],
                        CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION);
}

typedef CUresult prefetch_batch(CUdeviceptr *starts, size_t *sizes, size_t count,
                                CUmemLocation *places, size_t *first, size_t place_count,
                                unsigned long long flags, CUstream stream);

/* Each place is that of the ranges from its index to the next one. */
static void test_prefetch(struct batch *batch, prefetch_batch *prefetch, CUstream stream)
{
    CUmemLocation places[] = {device, host};
    size_t first[] = {0, 2}, whole[] = {0};
    CHECK(prefetch(batch->starts, batch->sizes, RANGES, places, first, 2, 0, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(last_prefetch(batch, 0) == 0 && last_prefetch(batch, 1) == 0);
    EXPECT(last_prefetch(batch, 2) == CU_DEVICE_CPU);
    CHECK(prefetch(batch->starts, batch->sizes, RANGES, places, whole, 1, 0, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(last_prefetch(batch, 2) == 0);
    first[1] = 0; /* no range is left to the first */
    CHECK(prefetch(batch->starts, batch->sizes, RANGES, places, first, 2, 0, stream));
    first[1] = RANGES;
    EXPECT(prefetch(batch->starts, batch->sizes, RANGES, places, first, 2, 0, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    whole[0] = 1;
    EXPECT(prefetch(batch->starts, batch->sizes, RANGES, places, whole, 1, 0, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    whole[0] = 0;
    EXPECT(prefetch(batch->starts, batch->sizes, RANGES, places, whole, 1, 1, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(prefetch(batch->starts, batch->sizes, RANGES, places, whole, 1, 0, CU_STREAM_LEGACY) !=
           CUDA_SUCCESS);
    EXPECT(prefetch(batch->starts, batch->sizes, 1, places, first, 2, 0, stream) ==
           CUDA_ERROR_INVALID_VALUE); /* more places than ranges */
}

/* What is written after a range was discarded is there; so is what was not discarded. */
static void test_discard(struct batch *batch, CUdeviceptr beside, CUstream stream)
{
    CUmemLocation places[] = {host};
    size_t first[] = {0};
    const unsigned int *words = (const unsigned int *)(uintptr_t)batch->starts[0];
    const unsigned int *kept = (const unsigned int *)(uintptr_t)beside;
    launch_fill(beside, 500, stream);
    launch_fill(batch->starts[0], 5, stream);
    CHECK(cuMemDiscardBatchAsync(batch->starts, batch->sizes, RANGES, 0, stream));
    launch_fill(batch->starts[0], 77, stream);
    CHECK(cuStreamSynchronize(stream));
    EXPECT(words[0] == 77 && words[WORDS - 1] == 77 + WORDS - 1);
    CHECK(cuMemDiscardAndPrefetchBatchAsync(batch->starts, batch->sizes, RANGES, places, first, 1,
                                            0, stream));
    launch_fill(batch->starts[0], 78, stream);
    CHECK(cuStreamSynchronize(stream));
    EXPECT(words[0] == 78 && words[WORDS - 1] == 78 + WORDS - 1);
    EXPECT(last_prefetch(batch, 0) == CU_DEVICE_CPU);
    EXPECT(kept[0] == 500 && kept[WORDS - 1] == 500 + WORDS - 1);
    EXPECT(cuMemDiscardBatchAsync(batch->starts, batch->sizes, RANGES, 1, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemDiscardBatchAsync(NULL, batch->sizes, RANGES, 0, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemDiscardBatchAsync(batch->starts, NULL, RANGES, 0, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemDiscardBatchAsync(batch->starts, batch->sizes, RANGES, 0, CU_STREAM_LEGACY) !=
           CUDA_SUCCESS);
}

/* One range that is not managed is enough. */
static void test_unmanaged(struct batch batch, CUstream stream)
{
    CUmemLocation places[] = {device};
    size_t first[] = {0};
    CUdeviceptr plain = check_memory(BYTES);
    batch.starts[1] = plain;
    EXPECT(cuMemPrefetchBatchAsync(batch.starts, batch.sizes, RANGES, places, first, 1, 0,
                                   stream) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemDiscardBatchAsync(batch.starts, batch.sizes, RANGES, 0, stream) ==
           CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMemFree(plain));
}

int main(void)
{
    struct batch batch;
    CUdeviceptr questioned, beside;
    CUstream stream;
    int concurrent = 0;
    check_context();
    words_load(check_module());
    CHECK(cuDeviceGetAttribute(&concurrent, CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS, 0));
    if (!concurrent)
        return 77; /* no batches there */
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemAllocManaged(&questioned, BYTES, CU_MEM_ATTACH_GLOBAL));
    CHECK(cuMemAllocManaged(&beside, BYTES, CU_MEM_ATTACH_GLOBAL));
    for (int i = 0; i < RANGES; i++) {
        batch.sizes[i] = BYTES;
        CHECK(cuMemAllocManaged(&batch.starts[i], BYTES, CU_MEM_ATTACH_GLOBAL));
    }
    test_questions(questioned);
    test_prefetch(&batch, cuMemPrefetchBatchAsync, stream);
    test_prefetch(&batch, cuMemDiscardAndPrefetchBatchAsync, stream);
    test_discard(&batch, beside, stream);
    test_unmanaged(batch, stream);
    printf("managed_batches: all is well\n");
    return 0;
}
