/* SPDX-License-Identifier: MIT */
/**
 * The part of an image that a device can use, without a copy: pieces of the program's memory that,
 * one behind the other, are an image again. Entries stay as they are, compressed ones compressed.
 */
#ifndef VGPU_IMAGE_SELECT_H
#define VGPU_IMAGE_SELECT_H

#include "image/hash.h"
#include "image/image.h"

enum { VGPU_CODE_PIECES = 4096, VGPU_FATBIN_HEADER_BYTES = 16 };

struct vgpu_code_selection {
    size_t size; /* bytes of all pieces */
    uint32_t count;
    struct vgpu_code_part pieces[VGPU_CODE_PIECES]; /* of the program's memory, or of `headers` */
    uint8_t headers[VGPU_CODE_PARTS][VGPU_FATBIN_HEADER_BYTES];
};

/**
 * Leaves out what compute capability `device` (90 for 9.0) can certainly not use: cubins of other
 * architectures, and PTX that is too new or older than the best that is there. What is of another
 * kind stays. A fatbin can so become an empty one, which a driver answers as one where nothing
 * fits. `selection` points into itself: it must not be moved.
 * Returns 0; -EINVAL a malformed fatbin; -E2BIG too large, or in too many pieces.
 */
int vgpu_code_select(const struct vgpu_code *code, uint32_t device,
                     struct vgpu_code_selection *selection);

/** The content hash of all pieces, one behind the other. */
void vgpu_code_selection_hash(const struct vgpu_code_selection *selection,
                              struct vgpu_image_hash *hash);

#endif
