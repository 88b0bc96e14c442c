/* SPDX-License-Identifier: MIT */
/*
 * The functions that have no meaning here, each with the error that programs get and the reason,
 * from the call description. They read none of what their callers pass, which the calling
 * convention allows; that their C names are not cuda.h's keeps its prototypes out of the way.
 */
#include <cuda.h>
#include <stdatomic.h>

#include "interop/log.h"

static CUresult refuse(const char *symbol, CUresult error, const char *reason, atomic_flag *told)
{
    /* Relaxed: only the flag itself is shared. */
    if (!atomic_flag_test_and_set_explicit(told, memory_order_relaxed))
        vgpu_log(VGPU_LOG_INFO, "%s is refused (error %d): %s", symbol, (int)error, reason);
    return error;
}

#define REFUSED(symbol, error, reason)                                                             \
    __attribute__((visibility("default"))) CUresult refused_##symbol(void) __asm__(#symbol);       \
    CUresult refused_##symbol(void)                                                                \
    {                                                                                              \
        static atomic_flag told = ATOMIC_FLAG_INIT;                                                \
        return refuse(#symbol, error, reason, &told);                                              \
    }
#include "refused.inc"
