/* SPDX-License-Identifier: GPL-2.0-or-later */
/**
 * The vgpu PCI function inside QEMU. vgpu.c is its shape on the bus, session.c its conversation
 * with the mediator, interrupts.c its MSI-X. Everything here runs under QEMU's big lock, in vCPU
 * threads and in the main loop, and nothing here waits.
 */
#ifndef VGPU_DEVICE_H
#define VGPU_DEVICE_H

#include "qemu/osdep.h" /* QEMU wants it before all others */

#include "chardev/char-fe.h"
#include "hw/pci/pci.h"
#if __has_include("hw/pci/pci_device.h")
#include "hw/pci/pci_device.h"
#endif
#include "qemu/event_notifier.h"

#include "protocol/control.h"
#include "protocol/registers.h"
#include "protocol/window.h"

#define TYPE_VGPU "vgpu"

struct vgpu_device;
DECLARE_INSTANCE_CHECKER(struct vgpu_device, VGPU_DEVICE, TYPE_VGPU)

/** What lives as long as one connection to the mediator. */
struct vgpu_session {
    bool open;
    bool welcomed;
    bool refused;
    bool ending;        /* deaf and dumb until the disconnect has happened */
    bool greeted;       /* all messages of the handshake were sent */
    bool mailbox_used;  /* a request went out, so the guest may own channels there */
    uint32_t handshake; /* messages of the handshake that were built so far */
    uint32_t sent;      /* bytes of `output` that are gone */
    uint32_t queued;    /* bytes of `output` */
    uint32_t received;  /* bytes of `input` */
    struct vgpu_control_message output;
    struct vgpu_control_message input;
};

struct vgpu_vector {
    struct vgpu_device *device;
    EventNotifier event;
    int route; /* KVM's, or -1 while QEMU itself watches the event */
};

struct vgpu_device {
    PCIDevice parent; /* must be first */

    /* properties */
    CharBackend chardev;
    uint64_t window_size;
    uint32_t channels;
    uint32_t vector_count;
    uint16_t vendor_id;
    uint16_t device_id;
    char *vm;
    char *pool_name;
    char *priority_name;

    uint32_t pool;     /* what the properties ask for; the mediator's word is in the registers */
    uint32_t priority; /* enum vgpu_priority */

    MemoryRegion bar0;
    MemoryRegion mmio;
    MemoryRegion window;
    /** What the guest reads. Private, and so the truth; little endian as the host is. */
    struct vgpu_registers registers;
    EventNotifier *doorbells; /* channels */
    uint32_t doorbells_made;
    uint32_t answer_id; /* request_id when the mailbox was rung: the guest may write another */
    struct vgpu_vector *vectors; /* vector_count */

    struct vgpu_session session;
    uint32_t request; /* id on the socket of the last mailbox request, ours: not the guest's */
    guint write_watch;
    QEMUBH *disconnect;
    char last_refusal[256];
};

/** vgpu.c: what the guest sees of the mediator coming and going. */
void vgpu_device_connected(struct vgpu_device *device, const struct vgpu_control_welcome *welcome);
void vgpu_device_disconnected(struct vgpu_device *device);
/** Completes the guest's mailbox exchange; `data` may be NULL when length is 0. */
void vgpu_device_respond(struct vgpu_device *device, enum vgpu_device_error error, const void *data,
                         uint32_t length);

/** session.c. start() takes the chardev's events, stop() gives them back and hangs up. */
void vgpu_session_start(struct vgpu_device *device);
void vgpu_session_stop(struct vgpu_device *device);
/** Sends the request that the registers hold; only while welcomed and not busy. */
void vgpu_session_request(struct vgpu_device *device);
/** The guest was reset: what it had open at the mediator must go. */
void vgpu_session_reset(struct vgpu_device *device);

/** interrupts.c. create() needs MSI-X present; destroy() bears a half-made or empty device. */
int vgpu_interrupts_create(struct vgpu_device *device, Error **errp);
void vgpu_interrupts_destroy(struct vgpu_device *device);
/** Takes all vectors back from KVM, as when the guest masks them. */
void vgpu_interrupts_reset(struct vgpu_device *device);

#endif
