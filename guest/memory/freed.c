/* SPDX-License-Identifier: MIT */
#include "guest/memory/freed.h"

#include <string.h>

#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "protocol/send.h"

static void take_out(struct vgpu_freed *freed, uint32_t place)
{
    uint32_t count = freed->count - 1;
    freed->bytes -= freed->blocks[place].bytes;
    memmove(&freed->blocks[place], &freed->blocks[place + 1],
            (count - place) * sizeof(*freed->blocks));
    /* relaxed: who looks without the lock has freed nothing, or sees what it did itself */
    __atomic_store_n(&freed->count, count, __ATOMIC_RELAXED);
}

static bool is_same(const struct vgpu_freed_block *block, const struct vgpu_stream *stream)
{
    return block->stream == stream && block->unique == stream->unique;
}

/* Its stream lives: whoever destroys a stream has had the host told before. */
static void tell_oldest(struct vgpu_freed *freed, struct vgpu_channel *channel)
{
    const struct vgpu_freed_block block = freed->blocks[0];
    take_out(freed, 0);
    vgpu_send_cuMemFreeAsync(channel, block.context, block.start, block.stream->object.id);
    vgpu_stream_submitted(block.stream);
}

bool vgpu_freed_keep(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                     const struct vgpu_pool *pool, CUdeviceptr start, size_t bytes)
{
    struct vgpu_freed *freed = &vgpu_process()->freed;
    if (bytes > VGPU_FREED_BYTES / 2)
        return false;
    pthread_mutex_lock(&freed->lock);
    while (freed->count == VGPU_FREED_BLOCKS || freed->bytes + bytes > VGPU_FREED_BYTES)
        tell_oldest(freed, caller->channel);
    freed->blocks[freed->count] = (struct vgpu_freed_block){.start = start,
                                                            .bytes = bytes,
                                                            .pool = pool,
                                                            .stream = stream,
                                                            .unique = stream->unique,
                                                            .context = caller->context};
    freed->bytes += bytes;
    __atomic_store_n(&freed->count, freed->count + 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&freed->lock);
    return true;
}

CUdeviceptr vgpu_freed_take(const struct vgpu_stream *stream, const struct vgpu_pool *pool,
                            size_t bytes)
{
    struct vgpu_freed *freed = &vgpu_process()->freed;
    CUdeviceptr start = 0;
    if (__atomic_load_n(&freed->count, __ATOMIC_RELAXED) == 0)
        return 0;
    pthread_mutex_lock(&freed->lock);
    for (uint32_t i = freed->count; i-- > 0 && start == 0;) {
        const struct vgpu_freed_block *block = &freed->blocks[i];
        if (block->bytes == bytes && block->pool == pool && is_same(block, stream)) {
            start = block->start;
            take_out(freed, i);
        }
    }
    pthread_mutex_unlock(&freed->lock);
    return start;
}

void vgpu_freed_tell(struct vgpu_channel *channel)
{
    struct vgpu_freed *freed = &vgpu_process()->freed;
    if (__atomic_load_n(&freed->count, __ATOMIC_RELAXED) == 0)
        return;
    pthread_mutex_lock(&freed->lock);
    while (freed->count)
        tell_oldest(freed, channel);
    pthread_mutex_unlock(&freed->lock);
}
