/* SPDX-License-Identifier: MIT */
/**
 * Forms: what is known, when a kernel is compiled, of how the lanes of a register differ. A warp's
 * lanes are in four segments of eight (soft/simt/shape.h). Lane l of a register that is a line is
 *     symbol[group[l / 8]] + offset[l / 8] + l % 8 * stride
 * in the arithmetic of its width: the symbols are values of the running program, one for each group
 * of segments; everything else is a constant. So loads and stores know where lanes are in a row.
 */
#ifndef VGPU_SOFT_JIT_FORM_H
#define VGPU_SOFT_JIT_FORM_H

#include <stdbool.h>
#include <stdint.h>

#include "soft/simt/shape.h"

enum jit_form_kind {
    JIT_UNKNOWN, /* nothing has been seen yet */
    JIT_LINE,
    JIT_LANES, /* 32 values */
};

struct jit_form {
    uint8_t kind;                 /* enum jit_form_kind */
    uint8_t zeros;                /* symbols are multiples of 2^zeros */
    uint8_t group[VGPU_SEGMENTS]; /* the first segment with the same symbol */
    int64_t offset[VGPU_SEGMENTS];
    int64_t stride;
};

/** All lanes have one value, a multiple of 2^zeros. */
struct jit_form jit_form_uniform(unsigned zeros);
struct jit_form jit_form_lanes(void);

/** What constants the lanes have beside a symbol; JIT_LANES if they are no line. */
struct jit_form jit_form_of_pattern(const int64_t pattern[VGPU_LANES], unsigned zeros);

/** The form of a register that is written in two ways. */
struct jit_form jit_form_join(const struct jit_form *a, const struct jit_form *b);
bool jit_form_same(const struct jit_form *a, const struct jit_form *b);

/** All lanes of each segment are the same. */
bool jit_form_is_flat(const struct jit_form *a);
/** All lanes are the symbol of segment 0. */
bool jit_form_is_uniform(const struct jit_form *a);
int64_t jit_form_delta(const struct jit_form *a, unsigned lane);

/** Addresses wrap, and so do sums and differences of what is added to them. */
static inline int64_t jit_sum(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static inline int64_t jit_difference(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
/** Least and greatest delta of a group. */
void jit_form_range(const struct jit_form *a, unsigned group, int64_t range[2]);

/** The sum, or difference, of two lines. */
struct jit_form jit_form_add(const struct jit_form *a, const struct jit_form *b, bool subtract);
/** A line times a constant. */
struct jit_form jit_form_scale(const struct jit_form *a, uint64_t factor, unsigned bits);
/**
 * What any function of one value of each source is, if all sources are flat: symbols of its own;
 * lanes otherwise. `zeros` of the result is 0.
 */
struct jit_form jit_form_flat(const struct jit_form *const sources[], unsigned count);
/** A line shifted to the right, or cut to its low `count` bits: lanes unless that is a line. */
struct jit_form jit_form_shift_right(const struct jit_form *a, unsigned count);
struct jit_form jit_form_low_bits(const struct jit_form *a, unsigned count);

#endif
