/* SPDX-License-Identifier: MIT */
/**
 * What do a doorbell and an interrupt cost in a virtual machine? A guest without an operating
 * system; fake-mediator at the other end answers through the window, and tells the time.
 */
#include "tests/vm/bare.h"

enum { WRITES = 2000, TRIPS = 2000, FIRST_VECTOR = 0x40, LAST_VECTOR = 0xef };

/* Nanoseconds of the host; of a difference the low half is enough. */
static uint32_t host_time(volatile struct vgpu_registers *registers)
{
    call(registers, FAKE_CLOCK, 0);
    return (uint32_t)((volatile struct fake_response *)registers->response)->value;
}

static void print_result(const char *name, uint32_t nanoseconds, uint32_t count)
{
    char digits[12];
    uint32_t value = nanoseconds / count;
    int place = sizeof(digits) - 1;

    digits[place] = 0;
    do {
        digits[--place] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    print(name);
    print(" ");
    print(&digits[place]);
    print(" ns\n");
}

/* Stores to the same place, which is memory or a doorbell. */
static void writes(volatile struct vgpu_registers *registers, uint32_t place, const char *name)
{
    uint32_t start = host_time(registers);

    for (uint32_t i = 0; i < WRITES; i++)
        *at(place) = 1;
    print_result(name, host_time(registers) - start, WRITES);
}

/* Until the host has answered in memory. */
static void round_trips(volatile struct vgpu_registers *registers, uint32_t bar0, uint32_t window)
{
    volatile uint32_t *answer = at(window + FAKE_ANSWER_OFFSET);
    uint32_t start = host_time(registers);

    for (uint32_t i = 1; i <= TRIPS; i++) {
        *at(window + FAKE_CALL_OFFSET) = i;
        *at(bar0 + VGPU_DOORBELL_OFFSET) = 1;
        WAIT_FOR(*answer == ~i);
    }
    print_result("doorbell.answered_in_memory", host_time(registers) - start, TRIPS);
}

/* Until the host's interrupt has come. None is served, so each has a vector of its own. */
static void interrupts(volatile struct vgpu_registers *registers, uint32_t bar0)
{
    volatile uint32_t *entry = at(bar0 + VGPU_MSIX_TABLE_OFFSET);
    uint32_t start, count = LAST_VECTOR - FIRST_VECTOR + 1;

    call(registers, FAKE_ANSWER_BY_INTERRUPT, 1);
    start = host_time(registers);
    for (uint32_t vector = FIRST_VECTOR; vector <= LAST_VECTOR; vector++) {
        entry[3] = 1;
        aim(entry, vector);
        entry[3] = 0;
    }
    uint32_t aiming = host_time(registers) - start;
    start = host_time(registers);
    for (uint32_t vector = FIRST_VECTOR; vector <= LAST_VECTOR; vector++) {
        entry[3] = 1;
        aim(entry, vector);
        entry[3] = 0;
        *at(bar0 + VGPU_DOORBELL_OFFSET) = 1;
        WAIT_FOR(requested(vector));
    }
    print_result("doorbell.answered_by_interrupt", host_time(registers) - start - aiming, count);
}

void guest(void)
{
    uint32_t bar0, window;
    uint32_t device = open_device(&bar0, &window);
    volatile struct vgpu_registers *registers = (volatile struct vgpu_registers *)at(bar0);

    writes(registers, window + FAKE_CALL_OFFSET + 4, "memory.write");
    writes(registers, bar0 + VGPU_DOORBELL_OFFSET + 4, "doorbell.write");
    round_trips(registers, bar0, window);
    enable_interrupts(device);
    interrupts(registers, bar0);
    leave(16);
}
