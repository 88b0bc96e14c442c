/* SPDX-License-Identifier: MIT */
#include "guest/channel/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/channel/channel_private.h"

bool vgpu_trace_wanted(void)
{
    const char *value = getenv("VGPU_TRACE");
    return value && strcmp(value, "summary") == 0;
}

void vgpu_trace_carried(struct vgpu_channel *channel, enum vgpu_call call, uint64_t bytes)
{
    __atomic_fetch_add(&channel->trace.calls[call].carried, bytes, __ATOMIC_RELAXED);
}

struct line {
    uint32_t call;
    struct vgpu_call_count count;
    uint64_t bytes;
};

static int by_count(const void *a, const void *b)
{
    const struct line *first = a, *second = b;
    if (first->count.sent != second->count.sent)
        return first->count.sent < second->count.sent ? 1 : -1;
    return first->call < second->call ? -1 : 1;
}

void vgpu_trace_print(struct vgpu_channel *channel, uint64_t entered)
{
    struct line lines[VGPU_CALL_MAX + 1];
    struct vgpu_call_count total = {0};
    uint64_t bytes = 0;
    size_t count = 0;
    for (uint32_t call = 0; call <= VGPU_CALL_MAX; call++) {
        const struct vgpu_call_count *of = &channel->trace.calls[call];
        if (of->sent == 0)
            continue;
        lines[count++] = (struct line){call, *of, of->payload + of->carried};
        total.sent += of->sent;
        total.waited += of->waited;
        bytes += of->payload + of->carried;
    }
    qsort(lines, count, sizeof(*lines), by_count);
    fprintf(stderr,
            "vgpu: trace: %" PRIu64 " functions entered, %" PRIu64 " calls sent, %" PRIu64
            " replies and %" PRIu64 " fences waited for, %" PRIu64 " doorbells rung\n"
            "vgpu: %12s %12s %16s  call\n",
            entered, total.sent, total.waited,
            __atomic_load_n(&channel->trace.fences, __ATOMIC_RELAXED),
            __atomic_load_n(&channel->trace.doorbells, __ATOMIC_RELAXED), "sent", "waited",
            "bytes");
    if (channel->trace.backed_off)
        fprintf(stderr, "vgpu: %12" PRIu64 " calls held back: the VM's queue was full\n",
                channel->trace.backed_off);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "vgpu: %12" PRIu64 " %12" PRIu64 " %16" PRIu64 "  %s\n",
                lines[i].count.sent, lines[i].count.waited, lines[i].bytes,
                vgpu_call_name(lines[i].call));
    fprintf(stderr, "vgpu: %12" PRIu64 " %12" PRIu64 " %16" PRIu64 "  all\n", total.sent,
            total.waited, bytes);
}
