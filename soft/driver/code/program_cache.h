/* SPDX-License-Identifier: MIT */
/**
 * Programs by their texts: what is loaded again, into another context or after it was unloaded, is
 * not read and decoded again. Any thread.
 */
#ifndef VGPU_SOFT_DRIVER_PROGRAM_CACHE_H
#define VGPU_SOFT_DRIVER_PROGRAM_CACHE_H

#include "soft/simt/simt.h"

/** Of programs that nobody uses, as many are kept as have so many bytes of text in all. */
#define VGPU_PROGRAM_CACHE_BYTES ((size_t)16 << 20)

/**
 * The program of these texts, linked, with a reference; with `check`, all of it was looked at.
 * Errors and `log` are those of vgpu_program_link() and vgpu_program_check(); none are remembered.
 */
int vgpu_program_cache_take(const struct vgpu_text *texts, uint32_t count, bool check, char *log,
                            size_t log_size, struct vgpu_program **program);

/** Gives back a program that was taken. */
void vgpu_program_cache_put(struct vgpu_program *program);

#endif
