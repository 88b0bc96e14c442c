/* SPDX-License-Identifier: MIT */
/** Channels of a session: extent, table entry and worker, from open to reaped. */
#ifndef VGPU_MEDIATOR_CHANNEL_H
#define VGPU_MEDIATOR_CHANNEL_H

#include "mediator/gpu_time.h"
#include "mediator/spawn.h"
#include "mediator/watchdog.h"
#include "protocol/channel.h"
#include "protocol/mailbox.h"

struct vgpu_session;

enum vgpu_channel_life {
    VGPU_CHANNEL_ALIVE,   /* its worker runs */
    VGPU_CHANNEL_CLOSING, /* its worker was killed because somebody asked; not yet reaped */
    VGPU_CHANNEL_DEAD,    /* its worker is gone; the guest has yet to close it */
};

/** Why the mediator has killed a worker that it had not been asked to. */
enum vgpu_verdict {
    VGPU_VERDICT_NONE,        /* it has not */
    VGPU_VERDICT_QUARANTINED, /* the VM may not use the GPU */
    VGPU_VERDICT_HUNG,        /* the watchdog */
};

struct vgpu_channel {
    struct vgpu_session *session;
    struct vgpu_channel *next_of_vm; /* while its worker lives */
    uint32_t index;
    uint32_t key;
    uint32_t process; /* as the guest says */
    char program[64]; /* printable */
    enum vgpu_channel_life life;
    enum vgpu_verdict verdict; /* alive, but its worker was killed */
    char why[128];             /* the watchdog's words */
    struct vgpu_watchdog watchdog;
    uint64_t drained; /* records that it had completed when a drain last looked */
    uint64_t offset;
    struct vgpu_worker worker;
    struct vgpu_gpu_share gpu_share;
    uint64_t late; /* of the page's, as far as it was charged: mediator/lease.c */
    uint32_t latency[VGPU_LATENCY_BUCKETS]; /* round trips that the VM's totals have */
    struct vgpu_channel_extent {
        uint64_t offset;
        uint64_t size; /* 0: this number is free */
    } * extents;
    uint32_t extent_count; /* numbers that were ever used */
};

/**
 * Opens a channel and starts its worker. Returns 0, -EBUSY (all channels are taken), -ENOSPC (the
 * window is full) or another negative errno.
 */
int vgpu_channel_open(struct vgpu_session *session, const struct vgpu_mailbox_client *client,
                      struct vgpu_channel **out);

/** The open channel with this index and key, or NULL. */
struct vgpu_channel *vgpu_channel_find(struct vgpu_session *session, uint32_t index, uint32_t key);

/**
 * Gives a channel another piece of the window, which is made of zeros. Returns 0, -ENOSPC (the
 * window is full, or the channel has all that it may), -EPIPE (its worker is gone) or -ENOMEM.
 */
int vgpu_channel_open_extent(struct vgpu_channel *channel, uint64_t bytes, uint32_t *number);

/** Takes a piece back. Returns 0, -ENOENT or -EBUSY (the worker has it mapped). */
int vgpu_channel_close_extent(struct vgpu_channel *channel, uint32_t number);

/** Kills the worker. The entry is free at once, index and extent when the worker was reaped. */
void vgpu_channel_close(struct vgpu_channel *channel);

/** Kills the worker: the guest finds the channel lost, and why. */
void vgpu_channel_condemn(struct vgpu_channel *channel, enum vgpu_verdict verdict);

/** Takes all channels away: workers are killed, and the guest finds its channels lost. */
void vgpu_channels_revoke(struct vgpu_session *session);

/** Closes all channels; those whose workers live stay until these are reaped. */
void vgpu_channels_close(struct vgpu_session *session);

#endif
