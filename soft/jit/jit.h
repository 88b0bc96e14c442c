/* SPDX-License-Identifier: MIT */
/**
 * Kernels as machine code of this processor, made when they have run for long enough that it pays.
 *
 * The interpreter stays where everything is decided: compiled code runs warps whose lanes are all
 * active and together, and hands them back, at an instruction, for whatever else there is.
 *
 * VGPU_SOFT_JIT in the environment: 0 never, 1 (and without it) hot kernels, "always" each kernel
 * from its first block on. VGPU_SOFT_LLVM: the library to load instead of those that are looked
 * for.
 */
#ifndef VGPU_SOFT_JIT_JIT_H
#define VGPU_SOFT_JIT_JIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_block;
struct vgpu_group;
struct vgpu_unit;
struct vgpu_warp;

/** What a unit has compiled, for each shape of blocks. */
struct vgpu_jit;

/** Machine code of a kernel for blocks of one shape. Lives as long as the unit. */
struct vgpu_jit_code;

/** For a unit that is complete; NULL if nothing will be compiled. */
struct vgpu_jit *vgpu_jit_create(const struct vgpu_unit *unit);
void vgpu_jit_destroy(struct vgpu_jit *jit);

/**
 * The code for blocks of this shape, or NULL if there is none yet. `ticks` of the processor's clock
 * were spent on interpreting since the last call: what makes a kernel hot. May compile, which takes
 * as long as it takes. Any thread; `jit` may be NULL.
 */
const struct vgpu_jit_code *vgpu_jit_find(struct vgpu_jit *jit, const uint32_t shape[3],
                                          uint64_t ticks);

/** Bytes of a warp's state, a multiple of 64. */
size_t vgpu_jit_state_bytes(const struct vgpu_jit_code *code);

/** Takes what never changes in a launch from a frame into a state, 64-byte aligned and zeroed. */
void vgpu_jit_begin(const struct vgpu_jit_code *code, uint8_t *frame, uint8_t *state);

enum vgpu_jit_turn {
    VGPU_JIT_NOT,     /* nothing was run */
    VGPU_JIT_LEFT,    /* the interpreter goes on at the group's pc */
    VGPU_JIT_CONTROL, /* the instruction at the group's pc is for the scheduler, for all lanes */
    VGPU_JIT_SPENT,   /* the budget is used up */
    VGPU_JIT_FAULT,   /* noted in the warp; the pc is the group's */
};

/** Runs a warp whose only group has all lanes from the group's pc on, if there is code for it. */
enum vgpu_jit_turn vgpu_jit_run(struct vgpu_warp *warp, struct vgpu_group *group);

enum vgpu_jit_step {
    VGPU_STEP_ON,    /* all warps are at what is behind a barrier, in their states */
    VGPU_STEP_DONE,  /* all have ended */
    VGPU_STEP_APART, /* each is at its group's pc, for the interpreter */
    VGPU_STEP_FAULT, /* noted in warp *index, at its group's pc */
};

/** Whether blocks can begin in compiled code. */
bool vgpu_jit_begins(const struct vgpu_jit_code *code);

/**
 * Whether all warps of a block are at one place, *pc, from which they can go in step; then their
 * registers are in their states.
 */
bool vgpu_jit_join(struct vgpu_block *block, uint32_t *pc);

/**
 * Runs every warp of a block from *pc, where all are, with all lanes, to the next barrier; *pc
 * becomes what is behind it. What schedules warps is left out as long as they stay in step.
 */
enum vgpu_jit_step vgpu_jit_step(struct vgpu_block *block, uint32_t *pc, uint32_t *index);

/** Hands all warps of a block that are in step at `pc` over to the interpreter. */
void vgpu_jit_part(struct vgpu_block *block, uint32_t pc);

/** Whether the interpreter should ask at this instruction. */
bool vgpu_jit_enters(const struct vgpu_jit_code *code, uint32_t pc);

/** For compiled code: whether all 32 addresses may be accessed, and are multiples of `bytes`. */
int32_t vgpu_jit_reaches(const struct vgpu_block *block, const uint64_t *addresses, uint32_t bytes);

#endif
