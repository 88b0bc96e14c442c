/* SPDX-License-Identifier: MIT */
/* Random kernels as PTX. */
#include "soft/tests/random/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void text_add(struct writer *w, const char *format, ...)
{
    va_list list;
    int length;

    while (!w->failed) {
        va_start(list, format);
        length = vsnprintf(w->text + w->used, w->size - w->used, format, list);
        va_end(list);
        if (length >= 0 && (size_t)length < w->size - w->used) {
            w->used += (size_t)length;
            return;
        }
        char *grown = length < 0 ? NULL : realloc(w->text, w->size * 2 + (size_t)length);

        if (grown == NULL) {
            w->failed = true;
            return;
        }
        w->text = grown;
        w->size = w->size * 2 + (size_t)length;
    }
}

const char *text_operand(const struct operand *o, char letter)
{
    static _Thread_local char names[4][32];
    static _Thread_local unsigned turn;
    char *name = names[turn++ % 4];

    if (o->from == 'd')
        snprintf(name, sizeof(names[0]), "%%d");
    else if (o->from != '#')
        snprintf(name, sizeof(names[0]), "%%%c%u", o->from, o->index);
    else if (letter == 'f')
        snprintf(name, sizeof(names[0]), "0f%08" PRIX32, (uint32_t)o->number);
    else if (letter == 'd')
        snprintf(name, sizeof(names[0]), "0d%016" PRIX64, o->number);
    else if (letter == 'q')
        snprintf(name, sizeof(names[0]), "0x%" PRIx64, o->number);
    else
        snprintf(name, sizeof(names[0]), "%" PRId32, (int32_t)o->number);
    return name;
}

#define WORD(operand) text_operand(&(operand), 'w')

void text_together(struct writer *w, uint32_t mask)
{
    /* Of a mask that it knew, ptxas would say that all are here. */
    if (w->together)
        text_add(w, "xor.b32 %%t1, %%m%u, %%zero;\nbar.warp.sync %%t1;\n", mask);
}

/* ---- conditions ---- */

static void write_test(struct writer *w, const struct test *t, const char *join, uint32_t to,
                       const char *with)
{
    static const char *const relations[] = {"lt", "le", "eq", "ne", "gt", "ge"};
    static const char *const types[] = {"", "s32", "u32", "f32", "s64"};
    static const char letters[] = "wwwfq";

    if (t->comparison == COMPARE_BIT)
        text_add(w, "bfe.u32 %%t0, %s, %u, 1;\nsetp.ne%s.u32 %%p%u, %%t0, 0%s;\n", WORD(t->a),
                 t->bit, join, to, with);
    else
        text_add(w, "setp.%s%s.%s %%p%u, %s, %s%s;\n", relations[t->relation], join,
                 types[t->comparison], to, text_operand(&t->a, letters[t->comparison]),
                 text_operand(&t->b, letters[t->comparison]), with);
}

uint32_t text_condition(struct writer *w, const struct condition *c)
{
    uint32_t p = w->predicates++;
    char with[24];

    write_test(w, &c->tests[0], "", p, "");
    if (c->join == 0)
        return p;
    snprintf(with, sizeof(with), ", %%p%u", p);
    p = w->predicates++;
    write_test(w, &c->tests[1], c->join == '&' ? ".and" : c->join == '|' ? ".or" : ".xor", p, with);
    return p;
}

const char *text_guard(struct writer *w, const struct statement *s)
{
    static _Thread_local char guard[16];

    guard[0] = '\0';
    if (s->guarded)
        snprintf(guard, sizeof(guard), "@%s%%p%u ", s->negated ? "!" : "",
                 text_condition(w, &s->condition));
    return guard;
}

static void write_return(struct writer *w, uint32_t p, bool negated)
{
    const char *not = negated ? "!" : "";

    text_add(w,
             "@%s%%p%u st.param.b32 [result], %%v0;\n@%s%%p%u st.param.b64 [result+8], %%q0;\n"
             "@%s%%p%u ret;\n",
             not, p, not, p, not, p);
}

/* ---- statements with arms ---- */

static void write_list(struct writer *w, const struct list *list, uint32_t mask);

static void write_branch(struct writer *w, const struct statement *s, uint32_t mask)
{
    uint32_t p = text_condition(w, &s->condition), end = ++w->labels, other = ++w->labels;
    uint32_t masks[2] = {mask, mask};

    if (s->level == LEVEL_WARP) {
        masks[0] = w->masks++;
        masks[1] = w->masks++;
        text_together(w, mask);
        text_add(w, "vote.sync.ballot.b32 %%m%u, %%p%u, %%m%u;\n", masks[0], p, mask);
        text_add(w, "not.b32 %%t0, %%m%u;\nand.b32 %%m%u, %%m%u, %%t0;\n", masks[0], masks[1],
                 mask);
    }
    text_add(w, "@!%%p%u bra%s L%u;\n", p, s->level == LEVEL_BLOCK ? ".uni" : "",
             s->arm_count > 1 ? other : end);
    write_list(w, &s->arms[0], masks[0]);
    if (s->arm_count > 1) {
        text_add(w, "bra L%u;\nL%u:\n", end, other);
        write_list(w, &s->arms[1], masks[1]);
    }
    text_add(w, "L%u:\n", end);
}

static void write_loop(struct writer *w, const struct statement *s, uint32_t mask)
{
    struct written_loop *loop = &w->loops[w->loop_count++];
    uint32_t counter = w->counters++, p = w->predicates++, inner = mask;

    *loop = (struct written_loop){.again = ++w->labels, .end = ++w->labels};
    text_add(w, "and.b32 %%n%u, %s, %u;\n", counter, WORD(s->a), s->constant);
    if (s->level == LEVEL_WARP) {
        inner = w->masks++;
        text_add(w, "mov.b32 %%m%u, %%m%u;\n", inner, mask);
    }
    if (s->bottom) {
        /* Continue goes where the loop asks. */
        uint32_t body = ++w->labels;

        text_add(w, "L%u:\n", body);
        write_list(w, &s->arms[0], inner);
        text_add(w, "L%u:\n", loop->again);
        text_add(w, "setp.eq.u32 %%p%u, %%n%u, 0;\n@%%p%u bra L%u;\nsub.u32 %%n%u, %%n%u, 1;\n", p,
                 counter, p, loop->end, counter, counter);
        text_add(w, "@%%p%u bra L%u;\n", text_condition(w, &s->condition), body);
    } else {
        text_add(w, "L%u:\nsetp.ne.u32 %%p%u, %%n%u, 0;\n", loop->again, p, counter);
        if (s->level == LEVEL_WARP) {
            text_together(w, inner);
            text_add(w, "vote.sync.ballot.b32 %%m%u, %%p%u, %%m%u;\n", inner, p, inner);
        }
        text_add(w, "@!%%p%u bra L%u;\nsub.u32 %%n%u, %%n%u, 1;\n", p, loop->end, counter, counter);
        write_list(w, &s->arms[0], inner);
        text_add(w, "bra L%u;\n", loop->again);
    }
    text_add(w, "L%u:\n", loop->end);
    w->loop_count--;
}

static void write_switch(struct writer *w, const struct statement *s, uint32_t mask)
{
    uint32_t first = w->labels + 1, end, table, inner = mask;

    w->labels += s->arm_count;
    end = ++w->labels;
    table = ++w->labels;
    text_add(w, "bfe.u32 %%t0, %s, %u, %u;\n", WORD(s->a), s->constant, s->arm_count / 2);
    if (s->level == LEVEL_WARP) {
        inner = w->masks++;
        text_together(w, mask);
        text_add(w, "match.any.sync.b32 %%m%u, %%t0, %%m%u;\n", inner, mask);
    }
    text_add(w, "T%u: .branchtargets ", table);
    for (uint32_t n = 0; n < s->arm_count; n++)
        text_add(w, "L%u%s", first + n, n + 1 < s->arm_count ? ", " : ";\n");
    text_add(w, "brx.idx %%t0, T%u;\n", table);
    for (uint32_t n = 0; n < s->arm_count; n++) {
        text_add(w, "L%u:\n", first + n);
        write_list(w, &s->arms[n], inner);
        if (n + 1 < s->arm_count)
            text_add(w, "bra L%u;\n", end);
    }
    text_add(w, "L%u:\n", end);
}

static void write_graph(struct writer *w, const struct statement *s)
{
    uint32_t first = w->labels + 1, fuel = w->counters++, p;
    uint32_t end = first + s->arm_count;

    w->labels += s->arm_count + 1;
    text_add(w, "mov.b32 %%n%u, %u;\n", fuel, s->constant);
    for (uint32_t n = 0; n < s->arm_count; n++) {
        p = w->predicates++;
        text_add(w,
                 "L%u:\nsetp.eq.u32 %%p%u, %%n%u, 0;\n@%%p%u bra L%u;\nsub.u32 %%n%u, %%n%u, 1;\n",
                 first + n, p, fuel, p, end, fuel, fuel);
        write_list(w, &s->arms[n], 0);
        if (s->target_count[n] == 2)
            text_add(w, "@%%p%u bra L%u;\n", text_condition(w, &s->arm_conditions[n]),
                     first + s->targets[n][1]);
        if (s->target_count[n] <= 2) {
            text_add(w, "bra L%u;\n", first + s->targets[n][0]);
            continue;
        }
        text_add(w, "and.b32 %%t0, %s, 3;\nT%u: .branchtargets ", WORD(s->arm_index[n]),
                 ++w->labels);
        for (uint32_t t = 0; t < 4; t++)
            text_add(w, "L%u%s", first + s->targets[n][t], t < 3 ? ", " : ";\n");
        text_add(w, "brx.idx %%t0, T%u;\n", w->labels);
    }
    text_add(w, "L%u:\n", end);
}

#define PARAMETERS(a, b, q, u, d, m)                                                               \
    "(.param .b32 " a ", .param .b32 " b ", .param .b64 " q ", .param .b32 " u ", .param .b32 " d  \
    ", .param .b32 " m ")"

static void write_call(struct writer *w, const struct statement *s, uint32_t mask)
{
    uint32_t p = w->predicates++, skip = ++w->labels, inner = mask;
    char name[16];

    /* As many calls in one another as are left. */
    if (w->in_function || s->arm_index[0].from == '#')
        text_add(w, "mov.b32 %%t0, %s;\n", WORD(s->arm_index[0]));
    else
        text_add(w, "and.b32 %%t0, %s, 3;\n", WORD(s->arm_index[0]));
    text_add(w, "setp.ne.u32 %%p%u, %%t0, 0;\n", p);
    if (s->level == LEVEL_WARP) {
        inner = w->masks++;
        text_together(w, mask);
        text_add(w, "vote.sync.ballot.b32 %%m%u, %%p%u, %%m%u;\n", inner, p, mask);
    }
    text_add(w, "@!%%p%u bra L%u;\nsub.u32 %%t0, %%t0, 1;\n", p, skip);
    snprintf(name, sizeof(name), "f%u", s->constant);
    if (s->plain) {
        text_add(w,
                 "and.b32 %%t1, %s, 1;\nmul.wide.u32 %%x0, %%t1, 8;\nmov.u64 %%x1, pointers;\n"
                 "add.u64 %%x0, %%x0, %%x1;\nld.global.u64 %%x2, [%%x0];\n",
                 WORD(s->b));
        snprintf(name, sizeof(name), "%%x2");
    }
    text_add(w,
             "{\n.param .align 8 .b8 to[16];\n.param .b32 ca, cb, cu, cd, cm;\n.param .b64 cq;\n"
             "st.param.b32 [ca], %s;\nst.param.b32 [cb], %s;\nst.param.b64 [cq], %%q%u;\n"
             "st.param.b32 [cu], %s;\nst.param.b32 [cd], %%t0;\nst.param.b32 [cm], %%m%u;\n",
             WORD(s->a), WORD(s->b), s->to.index % QUADS, WORD(s->c), inner);
    if (s->plain)
        text_add(w, "shape: .callprototype (.param .align 8 .b8 _[16]) _ " PARAMETERS(
                        "_", "_", "_", "_", "_", "_") ";\n");
    text_add(w, "call (to), %s, (ca, cb, cq, cu, cd, cm)%s;\n", name, s->plain ? ", shape" : "");
    text_add(w, "ld.param.b32 %s, [to];\nld.param.b64 %%q%u, [to+8];\n}\nL%u:\n", WORD(s->to),
             s->to.index % QUADS, skip);
}

static void write_jump(struct writer *w, const struct statement *s, uint32_t mask)
{
    const struct written_loop *loop =
        s->kind == STATEMENT_LEAVE_IF ? &w->loops[w->loop_count - 1] : &w->loops[s->constant];
    uint32_t p = text_condition(w, &s->condition);
    bool negated = s->negated;

    switch (s->kind) {
    case STATEMENT_LEAVE_IF:
    case STATEMENT_RETURN_IF:
        text_together(w, mask);
        text_add(w, "vote.sync.ballot.b32 %%m%u, %s%%p%u, %%m%u;\n", mask, negated ? "" : "!", p,
                 mask);
        if (s->kind == STATEMENT_RETURN_IF) {
            write_return(w, p, negated);
            return;
        }
        break;
    case STATEMENT_RETURN:
        write_return(w, p, negated);
        return;
    default:
        break;
    }
    text_add(w, "@%s%%p%u bra L%u;\n", negated ? "!" : "", p,
             s->kind == STATEMENT_CONTINUE ? loop->again : loop->end);
}

static void write_statement(struct writer *w, const struct statement *s, uint32_t mask)
{
    switch (s->kind) {
    case STATEMENT_IF:
        write_branch(w, s, mask);
        break;
    case STATEMENT_LOOP:
        write_loop(w, s, mask);
        break;
    case STATEMENT_SWITCH:
        write_switch(w, s, mask);
        break;
    case STATEMENT_GRAPH:
        write_graph(w, s);
        break;
    case STATEMENT_BREAK:
    case STATEMENT_CONTINUE:
    case STATEMENT_RETURN:
    case STATEMENT_LEAVE_IF:
    case STATEMENT_RETURN_IF:
        write_jump(w, s, mask);
        break;
    case STATEMENT_CALL:
        write_call(w, s, mask);
        break;
    default:
        if (s->kind >= STATEMENT_SHUFFLE)
            text_meeting(w, s, mask);
        else
            text_alone(w, s);
        break;
    }
    if (s->refresh) {
        text_together(w, mask);
        text_add(w, "setp.eq.u32 %%z0, 0, 0;\nvote.sync.ballot.b32 %%m%u, %%z0, %%m%u;\n", mask,
                 mask);
    }
}

static void write_list(struct writer *w, const struct list *list, uint32_t mask)
{
    for (uint32_t n = 0; n < list->count; n++)
        write_statement(w, list->statements[n], mask);
}

/* ---- functions ---- */

static void write_place(struct writer *w)
{
    const struct kernel *k = w->kernel;

    text_add(w,
             "mov.u32 %%t0, %%tid.x;\nmov.u32 %%t1, %%tid.y;\nmov.u32 %%t2, %%ntid.x;\n"
             "mad.lo.u32 %%linear, %%t1, %%t2, %%t0;\nmov.u32 %%t0, %%ctaid.x;\n"
             "mad.lo.u32 %%global, %%t0, %u, %%linear;\nmov.u32 %%lane, %%laneid;\n"
             "shr.u32 %%warp, %%linear, 5;\nmov.u32 %%zero, %%ctaid.z;\n"
             "cvt.u64.u32 %%zero64, %%zero;\nmov.b64 %%x0, 0;\n"
             "st.local.v2.b64 [here], {%%x0, %%x0};\nst.local.v2.b64 [here+16], {%%x0, %%x0};\n",
             k->block[0] * k->block[1]);
}

static void write_uniforms(struct writer *w)
{
    text_add(w,
             "mad.lo.u32 %%u1, %%u0, 3, 1;\nxor.b32 %%u2, %%u0, 0x55;\nshr.u32 %%u3, %%u0, 3;\n");
}

static void write_start(struct writer *w)
{
    const struct kernel *k = w->kernel;
    uint32_t threads = k->block[0] * k->block[1];
    const struct {
        const char *name;
        uint32_t words;
    } areas[] = {{"exchange", k->exchange_words},
                 {"swap", (threads + 31) / 32 * 32},
                 {"own_shared", threads * OWN_BYTES / 4},
                 {"cells_shared", CELLS * CELL_SLOTS * 2}};

    text_add(w,
             "ld.param.u32 %%v3, [p0];\nld.param.u32 %%v7, [p1];\nld.param.u64 %%q0, [p2];\n"
             "mul.lo.u32 %%v0, %%global, 0x9e3779b1;\nmov.b32 %%v1, %%lane;\n"
             "mov.b32 %%v4, %%linear;\nmov.u32 %%v6, %%ctaid.x;\n"
             "ld.global.u64 %%x0, [input];\nand.b32 %%t0, %%global, %u;\n"
             "mul.wide.u32 %%x1, %%t0, 4;\nadd.u64 %%x1, %%x1, %%x0;\nld.global.b32 %%v2, [%%x1];\n"
             "mad.lo.u32 %%t0, %%global, 7, 3;\nand.b32 %%t0, %%t0, %u;\n"
             "mul.wide.u32 %%x1, %%t0, 4;\nadd.u64 %%x1, %%x1, %%x0;\nld.global.b32 %%v5, [%%x1];\n"
             "cvt.u64.u32 %%q3, %%global;\nmad.lo.u64 %%q1, %%q0, %%q3, 1;\n"
             "mov.b64 %%q2, {%%v2, %%v5};\nadd.u32 %%u0, %%v3, %%v6;\nmov.b32 %%d, 0;\n",
             INPUT_WORDS - 1, INPUT_WORDS - 1);
    write_uniforms(w);
    /* The lanes of a warp that there are. */
    text_add(w,
             "shl.b32 %%t0, %%warp, 5;\nsub.u32 %%t0, %u, %%t0;\nmov.b32 %%t1, -1;\n"
             "shl.b32 %%t1, %%t1, %%t0;\nnot.b32 %%m0, %%t1;\n",
             threads);
    for (size_t n = 0; n < sizeof(areas) / sizeof(areas[0]); n++) {
        uint32_t again = ++w->labels, end = ++w->labels;

        text_add(w,
                 "mov.b32 %%t0, %%linear;\nL%u:\nsetp.ge.u32 %%z0, %%t0, %u;\n@%%z0 bra L%u;\n"
                 "mov.b32 %%t2, %s;\nmad.lo.u32 %%t1, %%t0, 4, %%t2;\nmov.b32 %%t3, 0;\n",
                 again, areas[n].words, end, areas[n].name);
        /* All bits are set where some are to be cleared. */
        if (n == 3)
            text_add(
                w, "shr.u32 %%t4, %%t0, 4;\nsetp.eq.u32 %%z0, %%t4, %u;\n@%%z0 mov.b32 %%t3, -1;\n",
                CELL_AND);
        text_add(w, "st.shared.b32 [%%t1], %%t3;\nadd.u32 %%t0, %%t0, %u;\nbra L%u;\nL%u:\n",
                 threads, again, end);
    }
    text_add(w, "bar.sync 0;\n");
}

static void write_end(struct writer *w)
{
    text_add(w,
             "mov.u64 %%x0, results;\nmul.wide.u32 %%x1, %%global, %u;\nadd.u64 %%x0, %%x0, %%x1;\n"
             "st.global.v4.b32 [%%x0], {%%v0, %%v1, %%v2, %%v3};\n"
             "st.global.v4.b32 [%%x0+16], {%%v4, %%v5, %%v6, %%v7};\n"
             "st.global.v2.b64 [%%x0+32], {%%q0, %%q1};\n"
             "st.global.v2.b64 [%%x0+48], {%%q2, %%q3};\nret;\n}\n",
             ROW_WORDS * 4);
}

/* How many registers there are is known at the end: the body goes to a text of its own. */
static void write_body(struct writer *w, const struct list *list, bool in_function)
{
    struct writer body = {.kernel = w->kernel,
                          .text = malloc(65536),
                          .size = 65536,
                          .in_function = in_function,
                          .together = w->together,
                          .labels = w->labels,
                          .masks = 1};

    body.failed = body.text == NULL;
    write_place(&body);
    if (in_function) {
        text_add(&body,
                 "ld.param.b32 %%v0, [a];\nld.param.b32 %%v1, [b];\nld.param.b64 %%q0, [q];\n"
                 "ld.param.b32 %%u0, [u];\nld.param.b32 %%d, [d];\nld.param.b32 %%m0, [m];\n"
                 "xor.b32 %%v2, %%v0, %%v1;\nmov.b32 %%v3, %%lane;\nadd.u32 %%v4, %%v0, %%v1;\n"
                 "mov.b32 %%v5, %%u0;\nmov.b32 %%v6, %%linear;\nmov.b32 %%v7, %%d;\n"
                 "mov.b64 %%q1, {%%v0, %%v1};\nnot.b64 %%q2, %%q0;\ncvt.u64.u32 %%q3, %%linear;\n");
        write_uniforms(&body);
    } else {
        write_start(&body);
    }
    write_list(&body, list, 0);
    if (in_function)
        text_add(&body, "st.param.b32 [result], %%v0;\nst.param.b64 [result+8], %%q0;\nret;\n}\n");
    else
        write_end(&body);
    w->failed |= body.failed;
    w->labels = body.labels;
    text_add(w,
             ".reg .b32 %%v<%u>, %%u<%u>, %%t<%u>, %%lane, %%warp, %%linear, %%global, %%d,"
             " %%zero;\n.reg .b64 %%q<%u>, %%x<3>, %%zero64;\n.reg .pred %%z<3>, %%p<%u>;\n"
             ".reg .b32 %%n<%u>, %%m<%u>;\n.local .align 16 .b8 here[%u];\n",
             WORDS, UNIFORMS, SCRATCH, QUADS, body.predicates + 1, body.counters + 1, body.masks,
             OWN_BYTES);
    if (!w->failed)
        text_add(w, "%s", body.text);
    free(body.text);
}

static void write_variables(struct writer *w)
{
    const struct kernel *k = w->kernel;
    uint32_t threads = k->block[0] * k->block[1];

    text_add(
        w,
        ".version 8.0\n.target sm_80\n.address_size 64\n"
        ".visible .global .align 16 .b8 results[%u];\n.visible .global .align 16 .b8 own[%u];\n"
        ".visible .global .align 16 .b8 cells[%u];\n.visible .global .u64 input;\n"
        ".shared .align 16 .b8 exchange[%u], swap[%u], own_shared[%u], cells_shared[%u];\n"
        ".const .align 4 .u32 table[%u] = {",
        k->grid * threads * ROW_WORDS * 4, k->grid * threads * OWN_BYTES, CELL_COUNT * 8,
        k->exchange_words * 4, (threads + 31) / 32 * 128, threads * OWN_BYTES,
        CELLS * CELL_SLOTS * 8, TABLE_WORDS);
    for (uint32_t n = 0; n < TABLE_WORDS; n++)
        text_add(w, "%u%s", k->table[n], n + 1 < TABLE_WORDS ? ", " : "};\n");
}

#define HEAD ".func (.param .align 8 .b8 result[16]) f%u" PARAMETERS("a", "b", "q", "u", "d", "m")

char *kernel_text(const struct kernel *k, bool together)
{
    struct writer w = {.kernel = k, .text = malloc(65536), .size = 65536, .together = together};

    w.failed = w.text == NULL;
    write_variables(&w);
    for (uint32_t n = 0; n < FUNCTIONS; n++)
        text_add(&w, HEAD ";\n", n);
    text_add(&w, ".global .align 8 .u64 pointers[2] = {f0, f1};\n");
    for (uint32_t n = 0; n < FUNCTIONS; n++) {
        text_add(&w, HEAD "\n{\n", n);
        write_body(&w, &k->functions[n].body, true);
    }
    text_add(&w, ".visible .entry k(.param .u32 p0, .param .u32 p1, .param .u64 p2)\n{\n");
    write_body(&w, &k->body, false);
    if (w.failed) {
        free(w.text);
        return NULL;
    }
    return w.text;
}
