/* SPDX-License-Identifier: MIT */
/*
 * Forms of add, sub, mul, fma, min and max that are made of others: pairs in one register, sources
 * of two types, three sources, absolute values.
 */
#include "soft/ptx/parser.h"

#include <stdio.h>

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

static bool has_part(const struct ptx_statement *s, const char *word)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        if (ptx_slice_is(s->parts[i], word))
            return true;
    }
    return false;
}

static uint8_t take_flags(struct ptx_statement *s)
{
    return (uint8_t)((ptx_part(s, "ftz") ? VGPU_FTZ : 0) | (ptx_part(s, "sat") ? VGPU_SAT : 0) |
                     (ptx_part(s, "NaN") ? VGPU_NAN : 0) | (ptx_part(s, "relu") ? VGPU_RELU : 0));
}

/* One operation on rows; returns the row of the result. */
static uint32_t operate(struct ptx_parser *p, struct ptx_statement *s, const char *key, uint32_t d,
                        const uint32_t *from, uint32_t count, uint8_t x, uint8_t y)
{
    struct ptx_build b = ptx_begin(p, s, key);

    ptx_define(&b, VGPU_D, d);
    for (uint32_t i = 0; i < count; i++)
        ptx_use(&b, (enum vgpu_operand)(VGPU_A + i), from[i]);
    b.inst.x = x;
    b.inst.y = y;
    ptx_push(p, &b);
    return d;
}

/* add.f32x2 and its kin: both halves of 64-bit registers */
static void decode_f32_pairs(struct ptx_parser *p, struct ptx_statement *s)
{
    uint32_t sources = ptx_slice_is(s->opcode, "fma") ? 3 : 2, half[3][2], result[2];
    uint8_t rounding = (uint8_t)ptx_part_rounding(s), flags = take_flags(s);
    const struct ptx_type *type = NAMED("b64");
    struct ptx_build b;
    char key[16];

    ptx_part(s, "f32x2");
    if ((flags & (uint8_t)~VGPU_FTZ) != 0)
        ptx_unsupported(p, s, "the modifier");
    if (!ptx_want(p, s, sources + 1) || !ptx_all_parts(p, s))
        return;
    for (uint32_t n = 0; n < sources; n++) {
        uint32_t source = ptx_source(p, s, &s->operands[n + 1], type);

        b = ptx_begin(p, s, "unpack_64_32");
        half[n][0] = ptx_new_register(p, VGPU_ROW_32);
        half[n][1] = ptx_new_register(p, VGPU_ROW_32);
        ptx_use(&b, VGPU_A, source);
        ptx_define(&b, VGPU_D, half[n][0]);
        ptx_define(&b, VGPU_B, half[n][1]);
        ptx_push(p, &b);
    }
    snprintf(key, sizeof(key), "%.*s_f32", (int)s->opcode.length, s->opcode.start);
    for (uint32_t n = 0; n < 2; n++) {
        uint32_t from[3] = {half[0][n], half[1][n], sources == 3 ? half[2][n] : 0};

        result[n] =
            operate(p, s, key, ptx_new_register(p, VGPU_ROW_32), from, sources, rounding, flags);
    }
    operate(p, s, "pack_64_32", ptx_destination(p, s, &s->operands[0], type), result, 2, 0, 0);
}

/* add.f32.f16 d, a, c: a is widened first; fma has two such sources */
static void decode_mixed(struct ptx_parser *p, struct ptx_statement *s, bool brain)
{
    uint32_t sources = ptx_slice_is(s->opcode, "fma") ? 3 : 2, from[3];
    uint8_t rounding = (uint8_t)ptx_part_rounding(s), flags = take_flags(s);
    const struct ptx_type *type = NAMED("f32"), *narrow = brain ? NAMED("bf16") : NAMED("f16");
    char key[16];

    ptx_part(s, "f32");
    ptx_part(s, narrow->name);
    if ((flags & (uint8_t)~VGPU_SAT) != 0)
        ptx_unsupported(p, s, "the modifier");
    if (!ptx_want(p, s, sources + 1) || !ptx_all_parts(p, s))
        return;
    for (uint32_t n = 0; n < sources; n++) {
        bool widened = n + 1 < sources;

        from[n] = ptx_source(p, s, &s->operands[n + 1], widened ? narrow : type);
        if (widened)
            from[n] = operate(p, s, brain ? "cvt_f32_bf16" : "cvt_f32_f16",
                              ptx_new_register(p, VGPU_ROW_32), &from[n], 1, 0, 0);
    }
    snprintf(key, sizeof(key), "%.*s_f32", (int)s->opcode.length, s->opcode.start);
    operate(p, s, key, ptx_destination(p, s, &s->operands[0], type), from, sources, rounding,
            flags);
}

/* min.xorsign.abs.type */
static void decode_signed_magnitude(struct ptx_parser *p, struct ptx_statement *s)
{
    uint8_t flags = take_flags(s);
    const struct ptx_type *type;
    struct ptx_build b;
    char key[40];

    ptx_part(s, "xorsign");
    ptx_part(s, "abs");
    type = ptx_part_type(s);
    if (type == NULL || (type->kind != PTX_FLOATING && type->kind != PTX_BRAIN)) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    snprintf(key, sizeof(key), "%.*s_xorsign_%s", (int)s->opcode.length, s->opcode.start,
             type->name);
    b = ptx_form(p, s, key, (const struct ptx_type *[3]){type, type, type}, 2);
    b.inst.y = flags;
    ptx_push(p, &b);
}

/* min.f32 d, a, b, c */
static void decode_of_three(struct ptx_parser *p, struct ptx_statement *s)
{
    uint8_t flags = take_flags(s);
    bool absolute = ptx_part(s, "abs");
    const struct ptx_type *type = NAMED("f32");
    const char *key = ptx_slice_is(s->opcode, "min") ? "min_f32" : "max_f32";
    uint32_t from[3];

    ptx_part(s, "f32");
    if (!ptx_all_parts(p, s))
        return;
    for (uint32_t n = 0; n < 3; n++) {
        from[n] = ptx_source(p, s, &s->operands[n + 1], type);
        if (absolute)
            from[n] = operate(p, s, "abs_f32", ptx_new_register(p, VGPU_ROW_32), &from[n], 1, 0,
                              flags & VGPU_FTZ);
    }
    from[1] = operate(p, s, key, ptx_new_register(p, VGPU_ROW_32), from, 2, 0, flags);
    operate(p, s, key, ptx_destination(p, s, &s->operands[0], type), &from[1], 2, 0, flags);
}

/* add.u16x2, min.s16x2, max.relu.s32 and their kin */
static void decode_integers(struct ptx_parser *p, struct ptx_statement *s, const char *type)
{
    const struct ptx_type *types[3] = {NAMED("b32"), NAMED("b32"), NAMED("b32")};
    bool relu = ptx_part(s, "relu");
    struct ptx_build b;
    char key[40];

    ptx_part(s, type);
    snprintf(key, sizeof(key), "%.*s%s_%s", (int)s->opcode.length, s->opcode.start,
             relu ? "_relu" : "", type);
    b = ptx_form(p, s, key, types, 2);
    ptx_push(p, &b);
}

bool ptx_decode_packed(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const opcodes[] = {"add", "sub", "mul", "fma", "min", "max"};
    bool order, f32 = has_part(s, "f32");
    size_t i = 0;

    while (i < sizeof(opcodes) / sizeof(opcodes[0]) && !ptx_slice_is(s->opcode, opcodes[i]))
        i++;
    if (i == sizeof(opcodes) / sizeof(opcodes[0]))
        return false;
    order = i >= 4;
    if (has_part(s, "u16x2"))
        decode_integers(p, s, "u16x2");
    else if (has_part(s, "s16x2"))
        decode_integers(p, s, "s16x2");
    else if (order && has_part(s, "relu") && has_part(s, "s32"))
        decode_integers(p, s, "s32");
    else if (!order && has_part(s, "f32x2"))
        decode_f32_pairs(p, s);
    else if (i != 2 && !order && f32 && (has_part(s, "f16") || has_part(s, "bf16")))
        decode_mixed(p, s, has_part(s, "bf16"));
    else if (order && has_part(s, "xorsign"))
        decode_signed_magnitude(p, s);
    else if (order && f32 && s->operand_count == 4)
        decode_of_three(p, s);
    else
        return false;
    return true;
}
