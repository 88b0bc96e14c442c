/* SPDX-License-Identifier: MIT */
/** Forms that access memory: which registers do what, and what is there afterwards. */
#ifndef VGPU_TESTS_MEMORY_H
#define VGPU_TESTS_MEMORY_H

#include "tests/instructions/every/reference.h"

#define MEMORY_BYTES 64 /* that a thread has for itself */
#define MOST_KERNEL  131072

enum access_kind { LOAD, STORE, ATOMIC, REDUCTION };
enum role { ROLE_WRITTEN, ROLE_READ, ROLE_ADDRESS, ROLE_HINT };

struct access {
    enum access_kind kind;
    struct type type; /* of an element */
    unsigned lanes;   /* elements */
    unsigned offset;  /* of the first, from the address */
    char letter;      /* of values, as in harness.h */
    bool hinted;
    enum role roles[MOST_REGISTERS];
    unsigned read_count, written_count;
    unsigned read_bits[8], written_bits[8];
    unsigned element_of_written[8];
};

/** False if the form is no access of this kind. */
bool access_of(const struct form *form, struct access *access);

/**
 * Does what the form does to the memory of one thread. False if PTX leaves open what comes out.
 */
bool access_done(const struct access *access, const struct form *form, uint8_t memory[MEMORY_BYTES],
                 const uint64_t *read, uint64_t *written);

/** Sums and extremes of two codes, rounded to nearest. */
uint64_t float_sum(struct type type, uint64_t a, uint64_t b);
uint64_t float_extreme(struct type type, bool least, uint64_t a, uint64_t b);

#endif
