/* SPDX-License-Identifier: MIT */
/** Where each lane's access goes: checked host addresses of one memory instruction. */
#ifndef VGPU_SOFT_ACCESS_H
#define VGPU_SOFT_ACCESS_H

#include "soft/simt/gather.h"
#include "soft/simt/lanes.h"

/* Addresses further apart than this are checked one by one. */
#define ACCESS_SPAN UINT64_C(65536)

static inline int access_one(struct vgpu_warp *w, const struct vgpu_inst *i, unsigned l,
                             uint64_t address, uint32_t bytes, uint8_t **at)
{
    if (vgpu_pages_valid(w->block->pages, address, bytes) ||
        vgpu_block_meets(w->block, address, bytes) ||
        vgpu_memory_reaches(w->block->memory, address, bytes)) {
        *at = (uint8_t *)(uintptr_t)address;
        return 0;
    }
    *at = i->x == VGPU_SPACE_GENERIC ? vgpu_warp_generic(w, l, address, bytes) : NULL;
    if (*at == NULL)
        return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, address, bytes);
    return 0;
}

static inline int access_fault(struct vgpu_warp *w, uint32_t m, const uint64_t *address,
                               uint64_t limit, uint32_t bytes)
{
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l) && (address[l] > limit || bytes > limit - address[l]))
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, address[l], bytes);
    }
    return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, 0, 0, bytes);
}

/* Global and generic: `address` has a harmless copy of an active lane's where the mask is off. */
static inline int access_global(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                                uint32_t bytes, const uint64_t *address, uint64_t low,
                                uint64_t high, uint8_t **at)
{
    if (high - low <= ACCESS_SPAN && high <= UINT64_MAX - bytes &&
        vgpu_pages_valid(w->block->pages, low, high - low + bytes)) {
        LANE_LOOP at[l] = (uint8_t *)(uintptr_t)address[l];
        return 0;
    }
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l) && access_one(w, i, l, address[l], bytes, &at[l]) != 0)
            return -1;
    }
    return 0;
}

/* An offset in a memory that starts at `base` for lane 0 and `stride` further for each other. */
static inline int access_offset(struct vgpu_warp *w, uint32_t m, uint32_t bytes,
                                const uint64_t *offset, uint64_t high, uint8_t *base, size_t stride,
                                uint64_t limit, uint8_t **at)
{
    if (high > limit || bytes > limit - high)
        return access_fault(w, m, offset, limit, bytes);
    LANE_LOOP at[l] = base + l * stride + offset[l];
    return 0;
}

/* Offsets that are not all in the block's own shared memory: of others of its cluster, or wrong. */
static inline int access_cluster(struct vgpu_warp *w, uint32_t m, uint32_t bytes,
                                 const uint64_t *offset, uint8_t **at)
{
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (!LANE_ON(m, l))
            continue;
        at[l] = vgpu_block_shared(w->block, offset[l], bytes);
        if (at[l] == NULL)
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, offset[l], bytes);
    }
    return 0;
}

/**
 * Fills in at[l] for every lane of the (not empty) mask; `bytes` is what one lane accesses, `align`
 * its alignment. The address is in row A, the offset in imm, the space in x.
 */
static inline int access_lanes(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                               uint32_t bytes, uint32_t align, uint8_t **at)
{
    const struct vgpu_block *block = w->block;
    unsigned first = (unsigned)__builtin_ctz(m);
    uint64_t address[VGPU_LANES], low, high, either = 0, imm = (uint64_t)i->imm;

    if (i->z & VGPU_ADDRESS_32) {
        const uint32_t *a = ROW(uint32_t, VGPU_A), add = (uint32_t)imm;

        /* A register may hold what is negative before the offset is added. */
        LANE_LOOP address[l] = (uint32_t)((LANE_ON(m, l) ? a[l] : a[first]) + add);
    } else {
        const uint64_t *a = ROW(uint64_t, VGPU_A);

        LANE_LOOP address[l] = (LANE_ON(m, l) ? a[l] : a[first]) + imm;
    }
    low = high = address[0];
    LANE_LOOP
    {
        either |= address[l];
        low = address[l] < low ? address[l] : low;
        high = address[l] > high ? address[l] : high;
    }
    if ((either & (align - 1)) != 0) {
        for (unsigned l = 0; l < VGPU_LANES; l++) {
            if (LANE_ON(m, l) && (address[l] & (align - 1)) != 0)
                return vgpu_warp_fault(w, VGPU_FAULT_MISALIGNED_ADDRESS, l, address[l], bytes);
        }
    }
    switch (i->x) {
    case VGPU_SPACE_SHARED:
        if (block->cluster->count > 1 && high >> VGPU_RANK_SHIFT != 0)
            return access_cluster(w, m, bytes, address, at);
        return access_offset(w, m, bytes, address, high, block->shared, 0, block->shared_bytes, at);
    case VGPU_SPACE_LOCAL:
        return access_offset(w, m, bytes, address, high, w->local, block->local_stride,
                             block->local_bytes, at);
    case VGPU_SPACE_PARAM:
        return access_offset(w, m, bytes, address, high,
                             (uint8_t *)(uintptr_t)block->launch->parameters, 0,
                             block->kernel->parameter_bytes, at);
    default:
        return access_global(w, i, m, bytes, address, low, high, at);
    }
}

/**
 * The address that 32 lanes in a row have in global memory, if the instruction is a plain one for
 * all lanes and all of them may be accessed; or NULL, when access_lanes() has to look closer.
 */
static inline uint8_t *access_row(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                                  uint32_t bytes)
{
    const uint64_t *a;
    uint64_t start, other = 0;

    if (m != VGPU_ALL_LANES || i->x > VGPU_SPACE_GENERIC || i->y != 1 ||
        (i->z & VGPU_ADDRESS_32) != 0)
        return NULL;
    a = ROW(uint64_t, VGPU_A);
    start = a[0];
    LANE_LOOP other |= (a[l] - start) ^ (uint64_t)l * bytes;
    start += (uint64_t)i->imm;
    if (other != 0 || (start & (bytes - 1)) != 0 ||
        !vgpu_pages_valid(w->block->pages, start, (uint64_t)bytes * VGPU_LANES))
        return NULL;
    return (uint8_t *)(uintptr_t)start;
}

/**
 * The offsets that all lanes have in shared memory, from 32-bit addresses, checked; false when
 * access_lanes() has to look closer.
 */
static inline bool access_shared(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                                 uint32_t bytes, uint32_t *offset)
{
    const uint32_t *a;
    uint32_t imm = (uint32_t)i->imm, limit = w->block->shared_bytes;

    if (m != VGPU_ALL_LANES || i->x != VGPU_SPACE_SHARED || (i->z & VGPU_ADDRESS_32) == 0 ||
        limit < bytes)
        return false;
    a = ROW(uint32_t, VGPU_A);
    LANE_LOOP offset[l] = a[l] + imm;
    return offsets_good(offset, limit - bytes, bytes);
}

#endif
