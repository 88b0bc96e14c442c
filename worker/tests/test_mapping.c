/* SPDX-License-Identifier: MIT */
/* Extents of the window that guest, worker and GPU have at one address. */
#include <string.h>
#include <sys/mman.h>

#include "protocol/copy.h"
#include "worker/tests/fixture.h"

static uint32_t state_of(const struct vgpu_channel *channel, uint32_t extent)
{
    return channel->page.extents[extent].state;
}

static void a_mapped_extent_is_registered_window_memory(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t *window = fixture_window(channel, 4);
    uint64_t address = 0;
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, 0, 2), CUDA_SUCCESS);
    assert_int_equal(state_of(channel, 2), VGPU_EXTENT_MAPPED);
    ((uint8_t *)(uintptr_t)address)[5] = 77;
    assert_int_equal(window[2 * WINDOW_EXTENT_BYTES + 5], 77);
    assert_true(fake_is_registered(address));
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, 0, 2),
                     CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(vgpu_send_vgpuHostUnmap(channel, 0, 2), CUDA_SUCCESS);
    assert_int_equal(state_of(channel, 2), VGPU_EXTENT_OPEN);
    assert_false(fake_is_registered(address));
    assert_int_equal(msync((void *)(uintptr_t)address, 4096, MS_ASYNC), -1); /* unmapped */
    assert_int_equal(vgpu_send_vgpuHostUnmap(channel, 0, 2), CUDA_ERROR_INVALID_VALUE);
    munmap(window, 4 * WINDOW_EXTENT_BYTES);
    fixture_close(channel);
}

static void an_address_can_be_asked_for_and_never_replaces(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t *window = fixture_window(channel, 4);
    uint64_t address = 0;
    void *place = mmap(NULL, WINDOW_EXTENT_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t wanted = (uintptr_t)place;
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, wanted, 1),
                     CUDA_ERROR_ALREADY_MAPPED);
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, wanted + 8, 1),
                     CUDA_ERROR_ALREADY_MAPPED);
    assert_int_equal(state_of(channel, 1), VGPU_EXTENT_OPEN);
    munmap(place, WINDOW_EXTENT_BYTES);
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, wanted, 1), CUDA_SUCCESS);
    assert_int_equal(address, wanted);
    munmap(window, 4 * WINDOW_EXTENT_BYTES);
    fixture_close(channel);
}

static void what_is_not_open_cannot_be_mapped(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint64_t address = 0;
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, 0, 0),
                     CUDA_ERROR_INVALID_VALUE); /* there is no window */
    uint8_t *window = fixture_window(channel, 2);
    const uint32_t wrong[] = {2, VGPU_CHANNEL_EXTENTS_MAX - 1, VGPU_CHANNEL_EXTENTS_MAX,
                              UINT32_MAX};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, 0, wrong[i]),
                         CUDA_ERROR_INVALID_VALUE);
        assert_int_equal(vgpu_send_vgpuHostUnmap(channel, 0, wrong[i]), CUDA_ERROR_INVALID_VALUE);
    }
    fake.no_registration = true;
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &address, 0, 1),
                     CUDA_ERROR_NOT_SUPPORTED);
    assert_int_equal(state_of(channel, 1), VGPU_EXTENT_OPEN);
    munmap(window, 2 * WINDOW_EXTENT_BYTES);
    fixture_close(channel);
}

/* A guest names host addresses: only those that it shares are touched. */
static void copies_stay_inside_mappings(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t *window = fixture_window(channel, 2);
    uint64_t host = 0, device = 0;
    char secret[64] = "of the worker";
    const uint64_t bytes = WINDOW_EXTENT_BYTES;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &device, 2 * bytes), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &host, 0, 1), CUDA_SUCCESS);
    memset(window + bytes, 0x42, bytes);
    vgpu_send_vgpuCopyFromHost(channel, CONTEXT, device, host, bytes, 0);
    vgpu_send_vgpuCopyToHost(channel, CONTEXT, host + 100, device, 1, 0);
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    assert_int_equal(((uint8_t *)(uintptr_t)device)[bytes - 1], 0x42);
    assert_int_equal(channel->page.bytes_to_device, bytes);
    assert_int_equal(channel->page.bytes_from_device, 1);
    const struct {
        uint64_t address, bytes;
    } wrong[] = {
        {host, bytes + 1},      {host + 1, bytes},      {host - 1, 1},   {host + bytes, 1},
        {host, UINT64_MAX},     {host + 1, UINT64_MAX}, {UINT64_MAX, 2}, {0, 1},
        {(uintptr_t)secret, 1}, {host + 2 * bytes, 1},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        vgpu_send_vgpuCopyFromHost(channel, CONTEXT, device, wrong[i].address, wrong[i].bytes, 0);
        assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
        vgpu_send_vgpuCopyToHost(channel, CONTEXT, wrong[i].address, device, wrong[i].bytes, 0);
        assert_int_equal(fixture_take_error(channel), CUDA_ERROR_INVALID_VALUE);
    }
    assert_string_equal(secret, "of the worker");
    munmap(window, 2 * bytes);
    fixture_close(channel);
}

static void boxes_stay_inside_mappings_and_staging(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t *window = fixture_window(channel, 2);
    uint64_t host = 0, device = 0;
    assert_int_equal(vgpu_send_cuMemAlloc(channel, CONTEXT, &device, WINDOW_EXTENT_BYTES), 0);
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &host, 0, 0), CUDA_SUCCESS);
    const struct vgpu_box right = {
        .width = 100,
        .height = 4,
        .depth = 3,
        .source = {.kind = VGPU_SIDE_SHARED, .address = host, .pitch = 1000, .height = 5},
        .destination = {.kind = VGPU_SIDE_DEVICE, .address = device, .pitch = 100, .height = 4}};
    memset(window, 7, WINDOW_EXTENT_BYTES);
    vgpu_send_vgpuCopyBox(channel, CONTEXT, 0, &right, sizeof(right));
    assert_int_equal(fixture_take_error(channel), CUDA_SUCCESS);
    assert_int_equal(((uint8_t *)(uintptr_t)device)[1199], 7);
    struct vgpu_box wrong[] = {right, right, right, right, right, right};
    wrong[0].source.address = host + WINDOW_EXTENT_BYTES - 13099; /* a byte too far */
    wrong[1].source.height = UINT64_MAX / 1000;
    wrong[2].source.pitch = UINT64_MAX;
    wrong[3].depth = UINT64_MAX;
    wrong[4].source.address = (uintptr_t)window;
    wrong[5].source.kind = VGPU_SIDE_ARRAY;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        vgpu_send_vgpuCopyBox(channel, CONTEXT, 0, &wrong[i], sizeof(wrong[i]));
        assert_int_not_equal(fixture_take_error(channel), CUDA_SUCCESS);
        assert_false(channel->garbage);
    }
    struct vgpu_box garbage[] = {right, right};
    garbage[0].source =
        (struct vgpu_box_side){.kind = VGPU_SIDE_STAGING, .address = 1ull << 32, .pitch = 100};
    garbage[1].destination.kind = 77;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        vgpu_send_vgpuCopyBox(channel, CONTEXT, 0, &garbage[i], sizeof(garbage[i]));
        assert_true(channel->garbage);
    }
    vgpu_send_vgpuCopyBox(channel, CONTEXT, 0, &right, sizeof(right) - 1);
    assert_true(channel->garbage);
    munmap(window, 2 * WINDOW_EXTENT_BYTES);
    fixture_close(channel);
}

static void mappings_outlive_the_context_that_registered_them(void **state)
{
    (void)state;
    struct vgpu_channel *channel = fixture_open_context();
    uint8_t *window = fixture_window(channel, 2);
    uint64_t first = 0, second = 0;
    assert_int_equal(vgpu_send_cuCtxCreate(channel, 0, OTHER, 0, 0), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_vgpuHostMap(channel, OTHER, &first, 0, 0), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_vgpuHostMap(channel, CONTEXT, &second, 0, 1), CUDA_SUCCESS);
    assert_int_equal(vgpu_send_cuCtxDestroy(channel, 0, OTHER), CUDA_SUCCESS);
    assert_true(fake_is_registered(first)); /* in the one that is left */
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRelease(channel, 0, CONTEXT, 0), CUDA_SUCCESS);
    assert_false(fake_is_registered(first));
    assert_int_equal(vgpu_send_cuDevicePrimaryCtxRetain(channel, 0, CONTEXT, 0), CUDA_SUCCESS);
    assert_true(fake_is_registered(first));
    assert_true(fake_is_registered(second));
    assert_int_equal(vgpu_send_vgpuHostUnmap(channel, 0, 0), CUDA_SUCCESS);
    munmap(window, 2 * WINDOW_EXTENT_BYTES);
    fixture_close(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mapped_extent_is_registered_window_memory),
        cmocka_unit_test(an_address_can_be_asked_for_and_never_replaces),
        cmocka_unit_test(what_is_not_open_cannot_be_mapped),
        cmocka_unit_test(copies_stay_inside_mappings),
        cmocka_unit_test(boxes_stay_inside_mappings_and_staging),
        cmocka_unit_test(mappings_outlive_the_context_that_registered_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
