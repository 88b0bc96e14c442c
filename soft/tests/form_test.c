/* SPDX-License-Identifier: MIT */
/*
 * Forms of lanes (soft/jit/form.h): what is known of a result from the forms of its sources must be
 * true of the lanes, whatever the symbols are.
 */
#include "soft/jit/form.h"
#include "soft/tests/harness.h"

#define TRIES 20000

static uint64_t below(uint64_t n)
{
    return (random_bits() >> 17) % n;
}

/* A form as registers have them: some segments share a symbol, constants are small. */
static struct jit_form random_form(void)
{
    struct jit_form f = jit_form_uniform((unsigned)below(9));

    f.stride = below(3) == 0 ? 0 : (int64_t)below(9) - 4;
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        f.group[k] = (uint8_t)k;
        for (unsigned j = 0; j < k && f.group[k] == k; j++)
            f.group[k] = below(2) != 0 ? f.group[j] : (uint8_t)k;
        f.offset[k] =
            below(2) != 0 ? (int64_t)(k * VGPU_SEGMENT_LANES) * f.stride : (int64_t)below(64) - 16;
    }
    return f;
}

static void random_lanes(const struct jit_form *f, uint64_t lanes[VGPU_LANES])
{
    uint64_t symbol[VGPU_SEGMENTS];

    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        symbol[k] = random_bits() << f->zeros >> below(2) * 24 >> f->zeros << f->zeros;
    for (unsigned l = 0; l < VGPU_LANES; l++)
        lanes[l] = symbol[f->group[l / VGPU_SEGMENT_LANES]] + (uint64_t)jit_form_delta(f, l);
}

/* There are symbols with which the form is these lanes, in the arithmetic of `bits`. */
static void assert_form(const struct jit_form *f, const uint64_t lanes[VGPU_LANES], unsigned bits)
{
    uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;

    if (f->kind == JIT_LANES)
        return;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        unsigned first = f->group[l / VGPU_SEGMENT_LANES] * VGPU_SEGMENT_LANES;
        uint64_t symbol = lanes[first] - (uint64_t)jit_form_delta(f, first);

        assert_int_equal(f->group[first / VGPU_SEGMENT_LANES], first / VGPU_SEGMENT_LANES);
        assert_int_equal((symbol + (uint64_t)jit_form_delta(f, l)) & mask, lanes[l] & mask);
        if (f->zeros < bits)
            assert_int_equal(symbol & ((UINT64_C(1) << f->zeros) - 1), 0);
    }
}

static void test_sums(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct jit_form a = random_form(), b = random_form(), sum = jit_form_add(&a, &b, i & 1);
        uint64_t x[VGPU_LANES], y[VGPU_LANES];

        random_lanes(&a, x);
        random_lanes(&b, y);
        for (unsigned l = 0; l < VGPU_LANES; l++)
            x[l] = i & 1 ? x[l] - y[l] : x[l] + y[l];
        assert_int_equal(sum.kind, JIT_LINE);
        assert_form(&sum, x, 64);
        assert_form(&sum, x, 32);
    }
}

static void test_products(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        unsigned bits = i & 1 ? 32 : 64;
        uint64_t factor = i & 2 ? below(300) : random_bits(), x[VGPU_LANES];
        struct jit_form a = random_form(), product = jit_form_scale(&a, factor, bits);

        random_lanes(&a, x);
        for (unsigned l = 0; l < VGPU_LANES; l++)
            x[l] *= factor;
        assert_int_equal(product.kind, JIT_LINE);
        assert_form(&product, x, bits);
    }
}

static void test_low_bits_and_shifts(void **state)
{
    unsigned lines = 0;

    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct jit_form a = random_form(), low, high;
        uint64_t x[VGPU_LANES], y[VGPU_LANES];
        unsigned count = (unsigned)below(8) + 1;

        a.zeros = (uint8_t)(a.zeros + below(6));
        low = jit_form_low_bits(&a, count);
        high = jit_form_shift_right(&a, count);
        random_lanes(&a, x);
        for (unsigned l = 0; l < VGPU_LANES; l++) {
            y[l] = (uint32_t)x[l] >> count;
            x[l] = (uint32_t)x[l] & ((1u << count) - 1);
        }
        assert_form(&low, x, 32);
        assert_form(&high, y, 32);
        lines += low.kind == JIT_LINE && high.kind == JIT_LINE;
    }
    assert_true(lines > TRIES / 100);
}

static void test_either(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct jit_form a = random_form(), b = i & 1 ? a : random_form(), r, again;
        uint64_t x[VGPU_LANES];

        if (i & 2)
            b.offset[below(VGPU_SEGMENTS)] += 4;
        b.stride = a.stride;
        r = jit_form_join(&a, &b);
        random_lanes(&a, x);
        assert_form(&r, x, 64);
        random_lanes(&b, x);
        assert_form(&r, x, 64);
        /* It ends: what is joined once more does not change. */
        again = jit_form_join(&r, &b);
        again = jit_form_join(&again, &a);
        assert_true(jit_form_same(&again, &r));
    }
}

static void test_flat(void **state)
{
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        struct jit_form a = random_form(), b = random_form(), r;
        const struct jit_form *sources[] = {&a, &b};
        uint64_t x[VGPU_LANES], y[VGPU_LANES];

        a.stride = b.stride = 0;
        r = jit_form_flat(sources, 2);
        random_lanes(&a, x);
        random_lanes(&b, y);
        for (unsigned l = 0; l < VGPU_LANES; l++)
            x[l] = (x[l] ^ y[l]) * (y[l] >> 3);
        assert_int_equal(r.kind, JIT_LINE);
        assert_form(&r, x, 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),   cmocka_unit_test(test_products),
        cmocka_unit_test(test_either), cmocka_unit_test(test_low_bits_and_shifts),
        cmocka_unit_test(test_flat),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
