/* SPDX-License-Identifier: MIT */
/*
 * What an interpreter gains most from: fewer instructions. In a kernel whose registers are counted,
 *  - results that nobody reads are not computed, and atomics whose old value nobody reads forget
 * it;
 *  - a product that is only added becomes one instruction with the addition;
 *  - what is the same for the whole launch is computed once for each frame, before the blocks run.
 * Only operations that make lines (soft/simt/shape.h) are moved or left out: they have no other
 * effect and no fault.
 */
#include "soft/ptx/parser.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "soft/simt/ops.h"

struct count {
    uint32_t defs, uses;
};

enum fate { FATE_STAYS, FATE_GOES, FATE_IS_PROLOGUE };

struct simplifier {
    struct ptx_parser *p;
    struct vgpu_unit *unit;
    uint32_t first, end; /* of the kernel's code */
    struct count *counts;
    uint32_t start[VGPU_ROW_CLASSES]; /* of each class in counts */
    uint8_t *fate;                    /* enum fate, by instruction of the unit */
    uint8_t *target;                  /* instructions that branches lead to */
    uint8_t *same;                    /* registers that are the same for the whole launch */
};

static bool is_register(uint32_t ref)
{
    return (ref & PTX_REF_CONSTANT) == 0 && PTX_REF_WIDTH(ref) < VGPU_ROW_CLASSES;
}

static uint32_t number_of(const struct simplifier *s, uint32_t ref)
{
    return s->start[PTX_REF_WIDTH(ref)] + PTX_REF_INDEX(ref);
}

static struct count *count_of(const struct simplifier *s, uint32_t ref)
{
    return is_register(ref) ? &s->counts[number_of(s, ref)] : NULL;
}

static bool is_source(const struct ptx_info *info, uint32_t operand)
{
    return ((info->rows & ~info->defs) >> operand & 1) != 0;
}

static void count_instruction(struct simplifier *s, uint32_t at, uint32_t change)
{
    const struct vgpu_inst *inst = &s->unit->code[at];
    const struct ptx_info *info = &s->p->info[at];
    struct count *c;

    for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
        if ((info->rows >> o & 1) == 0 || (c = count_of(s, inst->row[o])) == NULL)
            continue;
        if ((info->defs >> o & 1) != 0)
            c->defs += change;
        else
            c->uses += change;
    }
    for (uint32_t n = 0; n < info->list; n++) {
        c = count_of(s, s->unit->lists[inst->row[VGPU_LIST] + n]);
        if (c != NULL) {
            c->defs += 2 * change;
            c->uses += change;
        }
    }
    if (inst->guard != 0)
        count_of(s, inst->guard & ~PTX_REF_CONSTANT)->uses += change;
}

static void find_targets(struct simplifier *s)
{
    for (uint32_t i = s->first; i < s->end; i++) {
        const struct vgpu_inst *inst = &s->unit->code[i];

        if (inst->control == VGPU_CONTROL_BRANCH)
            s->target[inst->imm] = 1;
    }
    for (uint32_t i = 0; i < s->unit->target_count; i++)
        s->target[s->unit->targets[i]] = 1;
}

static void drop(struct simplifier *s, uint32_t at)
{
    s->fate[at] = FATE_GOES;
    count_instruction(s, at, UINT32_MAX); /* one less of each */
}

static void drop_unused(struct simplifier *s)
{
    for (uint32_t i = s->end; i > s->first; i--) {
        struct vgpu_inst *inst = &s->unit->code[i - 1];
        struct ptx_info *info = &s->p->info[i - 1];
        const struct count *c =
            (info->defs >> VGPU_D & 1) != 0 ? count_of(s, inst->row[VGPU_D]) : NULL;

        if (c == NULL || c->uses != 0)
            continue;
        if (info->line != NULL)
            drop(s, i - 1);
        else if (info->atomic)
            inst->y = 0;
    }
}

static bool defines(const struct vgpu_inst *inst, const struct ptx_info *info, uint32_t ref)
{
    for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
        if ((info->defs >> o & 1) != 0 && inst->row[o] == ref)
            return true;
    }
    return false;
}

/* ---- the number of a thread in the grid ---- */

/* Whether `ref` is a register that only one instruction writes: that one, which reads a special
   register along an axis. */
static bool reads_special(const struct simplifier *s, uint32_t ref, vgpu_handler special,
                          uint8_t *axis)
{
    const struct count *c = count_of(s, ref);

    for (uint32_t i = s->first; c != NULL && c->defs == 1 && i < s->end; i++) {
        const struct vgpu_inst *inst = &s->unit->code[i];

        if (s->fate[i] != FATE_STAYS || !defines(inst, &s->p->info[i], ref))
            continue;
        *axis = inst->x;
        return inst->plain == special && inst->guard == 0;
    }
    return false;
}

/* blockIdx * blockDim + threadIdx is what most kernels start with. */
static void join_numbers(struct simplifier *s)
{
    vgpu_handler mad = vgpu_ops_find("mad_lo_b32"), block = vgpu_ops_find("sreg_ctaid");
    vgpu_handler size = vgpu_ops_find("sreg_ntid"), thread = vgpu_ops_find("sreg_tid");

    for (uint32_t i = s->first; i < s->end; i++) {
        struct vgpu_inst *inst = &s->unit->code[i];
        uint8_t a = 0, b = 0, c = 0;

        if (inst->control != VGPU_CONTROL_NONE || inst->plain != mad || s->fate[i] != FATE_STAYS ||
            !reads_special(s, inst->row[VGPU_C], thread, &c) ||
            !((reads_special(s, inst->row[VGPU_A], block, &a) &&
               reads_special(s, inst->row[VGPU_B], size, &b)) ||
              (reads_special(s, inst->row[VGPU_A], size, &a) &&
               reads_special(s, inst->row[VGPU_B], block, &b))) ||
            a != b || b != c)
            continue;
        count_instruction(s, i, UINT32_MAX);
        inst->run = inst->plain = vgpu_ops_find("sreg_number");
        inst->x = c;
        s->p->info[i].line = vgpu_ops_find_for("line", "sreg_number");
        s->p->info[i].shaped = NULL;
        s->p->info[i].rows = s->p->info[i].defs;
        s->p->info[i].varies = true;
        count_instruction(s, i, 1);
    }
}

/* ---- a product and a sum ---- */

/* The instruction of this block that makes `ref`, if nothing has changed its sources since. */
static int64_t maker_of(const struct simplifier *s, uint32_t ref, uint32_t user, vgpu_handler plain)
{
    for (uint32_t i = user; i > s->first && s->target[i] == 0 && user - i < 16; i--) {
        const struct vgpu_inst *inst = &s->unit->code[i - 1];

        if (inst->control != VGPU_CONTROL_NONE)
            return -1;
        if (s->fate[i - 1] == FATE_STAYS && defines(inst, &s->p->info[i - 1], ref)) {
            if (inst->plain != plain || inst->guard != 0)
                return -1;
            for (uint32_t k = i; k < user; k++) {
                const struct vgpu_inst *between = &s->unit->code[k];

                if (s->p->info[k].list != 0 ||
                    defines(between, &s->p->info[k], inst->row[VGPU_A]) ||
                    defines(between, &s->p->info[k], inst->row[VGPU_B]))
                    return -1;
            }
            return i - 1;
        }
    }
    return -1;
}

static bool join(struct simplifier *s, uint32_t at, enum vgpu_operand term, const char *product,
                 const char *both)
{
    struct vgpu_inst *sum = &s->unit->code[at];
    struct ptx_info *info = &s->p->info[at];
    uint32_t ref = sum->row[term], other = sum->row[term == VGPU_A ? VGPU_B : VGPU_A];
    const struct count *c = count_of(s, ref);
    const struct vgpu_inst *maker;
    int64_t from;

    if (c == NULL || c->defs != 1 || c->uses != 1)
        return false;
    from = maker_of(s, ref, at, vgpu_ops_find(product));
    if (from < 0)
        return false;
    maker = &s->unit->code[from];
    sum->run = sum->plain = vgpu_ops_find(both);
    info->line = vgpu_ops_find_for("line", both);
    info->rows |= 1u << VGPU_C;
    sum->row[VGPU_C] = other;
    sum->row[VGPU_A] = maker->row[VGPU_A];
    sum->row[VGPU_B] = maker->row[VGPU_B];
    /* The sources have moved from one instruction to the other. */
    s->fate[from] = FATE_GOES;
    return true;
}

static void join_products(struct simplifier *s)
{
    vgpu_handler add = vgpu_ops_find("add_b64");

    for (uint32_t i = s->first; i < s->end; i++) {
        const struct vgpu_inst *inst = &s->unit->code[i];

        if (inst->control != VGPU_CONTROL_NONE || inst->plain != add || inst->guard != 0 ||
            s->fate[i] != FATE_STAYS)
            continue;
        (void)(join(s, i, VGPU_A, "mul_wide_s32", "mad_wide_s32") ||
               join(s, i, VGPU_B, "mul_wide_s32", "mad_wide_s32") ||
               join(s, i, VGPU_A, "mul_wide_u32", "mad_wide_u32") ||
               join(s, i, VGPU_B, "mul_wide_u32", "mad_wide_u32"));
    }
}

/* ---- moves ---- */

/* What a move alone reads is made in the place it is moved to: special registers are read this way.
 */
static void join_moves(struct simplifier *s)
{
    vgpu_handler moves[2] = {vgpu_ops_find("mov_b32"), vgpu_ops_find("mov_b64")};
    uint32_t before = UINT32_MAX; /* the instruction in front of this one */

    for (uint32_t i = s->first; i < s->end; i++) {
        struct vgpu_inst *inst = &s->unit->code[i], *maker;
        const struct count *c = count_of(s, inst->row[VGPU_A]);

        if (s->fate[i] != FATE_STAYS)
            continue;
        maker = before == UINT32_MAX || s->target[i] ? NULL : &s->unit->code[before];
        if (maker == NULL || inst->control != VGPU_CONTROL_NONE || inst->guard != 0 ||
            (inst->plain != moves[0] && inst->plain != moves[1]) || c == NULL || c->defs != 1 ||
            c->uses != 1 || maker->control != VGPU_CONTROL_NONE || maker->guard != 0 ||
            s->p->info[before].defs != 1u << VGPU_D || s->p->info[before].list != 0 ||
            maker->row[VGPU_D] != inst->row[VGPU_A]) {
            before = i;
            continue;
        }
        maker->row[VGPU_D] = inst->row[VGPU_D];
        s->fate[i] = FATE_GOES;
    }
}

/* ---- what does not change during a launch ---- */

static bool is_same(const struct simplifier *s, uint32_t at)
{
    const struct vgpu_inst *inst = &s->unit->code[at];
    const struct ptx_info *info = &s->p->info[at];
    const struct count *c;

    if (s->fate[at] != FATE_STAYS || info->line == NULL || info->varies || inst->guard != 0)
        return false;
    c = count_of(s, inst->row[VGPU_D]);
    if (c == NULL || c->defs != 1)
        return false;
    for (uint32_t o = 0; o < VGPU_OPERANDS; o++) {
        if (is_source(info, o) && (inst->row[o] & PTX_REF_CONSTANT) == 0 &&
            (!is_register(inst->row[o]) || s->same[number_of(s, inst->row[o])] == 0))
            return false;
    }
    return true;
}

/* In the order of the text: what uses a result before it is made there, uses what is not defined.
 */
static void find_prologue(struct simplifier *s)
{
    for (uint32_t i = s->first; i < s->end; i++) {
        if (!is_same(s, i))
            continue;
        s->fate[i] = FATE_IS_PROLOGUE;
        s->same[number_of(s, s->unit->code[i].row[VGPU_D])] = 1;
    }
}

/* A result that is made in one place and read in one. */
static bool is_once(const struct simplifier *s, uint32_t at)
{
    const struct count *c = (s->p->info[at].defs >> VGPU_D & 1) != 0
                                ? count_of(s, s->unit->code[at].row[VGPU_D])
                                : NULL;

    return at >= s->first && at < s->end && c != NULL && c->defs == 1 && c->uses == 1;
}

/* ---- the code without what has gone ---- */

/* Moves the prologue to the end of the unit's code, and everything else together. */
static bool compact(struct simplifier *s)
{
    struct vgpu_unit *unit = s->unit;
    uint32_t *moved = calloc(unit->code_count + 1, sizeof(*moved)), kept = 0, n = 0;
    struct vgpu_inst *code = calloc(unit->code_count + 1, sizeof(*code));
    struct ptx_info *info = calloc(unit->code_count + 1, sizeof(*info));

    if (moved == NULL || code == NULL || info == NULL) {
        free(moved);
        free(code);
        free(info);
        return false;
    }
    for (uint32_t i = 0; i <= unit->code_count; i++) {
        moved[i] = kept;
        kept += i < unit->code_count && s->fate[i] == FATE_STAYS;
    }
    for (uint32_t i = 0; i < unit->code_count; i++) {
        uint32_t to = s->fate[i] == FATE_STAYS ? moved[i] : kept + n;

        if (s->fate[i] == FATE_GOES)
            continue;
        n += s->fate[i] == FATE_IS_PROLOGUE;
        code[to] = unit->code[i];
        info[to] = s->p->info[i];
        info[to].once = is_once(s, i);
        if (code[to].control == VGPU_CONTROL_BRANCH)
            code[to].imm = moved[code[to].imm];
    }
    for (uint32_t i = 0; i < unit->code_count; i++)
        info[moved[i]].target |= s->target[i] != 0;
    for (uint32_t i = 0; i < unit->target_count; i++)
        unit->targets[i] = moved[unit->targets[i]];
    for (uint32_t i = 0; i < unit->function_count; i++) {
        struct vgpu_function *f = &unit->functions[i];
        uint32_t end = moved[f->start + f->count];

        if (!f->defined)
            continue;
        f->start = moved[f->start];
        f->count = end - f->start;
    }
    memcpy(unit->code, code, (kept + n) * sizeof(*code));
    memcpy(s->p->info, info, (kept + n) * sizeof(*info));
    unit->code_count = kept + n;
    unit->prologue_start = kept;
    unit->prologue_count = n;
    free(moved);
    free(code);
    free(info);
    return true;
}

static bool begin(struct simplifier *s, struct ptx_parser *p, const struct vgpu_function *f)
{
    uint32_t registers = 0;

    *s =
        (struct simplifier){.p = p, .unit = p->unit, .first = f->start, .end = f->start + f->count};
    for (uint32_t w = 0; w < VGPU_ROW_CLASSES; w++) {
        s->start[w] = registers;
        registers += f->rows[w];
    }
    s->counts = calloc(registers + 1, sizeof(*s->counts));
    s->same = calloc(registers + 1, sizeof(*s->same));
    s->fate = calloc(p->unit->code_count + 1, sizeof(*s->fate));
    s->target = calloc(p->unit->code_count + 1, sizeof(*s->target));
    return s->counts != NULL && s->same != NULL && s->fate != NULL && s->target != NULL;
}

void ptx_simplify(struct ptx_parser *p)
{
    const struct vgpu_function *f = &p->unit->functions[p->unit->kernel];
    struct simplifier s;
    bool good;

    if (p->error != 0 || !f->entry || !f->defined)
        return;
    good = begin(&s, p, f);
    if (good) {
        for (uint32_t i = s.first; i < s.end; i++)
            count_instruction(&s, i, 1);
        find_targets(&s);
        join_moves(&s);
        join_numbers(&s);
        drop_unused(&s);
        join_products(&s);
        find_prologue(&s);
        good = compact(&s);
    }
    if (!good)
        ptx_fail(p, -ENOMEM, p->token.line, "out of memory");
    free(s.counts);
    free(s.same);
    free(s.fate);
    free(s.target);
}
