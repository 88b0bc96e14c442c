/* SPDX-License-Identifier: MIT */
/** How large a cubin is, which nothing in it says. */
#ifndef VGPU_IMAGE_CUBIN_H
#define VGPU_IMAGE_CUBIN_H

#include <stddef.h>

/**
 * Sets *size to the end of the last byte that the ELF headers at `data` refer to.
 * -EINVAL if it is no 64-bit CUDA ELF or refers beyond `limit`.
 */
int vgpu_cubin_size(const void *data, size_t limit, size_t *size);

#endif
