/* SPDX-License-Identifier: MIT */
/**
 * Matrix multiply-accumulate: what the front end tells the handlers, and which lane holds what.
 *
 * A fragment is rows of 32-bit registers (64-bit ones for f64), each of 4 lanes times 8 groups of
 * lanes. A register of A covers a tile of 8 rows, one of B a tile of 8 columns; tiles are numbered
 * down the columns of A, down the columns of B and down the columns of C. PTX defines exactly this
 * for mma; for wmma, which leaves it open, it is the same here.
 */
#ifndef VGPU_SOFT_MATRIX_H
#define VGPU_SOFT_MATRIX_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum vgpu_element {
    VGPU_ELEMENT_F16,
    VGPU_ELEMENT_BF16,
    VGPU_ELEMENT_TF32,
    VGPU_ELEMENT_E4M3,
    VGPU_ELEMENT_E5M2,
    VGPU_ELEMENT_F32,
    VGPU_ELEMENT_F64,
    VGPU_ELEMENT_S32,
    VGPU_ELEMENT_S8,
    VGPU_ELEMENT_U8,
    VGPU_ELEMENT_S4,
    VGPU_ELEMENT_U4,
    VGPU_ELEMENT_B1,
    VGPU_ELEMENTS,
};

static inline unsigned vgpu_element_bits(enum vgpu_element element)
{
    static const uint8_t bits[VGPU_ELEMENTS] = {16, 16, 32, 8, 8, 32, 64, 32, 8, 8, 4, 4, 1};

    return bits[element];
}

/* Flags of an operation. */
#define VGPU_MATRIX_FINITE   1u /* integers saturate */
#define VGPU_MATRIX_AND      2u /* of bits: and instead of xor */
#define VGPU_MATRIX_SPARSE   4u /* half of A is there, and an index of it */
#define VGPU_MATRIX_A_COLUMN 8u /* of m8n8k4 with f16, and of loads and stores */
#define VGPU_MATRIX_B_COLUMN 16u
#define VGPU_MATRIX_SELECTOR 32u /* times 0 to 3: whose index counts */
#define VGPU_MATRIX_PARTS_A(f)                                                                     \
    (vgpu_element_bits((f)->a) == 64 ? 1 : 32 / vgpu_element_bits((f)->a))
#define VGPU_MATRIX_PARTS_B(f)                                                                     \
    (vgpu_element_bits((f)->b) == 64 ? 1 : 32 / vgpu_element_bits((f)->b))

/** An operation; in an instruction it is the 8 bytes of imm. Its list: rows of D, C, A, B, and of
 * the index when A is sparse. */
struct vgpu_matrix {
    uint8_t m, n;
    uint16_t k;
    uint8_t a, b; /* enum vgpu_element */
    uint8_t cd;   /* c << 4 | d */
    uint8_t flags;
};

_Static_assert(sizeof(struct vgpu_matrix) == sizeof(int64_t), "it travels as an integer");

static inline struct vgpu_matrix vgpu_matrix_of(int64_t imm)
{
    struct vgpu_matrix form;

    memcpy(&form, &imm, sizeof(form));
    return form;
}

static inline int64_t vgpu_matrix_as(struct vgpu_matrix form)
{
    int64_t imm;

    memcpy(&imm, &form, sizeof(imm));
    return imm;
}

/** Columns of A that are in registers. */
static inline unsigned vgpu_matrix_stored(const struct vgpu_matrix *f)
{
    return f->flags & VGPU_MATRIX_SPARSE ? f->k / 2u : f->k;
}

/** Registers of a fragment without the copies that some fragments of wmma have. */
static inline unsigned vgpu_matrix_a(const struct vgpu_matrix *f)
{
    return f->m / 8u * (vgpu_matrix_stored(f) / (4 * VGPU_MATRIX_PARTS_A(f)));
}

static inline unsigned vgpu_matrix_b(const struct vgpu_matrix *f)
{
    return f->n / 8u * (f->k / (4 * VGPU_MATRIX_PARTS_B(f)));
}

static inline unsigned vgpu_matrix_accumulators(const struct vgpu_matrix *f, enum vgpu_element type)
{
    return f->m * f->n / (type == VGPU_ELEMENT_F16 ? 64u : 32u);
}

/* Where a lane is in a tile. */
#define VGPU_LANE_GROUP(lane) ((lane) >> 2)
#define VGPU_LANE_OF(lane)    ((lane)&3u)

#endif
