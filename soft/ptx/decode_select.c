/* SPDX-License-Identifier: MIT */
/* setp set selp slct */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NAMED(text) ptx_type_named((struct ptx_slice){text, sizeof(text) - 1})

struct comparison {
    const char *name;
    uint8_t combine; /* 0 none, 1 and, 2 or, 3 xor */
    uint8_t flags;
};

static bool is_float(const struct ptx_type *type)
{
    return type->kind == PTX_FLOATING || type->kind == PTX_BRAIN;
}

static struct comparison take_comparison(struct ptx_statement *s)
{
    static const char *const names[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",
                                        "lo",  "ls",  "hi",  "hs",  "equ", "neu",
                                        "ltu", "leu", "gtu", "geu", "num", "nan"};
    struct comparison c = {0};

    for (size_t i = 0; i < COUNT(names) && c.name == NULL; i++) {
        if (ptx_part(s, names[i]))
            c.name = names[i];
    }
    c.combine = ptx_part(s, "and") ? 1 : ptx_part(s, "or") ? 2 : ptx_part(s, "xor") ? 3 : 0;
    c.flags = ptx_part(s, "ftz") ? VGPU_FTZ : 0;
    return c;
}

/* The key of a comparison: equality does not care for signs, and lo is lt of unsigned. */
static void comparison_key(char *key, size_t size, const char *prefix, struct comparison c,
                           const struct ptx_type *type)
{
    static const char *const pairs[4][2] = {{"lo", "lt"}, {"ls", "le"}, {"hi", "gt"}, {"hs", "ge"}};
    const char *name = c.name;
    char letter = type->kind == PTX_SIGNED ? 's' : 'u';

    if (is_float(type)) {
        snprintf(key, size, "%s_%s_%s", prefix, name, type->name);
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(name, pairs[i][0]) == 0) {
            name = pairs[i][1];
            letter = 'u';
        }
    }
    if (strcmp(name, "eq") == 0 || strcmp(name, "ne") == 0)
        letter = 'b';
    snprintf(key, size, "%s_%s_%c%u", prefix, name, letter, type->bits);
}

/* Compares operands `first` and the next; the predicate behind them, if any, is combined. */
static void emit_comparison(struct ptx_parser *p, struct ptx_statement *s, struct comparison c,
                            const struct ptx_type *type, uint32_t d, uint32_t second)
{
    uint32_t a = ptx_source(p, s, &s->operands[1], type);
    uint32_t b_ref = ptx_source(p, s, &s->operands[2], type);
    struct ptx_build b;
    bool negated = false;
    char key[48];

    comparison_key(key, sizeof(key), "setp", c, type);
    b = ptx_begin(p, s, key);
    ptx_define(&b, VGPU_D, d);
    if (second != 0)
        ptx_define(&b, VGPU_E, second);
    ptx_use(&b, VGPU_A, a);
    ptx_use(&b, VGPU_B, b_ref);
    if (c.combine != 0)
        ptx_use(&b, VGPU_C, ptx_predicate(p, s, &s->operands[3], &negated));
    b.inst.x = c.combine;
    b.inst.y = c.flags;
    b.inst.z = negated;
    ptx_push(p, &b);
}

static void decode_setp(struct ptx_parser *p, struct ptx_statement *s)
{
    struct comparison c = take_comparison(s);
    const struct ptx_type *type = ptx_part_type(s), *pred = NAMED("pred");

    if (type == NULL || c.name == NULL || type->bits < 16) {
        ptx_unsupported(p, s, "the type or the comparison");
        return;
    }
    if (ptx_want(p, s, c.combine != 0 ? 4 : 3) && ptx_all_parts(p, s))
        emit_comparison(p, s, c, type, ptx_destination(p, s, &s->operands[0], pred),
                        s->operands[0].second);
}

/* set.cmp.f16x2.f16x2: two results in one register */
static void decode_packed_set(struct ptx_parser *p, struct ptx_statement *s, struct comparison c,
                              const struct ptx_type *to, const struct ptx_type *from)
{
    const struct ptx_type *types[3] = {to, from, from};
    struct ptx_build b;
    char key[48];

    if (c.combine != 0) {
        ptx_unsupported(p, s, "a combination of packed comparisons");
        return;
    }
    comparison_key(key, sizeof(key), "set", c, from);
    b = ptx_form(p, s, key, types, 2);
    b.inst.x = to->kind == PTX_FLOATING ? 1 : to->kind == PTX_BRAIN ? 2 : 0;
    b.inst.y = c.flags;
    ptx_push(p, &b);
}

static void decode_set(struct ptx_parser *p, struct ptx_statement *s)
{
    struct comparison c = take_comparison(s);
    const struct ptx_type *to = ptx_part_type(s), *from = ptx_part_type(s);
    uint32_t test, width;
    uint64_t yes;
    struct ptx_build b;
    char key[16];

    if (to == NULL || from == NULL || c.name == NULL || from->bits < 16 || to->bits < 16 ||
        to->kind == PTX_PRED) {
        ptx_unsupported(p, s, "the types or the comparison");
        return;
    }
    if (from->packed == 2) {
        decode_packed_set(p, s, c, to, from);
        return;
    }
    if (!ptx_want(p, s, c.combine != 0 ? 4 : 3) || !ptx_all_parts(p, s))
        return;
    test = ptx_new_register(p, VGPU_ROW_PREDICATE);
    emit_comparison(p, s, c, from, test, 0);
    width = ptx_type_width(to);
    yes = to->kind == PTX_BRAIN                        ? 0x3f80
          : to->kind == PTX_FLOATING && to->bits == 16 ? 0x3c00
          : to->kind == PTX_FLOATING                   ? 0x3f800000
                                                       : UINT64_MAX;
    snprintf(key, sizeof(key), "selp_b%u", ptx_type_bits(to));
    b = ptx_begin(p, s, key);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], to));
    ptx_use(&b, VGPU_A, ptx_constant(p, width, yes, -1));
    ptx_use(&b, VGPU_B, ptx_constant(p, width, 0, -1));
    ptx_use(&b, VGPU_C, test);
    ptx_push(p, &b);
}

static void decode_selp(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);
    uint32_t a, b_ref;
    bool negated = false;
    struct ptx_build b;
    char key[16];

    if (type == NULL || type->bits < 16) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (!ptx_want(p, s, 4) || !ptx_all_parts(p, s))
        return;
    a = ptx_source(p, s, &s->operands[1], type);
    b_ref = ptx_source(p, s, &s->operands[2], type);
    snprintf(key, sizeof(key), "selp_b%u", ptx_type_bits(type));
    b = ptx_begin(p, s, key);
    ptx_define(&b, VGPU_D, ptx_destination(p, s, &s->operands[0], type));
    ptx_use(&b, VGPU_A, a);
    ptx_use(&b, VGPU_B, b_ref);
    ptx_use(&b, VGPU_C, ptx_predicate(p, s, &s->operands[3], &negated));
    if (negated)
        ptx_unsupported(p, s, "a negated operand");
    ptx_push(p, &b);
}

static void decode_slct(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s), *by = ptx_part_type(s);
    uint8_t flags = ptx_part(s, "ftz") ? VGPU_FTZ : 0;
    struct ptx_build b;
    char key[32];

    if (type == NULL || by == NULL || type->bits < 16 || ptx_type_bits(by) != 32) {
        ptx_unsupported(p, s, "the types");
        return;
    }
    snprintf(key, sizeof(key), "slct_b%u_%s", ptx_type_bits(type), by->name);
    b = ptx_form(p, s, key, (const struct ptx_type *[4]){type, type, type, by}, 3);
    b.inst.y = flags;
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"setp", decode_setp}, {"set", decode_set}, {"selp", decode_selp}, {"slct", decode_slct}};

ptx_decoder ptx_decode_select(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
