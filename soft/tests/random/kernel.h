/* SPDX-License-Identifier: MIT */
/**
 * Random kernels: what they are made of. grow.c makes one from a number, text*.c writes it as PTX,
 * evaluate*.c says what every thread of it computes.
 *
 * The evaluation knows nothing of warps that diverge: a statement is evaluated for a set of
 * threads. So that there is one right answer, threads meet only where PTX says what happens then.
 */
#ifndef VGPU_RANDOM_KERNEL_H
#define VGPU_RANDOM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_THREADS   256
#define WORDS          8  /* 32-bit variables of a function */
#define QUADS          4  /* 64-bit variables */
#define UNIFORMS       4  /* 32-bit variables that are the same in all threads of a block */
#define ROW_WORDS      16 /* 32-bit words that a thread leaves as its result */
#define OWN_BYTES      32 /* of each thread's own memory in each space */
#define CELL_SLOTS     8
#define TABLE_WORDS    64 /* of constants */
#define INPUT_WORDS    1024
#define MOST_ARMS      6
#define FUNCTIONS      4
#define FREE_FUNCTIONS 2 /* the first of them, which are called through pointers, too */

/** How much threads of a list may have to do with each other. */
enum level {
    LEVEL_FREE,  /* nothing: some lanes of the warp may be anywhere else */
    LEVEL_WARP,  /* lanes know by a mask which of them are here */
    LEVEL_BLOCK, /* all threads of the block that have not exited are here */
};

/* What atomic operations a cell of memory gets; every one is the same whatever the order. */
enum cell {
    CELL_ADD,
    CELL_ADD64,
    CELL_MIN,
    CELL_MAX,
    CELL_AND,
    CELL_OR,
    CELL_XOR,
    CELL_INC,
    CELL_FLOAT, /* sums of small whole numbers */
    CELL_SWAP,  /* by compare and swap, in a loop */
    CELLS,
    CELL_LOCKED = CELLS, /* a sum under a lock */
};

enum space { SPACE_GLOBAL, SPACE_SHARED, SPACE_LOCAL, SPACES };

enum statement_kind {
    /* Anywhere. */
    STATEMENT_OPERATION,
    STATEMENT_IF,
    STATEMENT_LOOP,   /* as often as a variable says */
    STATEMENT_SWITCH, /* a table of branches to `arms` */
    STATEMENT_GRAPH,  /* arms that go to one another at random */
    STATEMENT_BREAK,
    STATEMENT_CONTINUE,
    STATEMENT_EXIT,
    STATEMENT_RETURN,
    STATEMENT_CALL,
    STATEMENT_OWN_STORE,
    STATEMENT_OWN_LOAD,
    STATEMENT_TABLE,
    STATEMENT_INPUT,
    STATEMENT_ATOMIC,
    STATEMENT_LOCKED,
    /* Lanes that know of each other. */
    STATEMENT_SHUFFLE,
    STATEMENT_VOTE,
    STATEMENT_MATCH,
    STATEMENT_REDUCE,
    STATEMENT_SWAP,     /* through shared memory */
    STATEMENT_LEAVE_IF, /* out of the loop, when all lanes of it are here */
    STATEMENT_RETURN_IF,
    /* The whole block. */
    STATEMENT_BARRIER,
    STATEMENT_EXCHANGE,
    STATEMENT_READ_CELL,
    STATEMENT_BARRIER_REDUCE,
    STATEMENT_SPLIT_BARRIER, /* the same barrier at two instructions */
    STATEMENT_GROUPS,        /* two sets of warps, each with a barrier of its own */
    STATEMENT_HAND_OVER,     /* some warps arrive, the others wait */
};

/** Where a value comes from. */
struct operand {
    char from;     /* 'v' word, 'q' quad, 'u' uniform, 'd' calls left, '#' a number */
    uint8_t index; /* of the variable */
    uint64_t number;
};

enum comparison {
    COMPARE_BIT, /* bit `bit` of `a` is set */
    COMPARE_SIGNED,
    COMPARE_UNSIGNED,
    COMPARE_FLOAT,
    COMPARE_SIGNED64,
    COMPARISONS,
};

enum relation { LESS, LESS_EQUAL, EQUAL, NOT_EQUAL, GREATER, GREATER_EQUAL, RELATIONS };

struct test {
    enum comparison comparison;
    enum relation relation;
    struct operand a, b;
    uint8_t bit;
};

/** One test, or two that are joined. */
struct condition {
    struct test tests[2];
    uint8_t join; /* 0: one; '&', '|', '^' */
};

struct statement;

struct list {
    struct statement **statements;
    uint32_t count;
};

struct statement {
    enum statement_kind kind;
    enum level level; /* of its arms */
    bool refresh;     /* lanes may have exited in it, and the others ask who is left */
    bool guarded;     /* done where the condition is true */
    bool negated;     /* false */
    bool whole;       /* all lanes of the warp are known to be here */
    bool bottom;      /* the loop asks at its end */
    bool plain;       /* variants of spelling: generic address, not aligned barrier, exit or ret */
    uint8_t variant;  /* kind of cell, mode of shuffle, ... */
    uint8_t space;    /* enum space */
    uint8_t bytes;    /* of an access */
    uint16_t operation; /* index in operations[] */
    uint32_t constant;
    struct operand to, a, b, c;
    struct condition condition;
    uint32_t arm_count;
    struct list arms[MOST_ARMS];
    uint8_t targets[MOST_ARMS][MOST_ARMS]; /* of a graph: [0] when true, [1] when false, or all */
    uint8_t target_count[MOST_ARMS];
    struct condition arm_conditions[MOST_ARMS];
    struct operand arm_index[MOST_ARMS];
};

struct function {
    enum level level;
    bool exits; /* a thread may end in it */
    struct list body;
};

struct kernel {
    uint64_t seed;
    uint32_t grid, block[2]; /* block[0] * block[1] threads */
    bool exits;
    uint32_t exchange_words;           /* a power of two, at least the threads of a block */
    uint32_t warp_factor, warp_offset; /* which lane has which word of its warp's */
    uint32_t parameters[2];
    uint64_t wide_parameter;
    uint32_t table[TABLE_WORDS];
    struct function functions[FUNCTIONS];
    struct list body;
    struct piece *pieces; /* of memory, that all of this is in */
};

/** What an instruction computes. */
struct operation {
    const char *text; /* %d the destination, %a %b %c the sources */
    /* Of each: w 32 bits, q 64 bits, f and d the same as floating point, s a position of bits. */
    const char *letters;
    uint64_t (*value)(uint64_t a, uint64_t b, uint64_t c);
};

extern const struct operation operations[];
extern const uint32_t operation_count;

/** Makes a kernel of a number, always the same. NULL without memory. */
struct kernel *kernel_grow(uint64_t seed);
void kernel_destroy(struct kernel *kernel);

/**
 * PTX of a kernel named "k"; to be freed. NULL without memory. With `together`, lanes are brought
 * together, by bar.warp.sync, before all that they do together: instructions with .sync do so by
 * themselves, but ptxas 13.0 forgets it where lanes have come apart in calls and tables of
 * branches.
 */
char *kernel_text(const struct kernel *kernel, bool together);

struct results {
    uint32_t *rows;  /* ROW_WORDS of each thread of the grid */
    uint8_t *own;    /* OWN_BYTES of each */
    uint64_t *cells; /* CELL_SLOTS of each kind, and the locked sum */
    size_t row_bytes, own_bytes, cell_bytes;
};

#define CELL_COUNT (CELLS * CELL_SLOTS + 2)

/** Zeroed results of the right size, cells at their start; -ENOMEM. */
int results_create(const struct kernel *kernel, struct results *results);
void results_destroy(struct results *results);
void cells_start(uint64_t *cells);
/** A number that stands for all of it. */
uint64_t results_hash(const struct results *results);

/** Computes what the kernel leaves; -E2BIG if that takes too long, -ENOMEM. */
int kernel_evaluate(const struct kernel *kernel, const uint32_t *input, struct results *results);

/** The next of a series of random numbers. */
static inline uint64_t series_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
