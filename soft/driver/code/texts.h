/* SPDX-License-Identifier: MIT */
/** The PTX texts of an image: those that a program consists of. */
#ifndef VGPU_SOFT_DRIVER_TEXTS_H
#define VGPU_SOFT_DRIVER_TEXTS_H

#include "image/image.h"
#include "soft/simt/simt.h"

struct vgpu_texts {
    struct vgpu_text *list; /* each with a NUL behind its end, owned */
    uint32_t count;
};

/**
 * Adds the PTX of `code` that compute capability `capability` (121 for 12.1) runs best. The parts
 * of an image are separately compiled pieces of one program, and so is PTX for one architecture
 * that is in a fatbin more than once: cuLinkComplete() makes such. Errors: -ENOENT there is none;
 * -EINVAL, -E2BIG, -ENOMEM as vgpu_fatbin_expand().
 */
int vgpu_texts_add(struct vgpu_texts *texts, const struct vgpu_code *code, uint32_t capability);

/** Adds a copy of `length` bytes of text. -ENOMEM. */
int vgpu_texts_add_copy(struct vgpu_texts *texts, const char *text, size_t length);

void vgpu_texts_drop(struct vgpu_texts *texts);

#endif
