/* SPDX-License-Identifier: MIT */
/** The operations that are compiled; all others are calls of their handlers. */
#ifndef VGPU_SOFT_JIT_OPS_H
#define VGPU_SOFT_JIT_OPS_H

#include "soft/ptx/program.h"

/* What an operation is, for its result's form (plan_forms.c) and its text (emit_*.c). */
enum jit_rule {
    JIT_RULE_NONE, /* a call of the handler */
    JIT_RULE_MOVE,
    JIT_RULE_ADD,
    JIT_RULE_SUB,
    JIT_RULE_MUL,
    JIT_RULE_MAD,
    JIT_RULE_MUL_WIDE,
    JIT_RULE_MAD_WIDE,
    JIT_RULE_EXTEND, /* of 32 bits to 64 */
    JIT_RULE_CUT,    /* of 64 bits to 32 */
    JIT_RULE_SHL,
    JIT_RULE_SHR,
    JIT_RULE_AND,
    JIT_RULE_FLAT, /* any other function of integers */
    JIT_RULE_FLOAT,
    JIT_RULE_CONVERT,
    JIT_RULE_SELECT,
    JIT_RULE_TEST,
    JIT_RULE_FLOAT_TEST,
    JIT_RULE_LOGIC, /* of predicates */
    JIT_RULE_PARAMETER,
    JIT_RULE_SPECIAL,
    JIT_RULE_LOAD,
    JIT_RULE_STORE,
    JIT_RULE_ATOM,
    JIT_RULE_SHUFFLE,
};

struct jit_op {
    const char *name;
    uint8_t rule; /* enum jit_rule */
    uint8_t bits; /* of the result, or of the register of a load or store */
    uint8_t from; /* bits of the sources, or of an element in memory */
    bool is_signed;
    const char *what; /* the rule's own: an operation in LLVM's language, mostly */
};

/** The operation that a handler does; NULL if it is none of these. */
const struct jit_op *jit_op_of(vgpu_handler plain);

#endif
