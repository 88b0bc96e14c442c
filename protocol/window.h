/* SPDX-License-Identifier: MIT */
/**
 * The window: one sealed memfd per client, mapped by the guest (BAR1) and by the host.
 *
 *   [ header 4 KiB | channel table 16 KiB | extents ... ]
 *
 * The header is written by whoever made the window (the device, or the library in a host process),
 * the channel table by the mediator. Guests may scribble over all of it: the host keeps its own
 * copy of everything that it decides on and reads nothing here but what protects no one else.
 */
#ifndef VGPU_PROTOCOL_WINDOW_H
#define VGPU_PROTOCOL_WINDOW_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/registers.h"

#define VGPU_WINDOW_MAGIC          0x57504756u /* "VGPW" */
#define VGPU_WINDOW_DEFAULT_SIZE   (1ull << 30)
#define VGPU_WINDOW_MINIMUM_SIZE   (16ull << 20)
#define VGPU_WINDOW_TABLE_OFFSET   0x1000u
#define VGPU_WINDOW_EXTENTS_OFFSET 0x5000u
#define VGPU_EXTENT_ALIGNMENT      0x1000u

struct vgpu_window_header {
    uint32_t magic;
    uint32_t version; /* VGPU_PROTOCOL_VERSION */
    uint64_t size;    /* bytes */
    uint32_t channel_count;
    /** 1 while a mediator is connected. A release store by the window's maker; waiting guests load
     *  it with acquire: 0, or another generation than at open, means that the channel is lost. */
    uint32_t connected;
    uint32_t generation; /* counts the mediators that were connected */
    uint32_t reserved[9];
};

enum vgpu_channel_state {
    VGPU_CHANNEL_FREE = 0,
    VGPU_CHANNEL_OPEN = 1,
    VGPU_CHANNEL_LOST = 2, /* its worker is gone; `error` says why; CHANNEL_CLOSE frees the entry */
};

/** What an error does not say, for whoever reads what a program tells on stderr. */
enum vgpu_channel_cause {
    VGPU_CAUSE_NONE = 0,
    VGPU_CAUSE_QUARANTINE = 1, /* the VM may not use the GPU until an administrator lets it in */
};

/** One entry per channel. `state` is a release store by the mediator, an acquire load in guests. */
struct vgpu_channel_entry {
    uint32_t state;   /* enum vgpu_channel_state */
    uint32_t error;   /* CUresult that every call of a lost channel returns */
    uint32_t key;     /* changes with every open */
    uint32_t process; /* guest's process id, as it said in CHANNEL_OPEN */
    uint64_t offset;
    uint64_t size;
    uint32_t cause; /* enum vgpu_channel_cause, of a lost channel */
    uint32_t reserved[7];
};

static_assert(sizeof(struct vgpu_window_header) == 64, "window layout");
static_assert(offsetof(struct vgpu_window_header, connected) == 20, "window layout");
static_assert(sizeof(struct vgpu_channel_entry) == 64, "window layout");
static_assert(VGPU_WINDOW_TABLE_OFFSET + VGPU_DOORBELL_MAX * sizeof(struct vgpu_channel_entry) ==
                  VGPU_WINDOW_EXTENTS_OFFSET,
              "the table fills its place");

/** Entry `index` of the table in a mapped window; the caller checks the index. */
static inline struct vgpu_channel_entry *vgpu_window_entry(void *window, uint32_t index)
{
    return (struct vgpu_channel_entry *)((char *)window + VGPU_WINDOW_TABLE_OFFSET) + index;
}

#endif
