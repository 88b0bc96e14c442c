/* SPDX-License-Identifier: MIT */
/** Kernels over a vector of WORDS words, for programs that fill some and compare them. */
#ifndef VGPU_TESTS_DRIVER_API_WORDS_H
#define VGPU_TESTS_DRIVER_API_WORDS_H

#include <stdint.h>

#include "tests/driver_api/check.h"

enum { WORDS = 1 << 16, MIB = 1 << 20 };

/** Kernels, once words_load() has found them. */
static CUfunction fill, add_scaled;

static inline void words_load(CUmodule module)
{
    fill = check_function(module, "fill");
    add_scaled = check_function(module, "add_scaled");
}

static inline CUdeviceptr address_of(const void *memory)
{
    return (uintptr_t)memory;
}

/** Word n becomes value + n. */
static inline void launch_fill(CUdeviceptr out, unsigned int value, CUstream stream)
{
    int count = WORDS;
    void *parameters[] = {&out, &value, &count};
    CHECK(cuLaunchKernel(fill, WORDS / 256, 1, 1, 256, 1, 1, 0, stream, parameters, NULL));
}

static inline void launch_add(CUdeviceptr out, CUdeviceptr in, CUstream stream)
{
    int count = WORDS;
    void *parameters[] = {&out, &in, &count};
    CHECK(cuLaunchKernel(add_scaled, WORDS / 256, 1, 1, 256, 1, 1, 0, stream, parameters, NULL));
}

#endif
