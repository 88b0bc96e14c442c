/* SPDX-License-Identifier: MIT */
/** What atomic instructions and bulk reductions do to one element of memory. */
#ifndef VGPU_SOFT_REDUCE_H
#define VGPU_SOFT_REDUCE_H

#include "soft/simt/half.h"

static inline uint32_t bits_f32(float a)
{
    return vgpu_bits_of(a != a ? vgpu_float_of(VGPU_NAN_F32) : a);
}

static inline float flush(float a, bool global)
{
    return global && __builtin_fabsf(a) < 0x1p-126f ? __builtin_copysignf(0.0f, a) : a;
}

/* In global memory, additions of f32 flush subnormals; in shared memory they do not. */
static inline uint32_t add_f32(uint32_t a, uint32_t b, bool global)
{
    return bits_f32(
        flush(flush(vgpu_float_of(a), global) + flush(vgpu_float_of(b), global), global));
}

static inline uint64_t add_f64(uint64_t a, uint64_t b)
{
    double x, y;

    memcpy(&x, &a, sizeof(x));
    memcpy(&y, &b, sizeof(y));
    x += y;
    memcpy(&a, &x, sizeof(a));
    return a;
}

static inline uint16_t add_f16(uint16_t a, uint16_t b)
{
    return vgpu_to_f16_one((double)vgpu_f16_value(a) + (double)vgpu_f16_value(b), VGPU_RN);
}

static inline uint16_t add_bf16(uint16_t a, uint16_t b)
{
    return vgpu_to_bf16_one(vgpu_add_odd((double)vgpu_bf16_value(a), (double)vgpu_bf16_value(b)),
                            VGPU_RN);
}

/* A number wins over NaN; -0 is less than +0. */
#define DEFINE_ORDER(name, value, first)                                                           \
    static inline uint16_t name(uint16_t a, uint16_t b)                                            \
    {                                                                                              \
        float x = value(a), y = value(b);                                                          \
        if (x != x || y != y)                                                                      \
            return x == x ? a : y == y ? b : VGPU_NAN_16;                                          \
        return x == y ? (((a >> 15) != 0) == (first) ? a : b) : (x < y) == (first) ? a : b;        \
    }
DEFINE_ORDER(min_f16, vgpu_f16_value, true)
DEFINE_ORDER(max_f16, vgpu_f16_value, false)
DEFINE_ORDER(min_bf16, vgpu_bf16_value, true)
DEFINE_ORDER(max_bf16, vgpu_bf16_value, false)

#define PAIR(f, a, b)                                                                              \
    ((uint32_t)f((uint16_t)((a) >> 16), (uint16_t)((b) >> 16)) << 16 |                             \
     f((uint16_t)(a), (uint16_t)(b)))

/** Bits of an element after `operation` (enum vgpu_reduction) of `type` with `b`. In global memory
 * additions of f32 flush subnormals. */
static inline uint64_t reduced(unsigned operation, unsigned type, uint64_t old, uint64_t b)
{
    uint64_t first = old;

    switch (operation) {
    case VGPU_REDUCE_AND:
        return old & b;
    case VGPU_REDUCE_OR:
        return old | b;
    case VGPU_REDUCE_XOR:
        return old ^ b;
    case VGPU_REDUCE_INC:
        return old >= b ? 0 : old + 1;
    case VGPU_REDUCE_DEC:
        return old == 0 || old > b ? b : old - 1;
    case VGPU_REDUCE_ADD:
        return type == VGPU_REDUCE_F32    ? add_f32((uint32_t)old, (uint32_t)b, true)
               : type == VGPU_REDUCE_F64  ? add_f64(old, b)
               : type == VGPU_REDUCE_F16  ? add_f16((uint16_t)old, (uint16_t)b)
               : type == VGPU_REDUCE_BF16 ? add_bf16((uint16_t)old, (uint16_t)b)
                                          : old + b;
    default:
        break;
    }
    if (type == VGPU_REDUCE_F16)
        return operation == VGPU_REDUCE_MIN ? min_f16((uint16_t)old, (uint16_t)b)
                                            : max_f16((uint16_t)old, (uint16_t)b);
    if (type == VGPU_REDUCE_BF16)
        return operation == VGPU_REDUCE_MIN ? min_bf16((uint16_t)old, (uint16_t)b)
                                            : max_bf16((uint16_t)old, (uint16_t)b);
    if (type == VGPU_REDUCE_S32   ? (int32_t)b < (int32_t)old
        : type == VGPU_REDUCE_S64 ? (int64_t)b < (int64_t)old
                                  : b < old)
        first = b;
    return operation == VGPU_REDUCE_MIN ? first : old ^ b ^ first;
}

/** Bytes of an element of a type. */
static inline unsigned reduced_bytes(unsigned type)
{
    return type == VGPU_REDUCE_F16 || type == VGPU_REDUCE_BF16                             ? 2
           : type == VGPU_REDUCE_U64 || type == VGPU_REDUCE_S64 || type == VGPU_REDUCE_F64 ? 8
                                                                                           : 4;
}

#define DEFINE_REDUCE(T)                                                                           \
    static inline void reduce_##T(T *to, unsigned operation, unsigned type, T b)                   \
    {                                                                                              \
        T old = __atomic_load_n(to, __ATOMIC_RELAXED);                                             \
        while (!__atomic_compare_exchange_n(to, &old, (T)reduced(operation, type, old, b), true,   \
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))                   \
            ;                                                                                      \
    }
DEFINE_REDUCE(uint16_t)
DEFINE_REDUCE(uint32_t)
DEFINE_REDUCE(uint64_t)

/** Reduces `bytes` bytes into memory, element by element, each relaxed. */
static inline void reduce_into(uint8_t *to, const uint8_t *from, uint32_t bytes, unsigned operation,
                               unsigned type)
{
    unsigned size = reduced_bytes(type);

    for (uint32_t at = 0; at + size <= bytes; at += size) {
        uint64_t b = 0;

        memcpy(&b, from + at, size);
        if (size == 2)
            reduce_uint16_t((uint16_t *)(void *)(to + at), operation, type, (uint16_t)b);
        else if (size == 4)
            reduce_uint32_t((uint32_t *)(void *)(to + at), operation, type, (uint32_t)b);
        else
            reduce_uint64_t((uint64_t *)(void *)(to + at), operation, type, b);
    }
}

#endif
