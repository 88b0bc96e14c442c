/* SPDX-License-Identifier: MIT */
/** What kernels cost: VGPU_SOFT_PROFILE=1 prints a table of them when the process ends. */
#ifndef VGPU_SOFT_PROFILE_H
#define VGPU_SOFT_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "soft/ptx/program.h"

/** What the blocks of one host thread did in one launch. */
struct vgpu_counts {
    uint64_t instructions; /* of warps: 32 lanes count once */
    uint64_t compiled;     /* of these, those that ran as machine code (soft/jit) */
    uint64_t bytes;        /* that lanes read and wrote in memory other than .shared and .local */
    uint64_t warps;
};

/** Whether the environment asks for it. The first call has the table printed at the end. Any
 * thread. */
bool vgpu_profile_wanted(void);

/** Adds one launch that took `seconds`. Any thread. */
void vgpu_profile_launch(const char *kernel, double seconds);

/** Adds what one thread did. Any thread. */
void vgpu_profile_add(const char *kernel, const struct vgpu_counts *counts);

/** Counts `length` instructions from `inst` on, for the lanes in `mask`. */
void vgpu_counts_add(struct vgpu_counts *counts, const struct vgpu_inst *inst, uint32_t length,
                     uint32_t mask);

#endif
