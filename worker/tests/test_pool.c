/* SPDX-License-Identifier: MIT */
/* Memory pools: what they reserve is charged, cleared, and given back. */
#include <string.h>

#include "worker/context.h"
#include "worker/memory/spans.h"
#include "worker/tests/fixture.h"

enum { POOL = OTHER + 1, POOL2 };

static struct vgpu_channel *open_with_pool(void)
{
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(vgpu_send_cuMemPoolCreate(channel, 0, POOL, 0, 0), 0);
    return channel;
}

static uint64_t allocate(struct vgpu_channel *channel, uint64_t bytes)
{
    uint64_t address = 0;
    assert_int_equal(vgpu_send_cuMemAllocFromPoolAsync(channel, CONTEXT, &address, bytes, POOL, 0),
                     0);
    return address;
}

static void what_a_pool_reserves_is_charged_until_it_is_trimmed(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_with_pool();
    uint64_t address = allocate(channel, 1000), left, total;
    assert_int_equal(channel->ledger.used, FAKE_POOL_STEP);
    assert_int_equal(vgpu_send_cuMemFreeAsync(channel, CONTEXT, address, 0), 0);
    assert_int_equal(channel->ledger.used, FAKE_POOL_STEP);
    assert_int_equal(vgpu_send_cuMemGetInfo(channel, CONTEXT, &left, &total), 0);
    assert_int_equal(left, QUOTA);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

static void a_pool_keeps_what_is_below_its_threshold(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_with_pool();
    uint64_t value = 0;
    assert_int_equal(vgpu_send_cuMemPoolSetAttribute(channel, 0, POOL,
                                                     CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, UINT64_MAX),
                     0);
    assert_int_equal(
        vgpu_send_cuMemFreeAsync(channel, CONTEXT, allocate(channel, 3 * FAKE_POOL_STEP), 0), 0);
    assert_int_equal(vgpu_send_cuMemPoolGetAttribute(channel, 0, &value, POOL,
                                                     CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT),
                     0);
    assert_int_equal(value, 3 * FAKE_POOL_STEP);
    assert_int_equal(vgpu_send_cuMemPoolGetAttribute(channel, 0, &value, POOL,
                                                     CU_MEMPOOL_ATTR_RELEASE_THRESHOLD),
                     0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(vgpu_send_cuMemPoolTrimTo(channel, 0, POOL, FAKE_POOL_STEP), 0);
    assert_int_equal(channel->ledger.used, FAKE_POOL_STEP);
    fixture_close(channel);
}

static void what_is_free_in_a_pool_is_not_charged_again(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_with_pool();
    assert_int_equal(vgpu_send_cuMemPoolSetAttribute(channel, 0, POOL,
                                                     CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, UINT64_MAX),
                     0);
    uint64_t address = allocate(channel, QUOTA);
    assert_int_equal(channel->ledger.used, QUOTA);
    assert_int_equal(vgpu_send_cuMemFreeAsync(channel, CONTEXT, address, 0), 0);
    allocate(channel, QUOTA);
    assert_int_equal(channel->ledger.used, QUOTA);
    assert_int_equal(vgpu_send_cuMemAllocFromPoolAsync(channel, CONTEXT, &address, 1, POOL, 0),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(channel->ledger.used, QUOTA);
    assert_int_equal(channel->page.memory_charged, QUOTA);
    fixture_close(channel);
}

static void freed_memory_of_pools_makes_room_for_others(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_with_pool();
    uint64_t address = allocate(channel, QUOTA);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 1), CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(vgpu_send_cuMemFree(channel, CONTEXT, address), 0);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, QUOTA), 0);
    assert_int_equal(channel->ledger.used, QUOTA);
    /* memory from cuMemAlloc may be freed in a stream, too */
    assert_int_equal(vgpu_send_cuMemFreeAsync(channel, CONTEXT, address, 0), 0);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

/* The rest of the step in which a pool grows is charged with it, or the pool does not grow. */
static void a_pool_that_grows_above_the_quota_is_undone(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_with_pool();
    uint64_t address;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, QUOTA - 100), 0);
    assert_int_equal(vgpu_send_cuMemAllocFromPoolAsync(channel, CONTEXT, &address, 50, POOL, 0),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(channel->ledger.used, QUOTA - 100);
    assert_int_equal(fake.memory, QUOTA - 100);
    assert_int_equal(
        vgpu_send_cuMemAllocFromPoolAsync(channel, CONTEXT, &address, UINT64_MAX, POOL, 0),
        CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(vgpu_send_cuMemAllocFromPoolAsync(channel, CONTEXT, &address, 0, POOL, 0),
                     CUDA_ERROR_INVALID_VALUE);
    fixture_close(channel);
}

static void new_memory_is_cleared_in_the_stream_and_old_is_not(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_with_pool();
    fake.queued = true;
    uint8_t *memory = (uint8_t *)(uintptr_t)allocate(channel, 100);
    assert_int_equal(memory[0], 0xdd);
    assert_int_equal(fake_run(NULL, 10), 1);
    assert_int_equal(memory[0], 0);
    assert_int_equal(memory[99], 0);
    fixture_close(channel);
}

static void a_destroyed_pool_ends_with_its_last_memory(void **state)
{
    (void)state;
    struct vgpu_channel *channel = open_with_pool();
    uint64_t address = allocate(channel, 100);
    vgpu_contexts_are_done(&channel->worker); /* makes what it needs */
    size_t objects = fake.objects;
    assert_int_equal(vgpu_send_cuMemPoolDestroy(channel, 0, POOL), 0);
    assert_int_equal(fake.objects, objects);
    assert_int_equal(vgpu_send_cuMemPoolTrimTo(channel, 0, POOL, 0), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(channel->ledger.used, FAKE_POOL_STEP);
    assert_int_equal(vgpu_send_cuMemFreeAsync(channel, CONTEXT, address, 0), 0);
    vgpu_pools_tidy(&channel->worker);
    assert_int_equal(fake.objects, objects - 2);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

static void the_default_pool_is_one_and_stays(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0;
    assert_int_equal(vgpu_send_vgpuMemPoolDefault(channel, 0, POOL), 0);
    assert_int_equal(vgpu_send_vgpuMemPoolDefault(channel, 0, POOL2), 0);
    assert_int_equal(vgpu_send_cuMemPoolDestroy(channel, 0, POOL), 0);
    assert_int_equal(vgpu_send_cuMemAllocFromPoolAsync(channel, CONTEXT, &address, 1, POOL2, 0), 0);
    assert_int_equal(channel->ledger.used, FAKE_POOL_STEP);
    fixture_close(channel);
}

static void spans_merge_and_hold(void **state)
{
    (void)state;
    struct vgpu_spans spans = {0};
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(vgpu_spans_add(&spans, 1000 - 10 * i, 1005 - 10 * i), 0);
    assert_int_equal(spans.count, 100);
    assert_true(vgpu_spans_hold(&spans, 500, 505));
    assert_true(vgpu_spans_hold(&spans, 501, 502));
    assert_false(vgpu_spans_hold(&spans, 499, 502));
    assert_false(vgpu_spans_hold(&spans, 500, 506));
    assert_false(vgpu_spans_hold(&spans, 505, 510));
    assert_false(vgpu_spans_hold(&spans, 2000, 2001));
    assert_int_equal(vgpu_spans_add(&spans, 505, 510), 0); /* touches both neighbours */
    assert_int_equal(spans.count, 99);
    assert_true(vgpu_spans_hold(&spans, 500, 515));
    assert_int_equal(vgpu_spans_add(&spans, 0, 5000), 0);
    assert_int_equal(spans.count, 1);
    assert_true(vgpu_spans_hold(&spans, 0, 5000));
    vgpu_spans_clear(&spans);
    assert_false(vgpu_spans_hold(&spans, 0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_pool_reserves_is_charged_until_it_is_trimmed),
        cmocka_unit_test(a_pool_keeps_what_is_below_its_threshold),
        cmocka_unit_test(what_is_free_in_a_pool_is_not_charged_again),
        cmocka_unit_test(freed_memory_of_pools_makes_room_for_others),
        cmocka_unit_test(a_pool_that_grows_above_the_quota_is_undone),
        cmocka_unit_test(new_memory_is_cleared_in_the_stream_and_old_is_not),
        cmocka_unit_test(a_destroyed_pool_ends_with_its_last_memory),
        cmocka_unit_test(the_default_pool_is_one_and_stays),
        cmocka_unit_test(spans_merge_and_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
