/* SPDX-License-Identifier: MIT */
/*
 * Matrices that lanes hold between them. Elements are computed in double precision, which holds the
 * products and the sums of all narrower formats; the result is rounded once. (Tensor cores round
 * otherwise from generation to generation.)
 */
#include "soft/simt/half.h"
#include "soft/simt/lanes.h"

enum { MOST = 32 }; /* of m, n and k */

struct matrix {
    double at[MOST][MOST];
};

static const uint8_t element_bytes[] = {
    [VGPU_ELEMENT_F16] = 2,  [VGPU_ELEMENT_BF16] = 2, [VGPU_ELEMENT_TF32] = 4,
    [VGPU_ELEMENT_F32] = 4,  [VGPU_ELEMENT_F64] = 8,  [VGPU_ELEMENT_S8] = 1,
    [VGPU_ELEMENT_U8] = 1,   [VGPU_ELEMENT_S32] = 4,  [VGPU_ELEMENT_E4M3] = 1,
    [VGPU_ELEMENT_E5M2] = 1,
};

static double e4m3_value(uint8_t v)
{
    int exponent = v >> 3 & 15, mantissa = v & 7;
    double a = (v & 0x7f) == 0x7f ? (double)NAN
               : exponent == 0    ? ldexp(mantissa, -9)
                                  : ldexp(8 + mantissa, exponent - 10);

    return v & 0x80 ? -a : a;
}

static double element_value(uint8_t element, const void *from)
{
    uint32_t word;
    uint16_t half;
    double wide;

    switch (element) {
    case VGPU_ELEMENT_F16:
    case VGPU_ELEMENT_BF16:
        memcpy(&half, from, sizeof(half));
        return (double)(element == VGPU_ELEMENT_F16 ? vgpu_f16_value(half) : vgpu_bf16_value(half));
    case VGPU_ELEMENT_TF32:
    case VGPU_ELEMENT_F32:
        memcpy(&word, from, sizeof(word));
        return (double)vgpu_float_of(element == VGPU_ELEMENT_TF32 ? word & 0xffffe000u : word);
    case VGPU_ELEMENT_F64:
        memcpy(&wide, from, sizeof(wide));
        return wide;
    case VGPU_ELEMENT_S32:
        memcpy(&word, from, sizeof(word));
        return (double)(int32_t)word;
    case VGPU_ELEMENT_S8:
        return (double)*(const int8_t *)from;
    case VGPU_ELEMENT_U8:
        return (double)*(const uint8_t *)from;
    case VGPU_ELEMENT_E4M3:
        return e4m3_value(*(const uint8_t *)from);
    default: /* e5m2 is the upper half of f16 */
        return (double)vgpu_f16_value((uint16_t)(*(const uint8_t *)from << 8));
    }
}

static void store_element(uint8_t element, void *to, double value, bool saturate)
{
    uint32_t word;
    uint16_t half;

    switch (element) {
    case VGPU_ELEMENT_F16:
        half = vgpu_to_f16_one(value, VGPU_RN);
        memcpy(to, &half, sizeof(half));
        return;
    case VGPU_ELEMENT_F64:
        memcpy(to, &value, sizeof(value));
        return;
    case VGPU_ELEMENT_S32:
        if (saturate)
            value = value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value;
        word = (uint32_t)(int64_t)value;
        memcpy(to, &word, sizeof(word));
        return;
    default:
        word = vgpu_bits_of((float)value);
        memcpy(to, &word, sizeof(word));
        return;
    }
}

/* ---- which lane holds what ---- */

struct position {
    uint32_t row, column;
};

static inline struct position position_of(const struct vgpu_fragments *f, enum vgpu_role role,
                                          uint32_t lane, uint32_t r, uint32_t in_row, uint32_t j)
{
    uint32_t columns = role == VGPU_MATRIX_A ? f->k : f->n, n = r * in_row + j;
    uint32_t group = lane / 4, member = lane % 4;

    if (f->opaque) {
        uint32_t slot = lane * f->counts[role] * in_row + n;

        slot %= role == VGPU_MATRIX_A   ? (uint32_t)f->m * f->k
                : role == VGPU_MATRIX_B ? (uint32_t)f->k * f->n
                                        : (uint32_t)f->m * f->n;
        return (struct position){slot / columns, slot % columns};
    }
    switch (role) {
    case VGPU_MATRIX_A:
        if (f->m == 8)
            return (struct position){group, (r * 4 + member) * in_row + j};
        return (struct position){group + 8 * (r & 1), ((r >> 1) * 4 + member) * in_row + j};
    case VGPU_MATRIX_B:
        return (struct position){(r * 4 + member) * in_row + j, group};
    default:
        return (struct position){group + 8 * (n >> 1), 2 * member + (n & 1)};
    }
}

/* Each element of a fragment: its place in the lanes' registers as `cell`, and `at` in the matrix.
 */
#define EACH_ELEMENT(w, f, role, ...)                                                              \
    do {                                                                                           \
        uint32_t bytes = element_bytes[(f)->types[role]], in_row = bytes < 4 ? 4 / bytes : 1;      \
        for (uint32_t r = 0; r < (f)->counts[role]; r++) {                                         \
            uint8_t *row = row_of(w, (f)->rows[role][r]);                                          \
            for (uint32_t lane = 0; lane < VGPU_LANES; lane++) {                                   \
                for (uint32_t j = 0; j < in_row; j++) {                                            \
                    uint8_t *cell = row + (lane * in_row + j) * bytes;                             \
                    struct position at = position_of(f, role, lane, r, in_row, j);                 \
                    __VA_ARGS__                                                                    \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static void read_fragment(const struct vgpu_warp *w, const struct vgpu_fragments *f,
                          enum vgpu_role role, struct matrix *matrix)
{
    EACH_ELEMENT(w, f, role, matrix->at[at.row][at.column] = element_value(f->types[role], cell););
}

static const struct vgpu_fragments *fragments_of(const struct vgpu_warp *w,
                                                 const struct vgpu_inst *i)
{
    return &w->block->unit->fragments[i->row[VGPU_E]];
}

HANDLER(mma)
{
    const struct vgpu_fragments *f = fragments_of(w, i);
    struct matrix a, b, d;

    read_fragment(w, f, VGPU_MATRIX_A, &a);
    read_fragment(w, f, VGPU_MATRIX_B, &b);
    read_fragment(w, f, VGPU_MATRIX_C, &d);
    for (uint32_t r = 0; r < f->m; r++) {
        for (uint32_t k = 0; k < f->k; k++) {
            double x = a.at[r][k];

            for (uint32_t c = 0; c < f->n; c++)
                d.at[r][c] = fma(x, b.at[k][c], d.at[r][c]);
        }
    }
    EACH_ELEMENT(w, f, VGPU_MATRIX_D, {
        if (LANE_ON(m, lane))
            store_element(f->types[VGPU_MATRIX_D], cell, d.at[at.row][at.column], f->saturate);
    });
    return 0;
}

/* ---- to and from memory ---- */

/* The address of lane l, as a generic one. */
static inline uint64_t lane_address(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t l)
{
    uint64_t address = (uint64_t)i->imm;

    if (i->z & VGPU_ADDRESS_32)
        address = (uint32_t)(address + ROW(uint32_t, VGPU_A)[l]);
    else
        address += ROW(uint64_t, VGPU_A)[l];
    return i->x == VGPU_SPACE_SHARED ? VGPU_WINDOW_SHARED + (uint32_t)address : address;
}

static uint8_t *checked(struct vgpu_warp *w, uint32_t lane, uint64_t address, uint32_t bytes)
{
    uint8_t *to = address % bytes == 0 ? vgpu_warp_generic(w, lane, address, bytes) : NULL;

    if (to == NULL)
        vgpu_warp_fault(
            w, address % bytes == 0 ? VGPU_FAULT_ILLEGAL_ADDRESS : VGPU_FAULT_MISALIGNED_ADDRESS,
            lane, address, bytes);
    return to;
}

static int move_fragment(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m, bool store)
{
    const struct vgpu_fragments *f = fragments_of(w, i);
    enum vgpu_role role = (enum vgpu_role)i->y;
    uint32_t first = (uint32_t)__builtin_ctz(m), columns = role == VGPU_MATRIX_A ? f->k : f->n;
    uint32_t rows = role == VGPU_MATRIX_B ? f->k : f->m;
    uint64_t base = lane_address(w, i, first), stride = f->by_columns ? rows : columns;

    if (i->row[VGPU_B] != 0)
        stride = ROW(uint32_t, VGPU_B)[first];
    EACH_ELEMENT(w, f, role, {
        uint64_t n = f->by_columns ? at.column * stride + at.row : at.row * stride + at.column;
        uint8_t *memory = checked(w, lane, base + n * bytes, bytes);

        if (memory == NULL)
            return -1;
        if (LANE_ON(m, lane))
            memcpy(store ? memory : cell, store ? cell : memory, bytes);
    });
    return 0;
}

HANDLER(wmma_load)
{
    return move_fragment(w, i, m, false);
}

HANDLER(wmma_store)
{
    return move_fragment(w, i, m, true);
}

/* Lane 8 n + r has the address of row r of matrix n; lane l holds two elements of row l / 4. */
static int move_matrices(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m, bool store)
{
    const struct vgpu_fragments *f = fragments_of(w, i);

    for (uint32_t n = 0; n < f->counts[VGPU_MATRIX_D]; n++) {
        uint16_t *cells = row_of(w, f->rows[VGPU_MATRIX_D][n]);
        uint16_t *rows[8];

        for (uint32_t r = 0; r < 8; r++) {
            rows[r] = (uint16_t *)(void *)checked(w, 8 * n + r, lane_address(w, i, 8 * n + r), 16);
            if (rows[r] == NULL)
                return -1;
        }
        for (uint32_t e = 0; e < 64; e++) {
            uint32_t lane = e / 2, row = lane / 4, column = lane % 4 * 2 + e % 2;
            uint16_t *memory = f->by_columns ? &rows[column][row] : &rows[row][column];

            if (!LANE_ON(m, lane))
                continue;
            if (store)
                *memory = cells[e];
            else
                cells[e] = *memory;
        }
    }
    return 0;
}

HANDLER(ldmatrix)
{
    return move_matrices(w, i, m, false);
}

HANDLER(stmatrix)
{
    return move_matrices(w, i, m, true);
}

HANDLER(movmatrix)
{
    uint16_t from[64], *d = ROW(uint16_t, VGPU_D);

    memcpy(from, ROW(uint16_t, VGPU_A), sizeof(from));
    for (uint32_t e = 0; e < 64; e++) {
        if (LANE_ON(m, e / 2))
            d[e] = from[e % 8 * 8 + e / 8];
    }
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_matrix)[] = {
    OP_ENTRY(mma) OP_ENTRY(wmma_load) OP_ENTRY(wmma_store) OP_ENTRY(ldmatrix) OP_ENTRY(stmatrix)
        OP_ENTRY(movmatrix) OP_END};
