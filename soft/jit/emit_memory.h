/* SPDX-License-Identifier: MIT */
/** Accesses through lines: what emit_memory.c has for emit_elements.c. */
#ifndef VGPU_SOFT_JIT_EMIT_MEMORY_H
#define VGPU_SOFT_JIT_EMIT_MEMORY_H

#include "soft/jit/emit.h"

/** Leaves unless all lanes of a line may access `bytes` at the instruction's offset. */
void jit_check_line(struct jit_emitter *e, const struct jit_value *a, uint32_t bytes);
/** Where segment k of a line is in the process. */
struct jit_text jit_segment_address(struct jit_emitter *e, const struct jit_value *a, unsigned k);
/** How many segments from k on are in a row, with `bytes` for each lane. */
unsigned jit_run_of(const struct jit_form *f, unsigned k, uint32_t bytes);
/** Puts `part`, lanes from `first` to `first + count`, into `lanes`, which may be "" for none. */
struct jit_text jit_merge(struct jit_emitter *e, struct jit_text lanes, struct jit_text part,
                          unsigned first, unsigned count, unsigned bits);
/** What was loaded, one of it or 32 lanes, in the bits of the register. */
struct jit_text jit_extend(struct jit_emitter *e, const struct jit_op *op, struct jit_text v,
                           bool lanes);
/** Fetches what the next times of a loop will read, if it may help. */
void jit_fetch_ahead(struct jit_emitter *e, const struct jit_value *a);

/** Loads and stores of two or four elements for each lane; false if that is the handler's. */
bool jit_emit_elements(struct jit_emitter *e, const struct jit_op *op, const struct jit_value *a);

#endif
