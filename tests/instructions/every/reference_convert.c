/* SPDX-License-Identifier: MIT */
/* cvt. */
#include <math.h>
#include <string.h>

#include "tests/instructions/every/reference.h"

static uint64_t of_f64(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static double to_whole(double v, enum rounding rounding)
{
    switch (rounding) {
    case TOWARDS_ZERO:
        return trunc(v);
    case DOWN:
        return floor(v);
    case UP:
        return ceil(v);
    default:
        return nearbyint(v);
    }
}

/* Integers out of range become the nearest that there is. */
static uint64_t float_to_integer(const struct form *f, struct type to, struct type of,
                                 uint64_t code)
{
    double v = value_of(of, has(f, "ftz") ? flushed(of, code) : code);
    bool is_signed = to.kind == 's';
    double top = ldexp(1, (int)to.bits - is_signed), bottom = is_signed ? -top : 0;

    /* What is no number: 0, but the highest bit alone from f64, or as 64 bits. */
    if (isnan(v))
        return to.bits == 64 || of.bits == 64 ? UINT64_C(1) << (to.bits - 1) : 0;
    v = to_whole(v, rounding_of(f));
    if (v >= top)
        return ones(to.bits - is_signed);
    if (v <= bottom)
        return is_signed ? UINT64_MAX << (to.bits - 1) : 0;
    return is_signed ? (uint64_t)(int64_t)v : (uint64_t)v;
}

static uint64_t to_code(const struct form *f, struct type to, double v)
{
    bool finite = has(f, "satfinite") || (to.bits == 8);
    uint64_t r;

    /* tf32 is what is left of f32: `rna` keeps what is no number as it is. */
    if (to.bits == 64)
        return of_f64(v);
    r = code_of(to, v, rounding_of(f), finite && !isnan(v));
    if (has(f, "relu") && r >> (to.bits - 1) & 1)
        r = 0;
    if (has(f, "ftz") && to.bits == 32)
        r = flushed(to, r);
    return has(f, "sat") ? saturated(to, r) : r;
}

/* What is no number keeps its sign and the start of its payload between f64 and others. */
static uint64_t shortened(struct type to, uint64_t code)
{
    return code >> 63 << (to.bits - 1) | ones(exponent_bits_of(to)) << to.mantissa |
           UINT64_C(1) << (to.mantissa - 1) |
           (code >> (52 - to.mantissa) & ones((unsigned)to.mantissa));
}

static uint64_t float_to_float(const struct form *f, struct type to, struct type of, uint64_t code)
{
    double v;

    if (strcmp(of.name, "bf16") == 0 && to.bits == 32)
        return code << 16; /* whatever it is */
    if (has(f, "ftz") && of.bits == 32)
        code = flushed(of, code);
    v = value_of(of, code);
    if (isnan(v) && of.bits == 64 && to.bits < 64 && !has(f, "sat"))
        return shortened(to, code);
    if (strcmp(to.name, of.name) == 0) { /* to a whole number, or into [0, 1] */
        if (isnan(v))
            return has(f, "sat") ? 0 : to.bits == 64 ? code : nan_code(to);
        if (has(f, "rni") || has(f, "rzi") || has(f, "rmi") || has(f, "rpi"))
            v = copysign(to_whole(v, rounding_of(f)), v);
    }
    if (to.bits == 64 && isnan(v))
        return has(f, "sat") ? 0 : nan_code(to);
    if (to.bits == 64 && has(f, "sat"))
        return of_f64(v >= 1 ? 1 : v > 0 ? v : 0);
    return to_code(f, to, v);
}

static uint64_t packed(const struct form *f, const uint64_t *s)
{
    struct type to = f->types[0];
    bool is_signed = to.kind == 's';
    uint64_t a = (uint64_t)limited(number(s[0], 32, true), to.bits, is_signed) & ones(to.bits),
             b = (uint64_t)limited(number(s[1], 32, true), to.bits, is_signed) & ones(to.bits);

    return to.bits == 8 ? s[2] << 16 | a << 8 | b : a << 16 | b;
}

bool reference_convert(const struct form *f, const uint64_t *s, struct answer *answer)
{
    struct type to = f->types[0], of = f->types[1];
    uint64_t *d = answer->values;

    if (strcmp(f->opcode, "cvt") != 0 || f->type_count < 2)
        return false;
    if (has(f, "pack")) {
        d[0] = packed(f, s);
    } else if (to.lanes == 2) {
        /* The first source is the upper half. */
        for (unsigned n = 0; n < 2; n++) {
            double v = of.lanes == 2 ? value_of(of, s[0] >> n * of.bits & ones(of.bits))
                                     : value_of(of, s[1 - n]);
            uint64_t r = to_code(f, to, v);

            d[0] |= r << n * to.bits;
        }
    } else if (to.kind != 'f' && of.kind != 'f') {
        wide v = number(s[0], of.bits, of.kind == 's');

        d[0] = (uint64_t)(has(f, "sat") ? limited(v, to.bits, to.kind == 's') : v);
        /* A register that is wider than the type has it extended. */
        d[0] = (uint64_t)number(d[0], to.bits, to.kind == 's');
    } else if (to.kind != 'f') {
        d[0] = float_to_integer(f, to, of, s[0] & ones(of.bits));
        d[0] = (uint64_t)number(d[0], to.bits, to.kind == 's');
    } else if (of.kind != 'f') {
        wide v = number(s[0], of.bits, of.kind == 's');

        d[0] =
            to.bits == 64 ? of_f64(rounded_f64(v, rounding_of(f))) : to_code(f, to, odd_of_wide(v));
    } else {
        d[0] = float_to_float(f, to, of, s[0] & ones(of.bits));
    }
    return true;
}
