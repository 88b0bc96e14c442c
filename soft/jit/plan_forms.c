/* SPDX-License-Identifier: MIT */
/* The forms of registers: each has one, that of all the ways in which it is written together. */
#include <string.h>

#include "soft/jit/plan.h"

/* ---- threads ---- */

static void thread_pattern(const struct jit_plan *plan, uint32_t warp, unsigned axis,
                           int64_t pattern[VGPU_LANES])
{
    for (uint32_t l = 0; l < VGPU_LANES; l++) {
        uint32_t at = warp * VGPU_LANES + l;

        pattern[l] = axis == 0   ? at % plan->shape[0]
                     : axis == 1 ? at / plan->shape[0] % plan->shape[1]
                                 : at / plan->shape[0] / plan->shape[1];
    }
}

/* Thread numbers are lines if they are the same for all warps, but for where they start. */
static void find_thread_form(struct jit_plan *plan, unsigned axis)
{
    uint32_t warps = plan->shape[0] * plan->shape[1] * plan->shape[2] / VGPU_LANES;
    int64_t first[VGPU_LANES] = {0}, start = 0;
    unsigned zeros = 63;

    plan->tid[axis] = jit_form_lanes();
    plan->tid_symbol[axis] = INT64_MIN;
    for (uint32_t n = 0; n < warps; n++) {
        int64_t pattern[VGPU_LANES], base;

        thread_pattern(plan, n, axis, pattern);
        base = pattern[0];
        for (unsigned l = 0; l < VGPU_LANES; l++)
            pattern[l] -= base;
        if (n == 0) {
            memcpy(first, pattern, sizeof(first));
            start = plan->tid_symbol[axis] = base;
        }
        if (memcmp(first, pattern, sizeof(first)) != 0)
            return;
        if (base != start)
            plan->tid_symbol[axis] = INT64_MIN;
        if (base != 0 && (unsigned)__builtin_ctzll((uint64_t)base) < zeros)
            zeros = (unsigned)__builtin_ctzll((uint64_t)base);
    }
    plan->tid[axis] = jit_form_of_pattern(first, zeros);
}

/* ---- sources ---- */

static struct jit_form constant_form(const struct vgpu_constant *c)
{
    if (c->width != VGPU_ROW_32 && c->width != VGPU_ROW_64)
        return jit_form_lanes();
    return jit_form_uniform(c->variable >= 0 ? 0
                            : c->value == 0  ? 63
                                             : (unsigned)__builtin_ctzll(c->value));
}

struct jit_form jit_source_form(const struct jit_plan *plan, uint32_t pc, enum vgpu_operand o)
{
    uint32_t row = plan->unit->code[pc].row[o];
    const struct vgpu_constant *c;
    const struct jit_register *r;

    if ((plan->unit->operands[pc].rows >> o & 1) == 0)
        return jit_form_lanes();
    c = jit_plan_constant(plan, row);
    r = jit_plan_register(plan, row);
    return c != NULL ? constant_form(c) : r != NULL ? r->form : jit_form_lanes();
}

/* The value of a source that is a number in the text. */
static bool is_number(const struct jit_plan *plan, uint32_t pc, enum vgpu_operand o,
                      uint64_t *value)
{
    const struct vgpu_constant *c = (plan->unit->operands[pc].rows >> o & 1) != 0
                                        ? jit_plan_constant(plan, plan->unit->code[pc].row[o])
                                        : NULL;

    *value = c != NULL ? c->value : 0;
    return c != NULL && c->variable < 0;
}

/* ---- results ---- */

static struct jit_form flat_of(const struct jit_form *a, const struct jit_form *b,
                               const struct jit_form *c)
{
    const struct jit_form *sources[3] = {a, b, c};

    return jit_form_flat(sources, c != NULL ? 3 : b != NULL ? 2 : 1);
}

static struct jit_form product(const struct jit_plan *plan, uint32_t pc, unsigned bits,
                               bool is_signed)
{
    struct jit_form a = jit_source_form(plan, pc, VGPU_A), b = jit_source_form(plan, pc, VGPU_B);
    uint64_t value;

    /* Factors of 32 bits in a product of 64 are extended before. */
    if (is_number(plan, pc, VGPU_B, &value))
        return jit_form_scale(&a, is_signed ? (uint64_t)(int64_t)(int32_t)value : value, bits);
    if (is_number(plan, pc, VGPU_A, &value))
        return jit_form_scale(&b, is_signed ? (uint64_t)(int64_t)(int32_t)value : value, bits);
    return flat_of(&a, &b, NULL);
}

static struct jit_form shift_form(const struct jit_plan *plan, uint32_t pc, const struct jit_op *op)
{
    struct jit_form a = jit_source_form(plan, pc, VGPU_A), b = jit_source_form(plan, pc, VGPU_B);
    struct jit_form r = flat_of(&a, &b, NULL);
    uint64_t count;

    if (!is_number(plan, pc, VGPU_B, &count) || count >= op->bits)
        return r;
    if (op->rule == JIT_RULE_SHL)
        return jit_form_scale(&a, UINT64_C(1) << count, op->bits);
    return r.kind == JIT_LINE ? r : jit_form_shift_right(&a, (unsigned)count);
}

static struct jit_form and_form(const struct jit_plan *plan, uint32_t pc)
{
    struct jit_form a = jit_source_form(plan, pc, VGPU_A), b = jit_source_form(plan, pc, VGPU_B);
    struct jit_form r = flat_of(&a, &b, NULL);
    uint64_t mask;

    if (r.kind == JIT_LINE || !is_number(plan, pc, VGPU_B, &mask) || mask == 0 ||
        (mask & (mask + 1)) != 0)
        return r;
    return jit_form_low_bits(&a, (unsigned)__builtin_popcountll(mask));
}

static struct jit_form special_form(const struct jit_plan *plan, uint32_t pc,
                                    const struct jit_op *op)
{
    static const int64_t numbers[VGPU_LANES] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                                11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                                22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    unsigned axis = plan->unit->code[pc].x;
    struct jit_form f;

    if (strcmp(op->what, "tid") == 0)
        return plan->tid[axis];
    if (strcmp(op->what, "laneid") == 0)
        return jit_form_of_pattern(numbers, 63);
    if (strcmp(op->what, "number") != 0)
        return jit_form_uniform(0);
    f = plan->tid[axis];
    if (f.kind == JIT_LINE && f.zeros > (unsigned)__builtin_ctz(plan->shape[axis]))
        f.zeros = (uint8_t)__builtin_ctz(plan->shape[axis]);
    return f;
}

bool jit_form_reaches(const struct jit_form *address, uint32_t bytes)
{
    int64_t range[2];

    if (address->kind != JIT_LINE)
        return false;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (((uint64_t)jit_form_delta(address, l) & (bytes - 1)) != 0)
            return false;
    }
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (address->group[k] != k)
            continue;
        jit_form_range(address, k, range);
        if (range[1] - range[0] > 2048)
            return false;
    }
    return true;
}

static struct jit_form load_form(const struct jit_plan *plan, uint32_t pc, const struct jit_op *op)
{
    struct jit_form a = jit_source_form(plan, pc, VGPU_A);

    if (op->bits == 16 || !jit_form_reaches(&a, jit_plan_bytes(plan, pc, op)))
        return jit_form_lanes();
    return flat_of(&a, NULL, NULL);
}

struct jit_form jit_result_form(const struct jit_plan *plan, uint32_t pc, const struct jit_op *op)
{
    struct jit_form a = jit_source_form(plan, pc, VGPU_A), b, c;

    if (plan->unit->code[pc].guard != 0 || op->bits == 16)
        return jit_form_lanes();
    b = jit_source_form(plan, pc, VGPU_B);
    c = jit_source_form(plan, pc, VGPU_C);
    switch (op->rule) {
    case JIT_RULE_MOVE:
    case JIT_RULE_EXTEND:
    case JIT_RULE_CUT:
        return a;
    case JIT_RULE_ADD:
    case JIT_RULE_SUB:
        return jit_form_add(&a, &b, op->rule == JIT_RULE_SUB);
    case JIT_RULE_MUL:
        return product(plan, pc, op->bits, false);
    case JIT_RULE_MUL_WIDE:
        return product(plan, pc, op->bits, op->is_signed);
    case JIT_RULE_MAD:
    case JIT_RULE_MAD_WIDE:
        a = product(plan, pc, op->bits, op->rule == JIT_RULE_MAD_WIDE && op->is_signed);
        return jit_form_add(&a, &c, false);
    case JIT_RULE_SHL:
    case JIT_RULE_SHR:
        return shift_form(plan, pc, op);
    case JIT_RULE_AND:
        return and_form(plan, pc);
    case JIT_RULE_FLAT:
        if ((plan->unit->operands[pc].rows >> VGPU_B & 1) == 0)
            return flat_of(&a, NULL, NULL);
        return flat_of(&a, &b, NULL);
    case JIT_RULE_CONVERT:
        return op->from == 16 ? jit_form_lanes() : flat_of(&a, NULL, NULL);
    case JIT_RULE_PARAMETER:
        return jit_form_uniform(0);
    case JIT_RULE_SPECIAL:
        return special_form(plan, pc, op);
    case JIT_RULE_LOAD:
        return load_form(plan, pc, op);
    default:
        return jit_form_lanes();
    }
}

/* ---- all of them ---- */

static bool is_known(const struct jit_plan *plan, uint32_t pc)
{
    const struct vgpu_operands *operands = &plan->unit->operands[pc];

    for (unsigned o = 0; o < VGPU_OPERANDS; o++) {
        const struct jit_register *r;

        if (((operands->rows & ~operands->defs) >> o & 1) == 0 ||
            (operands->width[o] != VGPU_ROW_32 && operands->width[o] != VGPU_ROW_64))
            continue;
        r = jit_plan_register(plan, plan->unit->code[pc].row[o]);
        if (r != NULL && r->form.kind == JIT_UNKNOWN)
            return false;
    }
    return true;
}

static bool join_into(struct jit_register *r, const struct jit_form *f)
{
    struct jit_form now;

    if (r == NULL || r->width == VGPU_ROW_PREDICATE)
        return false;
    now = r->width == VGPU_ROW_16 ? jit_form_lanes() : jit_form_join(&r->form, f);
    if (jit_form_same(&now, &r->form))
        return false;
    r->form = now;
    return true;
}

static bool visit(struct jit_plan *plan, uint32_t pc)
{
    const struct vgpu_inst *inst = &plan->unit->code[pc];
    const struct vgpu_operands *operands = &plan->unit->operands[pc];
    const struct jit_op *op = jit_plan_op(plan, pc);
    struct jit_form lanes = jit_form_lanes(), f;
    bool changed = false;

    for (uint32_t n = 0; n < operands->list; n++)
        changed |=
            join_into(jit_plan_register(plan, plan->unit->lists[inst->row[VGPU_LIST] + n]), &lanes);
    for (unsigned o = 0; o < VGPU_OPERANDS; o++) {
        if ((operands->defs >> o & 1) == 0)
            continue;
        if (op == NULL || (o != VGPU_D && op->rule != JIT_RULE_LOAD)) {
            changed |= join_into(jit_plan_register(plan, inst->row[o]), &lanes);
        } else if (is_known(plan, pc)) {
            f = jit_result_form(plan, pc, op);
            changed |= join_into(jit_plan_register(plan, inst->row[o]), &f);
        }
    }
    return changed;
}

static bool visit_all(struct jit_plan *plan)
{
    bool changed = false;

    for (uint32_t i = 0; i < plan->unit->prologue_count; i++)
        changed |= visit(plan, plan->unit->prologue_start + i);
    for (uint32_t i = 0; i < plan->f->count; i++)
        changed |= visit(plan, plan->f->start + i);
    return changed;
}

/* ---- raw registers ---- */

static bool makes_raw(const struct jit_plan *plan, uint32_t pc, const struct jit_op *op)
{
    const struct vgpu_constant *c;

    if (op == NULL || op->bits != 32)
        return false;
    if (op->rule == JIT_RULE_FLOAT)
        return strcmp(op->what, "itof") != 0 && strcmp(op->what, "ftoi") != 0;
    c = op->rule == JIT_RULE_MOVE ? jit_plan_constant(plan, plan->unit->code[pc].row[VGPU_A])
                                  : NULL;
    return c != NULL && c->variable < 0 && (c->value & 0x7fffffffu) <= 0x7f800000u;
}

static void find_raw(struct jit_plan *plan)
{
    for (uint32_t i = 0; i < plan->register_count; i++) {
        struct jit_register *r = &plan->registers[i];

        r->raw = r->width == VGPU_ROW_32 && r->form.kind == JIT_LANES && !r->constant;
    }
    for (uint32_t pc = plan->f->start; pc < plan->f->start + plan->f->count; pc++) {
        const struct vgpu_inst *inst = &plan->unit->code[pc];
        const struct vgpu_operands *operands = &plan->unit->operands[pc];

        for (unsigned o = 0; o < VGPU_OPERANDS; o++) {
            struct jit_register *r =
                (operands->defs >> o & 1) != 0 ? jit_plan_register(plan, inst->row[o]) : NULL;

            if (r != NULL && (o != VGPU_D || !makes_raw(plan, pc, jit_plan_op(plan, pc))))
                r->raw = false;
        }
        for (uint32_t n = 0; n < operands->list; n++) {
            struct jit_register *r =
                jit_plan_register(plan, plan->unit->lists[inst->row[VGPU_LIST] + n]);

            if (r != NULL)
                r->raw = false;
        }
    }
}

void jit_plan_forms(struct jit_plan *plan)
{
    for (unsigned axis = 0; axis < 3; axis++)
        find_thread_form(plan, axis);
    while (visit_all(plan))
        ;
    /* What is never written, and what only follows from that. */
    for (uint32_t i = 0; i < plan->register_count; i++) {
        struct jit_register *r = &plan->registers[i];

        if (r->form.kind == JIT_UNKNOWN)
            r->form = jit_form_lanes();
    }
    while (visit_all(plan))
        ;
    find_raw(plan);
}
