/* SPDX-License-Identifier: MIT */
/** The fatbin container, as code.c needs it. */
#ifndef VGPU_IMAGE_FATBIN_H
#define VGPU_IMAGE_FATBIN_H

#include <stddef.h>

#define VGPU_FATBIN_MAGIC 0xba55ed50u

/** Sets *size to header and entries; -EINVAL if that is more than `limit` or the header is wrong.
 */
int vgpu_fatbin_size(const void *data, size_t limit, size_t *size);

#endif
