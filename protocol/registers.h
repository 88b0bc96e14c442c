/* SPDX-License-Identifier: MIT */
/**
 * BAR0 of the vgpu PCI function: registers, mailbox buffers, doorbells. Little endian, 32-bit
 * accesses (64-bit registers are two of them). Shared by the device, guests and kernel modules.
 *
 *   0x0000  registers            0x0400  request buffer     0x0800  response buffer
 *   0x1000  doorbells, one 32-bit word per channel (any value written rings)
 *   0x2000  MSI-X table          0x3000  MSI-X pending bits
 *
 * The mailbox: write the request into the buffer, its id and length into the registers, then any
 * value to MAILBOX_DOORBELL. MAILBOX_BUSY is set until the answer is there: then RESPONSE_ID equals
 * the request's id, RESPONSE_LENGTH and ERROR are valid. A doorbell while busy is ignored and sets
 * ERROR to VGPU_DEVICE_BUSY; one request per device at a time.
 */
#ifndef VGPU_PROTOCOL_REGISTERS_H
#define VGPU_PROTOCOL_REGISTERS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define VGPU_PCI_VENDOR_ID       0x10de
#define VGPU_PCI_DEVICE_ID       0x2331
#define VGPU_PCI_CLASS           0x0302 /* 3D controller */
#define VGPU_REGISTERS_SIZE      0x4000
#define VGPU_MAGIC               0x55504756u /* "VGPU" */
#define VGPU_PROTOCOL_VERSION    1u
#define VGPU_MAILBOX_BYTES       1024u
#define VGPU_DOORBELL_OFFSET     0x1000u
#define VGPU_DOORBELL_MAX        256u /* channels a device can have */
#define VGPU_MSIX_TABLE_OFFSET   0x2000u
#define VGPU_MSIX_PENDING_OFFSET 0x3000u

struct vgpu_registers {
    uint32_t magic;            /* VGPU_MAGIC */
    uint32_t version;          /* VGPU_PROTOCOL_VERSION of the device */
    uint32_t features;         /* VGPU_FEATURE_* */
    uint32_t pool;             /* ASCII letter, e.g. 'A'; 0 until the mediator has said */
    uint32_t priority;         /* enum vgpu_priority */
    uint32_t vm_id;            /* given by the mediator; 0 until then */
    uint32_t status;           /* VGPU_STATUS_* */
    uint32_t error;            /* enum vgpu_device_error of the last mailbox exchange */
    uint32_t request_id;       /* written by the guest, any value */
    uint32_t request_length;   /* bytes, at most VGPU_MAILBOX_BYTES */
    uint32_t response_length;  /* bytes */
    uint32_t response_id;      /* request_id of the response in the buffer */
    uint32_t mailbox_doorbell; /* write only */
    uint32_t generation;       /* counts the mediators that were connected */
    uint32_t channel_count;    /* doorbells, and entries of the window's channel table */
    uint32_t vector_count;     /* MSI-X vectors; channel n interrupts vector n % vector_count */
    uint32_t window_size_low;  /* bytes of BAR1 */
    uint32_t window_size_high;
    uint32_t reserved[238];
    uint8_t request[VGPU_MAILBOX_BYTES];
    uint8_t response[VGPU_MAILBOX_BYTES];
};

static_assert(offsetof(struct vgpu_registers, status) == 0x18, "registers are frozen");
static_assert(offsetof(struct vgpu_registers, request_id) == 0x20, "registers are frozen");
static_assert(offsetof(struct vgpu_registers, mailbox_doorbell) == 0x30, "registers are frozen");
static_assert(offsetof(struct vgpu_registers, window_size_low) == 0x40, "registers are frozen");
static_assert(offsetof(struct vgpu_registers, request) == 0x400, "registers are frozen");
static_assert(offsetof(struct vgpu_registers, response) == 0x800, "registers are frozen");
static_assert(sizeof(struct vgpu_registers) == 0xc00, "registers are frozen");

#define VGPU_FEATURE_WINDOW     (1u << 0) /* BAR1 is memory that the host shares */
#define VGPU_FEATURE_INTERRUPTS (1u << 1) /* completions raise MSI-X */

#define VGPU_STATUS_CONNECTED    (1u << 0) /* a mediator has welcomed this device */
#define VGPU_STATUS_MAILBOX_BUSY (1u << 1) /* a request is on its way */
#define VGPU_STATUS_REFUSED      (1u << 2) /* the mediator refused this device: see its log */

enum vgpu_priority {
    VGPU_PRIORITY_LOW = 0,
    VGPU_PRIORITY_MEDIUM = 1,
    VGPU_PRIORITY_HIGH = 2,
};

enum vgpu_device_error {
    VGPU_DEVICE_OK = 0,
    VGPU_DEVICE_BUSY = 1,       /* a request was already on its way */
    VGPU_DEVICE_BAD_LENGTH = 2, /* request_length is 0 or above VGPU_MAILBOX_BYTES */
    VGPU_DEVICE_AWAY = 3,       /* no mediator, or it went away before it answered */
};

#endif
