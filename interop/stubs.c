/* SPDX-License-Identifier: MIT */
/*
 * This file must not see the prototypes of cuda.h: a stub takes whatever its caller passes and
 * reads none of it, which the calling convention allows.
 */
#include <stdatomic.h>

#include "interop/log.h"

enum { NOT_SUPPORTED = 801 }; /* CUDA_ERROR_NOT_SUPPORTED */

static int refuse(const char *symbol, atomic_flag *told)
{
    /* Relaxed: only the flag itself is shared. */
    if (!atomic_flag_test_and_set_explicit(told, memory_order_relaxed))
        vgpu_log(VGPU_LOG_ERROR, "%s is not supported (CUDA_ERROR_NOT_SUPPORTED)", symbol);
    return NOT_SUPPORTED;
}

#define SYMBOL(symbol, name, version, per_thread)                                                  \
    __attribute__((weak, visibility("default"))) int symbol(void);                                 \
    int symbol(void)                                                                               \
    {                                                                                              \
        static atomic_flag told = ATOMIC_FLAG_INIT;                                                \
        return refuse(#symbol, &told);                                                             \
    }
#include "symbols.inc"
