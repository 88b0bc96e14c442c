/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/latency.h"

static void buckets_hold_what_lies_between_their_floors(void **state)
{
    (void)state;
    for (uint32_t bucket = 0; bucket + 1 < VGPU_LATENCY_BUCKETS; bucket++) {
        uint64_t floor = vgpu_latency_floor(bucket), next = vgpu_latency_floor(bucket + 1);
        assert_true(floor < next);
        assert_int_equal(vgpu_latency_bucket(floor), bucket);
        assert_int_equal(vgpu_latency_bucket(next - 1), bucket);
        /* the promised precision */
        assert_true(floor < 4 || (next - floor) * 4 <= floor);
    }
}

static void the_last_bucket_takes_the_rest(void **state)
{
    (void)state;
    assert_int_equal(vgpu_latency_bucket(vgpu_latency_floor(VGPU_LATENCY_BUCKETS - 1)),
                     VGPU_LATENCY_BUCKETS - 1);
    assert_int_equal(vgpu_latency_bucket(UINT64_MAX), VGPU_LATENCY_BUCKETS - 1);
}

static void percentiles_of_known_distributions(void **state)
{
    (void)state;
    uint64_t buckets[VGPU_LATENCY_BUCKETS] = {0};
    assert_int_equal(vgpu_latency_percentile(buckets, 0.5), 0);
    for (uint64_t microseconds = 1; microseconds <= 1000; microseconds++)
        buckets[vgpu_latency_bucket(microseconds * 1000)]++;
    static const double fractions[] = {0.01, 0.5, 0.95, 0.99, 1.0};
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++) {
        double exact = fractions[i] * 1000 * 1000;
        double found = (double)vgpu_latency_percentile(buckets, fractions[i]);
        assert_true(found <= exact && found >= exact * 0.75);
    }
}

static void one_outlier_shows_only_at_the_end(void **state)
{
    (void)state;
    uint64_t buckets[VGPU_LATENCY_BUCKETS] = {0};
    buckets[vgpu_latency_bucket(10000)] = 999;
    buckets[vgpu_latency_bucket(1000000000)] = 1;
    assert_true(vgpu_latency_percentile(buckets, 0.99) <= 10000);
    assert_true(vgpu_latency_percentile(buckets, 0.9995) > 750000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_hold_what_lies_between_their_floors),
        cmocka_unit_test(the_last_bucket_takes_the_rest),
        cmocka_unit_test(percentiles_of_known_distributions),
        cmocka_unit_test(one_outlier_shows_only_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
