/* SPDX-License-Identifier: MIT */
/* What lanes of a warp and threads of a block do together, as PTX. */
#include <stdio.h>

#include "soft/tests/random/text.h"

#define WORD(operand) text_operand(&(operand), 'w')

static void write_shuffle(struct writer *w, const struct statement *s, const char *mask)
{
    static const char *const modes[] = {"idx", "up", "down", "bfly"};
    unsigned mode = s->variant % 4, width = 32u >> s->constant, segment = 32 - width;

    text_add(w, "and.b32 %%t1, %s, 31;\nshfl.sync.%s.b32 %%t2|%%z0, %s, %%t1, %u, %s;\n",
             WORD(s->b), modes[mode], WORD(s->a), segment << 8 | (mode == 1 ? 0 : 31), mask);
    switch (mode) {
    case 0:
        text_add(w,
                 "and.b32 %%t3, %%lane, %u;\nand.b32 %%t1, %%t1, %u;\nor.b32 %%t3, %%t3, %%t1;\n",
                 segment, 31 & ~segment);
        break;
    case 1:
        text_add(w, "sub.u32 %%t3, %%lane, %%t1;\n");
        break;
    case 2:
        text_add(w, "add.u32 %%t3, %%lane, %%t1;\n");
        break;
    default:
        text_add(w, "xor.b32 %%t3, %%lane, %%t1;\n");
        break;
    }
    /* What a lane that is not here would give is no value. */
    text_add(w,
             "shr.u32 %%t3, %s, %%t3;\nand.b32 %%t3, %%t3, 1;\nsetp.ne.u32 %%z1, %%t3, 0;\n"
             "not.pred %%z2, %%z0;\nor.pred %%z1, %%z1, %%z2;\nselp.b32 %%t2, %%t2, %s, %%z1;\n"
             "selp.b32 %%t3, 0x5a, 0, %%z0;\nxor.b32 %s, %%t2, %%t3;\n",
             mask, WORD(s->a), WORD(s->to));
}

static void write_vote(struct writer *w, const struct statement *s, const char *mask)
{
    static const char *const modes[] = {"all", "any", "uni"};
    uint32_t p = text_condition(w, &s->condition);
    unsigned mode = s->variant % 4;

    if (mode == 3)
        text_add(w, "vote.sync.ballot.b32 %%t1, %%p%u, %s;\n", p, mask);
    else
        text_add(w, "vote.sync.%s.pred %%z0, %%p%u, %s;\nselp.b32 %%t1, 0x33, 0, %%z0;\n",
                 modes[mode], p, mask);
    text_add(w, "xor.b32 %s, %s, %%t1;\n", WORD(s->to), WORD(s->to));
}

static void write_match(struct writer *w, const struct statement *s, const char *mask)
{
    bool wide = (s->variant & 1) != 0, all = (s->variant & 2) != 0;

    text_add(w, "and.b32 %%t0, %s, %u;\n", WORD(s->a), all ? 1 : 3);
    if (wide)
        text_add(w, "mov.b64 %%x0, {%%t0, %%t0};\n");
    text_add(w, "match.%s.sync.b%s %%t1%s, %s, %s;\n", all ? "all" : "any", wide ? "64" : "32",
             all ? "|%z0" : "", wide ? "%x0" : "%t0", mask);
    if (all)
        text_add(w, "selp.b32 %%t2, 0x77, 0, %%z0;\nxor.b32 %%t1, %%t1, %%t2;\n");
    text_add(w, "xor.b32 %s, %s, %%t1;\n", WORD(s->to), WORD(s->to));
}

static void write_reduce(struct writer *w, const struct statement *s, const char *mask)
{
    static const char *const modes[8] = {"add.u32", "add.s32", "min.u32", "min.s32",
                                         "max.s32", "and.b32", "or.b32",  "xor.b32"};

    text_add(w, "redux.sync.%s %s, %s, %s;\n", modes[s->variant], WORD(s->to), WORD(s->a), mask);
}

/* %t<to>: where the lane in %t<lane> has its word. */
static void write_swap_address(struct writer *w, unsigned to, const char *lane)
{
    text_add(w,
             "mad.lo.u32 %%t%u, %s, %u, %u;\nand.b32 %%t%u, %%t%u, 31;\nshl.b32 %%t%u, %%t%u, 2;\n"
             "mad.lo.u32 %%t%u, %%warp, 128, %%t%u;\nmov.b32 %%t7, swap;\n"
             "add.u32 %%t%u, %%t%u, %%t7;\n",
             to, lane, w->kernel->warp_factor, w->kernel->warp_offset, to, to, to, to, to, to, to,
             to);
}

static void write_swap(struct writer *w, const struct statement *s, const char *mask)
{
    write_swap_address(w, 0, "%lane");
    text_add(w,
             "st.shared.b32 [%%t0], %s;\nbar.warp.sync %s;\nand.b32 %%t1, %s, 31;\n"
             "shr.u32 %%t2, %s, %%t1;\nand.b32 %%t2, %%t2, 1;\nsetp.ne.u32 %%z0, %%t2, 0;\n"
             "selp.b32 %%t1, %%t1, %%lane, %%z0;\n",
             WORD(s->a), mask, WORD(s->b), mask);
    write_swap_address(w, 2, "%t1");
    text_add(w, "ld.shared.b32 %s, [%%t2];\nbar.warp.sync %s;\n", WORD(s->to), mask);
}

/* ---- the block ---- */

static const char *barrier(const struct statement *s)
{
    return s->plain ? "barrier" : "bar";
}

/* Stores or loads the word of `exchange` that has its number in %t0. */
static void write_exchange_access(struct writer *w, const struct statement *s, bool store)
{
    text_add(w, "shl.b32 %%t0, %%t0, 2;\nmov.b32 %%t1, exchange;\nadd.u32 %%t0, %%t0, %%t1;\n");
    if (store)
        text_add(w, "st.shared.b32 [%%t0], %s;\n", WORD(s->a));
    else
        text_add(w, "ld.shared.b32 %s, [%%t0];\n", WORD(s->to));
}

static void write_exchange(struct writer *w, const struct statement *s)
{
    uint32_t last = w->kernel->exchange_words - 1;

    text_add(w, "mad.lo.u32 %%t0, %%linear, %u, %u;\nand.b32 %%t0, %%t0, %u;\n",
             (s->constant & 0xff) | 1, s->constant >> 8, last);
    write_exchange_access(w, s, true);
    text_add(w, "%s.sync %u;\nand.b32 %%t0, %s, %u;\n", barrier(s), s->bytes, WORD(s->b), last);
    write_exchange_access(w, s, false);
    text_add(w, "%s.sync 0;\n", barrier(s));
}

static void write_read_cell(struct writer *w, const struct statement *s)
{
    text_add(w,
             "%s.sync 0;\nand.b32 %%t0, %s, %u;\nmad.lo.u32 %%t0, %%t0, 8, %u;\n"
             "mov.b32 %%t1, cells_shared;\nadd.u32 %%t0, %%t0, %%t1;\n"
             "ld.shared.v2.b32 {%%t1, %%t2}, [%%t0];\nxor.b32 %s, %%t1, %%t2;\n%s.sync %u;\n",
             barrier(s), WORD(s->b), CELL_SLOTS - 1, s->variant * CELL_SLOTS * 8, WORD(s->to),
             barrier(s), s->bytes);
}

static void write_barrier_reduce(struct writer *w, const struct statement *s)
{
    static const char *const modes[] = {"popc.u32", "and.pred", "or.pred"};
    uint32_t p = text_condition(w, &s->condition);

    text_add(w, "%s.red.%s %s, %u, %%p%u;\n", barrier(s), modes[s->variant],
             s->variant == 0 ? "%t1" : "%z0", s->bytes, p);
    if (s->variant != 0)
        text_add(w, "selp.b32 %%t1, 0x99, 0, %%z0;\n");
    text_add(w, "xor.b32 %s, %s, %%t1;\n", WORD(s->to), WORD(s->to));
}

static void write_split_barrier(struct writer *w, const struct statement *s)
{
    uint32_t p = text_condition(w, &s->condition), other = ++w->labels, end = ++w->labels;

    text_add(w,
             "@%%p%u bra L%u;\nadd.u32 %s, %s, 1;\nbarrier.sync %u;\nbra L%u;\nL%u:\n"
             "xor.b32 %s, %s, 0x1234;\nbarrier.sync %u;\nL%u:\n",
             p, other, WORD(s->to), WORD(s->to), s->bytes, end, other, WORD(s->to), WORD(s->to),
             s->bytes, end);
}

static void write_groups(struct writer *w, const struct statement *s)
{
    uint32_t threads = w->kernel->block[0] * w->kernel->block[1], first = s->constant * 32;
    uint32_t other = ++w->labels, end = ++w->labels;

    text_add(w, "mov.b32 %%t0, %%linear;\n");
    write_exchange_access(w, s, true);
    text_add(w,
             "setp.ge.u32 %%z0, %%warp, %u;\n@%%z0 bra L%u;\n%s.sync %u, %u;\n"
             "rem.u32 %%t0, %s, %u;\nbra L%u;\nL%u:\n%s.sync %u, %u;\nrem.u32 %%t0, %s, %u;\n"
             "add.u32 %%t0, %%t0, %u;\nL%u:\n",
             s->constant, other, barrier(s), s->bytes, first, WORD(s->b), first, end, other,
             barrier(s), s->bytes + 1u, threads - first, WORD(s->b), threads - first, first, end);
    write_exchange_access(w, s, false);
    text_add(w, "bar.sync 0;\n");
}

static void write_hand_over(struct writer *w, const struct statement *s)
{
    uint32_t threads = w->kernel->block[0] * w->kernel->block[1], first = s->constant * 32;
    uint32_t other = ++w->labels, end = ++w->labels;

    text_add(w, "setp.ge.u32 %%z0, %%warp, %u;\n@%%z0 bra L%u;\nmov.b32 %%t0, %%linear;\n",
             s->constant, other);
    write_exchange_access(w, s, true);
    text_add(w, "%s.arrive %u, %u;\nbra L%u;\nL%u:\n%s.sync %u, %u;\nrem.u32 %%t0, %s, %u;\n",
             barrier(s), s->bytes, threads, end, other, barrier(s), s->bytes, threads, WORD(s->b),
             first);
    write_exchange_access(w, s, false);
    text_add(w, "L%u:\nbar.sync 0;\n", end);
}

void text_meeting(struct writer *w, const struct statement *s, uint32_t mask_register)
{
    char mask[16] = "0xffffffff";

    text_together(w, mask_register);
    if (!s->whole)
        snprintf(mask, sizeof(mask), "%%m%u", mask_register);
    switch (s->kind) {
    case STATEMENT_SHUFFLE:
        write_shuffle(w, s, mask);
        break;
    case STATEMENT_VOTE:
        write_vote(w, s, mask);
        break;
    case STATEMENT_MATCH:
        write_match(w, s, mask);
        break;
    case STATEMENT_REDUCE:
        write_reduce(w, s, mask);
        break;
    case STATEMENT_SWAP:
        write_swap(w, s, mask);
        break;
    case STATEMENT_BARRIER:
        text_add(w, "%s.sync %u;\n", barrier(s), s->bytes);
        break;
    case STATEMENT_EXCHANGE:
        write_exchange(w, s);
        break;
    case STATEMENT_READ_CELL:
        write_read_cell(w, s);
        break;
    case STATEMENT_BARRIER_REDUCE:
        write_barrier_reduce(w, s);
        break;
    case STATEMENT_SPLIT_BARRIER:
        write_split_barrier(w, s);
        break;
    case STATEMENT_GROUPS:
        write_groups(w, s);
        break;
    default:
        write_hand_over(w, s);
        break;
    }
}
