/* SPDX-License-Identifier: MIT */
/* Video instructions: numbers of 8, 16 and 32 bits out of registers, one, two or four at a time. */
#include <stdio.h>
#include <string.h>

#include "tests/instructions/every/reference.h"

/* The selector after a register of the operands: "h1", "b310"; empty if there is none. */
static const char *selector(const struct form *f, unsigned of, char *buffer, size_t size)
{
    const struct register_use *use = &f->registers[of];
    const char *at = f->operands + use->at + use->length;
    size_t length = *at == '.' ? strcspn(at + 1, ", ") : 0;

    length = length >= size ? size - 1 : length;
    memcpy(buffer, at + 1, length);
    buffer[length] = '\0';
    return buffer;
}

/* 0: of the result, which a comparison does not name; 1 and 2: of the sources. */
static struct type typed(const struct form *f, unsigned n)
{
    if (strncmp(f->opcode, "vset", 4) != 0)
        return f->types[n];
    return n == 0 ? type_named("u32") : f->types[n - 1];
}

static wide chosen(uint64_t v, const char *part, bool is_signed)
{
    unsigned bits = part[0] == 'b' ? 8 : part[0] == 'h' ? 16 : 32;

    return number(v >> (part[0] != '\0' ? (unsigned)(part[1] - '0') * bits : 0), bits, is_signed);
}

static wide computed(const char *op, wide a, wide b)
{
    if (strcmp(op, "add") == 0)
        return a + b;
    if (strcmp(op, "sub") == 0)
        return a - b;
    if (strcmp(op, "absdiff") == 0)
        return a < b ? b - a : a - b;
    if (strcmp(op, "avrg") == 0)
        return (a + b + (a + b >= 0)) >> 1;
    return (a < b) == (strcmp(op, "min") == 0) ? a : b;
}

static bool compared(const struct form *f, wide a, wide b)
{
    return has(f, "eq")   ? a == b
           : has(f, "ne") ? a != b
           : has(f, "lt") ? a < b
           : has(f, "le") ? a <= b
           : has(f, "gt") ? a > b
                          : a >= b;
}

/* What is done with the result and the third source, which has the type of the result. */
static uint64_t joined(const struct form *f, struct type to, wide r, uint64_t third)
{
    wide v = number((uint64_t)r, 32, to.kind == 's'), w = number(third, 32, to.kind == 's');

    return (uint64_t)(has(f, "add")   ? v + w
                      : has(f, "min") ? (v < w ? v : w)
                      : has(f, "max") ? (v > w ? v : w)
                                      : v);
}

/* The result goes to a part of the third source. */
static uint64_t merged(const char *part, uint64_t r, uint64_t third)
{
    unsigned bits = part[0] == 'b' ? 8 : 16, at = (unsigned)(part[1] - '0') * bits;

    return (third & ~(ones(bits) << at)) | (r & ones(bits)) << at;
}

static uint64_t one_number(const struct form *f, const uint64_t *s)
{
    struct type to = typed(f, 0);
    char part[16];
    const char *op = f->opcode + 1;
    bool is_signed = to.kind == 's';
    wide a = chosen(s[0], selector(f, 1, part, sizeof(part)), typed(f, 1).kind == 's');
    wide b = chosen(s[1], selector(f, 2, part, sizeof(part)), typed(f, 2).kind == 's');
    unsigned bits;
    wide r;

    selector(f, 0, part, sizeof(part));
    bits = part[0] == 'b' ? 8 : part[0] == 'h' ? 16 : 32;
    if (strcmp(op, "set") == 0) {
        r = compared(f, a, b);
    } else if (is_one_of(op, "shl shr")) {
        wide by = has(f, "wrap") ? b & 31 : b > 32 ? 32 : b;

        r = op[2] == 'l' ? a * ((wide)1 << by) : a >> by;
    } else {
        r = computed(op, a, b);
    }
    selector(f, 0, part, sizeof(part));
    if (has(f, "sat"))
        r = limited(r, bits, is_signed);
    return part[0] != '\0' ? merged(part, (uint64_t)r, s[2]) : joined(f, to, r, s[2]);
}

static uint64_t multiplied(const struct form *f, const uint64_t *s)
{
    char part[16];
    wide a = chosen(s[0], selector(f, 1, part, sizeof(part)), typed(f, 1).kind == 's');
    wide b = chosen(s[1], selector(f, 2, part, sizeof(part)), typed(f, 2).kind == 's');
    bool minus = strchr(f->operands, '-') != NULL;
    bool is_signed = typed(f, 1).kind == 's' || typed(f, 2).kind == 's' || minus;
    wide r = (minus ? -(a * b) : a * b) + number(s[2], 32, is_signed) + has(f, "po");

    r >>= has(f, "shr7") ? 7 : has(f, "shr15") ? 15 : 0;
    return (uint64_t)(has(f, "sat") ? limited(r, 32, is_signed) : r);
}

/* Lane n of a source is a part of both registers, the one that the selector names. */
static wide lane_of(const uint64_t *s, unsigned n, unsigned bits, const char *chosen_lanes,
                    unsigned standard, bool is_signed)
{
    unsigned lanes = 32 / bits, which = standard + n;

    /* The selector has the highest lane first. */
    if (chosen_lanes[0] != '\0')
        which = (unsigned)(chosen_lanes[lanes - n] - '0');
    return number((s[1] << 32 | (s[0] & UINT32_MAX)) >> which * bits, bits, is_signed);
}

static uint64_t several(const struct form *f, const uint64_t *s)
{
    size_t length = strlen(f->opcode);
    unsigned lanes = (unsigned)(f->opcode[length - 1] - '0'), bits = 32 / lanes;
    char op[16], of_a[16], of_b[16], to[16];
    bool add = has(f, "add"), is_signed = typed(f, 0).kind == 's';
    uint64_t r = add ? s[2] : 0;

    snprintf(op, sizeof(op), "%.*s", (int)(length - 2), f->opcode + 1);
    selector(f, 0, to, sizeof(to));
    selector(f, 1, of_a, sizeof(of_a));
    selector(f, 2, of_b, sizeof(of_b));
    for (unsigned n = 0; n < lanes; n++) {
        char digit = (char)('0' + n);
        wide a = lane_of(s, n, bits, of_a, 0, typed(f, 1).kind == 's');
        wide b = lane_of(s, n, bits, of_b, lanes, typed(f, 2).kind == 's');
        wide v = strcmp(op, "set") == 0 ? (wide)compared(f, a, b) : computed(op, a, b);

        if (has(f, "sat"))
            v = limited(v, bits, is_signed);
        if (to[0] != '\0' && strchr(to + 1, digit) == NULL)
            v = add ? 0 : number(s[2] >> n * bits, bits, false);
        if (add)
            r += (uint64_t)v;
        else
            r |= ((uint64_t)v & ones(bits)) << n * bits;
    }
    return r;
}

bool reference_video(const struct form *f, const uint64_t *s, struct answer *answer)
{
    if (f->type_count < 2 ||
        !is_one_of(f->opcode, "vadd vsub vabsdiff vmin vmax vshl vshr vset vmad vadd2 "
                              "vsub2 vavrg2 vabsdiff2 vmin2 vmax2 vset2 vadd4 vsub4 vavrg4 "
                              "vabsdiff4 vmin4 vmax4 vset4"))
        return false;
    answer->values[0] = strcmp(f->opcode, "vmad") == 0     ? multiplied(f, s)
                        : strpbrk(f->opcode, "24") != NULL ? several(f, s)
                                                           : one_number(f, s);
    return true;
}
