/* SPDX-License-Identifier: MIT */
#include "guest/memory/ranges.h"

#include <stdlib.h>
#include <string.h>

/* Number of the first range that starts above `address`. */
static size_t first_above(const struct vgpu_ranges *ranges, CUdeviceptr address)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges->table[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool holds(const struct vgpu_range *range, CUdeviceptr address)
{
    return address - range->start < range->bytes;
}

static void take_out(struct vgpu_ranges *ranges, size_t index)
{
    ranges->count--;
    memmove(&ranges->table[index], &ranges->table[index + 1],
            (ranges->count - index) * sizeof(ranges->table[0]));
}

static bool make_room(struct vgpu_ranges *ranges)
{
    if (ranges->count < ranges->room)
        return true;
    size_t room = ranges->room ? ranges->room * 2 : 64;
    struct vgpu_range *grown = reallocarray(ranges->table, room, sizeof(*grown));
    if (grown == NULL)
        return false;
    ranges->table = grown;
    ranges->room = room;
    return true;
}

bool vgpu_ranges_add(struct vgpu_ranges *ranges, const struct vgpu_range *range)
{
    pthread_rwlock_wrlock(&ranges->lock);
    bool done = make_room(ranges);
    if (done) {
        size_t index = first_above(ranges, range->start);
        while (index > 0 && holds(&ranges->table[index - 1], range->start))
            take_out(ranges, --index);
        while (index < ranges->count && holds(range, ranges->table[index].start))
            take_out(ranges, index);
        memmove(&ranges->table[index + 1], &ranges->table[index],
                (ranges->count - index) * sizeof(ranges->table[0]));
        ranges->table[index] = *range;
        ranges->count++;
    }
    pthread_rwlock_unlock(&ranges->lock);
    return done;
}

bool vgpu_ranges_find(struct vgpu_ranges *ranges, CUdeviceptr address, struct vgpu_range *range)
{
    pthread_rwlock_rdlock(&ranges->lock);
    size_t index = first_above(ranges, address);
    bool found = index > 0 && holds(&ranges->table[index - 1], address);
    if (found)
        *range = ranges->table[index - 1];
    pthread_rwlock_unlock(&ranges->lock);
    return found;
}

bool vgpu_ranges_overlap(struct vgpu_ranges *ranges, CUdeviceptr start, size_t bytes,
                         struct vgpu_range *range)
{
    pthread_rwlock_rdlock(&ranges->lock);
    size_t index = first_above(ranges, start);
    if (index > 0 && holds(&ranges->table[index - 1], start))
        index--;
    bool found = index < ranges->count && (ranges->table[index].start <= start ||
                                           ranges->table[index].start - start < bytes);
    if (found)
        *range = ranges->table[index];
    pthread_rwlock_unlock(&ranges->lock);
    return found;
}

bool vgpu_ranges_set_sync_memops(struct vgpu_ranges *ranges, CUdeviceptr address, bool sync)
{
    pthread_rwlock_wrlock(&ranges->lock);
    size_t index = first_above(ranges, address);
    bool found = index > 0 && holds(&ranges->table[index - 1], address);
    if (found)
        ranges->table[index - 1].sync_memops = sync;
    pthread_rwlock_unlock(&ranges->lock);
    return found;
}

bool vgpu_ranges_remove(struct vgpu_ranges *ranges, CUdeviceptr address, enum vgpu_range_kind kind,
                        struct vgpu_range *range)
{
    pthread_rwlock_wrlock(&ranges->lock);
    size_t index = first_above(ranges, address);
    bool found = index > 0 && ranges->table[index - 1].start == address &&
                 ranges->table[index - 1].kind == kind;
    if (found) {
        *range = ranges->table[index - 1];
        take_out(ranges, index - 1);
    }
    pthread_rwlock_unlock(&ranges->lock);
    return found;
}

void vgpu_ranges_forget(struct vgpu_ranges *ranges, const struct vgpu_context *context,
                        const void *owner)
{
    size_t kept = 0;
    pthread_rwlock_wrlock(&ranges->lock);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct vgpu_range *range = &ranges->table[i];
        if ((context == NULL || range->context != context) &&
            (owner == NULL || range->owner != owner))
            ranges->table[kept++] = *range;
        else if (ranges->release)
            ranges->release(range);
    }
    ranges->count = kept;
    pthread_rwlock_unlock(&ranges->lock);
}
