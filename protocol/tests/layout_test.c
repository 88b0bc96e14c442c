/* SPDX-License-Identifier: MIT */
/* The numbers that guests, kernel modules and hosts of different ages agree on, written out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/calls.h"
#include "protocol/channel.h"
#include "protocol/control.h"
#include "protocol/registers.h"
#include "protocol/window.h"

#define AT(member) offsetof(struct vgpu_registers, member)

static void registers_are_where_guests_expect_them(void **state)
{
    (void)state;
    static const struct {
        size_t offset, expected;
    } registers[] = {
        {AT(magic), 0x00},
        {AT(version), 0x04},
        {AT(features), 0x08},
        {AT(pool), 0x0c},
        {AT(priority), 0x10},
        {AT(vm_id), 0x14},
        {AT(status), 0x18},
        {AT(error), 0x1c},
        {AT(request_id), 0x20},
        {AT(request_length), 0x24},
        {AT(response_length), 0x28},
        {AT(response_id), 0x2c},
        {AT(mailbox_doorbell), 0x30},
        {AT(generation), 0x34},
        {AT(channel_count), 0x38},
        {AT(vector_count), 0x3c},
        {AT(window_size_low), 0x40},
        {AT(window_size_high), 0x44},
        {AT(request), 0x400},
        {AT(response), 0x800},
    };
    for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
        assert_int_equal(registers[i].offset, registers[i].expected);
    assert_int_equal(VGPU_MAGIC, 'V' << 0 | 'G' << 8 | 'P' << 16 | 'U' << 24);
}

static void parts_of_bar0_do_not_overlap(void **state)
{
    (void)state;
    assert_true(sizeof(struct vgpu_registers) <= VGPU_DOORBELL_OFFSET);
    assert_true(VGPU_DOORBELL_OFFSET + VGPU_DOORBELL_MAX * 4 <= VGPU_MSIX_TABLE_OFFSET);
    assert_true(VGPU_MSIX_TABLE_OFFSET + VGPU_DOORBELL_MAX * 16 <= VGPU_MSIX_PENDING_OFFSET);
    assert_true(VGPU_MSIX_PENDING_OFFSET + VGPU_DOORBELL_MAX / 8 <= VGPU_REGISTERS_SIZE);
    assert_int_equal(AT(request) + VGPU_MAILBOX_BYTES, AT(response));
}

static void channel_parts_are_pages_of_their_own(void **state)
{
    (void)state;
    static const size_t offsets[] = {VGPU_CHANNEL_REPLIES_OFFSET, VGPU_CHANNEL_FENCES_OFFSET,
                                     VGPU_CHANNEL_RING_OFFSET, VGPU_CHANNEL_STAGING_OFFSET,
                                     VGPU_CHANNEL_BYTES};
    static const size_t expected[] = {0x1000, 0x41000, 0x81000, 0x181000, 0x981000};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        assert_int_equal(offsets[i], expected[i]);
        assert_int_equal(offsets[i] % VGPU_EXTENT_ALIGNMENT, 0);
    }
}

static void indices_of_each_side_have_a_cache_line(void **state)
{
    (void)state;
    assert_int_equal(offsetof(struct vgpu_ring_indices, tail) / 64, 0);
    assert_int_equal(offsetof(struct vgpu_ring_indices, head) / 64, 1);
    assert_int_equal(offsetof(struct vgpu_ring_indices, consumer_sleeps) / 64, 2);
    assert_int_equal(offsetof(struct vgpu_channel_header, deferred_error) / 64, 3);
    assert_int_equal(offsetof(struct vgpu_channel_header, latency) / 64, 4);
}

static void entries_follow_the_window_header(void **state)
{
    (void)state;
    static char window[VGPU_WINDOW_EXTENTS_OFFSET];
    assert_ptr_equal(vgpu_window_entry(window, 0), window + 0x1000);
    assert_ptr_equal(vgpu_window_entry(window, 255), window + 0x1000 + 255 * 64);
    assert_true(VGPU_WINDOW_MINIMUM_SIZE >= VGPU_WINDOW_EXTENTS_OFFSET + VGPU_CHANNEL_BYTES);
}

static void calls_have_names(void **state)
{
    (void)state;
    assert_string_equal(vgpu_call_name(VGPU_CALL_vgpuLaunch), "vgpuLaunch");
    assert_null(vgpu_call_name(0));
    assert_null(vgpu_call_name(VGPU_CALL_MAX + 1));
    assert_null(vgpu_call_name(UINT32_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers_are_where_guests_expect_them),
        cmocka_unit_test(parts_of_bar0_do_not_overlap),
        cmocka_unit_test(channel_parts_are_pages_of_their_own),
        cmocka_unit_test(indices_of_each_side_have_a_cache_line),
        cmocka_unit_test(entries_follow_the_window_header),
        cmocka_unit_test(calls_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
