/* SPDX-License-Identifier: MIT */
/** What managed.c asks the libcuda that it is a part of. Any thread may ask. */
#ifndef VGPU_INTEROP_MANAGED_H
#define VGPU_INTEROP_MANAGED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "interop/driver_api.h"

struct vgpu_managed {
    uint64_t address; /* of the first byte of the allocation */
    size_t size;
};

/** Whether the thread may call now: there is a context, and no sticky error. */
CUresult vgpu_managed_enter(void);
/** And whether it may use this stream. */
CUresult vgpu_managed_enter_stream(CUstream stream);
/** The managed allocation that holds `address`; false if there is none. */
bool vgpu_managed_find(uint64_t address, struct vgpu_managed *found);
bool vgpu_managed_has_device(int ordinal);

#endif
