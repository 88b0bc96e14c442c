/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores. Where lanes are is looked at before anything is touched; what the interpreter
 * would not find good at once is left to it, from this instruction on. Addresses that are lines
 * are checked group by group, and all accesses of a block through one register together.
 */
#include <stddef.h>
#include <string.h>

#include "soft/jit/emit_memory.h"
#include "soft/jit/jit.h"
#include "soft/simt/warp.h"

/* How far ahead a loop's loads fetch what they will want; as soft/simt/segments.h does it. */
#define FETCH_AHEAD 24
#define PAGE        4096

/* What an atomic costs of a group's turn (soft/simt/ops_atomic.c). */
#define ATOMIC_COST 64

static const struct vgpu_inst *instruction(const struct jit_emitter *e)
{
    return &e->plan->unit->code[e->pc];
}

/* A line's symbol as an address of 64 bits, before offsets. */
static struct jit_text wide_symbol(struct jit_emitter *e, const struct jit_value *a, unsigned k,
                                   int64_t offset)
{
    struct jit_text s = a->symbol[a->form.group[k]];

    if (offset != 0)
        s = jit_emit(e, "add %s %s, %s", jit_type(a->bits, false), s.s,
                     jit_number(a->bits == 32 ? (int64_t)(int32_t)offset : offset).s);
    return a->bits == 32 ? jit_emit(e, "zext i32 %s to i64", s.s) : s;
}

/* ---- checks ---- */

static bool is_checked(const struct jit_emitter *e, uint32_t row, bool shared,
                       const int64_t range[2], uint32_t align)
{
    for (uint32_t i = 0; i < e->checked_count; i++) {
        const struct jit_checked *c = &e->checked[i];

        if (c->row == row && c->shared == shared && c->range[0] <= range[0] &&
            c->range[1] >= range[1] && c->align >= align && (range[0] - c->origin) % align == 0)
            return true;
    }
    return false;
}

static bool writes_row(const struct jit_emitter *e, uint32_t pc, uint32_t row)
{
    const struct vgpu_operands *operands = &e->plan->unit->operands[pc];

    for (unsigned o = 0; o < VGPU_OPERANDS; o++) {
        if ((operands->defs >> o & 1) != 0 && e->plan->unit->code[pc].row[o] == row)
            return true;
    }
    return operands->list != 0;
}

/* Widens a range by what the accesses further on in the block will want. */
static void look_ahead(const struct jit_emitter *e, int64_t range[2], uint32_t *align, int64_t most)
{
    const struct vgpu_inst *inst = instruction(e);
    const struct jit_block *b = &e->plan->blocks[e->plan->block_of[e->pc - e->plan->f->start]];

    for (uint32_t pc = e->pc; pc < b->end; pc++) {
        const struct vgpu_inst *other = &e->plan->unit->code[pc];
        const struct jit_op *op = jit_plan_op(e->plan, pc);
        int64_t low, high, bytes;

        if (op != NULL && (op->rule == JIT_RULE_LOAD || op->rule == JIT_RULE_STORE) &&
            other->row[VGPU_A] == inst->row[VGPU_A] && other->x == inst->x &&
            (other->imm - inst->imm) % jit_plan_bytes(e->plan, pc, op) == 0) {
            bytes = jit_plan_bytes(e->plan, pc, op);
            low = other->imm < range[0] ? other->imm : range[0];
            high = other->imm + bytes > range[1] ? other->imm + bytes : range[1];
            if (high - low > most || low < INT32_MIN || high > INT32_MAX)
                return;
            range[0] = low;
            range[1] = high;
            *align = (uint32_t)bytes > *align ? (uint32_t)bytes : *align;
        }
        if (writes_row(e, pc, inst->row[VGPU_A]))
            return;
    }
}

static struct jit_text both(struct jit_emitter *e, struct jit_text a, struct jit_text b)
{
    return a.s[0] == '\0' ? b : jit_emit(e, "and i1 %s, %s", a.s, b.s);
}

/* `first` is where a group's accesses start, `span` how many bytes they are over. */
static struct jit_text shared_good(struct jit_emitter *e, struct jit_text first, int64_t span)
{
    struct jit_text last = jit_emit(e, "add i64 %s, %lld", first.s, (long long)span);
    struct jit_text low = jit_emit(e, "icmp ule i64 %s, %%shared_bytes", first.s);

    return both(e, low, jit_emit(e, "icmp ule i64 %s, %%shared_bytes", last.s));
}

static struct jit_text page_good(struct jit_emitter *e, struct jit_text address)
{
    struct jit_text page = jit_emit(e, "lshr i64 %s, 12", address.s);

    /* Addresses that are too large are found by their own check; what is read is in bounds. */
    page = jit_emit(e, "and i64 %s, %lld", page.s, (long long)((INT64_C(1) << 35) - 1));
    page = jit_emit(e, "add i64 %%pages, %s", page.s);
    page = jit_load(e, "i8", page, 0, 1);
    return jit_emit(e, "icmp ne i8 %s, 0", page.s);
}

static struct jit_text global_good(struct jit_emitter *e, struct jit_text first, int64_t span)
{
    struct jit_text last = jit_emit(e, "add i64 %s, %lld", first.s, (long long)(span - 1));
    struct jit_text either = jit_emit(e, "or i64 %s, %s", first.s, last.s), good;

    either = jit_emit(e, "lshr i64 %s, 47", either.s);
    good = jit_emit(e, "icmp eq i64 %s, 0", either.s);
    good = both(e, good, page_good(e, first));
    return span == 1 ? good : both(e, good, page_good(e, last));
}

/* Leaves unless all lanes of a line may access `bytes` at the instruction's offset. */
void jit_check_line(struct jit_emitter *e, const struct jit_value *a, uint32_t bytes)
{
    const struct vgpu_inst *inst = instruction(e);
    bool shared = inst->x == VGPU_SPACE_SHARED;
    int64_t range[2] = {inst->imm, inst->imm + bytes};
    struct jit_text good = {""}, first, odd;
    uint32_t align = bytes;

    /* Global and generic addresses are looked up in one way. */
    if (is_checked(e, inst->row[VGPU_A], shared, range, align))
        return;
    look_ahead(e, range, &align, shared ? 1 << 20 : PAGE / 2);
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        int64_t delta[2];

        if (a->form.group[k] != k)
            continue;
        jit_form_range(&a->form, k, delta);
        first = wide_symbol(e, a, k, range[0] + delta[0]);
        good = both(e, good,
                    shared ? shared_good(e, first, range[1] - range[0] + delta[1] - delta[0])
                           : global_good(e, first, range[1] - range[0] + delta[1] - delta[0]));
        if (align > 1) {
            first = wide_symbol(e, a, k, inst->imm);
            odd = jit_emit(e, "and i64 %s, %u", first.s, align - 1);
            good = both(e, good, jit_emit(e, "icmp eq i64 %s, 0", odd.s));
        }
    }
    jit_need(e, good);
    if ((inst->row[VGPU_A] & 1) == 0 && e->checked_count < JIT_CHECKED)
        e->checked[e->checked_count++] = (struct jit_checked){.row = inst->row[VGPU_A],
                                                              .shared = shared,
                                                              .range = {range[0], range[1]},
                                                              .origin = inst->imm,
                                                              .align = align};
}

/* The same for lanes; returns addresses in the block's shared memory, or in the process. */
static struct jit_text check_lanes(struct jit_emitter *e, const struct jit_value *a, uint32_t bytes)
{
    const struct vgpu_inst *inst = instruction(e);
    const char *type = jit_type(a->bits, true);
    struct jit_text at = jit_expand(e, a), limit, bad, odd;

    if (inst->imm != 0) {
        struct jit_text imm =
            jit_splat(e, a->bits, jit_number(a->bits == 32 ? (int32_t)inst->imm : inst->imm));

        at = jit_emit(e, "add %s %s, %s", type, at.s, imm.s);
    }
    if (inst->x != VGPU_SPACE_SHARED) {
        jit_store(e, "<32 x i64>", at, (struct jit_text){"%state"}, e->plan->scratch, 64);
        bad = jit_emit(e, "add i64 %%state, %u", e->plan->scratch);
        odd = jit_number((int64_t)(uintptr_t)vgpu_jit_reaches);
        odd = e->opaque ? jit_emit(e, "inttoptr i64 %s to ptr", odd.s)
                        : jit_emit(e, "inttoptr i64 %s to i32 (i64, i64, i32)*", odd.s);
        bad = jit_emit(e, "call i32 %s(i64 %%block, i64 %s, i32 %u)", odd.s, bad.s, bytes);
        jit_need(e, jit_emit(e, "icmp ne i32 %s, 0", bad.s));
        return at;
    }
    limit = jit_emit(e, "trunc i64 %%shared_bytes to i32");
    jit_need(e, jit_emit(e, "icmp uge i32 %s, %u", limit.s, bytes));
    limit = jit_emit(e, "sub i32 %s, %u", limit.s, bytes);
    if (a->bits == 64)
        limit = jit_emit(e, "zext i32 %s to i64", limit.s);
    limit = jit_splat(e, a->bits, limit);
    bad = jit_emit(e, "icmp ugt %s %s, %s", type, at.s, limit.s);
    if (bytes > 1) {
        odd = jit_splat(e, a->bits, jit_number(bytes - 1));
        odd = jit_emit(e, "and %s %s, %s", type, at.s, odd.s);
        odd = jit_emit(e, "icmp ne %s %s, zeroinitializer", type, odd.s);
        bad = jit_emit(e, "or <32 x i1> %s, %s", bad.s, odd.s);
    }
    bad = jit_mask_of(e, bad);
    jit_need(e, jit_emit(e, "icmp eq i32 %s, 0", bad.s));
    return at;
}

/* Addresses in the process, of 64 bits, from what check_lanes() returned. */
static struct jit_text process_addresses(struct jit_emitter *e, unsigned bits, struct jit_text at)
{
    struct jit_text base;

    if (instruction(e)->x != VGPU_SPACE_SHARED)
        return at;
    if (bits == 32)
        at = jit_emit(e, "zext <32 x i32> %s to <32 x i64>", at.s);
    base = jit_splat(e, 64, (struct jit_text){"%shared"});
    return jit_emit(e, "add <32 x i64> %s, %s", base.s, at.s);
}

/* ---- lines ---- */

/* Where segment k of a line is in the process. */
struct jit_text jit_segment_address(struct jit_emitter *e, const struct jit_value *a, unsigned k)
{
    const struct vgpu_inst *inst = instruction(e);
    struct jit_text s = wide_symbol(e, a, k, inst->imm + a->form.offset[k]);

    return inst->x == VGPU_SPACE_SHARED ? jit_emit(e, "add i64 %%shared, %s", s.s) : s;
}

/* How many segments from k on are in a row. */
unsigned jit_run_of(const struct jit_form *f, unsigned k, uint32_t bytes)
{
    unsigned n = 1;

    while (k + n < VGPU_SEGMENTS && f->group[k + n] == f->group[k] &&
           jit_difference(f->offset[k + n], f->offset[k]) ==
               (int64_t)n * VGPU_SEGMENT_LANES * bytes)
        n++;
    return n == 3 ? 2 : n;
}

/* A part of `count` lanes, over and over, as 32 lanes. */
static struct jit_text widen(struct jit_emitter *e, struct jit_text part, unsigned count,
                             unsigned bits)
{
    unsigned lanes[VGPU_LANES];

    if (count == VGPU_LANES)
        return part;
    for (unsigned l = 0; l < VGPU_LANES; l++)
        lanes[l] = l % count;
    return jit_choose_lanes(e, bits, count, &part, NULL, lanes, VGPU_LANES);
}

struct jit_text jit_merge(struct jit_emitter *e, struct jit_text lanes, struct jit_text part,
                          unsigned first, unsigned count, unsigned bits)
{
    unsigned from[VGPU_LANES];

    if (lanes.s[0] == '\0')
        return part;
    for (unsigned l = 0; l < VGPU_LANES; l++)
        from[l] = l >= first && l < first + count ? VGPU_LANES + l : l;
    return jit_choose_lanes(e, bits, VGPU_LANES, &lanes, &part, from, VGPU_LANES);
}

static struct jit_text load_row(struct jit_emitter *e, const struct jit_value *a, unsigned bits)
{
    struct jit_text lanes = {""};

    for (unsigned k = 0; k < VGPU_SEGMENTS;) {
        unsigned n = jit_run_of(&a->form, k, bits / 8);
        struct jit_text part = jit_load(e, jit_vector(n * VGPU_SEGMENT_LANES, bits).s,
                                        jit_segment_address(e, a, k), 0, bits / 8);

        part = widen(e, part, n * VGPU_SEGMENT_LANES, bits);
        lanes = jit_merge(e, lanes, part, k * VGPU_SEGMENT_LANES, n * VGPU_SEGMENT_LANES, bits);
        k += n;
    }
    return lanes;
}

/* Vectors of pointers, for gathers and scatters. */
static struct jit_text pointers(struct jit_emitter *e, struct jit_text at, unsigned bits)
{
    return e->opaque ? jit_emit(e, "inttoptr <32 x i64> %s to <32 x ptr>", at.s)
                     : jit_emit(e, "inttoptr <32 x i64> %s to <32 x i%u*>", at.s, bits);
}

/* What the names of gathers and scatters say of pointers. */
static const char *pointee(const struct jit_emitter *e, unsigned bits)
{
    return e->opaque ? "" : jit_type(bits, false);
}

static struct jit_text gather(struct jit_emitter *e, struct jit_text at, unsigned bits)
{
    struct jit_text p = pointers(e, at, bits), all = jit_splat(e, 1, jit_number(-1));
    char pointer[16];

    snprintf(pointer, sizeof(pointer), e->opaque ? "ptr" : "i%u*", bits);
    return jit_emit(e,
                    "call <32 x i%u> @llvm.masked.gather.v32i%u.v32p0%s(<32 x %s> %s, i32 %u, "
                    "<32 x i1> %s, <32 x i%u> undef)",
                    bits, bits, pointee(e, bits), pointer, p.s, bits / 8, all.s, bits);
}

static void scatter(struct jit_emitter *e, struct jit_text at, struct jit_text value, unsigned bits)
{
    struct jit_text p = pointers(e, at, bits), all = jit_splat(e, 1, jit_number(-1));
    char pointer[16];

    snprintf(pointer, sizeof(pointer), e->opaque ? "ptr" : "i%u*", bits);
    fprintf(e->out,
            "  call void @llvm.masked.scatter.v32i%u.v32p0%s(<32 x i%u> %s, <32 x %s> %s, i32 %u, "
            "<32 x i1> %s)\n",
            bits, pointee(e, bits), bits, value.s, pointer, p.s, bits / 8, all.s);
}

static struct jit_text line_addresses(struct jit_emitter *e, const struct jit_value *a)
{
    struct jit_value at = {.form = a->form, .bits = 64};

    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (a->form.group[k] == k)
            at.symbol[k] = wide_symbol(e, a, k, instruction(e)->imm);
    }
    return process_addresses(e, 64, jit_expand(e, &at));
}

/* ---- reading ahead ---- */

/* Loops that step through memory by more than a page get no help from the processor. */
static void fetch_ahead(struct jit_emitter *e, struct jit_text at)
{
    uint32_t slot = e->plan->fetch_slots + 8 * e->fetch_count++;
    struct jit_text state = {"%state"}, before = jit_load(e, "i64", state, slot, 8), step, p;

    jit_store(e, "i64", at, state, slot, 8);
    step = jit_emit(e, "sub i64 %s, %s", at.s, before.s);
    step = jit_emit(e, "mul i64 %s, %u", step.s, FETCH_AHEAD);
    step = jit_emit(e, "add i64 %s, %s", at.s, step.s);
    for (unsigned n = 0; n < 2; n++) {
        p = jit_emit(e, "add i64 %s, %u", step.s, 64 * n);
        p = jit_pointer(e, "i8", p);
        fprintf(e->out, "  call void @llvm.prefetch%s(%s %s, i32 0, i32 3, i32 1)\n",
                e->opaque ? ".p0" : ".p0i8", e->opaque ? "ptr" : "i8*", p.s);
    }
}

void jit_fetch_ahead(struct jit_emitter *e, const struct jit_value *a)
{
    if (instruction(e)->x != VGPU_SPACE_SHARED && !jit_form_is_flat(&a->form) &&
        e->plan->blocks[e->plan->block_of[e->pc - e->plan->f->start]].in_loop)
        fetch_ahead(e, jit_segment_address(e, a, 0));
}

/* ---- instructions ---- */

struct jit_text jit_extend(struct jit_emitter *e, const struct jit_op *op, struct jit_text v,
                           bool lanes)
{
    if (op->from >= op->bits)
        return v;
    return jit_emit(e, "%s %s %s to %s", op->is_signed ? "sext" : "zext", jit_type(op->from, lanes),
                    v.s, jit_type(op->bits, lanes));
}

static void load_flat(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a)
{
    struct jit_value r = {.form = jit_result_form(e->plan, e->pc, op), .bits = op->bits};

    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        if (r.form.group[k] == k)
            r.symbol[k] = jit_extend(e, op,
                                     jit_load(e, jit_type(op->from, false),
                                              jit_segment_address(e, a, k), 0, op->from / 8),
                                     false);
    }
    jit_write(e, VGPU_D, &r);
}

void jit_emit_load(struct jit_emitter *e, const struct jit_op *op)
{
    struct jit_value a = jit_read(e, VGPU_A);
    struct jit_text at;

    if (instruction(e)->y > 1) {
        if (!jit_emit_elements(e, op, &a))
            jit_emit_handler(e);
        return;
    }
    if (!jit_form_reaches(&a.form, op->from / 8)) {
        at = process_addresses(e, a.bits, check_lanes(e, &a, op->from / 8));
        jit_write_lanes(e, VGPU_D, op->bits, jit_extend(e, op, gather(e, at, op->from), true));
        return;
    }
    jit_check_line(e, &a, op->from / 8);
    jit_fetch_ahead(e, &a);
    if (jit_form_is_flat(&a.form) && op->bits != 16) {
        load_flat(e, op, &a);
        return;
    }
    if (a.form.stride == op->from / 8)
        at = load_row(e, &a, op->from);
    else
        at = gather(e, line_addresses(e, &a), op->from);
    jit_write_lanes(e, VGPU_D, op->bits, jit_extend(e, op, at, true));
}

/* Segments in ascending order: where they overlap, the last one stays. */
static void store_row(struct jit_emitter *e, const struct jit_value *a, struct jit_text value,
                      unsigned bits)
{
    unsigned lanes[VGPU_LANES];

    for (unsigned k = 0; k < VGPU_SEGMENTS;) {
        unsigned n = jit_run_of(&a->form, k, bits / 8), count = n * VGPU_SEGMENT_LANES;
        struct jit_text part = value;

        for (unsigned l = 0; l < count; l++)
            lanes[l] = k * VGPU_SEGMENT_LANES + l;
        if (count != VGPU_LANES)
            part = jit_choose_lanes(e, bits, VGPU_LANES, &value, NULL, lanes, count);
        jit_store(e, jit_vector(count, bits).s, part, jit_segment_address(e, a, k), 0, bits / 8);
        k += n;
    }
}

/* All lanes of a segment go to one place: the last one's value stays there. */
static void store_flat(struct jit_emitter *e, const struct jit_value *a, struct jit_text value,
                       unsigned bits)
{
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        struct jit_text v = jit_emit(e, "extractelement <32 x i%u> %s, i32 %u", bits, value.s,
                                     (k + 1) * VGPU_SEGMENT_LANES - 1);

        jit_store(e, jit_type(bits, false), v, jit_segment_address(e, a, k), 0, bits / 8);
    }
}

void jit_emit_store(struct jit_emitter *e, const struct jit_op *op)
{
    struct jit_value a = jit_read(e, VGPU_A), v = jit_read(e, VGPU_D);
    bool line = jit_form_reaches(&a.form, op->from / 8);
    struct jit_text at = {""}, lanes;

    if (instruction(e)->y > 1) {
        if (!jit_emit_elements(e, op, &a))
            jit_emit_handler(e);
        return;
    }
    if (line)
        jit_check_line(e, &a, op->from / 8);
    else
        at = process_addresses(e, a.bits, check_lanes(e, &a, op->from / 8));
    lanes = jit_expand(e, &v);
    if (op->from < op->bits)
        lanes = jit_emit(e, "trunc %s %s to %s", jit_type(op->bits, true), lanes.s,
                         jit_type(op->from, true));
    if (!line)
        scatter(e, at, lanes, op->from);
    else if (a.form.stride == op->from / 8)
        store_row(e, &a, lanes, op->from);
    else if (jit_form_is_flat(&a.form))
        store_flat(e, &a, lanes, op->from);
    else
        scatter(e, line_addresses(e, &a), lanes, op->from);
}

/* ---- atomics in shared memory ---- */

static struct jit_text combine(struct jit_emitter *e, const struct jit_op *op, struct jit_text old,
                               struct jit_text b)
{
    const char *type = jit_type(op->bits, false);
    struct jit_text test;

    if (strcmp(op->what, "exch") == 0)
        return b;
    if (op->what[1] != 'l' && op->what[1] != 'g')
        return jit_emit(e, "%s %s %s, %s", op->what, type, old.s, b.s);
    test = jit_emit(e, "icmp %s %s %s, %s", op->what, type, old.s, b.s);
    return jit_emit(e, "select i1 %s, %s %s, %s %s", test.s, type, old.s, type, b.s);
}

/* One word of the scratch memory: not to be turned into an element of the vector in a register,
   which takes longer than a load. */
static struct jit_text scratch_word(struct jit_emitter *e, unsigned bits, uint32_t at)
{
    struct jit_text p = jit_emit(e, "add i64 %%state, %u", at);
    const char *type = jit_type(bits, false);

    p = jit_pointer(e, type, p);
    return jit_emit(e, "load volatile %s, %s%s %s, align %u", type, e->opaque ? "ptr" : type,
                    jit_star(e), p.s, bits / 8);
}

/*
 * Shared memory belongs to the thread that runs the block, so an atomic is a load and a store for
 * each lane, in ascending order.
 */
void jit_emit_atom(struct jit_emitter *e, const struct jit_op *op)
{
    const struct vgpu_inst *inst = instruction(e);
    struct jit_value a = jit_read(e, VGPU_A), v = jit_read(e, VGPU_B);
    struct jit_text at = check_lanes(e, &a, op->bits / 8), state = {"%state"};
    uint32_t offsets = e->plan->scratch, values = offsets + 256, olds = values + 256;
    bool same = v.form.kind == JIT_LINE && jit_form_is_uniform(&v.form);
    struct jit_text b = {""}, budget;

    jit_store(e, jit_type(a.bits, true), at, state, offsets, 64);
    if (same)
        b = jit_segment(e, &v, 0);
    else
        jit_store(e, jit_type(op->bits, true), jit_expand(e, &v), state, values, 64);
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        struct jit_text p = scratch_word(e, a.bits, offsets + l * a.bits / 8), old, now;

        if (a.bits == 32)
            p = jit_emit(e, "zext i32 %s to i64", p.s);
        p = jit_emit(e, "add i64 %%shared, %s", p.s);
        if (!same)
            b = scratch_word(e, op->bits, values + l * op->bits / 8);
        old = jit_load(e, jit_type(op->bits, false), p, 0, op->bits / 8);
        now = combine(e, op, old, b);
        jit_store(e, jit_type(op->bits, false), now, p, 0, op->bits / 8);
        if (inst->y)
            jit_store(e, jit_type(op->bits, false), old, state, olds + l * op->bits / 8,
                      op->bits / 8);
    }
    if (inst->y)
        jit_write_lanes(e, VGPU_D, op->bits,
                        jit_load(e, jit_type(op->bits, true), state, olds, 64));
    budget = jit_load(e, "i32", (struct jit_text){"%warp"}, offsetof(struct vgpu_warp, budget), 4);
    budget = jit_emit(e, "sub i32 %s, %d", budget.s, ATOMIC_COST);
    jit_store(e, "i32", budget, (struct jit_text){"%warp"}, offsetof(struct vgpu_warp, budget), 4);
}
