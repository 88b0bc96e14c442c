/* SPDX-License-Identifier: MIT */
/* cvt: one conversion is up to four operations, on rows of their own in between. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

struct conversion {
    const struct ptx_type *to, *from;
    uint8_t rounding;
    bool integral; /* .rni and its kin: round to an integer */
    bool sat;
    uint8_t flags; /* VGPU_FTZ and so on */
};

static bool is_float(const struct ptx_type *type)
{
    return type->kind == PTX_FLOATING || type->kind == PTX_BRAIN;
}

static uint32_t register_bits(const struct ptx_type *type)
{
    uint32_t bits = ptx_type_bits(type);

    return bits == 8 ? 16 : bits;
}

static const char *letter(const struct ptx_type *type)
{
    return type->kind == PTX_SIGNED ? "s" : "u";
}

static uint32_t step(struct ptx_parser *p, struct ptx_statement *s, const char *key, uint32_t width,
                     uint32_t source, uint8_t x, uint8_t y)
{
    uint32_t d = ptx_new_register(p, width);
    struct ptx_build b = ptx_begin(p, s, key);

    ptx_define(&b, VGPU_D, d);
    ptx_use(&b, VGPU_A, source);
    b.inst.x = x;
    b.inst.y = y;
    ptx_push(p, &b);
    return d;
}

static uint32_t width_of_bits(uint32_t bits)
{
    return bits <= 16 ? VGPU_ROW_16 : bits == 32 ? VGPU_ROW_32 : VGPU_ROW_64;
}

/* Takes the low bits of a row as `type` and extends them to `bits`. */
static uint32_t extend(struct ptx_parser *p, struct ptx_statement *s, uint32_t source,
                       uint32_t source_bits, const struct ptx_type *type, uint32_t bits)
{
    char key[32];

    if (source_bits == bits && ptx_type_bits(type) == bits)
        return source;
    snprintf(key, sizeof(key), "ext_%s%u_%u_%u", letter(type), ptx_type_bits(type), source_bits,
             bits);
    return step(p, s, key, width_of_bits(bits), source, 0, 0);
}

/* Writes the result: low bits of `row`, a value of type `to`, extended to the register. */
static void finish(struct ptx_parser *p, struct ptx_statement *s, uint32_t row, uint32_t row_bits,
                   const struct ptx_type *to)
{
    const struct ptx_operand *o = &s->operands[0];
    const struct ptx_type *reg = o->kind == PTX_OPERAND_REGISTER ? o->type : to;
    char key[32];

    if (reg->kind == PTX_PRED || register_bits(reg) < ptx_type_bits(to)) {
        ptx_fail(p, -EINVAL, s->line, "the destination is too narrow");
        return;
    }
    if (row_bits == register_bits(reg) && ptx_type_bits(to) == row_bits)
        snprintf(key, sizeof(key), "mov_b%u", row_bits);
    else
        snprintf(key, sizeof(key), "ext_%s%u_%u_%u", letter(to), ptx_type_bits(to), row_bits,
                 register_bits(reg));
    ptx_emit1(p, s, key, ptx_destination(p, s, o, reg), row);
}

/* The source as a row, and how wide it is: registers may be wider than the type. */
static uint32_t fetch(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_type *from,
                      uint32_t *bits)
{
    const struct ptx_operand *o = &s->operands[1];
    const struct ptx_type *type = from;

    if (o->kind == PTX_OPERAND_REGISTER) {
        type = o->type;
        if (type->kind == PTX_PRED || register_bits(type) < ptx_type_bits(from) ||
            (is_float(from) && register_bits(type) != ptx_type_bits(from)))
            ptx_fail(p, -EINVAL, s->line, "'%.*s' has a width that does not fit the conversion",
                     (int)(o->name.length < 100 ? o->name.length : 100), o->name.start);
    }
    *bits = register_bits(type);
    return ptx_source(p, s, o, type);
}

static void integer_to_integer(struct ptx_parser *p, struct ptx_statement *s,
                               const struct conversion *c)
{
    uint32_t bits, row = fetch(p, s, c->from, &bits);
    char key[32];

    if (c->sat) {
        row = extend(p, s, row, bits, c->from, 64);
        snprintf(key, sizeof(key), "clamp_%s64_%s%u", letter(c->from), letter(c->to), c->to->bits);
        row = step(p, s, key, VGPU_ROW_64, row, 0, 0);
        finish(p, s, row, 64, c->to);
        return;
    }
    if (ptx_type_bits(c->to) > ptx_type_bits(c->from)) {
        /* Widening: the value is the source's, whatever sign the destination has. */
        uint32_t wide = register_bits(c->to);

        row = extend(p, s, row, bits, c->from, wide);
        finish(p, s, row, wide, c->to);
    } else {
        finish(p, s, row, bits, c->to);
    }
}

static void integer_to_float(struct ptx_parser *p, struct ptx_statement *s,
                             const struct conversion *c)
{
    uint32_t bits, row = fetch(p, s, c->from, &bits);
    uint32_t wide = c->from->bits == 64 ? 64 : 32;
    char key[32];

    row = extend(p, s, row, bits, c->from, wide);
    snprintf(key, sizeof(key), "cvt_%s_%s%u", c->to->name, letter(c->from), wide);
    row = step(p, s, key, ptx_type_width(c->to), row, c->rounding,
               (uint8_t)(c->flags | (c->sat ? VGPU_SAT : 0)));
    finish(p, s, row, ptx_type_bits(c->to), c->to);
}

static void float_to_integer(struct ptx_parser *p, struct ptx_statement *s,
                             const struct conversion *c)
{
    uint32_t bits, row = fetch(p, s, c->from, &bits);
    uint32_t wide = c->to->bits == 64 ? 64 : 32;
    char key[32];

    snprintf(key, sizeof(key), "cvt_%s%u_%s", letter(c->to), wide, c->from->name);
    row = step(p, s, key, width_of_bits(wide), row, c->rounding, c->flags);
    if (c->to->bits < 32) {
        snprintf(key, sizeof(key), "clamp_%s32_%s%u", letter(c->to), letter(c->to), c->to->bits);
        row = step(p, s, key, VGPU_ROW_32, row, 0, 0);
    }
    finish(p, s, row, wide, c->to);
}

static void float_to_float(struct ptx_parser *p, struct ptx_statement *s,
                           const struct conversion *c)
{
    uint32_t bits, row = fetch(p, s, c->from, &bits);
    uint8_t flags = (uint8_t)(c->flags | (c->sat ? VGPU_SAT : 0));
    char key[32];

    if (c->integral && c->to != c->from) {
        ptx_unsupported(p, s, "rounding to an integer and to another type at once");
        return;
    }
    snprintf(key, sizeof(key), c->to == c->from ? "round_%s" : "cvt_%s_%s", c->to->name,
             c->from->name);
    /* Between equal types without .rni only flushing and saturation are left to do. */
    row = step(p, s, key, ptx_type_width(c->to), row,
               (uint8_t)(c->to == c->from && !c->integral ? 255 : c->rounding), flags);
    finish(p, s, row, ptx_type_bits(c->to), c->to);
}

/* cvt.rn.f16x2.f32 d, a, b: a is the upper half */
static void pack_floats(struct ptx_parser *p, struct ptx_statement *s, const struct conversion *c)
{
    const struct ptx_type *types[3] = {c->to, c->from, c->from};
    struct ptx_build b;
    char key[32];

    snprintf(key, sizeof(key), "cvt_%s_f32", c->to->name);
    b = ptx_form(p, s, key, types, 2);
    b.inst.x = c->rounding;
    b.inst.y = c->flags;
    ptx_push(p, &b);
}

static void take_rounding(struct ptx_statement *s, struct conversion *c)
{
    static const char *const integral[] = {"rni", "rzi", "rmi", "rpi"};

    for (uint8_t i = 0; i < 4; i++) {
        if (ptx_part(s, integral[i])) {
            c->integral = true;
            c->rounding = i;
            return;
        }
    }
    c->rounding = (uint8_t)ptx_part_rounding(s);
}

static void decode_cvt(struct ptx_parser *p, struct ptx_statement *s)
{
    struct conversion c = {0};

    if (ptx_decode_narrow(p, s))
        return;
    take_rounding(s, &c);
    c.flags |= ptx_part(s, "ftz") ? VGPU_FTZ : 0;
    c.flags |= ptx_part(s, "relu") ? VGPU_RELU : 0;
    c.flags |= ptx_part(s, "satfinite") ? VGPU_FINITE : 0;
    c.sat = ptx_part(s, "sat");
    c.to = ptx_part_type(s);
    c.from = ptx_part_type(s);
    if (c.to == NULL || c.from == NULL || c.to->kind == PTX_PRED || c.from->kind == PTX_PRED ||
        c.to->kind == PTX_UNTYPED || c.from->kind == PTX_UNTYPED) {
        ptx_unsupported(p, s, "the types");
        return;
    }
    if (!ptx_all_parts(p, s))
        return;
    if (c.flags & VGPU_FINITE && (c.to->bits != 16 || !is_float(c.to) || c.from->bits != 32)) {
        ptx_unsupported(p, s, "the types with .satfinite");
        return;
    }
    if (c.to->packed == 2 && ptx_slice_is((struct ptx_slice){c.from->name, 3}, "f32")) {
        pack_floats(p, s, &c);
        return;
    }
    if (c.to->packed == 2 || c.from->packed == 2) {
        ptx_unsupported(p, s, "the types");
        return;
    }
    if (!ptx_want(p, s, 2))
        return;
    if (is_float(c.to) && is_float(c.from))
        float_to_float(p, s, &c);
    else if (is_float(c.to))
        integer_to_float(p, s, &c);
    else if (is_float(c.from))
        float_to_integer(p, s, &c);
    else
        integer_to_integer(p, s, &c);
}

static const struct ptx_opcode table[] = {{"cvt", decode_cvt}};

ptx_decoder ptx_decode_convert(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, 1, opcode);
}
