/* SPDX-License-Identifier: MIT */
/* Floating point, and tests. Rounding is to nearest, and nothing is contracted or reordered. */
#include <string.h>

#include "soft/jit/emit.h"

static struct jit_text as_integers(struct jit_emitter *e, unsigned bits, struct jit_text a)
{
    return jit_emit(e, "bitcast %s %s to %s", jit_float_type(bits), a.s, jit_type(bits, true));
}

static struct jit_text ones(struct jit_emitter *e, unsigned bits)
{
    struct jit_text bits_of_one =
        jit_splat(e, bits, jit_number(bits == 32 ? 0x3f800000 : INT64_C(0x3ff) << 52));

    return jit_emit(e, "bitcast %s %s to %s", jit_type(bits, true), bits_of_one.s,
                    jit_float_type(bits));
}

/* Subnormals become zeros of their sign, if the instruction asks for that. */
static struct jit_text flush(struct jit_emitter *e, unsigned bits, struct jit_text a)
{
    struct jit_text x, mask, zero;

    if (bits != 32 || (e->plan->unit->code[e->pc].y & VGPU_FTZ) == 0)
        return a;
    x = as_integers(e, 32, a);
    mask = jit_splat(e, 32, jit_number(0x7f800000));
    zero = jit_emit(e, "and <32 x i32> %s, %s", x.s, mask.s);
    zero = jit_emit(e, "icmp eq <32 x i32> %s, zeroinitializer", zero.s);
    mask = jit_splat(e, 32, jit_number(INT32_MIN));
    mask = jit_emit(e, "and <32 x i32> %s, %s", x.s, mask.s);
    x = jit_emit(e, "select <32 x i1> %s, <32 x i32> %s, <32 x i32> %s", zero.s, mask.s, x.s);
    return jit_emit(e, "bitcast <32 x i32> %s to <32 x float>", x.s);
}

static struct jit_text source(struct jit_emitter *e, const struct jit_op *op, enum vgpu_operand o)
{
    return flush(e, op->from, jit_read_float(e, o));
}

/* As the interpreter does it: with f64, and rounded once. */
static struct jit_text reciprocal_root(struct jit_emitter *e, struct jit_text a)
{
    struct jit_text one = ones(e, 64), r;

    r = jit_emit(e, "fpext <32 x float> %s to <32 x double>", a.s);
    r = jit_emit(e, "call <32 x double> @llvm.sqrt.v32f64(<32 x double> %s)", r.s);
    r = jit_emit(e, "fdiv <32 x double> %s, %s", one.s, r.s);
    return jit_emit(e, "fptrunc <32 x double> %s to <32 x float>", r.s);
}

/* A number wins over NaN; -0 is less than +0. */
static struct jit_text extreme(struct jit_emitter *e, const char *what, struct jit_text a,
                               struct jit_text b)
{
    bool least = strcmp(what, "min") == 0;
    struct jit_text x = as_integers(e, 32, a), y = as_integers(e, 32, b), zero, test, r;

    zero = jit_emit(e, "%s <32 x i32> %s, %s", least ? "or" : "and", x.s, y.s);
    test = jit_emit(e, "fcmp %s <32 x float> %s, %s", least ? "olt" : "ogt", a.s, b.s);
    r = jit_emit(e, "select <32 x i1> %s, <32 x i32> %s, <32 x i32> %s", test.s, x.s, y.s);
    test = jit_emit(e, "fcmp oeq <32 x float> %s, %s", a.s, b.s);
    r = jit_emit(e, "select <32 x i1> %s, <32 x i32> %s, <32 x i32> %s", test.s, zero.s, r.s);
    test = jit_emit(e, "fcmp uno <32 x float> %s, zeroinitializer", b.s);
    r = jit_emit(e, "select <32 x i1> %s, <32 x i32> %s, <32 x i32> %s", test.s, x.s, r.s);
    test = jit_emit(e, "fcmp uno <32 x float> %s, zeroinitializer", a.s);
    return jit_emit(e, "select <32 x i1> %s, <32 x i32> %s, <32 x i32> %s", test.s, y.s, r.s);
}

static void convert(struct jit_emitter *e, const struct jit_op *op)
{
    struct jit_value v;
    struct jit_text r;

    if (op->what[0] == 'i') {
        v = jit_read(e, VGPU_A);
        r = jit_expand(e, &v);
        r = jit_emit(e, "%s <32 x i32> %s to <32 x float>", op->is_signed ? "sitofp" : "uitofp",
                     r.s);
        jit_write_lanes(e, VGPU_D, 32, as_integers(e, 32, r));
        return;
    }
    r = jit_read_float(e, VGPU_A);
    jit_write_lanes(e, VGPU_D, 32,
                    jit_emit(e, "call <32 x i32> @llvm.fpto%ci.sat.v32i32.v32f32(<32 x float> %s)",
                             op->is_signed ? 's' : 'u', r.s));
}

static struct jit_text function(struct jit_emitter *e, const struct jit_op *op, struct jit_text a)
{
    const char *type = jit_float_type(op->bits);

    return jit_emit(e, "call %s @llvm.%s.v32f%u(%s %s)", type, op->what, op->bits, type, a.s);
}

void jit_emit_float(struct jit_emitter *e, const struct jit_op *op)
{
    uint8_t rows = e->plan->unit->operands[e->pc].rows;
    const char *type = jit_float_type(op->bits), *what = op->what;
    struct jit_text a, b = {""}, c, r;

    if (strcmp(what, "itof") == 0 || strcmp(what, "ftoi") == 0) {
        convert(e, op);
        return;
    }
    a = source(e, op, VGPU_A);
    if ((rows >> VGPU_B & 1) != 0)
        b = source(e, op, VGPU_B);
    if (strcmp(what, "min") == 0 || strcmp(what, "max") == 0) {
        jit_write_float(e, op->bits, extreme(e, what, a, b));
        return;
    }
    if (strcmp(what, "fma") == 0) {
        c = source(e, op, VGPU_C);
        r = jit_emit(e, "call %s @llvm.fma.v32f%u(%s %s, %s %s, %s %s)", type, op->bits, type, a.s,
                     type, b.s, type, c.s);
    } else if (strcmp(what, "rcp") == 0) {
        b = ones(e, op->bits);
        r = jit_emit(e, "fdiv %s %s, %s", type, b.s, a.s);
    } else if (strcmp(what, "rsqrt") == 0) {
        r = reciprocal_root(e, a);
    } else if (strcmp(what, "sqrt") == 0 || strcmp(what, "fabs") == 0) {
        r = function(e, op, a);
    } else if (strcmp(what, "fneg") == 0) {
        r = jit_emit(e, "fneg %s %s", type, a.s);
    } else {
        r = jit_emit(e, "%s %s %s, %s", what, type, a.s, b.s);
    }
    jit_write_float(e, op->bits, as_integers(e, op->bits, flush(e, op->bits, r)));
}

/* ---- tests ---- */

static bool is_same(const struct jit_value *v)
{
    return v->form.kind == JIT_LINE && jit_form_is_uniform(&v->form);
}

static struct jit_text test_integers(struct jit_emitter *e, const struct jit_op *op)
{
    struct jit_value a = jit_read(e, VGPU_A), b = jit_read(e, VGPU_B);
    struct jit_text x, y;

    if (is_same(&a) && is_same(&b)) {
        x = jit_segment(e, &a, 0);
        y = jit_segment(e, &b, 0);
        x = jit_emit(e, "icmp %s %s %s, %s", op->what, jit_type(op->from, false), x.s, y.s);
        return jit_emit(e, "sext i1 %s to i32", x.s);
    }
    x = jit_expand(e, &a);
    y = jit_expand(e, &b);
    return jit_mask_of(
        e, jit_emit(e, "icmp %s %s %s, %s", op->what, jit_type(op->from, true), x.s, y.s));
}

static struct jit_text test_floats(struct jit_emitter *e, const struct jit_op *op)
{
    struct jit_text a = source(e, op, VGPU_A), b = source(e, op, VGPU_B);

    return jit_mask_of(
        e, jit_emit(e, "fcmp %s %s %s, %s", op->what, jit_float_type(op->from), a.s, b.s));
}

void jit_emit_test(struct jit_emitter *e, const struct jit_op *op)
{
    static const char *const combine[] = {"", "and", "or", "xor"};
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    struct jit_text test = op->rule == JIT_RULE_TEST ? test_integers(e, op) : test_floats(e, op);
    struct jit_text other = jit_emit(e, "xor i32 %s, -1", test.s), c;

    if (inst->x != 0) {
        c = jit_read_mask(e, inst->row[VGPU_C]);
        if (inst->z)
            c = jit_emit(e, "xor i32 %s, -1", c.s);
        test = jit_emit(e, "%s i32 %s, %s", combine[inst->x & 3], test.s, c.s);
        other = jit_emit(e, "%s i32 %s, %s", combine[inst->x & 3], other.s, c.s);
    }
    jit_write_mask(e, inst->row[VGPU_D], test);
    if (inst->row[VGPU_E] != 0)
        jit_write_mask(e, inst->row[VGPU_E], other);
}
