/* SPDX-License-Identifier: MIT */
/**
 * The mediator's view of a client's window: it maps the header and the channel table, writes the
 * table, and never decides on anything that it reads there.
 */
#ifndef VGPU_MEDIATOR_WINDOW_H
#define VGPU_MEDIATOR_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/window.h"

/**
 * Checks that `fd` is memory of `size` bytes that nobody can shrink and maps its head. Returns
 * NULL, or a sentence that says what is wrong.
 */
const char *vgpu_window_map(int fd, uint64_t size, void **head);
void vgpu_window_unmap(void *head);

/** Marks every entry free. */
void vgpu_window_clear_table(void *head);

/** Writes an entry: `state` last, so that who sees it sees the rest. */
void vgpu_window_publish(void *head, uint32_t index, const struct vgpu_channel_entry *entry);

/** Frees an extent's memory; what is read there afterwards is zero. Returns 0 or a negative errno.
 */
int vgpu_window_punch(int fd, uint64_t offset, uint64_t size);

/** True if `fd` is an eventfd and nothing else. */
int vgpu_window_is_eventfd(int fd);

/**
 * Adds 1 to an eventfd that the client also holds. It could be made to block by a client that fills
 * it at the right moment: then this gives up after a few milliseconds. SIGALRM must have a handler.
 */
void vgpu_window_signal(int eventfd);

#endif
