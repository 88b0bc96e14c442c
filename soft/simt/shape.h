/* SPDX-License-Identifier: MIT */
/**
 * Shapes: what a few words say of a row of 32 lanes. Addresses and indices are mostly lines: lanes
 * that are next to each other differ by the same amount. A warp's lanes are looked at in segments
 * of eight, each with a start of its own, so that rows of two-dimensional blocks are lines too.
 *
 * Which registers may be lines is known when a kernel is decoded (soft/ptx/shapes.c); whether one
 * is, when it is written. The shape of every other row is zero: its lanes are what counts.
 */
#ifndef VGPU_SOFT_SHAPE_H
#define VGPU_SOFT_SHAPE_H

#include "soft/ptx/program.h"

#define VGPU_SEGMENTS      4u
#define VGPU_SEGMENT_LANES (VGPU_LANES / VGPU_SEGMENTS)

typedef uint64_t vgpu_bases __attribute__((vector_size(8 * VGPU_SEGMENTS), aligned(8)));

/** Lane l is base[l / 8] + l % 8 * stride; of 32-bit rows only the low halves of these count. */
struct vgpu_line {
    vgpu_bases base;
    uint64_t stride;
};

#define VGPU_SHAPE_LINE  1u /* `line` says what the lanes are */
#define VGPU_SHAPE_STALE 2u /* and they are not written */
#define VGPU_SHAPE_64    4u /* lanes of 64 bits */
#define VGPU_SHAPE_SAME  8u /* a line whose lanes are all the same */

struct vgpu_shape {
    struct vgpu_line line;
    uint32_t state; /* 0: only the lanes say what they are */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct vgpu_shape) == VGPU_SHAPE_BYTES, "the room in front of a row");

/** The shape of a row of 32-bit or 64-bit lanes. */
static inline struct vgpu_shape *vgpu_shape_of(void *lanes)
{
    return (struct vgpu_shape *)__builtin_assume_aligned((uint8_t *)lanes - VGPU_SHAPE_BYTES, 64);
}

/** Writes the lanes of a stale row. */
static inline void vgpu_shape_expand(struct vgpu_shape *shape)
{
    const struct vgpu_line line = shape->line;

    if (shape->state & VGPU_SHAPE_64) {
        uint64_t *lanes = (uint64_t *)(shape + 1);

        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
            for (unsigned l = 0; l < VGPU_SEGMENT_LANES; l++)
                lanes[k * VGPU_SEGMENT_LANES + l] = line.base[k] + l * line.stride;
        }
    } else {
        uint32_t *lanes = (uint32_t *)(shape + 1), stride = (uint32_t)line.stride;

        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
            for (unsigned l = 0; l < VGPU_SEGMENT_LANES; l++)
                lanes[k * VGPU_SEGMENT_LANES + l] = (uint32_t)line.base[k] + l * stride;
        }
    }
    shape->state &= ~VGPU_SHAPE_STALE;
}

/** The shape of 32 lanes that are written: a line if they are one. */
static inline void vgpu_shape_find(const uint32_t *lanes, struct vgpu_shape *shape)
{
    uint32_t stride = lanes[1] - lanes[0], same = 0;
    bool good = true;

    shape->line.stride = (uint64_t)(int64_t)(int32_t)stride;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        unsigned start = l - l % VGPU_SEGMENT_LANES;

        shape->line.base[l / VGPU_SEGMENT_LANES] = lanes[start];
        good &= lanes[l] == lanes[start] + (l - start) * stride;
        same |= lanes[l] ^ lanes[0];
    }
    shape->state = !good ? 0 : same == 0 ? VGPU_SHAPE_LINE | VGPU_SHAPE_SAME : VGPU_SHAPE_LINE;
}

#endif
