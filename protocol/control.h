/* SPDX-License-Identifier: MIT */
/**
 * Messages of the control sockets between the mediator and its clients. A client is a QEMU device
 * (device socket: it speaks for a VM and names it) or a host process (process socket: the mediator
 * names it after its user). Both bring their own window and event descriptors, so that the mediator
 * can be replaced while they live: on every connect a client sends HELLO again.
 *
 *   client                                   mediator
 *   HELLO + 1 descriptor: the window
 *   DESCRIPTORS + <= 16 eventfds, repeated until all doorbells and interrupts were sent
 *                                            WELCOME, or REFUSED: then the client hangs up
 *   MAILBOX                                  MAILBOX (same id), in order; the answer to a primitive
 *                                            comes when the GPU is done, others may come before it
 *
 * A message is a header and `length` bytes; each op has one fixed length. Anything else ends the
 * connection. Descriptors travel with the header's first byte (SCM_RIGHTS).
 */
#ifndef VGPU_PROTOCOL_CONTROL_H
#define VGPU_PROTOCOL_CONTROL_H

#include "protocol/mailbox.h"

#define VGPU_CONTROL_MAGIC           0x43504756u /* "VGPC" */
#define VGPU_CONTROL_VERSION         1u
#define VGPU_CONTROL_DESCRIPTORS_MAX 16u /* what QEMU's sockets carry in one message */

enum vgpu_control_op {
    VGPU_CONTROL_HELLO = 1,
    VGPU_CONTROL_DESCRIPTORS = 2,
    VGPU_CONTROL_WELCOME = 3,
    VGPU_CONTROL_REFUSED = 4,
    VGPU_CONTROL_MAILBOX = 5,
};

struct vgpu_control_header {
    uint32_t magic;
    uint16_t version;
    uint16_t op;
    uint32_t length; /* bytes that follow this header */
    uint32_t reserved;
};

/** Counts are of eventfds: `channels` doorbells, `vectors` interrupts (1..VGPU_DOORBELL_MAX). */
struct vgpu_control_hello {
    uint64_t window_size; /* bytes; the memfd is sealed against shrinking */
    uint32_t channels;
    uint32_t vectors;
    uint32_t priority; /* enum vgpu_priority; ignored on the process socket */
    uint32_t pool;     /* ASCII letter 'A'..'Z'; ignored on the process socket */
    char vm[64];       /* NUL-terminated name or UUID; on the process socket: the program */
};

enum vgpu_descriptor_kind {
    VGPU_DESCRIPTOR_DOORBELL = 0,  /* client -> worker */
    VGPU_DESCRIPTOR_INTERRUPT = 1, /* worker -> client */
};

struct vgpu_control_descriptors {
    uint32_t kind;  /* enum vgpu_descriptor_kind; doorbells first, each kind in ascending order */
    uint32_t first; /* index of the first descriptor of this message */
    uint32_t count; /* 1..VGPU_CONTROL_DESCRIPTORS_MAX */
    uint32_t reserved;
};

struct vgpu_control_welcome {
    uint32_t vm_id;
    uint32_t pool;
    uint32_t priority;
    uint32_t reserved;
};

struct vgpu_control_refused {
    char text[256]; /* one line, NUL-terminated: what is wrong and what to do */
};

struct vgpu_control_mailbox {
    uint32_t id;
    uint32_t length; /* bytes of data in use, 1..VGPU_MAILBOX_BYTES */
    uint8_t data[VGPU_MAILBOX_BYTES];
};

/** Any message: the bytes of its op follow the header. */
struct vgpu_control_message {
    struct vgpu_control_header header;
    union {
        struct vgpu_control_hello hello;
        struct vgpu_control_descriptors descriptors;
        struct vgpu_control_welcome welcome;
        struct vgpu_control_refused refused;
        struct vgpu_control_mailbox mailbox;
    };
};

static_assert(sizeof(struct vgpu_control_header) == 16, "wire format");
static_assert(sizeof(struct vgpu_control_hello) == 88, "wire format");
static_assert(sizeof(struct vgpu_control_descriptors) == 16, "wire format");
static_assert(sizeof(struct vgpu_control_welcome) == 16, "wire format");
static_assert(sizeof(struct vgpu_control_refused) == 256, "wire format");
static_assert(sizeof(struct vgpu_control_mailbox) == 1032, "wire format");
static_assert(offsetof(struct vgpu_control_message, hello) == sizeof(struct vgpu_control_header),
              "wire format");

#endif
