/* SPDX-License-Identifier: MIT */
/* Between the interpreter and compiled code: registers in frames, and in states. */
#include <string.h>

#include "soft/jit/code.h"
#include "soft/simt/group.h"

/* An entry is closed when it has led nowhere far so often more than it has led somewhere. */
#define WORST_SCORE (-2000)

size_t vgpu_jit_state_bytes(const struct vgpu_jit_code *code)
{
    return code->plan->state_bytes;
}

/* ---- one register ---- */

#define DEFINE_MOVES(T, BITS)                                                                      \
    static bool symbols_##BITS(const struct jit_form *f, const T *lanes, uint8_t *slot)            \
    {                                                                                              \
        uint64_t symbols[VGPU_SEGMENTS];                                                           \
        T other = 0, low = 0;                                                                      \
        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {                                             \
            unsigned j = f->group[k];                                                              \
            symbols[k] = (T)(lanes[(size_t)j * VGPU_SEGMENT_LANES] - (T)f->offset[j]);             \
            low |= (T)symbols[k];                                                                  \
            for (unsigned l = 0; l < VGPU_SEGMENT_LANES; l++)                                      \
                other |= lanes[k * VGPU_SEGMENT_LANES + l] ^                                       \
                         (T)((T)symbols[k] + (T)f->offset[k] + (T)l * (T)f->stride);               \
        }                                                                                          \
        if (other != 0 || (low != 0 && (unsigned)__builtin_ctzll(low) < f->zeros))                 \
            return false;                                                                          \
        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {                                             \
            if (f->group[k] == k)                                                                  \
                memcpy(slot + 8 * (size_t)k, &symbols[k], 8);                                      \
        }                                                                                          \
        return true;                                                                               \
    }                                                                                              \
    static void lanes_##BITS(const struct jit_form *f, const uint8_t *slot, T *lanes)              \
    {                                                                                              \
        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {                                             \
            T symbol;                                                                              \
            memcpy(&symbol, slot + 8 * (size_t)f->group[k], sizeof(symbol));                       \
            symbol += (T)f->offset[k];                                                             \
            for (unsigned l = 0; l < VGPU_SEGMENT_LANES; l++)                                      \
                lanes[k * VGPU_SEGMENT_LANES + l] = symbol + (T)l * (T)f->stride;                  \
        }                                                                                          \
    }
DEFINE_MOVES(uint32_t, 32)
DEFINE_MOVES(uint64_t, 64)

/* False if the lanes are not of the form that the code is made for. */
static bool take(const struct jit_register *r, uint8_t *frame, uint8_t *state)
{
    uint8_t *row = frame + r->row, *slot = state + r->slot;
    struct vgpu_shape *shape;

    switch (r->width) {
    case VGPU_ROW_PREDICATE:
        memcpy(slot, row, 4);
        return true;
    case VGPU_ROW_16:
        memcpy(slot, row, 2 * (size_t)VGPU_LANES);
        return true;
    default:
        break;
    }
    shape = vgpu_shape_of(row);
    if (shape->state & VGPU_SHAPE_STALE)
        vgpu_shape_expand(shape);
    if (r->form.kind == JIT_LINE)
        return r->width == VGPU_ROW_32
                   ? symbols_32(&r->form, (const uint32_t *)(const void *)row, slot)
                   : symbols_64(&r->form, (const uint64_t *)(const void *)row, slot);
    memcpy(slot, row, (r->width == VGPU_ROW_32 ? 4 : 8) * (size_t)VGPU_LANES);
    return true;
}

static void give(const struct jit_register *r, const uint8_t *state, uint8_t *frame)
{
    const uint8_t *slot = state + r->slot;
    uint8_t *row = frame + r->row;

    switch (r->width) {
    case VGPU_ROW_PREDICATE:
        memcpy(row, slot, 4);
        return;
    case VGPU_ROW_16:
        memcpy(row, slot, 2 * (size_t)VGPU_LANES);
        return;
    default:
        break;
    }
    vgpu_shape_of(row)->state = 0;
    if (r->form.kind != JIT_LINE)
        memcpy(row, slot, (r->width == VGPU_ROW_32 ? 4 : 8) * (size_t)VGPU_LANES);
    else if (r->width == VGPU_ROW_32)
        lanes_32(&r->form, slot, (uint32_t *)(void *)row);
    else
        lanes_64(&r->form, slot, (uint64_t *)(void *)row);
}

/* ---- many ---- */

/* What is made before the blocks run has a form, because that is how forms are found; if lanes
   differ all the same, they are what nobody has written, and nobody reads. */
void vgpu_jit_begin(const struct vgpu_jit_code *code, uint8_t *frame, uint8_t *state)
{
    for (uint32_t i = 0; i < code->plan->register_count; i++) {
        const struct jit_register *r = &code->plan->registers[i];

        if (r->constant)
            (void)take(r, frame, state);
    }
}

static bool take_all(const struct jit_move *move, struct vgpu_warp *w)
{
    for (uint32_t i = 0; i < move->count; i++) {
        if (!take(move->registers[i], w->base[0], w->state))
            return false;
    }
    return true;
}

static void give_all(const struct jit_move *move, struct vgpu_warp *w)
{
    for (uint32_t i = 0; i < move->count; i++)
        give(move->registers[i], w->state, w->base[0]);
}

/* ---- running ---- */

bool vgpu_jit_enters(const struct vgpu_jit_code *code, uint32_t pc)
{
    uint32_t at = pc - code->plan->f->start;

    return at < code->plan->f->count &&
           atomic_load_explicit(&code->open[at], memory_order_relaxed) != 0;
}

static void judge(const struct vgpu_jit_code *code, uint32_t at, uint32_t entry, int gain)
{
    _Atomic int32_t *score = &code->scores[entry];
    int32_t before = atomic_load_explicit(score, memory_order_relaxed), now = before + gain;

    if (now > 0)
        now = 0;
    if (now != before)
        atomic_store_explicit(score, now, memory_order_relaxed);
    if (now < WORST_SCORE)
        atomic_store_explicit(&code->open[at], 0, memory_order_relaxed);
}

static uint32_t call(const struct vgpu_jit_code *code, struct vgpu_warp *w, uint32_t entry)
{
    struct vgpu_counts *counts = w->block->counts;
    uint64_t before = counts != NULL ? counts->instructions : 0;
    uint32_t exit = code->run(w->state, w, entry);

    if (counts != NULL)
        counts->compiled += counts->instructions - before;
    return exit;
}

enum vgpu_jit_turn vgpu_jit_run(struct vgpu_warp *w, struct vgpu_group *group)
{
    const struct vgpu_jit_code *code = w->block->code;
    uint32_t at = group->pc - code->plan->f->start, entry, number;
    int32_t budget = w->budget;
    const struct jit_exit *exit;

    if (at >= code->plan->f->count)
        return VGPU_JIT_NOT;
    if (w->parked) {
        w->parked = false;
        entry = code->entries[at];
    } else {
        entry = atomic_load_explicit(&code->open[at], memory_order_relaxed);
        if (entry == 0)
            return VGPU_JIT_NOT;
        if (!take_all(&code->taken[entry], w)) {
            judge(code, at, entry, -1);
            return VGPU_JIT_NOT;
        }
    }
    number = call(code, w, entry);
    exit = &code->exits[number];
    group->pc = exit->pc;
    switch (exit->kind) {
    case JIT_EXIT_LOOK:
        give_all(&code->given[number], w);
        judge(code, at, entry, (budget - w->budget) / 2 - 1);
        return VGPU_JIT_LEFT;
    case JIT_EXIT_SPENT:
        w->parked = true;
        judge(code, at, entry, 2);
        return VGPU_JIT_SPENT;
    case JIT_EXIT_BARRIER:
        w->parked = true;
        w->budget--;
        judge(code, at, entry, 2);
        return VGPU_JIT_CONTROL;
    case JIT_EXIT_DONE:
        judge(code, at, entry, 2);
        return VGPU_JIT_CONTROL;
    default:
        return VGPU_JIT_FAULT;
    }
}

/* ---- whole blocks ---- */

bool vgpu_jit_begins(const struct vgpu_jit_code *code)
{
    return vgpu_jit_enters(code, code->plan->f->start);
}

void vgpu_jit_part(struct vgpu_block *b, uint32_t pc)
{
    for (uint32_t n = 0; n < b->warp_count; n++) {
        b->warps[n].groups[0].pc = pc;
        b->warps[n].parked = true;
    }
}

/* The warp waits at the barrier, as the scheduler knows it. */
static bool arrive(struct vgpu_warp *w, uint32_t pc)
{
    struct vgpu_block *b = w->block;
    uint32_t row = b->unit->code[pc].row[VGPU_A] & ~1u, id;

    memcpy(&id, w->base[1] + row, sizeof(id));
    if (id >= VGPU_MAX_BARRIERS)
        return false;
    w->groups[0].state = VGPU_GROUP_BARRIER;
    w->groups[0].barrier = (uint8_t)id;
    b->barriers[id].expected = 0;
    b->barriers[id].arrived += VGPU_LANES;
    b->barriers_used |= UINT32_C(1) << id;
    return true;
}

/* The scheduler is to find the guard as it was: all lanes end. */
static void give_guard(struct vgpu_warp *w, uint32_t pc)
{
    uint32_t guard = w->block->unit->code[pc].guard, value = guard & 1 ? 0 : VGPU_ALL_LANES;

    if (guard != 0)
        memcpy(w->base[0] + (guard & ~1u), &value, sizeof(value));
}

/* A warp that has come to an exit goes on with the scheduler, because another has come elsewhere.
   If it `may_wait`, there is one that does not wait yet, and that looks who does. */
static void part_at(const struct vgpu_jit_code *code, struct vgpu_warp *w, uint32_t number,
                    bool may_wait)
{
    const struct jit_exit *exit = &code->exits[number];

    w->groups[0].pc = exit->pc;
    w->parked = exit->kind == JIT_EXIT_SPENT ||
                (exit->kind == JIT_EXIT_BARRIER && may_wait && arrive(w, exit->pc));
    if (!w->parked && (exit->kind == JIT_EXIT_LOOK || exit->kind == JIT_EXIT_BARRIER))
        give_all(&code->given[number], w);
    if (exit->kind == JIT_EXIT_DONE)
        give_guard(w, exit->pc);
}

bool vgpu_jit_join(struct vgpu_block *b, uint32_t *pc)
{
    uint32_t at = b->warps[0].groups[0].pc - b->code->plan->f->start, entry;

    if (at >= b->code->plan->f->count)
        return false;
    entry = atomic_load_explicit(&b->code->open[at], memory_order_relaxed);
    for (uint32_t n = 0; n < b->warp_count; n++) {
        const struct vgpu_warp *w = &b->warps[n];

        if (entry == 0 || w->done || !w->started || w->group_count != 1 ||
            w->groups[0].mask != VGPU_ALL_LANES || w->groups[0].depth != 0 ||
            w->groups[0].state != VGPU_GROUP_READY || w->groups[0].pc != b->warps[0].groups[0].pc)
            return false;
    }
    for (uint32_t n = 0; n < b->warp_count; n++) {
        struct vgpu_warp *w = &b->warps[n];

        w->base[0] = w->frames[0];
        w->mask = VGPU_ALL_LANES;
        if (!w->parked && !take_all(&b->code->taken[entry], w))
            return false;
        w->parked = true;
    }
    *pc = b->warps[0].groups[0].pc;
    return true;
}

enum vgpu_jit_step vgpu_jit_step(struct vgpu_block *b, uint32_t *pc, uint32_t *index)
{
    const struct vgpu_jit_code *code = b->code;
    uint32_t at = *pc - code->plan->f->start, entry = code->entries[at];
    uint32_t numbers[VGPU_MAX_WARPS] = {0};
    bool same = true, all_wait = true;

    for (uint32_t n = 0; n < b->warp_count; n++) {
        struct vgpu_warp *w = &b->warps[n];

        w->budget = b->turn;
        numbers[n] = call(code, w, entry);
        same = same && numbers[n] == numbers[0];
        all_wait = all_wait && code->exits[numbers[n]].kind == JIT_EXIT_BARRIER;
        if (code->exits[numbers[n]].kind == JIT_EXIT_FAULT) {
            w->groups[0].pc = code->exits[numbers[n]].pc;
            *index = n;
            return VGPU_STEP_FAULT;
        }
    }
    if (same && code->exits[numbers[0]].kind == JIT_EXIT_BARRIER) {
        judge(code, at, entry, 2);
        *pc = code->exits[numbers[0]].pc + 1;
        return VGPU_STEP_ON;
    }
    if (same && code->exits[numbers[0]].kind == JIT_EXIT_DONE) {
        judge(code, at, entry, 2);
        return VGPU_STEP_DONE;
    }
    for (uint32_t n = 0; n < b->warp_count; n++) {
        if (code->exits[numbers[n]].kind == JIT_EXIT_LOOK)
            judge(code, at, entry, -1);
        part_at(code, &b->warps[n], numbers[n], !all_wait);
    }
    return VGPU_STEP_APART;
}

int32_t vgpu_jit_reaches(const struct vgpu_block *block, const uint64_t *addresses, uint32_t bytes)
{
    uint64_t low = addresses[0], high = addresses[0], either = 0;

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        either |= addresses[l];
        low = addresses[l] < low ? addresses[l] : low;
        high = addresses[l] > high ? addresses[l] : high;
    }
    if ((either & (bytes - 1)) != 0)
        return 0;
    if (high - low <= 65536 && high <= UINT64_MAX - bytes &&
        vgpu_pages_valid(block->pages, low, high - low + bytes))
        return 1;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (!vgpu_pages_valid(block->pages, addresses[l], bytes))
            return 0;
    }
    return 1;
}
