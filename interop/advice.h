/* SPDX-License-Identifier: MIT */
/**
 * What a program has said about where managed memory should be. Managed memory is always where it
 * is needed here, so this is told back and has no other effect.
 *
 * Ranges are whole pages of managed allocations. Any thread may call these.
 */
#ifndef VGPU_INTEROP_ADVICE_H
#define VGPU_INTEROP_ADVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "interop/driver_api.h"

enum {
    VGPU_ADVICE_PAGE = 4096,
    VGPU_ADVICE_HOST_BIT = 31, /* of vgpu_advice.accessed_by; the others are device ordinals */
};

struct vgpu_advice {
    bool read_mostly;
    uint32_t accessed_by;
    CUmemLocation preferred; /* type CU_MEM_LOCATION_TYPE_NONE: nowhere */
    CUmemLocation prefetched;
};

/** Changes what is known of each part of [start, end) by `change`; -ENOMEM changes nothing. */
int vgpu_advice_change(uint64_t start, uint64_t end,
                       void (*change)(struct vgpu_advice *advice, const void *argument),
                       const void *argument);

/** Calls `visit` with what is known of each part of [start, end), in order. */
void vgpu_advice_visit(uint64_t start, uint64_t end,
                       void (*visit)(const struct vgpu_advice *advice, void *argument),
                       void *argument);

/** Forgets all about memory that is freed. */
void vgpu_advice_forget(uint64_t start, size_t size);

#endif
