/* SPDX-License-Identifier: MIT */
/** Elements of matrices as tests see them: values of codes, random ones, and which sums are right.
 */
#ifndef VGPU_SOFT_TESTS_ELEMENTS_H
#define VGPU_SOFT_TESTS_ELEMENTS_H

#include "soft/tests/harness.h"

enum type { F16, BF16, TF32, E4M3, E5M2, F32, F64, S32, S8, U8, S4, U4, B1, TYPES };

struct type_info {
    const char *name;
    unsigned bits;
    int mantissa, bias; /* of floating point */
};
extern const struct type_info types[TYPES];

__float128 value_of(enum type type, uint64_t code);
/** Mostly numbers near 1; with `wild`, some of any kind. */
uint64_t some_code(enum type type, bool wild);

/** A sum of k products and an accumulator, and the sum of their magnitudes. */
struct product {
    __float128 sum, size;
};
__float128 magnitude(__float128 v);
/** Sums may be added up in any order with the precision of the accumulator's type at least. */
bool good_sum(enum type type, unsigned k, uint64_t got, struct product want);
/** The bits of an s32 sum, saturated if `suffix` says so. */
uint64_t integer_sum(const char *suffix, int64_t sum);

#endif
