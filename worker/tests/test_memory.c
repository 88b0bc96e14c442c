/* SPDX-License-Identifier: MIT */
/* The account of GPU memory, and the calls that are charged to it. */
#include <string.h>

#include "worker/tests/fixture.h"

static void charging_stops_at_the_quota(void **state)
{
    (void)state;
    struct vgpu_ledger_page page = {.quota = 1000, .used = 100}; /* of another worker */
    uint64_t charged = 0;
    struct vgpu_ledger ledger;
    vgpu_ledger_init(&ledger, &page, &charged);
    assert_true(vgpu_ledger_charge(&ledger, 900));
    assert_false(vgpu_ledger_charge(&ledger, 1));
    assert_false(vgpu_ledger_charge(&ledger, UINT64_MAX));
    assert_int_equal(page.used, 1000);
    assert_int_equal(charged, 900);
    vgpu_ledger_return(&ledger, 900);
    assert_int_equal(page.used, 100);
    assert_int_equal(charged, 0);
    vgpu_ledger_destroy(&ledger);
}

static void the_table_keeps_many_allocations(void **state)
{
    (void)state;
    struct vgpu_ledger_page page = {.quota = UINT64_MAX};
    uint64_t charged = 0;
    struct vgpu_ledger ledger;
    struct vgpu_context contexts[2];
    enum { COUNT = 5000 };
    vgpu_ledger_init(&ledger, &page, &charged);
    for (uint64_t i = 1; i <= COUNT; i++) {
        assert_true(vgpu_ledger_charge(&ledger, i));
        assert_int_equal(vgpu_ledger_add(&ledger, i << 21, i, &contexts[i % 2]), 0);
    }
    for (uint64_t i = 3; i <= COUNT; i += 3) {
        assert_true(vgpu_ledger_remove(&ledger, i << 21));
        assert_false(vgpu_ledger_remove(&ledger, i << 21));
    }
    assert_false(vgpu_ledger_remove(&ledger, 0));
    assert_false(vgpu_ledger_remove(&ledger, 12345));
    vgpu_ledger_remove_context(&ledger, &contexts[0]);
    uint64_t left = 0;
    for (uint64_t i = 1; i <= COUNT; i++)
        left += i % 2 == 1 && i % 3 != 0 ? i : 0;
    assert_int_equal(charged, left);
    vgpu_ledger_remove_context(&ledger, &contexts[1]);
    assert_int_equal(charged, 0);
    assert_int_equal(ledger.count, 0);
    vgpu_ledger_destroy(&ledger);
}

static void an_allocation_is_charged_and_cleared(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0, left, total;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 1000), 0);
    assert_int_equal(channel->ledger.used, 1000);
    assert_int_equal(channel->page.memory_charged, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(((uint8_t *)(uintptr_t)address)[i], 0);
    assert_int_equal(vgpu_send_cuMemGetInfo(channel, CONTEXT, &left, &total), 0);
    assert_int_equal(total, QUOTA);
    assert_int_equal(left, QUOTA - 1000);
    assert_int_equal(vgpu_send_cuMemFree(channel, CONTEXT, address), 0);
    assert_int_equal(vgpu_send_cuMemGetInfo(channel, CONTEXT, &left, &total), 0);
    assert_int_equal(left, QUOTA);
    assert_int_equal(channel->ledger.used, 0);
    assert_int_equal(fixture_take_error(channel), 0);
    vgpu_send_cuMemFree(channel, CONTEXT, address);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_cuMemFree(channel, CONTEXT, 0), CUDA_SUCCESS);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

enum { WINDOW = 256 << 10 };

static struct {
    unsigned int windows, others;
    uint64_t covered;
    CUaccessPolicyWindow last;
} cache;

static CUresult window_size(int *value, CUdevice_attribute attribute, CUdevice device)
{
    (void)device;
    *value = attribute == CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE ? WINDOW : 0;
    return CUDA_SUCCESS;
}

static CUresult set_window(CUstream stream, CUstreamAttrID id, const CUstreamAttrValue *value)
{
    (void)stream;
    cache.last = value->accessPolicyWindow;
    bool streams = id == CU_STREAM_ATTRIBUTE_ACCESS_POLICY_WINDOW &&
                   cache.last.hitProp == CU_ACCESS_PROPERTY_STREAMING &&
                   cache.last.num_bytes <= WINDOW;
    cache.windows += streams;
    cache.others += !streams;
    cache.covered += streams ? cache.last.num_bytes : 0;
    return CUDA_SUCCESS;
}

static CUresult get_window(CUstream stream, CUstreamAttrID id, CUstreamAttrValue *value)
{
    (void)stream, (void)id;
    value->accessPolicyWindow = (CUaccessPolicyWindow){.num_bytes = 77};
    return CUDA_SUCCESS;
}

static void zeros_do_not_stay_in_the_cache(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    struct vgpu_driver *table = fake_driver_table();
    uint64_t address = 0;
    table->cuDeviceGetAttribute = window_size;
    table->cuStreamSetAttribute = set_window;
    table->cuStreamGetAttribute = get_window;
    memset(&cache, 0, sizeof(cache));
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 1000), 0);
    assert_int_equal(cache.windows + cache.others, 0); /* as little as that may */
    vgpu_send_cuMemFree(channel, CONTEXT, address);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, QUOTA), 0);
    assert_int_equal(cache.windows, QUOTA / WINDOW);
    assert_int_equal(cache.covered, QUOTA);
    assert_int_equal(cache.others, 1); /* what the stream had before */
    assert_int_equal(cache.last.num_bytes, 77);
    for (size_t i = 0; i < QUOTA; i++)
        assert_int_equal(((uint8_t *)(uintptr_t)address)[i], 0);
    fixture_close(channel);
}

static struct {
    CUresult (*fill)(CUdeviceptr, unsigned char, size_t, CUstream);
    CUstream stream; /* that was cleared in last */
    unsigned int questions;
} clearing;

static CUresult note_stream(CUdeviceptr to, unsigned char value, size_t count, CUstream stream)
{
    clearing.stream = stream;
    return clearing.fill(to, value, count, stream);
}

static CUresult is_busy(CUstream stream)
{
    (void)stream;
    clearing.questions++;
    return CUDA_ERROR_NOT_READY;
}

static CUresult flags_of(CUstream stream, unsigned int *flags)
{
    (void)stream;
    clearing.questions++;
    *flags = CU_STREAM_NON_BLOCKING;
    return CUDA_SUCCESS;
}

/* With an image, and notes of where memory is cleared. */
static struct vgpu_channel *open_clearing(struct vgpu_driver *table)
{
    struct vgpu_channel *channel = fixture_open_context();
    clearing.fill = table->cuMemsetD8Async;
    table->cuMemsetD8Async = note_stream;
    fixture_load(channel, ".version");
    return channel;
}

static CUstream clears_in(struct vgpu_channel *channel, uint64_t bytes)
{
    uint64_t address;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, bytes), 0);
    return clearing.stream;
}

static void memory_is_cleared_where_the_program_launches(void **state)
{
    (void)state;
    struct vgpu_driver *table = fake_driver_table();
    struct vgpu_channel *channel = open_clearing(table);
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 0, 0), 0);
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM2, 1, 0), 0);
    assert_null(clears_in(channel, 1000)); /* the legacy stream, where most begin */
    for (uint32_t id = STREAM; id <= STREAM2; id++) {
        fixture_launch(channel, id);
        assert_ptr_equal(clears_in(channel, 1000), channel->worker.handles.table[id].object);
    }

    CUresult (*query)(CUstream) = table->cuStreamQuery;
    table->cuStreamQuery = is_busy;
    clearing.questions = 0;
    CUstream own = clears_in(channel, 1000);
    assert_ptr_not_equal(own, channel->worker.handles.table[STREAM].object);
    assert_ptr_not_equal(own, channel->worker.handles.table[STREAM2].object);
    assert_non_null(own);
    assert_true(clearing.questions > 1); /* there was some patience */
    clearing.questions = 0;
    assert_ptr_equal(clears_in(channel, 1000), own);
    assert_int_equal(clearing.questions, 1); /* which is used up */

    table->cuStreamQuery = query;
    vgpu_send_cuStreamDestroy(channel, CONTEXT, STREAM2);
    assert_null(clears_in(channel, 1000));
    fixture_close(channel);
}

/* A driver gives a capture up if its stream is asked anything. */
static void memory_is_cleared_elsewhere_during_a_capture(void **state)
{
    (void)state;
    struct vgpu_driver *table = fake_driver_table();
    struct vgpu_channel *channel = open_clearing(table);
    table->cuStreamQuery = is_busy;
    table->cuStreamGetFlags = flags_of;
    assert_int_equal(vgpu_send_cuStreamCreateWithPriority(channel, CONTEXT, STREAM, 1, 0), 0);
    fixture_launch(channel, STREAM);
    channel->worker.captures = 1;
    clearing.questions = 0;
    CUstream own = clears_in(channel, 1000);
    assert_non_null(own);
    assert_ptr_not_equal(own, channel->worker.handles.table[STREAM].object);
    assert_int_equal(clearing.questions, 0);
    fixture_close(channel);
}

static void what_fails_is_not_charged(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0, pitch = 0;
    fake.fail_next = CUDA_ERROR_OUT_OF_MEMORY;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 1000), 2);
    assert_int_equal(channel->ledger.used, 0);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, QUOTA + 1), 2);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, UINT64_MAX), 2);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 0), 1);
    fake.fail_next = CUDA_ERROR_OUT_OF_MEMORY;
    assert_int_equal(vgpu_send_cuMemAllocPitch(channel, CONTEXT, &address, &pitch, 100, 10, 4), 2);
    assert_int_equal(channel->ledger.used, 0);
    assert_int_equal(
        vgpu_send_cuMemAllocPitch(channel, CONTEXT, &address, &pitch, UINT64_MAX / 2, 3, 4), 1);
    /* 5000 rows of a byte fit into the quota; as the driver lays them out, they do not */
    assert_int_equal(vgpu_send_cuMemAllocPitch(channel, CONTEXT, &address, &pitch, 1, 5000, 4), 2);
    assert_int_equal(channel->ledger.used, 0);
    assert_int_equal(channel->page.memory_charged, 0);
    assert_int_equal(fake.memory, 0);
    fixture_close(channel);
}

static void rows_are_charged_with_their_padding(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0, pitch = 0;
    assert_int_equal(vgpu_send_cuMemAllocPitch(channel, CONTEXT, &address, &pitch, 100, 10, 4), 0);
    assert_int_equal(pitch, FAKE_PITCH);
    assert_int_equal(channel->ledger.used, FAKE_PITCH * 10);
    assert_int_equal(vgpu_send_cuMemFree(channel, CONTEXT, address), 0);
    vgpu_send_vgpuReserveCheck(channel, 0, address + 1);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

static void freed_memory_is_kept_for_its_like(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0, again = 0;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 1000), 0);
    vgpu_send_cuMemFree(channel, CONTEXT, address);
    assert_int_equal(channel->ledger.used, 1000); /* it is still there */
    vgpu_send_cuMemFree(channel, CONTEXT, address);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &again, 1000), 0);
    assert_int_equal(again, address);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 1000), 0);
    assert_int_not_equal(again, address); /* there was only one */
    assert_int_equal(channel->ledger.used, 2000);
    assert_int_equal(vgpu_send_cuCtxCreate(channel, 0, OTHER, 0, 0), 0);
    vgpu_send_cuMemFree(channel, CONTEXT, again);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, OTHER, &address, 1000), 0);
    assert_int_not_equal(again, address); /* another context's */
    vgpu_send_cuMemFree(channel, OTHER, address);
    assert_int_equal(vgpu_send_cuCtxDestroy(channel, 0, OTHER), 0);
    assert_int_equal(channel->worker.reserve.count, 1);
    fixture_close(channel);
}

static void freed_memory_goes_when_memory_is_short(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address[VGPU_RESERVE_BLOCKS + 1], more;
    for (uint32_t i = 0; i <= VGPU_RESERVE_BLOCKS; i++)
        assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address[i], 10 + i), 0);
    for (uint32_t i = 0; i <= VGPU_RESERVE_BLOCKS; i++)
        vgpu_send_cuMemFree(channel, CONTEXT, address[i]);
    assert_int_equal(channel->worker.reserve.count, VGPU_RESERVE_BLOCKS);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &more, QUOTA), 0);
    assert_int_equal(channel->ledger.used, QUOTA);
    vgpu_send_cuMemFree(channel, CONTEXT, more);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &more, QUOTA / 2), 0);
    vgpu_send_cuMemFree(channel, CONTEXT, more);
    fake.fail_next = CUDA_ERROR_OUT_OF_MEMORY; /* the driver has less than we may have */
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &more, 1), 0);
    assert_int_equal(channel->ledger.used, 1);
    fixture_close(channel);
}

static void a_context_returns_its_memory(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0;
    assert_int_equal(vgpu_send_cuCtxCreate(channel, 0, OTHER, 0, 0), 0);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, OTHER, &address, 100), 0);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 7), 0);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, OTHER, &address, 100), 0);
    assert_int_equal(channel->ledger.used, 207);
    assert_int_equal(vgpu_send_cuCtxDestroy(channel, 0, OTHER), 0);
    assert_int_equal(channel->ledger.used, 7);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, OTHER, &address, 1), CUDA_ERROR_INVALID_CONTEXT);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxReset(channel, 0, CONTEXT, 0), 0);
    assert_int_equal(channel->ledger.used, 0);
    assert_int_equal(fake.objects, 0);
    fixture_close(channel);
}

static void a_second_retain_keeps_the_context(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0;
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, OTHER, 0), 0);
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &address, 100), 0);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRelease(channel, 0, CONTEXT, 0), 0);
    assert_int_equal(channel->ledger.used, 100);
    assert_int_equal(vgpu_send_cuMemFree(channel, OTHER, address), 0);
    assert_int_equal(vgpu_send_cuCtxDestroy(channel, 0, OTHER), CUDA_ERROR_INVALID_CONTEXT);
    fixture_close(channel);
}

static void the_window_stays_registered_when_its_context_goes(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(vgpu_send_cuCtxCreate(channel, 0, OTHER, 0, 0), 0);
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRelease(channel, 0, CONTEXT, 0), 0);
    assert_int_equal(vgpu_send_vgpuFence(channel, OTHER, 0, 3, 1), 0);
    assert_int_equal(fixture_fence(channel, 3), 1); /* written by the fake GPU: nobody polled */
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charging_stops_at_the_quota),
        cmocka_unit_test(the_table_keeps_many_allocations),
        cmocka_unit_test(an_allocation_is_charged_and_cleared),
        cmocka_unit_test(zeros_do_not_stay_in_the_cache),
        cmocka_unit_test(memory_is_cleared_where_the_program_launches),
        cmocka_unit_test(memory_is_cleared_elsewhere_during_a_capture),
        cmocka_unit_test(what_fails_is_not_charged),
        cmocka_unit_test(rows_are_charged_with_their_padding),
        cmocka_unit_test(freed_memory_is_kept_for_its_like),
        cmocka_unit_test(freed_memory_goes_when_memory_is_short),
        cmocka_unit_test(a_context_returns_its_memory),
        cmocka_unit_test(a_second_retain_keeps_the_context),
        cmocka_unit_test(the_window_stays_registered_when_its_context_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
