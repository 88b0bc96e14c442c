/* SPDX-License-Identifier: MIT */
/* add sub mul mad fma div rem min max abs neg, the special functions, and their kin. */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *integer_prefix(const struct ptx_type *type)
{
    return type->kind == PTX_SIGNED ? "s" : type->kind == PTX_UNSIGNED ? "u" : "b";
}

static bool is_float(const struct ptx_type *type)
{
    return type->kind == PTX_FLOATING || type->kind == PTX_BRAIN;
}

/* How many sources the floating-point form of an opcode has; 0: there is none. */
static uint32_t float_sources(struct ptx_slice opcode)
{
    static const char *const binary[] = {"add", "sub", "mul", "div", "min", "max", "copysign"};
    static const char *const unary[] = {"abs", "neg", "rcp", "sqrt", "rsqrt",
                                        "sin", "cos", "lg2", "ex2",  "tanh"};

    if (ptx_slice_is(opcode, "fma") || ptx_slice_is(opcode, "mad"))
        return 3;
    for (size_t i = 0; i < COUNT(binary); i++) {
        if (ptx_slice_is(opcode, binary[i]))
            return 2;
    }
    for (size_t i = 0; i < COUNT(unary); i++) {
        if (ptx_slice_is(opcode, unary[i]))
            return 1;
    }
    return 0;
}

static void decode_floating(struct ptx_parser *p, struct ptx_statement *s,
                            const struct ptx_type *type)
{
    const struct ptx_type *types[4] = {type, type, type, type};
    uint32_t n = float_sources(s->opcode);
    struct ptx_slice name = s->opcode;
    struct ptx_build b;
    uint8_t rounding, flags = 0;
    bool approximate;
    char key[48];

    rounding = (uint8_t)ptx_part_rounding(s);
    flags |= ptx_part(s, "ftz") ? VGPU_FTZ : 0;
    flags |= ptx_part(s, "sat") ? VGPU_SAT : 0;
    flags |= ptx_part(s, "relu") ? VGPU_RELU : 0;
    flags |= ptx_part(s, "NaN") ? VGPU_NAN : 0;
    /* The approximate forms are computed as well as the exact ones, but for those that have the
       upper half of an f64 only. */
    approximate = ptx_part(s, "approx") || ptx_part(s, "full");
    if (ptx_slice_is(name, "mad"))
        name = (struct ptx_slice){"fma", 3};
    snprintf(key, sizeof(key), "%.*s_%s%s", (int)name.length, name.start,
             approximate && flags & VGPU_FTZ && type->bits == 64 ? "high_" : "", type->name);
    b = ptx_form(p, s, key, types, n);
    b.inst.x = rounding;
    b.inst.y = flags;
    ptx_push(p, &b);
}

/* add, sub, mad with .cc, and addc, subc, madc: the carry is a predicate of the function. */
static void decode_carry(struct ptx_parser *p, struct ptx_statement *s, const char *base,
                         const struct ptx_type *type, bool in, bool out, const char *half)
{
    const struct ptx_type *types[4] = {type, type, type, type};
    struct ptx_build b;
    char key[48];

    if (p->carry == 0)
        p->carry = ptx_new_register(p, VGPU_ROW_PREDICATE);
    if (half == NULL)
        snprintf(key, sizeof(key), "%sx_b%u", base, type->bits);
    else
        snprintf(key, sizeof(key), "%sx_%s_%s%u", base, half,
                 strcmp(half, "lo") == 0 ? "b" : integer_prefix(type), type->bits);
    b = ptx_form(p, s, key, types, half == NULL ? 2 : 3);
    b.inst.x = (uint8_t)((in ? 1 : 0) | (out ? 2 : 0));
    if (out)
        ptx_define(&b, VGPU_E, p->carry);
    else
        ptx_use(&b, VGPU_E, p->carry);
    ptx_push(p, &b);
}

static void decode_add(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);
    const struct ptx_type *types[4] = {type, type, type, type};
    bool subtract = s->opcode.start[0] == 's', carry_in = s->opcode.length == 4;
    const char *base = subtract ? "sub" : "add";
    struct ptx_build b;
    char key[32];
    bool carry_out = ptx_part(s, "cc");

    if (type == NULL || type->kind == PTX_UNTYPED || type->kind == PTX_PRED) {
        ptx_unsupported(p, s, "the type");
    } else if (is_float(type)) {
        decode_floating(p, s, type);
    } else if (carry_in || carry_out) {
        decode_carry(p, s, base, type, carry_in, carry_out, NULL);
    } else {
        if (ptx_part(s, "sat"))
            snprintf(key, sizeof(key), "%s_sat_%s", base, type->name);
        else
            snprintf(key, sizeof(key), "%s_b%u", base, ptx_type_bits(type));
        b = ptx_form(p, s, key, types, 2);
        ptx_push(p, &b);
    }
}

/* mul, mad, madc, mul24, mad24 */
static void decode_mul(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);
    const struct ptx_type *types[4] = {type, type, type, type};
    bool add = s->opcode.start[1] == 'a', carry_in = ptx_slice_is(s->opcode, "madc");
    bool short24 = s->opcode.length == 5, carry_out = ptx_part(s, "cc");
    const char *half;
    struct ptx_build b;
    char key[48];
    bool sat;

    if (type == NULL || type->kind == PTX_UNTYPED || type->kind == PTX_PRED) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (is_float(type)) {
        decode_floating(p, s, type);
        return;
    }
    half = ptx_part(s, "lo") ? "lo" : ptx_part(s, "hi") ? "hi" : ptx_part(s, "wide") ? "wide" : "";
    if (carry_in || carry_out) {
        decode_carry(p, s, "mad", type, carry_in, carry_out, half);
        return;
    }
    sat = ptx_part(s, "sat");
    snprintf(key, sizeof(key), "%s%s_%s%s_%s%u", add ? "mad" : "mul", short24 ? "24" : "", half,
             sat ? "_sat" : "", strcmp(half, "lo") == 0 && !short24 ? "b" : integer_prefix(type),
             type->bits);
    if (strcmp(half, "wide") == 0) {
        if (type->bits == 64) {
            ptx_unsupported(p, s, "a product of 128 bits");
            return;
        }
        types[0] = types[3] = ptx_type_of(type->kind, type->bits * 2u);
    }
    b = ptx_form(p, s, key, types, add ? 3 : 2);
    ptx_push(p, &b);
}

/* div rem min max abs neg and sad: signed and unsigned differ. */
static void decode_signed(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);
    const struct ptx_type *types[4] = {type, type, type, type};
    bool unary = ptx_slice_is(s->opcode, "abs") || ptx_slice_is(s->opcode, "neg");
    bool sad = ptx_slice_is(s->opcode, "sad");
    struct ptx_build b;
    char key[48];

    if (type == NULL || type->kind == PTX_UNTYPED || type->kind == PTX_PRED) {
        ptx_unsupported(p, s, "the type");
        return;
    }
    if (is_float(type) && float_sources(s->opcode) != 0) {
        decode_floating(p, s, type);
        return;
    }
    snprintf(key, sizeof(key), "%.*s_%s", (int)s->opcode.length, s->opcode.start, type->name);
    b = ptx_form(p, s, key, types, unary ? 1 : sad ? 3 : 2);
    ptx_push(p, &b);
}

/* What has floating-point forms only. */
static void decode_function(struct ptx_parser *p, struct ptx_statement *s)
{
    const struct ptx_type *type = ptx_part_type(s);

    if (type == NULL || !is_float(type))
        ptx_unsupported(p, s, "the type");
    else
        decode_floating(p, s, type);
}

static void decode_testp(struct ptx_parser *p, struct ptx_statement *s)
{
    static const char *const tests[] = {"finite",     "infinite", "number",
                                        "notanumber", "normal",   "subnormal"};
    const struct ptx_type *type = ptx_part_type(s);
    const struct ptx_type *types[2] = {ptx_type_named((struct ptx_slice){"pred", 4}), type};
    struct ptx_build b;
    char key[32];
    uint8_t test = 0;

    while (test < COUNT(tests) && !ptx_part(s, tests[test]))
        test++;
    if (type == NULL || type->kind != PTX_FLOATING || type->bits < 32 || test == COUNT(tests)) {
        ptx_unsupported(p, s, "the type or the test");
        return;
    }
    snprintf(key, sizeof(key), "testp_%s", type->name);
    b = ptx_form(p, s, key, types, 1);
    b.inst.x = test;
    ptx_push(p, &b);
}

/* dp4a.atype.btype and dp2a.mode.atype.btype */
static void decode_dot(struct ptx_parser *p, struct ptx_statement *s)
{
    bool two = ptx_slice_is(s->opcode, "dp2a"), high = two && ptx_part(s, "hi");
    const struct ptx_type *a, *b_type;
    struct ptx_build b;

    if (two && !high)
        ptx_part(s, "lo");
    a = ptx_part_type(s);
    b_type = ptx_part_type(s);
    if (a == NULL || b_type == NULL || ptx_type_bits(a) != 32 || ptx_type_bits(b_type) != 32) {
        ptx_unsupported(p, s, "the types");
        return;
    }
    b = ptx_form(p, s, two ? "dp2a" : "dp4a", (const struct ptx_type *[4]){a, a, b_type, a}, 3);
    b.inst.x = (uint8_t)((a->kind == PTX_SIGNED ? 1 : 0) | (b_type->kind == PTX_SIGNED ? 2 : 0));
    b.inst.y = high;
    ptx_push(p, &b);
}

static const struct ptx_opcode table[] = {
    {"add", decode_add},       {"addc", decode_add},          {"sub", decode_add},
    {"subc", decode_add},      {"mul", decode_mul},           {"mad", decode_mul},
    {"madc", decode_mul},      {"mul24", decode_mul},         {"mad24", decode_mul},
    {"fma", decode_function},  {"div", decode_signed},        {"rem", decode_signed},
    {"min", decode_signed},    {"max", decode_signed},        {"abs", decode_signed},
    {"neg", decode_signed},    {"sad", decode_signed},        {"rcp", decode_function},
    {"sqrt", decode_function}, {"rsqrt", decode_function},    {"sin", decode_function},
    {"cos", decode_function},  {"lg2", decode_function},      {"ex2", decode_function},
    {"tanh", decode_function}, {"copysign", decode_function}, {"testp", decode_testp},
    {"dp4a", decode_dot},      {"dp2a", decode_dot},
};

ptx_decoder ptx_decode_arithmetic(struct ptx_slice opcode)
{
    return ptx_decoder_in(table, COUNT(table), opcode);
}
