/* SPDX-License-Identifier: MIT */
/** Records that are expected to take the GPU about as long as each other. */
#ifndef VGPU_WORKER_KIND_H
#define VGPU_WORKER_KIND_H

#include <string.h>

#include "protocol/calls.h"
#include "protocol/channel.h"

/** Of the first 40 bytes of arguments, which are all that launches have. */
static inline uint64_t vgpu_kind_word(const struct vgpu_call_header *record, size_t place)
{
    uint64_t word;
    memcpy(&word, record->arguments + place * sizeof(word), sizeof(word));
    return word;
}

/**
 * 0 to `kinds` - 1, by a hash of the record. Launches are of a kind if they
 * are of the same function, shape and stream; of other calls the arguments, which are addresses,
 * say little, so that they are if they are the same call.
 */
static inline uint32_t vgpu_kind_of(const struct vgpu_call_header *record, uint32_t kinds)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t one = record->call * odd, other = 0;

    if (record->call == VGPU_CALL_vgpuLaunch || record->call == VGPU_CALL_cuGraphLaunch) {
        /* two chains, which need not wait for each other */
        one = (one ^ vgpu_kind_word(record, 0)) * odd;
        other = vgpu_kind_word(record, 1) * odd;
        one = (one ^ vgpu_kind_word(record, 2)) * odd;
        other = (other ^ vgpu_kind_word(record, 3)) * odd;
        one = (one ^ vgpu_kind_word(record, 4)) * odd;
    }
    /* the highest bits of a product are those in which every bit has a say */
    return (uint32_t)(((one ^ other >> 10) >> 32) * kinds >> 32);
}

#endif
