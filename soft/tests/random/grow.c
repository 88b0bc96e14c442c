/* SPDX-License-Identifier: MIT */
/* Makes kernels at random, within what PTX defines. */
#include <stdlib.h>
#include <string.h>

#include "soft/tests/random/kernel.h"

#define MOST_LOOPS  8
#define MOST_WEIGHT 64 /* how often a statement may be done by one thread, about */

struct piece {
    struct piece *next;
    max_align_t bytes[];
};

struct loop {
    enum level level;
    uint32_t nesting; /* of its body */
    bool tainted;     /* lanes may have gone on to the next round already */
};

struct grower {
    uint64_t series;
    struct kernel *kernel;
    bool failed;
    bool in_function, exits;
    struct loop loops[MOST_LOOPS];
    uint32_t loop_count;
    enum level most; /* of what is left of the function: some threads may have returned */
    uint32_t nesting, weight;
    int left;  /* statements */
    int calls; /* that this function may still have */
    bool locked;
};

static void *take(struct grower *g, size_t size)
{
    struct piece *piece = calloc(1, sizeof(*piece) + size);

    if (piece == NULL) {
        g->failed = true;
        return NULL;
    }
    piece->next = g->kernel->pieces;
    g->kernel->pieces = piece;
    return piece->bytes;
}

static uint32_t below(struct grower *g, uint32_t limit)
{
    return (uint32_t)(series_next(&g->series) % limit);
}

static bool chance(struct grower *g, uint32_t percent)
{
    return below(g, 100) < percent;
}

/* ---- values ---- */

static uint64_t number(struct grower *g)
{
    static const uint64_t numbers[] = {0,          1,          2,          3,         7,
                                       31,         32,         0x7f,       0xff,      0x7fffffff,
                                       0x80000000, 0xffffffff, 0x3f800000, 0x40490fdb};

    if (chance(g, 50))
        return numbers[below(g, sizeof(numbers) / sizeof(numbers[0]))];
    /* In this order: the operands of an expression have none. */
    uint64_t value = series_next(&g->series);
    return value >> below(g, 64);
}

static struct operand word(struct grower *g)
{
    uint32_t n = below(g, 100);

    if (n < 72)
        return (struct operand){.from = 'v', .index = (uint8_t)below(g, WORDS)};
    if (n < 82)
        return (struct operand){.from = 'u', .index = (uint8_t)below(g, UNIFORMS)};
    return (struct operand){.from = '#', .number = (uint32_t)number(g)};
}

static struct operand variable(struct grower *g)
{
    return (struct operand){.from = 'v', .index = (uint8_t)below(g, WORDS)};
}

static struct operand uniform(struct grower *g)
{
    return (struct operand){.from = 'u', .index = (uint8_t)below(g, UNIFORMS)};
}

static struct operand quad_variable(struct grower *g)
{
    return (struct operand){.from = 'q', .index = (uint8_t)below(g, QUADS)};
}

static struct operand quad(struct grower *g)
{
    if (chance(g, 80))
        return quad_variable(g);
    return (struct operand){.from = '#',
                            .number = chance(g, 50) ? number(g) : series_next(&g->series)};
}

static struct operand constant(uint64_t value)
{
    return (struct operand){.from = '#', .number = value};
}

static struct test random_test(struct grower *g)
{
    struct test t = {.comparison = (enum comparison)below(g, COMPARISONS),
                     .relation = (enum relation)below(g, RELATIONS),
                     .bit = (uint8_t)below(g, 32)};

    /* Half of them split most sets of threads. */
    if (chance(g, 40))
        t.comparison = COMPARE_BIT;
    t.a = t.comparison == COMPARE_SIGNED64 ? quad_variable(g) : variable(g);
    t.b = t.comparison == COMPARE_SIGNED64 ? quad(g) : word(g);
    return t;
}

static struct condition random_condition(struct grower *g)
{
    struct condition c = {.tests[0] = random_test(g)};

    if (chance(g, 30)) {
        c.tests[1] = random_test(g);
        c.join = (uint8_t) "&|^"[below(g, 3)];
    }
    return c;
}

static struct condition uniform_condition(struct grower *g)
{
    return (struct condition){
        .tests[0] = {.comparison = COMPARE_BIT, .a = uniform(g), .bit = (uint8_t)below(g, 8)}};
}

/* ---- what is allowed where ---- */

static enum level now(const struct grower *g, enum level level)
{
    for (uint32_t n = 0; n < g->loop_count; n++) {
        if (g->loops[n].tainted)
            return LEVEL_FREE;
    }
    return level < g->most ? level : g->most;
}

static bool only_free_loops(const struct grower *g)
{
    return g->loop_count == 0 || g->loops[0].level == LEVEL_FREE;
}

static struct list grow_list(struct grower *g, enum level level, uint32_t count);

static struct list arm(struct grower *g, enum level level, uint32_t count)
{
    struct list list;

    g->nesting++;
    list = grow_list(g, level, count);
    g->nesting--;
    return list;
}

static void grow_loop(struct grower *g, struct statement *s, enum level level)
{
    static const uint32_t trips[] = {1, 3, 7};
    uint32_t before = g->weight;

    s->kind = STATEMENT_LOOP;
    s->constant = trips[below(g, 3)];
    s->level = level;
    s->a = level == LEVEL_BLOCK ? uniform(g) : variable(g);
    s->bottom = level == LEVEL_FREE && chance(g, 30);
    if (s->bottom)
        s->condition = random_condition(g);
    g->weight *= s->constant + 1;
    g->loops[g->loop_count++] = (struct loop){.level = level, .nesting = g->nesting + 1};
    s->arm_count = 1;
    s->arms[0] = arm(g, level, 2 + below(g, 6));
    g->loop_count--;
    g->weight = before;
}

static void grow_switch(struct grower *g, struct statement *s, enum level level)
{
    s->kind = STATEMENT_SWITCH;
    s->level = level;
    s->arm_count = chance(g, 50) ? 2 : 4;
    s->a = variable(g);
    s->constant = below(g, 28); /* the first of the bits that say which */
    for (uint32_t n = 0; n < s->arm_count; n++)
        s->arms[n] = arm(g, level, 1 + below(g, 3));
}

static void grow_graph(struct grower *g, struct statement *s)
{
    uint32_t before = g->weight;

    s->kind = STATEMENT_GRAPH;
    s->arm_count = 3 + below(g, MOST_ARMS - 2);
    s->constant = s->arm_count + below(g, 8); /* nodes that a thread visits at most */
    g->weight *= 3;
    for (uint32_t n = 0; n < s->arm_count; n++) {
        static const uint8_t counts[] = {1, 2, 2, 2, 2, 4};

        s->arms[n] = arm(g, LEVEL_FREE, 1 + below(g, 3));
        s->target_count[n] = counts[below(g, sizeof(counts))];
        for (uint32_t t = 0; t < s->target_count[n]; t++)
            s->targets[n][t] = (uint8_t)below(g, s->arm_count + 1);
        s->arm_conditions[n] = random_condition(g);
        s->arm_index[n] = variable(g);
    }
    g->weight = before;
}

static void grow_branch(struct grower *g, struct statement *s, enum level level)
{
    bool block = level == LEVEL_BLOCK && chance(g, 40);

    s->kind = STATEMENT_IF;
    s->level = block ? LEVEL_BLOCK : level == LEVEL_FREE || chance(g, 30) ? LEVEL_FREE : LEVEL_WARP;
    s->condition = block ? uniform_condition(g) : random_condition(g);
    s->arm_count = 1 + below(g, 2);
    for (uint32_t n = 0; n < s->arm_count; n++)
        s->arms[n] = arm(g, s->level, 1 + below(g, 5));
}

static void grow_nested(struct grower *g, struct statement *s, enum level level)
{
    bool again = g->weight <= MOST_WEIGHT / 4 && g->loop_count < MOST_LOOPS;
    enum level inner = level == LEVEL_FREE || chance(g, 40) ? LEVEL_FREE : LEVEL_WARP;
    uint32_t n = below(g, 100);

    if (n < 35 && again)
        grow_loop(g, s, level == LEVEL_BLOCK && chance(g, 50) ? LEVEL_BLOCK : inner);
    else if (n < 45)
        grow_switch(g, s, inner);
    else if (n < 60 && again)
        grow_graph(g, s);
    else
        grow_branch(g, s, level);
}

/* ---- single statements ---- */

static void grow_operation(struct grower *g, struct statement *s, bool uniforms)
{
    struct operand *sources[] = {&s->a, &s->b, &s->c};
    const char *letters;

    s->kind = STATEMENT_OPERATION;
    do {
        s->operation = (uint16_t)below(g, operation_count);
        letters = operations[s->operation].letters;
    } while (uniforms && strspn(letters, "w") != strlen(letters));
    s->to = uniforms                                 ? uniform(g)
            : letters[0] == 'q' || letters[0] == 'd' ? quad_variable(g)
                                                     : variable(g);
    for (uint32_t n = 0; letters[n + 1] != '\0'; n++) {
        bool first = n == 0; /* a number there would be folded away, if it may be one */

        /* Positions beyond the register, as numbers, are folded in another way than they run. */
        if (letters[n + 1] == 's' && chance(g, 50))
            *sources[n] = constant(below(g, 32));
        else if (letters[n + 1] == 's')
            *sources[n] = variable(g);
        else if (letters[n + 1] == 'q' || letters[n + 1] == 'd')
            *sources[n] = first ? quad_variable(g) : quad(g);
        else if (uniforms)
            *sources[n] = first || chance(g, 60) ? uniform(g) : constant((uint32_t)number(g));
        else
            *sources[n] = first ? variable(g) : word(g);
    }
    s->guarded = !uniforms && chance(g, 20);
}

static void grow_own(struct grower *g, struct statement *s)
{
    s->kind = chance(g, 50) ? STATEMENT_OWN_STORE : STATEMENT_OWN_LOAD;
    s->space = (uint8_t)below(g, SPACES);
    s->bytes = (uint8_t)(1u << below(g, 4));
    s->variant = (uint8_t)below(g, 2); /* signed */
    s->plain = chance(g, 40);
    s->b = word(g); /* where */
    s->a = s->bytes == 8 ? quad_variable(g) : variable(g);
    s->to = s->a;
    s->guarded = chance(g, 20);
}

static void grow_table(struct grower *g, struct statement *s)
{
    s->kind = chance(g, 50) ? STATEMENT_TABLE : STATEMENT_INPUT;
    s->to = variable(g);
    s->a = word(g);
}

static void grow_atomic(struct grower *g, struct statement *s)
{
    s->kind = STATEMENT_ATOMIC;
    s->variant = (uint8_t)below(g, CELLS);
    s->space = chance(g, 50) ? SPACE_GLOBAL : SPACE_SHARED;
    s->plain = chance(g, 30);
    s->a = s->variant == CELL_ADD64 ? quad(g) : word(g);
    s->b = word(g); /* which slot */
    s->guarded = s->variant != CELL_SWAP && chance(g, 20);
}

static void grow_call(struct grower *g, struct statement *s, enum level level)
{
    uint32_t callee = below(g, FUNCTIONS);

    g->calls--;
    if (g->kernel->functions[callee].level > level)
        callee = below(g, FREE_FUNCTIONS);
    s->kind = STATEMENT_CALL;
    s->constant = callee;
    s->level = g->kernel->functions[callee].level;
    /* Through a pointer, by threads that may call different functions. */
    s->plain = callee < FREE_FUNCTIONS && chance(g, 30);
    s->to = variable(g);
    s->a = word(g);
    s->b = variable(g);
    s->c = uniform(g);
    if (g->in_function)
        s->arm_index[0] = (struct operand){.from = 'd'};
    else if (s->level == LEVEL_BLOCK || chance(g, 50))
        s->arm_index[0] = constant(1 + below(g, 3));
    else
        s->arm_index[0] = variable(g);
}

/* Ends the way of some threads. False if that may not be here. */
static bool grow_jump(struct grower *g, struct statement *s, enum level level)
{
    uint32_t n = below(g, 100);

    s->guarded = true;
    s->plain = chance(g, 50);
    s->variant = (uint8_t)below(g, 250);
    if (g->exits && n < 25) {
        s->kind = STATEMENT_EXIT;
        return true;
    }
    if (level != LEVEL_FREE) {
        struct loop *inner = g->loop_count > 0 ? &g->loops[g->loop_count - 1] : NULL;

        if (inner != NULL && inner->level == LEVEL_WARP && inner->nesting == g->nesting) {
            s->kind = STATEMENT_LEAVE_IF;
        } else if (g->in_function && g->nesting == 0) {
            s->kind = STATEMENT_RETURN_IF;
            g->most = LEVEL_WARP;
        } else {
            return false;
        }
        return true;
    }
    if (g->in_function && n < 50 && only_free_loops(g)) {
        s->kind = STATEMENT_RETURN;
        g->most = LEVEL_FREE;
        return true;
    }
    if (g->loop_count == 0)
        return false;
    s->constant = below(g, g->loop_count);
    if (g->loops[s->constant].level == LEVEL_FREE) {
        s->kind = chance(g, 60) ? STATEMENT_BREAK : STATEMENT_CONTINUE;
        return true;
    }
    s->constant = g->loop_count - 1;
    while (s->constant > 0 && g->loops[s->constant].level == LEVEL_FREE)
        s->constant--;
    if (g->loops[s->constant].level != LEVEL_WARP)
        return false;
    s->kind = STATEMENT_CONTINUE;
    g->loops[s->constant].tainted = true;
    return true;
}

static void grow_collective(struct grower *g, struct statement *s, enum level level)
{
    static const enum statement_kind kinds[] = {
        STATEMENT_SHUFFLE, STATEMENT_SHUFFLE, STATEMENT_SHUFFLE, STATEMENT_VOTE,
        STATEMENT_VOTE,    STATEMENT_MATCH,   STATEMENT_REDUCE,  STATEMENT_SWAP};

    s->kind = kinds[below(g, sizeof(kinds) / sizeof(kinds[0]))];
    s->variant = (uint8_t)below(g, 8);
    s->constant = below(g, 6);
    s->whole = level == LEVEL_BLOCK && !g->kernel->exits &&
               g->kernel->block[0] * g->kernel->block[1] % 32 == 0 && chance(g, 60);
    s->to = variable(g);
    s->a = variable(g);
    s->b = word(g);
    s->condition = random_condition(g);
}

static void grow_meeting(struct grower *g, struct statement *s)
{
    static const enum statement_kind kinds[] = {
        STATEMENT_BARRIER,       STATEMENT_EXCHANGE,  STATEMENT_EXCHANGE,
        STATEMENT_READ_CELL,     STATEMENT_READ_CELL, STATEMENT_BARRIER_REDUCE,
        STATEMENT_SPLIT_BARRIER, STATEMENT_GROUPS,    STATEMENT_HAND_OVER};
    const struct kernel *k = g->kernel;
    uint32_t threads = k->block[0] * k->block[1];

    s->kind = kinds[below(g, sizeof(kinds) / sizeof(kinds[0]))];
    /* Counted and split barriers are for blocks that are whole. */
    if (k->exits && s->kind >= STATEMENT_BARRIER_REDUCE)
        s->kind = STATEMENT_EXCHANGE;
    if ((s->kind == STATEMENT_GROUPS || s->kind == STATEMENT_HAND_OVER) &&
        (threads % 32 != 0 || threads < 64))
        s->kind = STATEMENT_BARRIER_REDUCE;
    s->variant = (uint8_t)below(g, 3);
    if (s->kind == STATEMENT_READ_CELL)
        s->variant = (uint8_t)below(g, CELLS);
    s->bytes = (uint8_t)(1 + below(g, 14)); /* the barrier */
    s->plain = chance(g, 40);
    s->constant = s->kind == STATEMENT_GROUPS || s->kind == STATEMENT_HAND_OVER
                      ? 1 + below(g, threads / 32 - 1)
                      : below(g, 1 << 16) | 1;
    s->to = variable(g);
    s->a = word(g);
    s->b = word(g);
    s->condition = random_condition(g);
}

/* Does a single statement jump away for good from where other threads may ask for it? */
static bool may_exit(const struct statement *s, const struct kernel *k)
{
    if (s->kind == STATEMENT_EXIT)
        return true;
    if (s->kind == STATEMENT_CALL)
        return s->plain ? k->functions[0].exits || k->functions[1].exits
                        : k->functions[s->constant].exits;
    for (uint32_t a = 0; a < s->arm_count; a++) {
        for (uint32_t n = 0; n < s->arms[a].count; n++) {
            if (may_exit(s->arms[a].statements[n], k))
                return true;
        }
    }
    return false;
}

static void grow_statement(struct grower *g, struct statement *s, enum level level)
{
    uint32_t n = below(g, 100);

    s->negated = chance(g, 50);
    s->condition = random_condition(g);
    if (n < 8) {
        if (grow_jump(g, s, level))
            return;
        s->guarded = s->plain = false;
    }
    if (n < 24 && g->nesting < 6 && g->left > 0)
        grow_nested(g, s, level);
    else if (n < 30 && g->calls > 0 && g->weight <= 8 && (!g->in_function || g->loop_count == 0))
        grow_call(g, s, level);
    else if (n < 36)
        grow_own(g, s);
    else if (n < 40)
        grow_table(g, s);
    else if (n < 45)
        grow_atomic(g, s);
    else if (n < 46 && g->locked && g->weight <= 2 && !g->in_function) {
        g->locked = false;
        s->kind = STATEMENT_LOCKED;
        s->a = word(g);
    } else if (n < 64 && level >= LEVEL_WARP)
        grow_collective(g, s, level);
    else if (n < 74 && level == LEVEL_BLOCK)
        grow_meeting(g, s);
    else
        grow_operation(g, s, level == LEVEL_BLOCK && chance(g, 15));
}

static struct list grow_list(struct grower *g, enum level level, uint32_t count)
{
    struct list list = {.statements = take(g, count * sizeof(*list.statements))};

    for (uint32_t n = 0; n < count && !g->failed && g->left > 0; n++) {
        struct statement *s = take(g, sizeof(*s));

        if (s == NULL)
            break;
        g->left--;
        grow_statement(g, s, now(g, level));
        s->refresh = now(g, level) >= LEVEL_WARP && may_exit(s, g->kernel);
        list.statements[list.count++] = s;
    }
    return list;
}

/* ---- whole kernels ---- */

static void grow_function(struct grower *g, uint32_t index)
{
    struct function *f = &g->kernel->functions[index];

    g->in_function = true;
    g->exits = f->exits;
    g->most = LEVEL_BLOCK;
    g->weight = 8;
    g->calls = 1;
    g->left = 20;
    f->body = grow_list(g, f->level, 4 + below(g, 8));
}

static void choose_shape(struct grower *g)
{
    static const uint32_t widths[] = {32, 64, 64, 96, 128, 256, 1, 17, 33, 50, 100};
    struct kernel *k = g->kernel;
    uint32_t threads;

    k->grid = 1 + below(g, 3);
    k->block[0] = widths[below(g, sizeof(widths) / sizeof(widths[0]))];
    k->block[1] = k->block[0] <= 64 ? 1 + below(g, 3) : 1;
    threads = k->block[0] * k->block[1];
    k->exchange_words = 32;
    while (k->exchange_words < threads)
        k->exchange_words *= 2;
    k->warp_factor = below(g, 16) * 2 + 1;
    k->warp_offset = below(g, 32);
    k->exits = chance(g, 40);
    for (uint32_t n = 0; n < 2; n++)
        k->parameters[n] = (uint32_t)series_next(&g->series);
    k->wide_parameter = series_next(&g->series);
    for (uint32_t n = 0; n < TABLE_WORDS; n++)
        k->table[n] = (uint32_t)number(g);
    for (uint32_t n = 0; n < FUNCTIONS; n++) {
        struct function *f = &k->functions[n];

        f->level = n < FREE_FUNCTIONS ? LEVEL_FREE : n == 2 ? LEVEL_WARP : LEVEL_BLOCK;
        f->exits = k->exits && chance(g, 30);
    }
}

/* What a function calls may end threads just as well. */
static void spread_exits(struct kernel *k)
{
    bool any = false;

    for (uint32_t n = 0; n < FUNCTIONS; n++)
        any |= k->functions[n].exits;
    for (uint32_t n = 0; n < FUNCTIONS; n++)
        k->functions[n].exits = any;
}

struct kernel *kernel_grow(uint64_t seed)
{
    struct grower g = {.series = seed, .kernel = calloc(1, sizeof(struct kernel))};

    if (g.kernel == NULL)
        return NULL;
    g.kernel->seed = seed;
    choose_shape(&g);
    spread_exits(g.kernel);
    for (uint32_t n = 0; n < FUNCTIONS; n++)
        grow_function(&g, n);
    g.in_function = false;
    g.exits = g.kernel->exits;
    g.most = LEVEL_BLOCK;
    g.weight = 1;
    g.calls = 3;
    g.left = 60 + (int)below(&g, 80);
    g.locked = chance(&g, 20);
    g.kernel->body = grow_list(&g, LEVEL_BLOCK, 15 + below(&g, 20));
    if (g.failed) {
        kernel_destroy(g.kernel);
        return NULL;
    }
    return g.kernel;
}

void kernel_destroy(struct kernel *kernel)
{
    while (kernel != NULL && kernel->pieces != NULL) {
        struct piece *next = kernel->pieces->next;

        free(kernel->pieces);
        kernel->pieces = next;
    }
    free(kernel);
}
