/* SPDX-License-Identifier: MIT */
/** Tokens of PTX text. The text need not end in NUL; a token is a slice of it. */
#ifndef VGPU_SOFT_PTX_TEXT_H
#define VGPU_SOFT_PTX_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ptx_slice {
    const char *start;
    uint32_t length;
};

enum ptx_token_kind {
    PTX_END,
    PTX_WORD, /* identifiers with % and $, directives and opcodes with their dots */
    PTX_INTEGER,
    PTX_FLOAT,  /* written 0f...: `bits` has 32 bits */
    PTX_DOUBLE, /* written 0d... or with a point: `bits` has 64 bits */
    PTX_STRING,
    PTX_SIGN, /* one character */
    PTX_BAD,
};

struct ptx_token {
    enum ptx_token_kind kind;
    struct ptx_slice text;
    uint32_t line;
    uint64_t bits;
};

struct ptx_text {
    const char *at, *end;
    uint32_t line;
};

struct ptx_token ptx_text_next(struct ptx_text *text);
/** Drops the rest of the line (debug directives). */
void ptx_text_skip_line(struct ptx_text *text);
/** Goes from behind a '{' to behind the '}' that closes it; false if there is none. */
bool ptx_text_skip_body(struct ptx_text *text);

static inline bool ptx_slice_is(struct ptx_slice slice, const char *word)
{
    uint32_t i = 0;

    while (i < slice.length && word[i] == slice.start[i] && word[i] != '\0')
        i++;
    return i == slice.length && word[i] == '\0';
}

#endif
