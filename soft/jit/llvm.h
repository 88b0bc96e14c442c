/* SPDX-License-Identifier: MIT */
/**
 * LLVM as a library that may be there. It is loaded when the first text is compiled, and kept: what
 * it needs of memory and time is spent by programs only that have something to gain.
 */
#ifndef VGPU_SOFT_JIT_LLVM_H
#define VGPU_SOFT_JIT_LLVM_H

#include <stdbool.h>
#include <stddef.h>

/** Machine code of one text. */
struct jit_machine;

/** Loads the library unless that was done or has failed. Any thread. */
bool jit_llvm_load(void);

/** Whether the loaded library has pointers without types. */
bool jit_llvm_is_opaque(void);

/**
 * Compiles a text; its function `kernel` becomes *function. NULL, and one line in `log`, if it
 * cannot be. One compilation runs at a time.
 */
struct jit_machine *jit_llvm_compile(const char *text, void **function, char *log, size_t log_size);
void jit_llvm_free(struct jit_machine *machine);

#endif
