/* SPDX-License-Identifier: MIT */
/** The text that Prometheus reads, and counters that do not shrink. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mediator/mediator.h"
#include "mediator/metrics/text.h"

static struct vgpu_text text;

static int clear(void **state)
{
    (void)state;
    free(text.bytes);
    text = (struct vgpu_text){0};
    return 0;
}

static void expect(const char *wanted)
{
    assert_int_equal(text.length, strlen(wanted));
    assert_memory_equal(text.bytes, wanted, text.length);
}

static void labels_are_escaped(void **state)
{
    const struct vgpu_label labels[] = {{"a", "x\"y\\z\n"}, {"b", ""}, {NULL, NULL}};

    (void)state;
    vgpu_text_family(&text, "vgpu_x", "gauge", "What it is.");
    vgpu_text_number(&text, "vgpu_x", labels, UINT64_MAX);
    vgpu_text_number(&text, "vgpu_x", NULL, 0);
    expect("# HELP vgpu_x What it is.\n# TYPE vgpu_x gauge\n"
           "vgpu_x{a=\"x\\\"y\\\\z\\n\",b=\"\"} 18446744073709551615\nvgpu_x 0\n");
}

static void fractions_are_exact(void **state)
{
    (void)state;
    vgpu_text_fraction(&text, "a", NULL, UINT64_MAX, 9);
    vgpu_text_fraction(&text, "b", NULL, 5, 2);
    expect("a 18446744073.709551615\nb 0.05\n");
}

static void histograms_are_cumulative_and_add_up(void **state)
{
    struct vgpu_histogram histogram = {0};
    const char *line;
    uint64_t last = 0;
    int buckets = 0;

    (void)state;
    vgpu_histogram_count(&histogram, 0);
    vgpu_histogram_count(&histogram, 511);
    vgpu_histogram_count(&histogram, 512);
    vgpu_histogram_count(&histogram, 1000000);
    vgpu_histogram_count(&histogram, 3600000000000u); /* an hour */
    vgpu_text_histogram(&text, "h", NULL, &histogram, 1);
    text.bytes[text.length - 1] = '\0';
    for (line = strstr(text.bytes, "h_bucket"); line; line = strstr(line + 1, "h_bucket")) {
        uint64_t count = strtoull(strchr(line, ' '), NULL, 10);

        assert_true(count >= last);
        last = count;
        buckets++;
    }
    assert_int_equal(buckets, 25);
    assert_int_equal(last, 5);
    assert_non_null(strstr(text.bytes, "h_bucket{le=\"5.12e-07\"} 2\n"));
    assert_non_null(strstr(text.bytes, "h_bucket{le=\"1.024e-06\"} 3\n"));
    assert_non_null(strstr(text.bytes, "h_bucket{le=\"4.294967296\"} 4\n"));
    assert_non_null(strstr(text.bytes, "h_sum 3600.001001023\nh_count 5"));
}

static void counters_never_shrink(void **state)
{
    static struct vgpu_counters now, most;

    (void)state;
    now.calls = 5;
    now.times.wait.bucket[3] = 2;
    vgpu_counters_keep(&now, &most);
    now.calls = 4;
    now.times.wait.bucket[3] = 9;
    vgpu_counters_keep(&now, &most);
    assert_int_equal(now.calls, 5);
    assert_int_equal(now.times.wait.bucket[3], 9);
    assert_int_equal(most.times.wait.bucket[3], 9);
}

static void round_trips_are_counted_by_their_growth(void **state)
{
    static struct vgpu_counters counters;
    uint32_t seen[VGPU_LATENCY_BUCKETS] = {0}, count = 7;
    int window = memfd_create("window", MFD_CLOEXEC);
    const off_t place = 4096 + offsetof(struct vgpu_channel_header, latency) + 3 * sizeof(count);

    (void)state;
    assert_int_equal(ftruncate(window, 8192), 0);
    for (int i = 0; i < 2; i++) { /* a counter of the guest: 7, and then it has wrapped to 3 */
        assert_int_equal(pwrite(window, &count, sizeof(count), place), sizeof(count));
        vgpu_counters_add_latency(&counters, seen, window, 4096);
        vgpu_counters_add_latency(&counters, seen, window, 4096);
        assert_int_equal(counters.latency[3], i ? (1ull << 32) + 3 : 7);
        count = 3;
    }
    close(window);
}

static void few_that_were_timed_stand_for_all(void **state)
{
    static struct vgpu_counters counters;
    uint64_t buckets[VGPU_LATENCY_BUCKETS];

    (void)state;
    counters.call[VGPU_CALL_vgpuLaunch] = 32000;
    counters.call[VGPU_CALL_cuModuleLoadData] = 100;
    for (int i = 0; i < 1000; i++)
        vgpu_histogram_count(&counters.times.call[VGPU_CLASS_LAUNCH], 1000);
    for (int i = 0; i < 100; i++)
        vgpu_histogram_count(&counters.times.call[VGPU_CLASS_MODULE], 10000000);
    vgpu_counters_execution(&counters, buckets);
    assert_int_equal(buckets[vgpu_latency_bucket(1000)], 32000);
    assert_int_equal(buckets[vgpu_latency_bucket(10000000)], 100);
    /* 9 of 100 that were timed load code, but not 1 of 100 that were made */
    assert_in_range(vgpu_latency_percentile(buckets, 0.99), 500, 1000);
}

static void pools_have_what_vms_used_while_they_were_in_them(void **state)
{
    static struct vgpu_mediator mediator;
    static struct vgpu_vm vm = {.pool = 'A'};
    static struct vgpu_counters counters;

    (void)state;
    counters.calls = 10;
    counters.gpu_nanoseconds = 500;
    vgpu_pool_usage_add(&mediator, &vm, &counters);
    vgpu_pool_usage_add(&mediator, &vm, &counters);
    vm.pool = 'C';
    counters.calls = 15;
    counters.gpu_nanoseconds = 700;
    vgpu_pool_usage_add(&mediator, &vm, &counters);
    assert_int_equal(mediator.pool_usage[0].calls, 10);
    assert_int_equal(mediator.pool_usage[0].gpu_nanoseconds, 500);
    assert_int_equal(mediator.pool_usage[2].calls, 5);
    assert_int_equal(mediator.pool_usage[2].gpu_nanoseconds, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(labels_are_escaped, clear),
        cmocka_unit_test_teardown(fractions_are_exact, clear),
        cmocka_unit_test_teardown(histograms_are_cumulative_and_add_up, clear),
        cmocka_unit_test(counters_never_shrink),
        cmocka_unit_test(pools_have_what_vms_used_while_they_were_in_them),
        cmocka_unit_test(round_trips_are_counted_by_their_growth),
        cmocka_unit_test(few_that_were_timed_stand_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
