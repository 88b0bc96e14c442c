/* SPDX-License-Identifier: MIT */
#include "soft/jit/plan.h"

#include <stdlib.h>
#include <string.h>

/* Time to compile grows faster than code does. */
#define MOST_INSTRUCTIONS 3000u
#define MOST_REGISTERS    4000u

/* ---- instructions ---- */

static bool has_all_members(const struct jit_plan *plan, const struct vgpu_inst *inst)
{
    const struct vgpu_constant *c = jit_plan_constant(plan, inst->row[VGPU_F]);

    return c != NULL && c->variable < 0 && (uint32_t)c->value == VGPU_ALL_LANES;
}

bool jit_plan_leaves(const struct jit_plan *plan, uint32_t pc)
{
    const struct vgpu_inst *inst = &plan->unit->code[pc];

    switch (inst->control) {
    case VGPU_CONTROL_NONE:
        return plan->unit->operands[pc].list != 0;
    case VGPU_CONTROL_BRANCH:
    case VGPU_CONTROL_EXIT:
        return false;
    case VGPU_CONTROL_BARRIER:
        return inst->guard != 0 || inst->x != VGPU_BARRIER_SYNC || (inst->row[VGPU_A] & 1) == 0 ||
               (inst->row[VGPU_B] & 1) != 0 || inst->row[VGPU_B] != 0;
    case VGPU_CONTROL_WARP_SYNC:
        return inst->guard != 0 || !has_all_members(plan, inst);
    case VGPU_CONTROL_COLLECTIVE:
        return inst->guard != 0 || plan->unit->operands[pc].list != 0 ||
               !has_all_members(plan, inst);
    default:
        return true;
    }
}

static bool is_plain_access(const struct vgpu_inst *inst, const struct jit_op *op)
{
    return inst->y * op->from <= 128 && (inst->z & VGPU_ORDERED) == 0 &&
           inst->x <= VGPU_SPACE_SHARED;
}

uint32_t jit_plan_bytes(const struct jit_plan *plan, uint32_t pc, const struct jit_op *op)
{
    return plan->unit->code[pc].y * op->from / 8u;
}

/* Subnormals may be flushed by what the interpreter does with them in the same way for all. */
static bool is_plain_arithmetic(const struct vgpu_inst *inst, const struct jit_op *op)
{
    return inst->y == 0 ||
           (inst->y == VGPU_FTZ && strcmp(op->what, "itof") != 0 && strcmp(op->what, "ftoi") != 0);
}

const struct jit_op *jit_plan_op(const struct jit_plan *plan, uint32_t pc)
{
    const struct vgpu_inst *inst = &plan->unit->code[pc];
    const struct jit_op *op = jit_op_of(inst->plain);

    if (op == NULL || plan->unit->operands[pc].list != 0)
        return NULL;
    switch (op->rule) {
    case JIT_RULE_LOAD:
    case JIT_RULE_STORE:
        return is_plain_access(inst, op) && inst->guard == 0 &&
                       (inst->x == VGPU_SPACE_SHARED ||
                        plan->unit->operands[pc].width[VGPU_A] == VGPU_ROW_64)
                   ? op
                   : NULL;
    case JIT_RULE_ATOM:
        return inst->x == VGPU_SPACE_SHARED && inst->guard == 0 ? op : NULL;
    case JIT_RULE_FLOAT:
        /* x says how a conversion to an integer rounds. */
        if (op->what[0] == 'f' && op->what[1] == 't')
            return inst->y == 0 && inst->x == VGPU_RZ ? op : NULL;
        return inst->x == VGPU_RN && is_plain_arithmetic(inst, op) ? op : NULL;
    case JIT_RULE_FLOAT_TEST:
        return inst->y == 0 || inst->y == VGPU_FTZ ? op : NULL;
    case JIT_RULE_SHUFFLE: {
        const struct vgpu_constant *b = jit_plan_constant(plan, inst->row[VGPU_B]);
        const struct vgpu_constant *c = jit_plan_constant(plan, inst->row[VGPU_C]);

        return b != NULL && c != NULL && inst->x <= 2 ? op : NULL;
    }
    default:
        return op;
    }
}

/* ---- registers ---- */

struct jit_register *jit_plan_register(const struct jit_plan *plan, uint32_t row)
{
    uint32_t index = (row & 1) != 0 ? 0 : plan->register_of[row / 2];

    return index == 0 ? NULL : &plan->registers[index - 1];
}

const struct vgpu_constant *jit_plan_constant(const struct jit_plan *plan, uint32_t row)
{
    return (row & 1) != 0 ? plan->constant_of[row / 2] : NULL;
}

static bool add_register(struct jit_plan *plan, uint32_t row, uint8_t width)
{
    struct jit_register *r;

    if ((row & 1) != 0 || width >= VGPU_ROW_CLASSES || plan->register_of[row / 2] != 0)
        return true;
    if (plan->register_count == MOST_REGISTERS)
        return false;
    r = &plan->registers[plan->register_count++];
    *r = (struct jit_register){.row = row, .width = width, .constant = true};
    plan->register_of[row / 2] = plan->register_count;
    return true;
}

static bool add_registers(struct jit_plan *plan, uint32_t first, uint32_t count, bool in_blocks)
{
    for (uint32_t pc = first; pc < first + count; pc++) {
        const struct vgpu_inst *inst = &plan->unit->code[pc];
        const struct vgpu_operands *operands = &plan->unit->operands[pc];

        for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
            if ((operands->rows >> o & 1) == 0)
                continue;
            if (!add_register(plan, inst->row[o], operands->width[o]))
                return false;
            if (in_blocks && (operands->defs >> o & 1) != 0 &&
                jit_plan_register(plan, inst->row[o]) != NULL)
                jit_plan_register(plan, inst->row[o])->constant = false;
        }
        if (inst->guard != 0 && !add_register(plan, inst->guard & ~1u, VGPU_ROW_PREDICATE))
            return false;
    }
    return true;
}

/* Rows of 128 bits have no place in compiled code: lists, and what uses them, leave it. */
static bool find_registers(struct jit_plan *plan)
{
    const struct vgpu_unit *unit = plan->unit;
    uint32_t next[VGPU_ROW_CLASSES] = {0};

    plan->register_of = calloc(plan->f->frame_bytes / 2 + 1, sizeof(*plan->register_of));
    plan->constant_of =
        calloc(vgpu_rows_end(unit->constant_rows, 0) / 2 + 1, sizeof(struct vgpu_constant *));
    plan->registers = calloc(MOST_REGISTERS, sizeof(*plan->registers));
    if (plan->register_of == NULL || plan->constant_of == NULL || plan->registers == NULL)
        return false;
    for (uint32_t i = 0; i < unit->constant_count; i++) {
        const struct vgpu_constant *c = &unit->constants[i];

        plan->constant_of[vgpu_row_offset(unit->constant_rows, c->width, next[c->width]++, 0) / 2] =
            c;
    }
    if (!add_registers(plan, unit->prologue_start, unit->prologue_count, false) ||
        !add_registers(plan, plan->f->start, plan->f->count, true))
        return false;
    for (uint32_t pc = plan->f->start; pc < plan->f->start + plan->f->count; pc++) {
        for (uint32_t n = 0; n < unit->operands[pc].list; n++) {
            uint32_t row = unit->lists[unit->code[pc].row[VGPU_LIST] + n];

            if (jit_plan_register(plan, row) != NULL)
                jit_plan_register(plan, row)->constant = false;
        }
    }
    plan->words = plan->register_count / 64 + 1;
    return true;
}

/* ---- blocks ---- */

static bool ends_block(const struct jit_plan *plan, uint32_t pc)
{
    const struct vgpu_inst *inst = &plan->unit->code[pc];

    return inst->control == VGPU_CONTROL_BRANCH || inst->control == VGPU_CONTROL_EXIT ||
           inst->control == VGPU_CONTROL_BARRIER || jit_plan_leaves(plan, pc);
}

static void mark_leaders(const struct jit_plan *plan, uint8_t *leader)
{
    uint32_t start = plan->f->start, count = plan->f->count;

    leader[0] = 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct vgpu_inst *inst = &plan->unit->code[start + i];

        if (inst->control == VGPU_CONTROL_BRANCH)
            leader[(uint32_t)inst->imm - start] = 1;
        if (ends_block(plan, start + i) && i + 1 < count)
            leader[i + 1] = 1;
    }
    for (uint32_t i = 0; i < plan->unit->target_count; i++) {
        if (plan->unit->targets[i] - start < count)
            leader[plan->unit->targets[i] - start] = 1;
    }
}

static void connect(struct jit_plan *plan)
{
    uint32_t start = plan->f->start;

    for (uint32_t n = 0; n < plan->block_count; n++) {
        struct jit_block *b = &plan->blocks[n];
        const struct vgpu_inst *last = &plan->unit->code[b->end - 1];

        b->next[0] = n + 1 < plan->block_count ? n + 1 : UINT32_MAX;
        b->next[1] = UINT32_MAX;
        if (last->control == VGPU_CONTROL_BRANCH) {
            uint32_t to = plan->block_of[(uint32_t)last->imm - start];

            b->next[last->guard != 0 ? 1 : 0] = to;
            for (uint32_t k = to; to <= n && k <= n; k++)
                plan->blocks[k].in_loop = true;
            if (to <= n)
                plan->blocks[to].is_loop_head = true;
        } else if (last->control == VGPU_CONTROL_EXIT && last->guard == 0) {
            b->next[0] = UINT32_MAX;
        }
    }
}

/*
 * The interpreter comes to loops, to what is behind an instruction that is its own, and to where
 * lanes have met again, unless that is in the middle of a loop, which is better without.
 */
static void choose_entries(struct jit_plan *plan)
{
    for (uint32_t n = 0; n < plan->block_count; n++) {
        struct jit_block *b = &plan->blocks[n];
        bool behind = n > 0 && plan->unit->code[b->first - 1].control == VGPU_CONTROL_BARRIER;

        if (n > 0 && jit_plan_leaves(plan, b->first - 1))
            behind = true;
        if (n == 0 || behind || b->is_loop_head || !b->in_loop)
            b->entry = ++plan->entry_count;
    }
}

static bool find_blocks(struct jit_plan *plan)
{
    uint32_t count = plan->f->count, start = plan->f->start;
    uint8_t *leader = calloc(count + 1, 1);

    plan->block_of = calloc(count + 1, sizeof(*plan->block_of));
    if (leader == NULL || plan->block_of == NULL) {
        free(leader);
        return false;
    }
    mark_leaders(plan, leader);
    for (uint32_t i = 0; i < count; i++) {
        plan->block_count += leader[i];
        plan->block_of[i] = plan->block_count - 1;
    }
    plan->blocks = calloc(plan->block_count + 1, sizeof(*plan->blocks));
    for (uint32_t i = 0; i < count && plan->blocks != NULL; i++) {
        struct jit_block *b = &plan->blocks[plan->block_of[i]];

        if (leader[i])
            b->first = start + i;
        b->end = start + i + 1;
    }
    free(leader);
    if (plan->blocks == NULL)
        return false;
    connect(plan);
    choose_entries(plan);
    return true;
}

/* ---- liveness ---- */

static void set_bit(uint64_t *set, uint32_t n)
{
    set[n / 64] |= UINT64_C(1) << n % 64;
}

static void drop_bit(uint64_t *set, uint32_t n)
{
    set[n / 64] &= ~(UINT64_C(1) << n % 64);
}

/* Number of an operand's register, plus 1; 0 if it is none. */
static uint32_t register_at(const struct jit_plan *plan, const struct vgpu_inst *inst,
                            const struct vgpu_operands *operands, uint32_t o)
{
    return (operands->rows >> o & 1) != 0 && (inst->row[o] & 1) == 0
               ? plan->register_of[inst->row[o] / 2]
               : 0;
}

/* From behind an instruction to in front of it. */
static void step_back(const struct jit_plan *plan, uint32_t pc, uint64_t *set)
{
    const struct vgpu_inst *inst = &plan->unit->code[pc];
    const struct vgpu_operands *operands = &plan->unit->operands[pc];
    bool whole = inst->guard == 0, compiled = jit_plan_op(plan, pc) != NULL;

    /* Handlers of their own may leave a part of a predicate as it was; an atomic leaves a result as
       it was that nobody reads. */
    for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
        uint32_t index = register_at(plan, inst, operands, o);

        if (index != 0 && whole && (operands->defs >> o & 1) != 0 &&
            (compiled || operands->width[o] != VGPU_ROW_PREDICATE))
            drop_bit(set, index - 1);
    }
    for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
        uint32_t index = register_at(plan, inst, operands, o);
        bool read = (operands->defs >> o & 1) == 0 || !whole ||
                    (!compiled && operands->width[o] == VGPU_ROW_PREDICATE);

        if (index != 0 && read)
            set_bit(set, index - 1);
    }
    for (uint32_t n = 0; n < operands->list; n++) {
        uint32_t row = plan->unit->lists[inst->row[VGPU_LIST] + n];

        if ((row & 1) == 0 && plan->register_of[row / 2] != 0)
            set_bit(set, plan->register_of[row / 2] - 1);
    }
    if (inst->guard != 0)
        set_bit(set, plan->register_of[(inst->guard & ~1u) / 2] - 1);
}

static void behind_block(const struct jit_plan *plan, const struct jit_block *b, uint64_t *set)
{
    memset(set, 0, plan->words * sizeof(*set));
    for (unsigned k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < plan->words && b->next[k] != UINT32_MAX; i++)
            set[i] |= plan->blocks[b->next[k]].live[i];
    }
    /* Whatever the interpreter does next may lead to any of a table's targets. */
    if (plan->unit->code[b->end - 1].control == VGPU_CONTROL_BRANCH_TABLE) {
        for (uint32_t t = 0; t < plan->unit->target_count; t++) {
            uint32_t at = plan->unit->targets[t] - plan->f->start;

            for (uint32_t i = 0; i < plan->words && at < plan->f->count; i++)
                set[i] |= plan->blocks[plan->block_of[at]].live[i];
        }
    }
}

void jit_plan_live(const struct jit_plan *plan, uint32_t pc, uint64_t *set)
{
    const struct jit_block *b = &plan->blocks[plan->block_of[pc - plan->f->start]];

    behind_block(plan, b, set);
    for (uint32_t i = b->end; i > pc; i--)
        step_back(plan, i - 1, set);
}

static bool find_live(struct jit_plan *plan)
{
    uint64_t *set = calloc(plan->words, sizeof(*set));
    bool changed = true;

    for (uint32_t n = 0; n < plan->block_count && set != NULL; n++) {
        plan->blocks[n].live = calloc(plan->words, sizeof(*set));
        if (plan->blocks[n].live == NULL) {
            free(set);
            return false;
        }
    }
    while (changed && set != NULL) {
        changed = false;
        for (uint32_t n = plan->block_count; n > 0; n--) {
            struct jit_block *b = &plan->blocks[n - 1];

            jit_plan_live(plan, b->first, set);
            if (memcmp(set, b->live, plan->words * sizeof(*set)) != 0) {
                memcpy(b->live, set, plan->words * sizeof(*set));
                changed = true;
            }
        }
    }
    free(set);
    return set != NULL;
}

/* ---- the state ---- */

static void place_state(struct jit_plan *plan)
{
    static const uint32_t lanes[VGPU_ROW_CLASSES] = {8, 64, 128, 256, 512};
    uint32_t at = 0;

    /* Lanes first: they are aligned to cache lines. */
    for (uint32_t i = 0; i < plan->register_count; i++) {
        struct jit_register *r = &plan->registers[i];

        if (r->width == VGPU_ROW_PREDICATE || r->form.kind == JIT_LINE)
            continue;
        r->slot = at;
        at += lanes[r->width];
    }
    for (uint32_t i = 0; i < plan->register_count; i++) {
        struct jit_register *r = &plan->registers[i];

        if (r->width != VGPU_ROW_PREDICATE && r->form.kind != JIT_LINE)
            continue;
        r->slot = at;
        at += jit_form_is_uniform(&r->form) || r->width == VGPU_ROW_PREDICATE ? 8 : 32;
    }
    plan->scratch = (at + 63) & ~63u;
    plan->fetch_slots = at = plan->scratch + 3 * 256;
    plan->state_bytes = (at + 8 * plan->f->count + 63) & ~63u;
}

struct jit_plan *jit_plan_create(const struct vgpu_unit *unit, const uint32_t shape[3])
{
    const struct vgpu_function *f = &unit->functions[unit->kernel];
    struct jit_plan *plan;

    if (!f->defined || f->count == 0 || f->count > MOST_INSTRUCTIONS || f->rows[VGPU_ROW_128] != 0)
        return NULL;
    plan = calloc(1, sizeof(*plan));
    if (plan == NULL)
        return NULL;
    plan->unit = unit;
    plan->f = f;
    memcpy(plan->shape, shape, sizeof(plan->shape));
    if (!find_registers(plan) || !find_blocks(plan) || !find_live(plan)) {
        jit_plan_destroy(plan);
        return NULL;
    }
    jit_plan_forms(plan);
    place_state(plan);
    return plan;
}

void jit_plan_destroy(struct jit_plan *plan)
{
    if (plan == NULL)
        return;
    for (uint32_t n = 0; n < plan->block_count && plan->blocks != NULL; n++)
        free(plan->blocks[n].live);
    free(plan->blocks);
    free(plan->block_of);
    free(plan->registers);
    free(plan->register_of);
    free(plan->constant_of);
    free(plan);
}
