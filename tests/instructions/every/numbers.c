/* SPDX-License-Identifier: MIT */
/* Formats of floating point, by their definition. */
#include <fenv.h>
#include <math.h>
#include <string.h>

#include "tests/instructions/every/reference.h"

enum rounding rounding_of(const struct form *f)
{
    return has(f, "rz") || has(f, "rzi")   ? TOWARDS_ZERO
           : has(f, "rm") || has(f, "rmi") ? DOWN
           : has(f, "rp") || has(f, "rpi") ? UP
           : has(f, "rna")                 ? NEAREST_AWAY
                                           : TO_NEAREST;
}

static bool e4m3(struct type t)
{
    return t.bits == 8 && t.mantissa == 3;
}

/* Bits that a code has; tf32 keeps its own above 13 zeros. */
unsigned exponent_bits_of(struct type t)
{
    return strcmp(t.name, "tf32") == 0 ? 8 : t.bits - 1 - (unsigned)t.mantissa;
}

static uint64_t infinite(struct type t)
{
    return e4m3(t) ? 0x7f : ones(exponent_bits_of(t)) << t.mantissa;
}

bool is_nan_code(struct type t, uint64_t code)
{
    uint64_t v = code & ones(t.bits - 1);

    if (strcmp(t.name, "tf32") == 0)
        v = (code & 0x7fffffff) >> 13;
    return e4m3(t) ? v == 0x7f : v > infinite(t);
}

uint64_t nan_code(struct type t)
{
    return t.bits == 64                  ? UINT64_C(0x7ff8000000000000)
           : strcmp(t.name, "tf32") == 0 ? 0x7fffffff
                                         : ones(t.bits - 1);
}

double value_of(struct type t, uint64_t code)
{
    uint64_t v = code & ones(t.bits - 1), exponent, fraction;
    double r;

    if (t.bits == 64) {
        memcpy(&r, &code, sizeof(r));
        return r;
    }
    if (is_nan_code(t, code))
        return NAN;
    exponent = v >> t.mantissa;
    fraction = v & ones((unsigned)t.mantissa);
    if (v == infinite(t) && !e4m3(t))
        r = INFINITY;
    else
        r = ldexp((double)(fraction + (exponent != 0 ? UINT64_C(1) << t.mantissa : 0)),
                  (int)(exponent != 0 ? exponent : 1) - t.bias - t.mantissa);
    return code >> (t.bits - 1) & 1 ? -r : r;
}

static double rounded(double v, enum rounding rounding)
{
    double low = floor(v), rest = v - low;

    switch (rounding) {
    case TOWARDS_ZERO:
        return trunc(v);
    case DOWN:
        return low;
    case UP:
        return ceil(v);
    case NEAREST_AWAY:
        return v < 0 ? -floor(-v + 0.5) : floor(v + 0.5);
    default:
        return rest > 0.5 || (rest == 0.5 && fmod(low, 2) != 0) ? low + 1 : low;
    }
}

uint64_t code_of(struct type t, double v, enum rounding rounding, bool finite)
{
    bool negative = signbit(v);
    uint64_t sign = (uint64_t)negative << (t.bits - 1), most, code;
    unsigned spare = strcmp(t.name, "tf32") == 0 ? 13 : 0;
    int exponent;
    double units;

    if (isnan(v))
        return nan_code(t);
    if (v == 0)
        return sign;
    most = infinite(t) - 1;
    frexp(v, &exponent);
    exponent = exponent - 1 < 1 - t.bias ? 1 - t.bias : exponent - 1;
    units = isinf(v) ? INFINITY : fabs(rounded(ldexp(v, t.mantissa - exponent), rounding));
    if (units >= ldexp(1, t.mantissa + 1)) {
        units /= 2;
        exponent++;
    }
    /* 1.0 has the exponent `bias`; subnormal numbers have no leading bit to be added. */
    code = isinf(units) || exponent > 2 * t.bias + 1
               ? most + 1
               : (uint64_t)units + ((uint64_t)(exponent + t.bias - 1) << t.mantissa);
    if (code > most) {
        bool inwards = rounding == TOWARDS_ZERO || (rounding == DOWN && !negative) ||
                       (rounding == UP && negative);

        code = finite || (inwards && !isinf(v)) ? most : most + 1;
    }
    return sign | code << spare;
}

double odd_sum(double a, double b)
{
    double sum = a + b, part, error;
    uint64_t bits;

    if (!isfinite(sum))
        return sum;
    part = sum - a;
    error = (a - (sum - part)) + (b - part);
    if (error == 0)
        return sum;
    memcpy(&bits, &sum, sizeof(bits));
    if ((bits & 1) == 0)
        sum = nextafter(sum, error > 0 ? INFINITY : -INFINITY);
    return sum;
}

double odd_of_wide(wide v)
{
    int64_t high = (int64_t)(v >> 32);

    return odd_sum((double)high * 0x1p32, (double)(uint32_t)v);
}

/* Of 64 bits: rounded by the processor. */
double rounded_f64(wide v, enum rounding rounding)
{
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    volatile uint64_t without_sign = (uint64_t)v;
    volatile int64_t with_sign = (int64_t)v;
    volatile double r;

    fesetround(modes[rounding]);
    r = v < 0 ? (double)with_sign : (double)without_sign;
    fesetround(FE_TONEAREST);
    return r;
}

uint64_t flushed(struct type t, uint64_t code)
{
    uint64_t v = code & ones(t.bits - 1);

    return v < UINT64_C(1) << t.mantissa ? code & ~ones(t.bits - 1) & ones(t.bits) : code;
}

uint64_t saturated(struct type t, uint64_t code)
{
    uint64_t one = (uint64_t)t.bias << t.mantissa;

    if (is_nan_code(t, code) || code >> (t.bits - 1) & 1)
        return 0;
    return code > one ? one : code;
}
