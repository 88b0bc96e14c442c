/* SPDX-License-Identifier: MIT */
/**
 * cuda.h for those who implement it: every versioned and per-thread symbol is declared under its
 * own name (cuMemAlloc_v2, cuLaunchKernel_ptsz, ...) instead of being renamed by macros, and
 * definitions are visible outside the library although the rest of it is hidden.
 */
#ifndef VGPU_INTEROP_DRIVER_API_H
#define VGPU_INTEROP_DRIVER_API_H

#define __CUDA_API_VERSION_INTERNAL
#define __CUDA_API_VERSION_INTERNAL_ODR
#define __CUDA_API_PUSH_VISIBILITY_DEFAULT
#include <cuda.h>

#pragma GCC visibility push(default)
/* Declared in cudaProfiler.h. */
CUresult cuProfilerInitialize(const char *config, const char *output, int mode);
CUresult cuProfilerStart(void);
CUresult cuProfilerStop(void);
#pragma GCC visibility pop

#endif
