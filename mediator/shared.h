/* SPDX-License-Identifier: MIT */
/** Memory that the mediator shares with workers. */
#ifndef VGPU_MEDIATOR_SHARED_H
#define VGPU_MEDIATOR_SHARED_H

#include <stddef.h>

/**
 * A zeroed memfd of fixed size, mapped here. Sealed: nobody can shrink it under the mediator.
 * Returns 0 or a negative errno; *fd and *address are then the caller's to close and unmap.
 */
int vgpu_shared_create(const char *name, size_t size, int *fd, void **address);

#endif
