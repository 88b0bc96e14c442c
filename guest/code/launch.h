/* SPDX-License-Identifier: MIT */
/** A kernel's parameter block, made of what the program gives. */
#ifndef VGPU_GUEST_LAUNCH_H
#define VGPU_GUEST_LAUNCH_H

#include "guest/code/code.h"

/**
 * Fills `block` (info->parameter_bytes long) from a launch's kernelParams or extra. INVALID_VALUE:
 * both, or none though there are parameters, or an unknown extra; LAUNCH_OUT_OF_RESOURCES: the
 * buffer is longer than the kernel's parameters.
 */
CUresult vgpu_launch_pack(const struct vgpu_function_info *info, void *const *parameters,
                          void *const *extra, void *block);

/** Blocks that fit a multiprocessor, asked once per question and function. */
CUresult vgpu_occupancy(const struct vgpu_caller *caller, struct vgpu_function *function,
                        int block_size, size_t dynamic_shared, unsigned int flags, int *blocks);

#endif
