/* SPDX-License-Identifier: MIT */
/* Statements that each thread does alone, as PTX. */
#include <stdio.h>
#include <string.h>

#include "soft/tests/random/text.h"

#define WORD(operand) text_operand(&(operand), 'w')
#define QUAD(operand) text_operand(&(operand), 'q')

static void write_operation(struct writer *w, const struct statement *s)
{
    const struct operation *o = &operations[s->operation];
    const struct operand *operands[] = {&s->to, &s->a, &s->b, &s->c};
    bool block = o->text[0] == '{' || strchr(o->text, ';') != o->text + strlen(o->text) - 1;
    uint32_t skip = 0, p;

    if (s->guarded) {
        p = text_condition(w, &s->condition);
        if (block) {
            skip = ++w->labels;
            text_add(w, "@%s%%p%u bra L%u;\n", s->negated ? "" : "!", p, skip);
        } else {
            text_add(w, "@%s%%p%u ", s->negated ? "!" : "", p);
        }
    }
    for (const char *c = o->text; *c != '\0'; c++) {
        size_t n;

        if (*c != '%') {
            text_add(w, "%c", *c);
            continue;
        }
        c++;
        n = *c == 'd' ? 0 : (size_t)(*c - 'a') + 1;
        text_add(w, "%s", text_operand(operands[n], o->letters[n]));
    }
    text_add(w, "\n");
    /*
     * ptxas 13.0 remembers that a register without a type got a floating-point number, and
     * converts it to an integer where a shift of 64 bits or a store of 8 wants one. Of four mad.hi
     * that add up in a loop, it leaves two. It cannot do this with what comes from here.
     */
    if (o->letters[0] == 'f' || strncmp(o->text, "mad.hi", 6) == 0)
        text_add(w, "xor.b32 %s, %s, %%zero;\n", WORD(s->to), WORD(s->to));
    else if (o->letters[0] == 'd')
        text_add(w, "xor.b64 %s, %s, %%zero64;\n", text_operand(&s->to, 'q'),
                 text_operand(&s->to, 'q'));
    if (skip != 0)
        text_add(w, "L%u:\n", skip);
}

/* %x0 becomes the address of a thread's own memory, and the name of its space is returned. */
static const char *write_own_address(struct writer *w, const struct statement *s)
{
    static const char *const names[] = {".global", ".shared", ".local"};

    text_add(w, "and.b32 %%t0, %s, %u;\n", WORD(s->b), OWN_BYTES - s->bytes);
    switch (s->space) {
    case SPACE_GLOBAL:
        text_add(w, "mov.u64 %%x0, own;\nmad.lo.u32 %%t0, %%global, %u, %%t0;\n", OWN_BYTES);
        break;
    case SPACE_SHARED:
        text_add(w, "mov.u64 %%x0, own_shared;\nmad.lo.u32 %%t0, %%linear, %u, %%t0;\n", OWN_BYTES);
        break;
    default:
        text_add(w, "mov.u64 %%x0, here;\n");
        break;
    }
    text_add(w, "cvt.u64.u32 %%x1, %%t0;\nadd.u64 %%x0, %%x0, %%x1;\n");
    if (!s->plain)
        return names[s->space];
    text_add(w, "cvta%s.u64 %%x0, %%x0;\n", names[s->space]);
    return "";
}

static void write_own(struct writer *w, const struct statement *s, bool store)
{
    static const char *const loads[2][4] = {{"u8", "u16", "b32", "b64"},
                                            {"s8", "s16", "b32", "b64"}};
    static const char *const stores[] = {"b8", "b16", "b32", "b64"};
    unsigned size = (unsigned)__builtin_ctz(s->bytes);
    const char *guard = text_guard(w, s), *space;
    char kept[16];

    snprintf(kept, sizeof(kept), "%s", guard);
    space = write_own_address(w, s);
    if (store && s->bytes == 2)
        text_add(w, "{ .reg .b16 h;\ncvt.u16.u32 h, %s;\n%sst%s.b16 [%%x0], h; }\n", WORD(s->a),
                 kept, space);
    else if (store)
        text_add(w, "%sst%s.%s [%%x0], %s;\n", kept, space, stores[size], WORD(s->a));
    else
        text_add(w, "%sld%s.%s %s, [%%x0];\n", kept, space, loads[s->variant][size], WORD(s->to));
}

static void write_memory(struct writer *w, const struct statement *s)
{
    if (s->kind == STATEMENT_TABLE)
        text_add(w,
                 "and.b32 %%t0, %s, %u;\nmul.wide.u32 %%x0, %%t0, 4;\nmov.u64 %%x1, table;\n"
                 "add.u64 %%x0, %%x0, %%x1;\nld.const.b32 %s, [%%x0];\n",
                 WORD(s->a), TABLE_WORDS - 1, WORD(s->to));
    else
        text_add(
            w,
            "and.b32 %%t0, %s, %u;\nmul.wide.u32 %%x0, %%t0, 4;\nld.global.u64 %%x1, [input];\n"
            "add.u64 %%x0, %%x0, %%x1;\nld.global.nc.b32 %s, [%%x0];\n",
            WORD(s->a), INPUT_WORDS - 1, WORD(s->to));
}

/* By compare and swap until nobody else was faster. */
static void write_swap_loop(struct writer *w, const char *space, const char *value)
{
    uint32_t again = ++w->labels, p = w->predicates++;

    text_add(w,
             "shf.l.wrap.b32 %%t2, %s, %s, 5;\nld.relaxed.gpu%s.b32 %%t3, [%%x0];\nL%u:\n"
             "xor.b32 %%t4, %%t3, %%t2;\nmov.b32 %%t5, %%t3;\n"
             "atom%s.cas.b32 %%t3, [%%x0], %%t5, %%t4;\nsetp.ne.u32 %%p%u, %%t3, %%t5;\n"
             "@%%p%u bra L%u;\n",
             value, value, space, again, space, p, p, again);
}

static void write_atomic(struct writer *w, const struct statement *s)
{
    static const char *const operations_of[CELLS] = {
        [CELL_ADD] = "add.u32", [CELL_ADD64] = "add.u64", [CELL_MIN] = "min.s32",
        [CELL_MAX] = "max.u32", [CELL_AND] = "and.b32",   [CELL_OR] = "or.b32",
        [CELL_XOR] = "xor.b32", [CELL_INC] = "inc.u32",   [CELL_FLOAT] = "add.f32"};
    const char *space = s->space == SPACE_GLOBAL ? ".global" : ".shared", *value = "%t1";
    char guard[16];

    snprintf(guard, sizeof(guard), "%s", text_guard(w, s));
    text_add(w,
             "and.b32 %%t0, %s, %u;\nmad.lo.u32 %%t0, %%t0, 8, %u;\ncvt.u64.u32 %%x0, %%t0;\n"
             "mov.u64 %%x1, %s;\nadd.u64 %%x0, %%x0, %%x1;\n",
             WORD(s->b), CELL_SLOTS - 1, s->variant * CELL_SLOTS * 8,
             s->space == SPACE_GLOBAL ? "cells" : "cells_shared");
    if (s->plain) {
        text_add(w, "cvta%s.u64 %%x0, %%x0;\n", space);
        space = "";
    }
    if (s->variant == CELL_ADD64)
        value = QUAD(s->a);
    else if (s->variant == CELL_INC)
        value = "11";
    else if (s->variant == CELL_FLOAT)
        text_add(w, "and.b32 %%t1, %s, 15;\ncvt.rn.f32.u32 %%t1, %%t1;\n", WORD(s->a));
    else
        text_add(w, "mov.b32 %%t1, %s;\n", WORD(s->a));
    if (s->variant == CELL_SWAP)
        write_swap_loop(w, space, value);
    else
        text_add(w, "%sred%s.%s [%%x0], %s;\n", guard, space, operations_of[s->variant], value);
}

/* A lock that threads of one warp want at once. */
static void write_locked(struct writer *w, const struct statement *s)
{
    uint32_t again = ++w->labels, p = w->predicates++, missed = ++w->labels;

    text_add(w,
             "mov.u64 %%x0, cells;\nmov.b32 %%t1, 0;\nL%u:\n"
             "atom.global.cas.b32 %%t0, [%%x0+%u], 0, 1;\nsetp.ne.u32 %%p%u, %%t0, 0;\n"
             "@%%p%u bra L%u;\nmembar.gl;\nld.volatile.global.b32 %%t2, [%%x0+%u];\n"
             "add.u32 %%t2, %%t2, %s;\nst.volatile.global.b32 [%%x0+%u], %%t2;\nmembar.gl;\n"
             "mov.b32 %%t1, 1;\natom.global.exch.b32 %%t0, [%%x0+%u], 0;\nL%u:\n"
             "setp.eq.u32 %%p%u, %%t1, 0;\n@%%p%u bra L%u;\n",
             again, CELLS * CELL_SLOTS * 8, p, p, missed, CELLS * CELL_SLOTS * 8 + 8, WORD(s->a),
             CELLS * CELL_SLOTS * 8 + 8, CELLS * CELL_SLOTS * 8, missed, p, p, again);
}

static void write_exit(struct writer *w, const struct statement *s)
{
    uint32_t p = text_condition(w, &s->condition), skip = ++w->labels;
    const char *leave = w->in_function || s->variant % 2 == 0 ? "exit" : "ret";
    char guard[16] = "";

    if (s->plain)
        snprintf(guard, sizeof(guard), "@%s%%p%u ", s->negated ? "!" : "", p);
    else
        text_add(w, "@%s%%p%u bra L%u;\n", s->negated ? "" : "!", p, skip);
    text_add(w,
             "mov.u64 %%x0, results;\nmul.wide.u32 %%x1, %%global, %u;\nadd.u64 %%x0, %%x0, %%x1;\n"
             "add.u32 %%t0, %%v0, %u;\n%sst.global.v2.b32 [%%x0], {%%t0, %%v1};\n"
             "%sst.global.b64 [%%x0+8], %%q0;\n%s%s;\nL%u:\n",
             ROW_WORDS * 4, s->variant + 1u, guard, guard, guard, leave, skip);
}

void text_alone(struct writer *w, const struct statement *s)
{
    switch (s->kind) {
    case STATEMENT_OPERATION:
        write_operation(w, s);
        break;
    case STATEMENT_EXIT:
        write_exit(w, s);
        break;
    case STATEMENT_OWN_STORE:
    case STATEMENT_OWN_LOAD:
        write_own(w, s, s->kind == STATEMENT_OWN_STORE);
        break;
    case STATEMENT_TABLE:
    case STATEMENT_INPUT:
        write_memory(w, s);
        break;
    case STATEMENT_ATOMIC:
        write_atomic(w, s);
        break;
    default:
        write_locked(w, s);
        break;
    }
}
