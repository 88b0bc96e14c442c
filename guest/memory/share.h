/* SPDX-License-Identifier: MIT */
/** Memory that this process, its worker and the GPU have at the same address. Any thread may call
 *  these. */
#ifndef VGPU_GUEST_SHARE_H
#define VGPU_GUEST_SHARE_H

#include "guest/channel/channel.h"
#include "guest/process/caller.h"

struct vgpu_share {
    void *address;
    struct vgpu_window_extent extent; /* extent.bytes is its size: whole pages, at least as asked */
};

/**
 * Maps zeros at an address that is free on both sides. CUDA_ERROR_OUT_OF_MEMORY: the window has no
 * room; NOT_SUPPORTED: the driver cannot reach such memory, or no address is free on both sides
 * (one line in the log says which).
 */
CUresult vgpu_share_anywhere(const struct vgpu_caller *caller, size_t bytes,
                             struct vgpu_share *share);

/** Copies whole pages. Those at both ends are shared with what else the process has there: they are
 *  copied once more at the end, to be as they are then. */
void vgpu_share_copy_pages(void *to, const void *from, size_t bytes);

/**
 * The same in the place of private pages of this process, which keep their contents; `address` and
 * `bytes` are whole pages. Nobody else may write to them meanwhile. After vgpu_share_end they are
 * no longer mapped: the caller puts something there.
 */
CUresult vgpu_share_over(const struct vgpu_caller *caller, void *address, size_t bytes,
                         struct vgpu_share *share);

/** Takes the memory away from the device, once that has finished with it, and unmaps it. */
void vgpu_share_end(struct vgpu_channel *channel, const struct vgpu_share *share);

/** As vgpu_share_end, but what is mapped here now stays: the caller has replaced it. */
void vgpu_share_abandon(struct vgpu_channel *channel, const struct vgpu_share *share);

#endif
