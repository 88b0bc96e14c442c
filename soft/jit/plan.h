/* SPDX-License-Identifier: MIT */
/**
 * What is known of a kernel before its text for LLVM is written: registers and their forms, blocks,
 * which registers are live where, and where the interpreter may hand a warp over.
 *
 * Compiled code runs warps whose 32 lanes are all active and together. Its branches are taken by
 * all lanes; where lanes part, where something has to be looked at more closely, and where a fault
 * is due, the warp goes back to the interpreter, to the instruction that it has come to.
 */
#ifndef VGPU_SOFT_JIT_PLAN_H
#define VGPU_SOFT_JIT_PLAN_H

#include "soft/jit/form.h"
#include "soft/jit/ops.h"
#include "soft/ptx/program.h"

struct jit_register {
    uint32_t row;  /* in a frame of the interpreter */
    uint32_t slot; /* in the state of compiled code: symbols of 8 bytes each, or lanes */
    uint8_t width; /* enum vgpu_row_class */
    bool constant; /* made before the blocks run, and never after */
    bool raw; /* results of f32 arithmetic, whose NaNs have their pattern only once they are read */
    struct jit_form form;
};

struct jit_block {
    uint32_t first, end; /* instructions */
    uint32_t next[2];    /* blocks behind it; UINT32_MAX: none */
    bool in_loop;
    bool is_loop_head;
    uint32_t entry; /* number from 1 on under which the interpreter comes here; 0: never */
    uint64_t *live; /* registers that are live at the start */
};

struct jit_plan {
    const struct vgpu_unit *unit;
    const struct vgpu_function *f;
    uint32_t shape[3]; /* threads of a block along each axis */
    struct jit_form tid[3];
    int64_t tid_symbol[3]; /* of all warps, or INT64_MIN if they differ */
    struct jit_register *registers;
    uint32_t register_count, words;           /* words of a set of registers */
    uint32_t *register_of;                    /* by row / 2, plus 1 */
    const struct vgpu_constant **constant_of; /* by row / 2 */
    struct jit_block *blocks;
    uint32_t block_count;
    uint32_t *block_of;   /* by instruction of the kernel */
    uint32_t entry_count; /* entries are numbered from 1 on */
    uint32_t state_bytes; /* of a warp */
    uint32_t scratch;     /* in the state: three vectors */
    uint32_t fetch_slots; /* in the state: 8 bytes for each instruction that reads ahead */
};

/** NULL if the kernel is not one that is compiled, or when out of memory. */
struct jit_plan *jit_plan_create(const struct vgpu_unit *unit, const uint32_t shape[3]);
void jit_plan_destroy(struct jit_plan *plan);

/** The register of a row; NULL for constants and for rows that belong to the frame. */
struct jit_register *jit_plan_register(const struct jit_plan *plan, uint32_t row);
/** Registers that are live in front of an instruction, as a set. */
void jit_plan_live(const struct jit_plan *plan, uint32_t pc, uint64_t *set);
/** Whether an operand is a constant, and which; one whose value is an address has a variable. */
const struct vgpu_constant *jit_plan_constant(const struct jit_plan *plan, uint32_t row);

/** The operation that is compiled for an instruction; NULL if it is a call of the handler. */
const struct jit_op *jit_plan_op(const struct jit_plan *plan, uint32_t pc);
/** What a lane reads or writes with a load or store. */
uint32_t jit_plan_bytes(const struct jit_plan *plan, uint32_t pc, const struct jit_op *op);
/** Whether all lanes leave the compiled code at an instruction, whatever it is. */
bool jit_plan_leaves(const struct jit_plan *plan, uint32_t pc);

/** The form of a source (plan_forms.c). */
struct jit_form jit_source_form(const struct jit_plan *plan, uint32_t pc, enum vgpu_operand o);
/** The form of the result, as the operation makes it. */
struct jit_form jit_result_form(const struct jit_plan *plan, uint32_t pc, const struct jit_op *op);
/** Fills in the forms of all registers, and which are raw. */
void jit_plan_forms(struct jit_plan *plan);
/** Whether a line of addresses with this form can be accessed as one. */
bool jit_form_reaches(const struct jit_form *address, uint32_t bytes);

static inline bool jit_set_has(const uint64_t *set, uint32_t n)
{
    return (set[n / 64] >> n % 64 & 1) != 0;
}

#endif
