/* SPDX-License-Identifier: MIT */
/* What random kernels compute, statement by statement, each for the set of threads that do it. */
#include "soft/tests/random/evaluate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STEPS 20000000

uint64_t evaluate_operand(const struct frame *f, const struct operand *o, uint32_t t)
{
    switch (o->from) {
    case 'v':
        return f->words[o->index][t];
    case 'u':
        return f->uniforms[o->index][t];
    case 'q':
        return f->quads[o->index][t];
    case 'd':
        return f->depth[t];
    default:
        return o->number;
    }
}

static uint32_t word_of(const struct frame *f, const struct operand *o, uint32_t t)
{
    return (uint32_t)evaluate_operand(f, o, t);
}

/* ---- conditions ---- */

#define RELATE(relation, a, b)                                                                     \
    ((relation) == LESS         ? (a) < (b)                                                        \
     : (relation) == LESS_EQUAL ? (a) <= (b)                                                       \
     : (relation) == EQUAL      ? (a) == (b)                                                       \
     : (relation) == NOT_EQUAL  ? (a) < (b) || (a) > (b)                                           \
     : (relation) == GREATER    ? (a) > (b)                                                        \
                                : (a) >= (b))

static bool evaluate_test(const struct frame *f, const struct test *test, uint32_t t)
{
    uint64_t a = evaluate_operand(f, &test->a, t), b = evaluate_operand(f, &test->b, t);
    uint32_t low[2] = {(uint32_t)a, (uint32_t)b};
    float floats[2];

    switch (test->comparison) {
    case COMPARE_BIT:
        return low[0] >> test->bit & 1;
    case COMPARE_SIGNED:
        return RELATE(test->relation, (int32_t)low[0], (int32_t)low[1]);
    case COMPARE_UNSIGNED:
        return RELATE(test->relation, low[0], low[1]);
    case COMPARE_FLOAT:
        /* Not one of these relations is true of a NaN. */
        memcpy(floats, low, sizeof(floats));
        return RELATE(test->relation, floats[0], floats[1]);
    default:
        return RELATE(test->relation, (int64_t)a, (int64_t)b);
    }
}

bool evaluate_condition(const struct frame *f, const struct condition *c, uint32_t t)
{
    bool first = evaluate_test(f, &c->tests[0], t), second;

    if (c->join == 0)
        return first;
    second = evaluate_test(f, &c->tests[1], t);
    return c->join == '&' ? first && second : c->join == '|' ? first || second : first != second;
}

static bool goes(const struct frame *f, const struct statement *s, uint32_t t)
{
    return !s->guarded || evaluate_condition(f, &s->condition, t) != s->negated;
}

/* Takes those for whom the statement's condition holds out of a set. */
static struct set take_those(const struct frame *f, const struct statement *s, struct set *set)
{
    struct set taken = {0};

    EACH(t, set)
    {
        if (goes(f, s, t)) {
            set_change(&taken, t, true);
            set_change(set, t, false);
        }
    }
    return taken;
}

/* ---- single statements ---- */

static void evaluate_simple(struct frame *f, const struct statement *s, uint32_t t)
{
    const struct operation *o = &operations[s->operation];
    uint64_t value = o->value(evaluate_operand(f, &s->a, t), evaluate_operand(f, &s->b, t),
                              evaluate_operand(f, &s->c, t));

    if (s->to.from == 'q')
        f->quads[s->to.index][t] = value;
    else if (s->to.from == 'u')
        f->uniforms[s->to.index][t] = (uint32_t)value;
    else
        f->words[s->to.index][t] = (uint32_t)value;
}

static void evaluate_own(struct evaluation *e, struct frame *f, const struct statement *s,
                         uint32_t t)
{
    uint8_t *memory = s->space == SPACE_GLOBAL
                          ? e->results->own + ((size_t)e->block * e->threads + t) * OWN_BYTES
                      : s->space == SPACE_SHARED ? e->own[t]
                                                 : f->here[t];
    uint64_t value = evaluate_operand(f, &s->a, t);

    memory += word_of(f, &s->b, t) & (OWN_BYTES - s->bytes);
    if (s->kind == STATEMENT_OWN_STORE) {
        memcpy(memory, &value, s->bytes);
        return;
    }
    value = 0;
    memcpy(&value, memory, s->bytes);
    if (s->variant != 0 && s->bytes < 4)
        value = s->bytes == 1 ? (uint64_t)(int8_t)value : (uint64_t)(int16_t)value;
    if (s->bytes == 8)
        f->quads[s->to.index][t] = value;
    else
        f->words[s->to.index][t] = (uint32_t)value;
}

static void evaluate_atomic(struct evaluation *e, struct frame *f, const struct statement *s,
                            uint32_t t)
{
    uint64_t *cells = s->space == SPACE_GLOBAL ? e->results->cells : e->cells;
    uint64_t *cell = &cells[s->variant * CELL_SLOTS + (word_of(f, &s->b, t) & (CELL_SLOTS - 1))];
    uint64_t value = evaluate_operand(f, &s->a, t), high = *cell & ~(uint64_t)UINT32_MAX;
    uint32_t low = (uint32_t)value, old = (uint32_t)*cell;
    float sum;

    switch (s->variant) {
    case CELL_ADD:
        *cell = high | (uint32_t)(old + low);
        break;
    case CELL_ADD64:
        *cell += value;
        break;
    case CELL_MIN:
        *cell = high | ((int32_t)low < (int32_t)old ? low : old);
        break;
    case CELL_MAX:
        *cell = high | (low > old ? low : old);
        break;
    case CELL_AND:
        *cell = high | (old & low);
        break;
    case CELL_OR:
        *cell = high | old | low;
        break;
    case CELL_XOR:
        *cell = high | (old ^ low);
        break;
    case CELL_INC:
        *cell = high | (old >= 11 ? 0 : old + 1);
        break;
    case CELL_FLOAT:
        memcpy(&sum, &old, sizeof(sum));
        sum += (float)(low & 15);
        memcpy(&old, &sum, sizeof(sum));
        *cell = high | old;
        break;
    default:
        *cell = high | (old ^ (low << 5 | low >> 27));
        break;
    }
}

static void evaluate_exit(struct evaluation *e, struct frame *f, const struct statement *s,
                          uint32_t t)
{
    uint32_t *row = e->results->rows + ((size_t)e->block * e->threads + t) * ROW_WORDS;

    row[0] = f->words[0][t] + s->variant + 1;
    row[1] = f->words[1][t];
    memcpy(&row[2], &f->quads[0][t], sizeof(uint64_t));
}

/* ---- statements with arms; each leaves in `set` the threads that go on after it ---- */

static void evaluate_list(struct evaluation *e, struct frame *f, const struct list *list,
                          struct set *set);

static void evaluate_branch(struct evaluation *e, struct frame *f, const struct statement *s,
                            struct set *set)
{
    struct set then = {0};

    EACH(t, set)
    {
        if (evaluate_condition(f, &s->condition, t)) {
            set_change(&then, t, true);
            set_change(set, t, false);
        }
    }
    evaluate_list(e, f, &s->arms[0], &then);
    if (s->arm_count > 1)
        evaluate_list(e, f, &s->arms[1], set);
    set_add(set, &then);
}

/* Takes those that do not go round once more to those that have left. */
static void ask(struct frame *f, const struct statement *s, uint8_t *trips, struct set *in,
                struct set *left, bool again)
{
    EACH(t, in)
    {
        bool stays = trips[t] > 0;

        if (stays)
            trips[t]--;
        if (stays && again)
            stays = evaluate_condition(f, &s->condition, t);
        if (!stays) {
            set_change(in, t, false);
            set_change(left, t, true);
        }
    }
}

static void evaluate_loop(struct evaluation *e, struct frame *f, const struct statement *s,
                          struct set *set)
{
    struct evaluated_loop loop = {0};
    uint8_t trips[MOST_THREADS];
    struct set in = *set;

    EACH(t, set) trips[t] = word_of(f, &s->a, t) & s->constant;
    e->loops[e->loop_count++] = &loop;
    if (!s->bottom)
        ask(f, s, trips, &in, &loop.left, false);
    while (!set_empty(&in) && e->error == 0) {
        loop.again = (struct set){0};
        evaluate_list(e, f, &s->arms[0], &in);
        set_add(&in, &loop.again);
        ask(f, s, trips, &in, &loop.left, s->bottom);
    }
    e->loop_count--;
    *set = loop.left;
}

static void evaluate_switch(struct evaluation *e, struct frame *f, const struct statement *s,
                            struct set *set)
{
    struct set arms[MOST_ARMS] = {0};

    EACH(t, set)
    set_change(&arms[word_of(f, &s->a, t) >> s->constant & (s->arm_count - 1)], t, true);
    *set = (struct set){0};
    for (uint32_t n = 0; n < s->arm_count; n++) {
        evaluate_list(e, f, &s->arms[n], &arms[n]);
        set_add(set, &arms[n]);
    }
}

static uint32_t next_node(const struct frame *f, const struct statement *s, uint32_t node,
                          uint32_t t)
{
    if (s->target_count[node] == 1)
        return s->targets[node][0];
    if (s->target_count[node] == 2)
        return s->targets[node][evaluate_condition(f, &s->arm_conditions[node], t)];
    return s->targets[node][word_of(f, &s->arm_index[node], t) & 3];
}

static void evaluate_graph(struct evaluation *e, struct frame *f, const struct statement *s,
                           struct set *set)
{
    struct set at[MOST_ARMS + 1] = {*set};
    uint8_t fuel[MOST_THREADS];
    bool any = true;

    memset(fuel, (int)s->constant, sizeof(fuel));
    /* Threads have nothing to do with one another here, so any order will do. */
    while (any && e->error == 0) {
        any = false;
        for (uint32_t n = 0; n < s->arm_count; n++) {
            struct set here = at[n];

            at[n] = (struct set){0};
            EACH(t, &here)
            {
                if (fuel[t]-- == 0) {
                    set_change(&here, t, false);
                    set_change(&at[s->arm_count], t, true);
                }
            }
            any |= !set_empty(&here);
            evaluate_list(e, f, &s->arms[n], &here);
            EACH(t, &here) set_change(&at[next_node(f, s, n, t)], t, true);
        }
    }
    *set = at[s->arm_count];
}

static void start_function(const struct evaluation *e, struct frame *f, const struct frame *caller,
                           const struct statement *s, const struct set *set)
{
    const bool inside = s->arm_index[0].from == 'd' || s->arm_index[0].from == '#';

    (void)e;
    EACH(t, set)
    {
        uint32_t a = word_of(caller, &s->a, t), b = word_of(caller, &s->b, t);
        uint32_t u = word_of(caller, &s->c, t), d = word_of(caller, &s->arm_index[0], t);
        uint64_t q = caller->quads[s->to.index % QUADS][t];

        d = (inside ? d : d & 3) - 1;
        f->words[0][t] = a;
        f->words[1][t] = b;
        f->words[2][t] = a ^ b;
        f->words[3][t] = t % 32;
        f->words[4][t] = a + b;
        f->words[5][t] = u;
        f->words[6][t] = t;
        f->words[7][t] = d;
        f->quads[0][t] = q;
        f->quads[1][t] = a | (uint64_t)b << 32;
        f->quads[2][t] = ~q;
        f->quads[3][t] = t;
        f->uniforms[0][t] = u;
        f->uniforms[1][t] = u * 3 + 1;
        f->uniforms[2][t] = u ^ 0x55;
        f->uniforms[3][t] = u >> 3;
        f->depth[t] = d;
    }
}

/* Threads that exit store their row, and those that return stay in the caller's set. */
static struct set run_function(struct evaluation *e, const struct function *function,
                               struct frame *caller, const struct statement *s, struct set set)
{
    struct frame *f = calloc(1, sizeof(*f));
    struct evaluated_loop *loops[16], returned = {0};
    uint32_t loop_count = e->loop_count;

    if (f == NULL) {
        e->error = -ENOMEM;
        return set;
    }
    start_function(e, f, caller, s, &set);
    /* Its loops are its own; the first of them stands for the function itself. */
    memcpy(loops, e->loops, sizeof(loops));
    e->loops[0] = &returned;
    e->loop_count = 1;
    evaluate_list(e, f, &function->body, &set);
    set_add(&set, &returned.left);
    EACH(t, &set)
    {
        caller->words[s->to.index][t] = f->words[0][t];
        caller->quads[s->to.index % QUADS][t] = f->quads[0][t];
    }
    memcpy(e->loops, loops, sizeof(loops));
    e->loop_count = loop_count;
    free(f);
    return set;
}

static void evaluate_call(struct evaluation *e, struct frame *f, const struct statement *s,
                          struct set *set)
{
    bool inside = s->arm_index[0].from == 'd' || s->arm_index[0].from == '#';
    struct set callers[FUNCTIONS] = {0};

    EACH(t, set)
    {
        uint32_t depth = word_of(f, &s->arm_index[0], t);
        uint32_t callee = s->plain ? word_of(f, &s->b, t) & 1 : s->constant;

        if ((inside ? depth : depth & 3) == 0)
            continue;
        set_change(&callers[callee], t, true);
        set_change(set, t, false);
    }
    for (uint32_t n = 0; n < FUNCTIONS && e->error == 0; n++) {
        if (set_empty(&callers[n]))
            continue;
        callers[n] = run_function(e, &e->kernel->functions[n], f, s, callers[n]);
        set_add(set, &callers[n]);
    }
}

/* ---- lists ---- */

static void evaluate_jump(struct evaluation *e, struct frame *f, const struct statement *s,
                          struct set *set)
{
    struct set taken = take_those(f, s, set);

    switch (s->kind) {
    case STATEMENT_EXIT:
        EACH(t, &taken) evaluate_exit(e, f, s, t);
        break;
    case STATEMENT_RETURN:
    case STATEMENT_RETURN_IF:
        set_add(&e->loops[0]->left, &taken);
        break;
    case STATEMENT_LEAVE_IF:
        set_add(&e->loops[e->loop_count - 1]->left, &taken);
        break;
    case STATEMENT_BREAK:
        set_add(&e->loops[s->constant + 1]->left, &taken);
        break;
    default:
        set_add(&e->loops[s->constant + 1]->again, &taken);
        break;
    }
}

static void evaluate_alone(struct evaluation *e, struct frame *f, const struct statement *s,
                           uint32_t t)
{
    if (!goes(f, s, t))
        return;
    switch (s->kind) {
    case STATEMENT_OPERATION:
        evaluate_simple(f, s, t);
        break;
    case STATEMENT_OWN_STORE:
    case STATEMENT_OWN_LOAD:
        evaluate_own(e, f, s, t);
        break;
    case STATEMENT_TABLE:
        f->words[s->to.index][t] = e->kernel->table[word_of(f, &s->a, t) & (TABLE_WORDS - 1)];
        break;
    case STATEMENT_INPUT:
        f->words[s->to.index][t] = e->input[word_of(f, &s->a, t) & (INPUT_WORDS - 1)];
        break;
    case STATEMENT_ATOMIC:
        evaluate_atomic(e, f, s, t);
        break;
    default: /* the sum under a lock */
        e->results->cells[CELLS * CELL_SLOTS + 1] =
            (uint32_t)(e->results->cells[CELLS * CELL_SLOTS + 1] + word_of(f, &s->a, t));
        break;
    }
}

static void evaluate_statement(struct evaluation *e, struct frame *f, const struct statement *s,
                               struct set *set)
{
    EACH(t, set) e->steps++;
    if (e->steps > MOST_STEPS)
        e->error = -E2BIG;
    switch (s->kind) {
    case STATEMENT_IF:
        evaluate_branch(e, f, s, set);
        break;
    case STATEMENT_LOOP:
        evaluate_loop(e, f, s, set);
        break;
    case STATEMENT_SWITCH:
        evaluate_switch(e, f, s, set);
        break;
    case STATEMENT_GRAPH:
        evaluate_graph(e, f, s, set);
        break;
    case STATEMENT_CALL:
        evaluate_call(e, f, s, set);
        break;
    case STATEMENT_EXIT:
    case STATEMENT_RETURN:
    case STATEMENT_RETURN_IF:
    case STATEMENT_LEAVE_IF:
    case STATEMENT_BREAK:
    case STATEMENT_CONTINUE:
        evaluate_jump(e, f, s, set);
        break;
    default:
        if (s->kind >= STATEMENT_SHUFFLE)
            evaluate_meeting(e, f, s, set);
        else
            EACH(t, set) evaluate_alone(e, f, s, t);
        break;
    }
}

static void evaluate_list(struct evaluation *e, struct frame *f, const struct list *list,
                          struct set *set)
{
    for (uint32_t n = 0; n < list->count && e->error == 0 && !set_empty(set); n++)
        evaluate_statement(e, f, list->statements[n], set);
}

/* ---- kernels ---- */

static void start_kernel(const struct evaluation *e, struct frame *f, uint32_t t)
{
    const struct kernel *k = e->kernel;
    uint32_t global = e->block * e->threads + t, u = k->parameters[0] + e->block;

    f->words[0][t] = global * 0x9e3779b1u;
    f->words[1][t] = t % 32;
    f->words[2][t] = e->input[global % INPUT_WORDS];
    f->words[3][t] = k->parameters[0];
    f->words[4][t] = t;
    f->words[5][t] = e->input[(global * 7 + 3) % INPUT_WORDS];
    f->words[6][t] = e->block;
    f->words[7][t] = k->parameters[1];
    f->quads[0][t] = k->wide_parameter;
    f->quads[1][t] = k->wide_parameter * global + 1;
    f->quads[2][t] = f->words[2][t] | (uint64_t)f->words[5][t] << 32;
    f->quads[3][t] = global;
    f->uniforms[0][t] = u;
    f->uniforms[1][t] = u * 3 + 1;
    f->uniforms[2][t] = u ^ 0x55;
    f->uniforms[3][t] = u >> 3;
}

static void end_kernel(const struct evaluation *e, const struct frame *f, uint32_t t)
{
    uint32_t *row = e->results->rows + ((size_t)e->block * e->threads + t) * ROW_WORDS;

    for (uint32_t n = 0; n < WORDS; n++)
        row[n] = f->words[n][t];
    for (uint32_t n = 0; n < QUADS; n++)
        memcpy(&row[WORDS + 2 * n], &f->quads[n][t], sizeof(uint64_t));
}

void cells_start(uint64_t *cells)
{
    memset(cells, 0, CELL_COUNT * sizeof(*cells));
    for (uint32_t n = 0; n < CELL_SLOTS; n++)
        cells[CELL_AND * CELL_SLOTS + n] = UINT64_MAX;
}

static int evaluate_block(struct evaluation *e, struct frame *f)
{
    struct evaluated_loop whole = {0};
    struct set set = {0};

    memset(f, 0, sizeof(*f));
    memset(e->exchange, 0, sizeof(e->exchange));
    memset(e->swap, 0, sizeof(e->swap));
    memset(e->own, 0, sizeof(e->own));
    memset(e->cells, 0, sizeof(e->cells));
    for (uint32_t n = 0; n < CELL_SLOTS; n++)
        e->cells[CELL_AND * CELL_SLOTS + n] = UINT64_MAX;
    for (uint32_t t = 0; t < e->threads; t++) {
        set_change(&set, t, true);
        start_kernel(e, f, t);
    }
    e->loops[0] = &whole;
    e->loop_count = 1;
    evaluate_list(e, f, &e->kernel->body, &set);
    EACH(t, &set) end_kernel(e, f, t);
    return e->error;
}

int kernel_evaluate(const struct kernel *kernel, const uint32_t *input, struct results *results)
{
    struct evaluation *e = calloc(1, sizeof(*e));
    struct frame *f = calloc(1, sizeof(*f));
    int error = e == NULL || f == NULL ? -ENOMEM : 0;

    if (error == 0) {
        *e = (struct evaluation){.kernel = kernel,
                                 .input = input,
                                 .results = results,
                                 .threads = kernel->block[0] * kernel->block[1]};
        for (; e->block < kernel->grid && error == 0; e->block++)
            error = evaluate_block(e, f);
    }
    free(e);
    free(f);
    return error;
}
