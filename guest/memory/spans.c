/* SPDX-License-Identifier: MIT */
#include "guest/memory/spans.h"

#include <stdlib.h>
#include <string.h>

static bool make_room(struct vgpu_spans *spans, size_t needed)
{
    if (needed <= spans->room)
        return true;
    size_t room = spans->room ? spans->room * 2 : 16;
    struct vgpu_span *grown = reallocarray(spans->table, room, sizeof(*grown));
    if (grown == NULL)
        return false;
    spans->table = grown;
    spans->room = room;
    return true;
}

bool vgpu_spans_init(struct vgpu_spans *spans, uint64_t start, uint64_t bytes)
{
    *spans = (struct vgpu_spans){0};
    if (!make_room(spans, 1))
        return false;
    spans->table[spans->count++] = (struct vgpu_span){start, bytes};
    return true;
}

void vgpu_spans_destroy(struct vgpu_spans *spans)
{
    free(spans->table);
    *spans = (struct vgpu_spans){0};
}

static void take_out(struct vgpu_spans *spans, size_t i)
{
    spans->count--;
    memmove(&spans->table[i], &spans->table[i + 1], (spans->count - i) * sizeof(spans->table[0]));
}

static void insert(struct vgpu_spans *spans, size_t i, struct vgpu_span span)
{
    memmove(&spans->table[i + 1], &spans->table[i], (spans->count - i) * sizeof(span));
    spans->table[i] = span;
    spans->count++;
}

bool vgpu_spans_take(struct vgpu_spans *spans, uint64_t bytes, uint64_t alignment, uint64_t *start)
{
    /* Each taken piece makes one more free one at most, now and when it is put back. */
    spans->taken++;
    if (!make_room(spans, spans->taken + 1)) {
        spans->taken--;
        return false;
    }
    for (size_t i = 0; i < spans->count; i++) {
        struct vgpu_span *span = &spans->table[i];
        uint64_t before = -span->start & (alignment - 1);
        if (span->bytes < before || span->bytes - before < bytes)
            continue;
        struct vgpu_span rest = {span->start + before + bytes, span->bytes - before - bytes};
        *start = span->start + before;
        span->bytes = before;
        if (before == 0)
            take_out(spans, i);
        if (rest.bytes)
            insert(spans, before ? i + 1 : i, rest);
        return true;
    }
    spans->taken--;
    return false;
}

void vgpu_spans_put(struct vgpu_spans *spans, uint64_t start, uint64_t bytes)
{
    size_t i = 0, high = spans->count;
    while (i < high) {
        size_t middle = i + (high - i) / 2;
        if (spans->table[middle].start < start)
            i = middle + 1;
        else
            high = middle;
    }
    struct vgpu_span *before = i > 0 ? &spans->table[i - 1] : NULL;
    struct vgpu_span *after = i < spans->count ? &spans->table[i] : NULL;
    bool joins_before = before && before->start + before->bytes == start;
    bool joins_after = after && start + bytes == after->start;
    spans->taken--;
    if (joins_before) {
        before->bytes += bytes + (joins_after ? after->bytes : 0);
        if (joins_after)
            take_out(spans, i);
    } else if (joins_after) {
        after->start = start;
        after->bytes += bytes;
    } else {
        insert(spans, i, (struct vgpu_span){start, bytes});
    }
}

bool vgpu_spans_whole(const struct vgpu_spans *spans, uint64_t bytes)
{
    return spans->count == 1 && spans->table[0].bytes == bytes;
}
