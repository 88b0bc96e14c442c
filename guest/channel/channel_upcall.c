/* SPDX-License-Identifier: MIT */
/* The place in the channel's header where the host posts functions of the program. */
#include "guest/channel/channel_private.h"

bool vgpu_upcall_posted(struct vgpu_channel *channel, struct vgpu_upcall_request *request)
{
    const struct vgpu_upcall_place *place = &channel->header->upcall;
    /* acquire: pairs with the worker's release store, after which the rest is there */
    uint32_t posted = __atomic_load_n(&place->posted, __ATOMIC_ACQUIRE);
    if (posted == __atomic_load_n(&place->done, __ATOMIC_RELAXED))
        return false;
    *request = (struct vgpu_upcall_request){.sequence = posted,
                                            .kind = (enum vgpu_upcall_kind)place->kind,
                                            .id = place->id,
                                            .status = (CUresult)place->status};
    return true;
}

static bool posted_or_stopped(struct vgpu_channel *channel, void *argument)
{
    const bool *stop = argument;
    struct vgpu_upcall_request request;
    return vgpu_upcall_posted(channel, &request) || __atomic_load_n(stop, __ATOMIC_RELAXED);
}

CUresult vgpu_upcall_wait(struct vgpu_channel *channel, const bool *stop)
{
    return vgpu_channel_wait(channel, posted_or_stopped, (void *)stop, VGPU_WAIT_UPCALL);
}

void vgpu_upcall_answer(struct vgpu_channel *channel, const struct vgpu_upcall_request *request)
{
    /* release: pairs with the worker's acquire load; what the function wrote is there for the GPU
     */
    __atomic_store_n(&channel->header->upcall.done, request->sequence, __ATOMIC_RELEASE);
}
