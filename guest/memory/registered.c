/* SPDX-License-Identifier: MIT */
#include "guest/memory/registered.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "guest/memory/maps.h"
#include "guest/memory/share.h"
#include "interop/thread.h"

#define PAGE ((uintptr_t)4096)

struct vgpu_registered_piece {
    struct vgpu_registered_piece *next;
    struct vgpu_share share;
    unsigned int users; /* registrations that have pages of it */
};

static uintptr_t start_of(const struct vgpu_registered_piece *piece)
{
    return (uintptr_t)piece->share.address;
}

static uintptr_t end_of(const struct vgpu_registered_piece *piece)
{
    return start_of(piece) + piece->share.extent.bytes;
}

/* False if the pages around the memory are more than there can be. */
static bool pages_around(const void *memory, size_t bytes, uintptr_t *start, uintptr_t *end)
{
    uintptr_t last;
    *start = (uintptr_t)memory & ~(PAGE - 1);
    if (__builtin_add_overflow((uintptr_t)memory, bytes, &last) ||
        __builtin_add_overflow(last, PAGE - 1, &last))
        return false;
    *end = last & ~(PAGE - 1);
    return true;
}

/* ---- what is mapped where ---- */

static bool is_replaceable(uintptr_t start, uintptr_t end)
{
    struct vgpu_maps maps;
    struct vgpu_mapping mapping;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), at = start;
    if ((here >= start && here < end) || vgpu_maps_open(&maps) < 0)
        return false;
    while (at < end && vgpu_maps_next(&maps, &mapping)) {
        if (mapping.end <= at)
            continue;
        if (mapping.start > at || mapping.shared || mapping.stack ||
            (mapping.protection & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE))
            break;
        at = mapping.end;
    }
    vgpu_maps_close(&maps);
    return at >= end;
}

/* The next mapping of the window, beside that of the whole. */
static bool next_shared(struct vgpu_maps *maps, const struct vgpu_channel *channel,
                        struct vgpu_mapping *mapping)
{
    while (vgpu_maps_next(maps, mapping)) {
        if (mapping->shared &&
            vgpu_channel_is_window(channel, mapping->device, mapping->inode, mapping->start))
            return true;
    }
    return false;
}

/* What of a mapping of the window is the piece's: where that was, or where the program has moved
 * it. False if there is none. */
static bool cut(const struct vgpu_mapping *mapping, const struct vgpu_registered_piece *piece,
                struct vgpu_mapping *part)
{
    const struct vgpu_window_extent *extent = &piece->share.extent;
    uint64_t first = mapping->offset, last = first + (mapping->end - mapping->start);
    if (first < extent->offset)
        first = extent->offset;
    if (last > extent->offset + extent->bytes)
        last = extent->offset + extent->bytes;
    if (first >= last)
        return false;
    *part = *mapping;
    part->start += first - mapping->offset;
    part->end = part->start + (last - first);
    part->offset = first;
    return true;
}

/* A program may free or move what it has registered: then something else may be there now. */
static bool is_still_there(const struct vgpu_channel *channel,
                           const struct vgpu_registered_piece *piece)
{
    struct vgpu_maps maps;
    struct vgpu_mapping mapping, part;
    uintptr_t at = start_of(piece);
    if (vgpu_maps_open(&maps) < 0)
        return false;
    while (at < end_of(piece) && next_shared(&maps, channel, &mapping)) {
        if (cut(&mapping, piece, &part) && part.start == at)
            at = part.end;
    }
    vgpu_maps_close(&maps);
    return at == end_of(piece);
}

/* ---- private pages instead of shared ones ---- */

/* Puts a copy in the place of a mapping of the window. */
static bool make_private(struct vgpu_channel *channel, const struct vgpu_mapping *mapping)
{
    size_t bytes = mapping->end - mapping->start;
    struct vgpu_window_extent part = {.offset = mapping->offset, .bytes = bytes};
    const char *shared = vgpu_channel_extent_memory(channel, &part);
    char *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return false;
    if (shared) {
        vgpu_share_copy_pages(copy, shared, bytes);
        if (mprotect(copy, bytes, mapping->protection) == 0 &&
            mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)mapping->start) !=
                MAP_FAILED)
            return true;
    }
    munmap(copy, bytes);
    return false;
}

/* Gives the program pages of its own wherever it has the piece. False where there is no memory for
 * them, or no way to find out where that is: then the process keeps the shared ones, and the window
 * them. */
static bool detach(struct vgpu_channel *channel, const struct vgpu_registered_piece *piece)
{
    struct vgpu_maps maps;
    struct vgpu_mapping mapping, part;
    bool done = true;
    if (vgpu_maps_open(&maps) < 0)
        return false;
    while (done && next_shared(&maps, channel, &mapping)) {
        if (cut(&mapping, piece, &part))
            done = make_private(channel, &part);
    }
    vgpu_maps_close(&maps);
    return done;
}

/* Has a page copied at once. It may be another's part of it, so no sanitizer may look. */
__attribute__((no_sanitize("address"))) static void touch(volatile char *place)
{
    char byte = *place;
    *place = byte;
}

static void copy_for_child(struct vgpu_channel *channel, const struct vgpu_mapping *mapping)
{
    char *first = (char *)mapping->start;
    if (vgpu_channel_copy_window(channel, mapping->offset, mapping->end - mapping->start,
                                 mapping->protection, first) < 0) {
        make_private(channel, mapping);
    } else if (mapping->protection & PROT_WRITE) {
        touch(first); /* the pages at both ends: see vgpu_share_copy_pages */
        touch((char *)mapping->end - 1);
    }
}

void vgpu_registered_forked(struct vgpu_registered *registered, struct vgpu_channel *channel)
{
    struct vgpu_maps maps;
    struct vgpu_mapping mapping, part;
    if (registered->first == NULL || vgpu_maps_open(&maps) < 0)
        return;
    while (next_shared(&maps, channel, &mapping)) {
        for (struct vgpu_registered_piece *piece = registered->first; piece; piece = piece->next) {
            if (cut(&mapping, piece, &part))
                copy_for_child(channel, &part);
        }
    }
    vgpu_maps_close(&maps);
}

/* ---- pieces, with the lock ---- */

static struct vgpu_registered_piece **first_ending_after(struct vgpu_registered *registered,
                                                         uintptr_t address)
{
    struct vgpu_registered_piece **link = &registered->first;
    while (*link && end_of(*link) <= address)
        link = &(*link)->next;
    return link;
}

static CUresult add_piece(const struct vgpu_caller *caller, struct vgpu_registered_piece **link,
                          uintptr_t start, uintptr_t end)
{
    struct vgpu_registered_piece *piece = calloc(1, sizeof(*piece));
    if (piece == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_share_over(caller, (void *)start, end - start, &piece->share);
    if (error) {
        free(piece);
        return error;
    }
    piece->users = 1;
    piece->next = *link;
    *link = piece;
    return CUDA_SUCCESS;
}

static void remove_piece(struct vgpu_channel *channel, struct vgpu_registered_piece **link)
{
    struct vgpu_registered_piece *piece = *link;
    *link = piece->next;
    vgpu_share_abandon(channel, &piece->share);
    free(piece);
}

/* One registration less for what lies in start..end. */
static void leave(struct vgpu_registered *registered, struct vgpu_channel *channel, uintptr_t start,
                  uintptr_t end)
{
    struct vgpu_registered_piece **link = first_ending_after(registered, start);
    while (*link && start_of(*link) < end) {
        struct vgpu_registered_piece *piece = *link;
        if (--piece->users > 0 || !detach(channel, piece))
            link = &piece->next;
        else
            remove_piece(channel, link);
    }
}

/* One more: what is not shared yet is now. Counts them in *pieces. */
static CUresult join(struct vgpu_registered *registered, const struct vgpu_caller *caller,
                     uintptr_t start, uintptr_t end, unsigned int *pieces)
{
    struct vgpu_registered_piece **link = first_ending_after(registered, start);
    uintptr_t at = start;
    CUresult error = CUDA_SUCCESS;
    while (error == CUDA_SUCCESS && at < end) {
        if (*link && start_of(*link) < end && !is_still_there(caller->channel, *link)) {
            if (detach(caller->channel, *link)) {
                remove_piece(caller->channel, link);
                continue;
            }
            error = CUDA_ERROR_NOT_SUPPORTED;
        } else if (*link && start_of(*link) <= at) {
            (*link)->users++;
        } else {
            uintptr_t gap = *link && start_of(*link) < end ? start_of(*link) : end;
            error = is_replaceable(at, gap) ? add_piece(caller, link, at, gap)
                                            : CUDA_ERROR_NOT_SUPPORTED;
        }
        if (error == CUDA_SUCCESS) {
            at = end_of(*link);
            link = &(*link)->next;
            ++*pieces;
        }
    }
    if (error && at > start)
        leave(registered, caller->channel, start, at);
    return error;
}

/* The program's threads may be cancelled where files are read: not with the lock. */
static int take_lock(struct vgpu_registered *registered)
{
    int before = vgpu_thread_keep();
    pthread_mutex_lock(&registered->lock);
    return before;
}

static void put_lock(struct vgpu_registered *registered, int before)
{
    pthread_mutex_unlock(&registered->lock);
    vgpu_thread_let_cancel(before);
}

CUresult vgpu_registered_share(struct vgpu_registered *registered, const struct vgpu_caller *caller,
                               const void *memory, size_t bytes, bool *pieced)
{
    uintptr_t start, end;
    unsigned int pieces = 0;
    if (!pages_around(memory, bytes, &start, &end))
        return CUDA_ERROR_INVALID_VALUE;
    int before = take_lock(registered);
    CUresult error = join(registered, caller, start, end, &pieces);
    put_lock(registered, before);
    *pieced = pieces > 1;
    return error;
}

void vgpu_registered_unshare(struct vgpu_registered *registered, struct vgpu_channel *channel,
                             const void *memory, size_t bytes)
{
    uintptr_t start, end;
    if (!pages_around(memory, bytes, &start, &end))
        return;
    int before = take_lock(registered);
    leave(registered, channel, start, end);
    put_lock(registered, before);
}
