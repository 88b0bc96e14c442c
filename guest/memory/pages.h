/* SPDX-License-Identifier: MIT */
/** Pages of the program's memory: whether they are there, and how many bytes come to them. */
#ifndef VGPU_GUEST_PAGES_H
#define VGPU_GUEST_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/** Has the kernel make the pages that are not there yet, all at once, instead of one by one when
 *  the bytes come. All of the memory must be about to be written. */
void vgpu_pages_prepare(void *memory, size_t bytes);

/** Whether all of the memory is mapped in this process. */
bool vgpu_pages_are_there(const void *memory, size_t bytes);

/** memcpy past the caches, for more than fits into them: the lines of `to` are not read first. */
void vgpu_pages_fill(void *to, const void *from, size_t bytes);

#endif
