/* SPDX-License-Identifier: MIT */
/**
 * A process's channel: calls go in, replies and fences come back. All functions may be called from
 * any thread. Once the channel is lost (worker or mediator gone) every function returns the same
 * error without waiting. Nothing here blocks on anything but the worker's progress.
 */
#ifndef VGPU_GUEST_CHANNEL_H
#define VGPU_GUEST_CHANNEL_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/channel.h"

struct vgpu_channel;

/**
 * Opens the transport, compares protocols, opens a channel. CUDA_ERROR_NO_DEVICE: no vgpu device
 * and no socket; SYSTEM_NOT_READY: no mediator; SYSTEM_DRIVER_MISMATCH: it speaks another protocol;
 * OUT_OF_MEMORY: no free channel; OPERATING_SYSTEM. The reason is logged in one line.
 */
CUresult vgpu_channel_open(struct vgpu_channel **out);
void vgpu_channel_close(struct vgpu_channel *channel);

/** Appends an asynchronous record (sequence is filled in); waits only while the ring is full. */
CUresult vgpu_channel_post(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2);

/**
 * Appends a record and waits for its reply. At most `capacity` bytes of reply payload are copied to
 * `reply`, their number to *reply_bytes (may be NULL). Returns the call's CUresult.
 */
CUresult vgpu_channel_call(struct vgpu_channel *channel, struct vgpu_call_header *header,
                           const void *part1, size_t bytes1, const void *part2, size_t bytes2,
                           struct vgpu_result *result, void *reply, size_t capacity,
                           size_t *reply_bytes);

/** Has a function called before each record with a reply is made: it may append others. */
void vgpu_channel_before_calls(struct vgpu_channel *channel,
                               void (*function)(struct vgpu_channel *channel));

/**
 * Has a function called, in the thread that called, when the host puts a call off that would wait
 * for the GPU: it waits for the work, and returns true, or false if it cannot.
 */
void vgpu_channel_when_busy(struct vgpu_channel *channel,
                            bool (*function)(struct vgpu_channel *channel));

/**
 * A fence word of one's own, and the value that it has: those to be asked for come after it. A word
 * never steps back, whoever owns it: the worker may not have seen yet that the value before was
 * reached, and would wait for it. CUDA_ERROR_OUT_OF_MEMORY when all are taken.
 */
CUresult vgpu_fence_take(struct vgpu_channel *channel, uint32_t *fence, uint32_t *value);
/** The same for those who can do without: some are left to the others. */
CUresult vgpu_fence_take_spare(struct vgpu_channel *channel, uint32_t *fence, uint32_t *value);
/** Gives one back of which all values that were asked for have been reached. */
void vgpu_fence_put(struct vgpu_channel *channel, uint32_t fence);

/** True if the word has reached `value` (compared as serial numbers: it may wrap). Acquire. */
bool vgpu_fence_reached(struct vgpu_channel *channel, uint32_t fence, uint32_t value);

/** Spins, then sleeps, until the fence is reached, the channel is lost, or an asynchronous error is
 *  reported (then CUDA_SUCCESS too: the caller asks vgpu_channel_take_error). */
CUresult vgpu_fence_wait(struct vgpu_channel *channel, uint32_t fence, uint32_t value);

/** The first asynchronous error since the last call, or CUDA_SUCCESS; takes it. */
CUresult vgpu_channel_take_error(struct vgpu_channel *channel);

/** CUDA_SUCCESS while the channel lives, else the error that it was lost with. */
CUresult vgpu_channel_alive(struct vgpu_channel *channel);

/** A chunk of staging memory (VGPU_STAGING_CHUNK_BYTES) of one's own. `offset` is from the start of
 *  the staging area, as the wire wants it. */
struct vgpu_staging {
    void *memory;
    uint32_t offset;
    uint32_t chunk;
    uint32_t fence; /* write fence_value here (vgpuFence) when the GPU is done with the chunk */
    uint32_t fence_value;
};

enum vgpu_staging_wait {
    VGPU_STAGING_WAIT,        /* until there is one */
    VGPU_STAGING_WAIT_FOR_US, /* for those of the same owner, but for nobody else's */
    VGPU_STAGING_AT_ONCE,
};

/**
 * Takes a chunk that the GPU has finished with. `owner` is the stream that will use it, and only
 * compared: what it has of the chunks is limited, so that others get on if it does not; NULL for
 * what is done in no stream. CUDA_ERROR_NOT_READY if that would be a longer wait than `wait` says.
 */
CUresult vgpu_staging_take(struct vgpu_channel *channel, const void *owner,
                           enum vgpu_staging_wait wait, struct vgpu_staging *staging);
/** Gives it back; it is reused after its fence, which must have been posted if `fenced`. */
void vgpu_staging_put(struct vgpu_channel *channel, const struct vgpu_staging *staging,
                      bool fenced);

/** A function of the program that the host wants run. */
struct vgpu_upcall_request {
    uint32_t sequence;
    enum vgpu_upcall_kind kind;
    uint32_t id;
    CUresult status;
};

/** True, and *request, if the host has posted one that was not answered yet. For one thread. */
bool vgpu_upcall_posted(struct vgpu_channel *channel, struct vgpu_upcall_request *request);

/** Spins, then sleeps, until one is posted, until *stop (atomic) or until the channel is lost. */
CUresult vgpu_upcall_wait(struct vgpu_channel *channel, const bool *stop);

/** Tells the host that it has been run. */
void vgpu_upcall_answer(struct vgpu_channel *channel, const struct vgpu_upcall_request *request);
/** A piece of the window that belongs to the channel, beside its own memory. */
struct vgpu_window_extent {
    uint64_t offset; /* in the window */
    size_t bytes;
    uint32_t number; /* for the worker */
};
/** Asks the mediator for one; its memory is zero. CUDA_ERROR_OUT_OF_MEMORY: the window has no room,
 *  DEVICE_UNAVAILABLE: the channel is lost. */
CUresult vgpu_channel_open_extent(struct vgpu_channel *channel, size_t bytes,
                                  struct vgpu_window_extent *extent);
/** Gives it back; the worker must have unmapped it. */
void vgpu_channel_close_extent(struct vgpu_channel *channel,
                               const struct vgpu_window_extent *extent);
/** Where this process has it as a part of the window. NULL: the kernel has no memory for that. */
void *vgpu_channel_extent_memory(struct vgpu_channel *channel,
                                 const struct vgpu_window_extent *extent);
/** Whether a mapping of this file at `address` is one of the window, beside that of the whole. */
bool vgpu_channel_is_window(const struct vgpu_channel *channel, uint64_t device, uint64_t inode,
                            uintptr_t address);
/** Maps what a part of the window holds now over `address`: a copy as soon as it is written to. For
 *  forked children, before the transport's own handler. Returns 0 or a negative errno. */
int vgpu_channel_copy_window(struct vgpu_channel *channel, uint64_t offset, size_t bytes,
                             int protection, void *address);
/** As vgpu_transport_map. */
int vgpu_channel_map_extent(struct vgpu_channel *channel, const struct vgpu_window_extent *extent,
                            void *address, bool over);

struct vgpu_pci_place;
/** As vgpu_transport_place (guest/channel/transport.h). */
bool vgpu_channel_place(const struct vgpu_channel *channel, struct vgpu_pci_place *place);

/** Prints what device code has printed so far (the worker holds it) to this process's stdout. */
void vgpu_channel_flush_console(struct vgpu_channel *channel);

#endif
