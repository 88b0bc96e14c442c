/* SPDX-License-Identifier: MIT */
/**
 * 32 words from 32 offsets, fast: what compilers do not find by themselves. Threads of one block
 * mostly read one word together, or words in a row, 16 lanes at a time.
 */
#ifndef VGPU_SOFT_GATHER_H
#define VGPU_SOFT_GATHER_H

#include <immintrin.h>

#include "soft/simt/lanes.h"

/** True if every offset is at most `most` and a multiple of `align` (a power of two). */
static inline bool offsets_good(const uint32_t *offset, uint32_t most, uint32_t align)
{
#if defined(__AVX512F__)
    __m512i low = _mm512_loadu_si512(offset), high = _mm512_loadu_si512(offset + 16);
    __m512i limit = _mm512_set1_epi32((int)most), odd = _mm512_set1_epi32((int)(align - 1));
    unsigned bad = (unsigned)_mm512_cmpgt_epu32_mask(low, limit) |
                   (unsigned)_mm512_cmpgt_epu32_mask(high, limit) |
                   (unsigned)_mm512_test_epi32_mask(_mm512_or_si512(low, high), odd);

    return bad == 0;
#else
    uint32_t either = 0, high = 0;

    LANE_LOOP
    {
        either |= offset[l];
        high = offset[l] > high ? offset[l] : high;
    }
    return high <= most && (either & (align - 1)) == 0;
#endif
}

#if defined(__AVX512F__)
static inline void gather16(const uint8_t *base, const uint32_t *offset, uint32_t *d)
{
    const __m512i row =
        _mm512_set_epi32(60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0);
    __m512i at = _mm512_loadu_si512(offset), first = _mm512_set1_epi32((int)offset[0]);

    if (_mm512_cmpneq_epi32_mask(at, _mm512_add_epi32(first, row)) == 0)
        _mm512_storeu_si512(d, _mm512_loadu_si512(base + offset[0]));
    else if (_mm512_cmpneq_epi32_mask(at, first) == 0)
        _mm512_storeu_si512(d, _mm512_set1_epi32(*(const int *)(const void *)(base + offset[0])));
    else
        for (unsigned l = 0; l < 16; l++)
            d[l] = *(const uint32_t *)(const void *)(base + offset[l]);
}
#elif defined(__AVX2__)
static inline bool same8(__m256i a, __m256i b, __m256i c, __m256i d)
{
    return _mm256_movemask_epi8(
               _mm256_and_si256(_mm256_cmpeq_epi32(a, b), _mm256_cmpeq_epi32(c, d))) == -1;
}

static inline void gather16(const uint8_t *base, const uint32_t *offset, uint32_t *d)
{
    const __m256i row = _mm256_set_epi32(28, 24, 20, 16, 12, 8, 4, 0);
    const uint8_t *from = base + offset[0];
    __m256i low = _mm256_loadu_si256((const __m256i *)offset);
    __m256i high = _mm256_loadu_si256((const __m256i *)(offset + 8));
    __m256i first = _mm256_set1_epi32((int)offset[0]), next = _mm256_add_epi32(first, row);

    if (same8(low, next, high, _mm256_add_epi32(next, _mm256_set1_epi32(32)))) {
        memcpy(d, from, 64);
    } else if (same8(low, first, high, first)) {
        for (unsigned l = 0; l < 16; l++)
            d[l] = *(const uint32_t *)(const void *)from;
    } else {
        for (unsigned l = 0; l < 16; l++)
            d[l] = *(const uint32_t *)(const void *)(base + offset[l]);
    }
}
#else
static inline void gather16(const uint8_t *base, const uint32_t *offset, uint32_t *d)
{
    for (unsigned l = 0; l < 16; l++)
        d[l] = *(const uint32_t *)(const void *)(base + offset[l]);
}
#endif

#endif
