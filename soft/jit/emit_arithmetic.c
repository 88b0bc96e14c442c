/* SPDX-License-Identifier: MIT */
/* Integers: of symbols where the sources are lines, of all lanes otherwise. */
#include <string.h>

#include "soft/jit/emit.h"

/* One operation on single values or on lanes. */
struct step {
    struct jit_emitter *e;
    const struct jit_op *op;
    bool lanes;
};

static const char *type_of(const struct step *s, unsigned bits)
{
    return jit_type(bits, s->lanes);
}

static struct jit_text number_of(const struct step *s, unsigned bits, int64_t value)
{
    return s->lanes ? jit_splat(s->e, bits, jit_number(value)) : jit_number(value);
}

static struct jit_text two(const struct step *s, const char *what, unsigned bits, struct jit_text a,
                           struct jit_text b)
{
    return jit_emit(s->e, "%s %s %s, %s", what, type_of(s, bits), a.s, b.s);
}

static struct jit_text change(const struct step *s, const char *how, unsigned from,
                              struct jit_text a, unsigned to)
{
    if (from == to)
        return a;
    return jit_emit(s->e, "%s %s %s to %s", how, type_of(s, from), a.s, type_of(s, to));
}

static struct jit_text choose(const struct step *s, struct jit_text which, unsigned bits,
                              struct jit_text a, struct jit_text b)
{
    return jit_emit(s->e, "select %s %s, %s %s, %s %s", type_of(s, 1), which.s, type_of(s, bits),
                    a.s, type_of(s, bits), b.s);
}

static struct jit_text compare(const struct step *s, const char *how, unsigned bits,
                               struct jit_text a, struct jit_text b)
{
    return jit_emit(s->e, "icmp %s %s %s, %s", how, type_of(s, bits), a.s, b.s);
}

/* Shifts by more than there are bits are defined in PTX, and not in LLVM's language. */
static struct jit_text shift(const struct step *s, struct jit_text a, struct jit_text b)
{
    unsigned bits = s->op->bits;
    bool is_signed = strcmp(s->op->what, "ashr") == 0;
    struct jit_text most = number_of(s, 32, bits - 1);
    struct jit_text inside = compare(s, "ule", 32, b, most), r;

    b = choose(s, inside, 32, b, is_signed ? most : number_of(s, 32, 0));
    if (bits == 64)
        b = change(s, "zext", 32, b, 64);
    else if (bits == 16)
        b = change(s, "trunc", 32, b, 16);
    r = two(s, s->op->what, bits, a, b);
    return is_signed ? r : choose(s, inside, bits, r, number_of(s, bits, 0));
}

static struct jit_text high_half(const struct step *s, struct jit_text a, struct jit_text b)
{
    const char *how = s->op->is_signed ? "sext" : "zext";
    struct jit_text x = change(s, how, 32, a, 64), y = change(s, how, 32, b, 64);

    x = two(s, "mul", 64, x, y);
    x = two(s, "lshr", 64, x, number_of(s, 64, 32));
    return change(s, "trunc", 64, x, 32);
}

static struct jit_text pack(const struct step *s, struct jit_text a, struct jit_text b)
{
    struct jit_text low = change(s, "zext", 32, a, 64), high = change(s, "zext", 32, b, 64);

    return two(s, "or", 64, low, two(s, "shl", 64, high, number_of(s, 64, 32)));
}

static struct jit_text flat(const struct step *s, struct jit_text a, struct jit_text b)
{
    unsigned bits = s->op->bits;
    const char *what = s->op->what;
    struct jit_text zero, negative;

    if (strcmp(what, "not") == 0)
        return two(s, "xor", bits, a, number_of(s, bits, -1));
    if (strcmp(what, "high") == 0)
        return high_half(s, a, b);
    if (strcmp(what, "pack") == 0)
        return pack(s, a, b);
    if (strcmp(what, "neg") == 0)
        return two(s, "sub", bits, number_of(s, bits, 0), a);
    if (strcmp(what, "abs") == 0) {
        zero = number_of(s, bits, 0);
        negative = two(s, "sub", bits, zero, a);
        return choose(s, compare(s, "slt", bits, a, zero), bits, negative, a);
    }
    if (what[1] == 'l' || what[1] == 'g') /* slt ult sgt ugt */
        return choose(s, compare(s, what, bits, a, b), bits, a, b);
    return two(s, what, bits, a, b);
}

/* ext_T_A_D: the low bits as T, extended or cut. */
static struct jit_text convert(const struct step *s, struct jit_text a)
{
    unsigned of = strcmp(s->op->what + 1, "8") == 0 ? 8 : 16;
    const char *how = s->op->is_signed ? "sext" : "zext";

    a = change(s, "trunc", s->op->from, a, of);
    return change(s, how, of, a, s->op->bits);
}

static struct jit_text apply(const struct step *s, struct jit_text a, struct jit_text b,
                             struct jit_text c)
{
    unsigned bits = s->op->bits, from = s->op->from;
    const char *how = s->op->is_signed ? "sext" : "zext";

    switch (s->op->rule) {
    case JIT_RULE_MOVE:
        return a;
    case JIT_RULE_ADD:
    case JIT_RULE_SUB:
    case JIT_RULE_MUL:
    case JIT_RULE_AND:
        return two(s, s->op->what, bits, a, b);
    case JIT_RULE_MAD:
        return two(s, "add", bits, two(s, "mul", bits, a, b), c);
    case JIT_RULE_MUL_WIDE:
    case JIT_RULE_MAD_WIDE:
        a = change(s, how, from, a, bits);
        b = change(s, how, from, b, bits);
        a = two(s, "mul", bits, a, b);
        return s->op->rule == JIT_RULE_MAD_WIDE ? two(s, "add", bits, a, c) : a;
    case JIT_RULE_EXTEND:
    case JIT_RULE_CUT:
        return change(s, s->op->what, from, a, bits);
    case JIT_RULE_SHL:
    case JIT_RULE_SHR:
        return shift(s, a, b);
    case JIT_RULE_CONVERT:
        return convert(s, a);
    default:
        return flat(s, a, b);
    }
}

/* ---- lines ---- */

/* A line of 32 bits goes on as one of 64 only if no lane wraps around. */
static void need_no_wrap(struct jit_emitter *e, const struct jit_value *v, bool is_signed)
{
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        struct jit_text wide, low, high;
        int64_t range[2];

        if (v->form.group[k] != k)
            continue;
        jit_form_range(&v->form, k, range);
        if (range[0] == 0 && range[1] == 0)
            continue;
        wide = jit_emit(e, "%s i32 %s to i64", is_signed ? "sext" : "zext", v->symbol[k].s);
        low = jit_emit(e, "add i64 %s, %s", wide.s, jit_number(range[0]).s);
        high = jit_emit(e, "add i64 %s, %s", wide.s, jit_number(range[1]).s);
        low = jit_emit(e, "icmp sge i64 %s, %s", low.s, jit_number(is_signed ? INT32_MIN : 0).s);
        high = jit_emit(e, "icmp sle i64 %s, %s", high.s,
                        jit_number(is_signed ? INT32_MAX : UINT32_MAX).s);
        jit_need(e, jit_emit(e, "and i1 %s, %s", low.s, high.s));
    }
}

/* The symbol that a source has for segment k, without what is constant beside it. */
static struct jit_text symbol_of(const struct jit_value *v, unsigned k)
{
    return v->symbol[v->form.group[k]];
}

static bool is_number(const struct jit_emitter *e, enum vgpu_operand o)
{
    const struct vgpu_constant *c = jit_plan_constant(e->plan, e->plan->unit->code[e->pc].row[o]);

    return c != NULL && c->variable < 0;
}

/* Whether the form follows from the sources' symbols alone, not from values of whole segments. */
static bool by_symbols(const struct jit_emitter *e, const struct jit_op *op)
{
    switch (op->rule) {
    case JIT_RULE_MOVE:
    case JIT_RULE_ADD:
    case JIT_RULE_SUB:
    case JIT_RULE_EXTEND:
    case JIT_RULE_CUT:
        return true;
    case JIT_RULE_MUL:
    case JIT_RULE_MAD:
    case JIT_RULE_MUL_WIDE:
    case JIT_RULE_MAD_WIDE:
        return is_number(e, VGPU_A) || is_number(e, VGPU_B);
    case JIT_RULE_SHL: {
        const struct vgpu_constant *c =
            jit_plan_constant(e->plan, e->plan->unit->code[e->pc].row[VGPU_B]);

        return is_number(e, VGPU_B) && c->value < op->bits;
    }
    default:
        return false;
    }
}

/* The sum of a product of whole segments, and the symbol of what is added. */
static struct jit_text mixed(const struct step *s, const struct jit_value v[3], unsigned k)
{
    struct jit_op product = *s->op;
    struct step first = {s->e, &product, false};
    struct jit_text none = {""}, r;

    product.rule = s->op->rule == JIT_RULE_MAD ? JIT_RULE_MUL : JIT_RULE_MUL_WIDE;
    product.what = "mul";
    r = apply(&first, jit_segment(s->e, &v[0], k), jit_segment(s->e, &v[1], k), none);
    return two(s, "add", s->op->bits, r, symbol_of(&v[2], k));
}

static void emit_line(struct jit_emitter *e, const struct jit_op *op, const struct jit_form *form,
                      const struct jit_value v[3])
{
    struct step s = {e, op, false};
    struct jit_value r = {.form = *form, .bits = op->bits};
    bool is_mad = op->rule == JIT_RULE_MAD || op->rule == JIT_RULE_MAD_WIDE;

    if (op->rule == JIT_RULE_EXTEND ||
        ((op->rule == JIT_RULE_MUL_WIDE || op->rule == JIT_RULE_MAD_WIDE) && by_symbols(e, op))) {
        need_no_wrap(e, &v[0], op->is_signed);
        if (op->rule != JIT_RULE_EXTEND)
            need_no_wrap(e, &v[1], op->is_signed);
    }
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (form->group[k] != k)
            continue;
        if (by_symbols(e, op)) {
            r.symbol[k] = apply(&s, symbol_of(&v[0], k), symbol_of(&v[1], k), symbol_of(&v[2], k));
        } else if (is_mad) {
            r.symbol[k] = mixed(&s, v, k);
        } else if ((op->rule == JIT_RULE_SHR || op->rule == JIT_RULE_AND) &&
                   !jit_form_is_flat(&v[0].form)) {
            /* The symbol is a multiple of what is shifted out, or cut off. */
            r.symbol[k] = op->rule == JIT_RULE_AND
                              ? jit_number(0)
                              : apply(&s, symbol_of(&v[0], k), symbol_of(&v[1], k), v[2].lanes);
        } else {
            r.symbol[k] = apply(&s, jit_segment(e, &v[0], k),
                                v[1].form.kind == JIT_LINE ? jit_segment(e, &v[1], k) : v[1].lanes,
                                v[2].lanes);
        }
    }
    jit_write(e, VGPU_D, &r);
}

void jit_emit_arithmetic(struct jit_emitter *e, const struct jit_op *op)
{
    uint8_t rows = e->plan->unit->operands[e->pc].rows;
    struct jit_form form = jit_result_form(e->plan, e->pc, op);
    struct jit_value v[3] = {0};
    struct step s = {e, op, true};

    v[0] = jit_read(e, VGPU_A);
    if ((rows >> VGPU_B & 1) != 0)
        v[1] = jit_read(e, VGPU_B);
    if ((rows >> VGPU_C & 1) != 0)
        v[2] = jit_read(e, VGPU_C);
    if (form.kind == JIT_LINE) {
        emit_line(e, op, &form, v);
        return;
    }
    for (unsigned n = 0; n < 3; n++) {
        if ((rows >> (VGPU_A + n) & 1) != 0)
            v[n].lanes = jit_expand(e, &v[n]);
    }
    jit_write_lanes(e, VGPU_D, op->bits, apply(&s, v[0].lanes, v[1].lanes, v[2].lanes));
}
