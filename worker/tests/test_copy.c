/* SPDX-License-Identifier: MIT */
/* Copies: what arrives, and that nothing outside the staging area is touched. */
#include <string.h>

#include "protocol/copy.h"
#include "worker/tests/fixture.h"

#define AREA (VGPU_STAGING_CHUNKS * VGPU_STAGING_CHUNK_BYTES)

static struct vgpu_channel *open_with_memory(uint64_t *address)
{
    struct vgpu_channel *channel = fixture_open_context();
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, address, 4096), 0);
    return channel;
}

static void bytes_go_there_and_back(void **state)
{
    (void)state;
    uint64_t address;
    struct vgpu_channel *channel = open_with_memory(&address);
    uint8_t *staging = fixture_staging(channel);
    uint8_t *device = (uint8_t *)(uintptr_t)address;
    memcpy(staging + 100, "hello", sizeof("hello"));
    vgpu_send_vgpuCopyToDevice(channel, CONTEXT, address + 1, 0, 5, 1, 100, 0);
    assert_memory_equal(device, "\0hello\0", 7);
    vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address + 2, 0, 4, 1, 9000, 0);
    assert_memory_equal(staging + 9000, "ello", 4);
    vgpu_send_vgpuCopyInline(channel, CONTEXT, address, 0, "abc", 3);
    assert_memory_equal(device, "abcllo\0", 7);
    assert_int_equal(channel->page.bytes_to_device, 8);
    assert_int_equal(channel->page.bytes_from_device, 4);
    assert_int_equal(fixture_take_error(channel), 0);
    fixture_close(channel);
}

static void rows_are_packed_in_staging(void **state)
{
    (void)state;
    uint64_t address;
    struct vgpu_channel *channel = open_with_memory(&address);
    uint8_t *staging = fixture_staging(channel);
    uint8_t *device = (uint8_t *)(uintptr_t)address;
    memcpy(staging, "aabbcc", sizeof("aabbcc"));
    vgpu_send_vgpuCopyToDevice(channel, CONTEXT, address, 4, 2, 3, 0, 0);
    assert_memory_equal(device, "aa\0\0bb\0\0cc\0\0", 12);
    const struct vgpu_box across = {
        .width = 2,
        .height = 3,
        .depth = 1,
        .source = {.kind = VGPU_SIDE_DEVICE, .address = address, .pitch = 4, .height = 3},
        .destination = {.kind = VGPU_SIDE_DEVICE,
                        .address = address + 100,
                        .pitch = 2,
                        .height = 3},
    };
    vgpu_send_vgpuCopyBox(channel, CONTEXT, 0, &across, sizeof(across));
    assert_memory_equal(device + 100, "aabbcc", 6);
    vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address, 4, 2, 3, 50, 0);
    assert_memory_equal(staging + 50, "aabbcc", 6);
    fixture_close(channel);
}

static void staging_outside_its_area_is_garbage(void **state)
{
    (void)state;
    uint64_t address;
    struct vgpu_channel *channel = open_with_memory(&address);
    const struct {
        uint64_t width, height;
        uint32_t staging;
        bool garbage;
    } cases[] = {
        {16, 1, AREA - 16, false},
        {16, 1, AREA - 15, true},
        {1, 1, AREA, true},
        {0, 1, AREA, false},
        {1, 1, UINT32_MAX, true},
        {VGPU_STAGING_CHUNK_BYTES + 1, 1, 0, true},
        {UINT64_MAX, 1, 0, true},
        {UINT64_MAX, 2, 0, true},
        {1ull << 32, 1ull << 32, 0, true},
        {(1ull << 32) + 1, 1ull << 32, 0, true},
        {0, UINT64_MAX, 0, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        vgpu_send_vgpuCopyToDevice(channel, CONTEXT, address, cases[i].width, cases[i].width,
                                   cases[i].height, cases[i].staging, 0);
        assert_int_equal(channel->garbage, cases[i].garbage);
        vgpu_send_vgpuCopyFromDevice(channel, CONTEXT, address, cases[i].width, cases[i].width,
                                     cases[i].height, cases[i].staging, 0);
        assert_int_equal(channel->garbage, cases[i].garbage);
    }
    vgpu_send_vgpuImageAppend(channel, 0, AREA - 4, 5, 1);
    assert_true(channel->garbage);
    fixture_close(channel);
}

static void bad_device_addresses_are_the_drivers_business(void **state)
{
    (void)state;
    uint64_t address;
    struct vgpu_channel *channel = open_with_memory(&address);
    vgpu_send_vgpuCopyToDevice(channel, CONTEXT, address + 4090, 0, 16, 1, 0, 0);
    assert_false(channel->garbage);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    fixture_close(channel);
}

static void the_first_failure_is_kept_until_it_is_taken(void **state)
{
    (void)state;
    uint64_t address;
    struct vgpu_channel *channel = open_with_memory(&address);
    vgpu_send_vgpuCopyInline(channel, CONTEXT, 0, 0, "a", 1);
    uint32_t sequence = channel->sequence;
    vgpu_send_vgpuCopyInline(channel, CONTEXT, address, 999, "a", 1); /* no such stream */
    assert_int_equal(channel->header->deferred_sequence, sequence);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    vgpu_send_vgpuCopyInline(channel, CONTEXT, address, 999, "a", 1);
    assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_HANDLE);
    assert_int_equal(channel->header->deferred_sequence, channel->sequence);
    assert_int_equal(fixture_take_error(channel), 0);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_there_and_back),
        cmocka_unit_test(rows_are_packed_in_staging),
        cmocka_unit_test(staging_outside_its_area_is_garbage),
        cmocka_unit_test(bad_device_addresses_are_the_drivers_business),
        cmocka_unit_test(the_first_failure_is_kept_until_it_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
