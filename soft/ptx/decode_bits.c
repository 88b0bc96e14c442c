/* SPDX-License-Identifier: MIT */
/* Logic, shifts, bit fields, permutation. */
#include "soft/ptx/parser.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

/* and or xor not cnot, of predicates too */
static void decode_logic(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);
    const struct ptx_type *types[3] = {type, type, type};
    bool unary = ptx_slice_is(s->opcode, "not") || ptx_slice_is(s->opcode, "cnot");
    struct ptx_build b;
    char key[32];

    if (type == NULL || type->packed != 1 || type->bits == 8) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (type->kind == PTX_PRED)
        snprintf(key, sizeof(key), "%.*s_pred", (int)s->opcode.length, s->opcode.start);
    else
        snprintf(key, sizeof(key), "%.*s_b%u", (int)s->opcode.length, s->opcode.start, type->bits);
    b = ptx_form(p, s, key, types, unary ? 1 : 2);
    ptx_push(p, &b);
}

static void decode_shift(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);
    const struct ptx_type *types[3] = {type, type, NAMED("u32")};
    struct ptx_build b;
    char key[32];

    if (type == NULL || type->packed != 1 || type->bits < 16) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (ptx_slice_is(s->opcode, "shl"))
        snprintf(key, sizeof(key), "shl_b%u", type->bits);
    else
        snprintf(key, sizeof(key), "shr_%c%u", type->kind == PTX_SIGNED ? 's' : 'u', type->bits);
    b = ptx_form(p, s, key, types, 2);
    ptx_push(p, &b);
}

static void decode_funnel(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = NAMED("b32"), *types[4] = {type, type, type, NAMED("u32")};
    bool left = ptx_part(s, "l"), wrap;
    struct ptx_build b;

    if (!left && !ptx_part(s, "r")) {
        ptx_unsupported(p, s, "no direction");
        return;
    }
    wrap = ptx_part(s, "wrap");
    if (!wrap)
        ptx_part(s, "clamp");
    ptx_part(s, "b32");
    b = ptx_form(p, s, left ? "shf_l" : "shf_r", types, 3);
    b.inst.x = wrap;
    ptx_push(p, &b);
}

/* popc clz brev bfind: one source, sometimes another type of result */
static void decode_count(struct ptx_parser *p, struct ptx_statement *s)
{
    bool shift_amount = ptx_part(s, "shiftamt");
    const struct ptx_type *type = ptx_part_type(s);
    bool reverse = ptx_slice_is(s->opcode, "brev"), find = ptx_slice_is(s->opcode, "bfind");
    const struct ptx_type *types[2] = {reverse ? type : NAMED("u32"), type};
    struct ptx_build b;
    char key[32];

    if (type == NULL || type->bits < 32 || (shift_amount && !find)) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (find)
        snprintf(key, sizeof(key), "bfind_%s", type->name);
    else
        snprintf(key, sizeof(key), "%.*s_b%u", (int)s->opcode.length, s->opcode.start, type->bits);
    b = ptx_form(p, s, key, types, 1);
    b.inst.x = shift_amount;
    ptx_push(p, &b);
}

static void decode_extract(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s), *u32 = NAMED("u32");
    const struct ptx_type *types[4] = {type, type, u32, u32};
    struct ptx_build b;
    char key[32];

    if (type == NULL) {
        ptx_unsupported(p, s, "no type");
        return;
    }
    snprintf(key, sizeof(key), "bfe_%s", type->name);
    b = ptx_form(p, s, key, types, 3);
    ptx_push(p, &b);
}

/* bfi has four sources: the last one goes to E. */
static void decode_insert(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s), *u32 = NAMED("u32");
    uint32_t rows[4];
    struct ptx_build b;
    char key[32];

    if (type == NULL || !ptx_want(p, s, 5) || !ptx_all_parts(p, s)) {
        ptx_unsupported(p, s, "no type");
        return;
    }
    for (uint32_t i = 0; i < 4; i++)
        rows[i] = ptx_source(p, s, &s->operands[i + 1], i < 2 ? type : u32);
    snprintf(key, sizeof(key), "bfi_%s", type->name);
    b = ptx_begin(p, s, key);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    for (uint32_t i = 0; i < 4; i++)
        ptx_use(&b, (enum vgpu_operand)(VGPU_A + i), rows[i]);
    ptx_push(p, &b);
}

static void decode_lop3(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = NAMED("b32"), *types[4] = {type, type, type, type};
    struct ptx_build b;
    uint8_t combine = ptx_part(s, "and") ? 1 : ptx_part(s, "or") ? 2 : 0;
    uint32_t test = s->operands[0].second, result;
    uint64_t table;
    bool negated;

    ptx_part(s, "b32");
    if (!ptx_want(p, s, combine != 0 ? 6 : 5))
        return;
    s->operands[0].second = 0;
    if (s->operands[4].kind != PTX_OPERAND_INTEGER || s->operands[4].bits > 255) {
        ptx_unsupported(p, s, "a table that is not a number up to 255");
        return;
    }
    table = s->operands[4].bits;
    s->operand_count = 4;
    b = ptx_form(p, s, "lop3", types, 3);
    b.inst.imm = (int64_t)table;
    result = b.inst.row[VGPU_D];
    ptx_push(p, &b);
    if (combine == 0 || test == 0) {
        if (combine != 0 || test != 0)
            ptx_unsupported(p, s, "a predicate without .and or .or, or none with them");
        return;
    }
    /* Whether any bit of the result is set, combined with another predicate. */
    b = ptx_begin(p, s, "setp_ne_b32");
    ptx_define(&b, VGPU_D, test);
    ptx_use(&b, VGPU_A, result);
    ptx_use(&b, VGPU_B, ptx_constant(p, VGPU_ROW_32, 0, -1));
    ptx_use(&b, VGPU_C, ptx_predicate(p, s, &s->operands[5], &negated));
    b.inst.x = combine;
    b.inst.z = negated;
    ptx_push(p, &b);
}

static void decode_prmt(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const modes[] = {"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"};
    const struct ptx_type *type = NAMED("b32"), *types[4] = {type, type, type, type};
    struct ptx_build b;
    uint8_t mode = 0;

    ptx_part(s, "b32");
    for (unsigned i = 0; i < COUNT(modes); i++) {
        if (ptx_part(s, modes[i]))
            mode = (uint8_t)(i + 1);
    }
    b = ptx_form(p, s, mode == 0 ? "prmt" : "prmt_mode", types, 3);
    b.inst.x = mode;
    ptx_push(p, &b);
}

static void decode_fns(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = NAMED("b32"), *types[4] = {type, type, type, NAMED("s32")};
    struct ptx_build b;

    ptx_part(s, "b32");
    b = ptx_form(p, s, "fns", types, 3);
    ptx_push(p, &b);
}

/* szext and bmsk: two sources, clamped or wrapped */
static void decode_clamped(struct ptx_parser *p, struct ptx_statement *s)
{
    bool wrap = ptx_part(s, "wrap");
    const struct ptx_type *type;
    struct ptx_build b;
    char key[32];

    if (!wrap && !ptx_part(s, "clamp"))
        ptx_unsupported(p, s, "no mode");
    type = ptx_part_type(s);
    if (type == NULL || ptx_type_bits(type) != 32) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    snprintf(key, sizeof(key), "%.*s_%s", (int)s->opcode.length, s->opcode.start, type->name);
    b = ptx_form(p, s, key, (const struct ptx_type *[3]){type, type, NAMED("u32")}, 2);
    b.inst.x = wrap;
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"and", decode_logic},    {"or", decode_logic},   {"xor", decode_logic},
    {"not", decode_logic},    {"cnot", decode_logic}, {"shl", decode_shift},
    {"shr", decode_shift},    {"shf", decode_funnel}, {"popc", decode_count},
    {"clz", decode_count},    {"brev", decode_count}, {"bfind", decode_count},
    {"bfe", decode_extract},  {"bfi", decode_insert}, {"lop3", decode_lop3},
    {"prmt", decode_prmt},    {"fns", decode_fns},    {"szext", decode_clamped},
    {"bmsk", decode_clamped},
};

ptx_decoder ptx_decode_bits(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
