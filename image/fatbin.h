/* SPDX-License-Identifier: MIT */
/** The fatbin container, as code.c needs it. */
#ifndef VGPU_IMAGE_FATBIN_H
#define VGPU_IMAGE_FATBIN_H

#include <stddef.h>
#include <stdint.h>

#define VGPU_FATBIN_MAGIC 0xba55ed50u

/** Sets *size to header and entries; -EINVAL if that is more than `limit` or the header is wrong.
 */
int vgpu_fatbin_size(const void *data, size_t limit, size_t *size);

/** Writes the 16 bytes in front of entries that take `rest` bytes together. */
void vgpu_fatbin_make_header(uint8_t *header, uint64_t rest);

#endif
