/* SPDX-License-Identifier: MIT */
/** What is kept of a compiled kernel. */
#ifndef VGPU_SOFT_JIT_CODE_H
#define VGPU_SOFT_JIT_CODE_H

#include <stdatomic.h>

#include "soft/jit/emit.h"
#include "soft/jit/jit.h"
#include "soft/jit/llvm.h"
#include "soft/simt/warp.h"

/* Registers that change hands at an entry or exit. */
struct jit_move {
    const struct jit_register **registers;
    uint32_t count;
};

struct vgpu_jit_code {
    struct vgpu_jit_code *next;
    struct jit_plan *plan;
    struct jit_machine *machine;
    uint32_t (*run)(uint8_t *state, struct vgpu_warp *warp, uint32_t entry);
    struct jit_exit *exits;
    uint32_t exit_count;
    struct jit_move *taken;  /* by entry */
    struct jit_move *given;  /* by exit */
    uint32_t *entries;       /* by instruction of the kernel; 0: none */
    _Atomic uint32_t *open;  /* the same, without those that are closed; relaxed: either is right */
    _Atomic int32_t *scores; /* by entry; relaxed: some may be lost */
};

#endif
