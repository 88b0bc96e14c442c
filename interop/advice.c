/* SPDX-License-Identifier: MIT */
#include "interop/advice.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A range of which all is known alike. What is in no part has had no advice. */
struct part {
    uint64_t start;
    uint64_t end;
    struct vgpu_advice advice;
};

/* Sorted by address, without overlap. */
static struct {
    pthread_mutex_t lock;
    struct part *parts;
    size_t count;
    size_t room;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The functions from here to the next headline are called with the lock held. */

/* Index of the first part that ends after `address`. */
static size_t part_at(uint64_t address)
{
    size_t low = 0, high = known.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (known.parts[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool make_room(size_t more)
{
    size_t room = 2 * known.room + more;
    struct part *parts;

    if (known.count + more <= known.room)
        return true;
    parts = reallocarray(known.parts, room, sizeof(*parts));
    if (!parts)
        return false;
    known.parts = parts;
    known.room = room;
    return true;
}

static void insert(size_t at, struct part part)
{
    memmove(&known.parts[at + 1], &known.parts[at], (known.count - at) * sizeof(part));
    known.parts[at] = part;
    known.count++;
}

/* Splits the part that goes over `address`, if there is one. There is room. */
static void split(uint64_t address)
{
    size_t at = part_at(address);
    struct part rest;

    if (at == known.count || known.parts[at].start >= address)
        return;
    rest = known.parts[at];
    rest.start = address;
    known.parts[at].end = address;
    insert(at + 1, rest);
}

/* Parts in [start, end), and gaps between them. */
static size_t count_in(uint64_t start, uint64_t end)
{
    size_t at = part_at(start), first = at;

    while (at < known.count && known.parts[at].start < end)
        at++;
    return 2 * (at - first) + 1;
}

/* ---- end of the functions that need the lock ---- */

int vgpu_advice_change(uint64_t start, uint64_t end,
                       void (*change)(struct vgpu_advice *advice, const void *argument),
                       const void *argument)
{
    int error = -ENOMEM;

    pthread_mutex_lock(&known.lock);
    if (make_room(count_in(start, end) + 2)) {
        split(start);
        split(end);
        for (size_t at = part_at(start); start < end; at++) {
            if (at == known.count || known.parts[at].start > start) {
                uint64_t to =
                    at == known.count || known.parts[at].start > end ? end : known.parts[at].start;
                insert(at, (struct part){.start = start, .end = to});
            }
            change(&known.parts[at].advice, argument);
            start = known.parts[at].end;
        }
        error = 0;
    }
    pthread_mutex_unlock(&known.lock);
    return error;
}

void vgpu_advice_visit(uint64_t start, uint64_t end,
                       void (*visit)(const struct vgpu_advice *advice, void *argument),
                       void *argument)
{
    static const struct vgpu_advice none;

    pthread_mutex_lock(&known.lock);
    for (size_t at = part_at(start); start < end; at++) {
        if (at == known.count || known.parts[at].start > start)
            visit(&none, argument);
        if (at == known.count || known.parts[at].start >= end)
            break;
        visit(&known.parts[at].advice, argument);
        start = known.parts[at].end;
    }
    pthread_mutex_unlock(&known.lock);
}

void vgpu_advice_forget(uint64_t start, size_t size)
{
    uint64_t end = start + size;
    size_t first, after;

    pthread_mutex_lock(&known.lock);
    /* Advice never goes beyond its allocation, so that no part has to be split. */
    first = after = part_at(start);
    while (after < known.count && known.parts[after].start < end)
        after++;
    if (after > first)
        memmove(&known.parts[first], &known.parts[after],
                (known.count - after) * sizeof(*known.parts));
    known.count -= after - first;
    pthread_mutex_unlock(&known.lock);
}
