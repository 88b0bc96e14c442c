/* SPDX-License-Identifier: MIT */
/* Fences: words that the GPU writes. Staging: memory on loan until such a word was written. */
#include <string.h>

#include "guest/channel/channel_private.h"
#include "interop/thread.h"

#define FENCES_KEPT 4096u /* for those who cannot do without */
#define SHARE       4u    /* chunks of one stream, for each that is left to the others but one */

/* The first fences belong to the staging chunks, one each. */
static_assert(VGPU_STAGING_CHUNKS <= 64, "they are in the first word of the set");

void vgpu_fences_init(struct vgpu_channel *channel)
{
    pthread_mutex_init(&channel->fences_lock, NULL);
    pthread_mutex_init(&channel->chunks_lock, NULL);
    pthread_cond_init(&channel->chunk_free, NULL);
    channel->fences[0] = (1ull << VGPU_STAGING_CHUNKS) - 1;
    channel->fences_free = VGPU_FENCES - VGPU_STAGING_CHUNKS;
}

static uint32_t *fence_word(struct vgpu_channel *channel, uint32_t fence)
{
    return (uint32_t *)(vgpu_channel_extent(channel) + VGPU_CHANNEL_FENCES_OFFSET) + fence;
}

/* ------------------------------------------------------------------------------------------------
 * Fences
 */

/* Takes one if there are more than `kept`. */
static CUresult take_beyond(struct vgpu_channel *channel, uint32_t kept, uint32_t *fence,
                            uint32_t *value)
{
    CUresult error = vgpu_channel_known_lost(channel);
    if (error)
        return error;
    error = CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&channel->fences_lock);
    for (uint32_t i = 0; i < VGPU_FENCES / 64 && channel->fences_free > kept; i++) {
        uint32_t word = (channel->fence_hint + i) % (VGPU_FENCES / 64);
        if (~channel->fences[word] == 0)
            continue;
        uint32_t bit = (uint32_t)__builtin_ctzll(~channel->fences[word]);
        channel->fences[word] |= 1ull << bit;
        channel->fence_hint = word;
        channel->fences_free--;
        *fence = word * 64 + bit;
        /* relaxed: who gave it back had seen this value, under the lock's order */
        *value = __atomic_load_n(fence_word(channel, *fence), __ATOMIC_RELAXED);
        error = CUDA_SUCCESS;
        break;
    }
    pthread_mutex_unlock(&channel->fences_lock);
    return error;
}

CUresult vgpu_fence_take(struct vgpu_channel *channel, uint32_t *fence, uint32_t *value)
{
    return take_beyond(channel, 0, fence, value);
}

CUresult vgpu_fence_take_spare(struct vgpu_channel *channel, uint32_t *fence, uint32_t *value)
{
    return take_beyond(channel, FENCES_KEPT, fence, value);
}

void vgpu_fence_put(struct vgpu_channel *channel, uint32_t fence)
{
    if (vgpu_channel_known_lost(channel) || fence >= VGPU_FENCES)
        return;
    pthread_mutex_lock(&channel->fences_lock);
    channel->fences[fence / 64] &= ~(1ull << fence % 64);
    channel->fences_free++;
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

/* What a look at all chunks has found. */
struct choice {
    struct vgpu_chunk *ready;  /* free, and the GPU has finished with it */
    struct vgpu_chunk *oldest; /* of the owner's, that the GPU still has, the first to be ready */
    uint32_t ready_count;
    uint32_t mine; /* of the owner's: taken, or with the GPU */
};

static struct choice look_at_chunks(struct vgpu_channel *channel, const void *owner)
{
    struct choice choice = {0};
    for (uint32_t i = 0; i < VGPU_STAGING_CHUNKS; i++) {
        struct vgpu_chunk *chunk = &channel->chunks[i];
        bool mine = owner == NULL || chunk->owner == owner;
        if (!chunk->taken && chunk_ready(channel, i)) {
            choice.ready = chunk;
            choice.ready_count++;
            continue;
        }
        choice.mine += mine;
        if (!chunk->taken && mine &&
            (!choice.oldest || chunk->returned_at < choice.oldest->returned_at))
            choice.oldest = chunk;
    }
    return choice;
}

/* A stream that does not get on shall not have all: the more it has, the more must be left. */
static bool may_have_more(const struct choice *choice, const void *owner)
{
    if (choice->ready == NULL)
        return false;
    return owner == NULL || choice->mine == 0 || choice->mine < SHARE * (choice->ready_count - 1);
}

/* For waiting until somebody else's chunk is ready; who cannot look now looks again. */
static bool some_ready_or_error(struct vgpu_channel *channel, void *argument)
{
    (void)argument;
    if (error_reported(channel))
        return true;
    if (pthread_mutex_trylock(&channel->chunks_lock) != 0)
        return false;
    bool ready = look_at_chunks(channel, NULL).ready != NULL;
    pthread_mutex_unlock(&channel->chunks_lock);
    return ready;
}

static void release_chunk(struct vgpu_channel *channel, uint32_t index, bool fenced)
{
    struct vgpu_chunk *chunk = &channel->chunks[index];
    pthread_mutex_lock(&channel->chunks_lock);
    chunk->taken = false;
    chunk->fenced = fenced;
    chunk->returned_at = ++channel->returns;
    pthread_cond_broadcast(&channel->chunk_free); /* not everybody may have it */
    pthread_mutex_unlock(&channel->chunks_lock);
}

/* Takes a chunk, which may not be ready yet if it is the owner's. *out is NULL if all are others'.
 * With `wait`, the owner's other threads are waited for. */
static void choose_chunk(struct vgpu_channel *channel, const void *owner, bool wait,
                         struct vgpu_chunk **out)
{
    struct vgpu_chunk *chunk;
    pthread_mutex_lock(&channel->chunks_lock);
    for (;;) {
        struct choice choice = look_at_chunks(channel, owner);
        chunk = may_have_more(&choice, owner) ? choice.ready : wait ? choice.oldest : NULL;
        if (chunk || !wait || choice.mine == 0)
            break;
        vgpu_thread_wait_second(&channel->chunk_free, &channel->chunks_lock);
    }
    if (chunk) {
        chunk->taken = true;
        chunk->owner = owner;
    }
    pthread_mutex_unlock(&channel->chunks_lock);
    *out = chunk;
}

CUresult vgpu_staging_take(struct vgpu_channel *channel, const void *owner,
                           enum vgpu_staging_wait wait, struct vgpu_staging *staging)
{
    struct vgpu_chunk *chunk = NULL;
    CUresult error = vgpu_channel_known_lost(channel);
    while (error == CUDA_SUCCESS && chunk == NULL) {
        choose_chunk(channel, owner, wait != VGPU_STAGING_AT_ONCE, &chunk);
        if (chunk)
            break;
        if (wait != VGPU_STAGING_WAIT)
            return CUDA_ERROR_NOT_READY;
        if (error_reported(channel)) /* told, not taken: who synchronises next takes it */
            return (CUresult)__atomic_load_n(&channel->header->deferred_error, __ATOMIC_RELAXED);
        error = vgpu_channel_wait(channel, some_ready_or_error, NULL, VGPU_WAIT_WORK);
    }
    if (error)
        return error;

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
