/* SPDX-License-Identifier: MIT */
/** Evaluating statements for sets of threads of a block. Internal to random kernels. */
#ifndef VGPU_RANDOM_EVALUATE_H
#define VGPU_RANDOM_EVALUATE_H

#include "soft/tests/random/kernel.h"

/** Threads of a block, a bit each. */
struct set {
    uint32_t lanes[MOST_THREADS / 32];
};

/** Variables of all threads in one call of a function. */
struct frame {
    uint32_t words[WORDS][MOST_THREADS];
    uint32_t uniforms[UNIFORMS][MOST_THREADS];
    uint64_t quads[QUADS][MOST_THREADS];
    uint32_t depth[MOST_THREADS];
    uint8_t here[MOST_THREADS][OWN_BYTES];
};

struct evaluated_loop {
    struct set left, again;
};

struct evaluation {
    const struct kernel *kernel;
    const uint32_t *input;
    struct results *results;
    uint32_t block, threads;
    uint64_t steps; /* statements of threads so far */
    int error;
    struct evaluated_loop *loops[16]; /* of the function that runs */
    uint32_t loop_count;
    uint32_t exchange[MOST_THREADS];
    uint32_t swap[MOST_THREADS];
    uint8_t own[MOST_THREADS][OWN_BYTES];
    uint64_t cells[CELLS * CELL_SLOTS];
};

static inline bool set_has(const struct set *set, uint32_t thread)
{
    return set->lanes[thread / 32] >> thread % 32 & 1;
}

static inline void set_change(struct set *set, uint32_t thread, bool in)
{
    uint32_t bit = UINT32_C(1) << thread % 32;

    set->lanes[thread / 32] = in ? set->lanes[thread / 32] | bit : set->lanes[thread / 32] & ~bit;
}

static inline bool set_empty(const struct set *set)
{
    uint32_t any = 0;

    for (int n = 0; n < MOST_THREADS / 32; n++)
        any |= set->lanes[n];
    return any == 0;
}

static inline void set_add(struct set *set, const struct set *more)
{
    for (int n = 0; n < MOST_THREADS / 32; n++)
        set->lanes[n] |= more->lanes[n];
}

/** For each thread of a set, in order. */
#define EACH(thread, set)                                                                          \
    for (uint32_t thread = 0; thread < MOST_THREADS; thread++)                                     \
        if (set_has((set), thread))

uint64_t evaluate_operand(const struct frame *frame, const struct operand *operand,
                          uint32_t thread);
bool evaluate_condition(const struct frame *frame, const struct condition *c, uint32_t thread);

/** The same statements as of text_meeting(), for the threads of `set` together. */
void evaluate_meeting(struct evaluation *e, struct frame *frame, const struct statement *statement,
                      const struct set *set);

#endif
