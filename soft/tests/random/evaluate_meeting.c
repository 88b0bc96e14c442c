/* SPDX-License-Identifier: MIT */
/* What threads compute together: lanes of each warp, or the block. */
#include "soft/tests/random/evaluate.h"

/* What lane `lane` gets of the others; -1: nothing, it keeps its own. */
static int shuffle_source(unsigned mode, unsigned width, unsigned lane, unsigned by)
{
    unsigned start = lane - lane % width, end = start + width;
    int from;

    switch (mode) {
    case 0:
        from = (int)(start + by % width);
        break;
    case 1:
        from = (int)lane - (int)by;
        break;
    case 2:
        from = (int)(lane + by);
        break;
    default:
        /* A partner in a segment before this one is one, too. */
        from = (int)(lane ^ by);
        return from < (int)end ? from : -1;
    }
    return from >= (int)start && from < (int)end ? from : -1;
}

static void shuffle(struct frame *f, const struct statement *s, uint32_t warp, uint32_t lanes)
{
    uint32_t values[32], results[32];

    for (unsigned l = 0; l < 32; l++)
        values[l] = (uint32_t)evaluate_operand(f, &s->a, warp * 32 + l);
    for (unsigned l = 0; l < 32; l++) {
        unsigned by = (unsigned)evaluate_operand(f, &s->b, warp * 32 + l) & 31;
        int from = shuffle_source(s->variant % 4, 32u >> s->constant, l, by);

        results[l] = values[from >= 0 && (lanes >> from & 1) ? (unsigned)from : l];
        results[l] ^= from >= 0 ? 0x5a : 0;
    }
    for (unsigned l = 0; l < 32; l++) {
        if (lanes >> l & 1)
            f->words[s->to.index][warp * 32 + l] = results[l];
    }
}

static void vote(struct frame *f, const struct statement *s, uint32_t warp, uint32_t lanes)
{
    uint32_t yes = 0, result;

    for (unsigned l = 0; l < 32; l++) {
        if ((lanes >> l & 1) && evaluate_condition(f, &s->condition, warp * 32 + l))
            yes |= UINT32_C(1) << l;
    }
    switch (s->variant % 4) {
    case 0:
        result = yes == lanes ? 0x33 : 0;
        break;
    case 1:
        result = yes != 0 ? 0x33 : 0;
        break;
    case 2:
        result = yes == lanes || yes == 0 ? 0x33 : 0;
        break;
    default:
        result = yes;
        break;
    }
    for (unsigned l = 0; l < 32; l++)
        f->words[s->to.index][warp * 32 + l] ^= lanes >> l & 1 ? result : 0;
}

static void match(struct frame *f, const struct statement *s, uint32_t warp, uint32_t lanes)
{
    bool all = (s->variant & 2) != 0;
    uint32_t same[32];

    for (unsigned l = 0; l < 32; l++) {
        uint32_t own = f->words[s->a.index][warp * 32 + l] & (all ? 1 : 3);

        same[l] = 0;
        for (unsigned o = 0; o < 32; o++) {
            if ((lanes >> o & 1) && (f->words[s->a.index][warp * 32 + o] & (all ? 1 : 3)) == own)
                same[l] |= UINT32_C(1) << o;
        }
        if (all)
            same[l] = same[l] == lanes ? lanes ^ 0x77 : 0;
    }
    for (unsigned l = 0; l < 32; l++)
        f->words[s->to.index][warp * 32 + l] ^= lanes >> l & 1 ? same[l] : 0;
}

static uint32_t reduce_two(unsigned mode, uint32_t a, uint32_t b)
{
    switch (mode) {
    case 0:
    case 1:
        return a + b;
    case 2:
        return a < b ? a : b;
    case 3:
        return (int32_t)a < (int32_t)b ? a : b;
    case 4:
        return (int32_t)a > (int32_t)b ? a : b;
    case 5:
        return a & b;
    case 6:
        return a | b;
    default:
        return a ^ b;
    }
}

static void reduce(struct frame *f, const struct statement *s, uint32_t warp, uint32_t lanes)
{
    unsigned first = (unsigned)__builtin_ctz(lanes);
    uint32_t result = f->words[s->a.index][warp * 32 + first];

    for (unsigned l = first + 1; l < 32; l++) {
        if (lanes >> l & 1)
            result = reduce_two(s->variant, result, f->words[s->a.index][warp * 32 + l]);
    }
    for (unsigned l = 0; l < 32; l++) {
        if (lanes >> l & 1)
            f->words[s->to.index][warp * 32 + l] = result;
    }
}

static void swap(struct evaluation *e, struct frame *f, const struct statement *s, uint32_t warp,
                 uint32_t lanes)
{
    const struct kernel *k = e->kernel;
    uint32_t *area = &e->swap[warp * 32];

    for (unsigned l = 0; l < 32; l++) {
        if (lanes >> l & 1)
            area[(l * k->warp_factor + k->warp_offset) % 32] = f->words[s->a.index][warp * 32 + l];
    }
    for (unsigned l = 0; l < 32; l++) {
        unsigned from = (unsigned)evaluate_operand(f, &s->b, warp * 32 + l) % 32;

        if (!(lanes >> l & 1))
            continue;
        if (!(lanes >> from & 1))
            from = l;
        f->words[s->to.index][warp * 32 + l] = area[(from * k->warp_factor + k->warp_offset) % 32];
    }
}

/* ---- the block ---- */

static void exchange(struct evaluation *e, struct frame *f, const struct statement *s,
                     const struct set *set)
{
    uint32_t words = e->kernel->exchange_words, factor = (s->constant & 0xff) | 1;

    EACH(t, set)
    e->exchange[(t * factor + (s->constant >> 8)) % words] =
        (uint32_t)evaluate_operand(f, &s->a, t);
    EACH(t, set)
    f->words[s->to.index][t] = e->exchange[evaluate_operand(f, &s->b, t) % words];
}

static void read_cell(struct evaluation *e, struct frame *f, const struct statement *s,
                      const struct set *set)
{
    EACH(t, set)
    {
        uint64_t cell =
            e->cells[s->variant * CELL_SLOTS + evaluate_operand(f, &s->b, t) % CELL_SLOTS];

        f->words[s->to.index][t] = (uint32_t)(cell ^ cell >> 32);
    }
}

static void barrier_reduce(struct frame *f, const struct statement *s, const struct set *set)
{
    uint32_t yes = 0, all = 0, result;

    EACH(t, set)
    {
        all++;
        yes += evaluate_condition(f, &s->condition, t);
    }
    result = s->variant == 0 ? yes : (s->variant == 1 ? yes == all : yes > 0) ? 0x99 : 0;
    EACH(t, set) f->words[s->to.index][t] ^= result;
}

/* Threads of each group see what their group has stored. */
static void groups(struct evaluation *e, struct frame *f, const struct statement *s,
                   const struct set *set)
{
    uint32_t first = s->constant * 32, rest = e->threads - first;

    EACH(t, set) e->exchange[t] = (uint32_t)evaluate_operand(f, &s->a, t);
    EACH(t, set)
    {
        uint32_t from = (uint32_t)evaluate_operand(f, &s->b, t);

        f->words[s->to.index][t] = e->exchange[t < first ? from % first : first + from % rest];
    }
}

static void hand_over(struct evaluation *e, struct frame *f, const struct statement *s,
                      const struct set *set)
{
    uint32_t first = s->constant * 32;

    EACH(t, set)
    {
        if (t < first || first == 0)
            e->exchange[t] = (uint32_t)evaluate_operand(f, &s->a, t);
        else
            f->words[s->to.index][t] = e->exchange[evaluate_operand(f, &s->b, t) % first];
    }
}

static void split_barrier(struct frame *f, const struct statement *s, const struct set *set)
{
    EACH(t, set)
    {
        uint32_t *word = &f->words[s->to.index][t];

        *word = evaluate_condition(f, &s->condition, t) ? *word ^ 0x1234 : *word + 1;
    }
}

static void evaluate_warp(struct evaluation *e, struct frame *f, const struct statement *s,
                          uint32_t warp, uint32_t lanes)
{
    switch (s->kind) {
    case STATEMENT_SHUFFLE:
        shuffle(f, s, warp, lanes);
        break;
    case STATEMENT_VOTE:
        vote(f, s, warp, lanes);
        break;
    case STATEMENT_MATCH:
        match(f, s, warp, lanes);
        break;
    case STATEMENT_REDUCE:
        reduce(f, s, warp, lanes);
        break;
    default:
        swap(e, f, s, warp, lanes);
        break;
    }
}

void evaluate_meeting(struct evaluation *e, struct frame *f, const struct statement *s,
                      const struct set *set)
{
    switch (s->kind) {
    case STATEMENT_BARRIER:
        break;
    case STATEMENT_EXCHANGE:
        exchange(e, f, s, set);
        break;
    case STATEMENT_READ_CELL:
        read_cell(e, f, s, set);
        break;
    case STATEMENT_BARRIER_REDUCE:
        barrier_reduce(f, s, set);
        break;
    case STATEMENT_SPLIT_BARRIER:
        split_barrier(f, s, set);
        break;
    case STATEMENT_GROUPS:
        groups(e, f, s, set);
        break;
    case STATEMENT_HAND_OVER:
        hand_over(e, f, s, set);
        break;
    default:
        for (uint32_t warp = 0; warp < MOST_THREADS / 32; warp++) {
            if (set->lanes[warp] != 0)
                evaluate_warp(e, f, s, warp, set->lanes[warp]);
        }
        break;
    }
}
