/* SPDX-License-Identifier: MIT */
/**
 * Forms that are about more than one thread's registers: each is put into a small program that
 * does something with it which would come out otherwise if it did not do what it should.
 *
 * Kernels have a block of 64 threads. $I is the form with the operands that the recipe gives it.
 * What the recipes find: t the thread, i and o the addresses of its 8 bytes of input and of output,
 * v the low word of its input; a and b the addresses in shared memory (32 bits) of its own word
 * and of that of thread 63 - t; bar a barrier's address in shared memory, bard in 64 bits the same
 * or generic, as the form wants it; scratch the address of 128 bytes of global memory of its own,
 * zeros; r<9>, d<9>, p<5> to be used.
 */
#ifndef VGPU_TESTS_RECIPES_H
#define VGPU_TESTS_RECIPES_H

#include "soft/tests/form.h"

#define THREADS 64 /* of a block */

struct recipe {
    const char *names;    /* a pattern as of fnmatch */
    const char *operands; /* those of the form in the manual; NULL: any */
    const char *with;     /* those it gets */
    const char *kernel;
    /** What comes out in a thread. */
    uint64_t (*expect)(const struct form *form, unsigned t, const uint64_t *in);
};

extern const struct recipe recipes_of_blocks[], recipes_of_barriers[], recipes_of_copies[],
    recipes_of_addresses[];

/* The word of the other thread of a pair, the own one, nothing but one. */
uint64_t expect_other(const struct form *form, unsigned t, const uint64_t *in);
uint64_t expect_own(const struct form *form, unsigned t, const uint64_t *in);
uint64_t expect_one(const struct form *form, unsigned t, const uint64_t *in);

#endif
