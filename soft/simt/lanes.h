/* SPDX-License-Identifier: MIT */
/**
 * How handlers are written: one loop over 32 lanes that the compiler turns into vector code.
 *
 * The files that include this are compiled once per processor level; VGPU_LEVEL is the suffix of
 * what they export. A list macro of each family makes both the functions and the table of names.
 */
#ifndef VGPU_SOFT_LANES_H
#define VGPU_SOFT_LANES_H

#include <string.h>

#include "soft/simt/warp.h"

#ifndef VGPU_LEVEL
#define VGPU_LEVEL baseline /* for tools that read this file alone */
#endif

#define VGPU_PASTE_(a, b)     a##_##b
#define VGPU_PASTE(a, b)      VGPU_PASTE_(a, b)
#define VGPU_LEVEL_NAME(name) VGPU_PASTE(name, VGPU_LEVEL)

struct vgpu_op {
    const char *name;
    vgpu_handler run;
};

#define OP_ENTRY(name, ...) {#name, name},
#define OP_END                                                                                     \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

/* Rows never overlap in part: an operand is either the same row as the result or another one. */
#define LANE_LOOP _Pragma("GCC ivdep") for (unsigned l = 0; l < VGPU_LANES; l++)

#define HANDLER(name) static int name(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m)

static inline void *any_row(const struct vgpu_warp *w, uint32_t offset)
{
    return w->base[offset & 1] + (offset & ~1u);
}

/* A row of lanes: aligned to a cache line, unlike a predicate. */
static inline void *row_of(const struct vgpu_warp *w, uint32_t offset)
{
    return __builtin_assume_aligned(any_row(w, offset), 64);
}

/* The rows of an instruction that has a list of them. */
static inline const uint32_t *list_of(const struct vgpu_warp *w, const struct vgpu_inst *i)
{
    return w->block->unit->lists + i->row[VGPU_LIST];
}

#define ROW(T, operand)  ((T *)row_of(w, i->row[operand]))
#define MASK(operand)    (*(uint32_t *)any_row(w, i->row[operand]))
#define LANE_ON(mask, l) (((mask) >> (l)&1u) != 0)

/* Writes `value(l)` where the mask says so; the loop for full masks has no blend in it. */
#define STORE_LANES(d, m, value)                                                                   \
    do {                                                                                           \
        if ((m) == VGPU_ALL_LANES) {                                                               \
            LANE_LOOP(d)[l] = (value);                                                             \
        } else {                                                                                   \
            LANE_LOOP(d)[l] = LANE_ON(m, l) ? (value) : (d)[l];                                    \
        }                                                                                          \
    } while (0)

/* name, type of the result, type of the sources, expression of a, b, c */
#define DEFINE_UNARY(name, TD, TA, EXPR)                                                           \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        TD *d = ROW(TD, VGPU_D);                                                                   \
        const TA *ra = ROW(TA, VGPU_A);                                                            \
        STORE_LANES(d, m, ({                                                                       \
                        TA a = ra[l];                                                              \
                        (TD)(EXPR);                                                                \
                    }));                                                                           \
        return 0;                                                                                  \
    }

#define DEFINE_BINARY(name, TD, TA, TB, EXPR)                                                      \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        TD *d = ROW(TD, VGPU_D);                                                                   \
        const TA *ra = ROW(TA, VGPU_A);                                                            \
        const TB *rb = ROW(TB, VGPU_B);                                                            \
        STORE_LANES(d, m, ({                                                                       \
                        TA a = ra[l];                                                              \
                        TB b = rb[l];                                                              \
                        (TD)(EXPR);                                                                \
                    }));                                                                           \
        return 0;                                                                                  \
    }

#define DEFINE_TERNARY(name, TD, TA, TB, TC, EXPR)                                                 \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        TD *d = ROW(TD, VGPU_D);                                                                   \
        const TA *ra = ROW(TA, VGPU_A);                                                            \
        const TB *rb = ROW(TB, VGPU_B);                                                            \
        const TC *rc = ROW(TC, VGPU_C);                                                            \
        STORE_LANES(d, m, ({                                                                       \
                        TA a = ra[l];                                                              \
                        TB b = rb[l];                                                              \
                        TC c = rc[l];                                                              \
                        (TD)(EXPR);                                                                \
                    }));                                                                           \
        return 0;                                                                                  \
    }

/* The same for what cannot be a vector instruction: only the lanes of the mask are computed. */
#define DEFINE_SCALAR_BINARY(name, TD, TA, TB, EXPR)                                               \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        TD *d = ROW(TD, VGPU_D);                                                                   \
        const TA *ra = ROW(TA, VGPU_A);                                                            \
        const TB *rb = ROW(TB, VGPU_B);                                                            \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            TA a = ra[l];                                                                          \
            TB b = rb[l];                                                                          \
            if (LANE_ON(m, l))                                                                     \
                d[l] = (TD)(EXPR);                                                                 \
        }                                                                                          \
        return 0;                                                                                  \
    }

/* The mask of lanes for which a condition holds. */
#define COLLECT_LANES(condition)                                                                   \
    ({                                                                                             \
        uint32_t collected = 0;                                                                    \
        for (unsigned l = 0; l < VGPU_LANES; l++)                                                  \
            collected |= (condition) ? UINT32_C(1) << l : 0;                                       \
        collected;                                                                                 \
    })

/* D = test op C, E = !test op C; x: 0 nothing to combine, 1 and, 2 or, 3 xor; z: C is negated */
static inline int put_test(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                           uint32_t test)
{
    uint32_t other = ~test, c;

    if (i->x != 0) {
        c = MASK(VGPU_C) ^ (i->z ? UINT32_MAX : 0);
        test = i->x == 1 ? test & c : i->x == 2 ? test | c : test ^ c;
        other = i->x == 1 ? other & c : i->x == 2 ? other | c : other ^ c;
    }
    MASK(VGPU_D) = (MASK(VGPU_D) & ~m) | (test & m);
    if (i->row[VGPU_E] != 0)
        MASK(VGPU_E) = (MASK(VGPU_E) & ~m) | (other & m);
    return 0;
}

#endif
