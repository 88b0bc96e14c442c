/* SPDX-License-Identifier: MIT */
/** The files of interop/compile_cache.h, which says where they are. Any thread and process. */
#ifndef VGPU_INTEROP_CACHE_FOLDER_H
#define VGPU_INTEROP_CACHE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "image/hash.h"

/** True and new memory for free(); false: it is not there, or it was damaged and is deleted. */
bool vgpu_cache_folder_read(const struct vgpu_image_hash *name, void **data, size_t *bytes);

/** Writes a file, and removes those that were not used for longest if there are too many bytes. A
 *  folder that cannot be had or written is no error. */
void vgpu_cache_folder_write(const struct vgpu_image_hash *name, const void *data, size_t bytes);

#endif
