/* SPDX-License-Identifier: MIT */
/* Virtual memory management: physical memory is charged and cleared, and stays while it is mapped.
 */
#include "worker/tests/fixture.h"

enum { PHYSICAL = OTHER + 1, PHYSICAL2 };

static uint64_t reserve(struct vgpu_channel *channel, uint64_t bytes)
{
    uint64_t address = 0;
    assert_int_equal(vgpu_send_cuMemAddressReserve(channel, 0, &address, bytes, 0, 0, 0), 0);
    return address;
}

static void physical_memory_is_charged_until_it_is_released(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL, 2 * FAKE_PAGE, 0, 0), 0);
    assert_int_equal(channel->ledger.used, 2 * FAKE_PAGE);
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL2, QUOTA, 0, 0),
                     CUDA_ERROR_OUT_OF_MEMORY);
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL2, 5, 0, 0),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL2, 0, 0, 0),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(channel->ledger.used, 2 * FAKE_PAGE);
    assert_int_equal(vgpu_send_cuMemRelease(channel, 0, PHYSICAL), 0);
    assert_int_equal(channel->ledger.used, 0);
    assert_int_equal(vgpu_send_cuMemRelease(channel, 0, PHYSICAL), CUDA_ERROR_INVALID_HANDLE);
    fixture_close(channel);
}

static void mapped_memory_is_cleared_and_used(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = reserve(channel, 4 * FAKE_PAGE), flags = 0;
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL, FAKE_PAGE, 0, 0), 0);
    assert_int_equal(vgpu_send_cuMemMap(channel, 0, address + FAKE_PAGE, FAKE_PAGE, 0, PHYSICAL, 0),
                     0);
    assert_int_equal(vgpu_send_cuMemSetAccess(channel, 0, address + FAKE_PAGE, FAKE_PAGE,
                                              CU_MEM_ACCESS_FLAGS_PROT_READWRITE),
                     0);
    assert_int_equal(vgpu_send_cuMemGetAccess(channel, 0, &flags, address + FAKE_PAGE + 7), 0);
    assert_int_equal(flags, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    assert_int_equal(vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address + FAKE_PAGE, FAKE_PAGE,
                                                  FAKE_PAGE, 1, 0, 0),
                     0);
    for (size_t i = 0; i < FAKE_PAGE; i++)
        assert_int_equal(fixture_staging(channel)[i], 0);
    fixture_close(channel);
}

static void physical_memory_without_a_context_is_cleared_too(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open();
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL, FAKE_PAGE, 0, 0), 0);
    assert_int_equal(channel->page.bytes_cleared, FAKE_PAGE);
    assert_int_equal(fake.objects, 1); /* what was made to clear it is gone */
    assert_int_equal(vgpu_send_cuMemRelease(channel, 0, PHYSICAL), 0);
    assert_int_equal(fake.objects, 0);
    fixture_close(channel);
}

static void a_range_of_whole_mappings_is_unmapped(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = reserve(channel, 8 * FAKE_PAGE);
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL, 2 * FAKE_PAGE, 0, 0), 0);
    for (int i = 3; i >= 0; i--)
        assert_int_equal(vgpu_send_cuMemMap(channel, 0, address + 2 * FAKE_PAGE * (uint64_t)i,
                                            2 * FAKE_PAGE, 0, PHYSICAL, 0),
                         0);
    assert_int_equal(vgpu_send_cuMemMap(channel, 0, address, FAKE_PAGE, 0, PHYSICAL, 0), 1);
    assert_int_equal(vgpu_send_cuMemAddressFree(channel, 0, address, 8 * FAKE_PAGE), 1);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address, FAKE_PAGE), 1);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address + FAKE_PAGE, FAKE_PAGE), 1);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address, 0), 1);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address, 10 * FAKE_PAGE), 1);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address + 2 * FAKE_PAGE, 4 * FAKE_PAGE), 0);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address, 8 * FAKE_PAGE), 1);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address, 2 * FAKE_PAGE), 0);
    assert_int_equal(vgpu_send_cuMemUnmap(channel, 0, address + 6 * FAKE_PAGE, 2 * FAKE_PAGE), 0);
    assert_int_equal(vgpu_send_cuMemRelease(channel, 0, PHYSICAL), 0);
    assert_int_equal(vgpu_send_cuMemAddressFree(channel, 0, address, 8 * FAKE_PAGE), 0);
    assert_int_equal(channel->ledger.used, 0);
    fixture_close(channel);
}

/* The library waits for the last mapping to go. */
static void releasing_what_is_mapped_is_garbage(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = reserve(channel, FAKE_PAGE);
    assert_int_equal(vgpu_send_cuMemCreate(channel, 0, PHYSICAL, FAKE_PAGE, 0, 0), 0);
    assert_int_equal(vgpu_send_cuMemMap(channel, 0, address, FAKE_PAGE, 0, PHYSICAL, 0), 0);
    vgpu_send_cuMemRelease(channel, 0, PHYSICAL);
    assert_true(channel->garbage);
    assert_int_equal(channel->ledger.used, FAKE_PAGE);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(physical_memory_is_charged_until_it_is_released),
        cmocka_unit_test(mapped_memory_is_cleared_and_used),
        cmocka_unit_test(physical_memory_without_a_context_is_cleared_too),
        cmocka_unit_test(a_range_of_whole_mappings_is_unmapped),
        cmocka_unit_test(releasing_what_is_mapped_is_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
