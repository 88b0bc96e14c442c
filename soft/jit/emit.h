/* SPDX-License-Identifier: MIT */
/** Writing the text that LLVM compiles: what the emit_*.c files share. */
#ifndef VGPU_SOFT_JIT_EMIT_H
#define VGPU_SOFT_JIT_EMIT_H

#include <stdio.h>

#include "soft/jit/plan.h"

/** A value of LLVM's language: a name or a number. */
struct jit_text {
    char s[24];
};

/** What a register or an instruction's result is: symbols of a line, or lanes. */
struct jit_value {
    struct jit_form form;
    uint8_t bits;
    struct jit_text symbol[VGPU_SEGMENTS]; /* of the groups' first segments */
    struct jit_text lanes;
};

/** Why compiled code ends. */
enum jit_exit_kind {
    JIT_EXIT_LOOK,    /* the interpreter goes on at the instruction */
    JIT_EXIT_SPENT,   /* the warp has had its turn; it goes on at the instruction */
    JIT_EXIT_BARRIER, /* at a barrier, which is the instruction */
    JIT_EXIT_DONE,    /* at the instruction that ends all lanes */
    JIT_EXIT_FAULT,   /* the instruction has noted a fault */
};

struct jit_exit {
    uint32_t pc;
    uint8_t kind; /* enum jit_exit_kind */
};

/* What an address was found to be good for, further on in the block. */
struct jit_checked {
    uint32_t row; /* of the address; 0: nothing */
    bool shared;
    int64_t range[2]; /* of offsets */
    int64_t origin;   /* the offset at which it is aligned */
    uint32_t align;
};

#define JIT_CHECKED 16

struct jit_emitter {
    const struct jit_plan *plan;
    FILE *out;
    uint32_t next; /* number of the next name */
    uint32_t pc;
    struct jit_text guard; /* the lanes that the instruction's guard leaves */
    bool opaque;           /* pointers have no types */
    bool counts;           /* instructions are counted */
    struct jit_exit *exits;
    uint32_t exit_count;
    uint32_t fetch_count;
    struct jit_checked checked[JIT_CHECKED];
    uint32_t checked_count;
};

/** Writes "name = " and the rest, and returns the name. */
struct jit_text jit_emit(struct jit_emitter *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct jit_text jit_number(int64_t value);
/** "i32" or "<32 x i32>". */
const char *jit_type(unsigned bits, bool lanes);
const char *jit_float_type(unsigned bits);
/** A pointer to `type` at the address `address`. `text` is the type of the pointer. */
struct jit_text jit_pointer(struct jit_emitter *e, const char *type, struct jit_text address);
const char *jit_star(const struct jit_emitter *e);
/** Loads a `type` from address + offset. */
struct jit_text jit_load(struct jit_emitter *e, const char *type, struct jit_text address,
                         int64_t offset, unsigned align);
void jit_store(struct jit_emitter *e, const char *type, struct jit_text value,
               struct jit_text address, int64_t offset, unsigned align);

/** "<8 x i32>" */
struct jit_text jit_vector(unsigned lanes, unsigned bits);
/** A vector of `count` of the lanes of one or two others, which have `from` lanes; `b` may be NULL.
 */
struct jit_text jit_choose_lanes(struct jit_emitter *e, unsigned bits, unsigned from,
                                 const struct jit_text *a, const struct jit_text *b,
                                 const unsigned *lanes, unsigned count);

/** One value in all lanes. */
struct jit_text jit_splat(struct jit_emitter *e, unsigned bits, struct jit_text scalar);
/** All lanes of a value. */
struct jit_text jit_expand(struct jit_emitter *e, const struct jit_value *v);
/** The value of all lanes of segment k of a flat value. */
struct jit_text jit_segment(struct jit_emitter *e, const struct jit_value *v, unsigned k);
/** A vector of what the lanes of a form have beside their symbols. */
struct jit_text jit_deltas(struct jit_emitter *e, const struct jit_form *f, unsigned bits);

/** Goes on to instruction `pc`: operands below are its operands. */
void jit_begin_instruction(struct jit_emitter *e, uint32_t pc);

struct jit_value jit_read(struct jit_emitter *e, enum vgpu_operand o);
/** The lanes of an f32 source, with any pattern of a NaN. */
struct jit_text jit_read_float(struct jit_emitter *e, enum vgpu_operand o);
void jit_write(struct jit_emitter *e, enum vgpu_operand o, const struct jit_value *v);
void jit_write_lanes(struct jit_emitter *e, enum vgpu_operand o, unsigned bits,
                     struct jit_text lanes);
/** The result of arithmetic: what is not a number becomes the one pattern of f32, now or when the
 * register is read. */
void jit_write_float(struct jit_emitter *e, unsigned bits, struct jit_text lanes);
struct jit_text jit_read_mask(struct jit_emitter *e, uint32_t row);
void jit_write_mask(struct jit_emitter *e, uint32_t row, struct jit_text mask);
/** 32 truth values as 32 bits, and the other way. */
struct jit_text jit_mask_of(struct jit_emitter *e, struct jit_text truths);
struct jit_text jit_truths_of(struct jit_emitter *e, struct jit_text mask);

/** Goes on if `good` is true, and leaves for the interpreter at this instruction if not. */
void jit_need(struct jit_emitter *e, struct jit_text good);
/** The label of the code that leaves at an instruction. */
uint32_t jit_exit_at(struct jit_emitter *e, uint32_t pc, enum jit_exit_kind kind);
uint32_t jit_label(struct jit_emitter *e);

/** Moves a register between its place and the state that the interpreter gives and gets. */
void jit_move_register(struct jit_emitter *e, const struct jit_register *r, bool to_state);

void jit_emit_arithmetic(struct jit_emitter *e, const struct jit_op *op);
void jit_emit_float(struct jit_emitter *e, const struct jit_op *op);
void jit_emit_test(struct jit_emitter *e, const struct jit_op *op);
void jit_emit_special(struct jit_emitter *e, const struct jit_op *op);
void jit_emit_shuffle(struct jit_emitter *e);
void jit_emit_load(struct jit_emitter *e, const struct jit_op *op);
void jit_emit_store(struct jit_emitter *e, const struct jit_op *op);
void jit_emit_atom(struct jit_emitter *e, const struct jit_op *op);
/** Adds to the counts of the profile, if there is one. */
void jit_count(struct jit_emitter *e, int64_t instructions, struct jit_text bytes);
/** A call of the instruction's handler. */
void jit_emit_handler(struct jit_emitter *e);

/** The whole text of a plan; NULL when out of memory. The exits are the caller's to free. */
char *jit_emit_plan(const struct jit_plan *plan, bool opaque, bool counts, const char *processor,
                    struct jit_exit **exits, uint32_t *exit_count);

#endif
