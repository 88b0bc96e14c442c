/* SPDX-License-Identifier: MIT */
/* Arithmetic of floating point. */
#include <fenv.h>
#include <math.h>
#include <string.h>

#include "tests/instructions/every/memory.h"

static const int modes[] = {[TO_NEAREST] = FE_TONEAREST,
                            [TOWARDS_ZERO] = FE_TOWARDZERO,
                            [DOWN] = FE_DOWNWARD,
                            [UP] = FE_UPWARD};

static uint64_t code_of_f32(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return isnan(v) ? 0x7fffffff : bits;
}

static uint64_t code_of_f64(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

/* What the processor computes under a mode; volatile operands keep it there. */
#define COMPUTE_BY(number, name, fused, root, code)                                                \
    static uint64_t name(const char *op, enum rounding rounding, const double *v)                  \
    {                                                                                              \
        volatile number a = (number)v[0], b = (number)v[1], c = (number)v[2], r = 0;               \
                                                                                                   \
        fesetround(modes[rounding]);                                                               \
        if (strcmp(op, "add") == 0)                                                                \
            r = a + b;                                                                             \
        else if (strcmp(op, "sub") == 0)                                                           \
            r = a - b;                                                                             \
        else if (strcmp(op, "mul") == 0)                                                           \
            r = a * b;                                                                             \
        else if (is_one_of(op, "fma mad"))                                                         \
            r = fused(a, b, c);                                                                    \
        else if (strcmp(op, "div") == 0)                                                           \
            r = a / b;                                                                             \
        else if (strcmp(op, "rcp") == 0)                                                           \
            r = 1 / a;                                                                             \
        else if (strcmp(op, "sqrt") == 0)                                                          \
            r = root(a);                                                                           \
        fesetround(FE_TONEAREST);                                                                  \
        return code(r);                                                                            \
    }

COMPUTE_BY(float, by_f32, fmaf, sqrtf, code_of_f32)
COMPUTE_BY(double, by_f64, fma, sqrt, code_of_f64)

/* Formats whose products are exact in f64: only the sum has to be rounded with care. */
static uint64_t by_odd(const char *op, struct type t, const double *v)
{
    bool product = is_one_of(op, "mul fma");
    double r = product ? v[0] * v[1] : v[0];

    if (op[0] != 'm')
        r = odd_sum(r, op[0] == 'f' ? v[2] : op[0] == 's' ? -v[1] : v[1]);
    return code_of(t, r, TO_NEAREST, false);
}

static uint64_t extreme(const struct form *f, struct type t, uint64_t a, uint64_t b)
{
    bool least = f->opcode[1] == 'i', magnitudes = has(f, "abs");
    uint64_t sign = UINT64_C(1) << (t.bits - 1), signs = has(f, "xorsign") ? (a ^ b) & sign : 0, r;
    double x, y;

    if (magnitudes) {
        a &= ~sign;
        b &= ~sign;
    }
    x = value_of(t, a);
    y = value_of(t, b);
    if (isnan(x) || isnan(y))
        r = has(f, "NaN") || (isnan(x) && isnan(y)) ? nan_code(t) : isnan(x) ? b : a;
    else if (x == y)
        r = ((a & sign) != 0) == least ? a : b;
    else
        r = (x < y) == least ? a : b;
    return is_nan_code(t, r) ? nan_code(t)
                             : (r & (magnitudes && signs == 0 ? ~sign : UINT64_MAX)) | signs;
}

uint64_t float_sum(struct type t, uint64_t a, uint64_t b)
{
    const double v[3] = {value_of(t, a), value_of(t, b), 0};

    return t.bits == 64   ? by_f64("add", TO_NEAREST, v)
           : t.bits == 32 ? by_f32("add", TO_NEAREST, v)
                          : by_odd("add", t, v);
}

uint64_t float_extreme(struct type t, bool least, uint64_t a, uint64_t b)
{
    const struct form form = {.opcode = least ? "min" : "max"};

    return extreme(&form, t, a, b);
}

/* Functions that PTX gives a bound for: the best f32 (or f16) there is, and how far off is good. */
static bool function(const struct form *f, struct type t, uint64_t a, struct answer *answer)
{
    const char *op = f->opcode;
    double x = value_of(t, a), r;
    bool half = t.bits == 16;

    if (strcmp(op, "sin") == 0)
        r = sin(x);
    else if (strcmp(op, "cos") == 0)
        r = cos(x);
    else if (strcmp(op, "lg2") == 0)
        r = log2(x);
    else if (strcmp(op, "ex2") == 0)
        r = exp2(x);
    else if (strcmp(op, "tanh") == 0)
        r = tanh(x);
    else if (strcmp(op, "rsqrt") == 0)
        r = 1 / sqrt(x);
    else if (strcmp(op, "rcp") == 0)
        r = 1 / x;
    else if (strcmp(op, "sqrt") == 0)
        r = sqrt(x);
    else
        return false;
    answer->values[0] = t.bits == 64 ? code_of_f64(r) : code_of(t, r, TO_NEAREST, false);
    /* sin and cos have a bound on [-pi, pi] alone, and lg2 one near 1 that is absolute. */
    answer->any = is_one_of(op, "sin cos") && fabs(x) > 3.14;
    answer->ulps = half ? 2 : is_one_of(op, "sin cos lg2") ? 4 : strcmp(op, "tanh") == 0 ? 8192 : 2;
    answer->distance = is_one_of(op, "sin cos") ? 0x1p-20 : strcmp(op, "lg2") == 0 ? 0x1p-22 : 0;
    return true;
}

static uint64_t one_lane(const struct form *f, struct type t, const uint64_t *codes,
                         struct answer *answer)
{
    const char *op = f->opcode;
    enum rounding rounding = rounding_of(f);
    uint64_t sign = UINT64_C(1) << (t.bits - 1), c[3], r;
    double v[3];

    for (unsigned n = 0; n < 3; n++) {
        c[n] = has(f, "ftz") ? flushed(t, codes[n]) : codes[n];
        v[n] = value_of(t, c[n]);
    }
    if (is_one_of(op, "abs neg"))
        r = is_nan_code(t, c[0]) ? nan_code(t) : op[0] == 'a' ? c[0] & ~sign : c[0] ^ sign;
    else if (strcmp(op, "copysign") == 0)
        r = (c[1] & ~sign) | (c[0] & sign);
    else if (is_one_of(op, "min max"))
        r = f->register_count == 4 ? extreme(f, t, extreme(f, t, c[0], c[1]), c[2])
                                   : extreme(f, t, c[0], c[1]);
    else if ((has(f, "approx") || has(f, "full")) && strcmp(op, "div") != 0)
        r = function(f, t, c[0], answer) ? answer->values[0] : 0;
    else if (t.bits == 64)
        r = by_f64(op, rounding, v);
    else if (t.bits == 16)
        r = by_odd(op, t, v);
    else
        r = by_f32(op, rounding, v);
    if (strcmp(op, "div") == 0 && (has(f, "approx") || has(f, "full"))) {
        answer->ulps = 2;
        /* The divisor's range is limited, and so is that of what comes out. */
        answer->any = fabs(v[1]) > 0x1p126 || (v[1] != 0 && fabs(v[1]) < 0x1p-126) ||
                      (v[0] != 0 && fabs(v[0]) < 0x1p-126) ||
                      (value_of(t, r) != 0 && fabs(value_of(t, r)) < 0x1p-125);
    }
    if (has(f, "ftz"))
        r = flushed(t, r);
    if (has(f, "sat"))
        r = saturated(t, r);
    return has(f, "relu") && (r & sign) != 0 && !is_nan_code(t, r) ? 0 : r;
}

/* add.f32.f16 and its kin: sources of 16 bits with one of 32. */
static bool mixed(const struct form *f, const uint64_t *s, struct answer *answer)
{
    struct type narrow = f->types[1], t = f->types[0];
    uint64_t r;
    double v[3] = {value_of(narrow, s[0])};

    v[1] = f->opcode[0] == 'f' ? value_of(narrow, s[1]) : value_of(t, s[1]);
    v[2] = value_of(t, s[2]);
    r = by_f32(f->opcode, rounding_of(f), v);
    answer->values[0] = has(f, "sat") ? saturated(t, r) : r;
    return true;
}

bool reference_float(const struct form *f, const uint64_t *s, struct answer *answer)
{
    struct type t = f->types[0];
    uint64_t all = 0;

    if (f->type_count == 0 || t.kind != 'f' || t.bits == 0 ||
        !is_one_of(f->opcode, "add sub mul fma mad div rcp sqrt rsqrt sin cos lg2 ex2 tanh abs neg "
                              "min max copysign"))
        return false;
    if (f->type_count == 2)
        return mixed(f, s, answer);
    /* rcp and rsqrt of f64: the upper half of the result, of the upper half of the source. */
    if (t.bits == 64 && has(f, "approx")) {
        uint64_t high = flushed(t, s[0] & ~ones(32));
        double v = value_of(t, has(f, "ftz") ? high : s[0]);

        v = f->opcode[1] == 'c' ? 1 / v : 1 / sqrt(v);
        answer->values[0] = code_of_f64(v);
        /* The upper half of the result, or 46 bits. */
        if (has(f, "ftz"))
            answer->values[0] = flushed(t, answer->values[0]) & ~ones(32);
        answer->distance = fabs(v) * (has(f, "ftz") ? 0x1p-19 : 0x1p-46);
        answer->any = isnan(v);
        answer->ulps = 1;
        return true;
    }
    for (unsigned n = 0; n < t.lanes; n++) {
        uint64_t codes[3];

        for (unsigned k = 0; k < 3; k++)
            codes[k] = s[k] >> n * t.bits & ones(t.bits);
        all |= one_lane(f, t, codes, answer) << n * t.bits;
    }
    answer->values[0] = all;
    return true;
}
