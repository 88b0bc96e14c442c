/* SPDX-License-Identifier: MIT */
/* Selection, predicates, parameters, special registers, shuffles, and calls of handlers. */
#include <stddef.h>
#include <string.h>

#include "soft/jit/emit.h"
#include "soft/simt/warp.h"

static void emit_select(struct jit_emitter *e, const struct jit_op *op)
{
    const char *type = jit_type(op->bits, true);
    struct jit_value a = jit_read(e, VGPU_A), b = jit_read(e, VGPU_B);
    struct jit_text x = jit_expand(e, &a), y = jit_expand(e, &b);
    struct jit_text c = jit_truths_of(e, jit_read_mask(e, e->plan->unit->code[e->pc].row[VGPU_C]));

    jit_write_lanes(e, VGPU_D, op->bits,
                    jit_emit(e, "select <32 x i1> %s, %s %s, %s %s", c.s, type, x.s, type, y.s));
}

static void emit_logic(struct jit_emitter *e, const struct jit_op *op)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    struct jit_text a = jit_read_mask(e, inst->row[VGPU_A]), b;

    if (strcmp(op->what, "mov") == 0) {
        if (inst->z)
            a = jit_emit(e, "xor i32 %s, -1", a.s);
    } else if (strcmp(op->what, "not") == 0) {
        a = jit_emit(e, "xor i32 %s, -1", a.s);
    } else {
        b = jit_read_mask(e, inst->row[VGPU_B]);
        a = jit_emit(e, "%s i32 %s, %s", op->what, a.s, b.s);
    }
    jit_write_mask(e, inst->row[VGPU_D], a);
}

static void write_uniform(struct jit_emitter *e, unsigned bits, struct jit_text value)
{
    struct jit_value v = {.form = jit_form_uniform(0), .bits = (uint8_t)bits, .symbol = {value}};

    jit_write(e, VGPU_D, &v);
}

static void emit_parameter(struct jit_emitter *e, const struct jit_op *op)
{
    struct jit_text launch =
        jit_load(e, "i64", (struct jit_text){"%block"}, offsetof(struct vgpu_block, launch), 8);
    struct jit_text at = jit_load(e, "i64", launch, offsetof(struct vgpu_launch, parameters), 8);
    struct jit_text v =
        jit_load(e, jit_type(op->from, false), at, e->plan->unit->code[e->pc].imm, 1);

    if (op->from < op->bits)
        v = jit_emit(e, "%s %s %s to %s", op->is_signed ? "sext" : "zext",
                     jit_type(op->from, false), v.s, jit_type(op->bits, false));
    write_uniform(e, op->bits, v);
}

static struct jit_text launch_word(struct jit_emitter *e, size_t offset)
{
    struct jit_text launch =
        jit_load(e, "i64", (struct jit_text){"%block"}, offsetof(struct vgpu_block, launch), 8);

    return jit_load(e, "i32", launch, (int64_t)offset, 4);
}

static struct jit_text block_word(struct jit_emitter *e, size_t offset)
{
    return jit_load(e, "i32", (struct jit_text){"%block"}, (int64_t)offset, 4);
}

/* The thread's number in its block. */
static struct jit_value thread(struct jit_emitter *e, unsigned axis)
{
    struct jit_value v = {.form = e->plan->tid[axis], .bits = 32};
    int64_t at =
        (int64_t)offsetof(struct vgpu_warp, tid) + (int64_t)(axis * VGPU_LANES * sizeof(uint32_t));

    if (v.form.kind != JIT_LINE)
        v.lanes = jit_load(e, "<32 x i32>", (struct jit_text){"%warp"}, at, 4);
    else if (e->plan->tid_symbol[axis] != INT64_MIN)
        v.symbol[0] = jit_number(e->plan->tid_symbol[axis]);
    else
        v.symbol[0] = jit_load(e, "i32", (struct jit_text){"%warp"}, at, 4);
    return v;
}

static struct jit_text start_of_block(struct jit_emitter *e, unsigned axis)
{
    struct jit_text id = block_word(e, offsetof(struct vgpu_block, id) + 4 * axis);

    return jit_emit(e, "mul i32 %s, %u", id.s, e->plan->shape[axis]);
}

static void emit_register(struct jit_emitter *e, const struct jit_op *op)
{
    unsigned axis = e->plan->unit->code[e->pc].x;
    struct jit_value v = {.bits = 32};

    if (strcmp(op->what, "ntid") == 0) {
        write_uniform(e, 32, jit_number(e->plan->shape[axis]));
    } else if (strcmp(op->what, "ctaid") == 0) {
        write_uniform(e, 32, block_word(e, offsetof(struct vgpu_block, id) + 4 * axis));
    } else if (strcmp(op->what, "nctaid") == 0) {
        write_uniform(e, 32, launch_word(e, offsetof(struct vgpu_launch, grid) + 4 * axis));
    } else if (strcmp(op->what, "dynamic_shared") == 0) {
        write_uniform(e, 32, jit_number(e->plan->f->dynamic_shared));
    } else if (strcmp(op->what, "laneid") == 0) {
        v.form = jit_result_form(e->plan, e->pc, op);
        v.symbol[0] = jit_number(0);
        if (v.form.kind != JIT_LINE) { /* behind a guard */
            v.form = jit_form_uniform(0);
            for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
                v.form.offset[k] = (int64_t)k * VGPU_SEGMENT_LANES;
            v.form.stride = 1;
        }
        jit_write(e, VGPU_D, &v);
    } else {
        v = thread(e, axis);
        if (strcmp(op->what, "number") == 0) {
            struct jit_text start = start_of_block(e, axis);

            if (v.form.kind == JIT_LINE)
                v.symbol[0] = jit_emit(e, "add i32 %s, %s", start.s, v.symbol[0].s);
            else
                v.lanes =
                    jit_emit(e, "add <32 x i32> %s, %s", jit_splat(e, 32, start).s, v.lanes.s);
        }
        jit_write(e, VGPU_D, &v);
    }
}

void jit_emit_special(struct jit_emitter *e, const struct jit_op *op)
{
    switch (op->rule) {
    case JIT_RULE_SELECT:
        emit_select(e, op);
        return;
    case JIT_RULE_LOGIC:
        emit_logic(e, op);
        return;
    case JIT_RULE_PARAMETER:
        emit_parameter(e, op);
        return;
    default:
        emit_register(e, op);
        return;
    }
}

/* ---- shuffles by constants ---- */

/* Where each lane reads from, and which of them read inside of their segment. */
static uint32_t sources(unsigned mode, uint32_t b, uint32_t c, unsigned source[VGPU_LANES])
{
    int32_t n = (int32_t)(b & 31), segment = (int32_t)(c >> 8 & 31);
    uint32_t inside = 0;

    for (int32_t lane = 0; lane < (int32_t)VGPU_LANES; lane++) {
        int32_t most = (lane & segment) | ((int32_t)(c & 31) & ~segment);
        int32_t from = mode == 0 ? lane - n : mode == 1 ? lane + n : lane ^ n;
        bool in = mode == 0 ? from >= most : from <= most;

        source[lane] = (unsigned)(in ? from & 31 : lane);
        inside |= (uint32_t)in << lane;
    }
    return inside;
}

void jit_emit_shuffle(struct jit_emitter *e)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    const struct vgpu_constant *b = jit_plan_constant(e->plan, inst->row[VGPU_B]);
    const struct vgpu_constant *c = jit_plan_constant(e->plan, inst->row[VGPU_C]);
    unsigned source[VGPU_LANES];
    uint32_t inside = sources(inst->x, (uint32_t)b->value, (uint32_t)c->value, source);
    struct jit_value a = jit_read(e, VGPU_A);
    struct jit_text from = jit_expand(e, &a), r;

    r = jit_choose_lanes(e, 32, VGPU_LANES, &from, NULL, source, VGPU_LANES);
    jit_write_lanes(e, VGPU_D, 32, r);
    if (inst->row[VGPU_E] != 0)
        jit_write_mask(e, inst->row[VGPU_E], jit_number((int32_t)inside));
}

/* ---- handlers ---- */

static unsigned bits_of(uint8_t width)
{
    return width == VGPU_ROW_16 ? 16 : width == VGPU_ROW_64 ? 64 : 32;
}

/* Rows of the frame for the handler to read, among them those that it may write in part. */
static void give_rows(struct jit_emitter *e)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    const struct vgpu_operands *operands = &e->plan->unit->operands[e->pc];
    struct jit_text frame = {"%frame"};

    for (unsigned o = 0; o < VGPU_OPERANDS; o++) {
        unsigned bits = bits_of(operands->width[o]);
        struct jit_value v;

        if ((operands->rows >> o & 1) == 0 || jit_plan_register(e->plan, inst->row[o]) == NULL)
            continue;
        if (operands->width[o] == VGPU_ROW_PREDICATE) {
            jit_store(e, "i32", jit_read_mask(e, inst->row[o]), frame, inst->row[o], 4);
            continue;
        }
        if ((operands->defs >> o & 1) != 0 && inst->guard == 0)
            continue;
        v = jit_read(e, (enum vgpu_operand)o);
        jit_store(e, jit_type(bits, true), jit_expand(e, &v), frame, inst->row[o], 64);
    }
}

static void take_rows(struct jit_emitter *e)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    const struct vgpu_operands *operands = &e->plan->unit->operands[e->pc];
    struct jit_text frame = {"%frame"};

    for (unsigned o = 0; o < VGPU_OPERANDS; o++) {
        unsigned bits = bits_of(operands->width[o]);

        if ((operands->rows >> o & 1) == 0 || jit_plan_register(e->plan, inst->row[o]) == NULL)
            continue;
        /* What the handler wrote is whole: the guard has been seen to. */
        if (operands->width[o] == VGPU_ROW_PREDICATE)
            jit_write_mask(e, inst->row[o], jit_load(e, "i32", frame, inst->row[o], 4));
        else if ((operands->defs >> o & 1) != 0)
            jit_write_lanes(e, (enum vgpu_operand)o, bits,
                            jit_load(e, jit_type(bits, true), frame, inst->row[o], 64));
    }
}

void jit_emit_handler(struct jit_emitter *e)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    struct jit_text mask = e->guard, f, result;
    uint32_t call = 0, behind = 0, good;

    if (inst->guard != 0) {
        call = jit_label(e);
        behind = jit_label(e);
        result = jit_emit(e, "icmp eq i32 %s, 0", mask.s);
        fprintf(e->out, "  br i1 %s, label %%l%u, label %%l%u\nl%u:\n", result.s, behind, call,
                call);
    }
    if (inst->guard != 0 && inst->bytes != 0 && e->counts) {
        result = jit_emit(e, "call i32 @llvm.ctpop.i32(i32 %s)", mask.s);
        result = jit_emit(e, "zext i32 %s to i64", result.s);
        jit_count(e, 0, jit_emit(e, "mul i64 %s, %u", result.s, inst->bytes));
    }
    give_rows(e);
    f = jit_number((int64_t)(uintptr_t)inst->plain);
    if (e->opaque)
        f = jit_emit(e, "inttoptr i64 %s to ptr", f.s);
    else
        f = jit_emit(e, "inttoptr i64 %s to i32 (i64, i64, i32)*", f.s);
    result = jit_emit(e, "call i32 %s(i64 %%warp, i64 %lld, i32 %s)", f.s,
                      (long long)(uintptr_t)inst, mask.s);
    result = jit_emit(e, "icmp sge i32 %s, 0", result.s);
    good = jit_label(e);
    fprintf(e->out, "  br i1 %s, label %%l%u, label %%x%u, !prof !0\nl%u:\n", result.s, good,
            jit_exit_at(e, e->pc, JIT_EXIT_FAULT), good);
    take_rows(e);
    if (inst->guard != 0)
        fprintf(e->out, "  br label %%l%u\nl%u:\n", behind, behind);
}
