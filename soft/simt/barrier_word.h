/* SPDX-License-Identifier: MIT */
/**
 * What instructions share that copy on the side: barriers in memory, and addresses in clusters.
 *
 * A barrier (mbarrier) is 64 bits of shared memory, which only the thread that runs the block
 * touches: how many arrivals its phase still needs, how many each phase needs, how many bytes are
 * still to come, and whether the phase is an odd one.
 */
#ifndef VGPU_SOFT_BARRIER_WORD_H
#define VGPU_SOFT_BARRIER_WORD_H

#include "soft/simt/lanes.h"

#define COUNT_BITS 20
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
#define TX_BITS    22
#define TX_SHIFT   (2 * COUNT_BITS)
#define TX_MASK    ((UINT64_C(1) << TX_BITS) - 1)
#define PHASE      (UINT64_C(1) << (TX_SHIFT + TX_BITS))

static inline uint64_t with_pending(uint64_t v, uint64_t pending)
{
    return (v & ~COUNT_MASK) | (pending & COUNT_MASK);
}

static inline uint64_t with_bytes(uint64_t v, uint64_t more)
{
    return (v & ~(TX_MASK << TX_SHIFT)) | ((((v >> TX_SHIFT) + more) & TX_MASK) << TX_SHIFT);
}

/* The next phase begins when nothing is waited for any more. */
static inline uint64_t settled(uint64_t v)
{
    if ((v & COUNT_MASK) != 0 || (v >> TX_SHIFT & TX_MASK) != 0)
        return v;
    return with_pending(v, v >> COUNT_BITS) ^ PHASE;
}

static inline uint64_t load_barrier(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static inline void store_barrier(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, sizeof(v));
}

#define EACH_LANE(m, l)                                                                            \
    for (uint32_t rest_##l = (m), l; rest_##l != 0 && (l = (uint32_t)__builtin_ctz(rest_##l), 1);  \
         rest_##l &= rest_##l - 1)

/* ---- addresses in a cluster ---- */

#define OFFSET_MASK ((UINT32_C(1) << VGPU_RANK_SHIFT) - 1)

/* An offset in the shared memory of a block, as one in that of the block of a rank. */
static inline uint32_t offset_in(const struct vgpu_block *block, uint32_t offset, uint32_t rank)
{
    offset &= OFFSET_MASK;
    return rank == block->rank ? offset : offset | (rank + 1) << VGPU_RANK_SHIFT;
}

/* An address in shared memory, as one in that of the block of a rank. */
static inline uint64_t in_block(const struct vgpu_block *block, uint64_t address, uint32_t rank)
{
    return (address & ~(uint64_t)UINT32_MAX) | offset_in(block, (uint32_t)address, rank);
}

#endif
