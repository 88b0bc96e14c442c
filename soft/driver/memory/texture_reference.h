/* SPDX-License-Identifier: MIT */
/** Texture and surface references of modules. */
#ifndef VGPU_SOFT_DRIVER_TEXTURE_REFERENCE_H
#define VGPU_SOFT_DRIVER_TEXTURE_REFERENCE_H

struct vgpu_module;

/** Ends the handles of a module's references; no kernel that reads through them may be pending. */
void vgpu_texture_references_end(struct vgpu_module *module);

#endif
