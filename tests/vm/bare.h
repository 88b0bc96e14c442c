/* SPDX-License-Identifier: MIT */
/**
 * What guests without an operating system share (multiboot, 32 bits): a start, a serial port, PCI,
 * the device's mailbox. Interrupts stay disabled and are looked for in the local APIC's request
 * register. A guest leaves through isa-debug-exit: QEMU's exit status is 33 for success.
 */
#ifndef VGPU_TESTS_VM_BARE_H
#define VGPU_TESTS_VM_BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/window.h"
#include "tests/vm/fake_mediator.h"

#define PATIENCE 20000000u /* polls; each is a microsecond or more where it is emulated */
#define APIC     0xfee00000u

/* The header that a multiboot loader looks for, and a stack. */
__asm__(".pushsection .text\n"
        ".align 4\n"
        ".long 0x1badb002, 0, -0x1badb002\n"
        ".global start\n"
        "start: mov $stack_end, %esp\n"
        "call guest\n"
        ".popsection\n"
        ".pushsection .bss\n"
        ".align 16\n"
        ".skip 16384\n"
        "stack_end:\n"
        ".popsection\n");

void guest(void);

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void print(const char *text)
{
    while (*text)
        out8(0x3f8, (uint8_t)*text++);
}

static _Noreturn void leave(uint8_t status)
{
    out8(0xf4, status);
    for (;;)
        __asm__ volatile("hlt");
}

#define TEXT_OF(x)  #x
#define TEXT_OF2(x) TEXT_OF(x)
#define FAIL(what)                                                                                 \
    do {                                                                                           \
        print("line " TEXT_OF2(__LINE__) ": not so: " what "\n");                                  \
        leave(0);                                                                                  \
    } while (0)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL(#condition);                                                                      \
    } while (0)

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint32_t polls = 0;                                                                        \
        while (!(condition))                                                                       \
            if (polls++ == PATIENCE)                                                               \
                FAIL("in time: " #condition);                                                      \
    } while (0)

static uint32_t config_read(uint32_t device, uint32_t offset)
{
    out32(0xcf8, 0x80000000u | device << 11 | offset);
    return in32(0xcfc);
}

static void config_write(uint32_t device, uint32_t offset, uint32_t value)
{
    out32(0xcf8, 0x80000000u | device << 11 | offset);
    out32(0xcfc, value);
}

static volatile uint32_t *at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static uint32_t find_device(void)
{
    for (uint32_t device = 0; device < 32; device++)
        if (config_read(device, 0) == (VGPU_PCI_DEVICE_ID << 16 | VGPU_PCI_VENDOR_ID))
            return device;
    FAIL("the device is on the bus");
}

static uint32_t find_msix(uint32_t device)
{
    uint32_t place = config_read(device, 0x34) & 0xfc;

    while (place && (config_read(device, place) & 0xff) != 0x11)
        place = config_read(device, place) >> 8 & 0xfc;
    CHECK(place);
    return place;
}

static void call(volatile struct vgpu_registers *registers, uint32_t op, uint32_t argument)
{
    volatile struct fake_request *request = (volatile struct fake_request *)registers->request;

    request->request.op = op;
    request->request.reserved = 0;
    request->argument = argument;
    request->reserved = 0;
    registers->request_length = sizeof(*request);
    registers->mailbox_doorbell = 1;
    WAIT_FOR(!(registers->status & VGPU_STATUS_MAILBOX_BUSY));
    CHECK(registers->error == VGPU_DEVICE_OK);
}

static bool requested(uint32_t vector)
{
    return *at(APIC + 0x200 + 0x10 * (vector / 32)) >> vector % 32 & 1;
}

static void aim(volatile uint32_t *entry, uint32_t vector)
{
    entry[0] = APIC;
    entry[1] = 0;
    entry[2] = vector;
}

/** Finds the device and makes it answer; returns its number on the bus. */
static uint32_t open_device(uint32_t *bar0, uint32_t *window)
{
    uint32_t device = find_device();
    volatile struct vgpu_registers *registers;

    *bar0 = config_read(device, 0x10) & ~0xfu;
    *window = config_read(device, 0x14) & ~0xfu;
    registers = (volatile struct vgpu_registers *)at(*bar0);
    CHECK(*bar0 && *window && config_read(device, 0x18) == 0);
    config_write(device, 4, config_read(device, 4) | 6); /* memory, bus master */
    *at(APIC + 0xf0) = 0x1ff;                            /* the local APIC accepts interrupts */
    CHECK(registers->magic == VGPU_MAGIC && *at(*window) == VGPU_WINDOW_MAGIC);
    WAIT_FOR(registers->status & VGPU_STATUS_CONNECTED);
    return device;
}

static void enable_interrupts(uint32_t device)
{
    uint32_t msix = find_msix(device);
    config_write(device, msix, config_read(device, msix) | 0x80000000u);
}

#endif
