/* SPDX-License-Identifier: MIT */
/*
 * mma and wmma.mma: products of matrices that are spread over the lanes of a warp.
 *
 * Products of the short floating-point formats are exact in f64; they are added up in f64, the
 * accumulator first, and rounded once at the end. PTX asks for at least single precision and leaves
 * order and rounding open. f64 is a chain of fused multiply-adds in ascending order of k.
 */
#include <math.h>

#include "soft/simt/fp8.h"
#include "soft/simt/lanes.h"
#include "soft/simt/matrix.h"

/* Elements of floating-point matrices, and the longest row of integers. */
#define MOST_A 1024
#define MOST_B 512
#define MOST_C 256
#define MOST_K 256
#define MOST_N 32

/* ---- fragments to matrices ---- */

static inline int32_t integer_of(enum vgpu_element type, uint32_t bits)
{
    switch (type) {
    case VGPU_ELEMENT_S8:
        return (int8_t)bits;
    case VGPU_ELEMENT_U8:
        return (uint8_t)bits;
    case VGPU_ELEMENT_S4:
        return (int32_t)(bits << 28) >> 28;
    case VGPU_ELEMENT_U4:
        return (int32_t)(bits & 15);
    default:
        return (int32_t)(bits & 1);
    }
}

/* The elements of a register of all lanes, in order. */
static inline void unpack_floats(enum vgpu_element type, const uint32_t *row, float *out)
{
    const uint8_t *bytes = (const uint8_t *)row;

    switch (type) {
    case VGPU_ELEMENT_F16:
        vgpu_from_f16((const uint16_t *)row, out, 2 * VGPU_LANES);
        return;
    case VGPU_ELEMENT_BF16:
        vgpu_from_bf16((const uint16_t *)row, out, 2 * VGPU_LANES);
        return;
    case VGPU_ELEMENT_TF32: /* the low 13 bits are not looked at */
        LANE_LOOP out[l] = vgpu_float_of(row[l] & 0xffffe000u);
        return;
    case VGPU_ELEMENT_E4M3:
        for (unsigned n = 0; n < 4 * VGPU_LANES; n++)
            out[n] = vgpu_e4m3_value(bytes[n]);
        return;
    default:
        for (unsigned n = 0; n < 4 * VGPU_LANES; n++)
            out[n] = vgpu_e5m2_value(bytes[n]);
        return;
    }
}

static inline void unpack_integers(enum vgpu_element type, const uint32_t *row, int32_t *out)
{
    unsigned bits = vgpu_element_bits(type), parts = 32 / bits;

    for (unsigned n = 0; n < VGPU_LANES * parts; n++)
        out[n] = integer_of(type, row[n / parts] >> n % parts * bits);
}

static inline void unpack_doubles(enum vgpu_element type, const double *row, double *out)
{
    (void)type;
    memcpy(out, row, VGPU_LANES * sizeof(*out));
}

/* A as rows of `columns` elements; B as rows of n elements. */
#define DEFINE_GATHER(name, T, R, unpack)                                                          \
    static void name##_a(struct vgpu_warp *w, const struct vgpu_matrix *f, const uint32_t *rows,   \
                         T *a)                                                                     \
    {                                                                                              \
        unsigned parts = VGPU_MATRIX_PARTS_A(f), columns = vgpu_matrix_stored(f), high = f->m / 8; \
        T v[32 * VGPU_LANES] = {0};                                                                \
        for (unsigned r = 0; r < vgpu_matrix_a(f); r++) {                                          \
            unpack((enum vgpu_element)f->a, (const R *)row_of(w, rows[r]), v);                     \
            for (unsigned l = 0; l < VGPU_LANES; l++)                                              \
                memcpy(a + (r % high * 8 + VGPU_LANE_GROUP(l)) * columns +                         \
                           (r / high * 4 + VGPU_LANE_OF(l)) * parts,                               \
                       v + l * parts, parts * sizeof(T));                                          \
        }                                                                                          \
    }                                                                                              \
    static void name##_b(struct vgpu_warp *w, const struct vgpu_matrix *f, const uint32_t *rows,   \
                         T *b)                                                                     \
    {                                                                                              \
        unsigned parts = VGPU_MATRIX_PARTS_B(f), high = f->k / (4 * parts);                        \
        T v[32 * VGPU_LANES] = {0};                                                                \
        for (unsigned r = 0; r < vgpu_matrix_b(f); r++) {                                          \
            unpack((enum vgpu_element)f->b, (const R *)row_of(w, rows[r]), v);                     \
            for (unsigned l = 0; l < VGPU_LANES; l++) {                                            \
                unsigned row = (r % high * 4 + VGPU_LANE_OF(l)) * parts;                           \
                for (unsigned e = 0; e < parts; e++)                                               \
                    b[(row + e) * f->n + r / high * 8 + VGPU_LANE_GROUP(l)] = v[l * parts + e];    \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_GATHER(floats, float, uint32_t, unpack_floats)
DEFINE_GATHER(integers, int32_t, uint32_t, unpack_integers)
DEFINE_GATHER(doubles, double, double, unpack_doubles)

/* ---- sparse A ---- */

/* How many units (what one two-bit index is about) an element of A is, as a shift: an f32 is two of
   16 bits, a pair of 4-bit elements is one of 8 bits. */
static inline unsigned sparse_units(const struct vgpu_matrix *f)
{
    return vgpu_element_bits((enum vgpu_element)f->a) == 4    ? f->k / 2u
           : vgpu_element_bits((enum vgpu_element)f->a) == 32 ? f->k * 2u
                                                              : f->k;
}

/* The index of the n-th stored unit of a row: which of its four places it has. */
static inline unsigned sparse_place(const struct vgpu_matrix *f, const uint32_t *index,
                                    unsigned row, unsigned unit)
{
    bool bytes = vgpu_element_bits((enum vgpu_element)f->a) <= 8;
    unsigned selector = f->flags / VGPU_MATRIX_SELECTOR & 3, units = sparse_units(f), lane, shift;

    /* Two indices for four units: as many bits as units. */
    if (bytes) {
        lane = unit * 2 / 32 * 2 + row / 8;
        shift = unit * 2 % 32;
    } else {
        lane = unit * 2 / 16;
        shift = unit * 2 % 16 + row / 8 * 16;
    }
    lane += units == 16 ? selector : units == 32 ? selector % 2 * 2 : 0;
    return index[row % 8 * 4 + lane % 4] >> shift & 3;
}

/* The column of the stored element `column` of a row, where it is in all of A. */
static inline unsigned sparse_column(const struct vgpu_matrix *f, const uint32_t *index,
                                     unsigned row, unsigned column)
{
    switch (vgpu_element_bits((enum vgpu_element)f->a)) {
    case 4: /* pairs */
        return (column / 4 * 4 + sparse_place(f, index, row, column / 2)) * 2 + column % 2;
    case 32: /* halves: the first of an element tells */
        return column * 2 + sparse_place(f, index, row, column * 2) / 2;
    default:
        return column / 2 * 4 + sparse_place(f, index, row, column);
    }
}

/* Puts stored elements where they are in all of A; those are marked in `there`, if it is wanted. */
#define DEFINE_SPREAD(name, T)                                                                     \
    static void name(struct vgpu_warp *w, const struct vgpu_matrix *f, uint32_t index_row, T *a,   \
                     bool *there)                                                                  \
    {                                                                                              \
        const uint32_t *index = row_of(w, index_row);                                              \
        unsigned stored = vgpu_matrix_stored(f);                                                   \
        T packed[16 * MOST_K / 2];                                                                 \
        memcpy(packed, a, sizeof(T) * f->m * stored);                                              \
        memset(a, 0, sizeof(T) * f->m * f->k);                                                     \
        for (unsigned row = 0; row < f->m; row++) {                                                \
            for (unsigned c = 0; c < stored; c++) {                                                \
                unsigned at = row * f->k + sparse_column(f, index, row, c);                        \
                a[at] = packed[row * stored + c];                                                  \
                if (there != NULL)                                                                 \
                    there[at] = true;                                                              \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_SPREAD(spread_floats, float)
DEFINE_SPREAD(spread_integers, int32_t)

/* ---- accumulators ---- */

static inline unsigned accumulator_row(const struct vgpu_matrix *f, unsigned l, unsigned n)
{
    return n / 2 % (f->m / 8u) * 8 + VGPU_LANE_GROUP(l);
}

static inline unsigned accumulator_column(const struct vgpu_matrix *f, unsigned l, unsigned n)
{
    return n / 2 / (f->m / 8u) * 8 + VGPU_LANE_OF(l) * 2 + n % 2;
}

#define EACH_ACCUMULATOR(f, n, l)                                                                  \
    for (unsigned n = 0; n < (f)->m * (f)->n / 32u; n++)                                           \
        for (unsigned l = 0; l < VGPU_LANES; l++)

static void load_floats(struct vgpu_warp *w, const struct vgpu_matrix *f, const uint32_t *rows,
                        double *c)
{
    bool half = f->cd >> 4 == VGPU_ELEMENT_F16;

    EACH_ACCUMULATOR(f, n, l)
    {
        double *to = &c[accumulator_row(f, l, n) * f->n + accumulator_column(f, l, n)];

        if (half)
            *to = (double)vgpu_f16_value(((const uint16_t *)row_of(w, rows[n / 2]))[l * 2 + n % 2]);
        else
            *to = (double)((const float *)row_of(w, rows[n]))[l];
    }
}

static inline float rounded(double v)
{
    return v != v ? vgpu_float_of(VGPU_NAN_F32) : (float)v;
}

static void store_floats(struct vgpu_warp *w, const struct vgpu_matrix *f, const uint32_t *rows,
                         const double *d, uint32_t m)
{
    bool half = (f->cd & 15) == VGPU_ELEMENT_F16;

    EACH_ACCUMULATOR(f, n, l)
    {
        double v = d[accumulator_row(f, l, n) * f->n + accumulator_column(f, l, n)];

        if (!LANE_ON(m, l))
            continue;
        if (half)
            ((uint16_t *)row_of(w, rows[n / 2]))[l * 2 + n % 2] = vgpu_to_f16_one(v, VGPU_RN);
        else
            ((float *)row_of(w, rows[n]))[l] = rounded(v);
    }
}

/* ---- the products ---- */

/* The number of columns is a constant where this is called: rows of C stay in registers. */
static inline __attribute__((always_inline)) void
multiply(const float *a, const float *b, double *c, unsigned m, unsigned n, unsigned k)
{
    for (unsigned row = 0; row < m; row++) {
        double sum[MOST_N];

        memcpy(sum, c + row * n, n * sizeof(*sum));
        for (unsigned at = 0; at < k; at++) {
            double v = (double)a[row * k + at];

            for (unsigned column = 0; column < n; column++)
                sum[column] += v * (double)b[at * n + column];
        }
        memcpy(c + row * n, sum, n * sizeof(*sum));
    }
}

/* What is not stored of A is no zero: it does not meet what B has there, which may be infinite. */
static void multiply_stored(const float *a, const bool *there, const float *b, double *c,
                            const struct vgpu_matrix *f)
{
    for (unsigned at = 0; at < (unsigned)f->m * f->k; at++) {
        unsigned row = at / f->k, k = at % f->k;

        for (unsigned column = 0; column < f->n && there[at]; column++)
            c[row * f->n + column] += (double)a[at] * (double)b[k * f->n + column];
    }
}

HANDLER(mma_float)
{
    struct vgpu_matrix f = vgpu_matrix_of(i->imm);
    const uint32_t *d_rows = list_of(w, i);
    const uint32_t *c_rows = d_rows + vgpu_matrix_accumulators(&f, (enum vgpu_element)(f.cd & 15));
    const uint32_t *a_rows = c_rows + vgpu_matrix_accumulators(&f, (enum vgpu_element)(f.cd >> 4));
    const uint32_t *b_rows = a_rows + vgpu_matrix_a(&f);
    float a[MOST_A] = {0}, b[MOST_B] = {0};
    double c[MOST_C] = {0};

    floats_a(w, &f, a_rows, a);
    floats_b(w, &f, b_rows, b);
    load_floats(w, &f, c_rows, c);
    if (f.flags & VGPU_MATRIX_SPARSE) {
        bool there[16 * MOST_K] = {0};

        spread_floats(w, &f, b_rows[vgpu_matrix_b(&f)], a, there);
        multiply_stored(a, there, b, c, &f);
    } else if (f.n == 8)
        multiply(a, b, c, f.m, 8, f.k);
    else if (f.n == 16)
        multiply(a, b, c, f.m, 16, f.k);
    else
        multiply(a, b, c, f.m, 32, f.k);
    store_floats(w, &f, d_rows, c, m);
    return 0;
}

HANDLER(mma_integer)
{
    struct vgpu_matrix f = vgpu_matrix_of(i->imm);
    unsigned accumulators = vgpu_matrix_accumulators(&f, VGPU_ELEMENT_S32);
    const uint32_t *d_rows = list_of(w, i), *c_rows = d_rows + accumulators;
    const uint32_t *a_rows = c_rows + accumulators, *b_rows = a_rows + vgpu_matrix_a(&f);
    int32_t a[16 * MOST_K] = {0}, b[8 * MOST_K] = {0};
    int64_t sums[MOST_C] = {0};

    integers_a(w, &f, a_rows, a);
    integers_b(w, &f, b_rows, b);
    if (f.flags & VGPU_MATRIX_SPARSE)
        spread_integers(w, &f, b_rows[vgpu_matrix_b(&f)], a, NULL);
    for (unsigned row = 0; row < f.m; row++) {
        int32_t sum[MOST_N] = {0};

        for (unsigned at = 0; at < f.k; at++) {
            int32_t v = a[row * f.k + at];

            for (unsigned column = 0; column < f.n; column++) {
                int32_t u = b[at * f.n + column];

                sum[column] += f.a != VGPU_ELEMENT_B1      ? v * u
                               : f.flags & VGPU_MATRIX_AND ? v & u
                                                           : v ^ u;
            }
        }
        for (unsigned column = 0; column < f.n; column++)
            sums[row * f.n + column] = sum[column];
    }
    EACH_ACCUMULATOR(&f, n, l)
    sums[accumulator_row(&f, l, n) * f.n + accumulator_column(&f, l, n)] +=
        ((const int32_t *)row_of(w, c_rows[n]))[l];
    EACH_ACCUMULATOR(&f, n, l)
    {
        int64_t v = sums[accumulator_row(&f, l, n) * f.n + accumulator_column(&f, l, n)];

        if (f.flags & VGPU_MATRIX_FINITE)
            v = v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v;
        if (LANE_ON(m, l))
            ((uint32_t *)row_of(w, d_rows[n]))[l] = (uint32_t)v;
    }
    return 0;
}

HANDLER(mma_double)
{
    struct vgpu_matrix f = vgpu_matrix_of(i->imm);
    unsigned accumulators = vgpu_matrix_accumulators(&f, VGPU_ELEMENT_F64);
    const uint32_t *d_rows = list_of(w, i), *c_rows = d_rows + accumulators;
    const uint32_t *a_rows = c_rows + accumulators, *b_rows = a_rows + vgpu_matrix_a(&f);
    double a[16 * 16] = {0}, b[16 * 8] = {0}, result[4][VGPU_LANES];

    doubles_a(w, &f, a_rows, a);
    doubles_b(w, &f, b_rows, b);
    EACH_ACCUMULATOR(&f, n, l)
    {
        unsigned row = accumulator_row(&f, l, n), column = accumulator_column(&f, l, n);
        double sum = ((const double *)row_of(w, c_rows[n]))[l];

        for (unsigned at = 0; at < f.k; at++)
            sum = fma(a[row * f.k + at], b[at * f.n + column], sum);
        result[n][l] = sum;
    }
    for (unsigned n = 0; n < accumulators; n++) {
        double *d = row_of(w, d_rows[n]);

        STORE_LANES(d, m, result[n][l]);
    }
    return 0;
}

/* ---- m8n8k4 of f16: four products, each of two groups of four lanes ---- */

static inline unsigned pair_row(bool wide, unsigned l, unsigned n)
{
    return (wide ? (l & 1) + (n & 2) : l & 3) + (l < 16 ? 0 : 4);
}

static inline unsigned pair_column(bool wide, unsigned l, unsigned n)
{
    return wide ? (n & 4) + (l & 2) + (n & 1) : n;
}

/* Element n of a fragment with eight of them. */
static inline double pair_element(struct vgpu_warp *w, const uint32_t *rows, bool wide, unsigned l,
                                  unsigned n)
{
    if (wide)
        return (double)((const float *)row_of(w, rows[n]))[l];
    return (double)vgpu_f16_value(((const uint16_t *)row_of(w, rows[n / 2]))[l * 2 + n % 2]);
}

HANDLER(mma_pairs)
{
    struct vgpu_matrix f = vgpu_matrix_of(i->imm);
    bool wide_c = f.cd >> 4 == VGPU_ELEMENT_F32, wide_d = (f.cd & 15) == VGPU_ELEMENT_F32;
    const uint32_t *d_rows = list_of(w, i), *c_rows = d_rows + (wide_d ? 8 : 4);
    const uint32_t *a_rows = c_rows + (wide_c ? 8 : 4), *b_rows = a_rows + 2;
    double a[4][8][4] = {0}, b[4][4][8] = {0}, c[4][8][8] = {0};

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        unsigned q = l / 4 % 4, high = l < 16 ? 0 : 4;

        for (unsigned n = 0; n < 4; n++) {
            double v = pair_element(w, a_rows, false, l, n);
            double u = pair_element(w, b_rows, false, l, n);

            if (f.flags & VGPU_MATRIX_A_COLUMN)
                a[q][n + high][l & 3] = v;
            else
                a[q][(l & 3) + high][n] = v;
            if (f.flags & VGPU_MATRIX_B_COLUMN)
                b[q][n][(l & 3) + high] = u;
            else
                b[q][l & 3][n + high] = u;
        }
        for (unsigned n = 0; n < 8; n++)
            c[q][pair_row(wide_c, l, n)][pair_column(wide_c, l, n)] =
                pair_element(w, c_rows, wide_c, l, n);
    }
    for (unsigned at = 0; at < 4 * 8 * 8; at++) {
        unsigned q = at / 64, row = at / 8 % 8, column = at % 8;

        for (unsigned k = 0; k < 4; k++)
            c[q][row][column] += a[q][row][k] * b[q][k][column];
    }
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        for (unsigned n = 0; n < 8 && LANE_ON(m, l); n++) {
            double v = c[l / 4 % 4][pair_row(wide_d, l, n)][pair_column(wide_d, l, n)];

            if (wide_d)
                ((float *)row_of(w, d_rows[n]))[l] = rounded(v);
            else
                ((uint16_t *)row_of(w, d_rows[n / 2]))[l * 2 + n % 2] = vgpu_to_f16_one(v, VGPU_RN);
        }
    }
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_matrix)[] = {
    OP_ENTRY(mma_float) OP_ENTRY(mma_integer) OP_ENTRY(mma_double) OP_ENTRY(mma_pairs) OP_END};
