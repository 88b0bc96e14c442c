/* SPDX-License-Identifier: MIT */
/* Tables of instructions, on whatever a rig is. */
#include <math.h>

#include "soft/tests/harness.h"
#include "soft/tests/results.h"

#define ELEMENTS 4096
#define SENTINEL UINT64_C(0x5a5a5a5a5a5a5a5a)

#define FIRST_STATE 88172645463325252u

/* The one state of random numbers. */
static uint64_t state = FIRST_STATE;

uint64_t random_bits(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

/* ---- tables of instructions ---- */

static const uint64_t integers[] = {
    0,          1,          2,           0x7f,      0x80,
    0xff,       0x7fff,     0x8000,      0xffff,    0x7fffffff,
    0x80000000, 0xffffffff, 0x100000000, INT64_MAX, UINT64_C(1) << 63,
    UINT64_MAX};
static const uint64_t singles[] = {0,          0x80000000, 1,          0x80000001, 0x007fffff,
                                   0x00800000, 0x3f800000, 0xbf800000, 0x3f000000, 0x40200000,
                                   0xc0200000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
                                   0x4f000000, 0xcf000000, 0x5f000000, 0x4b000001};
static const uint64_t doubles[] = {0,
                                   UINT64_C(1) << 63,
                                   1,
                                   UINT64_C(0x0010000000000000),
                                   UINT64_C(0x3ff0000000000000),
                                   UINT64_C(0xbff8000000000000),
                                   UINT64_C(0x4004000000000000),
                                   UINT64_C(0x7fefffffffffffff),
                                   UINT64_C(0x7ff0000000000000),
                                   UINT64_C(0xfff0000000000000),
                                   UINT64_C(0x7ff8000000000000),
                                   UINT64_C(0x41e0000000000000),
                                   UINT64_C(0x43e0000000000000),
                                   UINT64_C(0x36a0000000000000),
                                   UINT64_C(0x3810000000000000)};
static const uint64_t halves[] = {0,      0x8000, 1,      0x8001, 0x3ff,  0x400,  0x3c00, 0xbc00,
                                  0x3800, 0x4100, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7fff, 0x3555};
static const uint64_t brains[] = {0,      0x8000, 1,      0x8001, 0x7f,   0x80,   0x3f80, 0xbf80,
                                  0x3f00, 0x4020, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fff, 0x3eab};

static uint64_t special(const uint64_t *values, size_t count, size_t n)
{
    return values[n % count];
}

uint64_t operand_value(char letter, size_t n, size_t step)
{
    bool wild = n >= ELEMENTS / 4;
    size_t k = n / step;

    switch (letter) {
    case 's':
        return wild ? random_bits() & (n % 8 == 0 ? 0xffffffff : 0x7f) : k % 70;
    case 'f':
        if (wild && n % 2 == 0) /* magnitudes near each other */
            return of_f32((float)((double)(int64_t)random_bits() * 0x1p-50));
        return wild ? random_bits() & 0xffffffff : special(singles, COUNT(singles), k);
    case 'd':
        if (wild && n % 2 == 0)
            return of_f64((double)(int64_t)random_bits() * 0x1p-50);
        return wild ? random_bits() : special(doubles, COUNT(doubles), k);
    case 'e':
        return wild ? random_bits() & 0xffff : special(halves, COUNT(halves), k);
    case 'b':
        return wild ? random_bits() & 0xffff : special(brains, COUNT(brains), k);
    case 'E':
        return operand_value('e', n, step) | operand_value('e', n + 7, step) << 16;
    case 'B':
        return operand_value('b', n, step) | operand_value('b', n + 7, step) << 16;
    case 'v':
        return operand_value('f', n, step) | operand_value('f', n + 7, step) << 32;
    case 'p':
        return random_bits() & 1;
    default:
        return wild ? random_bits() >> random_bits() % 64 : special(integers, COUNT(integers), k);
    }
}

static unsigned bits_of(char letter)
{
    return letter == 'p'                    ? 1
           : strchr("heb", letter) != NULL  ? 16
           : strchr("qdv-", letter) != NULL ? 64
                                            : 32;
}

/* A kernel around the instruction: sources from arrays of 64-bit slots, the result to another. */
static void wrap(char *text, size_t size, const struct instruction *i, bool masked)
{
    static const char names[] = "dabc";
    size_t n = (size_t)snprintf(
        text, size,
        "%s.visible .entry k(.param .u64 pd, .param .u64 pa, .param .u64 pb, .param .u64 pc)\n"
        "{\n.reg .pred odd, test;\n.reg .b16 r16<9>;\n.reg .b32 r<9>, t<4>;\n.reg .b64 q<9>,"
        " at<9>;\nmov.u32 r1, %%tid.x;\nmov.u32 r2, %%ctaid.x;\nmov.u32 r3, %%ntid.x;\n"
        "mad.lo.u32 r1, r2, r3, r1;\nand.b32 r2, r1, 1;\nsetp.eq.u32 odd, r2, 1;\n"
        "mul.wide.u32 q1, r1, 8;\n",
        i->ulps & NEWER ? ".version 8.8\n.target sm_100\n.address_size 64\n" : HEADER);

    for (size_t k = 0; k < strlen(i->letters); k++) {
        char letter = i->letters[k], name = names[k];
        unsigned bits = bits_of(letter);

        n += (size_t)snprintf(text + n, size - n,
                              ".reg .%s%s %%%c;\nld.param.u64 at%zu, [p%c];\nadd.u64 at%zu, at%zu, "
                              "q1;\n",
                              bits == 1 ? "pred" : "b",
                              bits == 1    ? ""
                              : bits == 16 ? "16"
                              : bits == 32 ? "32"
                                           : "64",
                              name, k, name, k, k);
        if (bits == 1)
            n +=
                (size_t)snprintf(text + n, size - n,
                                 "ld.global.u32 t1, [at%zu];\nsetp.ne.u32 %%%c, t1, 0;\n", k, name);
        else
            n += (size_t)snprintf(text + n, size - n, "ld.global.b%u %%%c, [at%zu];\n", bits, name,
                                  k);
    }
    n += (size_t)snprintf(text + n, size - n, "%s{ %s }\n", masked ? "@!odd bra skip;\n" : "",
                          i->text);
    n += (size_t)snprintf(text + n, size - n, masked ? "skip:\n" : "");
    switch (bits_of(i->letters[0])) {
    case 1:
        n += (size_t)snprintf(text + n, size - n, "selp.u64 q2, 1, 0, %%d;\n");
        break;
    case 16:
        n += (size_t)snprintf(text + n, size - n, "cvt.u64.u16 q2, %%d;\n");
        break;
    case 32:
        n += (size_t)snprintf(text + n, size - n, "cvt.u64.u32 q2, %%d;\n");
        break;
    default:
        n += (size_t)snprintf(text + n, size - n, "mov.b64 q2, %%d;\n");
        break;
    }
    snprintf(text + n, size - n, "st.global.u64 [at0], q2;\nret;\n}\n");
}

void restart_random_bits(void)
{
    state = FIRST_STATE;
}

static bool is_nan(char letter, uint64_t v)
{
    return letter == 'f'   ? (v & 0x7fffffff) > 0x7f800000
           : letter == 'd' ? (v & INT64_MAX) > UINT64_C(0x7ff0000000000000)
                           : false;
}

static bool close_enough(char letter, uint64_t got, uint64_t want, unsigned ulps)
{
    int64_t a = (int64_t)got, b = (int64_t)want;
    unsigned bits = bits_of(letter);

    if (got == want)
        return true;
    /* Payloads of f64 NaNs are those of the sources in some order. */
    if (letter == 'd' && is_nan(letter, got) && is_nan(letter, want))
        return true;
    if (ulps == 0 || is_nan(letter, got) || is_nan(letter, want))
        return false;
    if (got >> (bits - 1) != want >> (bits - 1))
        return false;
    return a - b <= (int64_t)ulps && b - a <= (int64_t)ulps;
}

static void check_one(const struct instruction *i, bool masked)
{
    size_t operands = strlen(i->letters);
    uint64_t *v[4], mask = UINT64_MAX >> (64 - bits_of(i->letters[0]));
    struct result result = {0};
    char text[4096];
    struct rig rig;

    /* Inputs depend on nothing that was done before. */
    restart_random_bits();
    wrap(text, sizeof(text), i, masked);
    if (!rig_try(&rig, text)) {
        if (!masked)
            result_absent(i->text);
        return;
    }
    for (size_t k = 0; k < 4; k++) {
        v[k] = rig_allocate(&rig, ELEMENTS * sizeof(uint64_t));
        for (size_t n = 0; n < ELEMENTS; n++)
            v[k][n] = k == 0         ? SENTINEL
                      : k < operands ? operand_value(i->letters[k], n,
                                                     k == 1   ? 1
                                                     : k == 2 ? 16
                                                              : 7)
                                     : 0;
    }
    rig_run(&rig, "k", (struct geometry){ELEMENTS / 128, 128, 0}, v);
    for (size_t n = 0; n < ELEMENTS; n++) {
        uint64_t source[3], want;

        for (size_t k = 1; k < 4; k++)
            source[k - 1] =
                k < operands ? v[k][n] & (UINT64_MAX >> (64 - bits_of(i->letters[k]))) : 0;
        want = i->expect(source[0], source[1], source[2]) & mask;
        if (masked && n % 2 == 0)
            want = bits_of(i->letters[0]) == 1 ? 1 : SENTINEL & mask;
        for (size_t k = 0; k < 3; k++)
            result_add_input(&result, source[k]);
        result_add_output(&result, i->letters[0], v[0][n], want);
        if (!results_are_written() && !close_enough(i->letters[0], v[0][n], want, i->ulps & ~NEWER))
            fail_msg("%s%s a=%llx b=%llx c=%llx: %llx, not %llx", i->text,
                     masked ? " (masked)" : "", (unsigned long long)source[0],
                     (unsigned long long)source[1], (unsigned long long)source[2],
                     (unsigned long long)v[0][n], (unsigned long long)want);
    }
    rig_drop(&rig);
    if (!masked)
        result_finish(&result, (i->ulps & ~NEWER) == 0, i->text);
}

void check_instructions(const struct instruction *table, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        check_one(&table[n], false);
        check_one(&table[n], true);
    }
}
