/* SPDX-License-Identifier: MIT */
/* Arithmetic of integers. */
#include <string.h>

#include "tests/instructions/every/reference.h"

static wide smaller(wide a, wide b)
{
    return a < b ? a : b;
}

static wide larger(wide a, wide b)
{
    return a < b ? b : a;
}

/* One lane of the opcodes that have no parts of products. */
static wide simple(const struct form *f, struct type t, wide a, wide b, wide c, bool *any)
{
    const char *op = f->opcode;
    wide r = 0;

    if (is_one_of(op, "add addc"))
        r = a + b;
    else if (is_one_of(op, "sub subc"))
        r = a - b;
    else if (is_one_of(op, "min max"))
        r = op[1] == 'i' ? smaller(a, b) : larger(a, b);
    else if (strcmp(op, "sad") == 0)
        r = c + (a < b ? b - a : a - b);
    else if (b == 0 && is_one_of(op, "div rem"))
        *any = true;
    else if (b != 0 && is_one_of(op, "div rem"))
        r = op[0] == 'd' ? a / b : a % b;
    else if (strcmp(op, "neg") == 0)
        r = -a;
    else if (strcmp(op, "abs") == 0)
        r = a < 0 ? -a : a;
    if (has(f, "sat"))
        r = limited(r, t.bits, true);
    return has(f, "relu") && r < 0 ? 0 : r;
}

/* mul, mad and their kin of 24 bits: lo, hi or wide of the product, and a sum. */
static uint64_t product(const struct form *f, struct type t, uint64_t a, uint64_t b, uint64_t c)
{
    bool of_24 = strstr(f->opcode, "24") != NULL, is_signed = t.kind == 's';
    unsigned bits = of_24 ? 24 : t.bits;
    wide_unsigned p =
        (wide_unsigned)number(a, bits, is_signed) * (wide_unsigned)number(b, bits, is_signed);
    uint64_t part = has(f, "hi") ? (uint64_t)(p >> (of_24 ? 16 : bits)) : (uint64_t)p;

    if (f->opcode[1] == 'u')
        return part;
    if (has(f, "sat"))
        return (uint64_t)limited(number(part, t.bits, true) + number(c, t.bits, true), t.bits,
                                 true);
    return part + c;
}

/* The carry out of the low `bits` of a sum of parts that are without sign. */
static uint64_t carry_of(wide_unsigned a, wide_unsigned b, uint64_t carry, unsigned bits)
{
    return (uint64_t)((a + b + carry) >> bits) & 1;
}

/*
 * Forms with a carry. The last source is the carry that comes in, and the last result, that which
 * goes out: every_form.c surrounds the instruction with others for them.
 */
static void with_carry(const struct form *f, const uint64_t *s, unsigned sources,
                       struct answer *answer)
{
    struct type t = f->types[0];
    uint64_t in = strchr(f->opcode, 'c') != NULL ? s[sources - 1] & 1 : 0;
    uint64_t a = s[0] & ones(t.bits), b = s[1] & ones(t.bits);

    if (f->opcode[0] == 's') {
        wide r = (wide)a - (wide)b - (wide)in;

        answer->values[0] = (uint64_t)r & ones(t.bits);
        answer->values[1] = r < 0;
        return;
    }
    if (f->opcode[0] == 'm') {
        struct form plain = *f;

        plain.opcode = "mul";
        a = product(&plain, t, s[0], s[1], 0) & ones(t.bits);
        b = s[2] & ones(t.bits);
    }
    answer->values[0] = (a + b + in) & ones(t.bits);
    answer->values[1] = carry_of(a, b, in, t.bits);
}

static uint64_t dot(const struct form *f, const uint64_t *s)
{
    bool bytes = strcmp(f->opcode, "dp4a") == 0, sa = f->types[0].kind == 's',
         sb = f->types[1].kind == 's';
    wide sum = number(s[2], 32, true);

    for (unsigned n = 0; n < (bytes ? 4 : 2); n++)
        sum += number(s[0] >> n * (bytes ? 8 : 16), bytes ? 8 : 16, sa) *
               number(s[1] >> 8 * (n + (has(f, "hi") ? 2 : 0)), 8, sb);
    return (uint64_t)sum;
}

bool reference_integer(const struct form *f, const uint64_t *s, struct answer *answer)
{
    struct type t = f->types[0];

    if (is_one_of(f->opcode, "dp4a dp2a")) {
        answer->values[0] = dot(f, s);
        return true;
    }
    if (f->type_count != 1 || strchr("us", t.kind) == NULL ||
        !is_one_of(f->opcode, "add addc sub subc mul mad madc mul24 mad24 sad div rem neg abs min "
                              "max"))
        return false;
    if (has(f, "cc") || is_one_of(f->opcode, "addc subc madc")) {
        with_carry(f, s, (f->opcode[0] == 'm' ? 3 : 2) + 1, answer);
        return true;
    }
    if (f->opcode[0] == 'm' && strchr("ua", f->opcode[1]) != NULL && f->opcode[2] != 'x') {
        answer->values[0] = product(f, t, s[0], s[1], s[2]);
        return true;
    }
    for (unsigned n = 0; n < t.lanes; n++) {
        unsigned at = n * t.bits;
        bool is_signed = t.kind == 's';
        uint64_t second = strstr(f->operands, ", 5") != NULL ? 5 : s[1];

        answer->values[0] |=
            ((uint64_t)simple(f, t, number(s[0] >> at, t.bits, is_signed),
                              number(second >> at, t.bits, is_signed),
                              number(s[2] >> at, t.bits, is_signed), &answer->any) &
             ones(t.bits))
            << at;
    }
    return true;
}
