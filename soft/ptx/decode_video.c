/* SPDX-License-Identifier: MIT */
/* Video instructions: vadd, vadd2, vadd4 and their kin, with operands like %r1.h0 and %r2.b3210. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "soft/simt/video.h"

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

/* Which part of a register an operand names: the letter (b, h, or 0 for all) and the digits. */
struct part {
    char letter;
    struct ptx_slice digits;
};

/* Takes ".h1" off an operand, which then is the register before it. */
static struct part take_part(struct ptx_parser *p, struct ptx_operand *o)
{
    struct part part = {0};
    struct ptx_slice name = o->name;
    const struct ptx_symbol *symbol;
    uint32_t dot = name.length;

    if (o->kind != PTX_OPERAND_SPECIAL && o->kind != PTX_OPERAND_SYMBOL)
        return part;
    while (dot > 0 && name.start[dot - 1] != '.')
        dot--;
    if (dot < 2 || dot >= name.length)
        return part;
    symbol = ptx_symbol_find(p, (struct ptx_slice){name.start, dot - 1});
    if (symbol == NULL || symbol->kind != PTX_SYMBOL_REGISTER)
        return part;
    o->kind = PTX_OPERAND_REGISTER;
    o->type = symbol->type;
    o->ref = symbol->ref;
    part.letter = name.start[dot];
    part.digits = (struct ptx_slice){name.start + dot + 1, name.length - dot - 1};
    return part;
}

/* The part of a scalar operand; 255 if there is none such. */
static uint8_t scalar_part(struct part part)
{
    unsigned digit = part.digits.length == 1 ? (unsigned)(part.digits.start[0] - '0') : 9;

    if (part.letter == 0)
        return 0;
    if (part.letter == 'b' && digit < 4)
        return (uint8_t)(VGPU_VIDEO_BYTE + digit);
    return part.letter == 'h' && digit < 2 ? (uint8_t)(VGPU_VIDEO_HALF + digit) : 255;
}

/* A nibble per lane, the last digit for lane 0; false if there is something else. */
static bool lane_parts(struct part part, unsigned lanes, uint16_t standard, uint16_t *nibbles)
{
    *nibbles = standard;
    if (part.letter == 0)
        return true;
    if (part.letter != (lanes == 2 ? 'h' : 'b') || part.digits.length != lanes)
        return false;
    *nibbles = 0;
    for (unsigned n = 0; n < lanes; n++) {
        unsigned digit = (unsigned)(part.digits.start[lanes - 1 - n] - '0');

        if (digit >= 2 * lanes)
            return false;
        *nibbles |= (uint16_t)(digit << 4 * n);
    }
    return true;
}

/* The lanes of the result that are written; 0 if there is something else. */
static uint8_t lane_mask(struct part part, unsigned lanes)
{
    uint8_t mask = 0;

    if (part.letter == 0)
        return (uint8_t)((1u << lanes) - 1);
    if (part.letter != (lanes == 2 ? 'h' : 'b'))
        return 0;
    for (uint32_t n = 0; n < part.digits.length; n++) {
        unsigned digit = (unsigned)(part.digits.start[n] - '0');

        if (digit >= lanes)
            return 0;
        mask |= (uint8_t)(1u << digit);
    }
    return mask;
}

static const char *const operations[VGPU_VIDEO_OPERATIONS] = {
    "vadd", "vsub", "vabsdiff", "vmin", "vmax", "vavrg", "vshl", "vshr", "vset", "vmad"};

/* The operation and how many lanes it has, from "vadd4"; false if it is none. */
static bool operation_named(struct ptx_slice name, struct vgpu_video *v)
{
    char last = name.length > 0 ? name.start[name.length - 1] : '\0';

    v->lanes = last == '2' ? 2 : last == '4' ? 4 : 1;
    if (v->lanes > 1)
        name.length--;
    for (v->operation = 0; v->operation < VGPU_VIDEO_OPERATIONS; v->operation++) {
        if (ptx_slice_is(name, operations[v->operation]))
            break;
    }
    if (v->lanes > 1 ? v->operation == VGPU_VIDEO_SHL || v->operation == VGPU_VIDEO_SHR ||
                           v->operation == VGPU_VIDEO_MAD
                     : v->operation == VGPU_VIDEO_AVERAGE)
        return false;
    return v->operation < VGPU_VIDEO_OPERATIONS;
}

/* .dtype.atype.btype, of which vset has no first. */
static bool take_types(struct ptx_statement *s, struct vgpu_video *v)
{
    for (uint8_t flag = v->operation == VGPU_VIDEO_SET ? VGPU_VIDEO_A_SIGNED : VGPU_VIDEO_D_SIGNED;
         flag <= VGPU_VIDEO_B_SIGNED; flag = (uint8_t)(flag << 1)) {
        const struct ptx_type *type = ptx_part_type(s);

        if (type == NULL || ptx_type_bits(type) != 32 || type->packed != 1 ||
            (type->kind != PTX_SIGNED && type->kind != PTX_UNSIGNED))
            return false;
        v->flags |= type->kind == PTX_SIGNED ? flag : 0;
    }
    return true;
}

static uint8_t take_comparison(struct ptx_statement *s)
{
    static const char *const names[VGPU_VIDEO_COMPARISONS] = {"eq", "ne", "lt", "le", "gt", "ge"};
    uint8_t n = 0;

    while (n < VGPU_VIDEO_COMPARISONS && !ptx_part(s, names[n]))
        n++;
    return n;
}

/* Parts of the operands; false if one is not for this instruction. */
static bool place_parts(struct ptx_parser *p, struct ptx_statement *s, struct vgpu_video *v,
                        struct vgpu_inst *inst)
{
    struct part d = take_part(p, &s->operands[0]), a = take_part(p, &s->operands[1]);
    struct part b = take_part(p, &s->operands[2]);

    if (v->lanes > 1) {
        inst->x = lane_mask(d, v->lanes);
        return inst->x != 0 && lane_parts(a, v->lanes, v->lanes == 2 ? 0x10 : 0x3210, &v->a) &&
               lane_parts(b, v->lanes, v->lanes == 2 ? 0x32 : 0x7654, &v->b);
    }
    inst->x = scalar_part(d);
    v->a = scalar_part(a);
    v->b = scalar_part(b);
    if (inst->x != 0 &&
        (v->second != VGPU_VIDEO_ALONE || s->operand_count != 4 || v->operation == VGPU_VIDEO_MAD))
        return false;
    if (inst->x != 0)
        v->second = VGPU_VIDEO_MERGE;
    return inst->x != 255 && v->a != 255 && v->b != 255;
}

/* What only some have: a comparison, what a shift does with large amounts, scale and signs of mad.
 */
static bool take_special(struct ptx_statement *s, struct vgpu_video *v, struct vgpu_inst *inst)
{
    switch (v->operation) {
    case VGPU_VIDEO_SET:
        inst->y = take_comparison(s);
        return inst->y < VGPU_VIDEO_COMPARISONS;
    case VGPU_VIDEO_SHL:
    case VGPU_VIDEO_SHR:
        v->flags |= ptx_part(s, "wrap") ? VGPU_VIDEO_WRAP : 0;
        return (v->flags & VGPU_VIDEO_WRAP) != 0 || ptx_part(s, "clamp");
    case VGPU_VIDEO_MAD:
        inst->y = ptx_part(s, "shr7") ? 7 : ptx_part(s, "shr15") ? 15 : 0;
        if (ptx_part(s, "po"))
            v->flags |= VGPU_VIDEO_PLUS_ONE;
        if (s->operands[1].minus != s->operands[2].minus)
            v->flags |= VGPU_VIDEO_MINUS;
        if (s->operand_count == 4 && s->operands[3].minus)
            v->flags |= VGPU_VIDEO_MINUS_C;
        return true;
    default:
        return true;
    }
}

/* vshr.u32.u32.u32.clamp.add is what compilers emit, in inner loops too. */
static bool is_shift_and_add(const struct vgpu_video *v, const struct vgpu_inst *inst)
{
    return v->operation == VGPU_VIDEO_SHR && v->flags == 0 && v->a == 0 && v->b == 0 &&
           inst->x == 0 && v->second == VGPU_VIDEO_THEN_ADD;
}

static void push_binary(struct ptx_parser *p, struct ptx_statement *s, const char *key, uint32_t d,
                        uint32_t a, uint32_t second)
{
    struct ptx_build b = ptx_begin(p, s, key);

    ptx_define(&b, VGPU_D, d);
    ptx_use(&b, VGPU_A, a);
    ptx_use(&b, VGPU_B, second);
    ptx_push(p, &b);
}

static void decode_video(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = NAMED("b32");
    struct vgpu_video v = {0};
    uint32_t rows[3];
    struct ptx_build b;
    bool has_third;

    b = ptx_begin(p, s, "video");
    if (!operation_named(s->opcode, &v) || !take_types(s, &v) || s->operand_count < 3 ||
        !take_special(s, &v, &b.inst)) {
        ptx_unsupported(p, s, "the form");
        return;
    }
    v.flags |= v.operation != VGPU_VIDEO_SET && ptx_part(s, "sat") ? VGPU_VIDEO_SATURATE : 0;
    v.second = ptx_part(s, "add") ? VGPU_VIDEO_THEN_ADD : VGPU_VIDEO_ALONE;
    if (v.lanes == 1 && v.second == VGPU_VIDEO_ALONE)
        v.second = ptx_part(s, "min")   ? VGPU_VIDEO_THEN_MIN
                   : ptx_part(s, "max") ? VGPU_VIDEO_THEN_MAX
                                        : VGPU_VIDEO_ALONE;
    has_third = v.lanes > 1 || v.second != VGPU_VIDEO_ALONE || v.operation == VGPU_VIDEO_MAD ||
                s->operand_count == 4;
    if (!ptx_want(p, s, has_third ? 4 : 3) || !ptx_all_parts(p, s))
        return;
    if (!place_parts(p, s, &v, &b.inst)) {
        ptx_unsupported(p, s, "a part of an operand");
        return;
    }
    for (uint32_t n = 0; n < 3; n++)
        rows[n] = n < 2 || has_third ? ptx_source(p, s, &s->operands[n + 1], type)
                                     : ptx_constant(p, VGPU_ROW_32, 0, -1);
    if (is_shift_and_add(&v, &b.inst)) {
        uint32_t shifted = ptx_new_register(p, VGPU_ROW_32);

        push_binary(p, s, "shr_u32", shifted, rows[0], rows[1]);
        push_binary(p, s, "add_b32", ptx_destination(p, s, &s->operands[0], type), shifted,
                    rows[2]);
        return;
    }
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    for (uint32_t n = 0; n < 3; n++)
        ptx_use(&b, (enum vgpu_operand)(VGPU_A + n), rows[n]);
    memcpy(&b.inst.imm, &v, sizeof(v));
    ptx_push(p, &b);
}

ptx_decoder ptx_decode_video(struct ptx_slice opcode)
{
    struct vgpu_video v = {0};

    return operation_named(opcode, &v) ? decode_video : NULL;
}
