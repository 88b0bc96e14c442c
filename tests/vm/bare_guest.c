/* SPDX-License-Identifier: MIT */
/**
 * A guest without an operating system, with fake-mediator at the device's other end: doorbells and
 * interrupts where KVM carries them past QEMU, also on machines whose KVM boots no ordinary kernel.
 */
#include "tests/vm/bare.h"

static void ring_every_doorbell(uint32_t registers, uint32_t window, uint32_t round)
{
    for (uint32_t i = 0; i < 64; i++) {
        volatile uint32_t *answer = at(window + FAKE_ANSWER_OFFSET + 4 * i);
        uint32_t value = round << 16 | (i + 1);

        *at(window + FAKE_CALL_OFFSET + 4 * i) = value;
        *at(registers + VGPU_DOORBELL_OFFSET + 4 * i) = 1;
        WAIT_FOR(*answer == ~value);
    }
}

static void raise_interrupts(volatile struct vgpu_registers *registers, uint32_t bar0)
{
    volatile uint32_t *pending = at(bar0 + VGPU_MSIX_PENDING_OFFSET);

    for (uint32_t i = 0; i < 16; i++) {
        volatile uint32_t *entry = at(bar0 + VGPU_MSIX_TABLE_OFFSET + 16 * i);

        aim(entry, 0x40 + i);
        entry[3] = 0;
        CHECK(!requested(0x40 + i));
        call(registers, FAKE_RAISE, i);
        WAIT_FOR(requested(0x40 + i));

        /* Masked, it is kept pending; unmasked with another target, it goes there. */
        entry[3] = 1;
        aim(entry, 0x60 + i);
        call(registers, FAKE_RAISE, i);
        WAIT_FOR(*pending >> i & 1);
        CHECK(!requested(0x60 + i));
        entry[3] = 0;
        WAIT_FOR(requested(0x60 + i));
        CHECK(!(*pending >> i & 1));
    }
}

void guest(void)
{
    uint32_t bar0, window;
    uint32_t device = open_device(&bar0, &window);

    for (uint32_t round = 1; round <= 10; round++)
        ring_every_doorbell(bar0, window, round);
    print("bare-guest: ok: doorbells\n");

    enable_interrupts(device);
    raise_interrupts((volatile struct vgpu_registers *)at(bar0), bar0);
    print("bare-guest: ok: interrupts\n");
    leave(16);
}
