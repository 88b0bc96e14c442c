/* SPDX-License-Identifier: MIT */
/** What the programs share: the checks of all tests' programs, and their kernels. */
#ifndef VGPU_TESTS_DRIVER_API_CHECK_H
#define VGPU_TESTS_DRIVER_API_CHECK_H

#include "tests/check.h"
#include "tests/driver_api/kernels.h"

static inline CUmodule check_module(void)
{
    CUmodule module;
    CHECK(cuModuleLoadData(&module, kernels_ptx));
    return module;
}

#endif
