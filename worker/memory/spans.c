/* SPDX-License-Identifier: MIT */
#include "worker/memory/spans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void vgpu_spans_clear(struct vgpu_spans *spans)
{
    free(spans->table);
    *spans = (struct vgpu_spans){0};
}

/* Number of the first span that ends at `address` or above. */
static size_t first_not_below(const struct vgpu_spans *spans, uint64_t address)
{
    size_t low = 0, high = spans->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (spans->table[middle].end < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int make_room(struct vgpu_spans *spans)
{
    if (spans->count < spans->room)
        return 0;
    size_t room = spans->room ? spans->room * 2 : 16;
    struct vgpu_span *grown = reallocarray(spans->table, room, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    spans->table = grown;
    spans->room = room;
    return 0;
}

int vgpu_spans_add(struct vgpu_spans *spans, uint64_t start, uint64_t end)
{
    int error = make_room(spans);
    if (error)
        return error;
    /* Those from `first` up to `past` overlap or touch the new one: they become part of it. */
    size_t first = first_not_below(spans, start), past = first;
    while (past < spans->count && spans->table[past].start <= end) {
        if (spans->table[past].start < start)
            start = spans->table[past].start;
        if (spans->table[past].end > end)
            end = spans->table[past].end;
        past++;
    }
    memmove(&spans->table[first + 1], &spans->table[past],
            (spans->count - past) * sizeof(spans->table[0]));
    spans->table[first] = (struct vgpu_span){start, end};
    spans->count = spans->count - (past - first) + 1;
    return 0;
}

bool vgpu_spans_hold(const struct vgpu_spans *spans, uint64_t start, uint64_t end)
{
    size_t first = first_not_below(spans, end);
    return first < spans->count && spans->table[first].start <= start;
}
