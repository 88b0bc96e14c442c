/* SPDX-License-Identifier: MIT */
/** Memory that a program has not freed, for VGPU_SOFT_MEMCHECK. */
#ifndef VGPU_SOFT_DRIVER_LEAKS_H
#define VGPU_SOFT_DRIVER_LEAKS_H

struct vgpu_context;

/** Logs what belongs to a context that ends; NULL: what there is in all. Any thread. */
void vgpu_leaks_report(const struct vgpu_context *context);

#endif
