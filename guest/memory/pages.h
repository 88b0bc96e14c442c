/* SPDX-License-Identifier: MIT */
/** Memory of the program that many bytes from the device are about to fill. */
#ifndef VGPU_GUEST_PAGES_H
#define VGPU_GUEST_PAGES_H

#include <stddef.h>

/** Has the kernel make the pages that are not there yet, all at once, instead of one by one when
 *  the bytes come. All of the memory must be about to be written. */
void vgpu_pages_prepare(void *memory, size_t bytes);

/** memcpy past the caches, for more than fits into them: the lines of `to` are not read first. */
void vgpu_pages_fill(void *to, const void *from, size_t bytes);

#endif
