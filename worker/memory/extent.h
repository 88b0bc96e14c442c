/* SPDX-License-Identifier: MIT */
/** The channel's memory as the GPU sees it: registered, so that copies are DMA and fences land. */
#ifndef VGPU_WORKER_EXTENT_H
#define VGPU_WORKER_EXTENT_H

struct vgpu_worker;
struct vgpu_context;

/** Gives a new context, which is current, its view of the extent: the first one registers it for
 *  all. Where the driver cannot, the context goes without (one line in the log). */
void vgpu_extent_attach(struct vgpu_worker *worker, struct vgpu_context *context);

/** Takes the view away from a context that is current and about to go. If the registration was made
 *  in it, another context takes that over. */
void vgpu_extent_detach(struct vgpu_worker *worker, struct vgpu_context *context);

#endif
