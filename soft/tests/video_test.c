/* SPDX-License-Identifier: MIT */
/* Video instructions, against the manual's description of them. */
#include "soft/tests/harness.h"

/* Part of a register, as a number: 'w' all of it, "b0" to "b3", "h0", "h1". */
static int64_t part(uint64_t v, const char *name, bool is_signed)
{
    unsigned bits = name[0] == 'b' ? 8 : name[0] == 'h' ? 16 : 32;
    unsigned at = name[0] == 'w' ? 0 : (unsigned)(name[1] - '0') * bits;
    int64_t n = (int64_t)(v >> at & (UINT64_MAX >> (64 - bits)));

    return is_signed && n >> (bits - 1) != 0 ? n - (INT64_C(1) << bits) : n;
}

static int64_t limited(int64_t v, unsigned bits, bool is_signed)
{
    int64_t least = is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
    int64_t most = is_signed ? -least - 1 : (INT64_C(1) << bits) - 1;

    return v < least ? least : v > most ? most : v;
}

static int64_t difference(int64_t a, int64_t b)
{
    return a < b ? b - a : a - b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a < b ? b : a;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#define S(v, p) part(v, p, true)
#define U(v, p) part(v, p, false)

REFERENCE(add_bytes, S(a, "b1") + U(b, "h1"))
REFERENCE(sub_sat, limited(S(a, "w") - S(b, "w"), 32, true))
REFERENCE(sub_sat_u, limited(U(a, "w") - U(b, "w"), 32, false))
REFERENCE(difference_min, least((int64_t)(uint32_t)difference(S(a, "w"), U(b, "b0")), U(c, "w")))
REFERENCE(max_add, most(S(a, "h0"), S(b, "w")) + (int64_t)c)
REFERENCE(min_merged,
          ((uint64_t)limited(least(S(a, "w"), U(b, "b3")), 16, true) & 0xffff) << 16 | (c & 0xffff))
REFERENCE(byte_merged, ((uint64_t)(U(a, "w") + U(b, "w")) & 0xff) << 16 | (c & 0xff00ffff))
REFERENCE(shl_wrap, U(a, "w") << (b & 31))
REFERENCE(shl_sat, limited(S(a, "h1") * (INT64_C(1) << (b > 32 ? 32 : b)), 32, true))
REFERENCE(shr_clamp, (b > 32 ? 32 : b) == 32 ? (S(a, "w") < 0 ? -1 : 0)
                                             : (int64_t)(int32_t)a >> (b > 32 ? 32 : b))
REFERENCE(set_add, (uint64_t)(S(a, "h0") < S(b, "b2")) + c)
REFERENCE(set_alone, U(a, "w") >= S(b, "w"))
REFERENCE(mad_plain, S(a, "b1") * U(b, "h0") + (int64_t)(int32_t)c)

static uint64_t mad_scaled(uint64_t a, uint64_t b, uint64_t c)
{
    __int128 v = (__int128)(int32_t)a * (int32_t)b + (int32_t)c, step = 1 << 15, q = v / step;

    q -= q * step > v;
    return (uint64_t)(q > INT32_MAX ? INT32_MAX : q < INT32_MIN ? INT32_MIN : (int64_t)q);
}

REFERENCE(mad_minus, -(S(a, "w") * U(b, "b0")) + (int64_t)(int32_t)c)
REFERENCE(mad_one_more, U(a, "w") * U(b, "b0") + (int64_t)c + 1)

static void one_at_a_time(void **state)
{
    static const struct instruction table[] = {
        {"vadd.s32.s32.u32 %d, %a.b1, %b.h1;", "www", add_bytes, 0},
        {"vsub.s32.s32.s32.sat %d, %a, %b;", "www", sub_sat, 0},
        {"vsub.u32.u32.u32.sat %d, %a, %b;", "www", sub_sat_u, 0},
        {"vabsdiff.u32.s32.u32.min %d, %a, %b.b0, %c;", "wwww", difference_min, 0},
        {"vmax.s32.s32.s32.add %d, %a.h0, %b, %c;", "wwww", max_add, 0},
        {"vmin.s32.s32.u32.sat %d.h1, %a, %b.b3, %c;", "wwww", min_merged, 0},
        {"vadd.u32.u32.u32 %d.b2, %a, %b, %c;", "wwww", byte_merged, 0},
        {"vshl.u32.u32.u32.wrap %d, %a, %b;", "wws", shl_wrap, 0},
        {"vshl.s32.s32.u32.sat.clamp %d, %a.h1, %b;", "wws", shl_sat, 0},
        {"vshr.s32.s32.u32.clamp %d, %a, %b;", "wws", shr_clamp, 0},
        {"vset.s32.s32.lt.add %d, %a.h0, %b.b2, %c;", "wwww", set_add, 0},
        {"vset.u32.s32.ge %d, %a, %b;", "www", set_alone, 0},
        {"vmad.s32.s32.u32 %d, %a.b1, %b.h0, %c;", "wwww", mad_plain, 0},
        {"vmad.s32.s32.s32.sat.shr15 %d, %a, %b, %c;", "wwww", mad_scaled, 0},
        {"vmad.s32.s32.u32 %d, -%a, %b.b0, %c;", "wwww", mad_minus, 0},
        {"vmad.u32.u32.u32.po %d, %a, %b.b0, %c;", "wwww", mad_one_more, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

/* ---- several lanes ---- */

/* Byte or half n of both sources, b's after a's. */
static int64_t lane_of(uint64_t a, uint64_t b, unsigned n, unsigned bits, bool is_signed)
{
    uint64_t v = (b << 32 | a) >> n * bits & ((1u << bits) - 1);

    return is_signed && v >> (bits - 1) != 0 ? (int64_t)v - (1 << bits) : (int64_t)v;
}

/* `of` for each lane, put together. */
#define LANES(name, BITS, A, B, SA, SB, EXPR)                                                      \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        static const unsigned from_a[] = A, from_b[] = B;                                          \
        uint64_t d = 0;                                                                            \
        (void)c;                                                                                   \
        for (unsigned n = 0; n < 32 / (BITS); n++) {                                               \
            int64_t x = lane_of(a, b, from_a[n], BITS, SA),                                        \
                    y = lane_of(a, b, from_b[n], BITS, SB);                                        \
            d |= ((uint64_t)(EXPR) & ((1u << (BITS)) - 1)) << n * (BITS);                          \
        }                                                                                          \
        return d;                                                                                  \
    }
#define FOUR(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define SUM_OF(name, BITS, S_X, S_Y, EXPR)                                                         \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        for (unsigned n = 0; n < 32 / (BITS); n++) {                                               \
            int64_t x = lane_of(a, 0, n, BITS, S_X), y = lane_of(b, 0, n, BITS, S_Y);              \
            c += (uint64_t)(EXPR);                                                                 \
        }                                                                                          \
        return c;                                                                                  \
    }

LANES(add_pairs, 16, FOUR(0, 1), FOUR(2, 3), true, true, limited(x + y, 16, true))
LANES(sub_fours, 8, FOUR(0, 1, 2, 3), FOUR(4, 5, 6, 7), false, false, x - y)
LANES(average, 8, FOUR(0, 1, 2, 3), FOUR(4, 5, 6, 7), false, false, (x + y + 1) / 2)
LANES(max_turned, 8, FOUR(3, 0, 1, 7), FOUR(4, 4, 6, 5), true, true, most(x, y))
LANES(less, 16, FOUR(0, 1), FOUR(2, 3), true, false, x < y)
SUM_OF(differences, 8, false, false, difference(x, y))
SUM_OF(sums_of_pairs, 16, true, true, x + y)

static uint64_t one_half(uint64_t a, uint64_t b, uint64_t c)
{
    return (c & 0xffff) | (uint64_t)least(S(a, "h1"), S(b, "h1")) << 16;
}

static void several_at_a_time(void **state)
{
    static const struct instruction table[] = {
        {"vadd2.s32.s32.s32.sat %d, %a, %b, %c;", "wwww", add_pairs, 0},
        {"vsub4.u32.u32.u32 %d, %a, %b, %c;", "wwww", sub_fours, 0},
        {"vavrg4.u32.u32.u32 %d, %a, %b, %c;", "wwww", average, 0},
        {"vmax4.s32.s32.s32 %d, %a.b7103, %b.b5644, %c;", "wwww", max_turned, 0},
        {"vset2.s32.u32.lt %d, %a, %b, %c;", "wwww", less, 0},
        {"vabsdiff4.u32.u32.u32.add %d, %a, %b, %c;", "wwww", differences, 0},
        {"vadd2.s32.s32.s32.add %d, %a, %b, %c;", "wwww", sums_of_pairs, 0},
        {"vmin2.s32.s32.s32 %d.h1, %a, %b, %c;", "wwww", one_half, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(several_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
