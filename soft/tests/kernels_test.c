/* SPDX-License-Identifier: MIT */
/* Kernels that nvcc compiled (kernels/), checked against the same work done in C. */
#include "soft/tests/harness.h"

#include <math.h>

static void vector_add(void **state)
{
    enum { N = 100003 };
    struct rig rig;
    float *a, *b, *c;

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    a = rig_allocate(&rig, N * sizeof(*a));
    b = rig_allocate(&rig, N * sizeof(*b));
    c = rig_allocate(&rig, (N + 100) * sizeof(*c));
    for (int i = 0; i < N; i++) {
        a[i] = (float)i * 0.25f;
        b[i] = 1.0f / (float)(i + 1);
    }
    struct {
        float *a, *b, *c;
        int n;
    } p = {a, b, c, N};
    rig_run(&rig, "vector_add", (struct geometry){(N + 255) / 256, 256, 0}, &p);
    for (int i = 0; i < N; i++)
        assert_true(c[i] == a[i] + b[i]);
    for (int i = N; i < N + 100; i++)
        assert_true(c[i] == 0);
    rig_drop(&rig);
}

static void matrix_multiply(void **state)
{
    enum { N = 64 };
    struct rig rig;
    float *a, *b, *c;

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    a = rig_allocate(&rig, N * N * sizeof(*a));
    b = rig_allocate(&rig, N * N * sizeof(*b));
    c = rig_allocate(&rig, N * N * sizeof(*c));
    for (int i = 0; i < N * N; i++) {
        a[i] = (float)(i % 17) - 8;
        b[i] = (float)(i % 13) * 0.5f;
    }
    struct {
        float *a, *b, *c;
        int n;
    } p = {a, b, c, N};
    rig_run(&rig, "matrix_multiply", (struct geometry){N / 16 * (N / 16), 256, 0}, &p);
    for (int y = 0; y < N; y++) {
        for (int x = 0; x < N; x++) {
            float sum = 0;

            for (int k = 0; k < N; k++)
                sum = fmaf(a[y * N + k], b[k * N + x], sum);
            assert_true(c[y * N + x] == sum);
        }
    }
    rig_drop(&rig);
}

static void dynamic_shared_memory(void **state)
{
    enum { N = 512, BLOCK = 128 };
    struct rig rig;
    int *data;

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    data = rig_allocate(&rig, N * sizeof(*data));
    for (int i = 0; i < N; i++)
        data[i] = i;
    rig_run(&rig, "reverse_blocks", (struct geometry){N / BLOCK, BLOCK, BLOCK * sizeof(int)},
            &data);
    for (int i = 0; i < N; i++)
        assert_int_equal(data[i], i / BLOCK * BLOCK + BLOCK - 1 - i % BLOCK);
    rig_drop(&rig);
}

static void structure_as_parameter(void **state)
{
    enum { N = 100 };
    struct rig rig;
    double *data;
    struct {
        struct {
            char kind;
            double scale;
            short offsets[3];
            int n;
        } s;
        double *data;
    } p = {{-3, 1.5, {7, -9, 11}, N}, NULL};

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    data = p.data = rig_allocate(&rig, N * sizeof(*data));
    for (int i = 0; i < N; i++)
        data[i] = i;
    rig_run(&rig, "apply", (struct geometry){1, 128, 0}, &p);
    for (int i = 0; i < N; i++)
        assert_true(data[i] == i * 1.5 + p.s.offsets[i % 3] - 3);
    rig_drop(&rig);
}

static void vectors_of_four(void **state)
{
    enum { N = 77 };
    struct rig rig;
    float(*in)[4], (*out)[4];

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    in = rig_allocate(&rig, N * sizeof(*in));
    out = rig_allocate(&rig, N * sizeof(*out));
    for (int i = 0; i < N * 4; i++)
        in[i / 4][i % 4] = (float)i;
    struct {
        void *in, *out;
        int n;
    } p = {in, out, N};
    rig_run(&rig, "swizzle", (struct geometry){1, 96, 0}, &p);
    for (int i = 0; i < N; i++) {
        assert_true(out[i][0] == in[i][3] && out[i][1] == in[i][2] * 2 && out[i][2] == in[i][1]);
        assert_true(out[i][3] == in[i][0] + in[i][3]);
    }
    rig_drop(&rig);
}

static void local_arrays(void **state)
{
    enum { N = 64 };
    struct rig rig;
    int *order, *out;

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    order = rig_allocate(&rig, 16 * sizeof(*order));
    out = rig_allocate(&rig, N * sizeof(*out));
    for (int k = 0; k < 16; k++)
        order[k] = k * 5 + 3;
    int *p[2] = {order, out};
    rig_run(&rig, "shuffle_local", (struct geometry){2, 32, 0}, p);
    for (int i = 0; i < N; i++) {
        int local[16];
        unsigned sum = 0;

        for (int k = 0; k < 16; k++)
            local[k] = i * 100 + k;
        for (int k = 0; k < 16; k++) {
            int *x = &local[order[k] & 15], *y = &local[(k * 7 + i) & 15], t = *x;

            *x = *y;
            *y = t;
        }
        for (int k = 0; k < 16; k++)
            sum = sum * 31 + (unsigned)local[k];
        assert_int_equal(out[i], (int)sum);
    }
    rig_drop(&rig);
}

static void module_variables(void **state)
{
    static const int table[4] = {3, 1, 4, 1};
    struct rig rig;
    uint64_t address;
    size_t size;
    int *out;

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    out = rig_allocate(&rig, 32 * sizeof(*out));
    rig_run(&rig, "globals", (struct geometry){1, 32, 0}, &out);
    for (int i = 0; i < 32; i++)
        assert_int_equal(out[i], table[i & 3] + (i & 1 ? 'o' : 'e'));
    assert_int_equal(vgpu_image_global(rig.image, "counter", &address, &size), 0);
    assert_int_equal(size, 4);
    assert_int_equal(*(int *)(uintptr_t)address, 42);
    assert_int_equal(vgpu_image_global(rig.image, "nothing", &address, &size), -2);
    rig_drop(&rig);
}

static void generic_pointers(void **state)
{
    struct rig rig;
    int *data, *out;

    (void)state;
    rig_load_file(&rig, "arrays.ptx");
    data = rig_allocate(&rig, 32 * sizeof(*data));
    out = rig_allocate(&rig, 32 * sizeof(*out));
    for (int i = 0; i < 32; i++)
        data[i] = 100 * i;
    int *p[2] = {data, out};
    rig_run(&rig, "any_space", (struct geometry){1, 32, 0}, p);
    for (int i = 0; i < 32; i++) {
        int shared = 2000 + i + ((31 - i) % 3 == 1 ? 5 : 0);
        int target = i % 3 == 0 ? 100 * i + 5 : i % 3 == 1 ? 2000 + 31 - i + 5 : 1000 + i + 5;

        assert_int_equal(out[i], target + shared * 10000);
    }
    rig_drop(&rig);
}

/* ---- threads that work together ---- */

static void block_reduction(void **state)
{
    enum { N = 10000 };
    struct rig rig;
    float *in, *out, sum = 0;

    (void)state;
    rig_load_file(&rig, "cooperation.ptx");
    in = rig_allocate(&rig, N * sizeof(*in));
    out = rig_allocate(&rig, sizeof(*out));
    for (int i = 0; i < N; i++)
        sum += in[i] = (float)(i % 7); /* exact in any order */
    struct {
        float *in, *out;
        int n;
    } p = {in, out, N};
    rig_run(&rig, "sum_blocks", (struct geometry){(N + 255) / 256, 256, 0}, &p);
    assert_true(*out == sum);
    rig_drop(&rig);
}

static void histogram(void **state)
{
    enum { N = 50000 };
    struct rig rig;
    unsigned char *data;
    unsigned *bins, expected[256] = {0};

    (void)state;
    rig_load_file(&rig, "cooperation.ptx");
    data = rig_allocate(&rig, N);
    bins = rig_allocate(&rig, sizeof(expected));
    for (int i = 0; i < N; i++) {
        uint64_t bits = random_bits();

        expected[data[i] = (unsigned char)(bits & bits >> 8)]++; /* some bins are hit more often */
    }
    struct {
        void *data, *bins;
        int n;
    } p = {data, bins, N};
    rig_run(&rig, "histogram", (struct geometry){13, 192, 0}, &p);
    assert_memory_equal(bins, expected, sizeof(expected));
    rig_drop(&rig);
}

static void votes_in_divergent_branches(void **state)
{
    struct rig rig;
    int *in;
    unsigned(*out)[6], odd = 0, even = 0;

    (void)state;
    rig_load_file(&rig, "cooperation.ptx");
    in = rig_allocate(&rig, 32 * sizeof(*in));
    out = rig_allocate(&rig, 32 * sizeof(*out));
    for (int i = 0; i < 32; i++) {
        in[i] = (int)(random_bits() % 100);
        if (i == 4)
            in[i] = 11;
        if (in[i] & 1)
            odd |= 1u << i;
        else
            even |= 1u << i;
    }
    void *p[2] = {in, out};
    rig_run(&rig, "votes", (struct geometry){1, 32, 0}, p);
    for (int i = 0; i < 32; i++) {
        unsigned ballot = 0, any = 0, all = 1, match = 0, equal = 0;
        bool is_odd = in[i] & 1;

        for (int k = 0; k < 32; k++) {
            if ((in[k] & 1) != is_odd)
                continue;
            ballot |= (unsigned)(in[k] > (is_odd ? 50 : 20)) << k;
            any |= in[k] > 90;
            all &= in[k] > 3;
            match |= (unsigned)(in[k] % 5 == in[i] % 5) << k;
            equal += in[k] == in[i];
        }
        assert_int_equal(out[i][0], is_odd ? odd : 0);
        assert_int_equal(out[i][1], ballot);
        assert_int_equal(out[i][2], is_odd ? any * 2 + all : 0);
        assert_int_equal(out[i][3], is_odd ? match : 0);
        if (is_odd && (odd >> (i ^ 2) & 1))
            assert_int_equal(out[i][4], in[i ^ 2]);
        assert_int_equal(out[i][5], is_odd ? 0 : equal);
    }
    (void)even;
    rig_drop(&rig);
}

static void locks_inside_a_warp(void **state)
{
    struct rig rig;
    int *lock, *total;

    (void)state;
    rig_load_file(&rig, "cooperation.ptx");
    lock = rig_allocate(&rig, sizeof(*lock));
    total = rig_allocate(&rig, sizeof(*total));
    int *p[2] = {lock, total};
    rig_run(&rig, "spin_lock", (struct geometry){4, 64, 0}, p);
    assert_int_equal(*total, 4 * 96);
    *total = 0;
    rig_run(&rig, "hard_lock", (struct geometry){4, 64, 0}, p);
    assert_int_equal(*total, 4 * 64);
    assert_int_equal(*lock, 0);
    rig_drop(&rig);
}

static void barriers_in_divergent_code(void **state)
{
    struct rig rig;
    int *out;

    (void)state;
    rig_load_file(&rig, "cooperation.ptx");
    out = rig_allocate(&rig, 64 * sizeof(*out));
    rig_run(&rig, "divergent_barrier", (struct geometry){1, 64, 0}, &out);
    for (int i = 0; i < 60; i++) {
        int other = (i + 1) % 60;

        assert_int_equal(out[i], other % 2 == 0 ? other : 1000 + other);
    }
    rig_drop(&rig);
}

static void barriers_that_reduce(void **state)
{
    enum { N = 96 };
    struct rig rig;
    int *in, *out, count = 0;

    (void)state;
    rig_load_file(&rig, "cooperation.ptx");
    in = rig_allocate(&rig, N * sizeof(*in));
    out = rig_allocate(&rig, N * sizeof(*out));
    for (int i = 0; i < N; i++)
        count += (in[i] = i % 60) > 10;
    int *p[2] = {in, out};
    rig_run(&rig, "barrier_reductions", (struct geometry){1, N, 0}, p);
    for (int i = 0; i < N; i++)
        assert_int_equal(out[i], count * 4 + 2);
    in[50] = 77;
    in[3] = -1;
    rig_run(&rig, "barrier_reductions", (struct geometry){1, N, 0}, p);
    assert_int_equal(out[7], (count - 0) * 4 + 0 + 1);
    rig_drop(&rig);
}

static void warp_barriers_at_two_places(void **state)
{
    struct rig rig;
    int *out;

    (void)state;
    rig_load_file(&rig, "cooperation.ptx");
    out = rig_allocate(&rig, 32 * sizeof(*out));
    rig_run(&rig, "warp_sync", (struct geometry){1, 32, 0}, &out);
    for (int i = 0; i < 32; i++)
        assert_int_equal(out[i], i < 16 ? 100 + i + 16 : i - 16);
    rig_drop(&rig);
}

/* ---- control flow ---- */

static void collatz(void **state)
{
    enum { N = 1000 };
    struct rig rig;
    uint64_t *start;
    int *steps;

    (void)state;
    rig_load_file(&rig, "flow.ptx");
    start = rig_allocate(&rig, N * sizeof(*start));
    steps = rig_allocate(&rig, N * sizeof(*steps));
    for (int i = 0; i < N; i++)
        start[i] = i % 50 == 0 ? 0 : (uint64_t)i * 977;
    struct {
        void *start, *steps;
        int n;
    } p = {start, steps, N};
    rig_run(&rig, "collatz", (struct geometry){(N + 127) / 128, 128, 0}, &p);
    for (int i = 0; i < N; i++) {
        int count = start[i] == 0 ? -1 : 0;

        for (uint64_t v = start[i]; v > 1; count++)
            v = v % 2 == 0 ? v / 2 : 3 * v + 1;
        assert_int_equal(steps[i], count);
    }
    rig_drop(&rig);
}

static int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static void calls_and_recursion(void **state)
{
    enum { N = 256 };
    struct rig rig;
    int *in, *out;

    (void)state;
    rig_load_file(&rig, "flow.ptx");
    in = rig_allocate(&rig, N * sizeof(*in));
    out = rig_allocate(&rig, N * sizeof(*out));
    for (int i = 0; i < N; i++)
        in[i] = (int)(random_bits() % 40);
    int *p[2] = {in, out};
    rig_run(&rig, "calls", (struct geometry){4, N / 4, 0}, p);
    for (int i = 0; i < N; i++) {
        int v = in[i], f = v % 3 == 0 ? 2 * v : v % 3 == 1 ? v * v : -v;

        assert_int_equal(out[i], fibonacci(v % 13) + f * 1000 + v * v + (int)(v * 3.0 / 2));
    }
    rig_drop(&rig);
}

static void many_cases(void **state)
{
    struct rig rig;
    int *in, *out;

    (void)state;
    rig_load_file(&rig, "flow.ptx");
    in = rig_allocate(&rig, 64 * sizeof(*in));
    out = rig_allocate(&rig, 64 * sizeof(*out));
    for (int i = 0; i < 64; i++)
        in[i] = (int)(random_bits() % 10);
    int *p[2] = {in, out};
    rig_run(&rig, "cases", (struct geometry){1, 64, 0}, p);
    for (int i = 0; i < 64; i++) {
        const int expected[] = {i, 17 - i, 2 ^ i * 5, i / 3 + 8, 12, i % 7, -i, i << 3, 99, 99};

        assert_int_equal(out[i], expected[in[i]]);
    }
    rig_drop(&rig);
}

static void printing(void **state)
{
    struct rig rig;
    int n = 42;

    (void)state;
    rig_load_file(&rig, "output.ptx");
    rig_run(&rig, "print_all", (struct geometry){1, 2, 0}, &n);
    assert_string_equal(rig.output, "block 0 thread 0\nblock 0 thread 1\n"
                                    "   42|42   |00042|+42|ff|FF|10|4294967295|z|text|%\n"
                                    "3.142|  1.23e+04|0.5|-5000000000|18446744073709551615|0x1234\n"
                                    "    42|2.72|-7\n");
    rig_drop(&rig);
}

static void device_heap(void **state)
{
    struct rig rig;
    int **out;

    (void)state;
    rig_load_file(&rig, "output.ptx");
    out = rig_allocate(&rig, 4 * sizeof(*out));
    rig_run(&rig, "heap", (struct geometry){1, 4, 0}, &out);
    for (int i = 0; i < 3; i++)
        assert_int_equal(out[i][0], i);
    assert_int_equal(vgpu_memory_free(rig.memory, (uint64_t)(uintptr_t)out[2]), 0);
    assert_int_equal(vgpu_memory_free(rig.memory, (uint64_t)(uintptr_t)out[3]), -22);
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_add),
        cmocka_unit_test(matrix_multiply),
        cmocka_unit_test(dynamic_shared_memory),
        cmocka_unit_test(structure_as_parameter),
        cmocka_unit_test(vectors_of_four),
        cmocka_unit_test(local_arrays),
        cmocka_unit_test(module_variables),
        cmocka_unit_test(generic_pointers),
        cmocka_unit_test(block_reduction),
        cmocka_unit_test(histogram),
        cmocka_unit_test(votes_in_divergent_branches),
        cmocka_unit_test(locks_inside_a_warp),
        cmocka_unit_test(barriers_in_divergent_code),
        cmocka_unit_test(barriers_that_reduce),
        cmocka_unit_test(warp_barriers_at_two_places),
        cmocka_unit_test(collatz),
        cmocka_unit_test(calls_and_recursion),
        cmocka_unit_test(many_cases),
        cmocka_unit_test(printing),
        cmocka_unit_test(device_heap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
