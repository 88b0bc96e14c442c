/* SPDX-License-Identifier: MIT */
/**
 * Latency histogram: four linear buckets to each power of two of nanoseconds, so a percentile is
 * known within 25 %. Kept by one writer in shared memory; readers copy it and clamp what they use.
 */
#ifndef VGPU_PROTOCOL_LATENCY_H
#define VGPU_PROTOCOL_LATENCY_H

#include "protocol/channel.h"

/** Bucket of a duration; the last one takes all that is longer (from 7.5 s). */
static inline uint32_t vgpu_latency_bucket(uint64_t nanoseconds)
{
    if (nanoseconds < 4)
        return (uint32_t)nanoseconds;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(nanoseconds);
    uint32_t bucket = (power - 1) * 4 + (uint32_t)(nanoseconds >> (power - 2) & 3);
    return bucket < VGPU_LATENCY_BUCKETS ? bucket : VGPU_LATENCY_BUCKETS - 1;
}

/** Smallest duration, in nanoseconds, that falls into `bucket`. */
static inline uint64_t vgpu_latency_floor(uint32_t bucket)
{
    if (bucket < 4)
        return bucket;
    uint32_t power = bucket / 4 + 1;
    return (uint64_t)(4 + bucket % 4) << (power - 2);
}

/** A histogram with the sum of what was counted, in nanoseconds. */
struct vgpu_histogram {
    uint64_t sum;
    uint64_t bucket[VGPU_LATENCY_BUCKETS];
};

/** For its only writer: plain stores, which readers may see in any order. */
static inline void vgpu_histogram_count(struct vgpu_histogram *histogram, uint64_t nanoseconds)
{
    uint64_t *bucket = &histogram->bucket[vgpu_latency_bucket(nanoseconds)];

    __atomic_store_n(bucket, *bucket + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&histogram->sum, histogram->sum + nanoseconds, __ATOMIC_RELAXED);
}

/** Duration below which `fraction` (0..1) of the counted round trips lie; 0 if none was counted. */
static inline uint64_t vgpu_latency_percentile(const uint64_t *buckets, double fraction)
{
    uint64_t total = 0, seen = 0;
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++)
        total += buckets[i];
    for (uint32_t i = 0; i < VGPU_LATENCY_BUCKETS; i++) {
        seen += buckets[i];
        if (seen && (double)seen >= fraction * (double)total)
            return vgpu_latency_floor(i);
    }
    return 0;
}

#endif
