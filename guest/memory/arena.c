/* SPDX-License-Identifier: MIT */
#include "guest/memory/arena.h"

#include <stdlib.h>

#include "guest/memory/share.h"
#include "guest/memory/spans.h"
#include "protocol/channel.h"
#include "protocol/window.h"

#define FIRST_BYTES     ((size_t)4 << 20)  /* of the first arena; each later one is as large */
#define MOST_BYTES      ((size_t)32 << 20) /* as all before it together, up to this */
#define PROCESSES       64u                /* that share one window of the usual size */
#define ARENA_ALIGNMENT ((size_t)2 << 20)  /* of the size of an arena for one large piece */
#define LEAST_ALIGNMENT ((size_t)512)      /* as CUDA's */
#define PAGE            ((size_t)4096)

static_assert(PROCESSES * (VGPU_CHANNEL_BYTES + FIRST_BYTES) <=
                  VGPU_WINDOW_DEFAULT_SIZE - VGPU_WINDOW_EXTENTS_OFFSET,
              "so many processes with pinned memory fit");

struct vgpu_arena {
    struct vgpu_arena *next;
    struct vgpu_share share;
    struct vgpu_spans spans; /* by address */
};

static size_t alignment_of(size_t bytes)
{
    return bytes >= PAGE ? PAGE : LEAST_ALIGNMENT;
}

/* False if it overflows. */
static bool round_up(size_t bytes, size_t alignment, size_t *rounded)
{
    if (__builtin_add_overflow(bytes, alignment - 1, rounded))
        return false;
    *rounded &= ~(alignment - 1);
    return true;
}

static CUresult create(const struct vgpu_caller *caller, size_t bytes, struct vgpu_arena **out)
{
    struct vgpu_arena *arena = calloc(1, sizeof(*arena));
    if (arena == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_share_anywhere(caller, bytes, &arena->share);
    if (error) {
        free(arena);
        return error;
    }
    if (!vgpu_spans_init(&arena->spans, (uintptr_t)arena->share.address,
                         arena->share.extent.bytes)) {
        vgpu_share_end(caller->channel, &arena->share);
        free(arena);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *out = arena;
    return CUDA_SUCCESS;
}

/* A program that pins little shall not take much of what all share; one that pins much shall not
 * ask often. */
static size_t usual_bytes(const struct vgpu_arenas *arenas)
{
    size_t all = 0;
    for (const struct vgpu_arena *arena = arenas->first; arena; arena = arena->next)
        all += arena->share.extent.bytes;
    return all < FIRST_BYTES ? FIRST_BYTES : all < MOST_BYTES ? all : MOST_BYTES;
}

/* An arena with room for so much; where the window has no room for a whole one, a small one. */
static CUresult grow(const struct vgpu_arenas *arenas, const struct vgpu_caller *caller,
                     size_t bytes, struct vgpu_arena **arena)
{
    size_t least, usual = usual_bytes(arenas);
    CUresult error = CUDA_ERROR_OUT_OF_MEMORY;
    if (!round_up(bytes, ARENA_ALIGNMENT, &least))
        return error;
    if (least < usual)
        error = create(caller, usual, arena);
    if (error == CUDA_ERROR_OUT_OF_MEMORY)
        error = create(caller, least, arena);
    return error;
}

CUresult vgpu_arena_take(struct vgpu_arenas *arenas, const struct vgpu_caller *caller, size_t bytes,
                         void **memory)
{
    size_t alignment = alignment_of(bytes);
    uint64_t start;
    CUresult error = CUDA_SUCCESS;
    if (!round_up(bytes, alignment, &bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&arenas->lock);
    struct vgpu_arena *arena = arenas->first;
    while (arena && !vgpu_spans_take(&arena->spans, bytes, alignment, &start))
        arena = arena->next;
    if (arena == NULL) {
        error = arenas->impossible ? CUDA_ERROR_NOT_SUPPORTED : grow(arenas, caller, bytes, &arena);
        arenas->impossible = error == CUDA_ERROR_NOT_SUPPORTED;
        if (error == CUDA_SUCCESS) {
            arena->next = arenas->first;
            arenas->first = arena;
            if (!vgpu_spans_take(&arena->spans, bytes, alignment, &start))
                error = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    pthread_mutex_unlock(&arenas->lock);
    if (error == CUDA_SUCCESS)
        *memory = (void *)(uintptr_t)start;
    return error;
}

static bool is_empty(const struct vgpu_arena *arena)
{
    return vgpu_spans_whole(&arena->spans, arena->share.extent.bytes);
}

/* One empty arena of the first size stays for the next who asks. */
static bool is_needless(const struct vgpu_arenas *arenas, const struct vgpu_arena *arena)
{
    if (!is_empty(arena))
        return false;
    if (arena->share.extent.bytes > FIRST_BYTES)
        return true;
    for (const struct vgpu_arena *other = arenas->first; other; other = other->next) {
        if (other != arena && is_empty(other))
            return true;
    }
    return false;
}

/* The arena that went with the piece, or NULL. */
static struct vgpu_arena *put(struct vgpu_arenas *arenas, uintptr_t address, size_t bytes)
{
    struct vgpu_arena **link = &arenas->first;
    while (*link && address - (uintptr_t)(*link)->share.address >= (*link)->share.extent.bytes)
        link = &(*link)->next;
    struct vgpu_arena *arena = *link;
    if (arena == NULL)
        return NULL;
    vgpu_spans_put(&arena->spans, address, bytes);
    if (!is_needless(arenas, arena))
        return NULL;
    *link = arena->next;
    return arena;
}

void vgpu_arena_put(struct vgpu_arenas *arenas, struct vgpu_channel *channel, void *memory,
                    size_t bytes)
{
    round_up(bytes, alignment_of(bytes), &bytes); /* as it did when it was taken */
    pthread_mutex_lock(&arenas->lock);
    struct vgpu_arena *arena = put(arenas, (uintptr_t)memory, bytes);
    pthread_mutex_unlock(&arenas->lock);
    if (arena == NULL)
        return;
    /* Without the lock: the host may have to wait for the GPU. */
    vgpu_share_end(channel, &arena->share);
    vgpu_spans_destroy(&arena->spans);
    free(arena);
}
