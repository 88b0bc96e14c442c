/* SPDX-License-Identifier: MIT */
/** Texture and surface references of modules. */
#ifndef VGPU_GUEST_TEXTURE_REFERENCE_H
#define VGPU_GUEST_TEXTURE_REFERENCE_H

struct vgpu_reference;

/** Ends all references of a module's list; their handles are none any more. Any thread. */
void vgpu_references_end(struct vgpu_reference **list);

#endif
