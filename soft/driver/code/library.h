/* SPDX-License-Identifier: MIT */
/** Libraries and kernels: code that belongs to no context and becomes a module in each that uses
 * it. */
#ifndef VGPU_SOFT_DRIVER_LIBRARY_H
#define VGPU_SOFT_DRIVER_LIBRARY_H

#include "soft/driver/code/module.h"

/** What a CUkernel is. */
struct vgpu_entry {
    struct vgpu_object object;
    struct vgpu_library *library; /* with a reference */
    uint32_t index;
    struct vgpu_kernel_info info;
    struct vgpu_kernel_settings settings;
};

/** The function of a kernel in a context, with a reference. */
CUresult vgpu_entry_function(struct vgpu_entry *entry, struct vgpu_context *context,
                             struct vgpu_function **function);

/** A context dies: the libraries' modules in it, too. */
void vgpu_library_forget_context(const struct vgpu_context *context);

#endif
