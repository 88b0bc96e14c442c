/* SPDX-License-Identifier: MIT */
/* Bits: logic, shifts, fields, permutations, moves. */
#include <string.h>

#include "tests/instructions/every/reference.h"

static uint64_t logic(const char *op, uint64_t a, uint64_t b)
{
    return op[0] == 'a' ? a & b : op[0] == 'o' ? a | b : a ^ b;
}

/* The bit of the table that the bits of the sources choose. */
static uint64_t looked_up(uint64_t a, uint64_t b, uint64_t c, unsigned table)
{
    uint64_t r = 0;

    for (unsigned n = 0; n < 32; n++)
        r |= (uint64_t)(table >> ((a >> n & 1) << 2 | (b >> n & 1) << 1 | (c >> n & 1)) & 1) << n;
    return r;
}

static uint64_t shifted(const struct form *f, struct type t, uint64_t a, uint64_t by)
{
    wide v = number(a, t.bits, t.kind == 's');

    by = by > t.bits ? t.bits : by;
    return (uint64_t)(f->opcode[2] == 'l' ? v << by : v >> by);
}

static uint64_t funnel(const struct form *f, const uint64_t *s)
{
    uint64_t both = s[1] << 32 | (s[0] & UINT32_MAX), by = s[2] & UINT32_MAX;

    by = has(f, "wrap") ? by & 31 : by > 32 ? 32 : by;
    return has(f, "l") ? (uint64_t)((wide_unsigned)both << by >> 32) : both >> by;
}

static uint64_t count_or_reverse(const struct form *f, struct type t, uint64_t a)
{
    uint64_t r = 0;

    a &= ones(t.bits);
    if (strcmp(f->opcode, "popc") == 0) {
        for (unsigned n = 0; n < t.bits; n++)
            r += a >> n & 1;
    } else if (strcmp(f->opcode, "clz") == 0) {
        while (r < t.bits && (a >> (t.bits - 1 - r) & 1) == 0)
            r++;
    } else {
        for (unsigned n = 0; n < t.bits; n++)
            r |= (a >> n & 1) << (t.bits - 1 - n);
    }
    return r;
}

/* The highest bit that is not as the sign. */
static uint64_t found(const struct form *f, struct type t, uint64_t a)
{
    if (t.kind == 's' && a >> (t.bits - 1) & 1)
        a = ~a;
    for (unsigned n = t.bits; n-- > 0;) {
        if (a >> n & 1)
            return has(f, "shiftamt") ? t.bits - 1 - n : n;
    }
    return UINT32_MAX;
}

/* The offset-th set bit from a base on, upwards or downwards. */
static uint64_t nth_set(uint64_t mask, uint64_t base, int64_t offset)
{
    int64_t count = (offset < 0 ? -offset : offset) - 1;

    if (offset == 0)
        return mask >> base & 1 ? base : UINT32_MAX;
    for (int64_t at = (int64_t)base; at >= 0 && at<32; at += offset> 0 ? 1 : -1) {
        if ((mask >> at & 1) != 0 && count-- == 0)
            return (uint64_t)at;
    }
    return UINT32_MAX;
}

static uint64_t field(struct type t, uint64_t a, uint64_t position, uint64_t length)
{
    uint64_t last, sign, r = 0;

    /* The manual says this of all; devices do it with 32 bits alone. */
    if (t.bits == 32) {
        position &= 0xff;
        length &= 0xff;
    }
    last = position + length - 1 > t.bits - 1 ? t.bits - 1 : position + length - 1;
    sign = t.kind == 'u' || length == 0 ? 0 : a >> last & 1;
    for (unsigned n = 0; n < t.bits; n++)
        r |= (n < length && position + n < t.bits ? a >> (position + n) & 1 : sign) << n;
    return r;
}

static uint64_t inserted(struct type t, uint64_t a, uint64_t into, uint64_t position,
                         uint64_t length)
{
    if (t.bits == 32) {
        position &= 0xff;
        length &= 0xff;
    }
    for (unsigned n = 0; n < length && position + n < t.bits; n++)
        into = (into & ~(UINT64_C(1) << (position + n))) | (a >> n & 1) << (position + n);
    return into;
}

static uint64_t extended(struct type t, uint64_t a, uint64_t length)
{
    if (length == 0)
        return 0;
    return (uint64_t)number(a, length > 32 ? 32 : (unsigned)length, t.kind == 's');
}

static uint64_t permuted(const struct form *f, uint64_t a, uint64_t b, uint64_t control)
{
    static const char *const modes[] = {"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
    uint64_t both = b << 32 | (a & UINT32_MAX), r = 0;
    unsigned c = (unsigned)control & 3, mode = 6;

    for (unsigned n = 0; n < 6; n++)
        mode = has(f, modes[n]) ? n : mode;
    for (unsigned n = 0; n < 4; n++) {
        unsigned up = c > n ? c : n, down = c < n ? c : n, nibble, byte;
        const unsigned choices[] = {c + n, (8 + c - n) & 7, c, up, down, (c & 1) * 2 + (n & 1)};

        nibble = mode < 6 ? choices[mode] : (unsigned)(control >> 4 * n) & 15;
        byte = (unsigned)(both >> 8 * (nibble & 7)) & 0xff;
        if (nibble & 8)
            byte = byte & 0x80 ? 0xff : 0;
        r |= (uint64_t)byte << 8 * n;
    }
    return r;
}

/* mov among registers, and between one and several that are its parts. */
static bool moved(const struct form *f, const uint64_t *s, struct answer *answer)
{
    unsigned written = 0, read = 0, at = 0;
    unsigned bits_of[256] = {['p'] = 1, ['b'] = 8, ['h'] = 16, ['r'] = 32, ['d'] = 64, ['q'] = 128};
    wide_unsigned all = 0;

    if (strchr(f->operands, '%') != NULL && f->register_count < 2)
        return false; /* a special register */
    for (unsigned n = 0; n < f->register_count; n++) {
        unsigned bits = bits_of[(unsigned char)f->registers[n].letter];

        if (f->registers[n].written || at > 127)
            continue;
        all |= (wide_unsigned)(s[read++] & ones(bits > 64 ? 64 : bits)) << at;
        if (bits == 128)
            all |= (wide_unsigned)s[read++] << 64;
        at += bits;
    }
    at = strncmp(f->operands, "{_, ", 4) == 0 ? 32 : 0;
    for (unsigned n = 0; n < f->register_count; n++) {
        unsigned bits = bits_of[(unsigned char)f->registers[n].letter];

        if (!f->registers[n].written || at > 127)
            continue;
        answer->values[written++] = (uint64_t)(all >> at) & ones(bits > 64 ? 64 : bits);
        if (bits == 128)
            answer->values[written++] = (uint64_t)(all >> 64);
        at += bits;
    }
    return true;
}

static uint64_t masks(const struct form *f, uint64_t a, uint64_t b)
{
    uint64_t from = has(f, "wrap") ? a & 31
                    : a > 32       ? 32
                                   : a,
             count = has(f, "wrap") ? b & 31
                     : b > 32       ? 32
                                    : b;

    return ones((unsigned)count) << from;
}

bool reference_bits(const struct form *f, const uint64_t *s, struct answer *answer)
{
    const char *op = f->opcode;
    struct type t = f->types[0];
    uint64_t *d = answer->values;

    if (strcmp(op, "mov") == 0)
        return moved(f, s, answer);
    if (is_one_of(op, "and or xor")) {
        d[0] = logic(op, s[0], s[1]);
    } else if (strcmp(op, "not") == 0) {
        d[0] = ~s[0];
    } else if (strcmp(op, "cnot") == 0) {
        d[0] = (s[0] & ones(t.bits)) == 0;
    } else if (strcmp(op, "lop3") == 0) {
        uint64_t v = looked_up(s[0], s[1], s[2], 0xe8),
                 q = (s[3] & 1) ^ (strchr(f->operands, '!') != NULL);
        bool p = has(f, "or") ? v != 0 || q : v != 0 && q;

        d[0] = f->operands[0] == '_' ? p : v;
        d[1] = p;
    } else if (is_one_of(op, "shl shr")) {
        d[0] = shifted(f, t, s[0], strstr(f->operands, ", 7") != NULL ? 7 : s[1] & UINT32_MAX);
    } else if (strcmp(op, "shf") == 0) {
        d[0] = funnel(f, s);
    } else if (is_one_of(op, "popc clz brev")) {
        d[0] = count_or_reverse(f, t, s[0]);
    } else if (strcmp(op, "bfind") == 0) {
        d[0] = found(f, t, s[0]);
    } else if (strcmp(op, "fns") == 0) {
        answer->any = (s[1] & UINT32_MAX) > 31;
        d[0] = answer->any ? 0 : nth_set(s[0], s[1] & 31, (int32_t)s[2]);
    } else if (strcmp(op, "bfe") == 0) {
        d[0] = field(t, s[0], s[1], s[2]);
    } else if (strcmp(op, "bfi") == 0) {
        d[0] = inserted(t, s[0], s[1], s[2], s[3]);
    } else if (strcmp(op, "szext") == 0) {
        uint64_t n = s[1] & UINT32_MAX;

        d[0] = extended(t, s[0], has(f, "wrap") ? n & 31 : n);
    } else if (strcmp(op, "bmsk") == 0) {
        d[0] = masks(f, s[0] & UINT32_MAX, s[1] & UINT32_MAX);
    } else if (strcmp(op, "prmt") == 0) {
        d[0] = permuted(f, s[0], s[1], s[2]);
    } else {
        return false;
    }
    return true;
}
