/* SPDX-License-Identifier: MIT */
#include "soft/driver/memory/leaks.h"

#include "interop/log.h"
#include "soft/driver/memory/allocation.h"

enum { MOST_LINES = 10 };

static const char *name_of(enum vgpu_allocation_kind kind)
{
    switch (kind) {
    case VGPU_ALLOCATION_DEVICE:
        return "device memory";
    case VGPU_ALLOCATION_MANAGED:
        return "managed memory";
    case VGPU_ALLOCATION_POOL:
        return "memory of a pool";
    case VGPU_ALLOCATION_HOST:
        return "page-locked host memory";
    default: /* freed by whom it belongs to */
        return NULL;
    }
}

void vgpu_leaks_report(const struct vgpu_context *context)
{
    struct vgpu_allocation found;
    size_t count = 0, bytes = 0;

    for (uint64_t from = 0; vgpu_allocation_next(from, &found); from = found.address + 1) {
        if (name_of(found.kind) == NULL || (context != NULL && found.context != context))
            continue;
        if (count++ < MOST_LINES)
            vgpu_log(VGPU_LOG_ERROR, "memcheck: %zu bytes of %s at 0x%llx were never freed",
                     found.size, name_of(found.kind), (unsigned long long)found.address);
        bytes += found.size;
    }
    if (count > 0)
        vgpu_log(VGPU_LOG_ERROR, "memcheck: %zu allocations with %zu bytes were never freed", count,
                 bytes);
}

/* A child that was forked has nothing, and a program that ends early was not checked. */
__attribute__((destructor)) static void report_at_exit(void)
{
    if (vgpu_driver()->memcheck && vgpu_driver_ready() == CUDA_SUCCESS)
        vgpu_leaks_report(NULL);
}
