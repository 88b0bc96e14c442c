/* SPDX-License-Identifier: MIT */
/**
 * All metrics of one moment as text, written piece by piece, so that the loop has its turn between
 * them; kept for a second, so that who asks often costs no more than who asks now and then.
 */
#ifndef VGPU_MEDIATOR_METRICS_EXPOSITION_H
#define VGPU_MEDIATOR_METRICS_EXPOSITION_H

#include <sys/types.h>

struct vgpu_mediator;
struct vgpu_exposition;

/** The latest one if it is of the last second, else a new one, which becomes the latest. NULL: out
 *  of memory. */
struct vgpu_exposition *vgpu_exposition_take(struct vgpu_mediator *mediator);
/** Of one that was taken; NULL: nothing happens. */
void vgpu_exposition_put(struct vgpu_exposition *exposition);
/** Forgets the latest. */
void vgpu_exposition_forget(struct vgpu_mediator *mediator);

/** Copies at most `size` bytes from `from` on; 0: that is all there is. -ENOMEM. */
ssize_t vgpu_exposition_read(struct vgpu_exposition *exposition, size_t from, char *to,
                             size_t size);

#endif
