/* SPDX-License-Identifier: MIT */
#ifndef VGPU_INTEROP_CONTEXT_FLAGS_H
#define VGPU_INTEROP_CONTEXT_FLAGS_H

#include <stdbool.h>

#include "interop/driver_api.h"

/** Whether these are flags of contexts, with one way of waiting at most. */
static inline bool vgpu_context_flags_valid(unsigned int flags)
{
    unsigned int schedule = flags & CU_CTX_SCHED_MASK;

    return !(flags & ~(unsigned int)CU_CTX_FLAGS_MASK) && (schedule & (schedule - 1)) == 0;
}

#endif
