/* SPDX-License-Identifier: MIT */
#include "guest/memory/registered.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/memory/share.h"

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

struct mapped {
    uintptr_t start, end;
    unsigned long inode;
    bool replaceable; /* private, to be read and written, and no stack */
};

static bool read_mapped(FILE *maps, struct mapped *mapped)
{
    char line[512], rights[5];
    unsigned long from, to;
    if (fgets(line, sizeof(line), maps) == NULL)
        return false;
    *mapped = (struct mapped){0};
    if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &from, &to, rights, &mapped->inode) == 4) {
        mapped->start = from;
        mapped->end = to;
        mapped->replaceable =
            strncmp(rights, "rw", 2) == 0 && rights[3] == 'p' && strstr(line, "[stack") == NULL;
    }
    return true;
}

/* True if all of it is mapped, by what may be replaced or, if `inode` is not 0, by that file. */
static bool is_mapped(uintptr_t start, uintptr_t end, unsigned long inode)
{
    struct mapped mapped;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL)
        return false;
    while (start < end && read_mapped(maps, &mapped)) {
        if (mapped.end <= start)
            continue;
        if (mapped.start > start || !(inode ? mapped.inode == inode : mapped.replaceable))
            break;
        start = mapped.end;
    }
    fclose(maps);
    return start >= end;
}

static bool is_replaceable(uintptr_t start, uintptr_t end)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return (here < start || here >= end) && is_mapped(start, end, 0);
}

/* A program may free what it has registered: then something else may be there now. */
static bool is_still_there(struct vgpu_channel *channel, const struct vgpu_registered_piece *piece)
{
    return is_mapped(start_of(piece), end_of(piece), vgpu_channel_window_inode(channel));
}

/* ---- private pages instead of shared ones ---- */

/* Where there is no memory for a copy, the process keeps the shared pages, and the window them. */
static bool make_private(const struct vgpu_share *share)
{
    size_t bytes = share->extent.bytes;
    char *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return false;
    vgpu_share_copy_pages(copy, share->address, bytes);
    if (mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, share->address) != MAP_FAILED)
        return true;
    munmap(copy, bytes);
    return false;
}

/* Has a page copied at once. It may be another's part of it, so no sanitizer may look. */
__attribute__((no_sanitize("address"))) static void touch(volatile char *place)
{
    char byte = *place;
    *place = byte;
}

void vgpu_registered_forked(struct vgpu_registered *registered, struct vgpu_channel *channel)
{
    for (struct vgpu_registered_piece *piece = registered->first; piece; piece = piece->next) {
        char *first = piece->share.address;
        if (vgpu_channel_copy_extent(channel, &piece->share.extent, first) == 0) {
            touch(first); /* the pages at both ends: see vgpu_share_copy_pages */
            touch(first + piece->share.extent.bytes - 1);
        } else {
            make_private(&piece->share);
        }
    }
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
        if (--piece->users > 0 || (is_still_there(channel, piece) && !make_private(&piece->share)))
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
            remove_piece(caller->channel, link);
            continue;
        }
        if (*link && start_of(*link) <= at) {
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

CUresult vgpu_registered_share(struct vgpu_registered *registered, const struct vgpu_caller *caller,
                               const void *memory, size_t bytes, bool *pieced)
{
    uintptr_t start, end;
    unsigned int pieces = 0;
    if (!pages_around(memory, bytes, &start, &end))
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&registered->lock);
    CUresult error = join(registered, caller, start, end, &pieces);
    pthread_mutex_unlock(&registered->lock);
    *pieced = pieces > 1;
    return error;
}

void vgpu_registered_unshare(struct vgpu_registered *registered, struct vgpu_channel *channel,
                             const void *memory, size_t bytes)
{
    uintptr_t start, end;
    if (!pages_around(memory, bytes, &start, &end))
        return;
    pthread_mutex_lock(&registered->lock);
    leave(registered, channel, start, end);
    pthread_mutex_unlock(&registered->lock);
}
