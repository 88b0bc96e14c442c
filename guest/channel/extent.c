/* SPDX-License-Identifier: MIT */
/* More of the window for a channel: asked for through the mailbox. */
#include <errno.h>
#include <sys/mman.h>

#include "guest/channel/channel_private.h"

CUresult vgpu_channel_open_extent(struct vgpu_channel *channel, size_t bytes,
                                  struct vgpu_window_extent *extent)
{
    struct vgpu_transport *transport = channel->transport;
    struct vgpu_mailbox_extent_open request = {.request.op = VGPU_MAILBOX_EXTENT_OPEN,
                                               .channel = channel->number,
                                               .key = channel->key,
                                               .bytes = bytes};
    union {
        uint8_t bytes[VGPU_MAILBOX_BYTES];
        struct vgpu_mailbox_extent extent;
    } answer = {0};
    uint64_t end;
    CUresult lost = vgpu_channel_known_lost(channel);
    if (lost)
        return lost;
    int length = transport->operations->mailbox(transport, &request, sizeof(request), answer.bytes);
    if (length < (int)sizeof(struct vgpu_mailbox_response))
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    if (answer.extent.response.status == VGPU_MAILBOX_NO_SPACE)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (answer.extent.response.status != VGPU_MAILBOX_OK || length < (int)sizeof(answer.extent) ||
        answer.extent.size < bytes || answer.extent.offset % VGPU_EXTENT_ALIGNMENT ||
        __builtin_add_overflow(answer.extent.offset, answer.extent.size, &end) ||
        end > transport->window_size)
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    *extent = (struct vgpu_window_extent){.offset = answer.extent.offset,
                                          .bytes = answer.extent.size,
                                          .number = answer.extent.extent};
    return CUDA_SUCCESS;
}

void vgpu_channel_close_extent(struct vgpu_channel *channel,
                               const struct vgpu_window_extent *extent)
{
    struct vgpu_mailbox_extent_close request = {.request.op = VGPU_MAILBOX_EXTENT_CLOSE,
                                                .channel = channel->number,
                                                .key = channel->key,
                                                .extent = extent->number};
    uint8_t response[VGPU_MAILBOX_BYTES];
    /* Where this fails, the extent goes with its channel. */
    if (vgpu_channel_known_lost(channel) == CUDA_SUCCESS)
        channel->transport->operations->mailbox(channel->transport, &request, sizeof(request),
                                                response);
}

void *vgpu_channel_extent_memory(struct vgpu_channel *channel,
                                 const struct vgpu_window_extent *extent)
{
    struct vgpu_transport *transport = channel->transport;
    return vgpu_transport_use(transport, extent->offset, extent->bytes) < 0
               ? NULL
               : (char *)transport->window + extent->offset;
}

bool vgpu_channel_is_window(const struct vgpu_channel *channel, uint64_t device, uint64_t inode,
                            uintptr_t address)
{
    const struct vgpu_transport *transport = channel->transport;
    return inode == transport->window_inode && device == transport->window_device &&
           address - (uintptr_t)transport->window >= transport->window_size;
}

int vgpu_channel_copy_window(struct vgpu_channel *channel, uint64_t offset, size_t bytes,
                             int protection, void *address)
{
    void *memory = mmap(address, bytes, protection, MAP_PRIVATE | MAP_FIXED,
                        channel->transport->window_file, (off_t)offset);
    return memory == MAP_FAILED ? -errno : 0;
}

int vgpu_channel_map_extent(struct vgpu_channel *channel, const struct vgpu_window_extent *extent,
                            void *address, bool over)
{
    return vgpu_transport_map(channel->transport, address, extent->offset, extent->bytes, over);
}
