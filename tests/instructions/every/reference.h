/* SPDX-License-Identifier: MIT */
/**
 * What forms of instructions compute, written after the manual of PTX and from nothing else: one
 * function for each family of opcodes, which looks at the words of the form.
 */
#ifndef VGPU_TESTS_REFERENCE_H
#define VGPU_TESTS_REFERENCE_H

#include "soft/tests/form.h"

#define MOST_RESULTS 8

struct answer {
    uint64_t values[MOST_RESULTS]; /* of the registers that are written, in their order */
    bool any;                      /* PTX leaves open what comes out */
    /* How far off a floating-point result may be: in units in the last place, or absolutely. */
    unsigned ulps;
    double distance;
};

/**
 * Fills in what the form makes of sources, whose bits are in the order of the registers that are
 * read; false if this family does not know the form.
 */
typedef bool reference_function(const struct form *form, const uint64_t *sources,
                                struct answer *answer);
reference_function reference_integer, reference_bits, reference_compare, reference_float,
    reference_convert, reference_video;

/* ---- numbers ---- */

typedef __int128 wide;
typedef unsigned __int128 wide_unsigned;

static inline uint64_t ones(unsigned bits)
{
    return bits == 0 || bits > 64 ? 0 : UINT64_MAX >> (64 - bits);
}

/** The number that `bits` of a register are to a type. */
static inline wide number(uint64_t v, unsigned bits, bool is_signed)
{
    if (bits == 0 || bits > 64)
        return 0;
    v &= ones(bits);
    return is_signed && v >> (bits - 1) != 0 ? (wide)v - ((wide)1 << bits) : (wide)v;
}

static inline wide between(wide v, wide low, wide high)
{
    return v < low ? low : v > high ? high : v;
}

static inline wide limited(wide v, unsigned bits, bool is_signed)
{
    if (bits == 0 || bits > 64)
        return v;
    return is_signed ? between(v, -((wide)1 << (bits - 1)), ((wide)1 << (bits - 1)) - 1)
                     : between(v, 0, ((wide)1 << bits) - 1);
}

/* ---- floating point ---- */

enum rounding { TO_NEAREST, TOWARDS_ZERO, DOWN, UP, NEAREST_AWAY };

/** That of the words, or to nearest. */
enum rounding rounding_of(const struct form *form);
/** The value of a code; f64 at most. */
double value_of(struct type type, uint64_t code);
bool is_nan_code(struct type type, uint64_t code);
/** The one code for what is no number. */
uint64_t nan_code(struct type type);
/**
 * The code for a value that is exact, or rounded to odd (so that rounding again is right).
 * Overflow is to infinity, or to the largest number if the rounding or `finite` says so.
 */
uint64_t code_of(struct type type, double v, enum rounding rounding, bool finite);
/** A sum rounded to odd; `v` exactly if it is one. */
double odd_sum(double a, double b);
double odd_of_wide(wide v);
double rounded_f64(wide v, enum rounding rounding);
unsigned exponent_bits_of(struct type type);
/** Subnormal codes become zeros of their sign. */
uint64_t flushed(struct type type, uint64_t code);
/** [0, 1], and 0 for what is no number. */
uint64_t saturated(struct type type, uint64_t code);

#endif
