/* SPDX-License-Identifier: MIT */
/** What a kernel did wrong, in words. Internal to soft/simt. */
#ifndef VGPU_SOFT_REPORT_H
#define VGPU_SOFT_REPORT_H

#include "soft/simt/warp.h"

/**
 * Fills in *fault for what lane `lane` of a warp did at `pc` of its unit, and returns -EFAULT.
 * Called by the thread that runs the block.
 */
int vgpu_fault_report(const struct vgpu_warp *warp, enum vgpu_fault_kind kind, uint32_t lane,
                      uint32_t pc, struct vgpu_fault *fault);

#endif
