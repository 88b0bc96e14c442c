/* SPDX-License-Identifier: MIT */
/**
 * The exported symbols of libcuda. Each has a weak definition here that answers
 * CUDA_ERROR_NOT_SUPPORTED and logs its name once, so a library implements a function by defining
 * it.
 *
 * cuGetProcAddress and cuGetProcAddress_v2 are defined here for every library. They ask the
 * library's cuDriverGetVersion() for the newest version that may be requested.
 */
#ifndef VGPU_INTEROP_SYMBOLS_H
#define VGPU_INTEROP_SYMBOLS_H

#include <stdbool.h>

#include "interop/driver_api.h"

/**
 * Finds the newest ABI of `name` that CUDA `version` (1000 * major + 10 * minor) knows, and its
 * per-thread twin if `per_thread` and there is one. NULL if there is none; *status says why.
 */
void *vgpu_symbol_find(const char *name, int version, bool per_thread,
                       CUdriverProcAddressQueryResult *status);

#endif
