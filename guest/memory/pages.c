/* SPDX-License-Identifier: MIT */
#include "guest/memory/pages.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __x86_64__
#include <emmintrin.h>
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE       ((uintptr_t)4096)
#define PAGES_MOST 512u /* that are asked about at once */

/* Asking costs a hundredth of what it costs to populate what is there. */
static int is_missing(char *first, size_t pages)
{
    unsigned char there[PAGES_MOST];
    if (mincore(first, pages * PAGE, there) < 0)
        return 0;
    for (size_t i = 0; i < pages; i++) {
        if (!(there[i] & 1))
            return 1;
    }
    return 0;
}

void vgpu_pages_prepare(void *memory, size_t bytes)
{
    uintptr_t start = ((uintptr_t)memory + PAGE - 1) & ~(PAGE - 1);
    uintptr_t end = ((uintptr_t)memory + bytes) & ~(PAGE - 1);
    while (start < end) {
        size_t pages = (end - start) / PAGE;
        if (pages > PAGES_MOST)
            pages = PAGES_MOST;
        /* Where the kernel cannot (before Linux 5.14), the copy makes them. */
        if (is_missing((char *)start, pages))
            madvise((void *)start, pages * PAGE, MADV_POPULATE_WRITE);
        start += pages * PAGE;
    }
}

#ifdef __x86_64__

#define LINE 64u

void vgpu_pages_fill(void *to, const void *from, size_t bytes)
{
    char *target = to;
    const char *source = from;
    size_t before = -(uintptr_t)target % LINE;
    if (before > bytes)
        before = bytes;
    memcpy(target, source, before);
    size_t at = before;
    for (; bytes - at >= LINE; at += LINE) {
        const __m128i *line = (const __m128i *)(source + at);
        __m128i a = _mm_loadu_si128(line), b = _mm_loadu_si128(line + 1),
                c = _mm_loadu_si128(line + 2), d = _mm_loadu_si128(line + 3);
        __m128i *place = (__m128i *)(target + at);
        _mm_stream_si128(place, a);
        _mm_stream_si128(place + 1, b);
        _mm_stream_si128(place + 2, c);
        _mm_stream_si128(place + 3, d);
    }
    memcpy(target + at, source + at, bytes - at);
    _mm_sfence(); /* such stores are not ordered with those that say that the copy is done */
}

#else

void vgpu_pages_fill(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

#endif

bool vgpu_pages_are_there(const void *memory, size_t bytes)
{
    uintptr_t start = (uintptr_t)memory / PAGE * PAGE;
    /* For memory that is no file's this does nothing but say so. */
    return msync((void *)start, (uintptr_t)memory + bytes - start, MS_ASYNC) == 0;
}
