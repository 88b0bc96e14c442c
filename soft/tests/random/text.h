/* SPDX-License-Identifier: MIT */
/** Writing PTX. Internal to the text of random kernels. */
#ifndef VGPU_RANDOM_TEXT_H
#define VGPU_RANDOM_TEXT_H

#include "soft/tests/random/kernel.h"

/* Scratch registers of a function; what is in them is used at once. */
#define SCRATCH 8

struct written_loop {
    uint32_t again, end; /* labels */
};

struct writer {
    const struct kernel *kernel;
    char *text;
    size_t used, size;
    bool failed;
    bool in_function, together;
    uint32_t labels;
    uint32_t predicates, counters, masks; /* registers of this function */
    struct written_loop loops[16];
    uint32_t loop_count;
};

__attribute__((format(printf, 2, 3))) void text_add(struct writer *w, const char *format, ...);

/** Writes a test into a new predicate register, and returns its number. */
uint32_t text_condition(struct writer *w, const struct condition *condition);
/** The name of what an operand is; `letter` as of operations. Good until the fourth next call. */
const char *text_operand(const struct operand *operand, char letter);
/** "@%p3 ", "@!%p3 " or nothing: may be used until the next call. */
const char *text_guard(struct writer *w, const struct statement *statement);

/** Brings the lanes of a mask together if the text is to have that; uses %t1. */
void text_together(struct writer *w, uint32_t mask);

/** Statements that need nobody else. */
void text_alone(struct writer *w, const struct statement *statement);

/** Statements of lanes or threads that meet; `mask` is the register that says which lanes. */
void text_meeting(struct writer *w, const struct statement *statement, uint32_t mask);

#endif
