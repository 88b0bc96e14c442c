/* SPDX-License-Identifier: MIT */
/**
 * Mailbox requests and responses: the control plane between a guest and the mediator. The same
 * bytes travel through the device's registers (guests) or a MAILBOX message of the control socket
 * (host processes). Every request starts with an op, every response with a status.
 */
#ifndef VGPU_PROTOCOL_MAILBOX_H
#define VGPU_PROTOCOL_MAILBOX_H

#include "protocol/registers.h"

enum vgpu_mailbox_op {
    VGPU_MAILBOX_IDENTIFY = 1,
    VGPU_MAILBOX_STATUS = 2,
    VGPU_MAILBOX_CHANNEL_OPEN = 3,
    VGPU_MAILBOX_CHANNEL_CLOSE = 4,
    VGPU_MAILBOX_VECTOR_ADD = 5,
    VGPU_MAILBOX_EXTENT_OPEN = 6,
    VGPU_MAILBOX_EXTENT_CLOSE = 7,
    VGPU_MAILBOX_DEVICE = 8,    /* protocol/device_status.h */
    VGPU_MAILBOX_PROCESSES = 9, /* the same */
};

enum vgpu_mailbox_status {
    VGPU_MAILBOX_OK = 0,
    VGPU_MAILBOX_BAD_LENGTH = 1,       /* the request is too short or too long for its op */
    VGPU_MAILBOX_BAD_OP = 2,           /* unknown op */
    VGPU_MAILBOX_VERSION_MISMATCH = 3, /* the response's text names both versions */
    VGPU_MAILBOX_BUSY = 4,             /* all channels are taken, a primitive is running, the VM is
                                          beyond its rate, or the extent is mapped by the worker */
    VGPU_MAILBOX_NO_CHANNEL = 5,       /* that channel, or extent of it, is not open */
    VGPU_MAILBOX_NO_SPACE = 6,         /* the window has no room for that */
    VGPU_MAILBOX_GPU_ERROR = 7,        /* the driver failed; value is its CUresult */
    VGPU_MAILBOX_REFUSED = 8,          /* this VM may not use the GPU now; text says why */
};

struct vgpu_mailbox_request {
    uint32_t op; /* enum vgpu_mailbox_op */
    uint32_t reserved;
};

struct vgpu_mailbox_response {
    uint32_t status; /* enum vgpu_mailbox_status */
    uint32_t value;  /* with GPU_ERROR: a CUresult; else 0 */
};

/** Sent with IDENTIFY and CHANNEL_OPEN: who asks, and which protocol it was built for. */
struct vgpu_mailbox_client {
    struct vgpu_mailbox_request request;
    uint64_t protocol_hash; /* VGPU_PROTOCOL_HASH of the guest's library */
    uint32_t version;       /* VGPU_PROTOCOL_VERSION */
    uint32_t process;       /* the guest's process id, for logs */
    char program[64];       /* NUL-terminated name, for logs */
};

/** A refusal of any op: a response header and one line of text, NUL-terminated. */
struct vgpu_mailbox_refusal {
    struct vgpu_mailbox_response response;
    char text[248];
};

struct vgpu_mailbox_identity {
    struct vgpu_mailbox_response response;
    uint64_t protocol_hash;
    uint64_t memory_quota; /* bytes of GPU memory this VM may hold */
    uint32_t version;
    uint32_t vm_id;
    uint32_t pool;           /* ASCII letter */
    uint32_t priority;       /* enum vgpu_priority */
    uint32_t driver_version; /* as cuDriverGetVersion */
    uint32_t device_count;
    char vm[64];
    char driver[64]; /* "NVIDIA" or "vgpu software GPU" */
    char gpu[96];
    char mediator[64]; /* version text */
};

struct vgpu_mailbox_vm_status {
    struct vgpu_mailbox_response response;
    uint64_t memory_quota; /* bytes */
    uint64_t memory_used;  /* bytes */
    uint64_t calls;
    uint64_t bytes_to_device;
    uint64_t bytes_from_device;
    uint64_t gpu_nanoseconds;
    uint64_t uptime_nanoseconds; /* of the mediator */
    uint32_t channels_open;
    uint32_t channels_failed; /* closed for a fault: worker died, or garbage in the ring */
};

struct vgpu_mailbox_channel {
    struct vgpu_mailbox_response response;
    uint32_t channel; /* index in the channel table, and of the doorbell */
    uint32_t key;     /* proves ownership in CHANNEL_CLOSE and in the channel table */
    uint64_t offset;  /* of the channel's extent in the window */
    uint64_t size;    /* bytes */
};

struct vgpu_mailbox_channel_close {
    struct vgpu_mailbox_request request;
    uint32_t channel;
    uint32_t key; /* the table entry's key */
};

/** Another piece of the window for a channel: zeros. It goes with the channel. */
struct vgpu_mailbox_extent_open {
    struct vgpu_mailbox_request request;
    uint32_t channel;
    uint32_t key;
    uint64_t bytes; /* rounded up to VGPU_EXTENT_ALIGNMENT */
};

struct vgpu_mailbox_extent {
    struct vgpu_mailbox_response response;
    uint64_t offset; /* in the window */
    uint64_t size;   /* bytes */
    uint32_t extent; /* number among the channel's, below VGPU_CHANNEL_EXTENTS_MAX */
    uint32_t reserved;
};

struct vgpu_mailbox_extent_close {
    struct vgpu_mailbox_request request;
    uint32_t channel;
    uint32_t key;
    uint32_t extent;
    uint32_t reserved;
};

/** c[i] = a[i] + b[i] on the GPU, all inside the mailbox; request and answer travel whole. */
#define VGPU_VECTOR_ADD_MAX 120u
struct vgpu_mailbox_vector_add {
    struct vgpu_mailbox_request request;
    uint32_t count; /* 1..VGPU_VECTOR_ADD_MAX */
    uint32_t reserved;
    float operand[2 * VGPU_VECTOR_ADD_MAX]; /* count of a, then count of b */
};

struct vgpu_mailbox_vector_sum {
    struct vgpu_mailbox_response response;
    uint32_t count;
    uint32_t reserved;
    float sum[VGPU_VECTOR_ADD_MAX];
};

static_assert(sizeof(struct vgpu_mailbox_client) == 88, "wire format");
static_assert(sizeof(struct vgpu_mailbox_refusal) == 256, "wire format");
static_assert(sizeof(struct vgpu_mailbox_identity) == 336, "wire format");
static_assert(sizeof(struct vgpu_mailbox_vm_status) == 72, "wire format");
static_assert(sizeof(struct vgpu_mailbox_channel) == 32, "wire format");
static_assert(sizeof(struct vgpu_mailbox_channel_close) == 16, "wire format");
static_assert(sizeof(struct vgpu_mailbox_extent_open) == 24, "wire format");
static_assert(sizeof(struct vgpu_mailbox_extent) == 32, "wire format");
static_assert(sizeof(struct vgpu_mailbox_extent_close) == 24, "wire format");
static_assert(sizeof(struct vgpu_mailbox_vector_add) <= VGPU_MAILBOX_BYTES, "fits the mailbox");
static_assert(sizeof(struct vgpu_mailbox_vector_sum) <= VGPU_MAILBOX_BYTES, "fits the mailbox");

#endif
