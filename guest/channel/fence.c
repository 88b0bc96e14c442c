/* SPDX-License-Identifier: MIT */
/* Fences: words that the GPU writes. Staging: memory on loan until such a word was written. */
#include <string.h>

#include "guest/channel/channel_private.h"

/* The first fences belong to the staging chunks, one each. */
static_assert(VGPU_STAGING_CHUNKS <= 64, "they are in the first word of the set");

void vgpu_fences_init(struct vgpu_channel *channel)
{
    pthread_mutex_init(&channel->fences_lock, NULL);
    pthread_mutex_init(&channel->chunks_lock, NULL);
    pthread_cond_init(&channel->chunk_free, NULL);
    channel->fences[0] = (1ull << VGPU_STAGING_CHUNKS) - 1;
}

static uint32_t *fence_word(struct vgpu_channel *channel, uint32_t fence)
{
    return (uint32_t *)(vgpu_channel_extent(channel) + VGPU_CHANNEL_FENCES_OFFSET) + fence;
}

/* ------------------------------------------------------------------------------------------------
 * Fences
 */

CUresult vgpu_fence_take(struct vgpu_channel *channel, uint32_t *fence)
{
    CUresult error = vgpu_channel_known_lost(channel);
    if (error)
        return error;
    error = CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&channel->fences_lock);
    for (uint32_t i = 0; i < VGPU_FENCES / 64; i++) {
        uint32_t word = (channel->fence_hint + i) % (VGPU_FENCES / 64);
        if (~channel->fences[word] == 0)
            continue;
        uint32_t bit = (uint32_t)__builtin_ctzll(~channel->fences[word]);
        channel->fences[word] |= 1ull << bit;
        channel->fence_hint = word;
        *fence = word * 64 + bit;
        /* relaxed: the record that asks for the fence is pushed later, with release */
        __atomic_store_n(fence_word(channel, *fence), 0, __ATOMIC_RELAXED);
        error = CUDA_SUCCESS;
        break;
    }
    pthread_mutex_unlock(&channel->fences_lock);
    return error;
}

void vgpu_fence_put(struct vgpu_channel *channel, uint32_t fence)
{
    if (vgpu_channel_known_lost(channel) || fence >= VGPU_FENCES)
        return;
    pthread_mutex_lock(&channel->fences_lock);
    channel->fences[fence / 64] &= ~(1ull << fence % 64);
    pthread_mutex_unlock(&channel->fences_lock);
}

bool vgpu_fence_reached(struct vgpu_channel *channel, uint32_t fence, uint32_t value)
{
    /* acquire: pairs with the GPU's write, which comes after the work before it */
    uint32_t word = __atomic_load_n(fence_word(channel, fence), __ATOMIC_ACQUIRE);
    return (int32_t)(word - value) >= 0;
}

struct awaited_fence {
    uint32_t fence;
    uint32_t value;
};

static bool error_reported(struct vgpu_channel *channel)
{
    /* relaxed: who takes the error acquires it */
    return __atomic_load_n(&channel->header->deferred_error, __ATOMIC_RELAXED) != CUDA_SUCCESS;
}

static bool reached_or_error(struct vgpu_channel *channel, void *argument)
{
    const struct awaited_fence *awaited = argument;
    return vgpu_fence_reached(channel, awaited->fence, awaited->value) || error_reported(channel);
}

CUresult vgpu_fence_wait(struct vgpu_channel *channel, uint32_t fence, uint32_t value)
{
    struct awaited_fence awaited = {fence, value};
    CUresult error = vgpu_channel_known_lost(channel);
    if (error || vgpu_fence_reached(channel, fence, value))
        return error;
    uint64_t start = vgpu_channel_clock();
    __atomic_fetch_add(&channel->trace.fences, 1, __ATOMIC_RELAXED);
    error = vgpu_channel_wait(channel, reached_or_error, &awaited, VGPU_WAIT_WORK);
    if (!error)
        vgpu_channel_measured(channel, start);
    return error;
}

/* ------------------------------------------------------------------------------------------------
 * Staging
 */

static bool chunk_ready(struct vgpu_channel *channel, uint32_t index)
{
    struct vgpu_chunk *chunk = &channel->chunks[index];
    return !chunk->fenced || vgpu_fence_reached(channel, index, chunk->value);
}

/* A free chunk that the GPU has finished with, or else the one that was given back first. */
static struct vgpu_chunk *choose_chunk(struct vgpu_channel *channel)
{
    struct vgpu_chunk *best = NULL;
    for (uint32_t i = 0; i < VGPU_STAGING_CHUNKS; i++) {
        struct vgpu_chunk *chunk = &channel->chunks[i];
        if (chunk->taken)
            continue;
        if (chunk_ready(channel, i))
            return chunk;
        if (!best || chunk->returned_at < best->returned_at)
            best = chunk;
    }
    return best;
}

static void release_chunk(struct vgpu_channel *channel, uint32_t index, bool fenced)
{
    struct vgpu_chunk *chunk = &channel->chunks[index];
    pthread_mutex_lock(&channel->chunks_lock);
    chunk->taken = false;
    chunk->fenced = fenced;
    chunk->returned_at = ++channel->returns;
    pthread_cond_signal(&channel->chunk_free);
    pthread_mutex_unlock(&channel->chunks_lock);
}

CUresult vgpu_staging_take(struct vgpu_channel *channel, struct vgpu_staging *staging)
{
    CUresult error = vgpu_channel_known_lost(channel);
    if (error)
        return error;
    struct vgpu_chunk *chunk;
    pthread_mutex_lock(&channel->chunks_lock);
    while (!(chunk = choose_chunk(channel)))
        pthread_cond_wait(&channel->chunk_free, &channel->chunks_lock);
    chunk->taken = true;
    pthread_mutex_unlock(&channel->chunks_lock);

    uint32_t index = (uint32_t)(chunk - channel->chunks);
    if (!chunk_ready(channel, index)) {
        error = vgpu_fence_wait(channel, index, chunk->value);
        if (!error && !chunk_ready(channel, index))
            /* The fence may never come. Told, not taken: who synchronises next takes it. */
            error = (CUresult)__atomic_load_n(&channel->header->deferred_error, __ATOMIC_RELAXED);
    }
    if (error) {
        release_chunk(channel, index, true);
        return error;
    }
    chunk->value++;
    *staging = (struct vgpu_staging){
        .memory = vgpu_channel_extent(channel) + VGPU_CHANNEL_STAGING_OFFSET +
                  (size_t)index * VGPU_STAGING_CHUNK_BYTES,
        .offset = index * VGPU_STAGING_CHUNK_BYTES,
        .chunk = index,
        .fence = index,
        .fence_value = chunk->value,
    };
    return CUDA_SUCCESS;
}

void vgpu_staging_put(struct vgpu_channel *channel, const struct vgpu_staging *staging, bool fenced)
{
    if (!vgpu_channel_known_lost(channel))
        release_chunk(channel, staging->chunk, fenced);
}
