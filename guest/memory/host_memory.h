/* SPDX-License-Identifier: MIT */
/** Memory of the host that programs get from CUDA or register with it. */
#ifndef VGPU_GUEST_HOST_MEMORY_H
#define VGPU_GUEST_HOST_MEMORY_H

#include "guest/memory/ranges.h"
#include "guest/process/caller.h"

/** Frees or unregisters a range of the host that was taken out of the table; others are ignored. */
void vgpu_host_release(const struct vgpu_range *range);

/** The same once nobody works with it: as synchronising calls, returns errors of earlier work. */
CUresult vgpu_host_free(const struct vgpu_caller *caller, const struct vgpu_range *range);

/** True if all of the range is memory that the device reaches at the same address: copies from and
 *  to it need no staging, and may be recorded and done again. */
bool vgpu_host_is_shared(const void *memory, size_t bytes);

#endif
