/* SPDX-License-Identifier: MIT */
/** One form of an instruction, as a line of docs/ptx-forms.md says it, taken apart. */
#ifndef VGPU_SOFT_TESTS_FORM_H
#define VGPU_SOFT_TESTS_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_WORDS     16
#define MOST_REGISTERS 24

/** What a type says of bits. */
struct type {
    char kind; /* 'u', 's', 'b', 'f' (IEEE-like), 'p' predicate, 0: none */
    unsigned bits;
    unsigned lanes;     /* 2 for f16x2 and the like */
    int mantissa, bias; /* of floating point; mantissa without the leading bit */
    const char *name;
};

struct register_use {
    char letter; /* of its name: p h b r d q f g */
    bool written;
    size_t at;     /* in the operands' text */
    size_t length; /* of the name there */
};

struct form {
    bool runs;      /* so says the manual */
    char name[256]; /* opcode and all */
    char operands[512];
    char text[256];                /* the name, cut into words */
    const char *opcode;            /* the first of them */
    const char *words[MOST_WORDS]; /* after it */
    unsigned word_count;
    struct type types[4]; /* those of the words that are types, in their order */
    unsigned type_count;
    struct register_use registers[MOST_REGISTERS]; /* in the order of the text */
    unsigned register_count;
};

/** Calls `each` for every form of the tables of the manual. Ends the program if it cannot be read.
 */
void each_form(const char *manual, void (*each)(const struct form *form, void *context),
               void *context);

bool has(const struct form *form, const char *word);
/** The opcode is one of those in the list "add sub mul". */
bool is_one_of(const char *word, const char *list);
struct type type_named(const char *word);

#endif
