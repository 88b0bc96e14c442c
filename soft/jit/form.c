/* SPDX-License-Identifier: MIT */
#include "soft/jit/form.h"

#include <string.h>

struct jit_form jit_form_uniform(unsigned zeros)
{
    return (struct jit_form){.kind = JIT_LINE, .zeros = (uint8_t)zeros};
}

struct jit_form jit_form_lanes(void)
{
    return (struct jit_form){.kind = JIT_LANES};
}

int64_t jit_form_delta(const struct jit_form *a, unsigned lane)
{
    uint64_t step = (uint64_t)a->stride * (lane % VGPU_SEGMENT_LANES);

    return jit_sum(a->offset[lane / VGPU_SEGMENT_LANES], (int64_t)step);
}

struct jit_form jit_form_of_pattern(const int64_t pattern[VGPU_LANES], unsigned zeros)
{
    struct jit_form f = jit_form_uniform(zeros);

    f.stride = jit_difference(pattern[1], pattern[0]);
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        f.offset[k] = pattern[(size_t)k * VGPU_SEGMENT_LANES];
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (jit_form_delta(&f, l) != pattern[l])
            return jit_form_lanes();
    }
    return f;
}

bool jit_form_same(const struct jit_form *a, const struct jit_form *b)
{
    return a->kind == b->kind && a->zeros == b->zeros && a->stride == b->stride &&
           memcmp(a->group, b->group, sizeof(a->group)) == 0 &&
           memcmp(a->offset, b->offset, sizeof(a->offset)) == 0;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Trailing zeros of everything beside the symbols. */
static unsigned zeros_of(uint64_t value)
{
    return value == 0 ? 63 : (unsigned)__builtin_ctzll(value);
}

struct jit_form jit_form_join(const struct jit_form *a, const struct jit_form *b)
{
    struct jit_form r = {.kind = JIT_LINE};

    if (a->kind == JIT_UNKNOWN)
        return *b;
    if (b->kind == JIT_UNKNOWN)
        return *a;
    if (a->kind == JIT_LANES || b->kind == JIT_LANES || a->stride != b->stride)
        return jit_form_lanes();
    r.stride = a->stride;
    r.zeros = (uint8_t)least(a->zeros, b->zeros);
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        unsigned j = 0;

        while (a->group[j] != a->group[k] || b->group[j] != b->group[k] ||
               jit_difference(a->offset[k], a->offset[j]) !=
                   jit_difference(b->offset[k], b->offset[j]))
            j++;
        r.group[k] = (uint8_t)j;
        r.offset[k] = a->offset[k];
        /* Where the two put the constant elsewhere, it moves into the symbol. */
        if (a->offset[j] != b->offset[j]) {
            r.offset[k] = jit_difference(a->offset[k], a->offset[j]);
            r.zeros = (uint8_t)least(
                r.zeros, least(zeros_of((uint64_t)a->offset[j]), zeros_of((uint64_t)b->offset[j])));
        }
    }
    return r;
}

bool jit_form_is_flat(const struct jit_form *a)
{
    return a->kind == JIT_LINE && a->stride == 0;
}

bool jit_form_is_uniform(const struct jit_form *a)
{
    bool same = jit_form_is_flat(a);

    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        same = same && a->group[k] == 0 && a->offset[k] == a->offset[0];
    return same;
}

void jit_form_range(const struct jit_form *a, unsigned group, int64_t range[2])
{
    bool first = true;

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        int64_t delta = jit_form_delta(a, l);

        if (a->group[l / VGPU_SEGMENT_LANES] != group)
            continue;
        range[0] = first || delta < range[0] ? delta : range[0];
        range[1] = first || delta > range[1] ? delta : range[1];
        first = false;
    }
}

struct jit_form jit_form_add(const struct jit_form *a, const struct jit_form *b, bool subtract)
{
    struct jit_form r = {.kind = JIT_LINE};

    if (a->kind != JIT_LINE || b->kind != JIT_LINE)
        return jit_form_lanes();
    int64_t (*combine)(int64_t, int64_t) = subtract ? jit_difference : jit_sum;
    r.stride = combine(a->stride, b->stride);
    r.zeros = (uint8_t)least(a->zeros, b->zeros);
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        unsigned j = 0;

        while (a->group[j] != a->group[k] || b->group[j] != b->group[k])
            j++;
        r.group[k] = (uint8_t)j;
        r.offset[k] = combine(a->offset[k], b->offset[k]);
    }
    return r;
}

static int64_t cut(uint64_t value, unsigned bits)
{
    return bits == 32 ? (int64_t)(int32_t)value : (int64_t)value;
}

struct jit_form jit_form_scale(const struct jit_form *a, uint64_t factor, unsigned bits)
{
    struct jit_form r = *a;

    if (a->kind != JIT_LINE)
        return jit_form_lanes();
    r.zeros = (uint8_t)least(63, a->zeros + zeros_of(factor));
    r.stride = cut((uint64_t)a->stride * factor, bits);
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        r.offset[k] = cut((uint64_t)a->offset[k] * factor, bits);
    return r;
}

struct jit_form jit_form_flat(const struct jit_form *const sources[], unsigned count)
{
    struct jit_form r = {.kind = JIT_LINE};

    for (unsigned n = 0; n < count; n++) {
        if (!jit_form_is_flat(sources[n]))
            return jit_form_lanes();
    }
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        unsigned j = 0;

        for (unsigned n = 0; n < count; n++) {
            const struct jit_form *s = sources[n];

            if (s->group[j] != s->group[k] || s->offset[j] != s->offset[k]) {
                j++;
                n = UINT32_MAX; /* from the first source again, for the next segment */
            }
        }
        r.group[k] = (uint8_t)j;
    }
    return r;
}

/* Symbols that are multiples of 2^zeros, and constants that do not reach the next multiple. */
static bool stays_below(const struct jit_form *a, unsigned count)
{
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        int64_t delta = jit_form_delta(a, l);

        if (delta < 0 || (a->zeros < 32 && delta >= INT64_C(1) << a->zeros))
            return false;
    }
    return a->kind == JIT_LINE && a->zeros >= count && count < 32;
}

static struct jit_form change_pattern(const struct jit_form *a, unsigned zeros, unsigned shift,
                                      int64_t mask, bool keep_groups)
{
    int64_t pattern[VGPU_LANES];
    struct jit_form r;

    for (unsigned l = 0; l < VGPU_LANES; l++)
        pattern[l] = (jit_form_delta(a, l) & mask) >> shift;
    r = jit_form_of_pattern(pattern, zeros);
    if (keep_groups)
        memcpy(r.group, a->group, sizeof(r.group));
    return r;
}

struct jit_form jit_form_shift_right(const struct jit_form *a, unsigned count)
{
    if (!stays_below(a, count))
        return jit_form_lanes();
    return change_pattern(a, a->zeros - count, count, -1, true);
}

struct jit_form jit_form_low_bits(const struct jit_form *a, unsigned count)
{
    if (!stays_below(a, count))
        return jit_form_lanes();
    return change_pattern(a, 63, 0, (INT64_C(1) << count) - 1, false);
}
