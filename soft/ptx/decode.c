/* SPDX-License-Identifier: MIT */
/* From a statement to operations: what the decoders share, and the choice among them. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool ptx_part(struct ptx_statement *s, const char *word)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        if ((s->used >> i & 1) == 0 && ptx_slice_is(s->parts[i], word)) {
            s->used |= 1u << i;
            return true;
        }
    }
    return false;
}

const struct ptx_type *ptx_part_type(struct ptx_statement *s)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        const struct ptx_type *type = ptx_type_named(s->parts[i]);

        if ((s->used >> i & 1) == 0 && type != NULL) {
            s->used |= 1u << i;
            return type;
        }
    }
    return NULL;
}

const struct ptx_type *ptx_type_of(uint32_t kind, uint32_t bits)
{
    static const char letters[] = "busf";
    char name[8];

    snprintf(name, sizeof(name), "%s%c%u", kind == PTX_BRAIN ? "b" : "",
             kind == PTX_BRAIN ? 'f' : letters[kind & 3], bits);
    return ptx_type_named((struct ptx_slice){name, (uint32_t)strlen(name)});
}

enum vgpu_rounding ptx_part_rounding(struct ptx_statement *s)
{
    if (ptx_part(s, "rz"))
        return VGPU_RZ;
    if (ptx_part(s, "rm"))
        return VGPU_RM;
    if (ptx_part(s, "rp"))
        return VGPU_RP;
    ptx_part(s, "rn");
    return VGPU_RN;
}

bool ptx_want(struct ptx_parser *p, struct ptx_statement *s, uint32_t n)
{
    if (p->error == 0 && s->operand_count != n) {
        char why[60];

        /* Some instructions have forms with more operands than are known here, none with fewer. */
        snprintf(why, sizeof(why), "%u operands instead of %u", s->operand_count, n);
        if (s->operand_count > n)
            ptx_unsupported(p, s, why);
        else
            ptx_fail(p, -EINVAL, s->line, "'%.*s' has %s",
                     (int)(s->opcode.length < 60 ? s->opcode.length : 60), s->opcode.start, why);
    }
    return p->error == 0;
}

bool ptx_all_parts(struct ptx_parser *p, struct ptx_statement *s)
{
    for (uint32_t i = 0; i < s->part_count && p->error == 0; i++) {
        if ((s->used >> i & 1) == 0) {
            char why[80];

            snprintf(why, sizeof(why), "the modifier '.%.*s'",
                     (int)(s->parts[i].length < 50 ? s->parts[i].length : 50), s->parts[i].start);
            ptx_unsupported(p, s, why);
        }
    }
    return p->error == 0;
}

struct ptx_build ptx_form(struct ptx_parser *p, struct ptx_statement *s, const char *key,
                          const struct ptx_type *const types[], uint32_t sources)
{
    struct ptx_build b = {0};
    uint32_t rows[VGPU_OPERANDS] = {0};

    if (!ptx_want(p, s, sources + 1) || !ptx_all_parts(p, s))
        return b;
    if (s->operands[0].second != 0)
        ptx_unsupported(p, s, "a second destination");
    /* Sources first: a special register is moved to a row before the operation itself. */
    for (uint32_t i = 1; i <= sources; i++)
        rows[i] = ptx_source(p, s, &s->operands[i], types[i]);
    rows[0] = ptx_destination(p, s, &s->operands[0], types[0]);
    b = ptx_begin(p, s, key);
    ptx_define(&b, VGPU_D, rows[0]);
    for (uint32_t i = 1; i <= sources; i++)
        ptx_use(&b, (enum vgpu_operand)(VGPU_D + i), rows[i]);
    return b;
}

uint32_t ptx_predicate(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_operand *o,
                       bool *negated)
{
    *negated = o->negated;
    if (o->kind == PTX_OPERAND_INTEGER)
        return ptx_constant(p, VGPU_ROW_PREDICATE, o->bits, -1);
    if (o->kind == PTX_OPERAND_SPECIAL && ptx_slice_is(o->name, "%is_explicit_cluster")) {
        uint32_t ref = ptx_new_register(p, VGPU_ROW_PREDICATE);
        struct ptx_build b = ptx_begin(p, s, "sreg_is_explicit_cluster");

        ptx_define(&b, VGPU_D, ref);
        ptx_push(p, &b);
        return ref;
    }
    if (o->kind != PTX_OPERAND_REGISTER || o->type->kind != PTX_PRED) {
        ptx_fail(p, -EINVAL, s->line, "an operand that should be a predicate is none");
        return 0;
    }
    return o->ref;
}

/* ---- mov ---- */

static void pack(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_type *type)
{
    const struct ptx_operand *from = &s->operands[1];
    uint32_t part = from->count == 0 ? 0 : ptx_type_bits(type) / from->count;
    uint32_t rows[4] = {0};
    char key[32];
    struct ptx_build b;

    if (from->count > 4 || part < 8) {
        ptx_unsupported(p, s, "a vector of this form");
        return;
    }
    for (uint32_t i = 0; i < from->count; i++)
        rows[i] = ptx_source(p, s, &s->elements[from->first + i], ptx_type_of(PTX_UNTYPED, part));
    snprintf(key, sizeof(key), "pack_%u_%u", ptx_type_bits(type), part);
    b = ptx_begin(p, s, key);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    for (uint32_t i = 0; i < from->count; i++)
        ptx_use(&b, (enum vgpu_operand)(VGPU_A + i), rows[i]);
    ptx_push(p, &b);
}

static void unpack(struct ptx_parser *p, struct ptx_statement *s, const struct ptx_type *type)
{
    static const enum vgpu_operand to[4] = {VGPU_D, VGPU_B, VGPU_C, VGPU_E};
    const struct ptx_operand *vector = &s->operands[0];
    uint32_t part = vector->count == 0 ? 0 : ptx_type_bits(type) / vector->count;
    uint32_t source;
    char key[32];
    struct ptx_build b;

    if (vector->count > 4 || part < 8) {
        ptx_unsupported(p, s, "a vector of this form");
        return;
    }
    source = ptx_source(p, s, &s->operands[1], type);
    snprintf(key, sizeof(key), "unpack_%u_%u", ptx_type_bits(type), part);
    b = ptx_begin(p, s, key);
    ptx_use(&b, VGPU_A, source);
    for (uint32_t i = 0; i < vector->count; i++)
        ptx_define(
            &b, to[i],
            ptx_destination(p, s, &s->elements[vector->first + i], ptx_type_of(PTX_UNTYPED, part)));
    ptx_push(p, &b);
}

static void decode_mov(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);
    char key[16];
    bool negated;

    if (type == NULL || type->bits == 8) {
        ptx_unsupported(p, s, "a type that mov does not have");
        return;
    }
    if (!ptx_want(p, s, 2) || !ptx_all_parts(p, s))
        return;
    if (s->operands[1].kind == PTX_OPERAND_VECTOR) {
        pack(p, s, type);
    } else if (s->operands[0].kind == PTX_OPERAND_VECTOR) {
        unpack(p, s, type);
    } else if (type->kind == PTX_PRED) {
        struct ptx_build b = ptx_begin(p, s, "mov_pred");

        ptx_use(&b, VGPU_A, ptx_predicate(p, s, &s->operands[1], &negated));
        b.inst.z = negated;
        ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
        ptx_push(p, &b);
    } else {
        uint32_t source = ptx_source(p, s, &s->operands[1], type);

        snprintf(key, sizeof(key), "mov_b%u", ptx_type_bits(type));
        ptx_emit1(p, s, key, ptx_destination(p, s, &s->operands[0], type), source);
    }
}

ptx_decoder ptx_decoder_in(const struct ptx_opcode *table, size_t count, struct ptx_slice opcode)
{
    for (size_t i = 0; i < count; i++) {
        if (ptx_slice_is(opcode, table[i].name))
            return table[i].decode;
    }
    return NULL;
}

/* What PTX has and this front end does not; anything else that is not decoded is a mistake. */
static bool is_of_the_language(struct ptx_slice opcode)
{
    static const char *const names[] = {
        "istypep",
        "setmaxnreg",
        "tcgen05",
        "wgmma",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ptx_slice_is(opcode, names[i]))
            return true;
    }
    return false;
}

static bool has_coordinates(const struct ptx_statement *s)
{
    for (uint32_t i = 0; i < s->operand_count; i++) {
        if (s->operands[i].kind == PTX_OPERAND_ADDRESS && s->operands[i].count > 0)
            return true;
    }
    return false;
}

void ptx_decode(struct ptx_parser *p, struct ptx_statement *s)
{
    ptx_decoder decode = ptx_slice_is(s->opcode, "mov") ? decode_mov : NULL;

    if (ptx_decode_packed(p, s))
        return;
    decode = decode != NULL ? decode : ptx_decode_arithmetic(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_memory(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_control(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_bits(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_select(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_convert(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_warp(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_matrix(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_async(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_cluster(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_atomic(s->opcode);
    decode = decode != NULL ? decode : ptx_decode_video(s->opcode);
    if (decode == NULL) {
        decode = ptx_decode_texture(s->opcode);
    } else if (has_coordinates(s) && !ptx_slice_is(s->opcode, "cp")) {
        ptx_unsupported(p, s, "an address with coordinates");
        return;
    }
    if (decode != NULL)
        decode(p, s);
    else if (is_of_the_language(s->opcode))
        ptx_unsupported(p, s, "the instruction");
    else
        ptx_fail(p, -EINVAL, s->line, "'%.*s' is not an instruction",
                 (int)(s->opcode.length < 60 ? s->opcode.length : 60), s->opcode.start);
}
