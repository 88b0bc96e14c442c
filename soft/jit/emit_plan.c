/* SPDX-License-Identifier: MIT */
/* The function that a kernel becomes: entries, blocks, exits. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "soft/jit/emit.h"
#include "soft/simt/warp.h"

/* ---- the head ---- */

static void declare(struct jit_emitter *e)
{
    static const char *const types[] = {"i8", "i16", "i32", "i64"};

    for (unsigned f = 32; f <= 64; f += 32) {
        const char *type = jit_float_type(f);

        fprintf(e->out, "declare %s @llvm.fma.v32f%u(%s, %s, %s)\n", type, f, type, type, type);
        fprintf(e->out, "declare %s @llvm.sqrt.v32f%u(%s)\n", type, f, type);
        fprintf(e->out, "declare %s @llvm.fabs.v32f%u(%s)\n", type, f, type);
    }
    fputs("declare <32 x i32> @llvm.fptosi.sat.v32i32.v32f32(<32 x float>)\n"
          "declare <32 x i32> @llvm.fptoui.sat.v32i32.v32f32(<32 x float>)\n"
          "declare i32 @llvm.ctpop.i32(i32)\n",
          e->out);
    fprintf(e->out, "declare void @llvm.prefetch.p0%s(%s, i32, i32, i32)\n", e->opaque ? "" : "i8",
            e->opaque ? "ptr" : "i8*");
    for (unsigned i = 0; i < 4; i++) {
        const char *t = types[i], *star = e->opaque ? "ptr" : t;

        fprintf(e->out,
                "declare <32 x %s> @llvm.masked.gather.v32%s.v32p0%s(<32 x %s%s>, i32, <32 x i1>, "
                "<32 x %s>)\n",
                t, t, e->opaque ? "" : t, star, jit_star(e), t);
        fprintf(e->out,
                "declare void @llvm.masked.scatter.v32%s.v32p0%s(<32 x %s>, <32 x %s%s>, i32, "
                "<32 x i1>)\n",
                t, e->opaque ? "" : t, t, star, jit_star(e));
    }
}

static void place_registers(struct jit_emitter *e)
{
    for (uint32_t i = 0; i < e->plan->register_count; i++) {
        const struct jit_register *r = &e->plan->registers[i];
        unsigned bits = r->width == VGPU_ROW_16 ? 16 : r->width == VGPU_ROW_64 ? 64 : 32;

        if (r->width == VGPU_ROW_PREDICATE || r->form.kind != JIT_LINE) {
            fprintf(e->out, "  %%r%u_0 = alloca %s\n", i,
                    jit_type(bits, r->width != VGPU_ROW_PREDICATE));
            continue;
        }
        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
            if (r->form.group[k] == k)
                fprintf(e->out, "  %%r%u_%u = alloca %s\n", i, k, jit_type(bits, false));
        }
    }
}

static void name_pointer(struct jit_emitter *e, const char *name, const char *of, size_t offset)
{
    struct jit_text base, v;

    snprintf(base.s, sizeof(base.s), "%%%s", of);
    v = jit_load(e, "i64", base, (int64_t)offset, 8);
    fprintf(e->out, "  %%%s = add i64 %s, 0\n", name, v.s);
}

static void write_head(struct jit_emitter *e)
{
    struct jit_text v;

    fputs("define i32 @kernel(i64 %state, i64 %warp, i32 %entry) #0 {\nstart:\n", e->out);
    place_registers(e);
    name_pointer(e, "block", "warp", offsetof(struct vgpu_warp, block));
    name_pointer(e, "frame", "warp", offsetof(struct vgpu_warp, base));
    name_pointer(e, "constants", "warp", offsetof(struct vgpu_warp, base) + 8);
    name_pointer(e, "pages", "block", offsetof(struct vgpu_block, pages));
    name_pointer(e, "shared", "block", offsetof(struct vgpu_block, shared));
    v = jit_load(e, "i32", (struct jit_text){"%block"}, offsetof(struct vgpu_block, shared_bytes),
                 4);
    fprintf(e->out, "  %%shared_bytes = zext i32 %s to i64\n", v.s);
    fputs("  switch i32 %entry, label %nowhere [", e->out);
    for (uint32_t n = 1; n <= e->plan->entry_count; n++)
        fprintf(e->out, " i32 %u, label %%e%u", n, n);
    fputs(" ]\nnowhere:\n  unreachable\n", e->out);
    for (uint32_t n = 0; n < e->plan->block_count; n++) {
        const struct jit_block *b = &e->plan->blocks[n];

        if (b->entry == 0)
            continue;
        fprintf(e->out, "e%u:\n", b->entry);
        for (uint32_t i = 0; i < e->plan->register_count; i++) {
            if (jit_set_has(b->live, i))
                jit_move_register(e, &e->plan->registers[i], false);
        }
        fprintf(e->out, "  br label %%b%u\n", n);
    }
}

/* ---- control ---- */

/* To another block; to one before this, if the warp still has its turn. */
static void go_to(struct jit_emitter *e, uint32_t block)
{
    const struct jit_block *to = &e->plan->blocks[block];
    struct jit_text budget;

    if (to->first > e->pc) {
        fprintf(e->out, "  br label %%b%u\n", block);
        return;
    }
    budget = jit_load(e, "i32", (struct jit_text){"%warp"}, offsetof(struct vgpu_warp, budget), 4);
    budget = jit_emit(e, "sub i32 %s, 1", budget.s);
    jit_store(e, "i32", budget, (struct jit_text){"%warp"}, offsetof(struct vgpu_warp, budget), 4);
    budget = jit_emit(e, "icmp sgt i32 %s, 0", budget.s);
    fprintf(e->out, "  br i1 %s, label %%b%u, label %%x%u, !prof !0\n", budget.s, block,
            jit_exit_at(e, to->first, to->entry != 0 ? JIT_EXIT_SPENT : JIT_EXIT_LOOK));
}

/* Where all lanes go one way: to `yes` or on; a label for either is written. */
static void decide(struct jit_emitter *e, uint32_t yes, uint32_t no)
{
    uint32_t look = jit_label(e);
    struct jit_text test = jit_emit(e, "icmp eq i32 %s, -1", e->guard.s);

    fprintf(e->out, "  br i1 %s, label %%l%u, label %%l%u\nl%u:\n", test.s, yes, look, look);
    test = jit_emit(e, "icmp eq i32 %s, 0", e->guard.s);
    fprintf(e->out, "  br i1 %s, label %%l%u, label %%x%u\n", test.s, no,
            jit_exit_at(e, e->pc, JIT_EXIT_LOOK));
}

static void leave(struct jit_emitter *e, enum jit_exit_kind kind)
{
    fprintf(e->out, "  br label %%x%u\n", jit_exit_at(e, e->pc, kind));
}

/* The instruction that ends a block. */
static void write_control(struct jit_emitter *e, const struct jit_block *b)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    uint32_t yes = jit_label(e), no = jit_label(e);

    if (inst->control == VGPU_CONTROL_BARRIER) {
        leave(e, JIT_EXIT_BARRIER);
    } else if (inst->guard == 0) {
        if (inst->control == VGPU_CONTROL_BRANCH)
            go_to(e, b->next[0]);
        else
            leave(e, JIT_EXIT_DONE);
    } else {
        decide(e, yes, no);
        fprintf(e->out, "l%u:\n", yes);
        if (inst->control == VGPU_CONTROL_BRANCH)
            go_to(e, b->next[1]);
        else
            leave(e, JIT_EXIT_DONE);
        fprintf(e->out, "l%u:\n", no);
        if (b->next[0] != UINT32_MAX)
            fprintf(e->out, "  br label %%b%u\n", b->next[0]);
        else
            fputs("  unreachable\n", e->out);
    }
}

static bool ends_here(const struct jit_emitter *e)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];

    return inst->control == VGPU_CONTROL_BRANCH || inst->control == VGPU_CONTROL_EXIT ||
           inst->control == VGPU_CONTROL_BARRIER;
}

/* ---- blocks ---- */

static void write_operation(struct jit_emitter *e)
{
    const struct jit_op *op = jit_plan_op(e->plan, e->pc);

    switch (op == NULL ? JIT_RULE_NONE : op->rule) {
    case JIT_RULE_NONE:
        if (e->plan->unit->code[e->pc].control != VGPU_CONTROL_WARP_SYNC)
            jit_emit_handler(e);
        return;
    case JIT_RULE_FLOAT:
        jit_emit_float(e, op);
        return;
    case JIT_RULE_TEST:
    case JIT_RULE_FLOAT_TEST:
        jit_emit_test(e, op);
        return;
    case JIT_RULE_LOAD:
        jit_emit_load(e, op);
        return;
    case JIT_RULE_STORE:
        jit_emit_store(e, op);
        return;
    case JIT_RULE_ATOM:
        jit_emit_atom(e, op);
        return;
    case JIT_RULE_SHUFFLE:
        jit_emit_shuffle(e);
        return;
    case JIT_RULE_SELECT:
    case JIT_RULE_LOGIC:
    case JIT_RULE_PARAMETER:
    case JIT_RULE_SPECIAL:
        jit_emit_special(e, op);
        return;
    default:
        jit_emit_arithmetic(e, op);
        return;
    }
}

static void forget_checks(struct jit_emitter *e)
{
    const struct vgpu_inst *inst = &e->plan->unit->code[e->pc];
    uint8_t defs = e->plan->unit->operands[e->pc].defs;

    for (unsigned o = 0; o < VGPU_OPERANDS; o++) {
        for (uint32_t i = 0; i < e->checked_count && (defs >> o & 1) != 0; i++) {
            if (e->checked[i].row == inst->row[o])
                e->checked[i--] = e->checked[--e->checked_count];
        }
    }
}

void jit_count(struct jit_emitter *e, int64_t instructions, struct jit_text bytes)
{
    struct jit_text counts, now;

    if (!e->counts)
        return;
    counts =
        jit_load(e, "i64", (struct jit_text){"%block"}, offsetof(struct vgpu_block, counts), 8);
    if (instructions != 0) {
        now = jit_load(e, "i64", counts, offsetof(struct vgpu_counts, instructions), 8);
        now = jit_emit(e, "add i64 %s, %lld", now.s, (long long)instructions);
        jit_store(e, "i64", now, counts, offsetof(struct vgpu_counts, instructions), 8);
    }
    now = jit_load(e, "i64", counts, offsetof(struct vgpu_counts, bytes), 8);
    now = jit_emit(e, "add i64 %s, %s", now.s, bytes.s);
    jit_store(e, "i64", now, counts, offsetof(struct vgpu_counts, bytes), 8);
}

/* Instructions from `pc` to the end of its block, and what they read and write. */
static void count_from(struct jit_emitter *e, uint32_t pc, int sign)
{
    const struct jit_block *b = &e->plan->blocks[e->plan->block_of[pc - e->plan->f->start]];
    int64_t bytes = 0;

    for (uint32_t i = pc; i < b->end; i++)
        bytes += e->plan->unit->code[i].guard == 0 ? e->plan->unit->code[i].bytes : 0;
    jit_count(e, sign * (int64_t)(b->end - pc), jit_number(sign * bytes * VGPU_LANES));
}

static void write_block(struct jit_emitter *e, uint32_t n)
{
    const struct jit_block *b = &e->plan->blocks[n];

    fprintf(e->out, "b%u:\n", n);
    e->checked_count = 0;
    if (e->counts)
        count_from(e, b->first, 1);
    for (uint32_t pc = b->first; pc < b->end; pc++) {
        jit_begin_instruction(e, pc);
        if (jit_plan_leaves(e->plan, pc)) {
            leave(e, JIT_EXIT_LOOK);
            return;
        }
        if (ends_here(e)) {
            write_control(e, b);
            return;
        }
        write_operation(e);
        forget_checks(e);
    }
    if (b->next[0] != UINT32_MAX)
        fprintf(e->out, "  br label %%b%u\n", b->next[0]);
    else
        fputs("  unreachable\n", e->out);
}

static bool write_exits(struct jit_emitter *e)
{
    uint64_t *live = calloc(e->plan->words, sizeof(*live));

    for (uint32_t n = 0; n < e->exit_count && live != NULL; n++) {
        const struct jit_exit *x = &e->exits[n];

        fprintf(e->out, "x%u:\n", n);
        if (e->counts && (x->kind == JIT_EXIT_LOOK || x->kind == JIT_EXIT_FAULT))
            count_from(e, x->pc, -1);
        jit_plan_live(e->plan, x->pc, live);
        for (uint32_t i = 0; i < e->plan->register_count; i++) {
            if (x->kind < JIT_EXIT_DONE && jit_set_has(live, i) && !e->plan->registers[i].constant)
                jit_move_register(e, &e->plan->registers[i], true);
        }
        fprintf(e->out, "  ret i32 %u\n", n);
    }
    free(live);
    return live != NULL;
}

char *jit_emit_plan(const struct jit_plan *plan, bool opaque, bool counts, const char *processor,
                    struct jit_exit **exits, uint32_t *exit_count)
{
    struct jit_emitter e = {.plan = plan, .opaque = opaque, .counts = counts};
    char *text = NULL;
    size_t size = 0;
    bool good;

    e.exits = calloc((size_t)plan->f->count * 4 + 4, sizeof(*e.exits));
    e.out = open_memstream(&text, &size);
    good = e.exits != NULL && e.out != NULL;
    if (good) {
        declare(&e);
        write_head(&e);
        for (uint32_t n = 0; n < plan->block_count; n++)
            write_block(&e, n);
        good = write_exits(&e);
        fprintf(e.out,
                "}\nattributes #0 = { nounwind \"target-cpu\"=\"%s\" "
                "\"prefer-vector-width\"=\"512\" \"min-legal-vector-width\"=\"512\" }\n"
                "!0 = !{!\"branch_weights\", i32 100000, i32 1}\n",
                processor);
    }
    if (e.out != NULL && fclose(e.out) != 0)
        good = false;
    if (!good) {
        free(text);
        free(e.exits);
        return NULL;
    }
    *exits = e.exits;
    *exit_count = e.exit_count;
    return text;
}
