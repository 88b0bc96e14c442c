/* SPDX-License-Identifier: MIT */
/* Functions of numbers in kernels that nvcc compiled (kernels/), against those of C. */
#include "soft/tests/harness.h"

#include <math.h>

static void near(double got, double want, double tolerance)
{
    double error = fabs(got - want) / (fabs(want) > 1e-30 ? fabs(want) : 1);

    if (!(error <= tolerance))
        fail_msg("%.17g instead of %.17g", got, want);
}

static void float_functions(void **state)
{
    enum { N = 512 };
    struct rig rig;
    float *in, *out;

    (void)state;
    rig_load_file(&rig, "numbers.ptx");
    in = rig_allocate(&rig, N * sizeof(*in));
    out = rig_allocate(&rig, 6 * N * sizeof(*out));
    for (int i = 0; i < N; i++)
        in[i] = (float)(i - 200) * 0.37f * (i % 50 == 0 ? 1e5f : 1);
    float *p[2] = {in, out};
    rig_run(&rig, "functions32", (struct geometry){N / 128, 128, 0}, p);
    for (int i = 0; i < N; i++) {
        float x = in[i];

        assert_true(fabs((double)out[i] - sin((double)x)) < 2e-7);
        if (fabsf(x) < 800)
            near((double)out[i + N], exp((double)(x * 0.1f)), 3e-7);
        assert_true(fabs((double)out[i + 2 * N] - log((double)(fabsf(x) + 0.5f))) < 2e-6);
        near((double)out[i + 3 * N], (double)(sqrtf(fabsf(x)) / (1 + x * x)), 3e-7);
        near((double)out[i + 4 * N], pow((double)(fabsf(x) + 0.1f), (double)1.7f), 2e-6);
        near((double)out[i + 5 * N], tanh((double)x), 3e-7);
    }
    rig_drop(&rig);
}

static void double_functions(void **state)
{
    enum { N = 256 };
    struct rig rig;
    double *in, *out;

    (void)state;
    rig_load_file(&rig, "numbers.ptx");
    in = rig_allocate(&rig, N * sizeof(*in));
    out = rig_allocate(&rig, 5 * N * sizeof(*out));
    for (int i = 0; i < N; i++)
        in[i] = (i - 100) * 0.77 * (i % 40 == 0 ? 1e6 : 1);
    double *p[2] = {in, out};
    rig_run(&rig, "functions64", (struct geometry){N / 128, 128, 0}, p);
    for (int i = 0; i < N; i++) {
        double x = in[i];

        assert_true(fabs(out[i] - sin(x)) < 5e-16);
        near(out[i + N], cbrt(x), 5e-16);
        if (fabs(x) < 7000)
            near(out[i + 2 * N], exp(x * 0.1), 5e-16);
        assert_true(fabs(out[i + 3 * N] - log(fabs(x) + 0.5)) < 4e-15);
        near(out[i + 4 * N], sqrt(fabs(x)) / (1 + x * x), 5e-16);
    }
    rig_drop(&rig);
}

/* The f16 nearest to v, as a number; v is neither too large for one nor infinite. */
static double nearest_half(double v)
{
    int exponent;

    frexp(v, &exponent);
    double unit = ldexp(1, (exponent > -13 ? exponent : -13) - 11);

    return rint(v / unit) * unit;
}

static void short_floats(void **state)
{
    enum { N = 128 };
    struct rig rig;
    float *in, *out;

    (void)state;
    rig_load_file(&rig, "numbers.ptx");
    in = rig_allocate(&rig, N * sizeof(*in));
    out = rig_allocate(&rig, 4 * N * sizeof(*out));
    for (int i = 0; i < N; i++)
        in[i] = (float)(i - 60) * 0.3f;
    float *p[2] = {in, out};
    rig_run(&rig, "halves", (struct geometry){1, N, 0}, p);
    for (int i = 0; i < N; i++) {
        float h = (float)nearest_half((double)in[i]);
        double square = (double)h * (double)h + 0.25;

        assert_true(out[i] == (float)nearest_half(square));
        assert_true(out[i + N] == (float)nearest_half((double)(h + h)) + 2.25f);
        near((double)out[i + 2 * N], (double)in[i], 1.0 / 256);
        assert_true(((uint32_t)of_f32(out[i + 2 * N]) & 0xffff) == 0);
        assert_true(out[i + 3 * N] == (h > 0 ? 1.0f : 0.0f));
    }
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_functions),
        cmocka_unit_test(double_functions),
        cmocka_unit_test(short_floats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
