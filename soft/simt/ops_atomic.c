/* SPDX-License-Identifier: MIT */
/* atom and red: lane by lane, in ascending order. y: the old value goes to D. */
#include "soft/simt/access.h"
#include "soft/simt/reduce.h"

/* What an atomic costs of a group's turn: one that spins on it should not have all of the turn. */
#define ATOMIC_COST 64

/* Shared memory belongs to the thread that runs the block; other memory needs the real thing. The
   exchange is sequentially consistent, as the strongest form of atom is. */
#define DEFINE_ATOM(name, T, EXPR)                                                                 \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint8_t *at[VGPU_LANES];                                                                   \
        uint32_t offset[VGPU_LANES];                                                               \
        const T *rb = ROW(T, VGPU_B), *rc = i->row[VGPU_C] != 0 ? ROW(T, VGPU_C) : rb;             \
        T *d = i->y ? ROW(T, VGPU_D) : NULL;                                                       \
        w->budget -= ATOMIC_COST;                                                                  \
        if (d == NULL && access_shared(w, i, m, sizeof(T), offset)) {                              \
            for (unsigned l = 0; l < VGPU_LANES; l++) {                                            \
                T *p = (T *)(w->block->shared + offset[l]), old = *p, b = rb[l], c = rc[l];        \
                const bool global = false;                                                         \
                (void)old;                                                                         \
                (void)c;                                                                           \
                (void)global;                                                                      \
                *p = (T)(EXPR);                                                                    \
            }                                                                                      \
            return 0;                                                                              \
        }                                                                                          \
        if (access_lanes(w, i, m, sizeof(T), sizeof(T), at) != 0)                                  \
            return -1;                                                                             \
        for (uint32_t rest = m; rest != 0; rest &= rest - 1) {                                     \
            unsigned l = (unsigned)__builtin_ctz(rest);                                            \
            T b = rb[l], c = rc[l], old, *p = (T *)at[l];                                          \
            bool global = at[l] - w->block->shared >= (ptrdiff_t)w->block->shared_bytes ||         \
                          at[l] < w->block->shared;                                                \
            (void)c;                                                                               \
            old = __atomic_load_n(p, __ATOMIC_RELAXED);                                            \
            if (!global)                                                                           \
                *p = (T)(EXPR);                                                                    \
            else                                                                                   \
                while (!__atomic_compare_exchange_n(p, &old, (T)(EXPR), true, __ATOMIC_SEQ_CST,    \
                                                    __ATOMIC_RELAXED))                             \
                    ;                                                                              \
            if (d != NULL)                                                                         \
                d[l] = old;                                                                        \
        }                                                                                          \
        return 0;                                                                                  \
    }

/* clang-format off */
#define INTEGER_ATOMS(X, N)                                                                        \
    X(atom_add_b##N, uint##N##_t, old + b)                                                         \
    X(atom_and_b##N, uint##N##_t, old & b)                                                         \
    X(atom_or_b##N, uint##N##_t, old | b)                                                          \
    X(atom_xor_b##N, uint##N##_t, old ^ b)                                                         \
    X(atom_exch_b##N, uint##N##_t, b)                                                              \
    X(atom_cas_b##N, uint##N##_t, old == b ? c : old)                                              \
    X(atom_min_u##N, uint##N##_t, old < b ? old : b)                                               \
    X(atom_max_u##N, uint##N##_t, old > b ? old : b)                                               \
    X(atom_min_s##N, int##N##_t, old < b ? old : b)                                                \
    X(atom_max_s##N, int##N##_t, old > b ? old : b)

#define ATOM_OPS(X)                                                                                \
    INTEGER_ATOMS(X, 32) INTEGER_ATOMS(X, 64)                                                      \
    X(atom_cas_b16, uint16_t, old == b ? c : old)                                                  \
    X(atom_inc_b32, uint32_t, old >= b ? 0 : old + 1)                                              \
    X(atom_dec_b32, uint32_t, old == 0 || old > b ? b : old - 1)                                   \
    X(atom_add_f32, uint32_t, add_f32(old, b, global))                                             \
    X(atom_add_f64, uint64_t, add_f64(old, b))                                                     \
    X(atom_add_f16, uint16_t, add_f16(old, b))                                                     \
    X(atom_add_bf16, uint16_t, add_bf16(old, b))                                                   \
    X(atom_min_f16, uint16_t, min_f16(old, b)) X(atom_max_f16, uint16_t, max_f16(old, b))          \
    X(atom_min_bf16, uint16_t, min_bf16(old, b)) X(atom_max_bf16, uint16_t, max_bf16(old, b))      \
    X(atom_min_f16x2, uint32_t, PAIR(min_f16, old, b))                                             \
    X(atom_max_f16x2, uint32_t, PAIR(max_f16, old, b))                                             \
    X(atom_min_bf16x2, uint32_t, PAIR(min_bf16, old, b))                                           \
    X(atom_max_bf16x2, uint32_t, PAIR(max_bf16, old, b))                                           \
    X(atom_add_f16x2, uint32_t, PAIR(add_f16, old, b))                                             \
    X(atom_add_bf16x2, uint32_t, PAIR(add_bf16, old, b))
/* clang-format on */
ATOM_OPS(DEFINE_ATOM)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_atomic)[] = {ATOM_OPS(OP_ENTRY) OP_END};
