/* SPDX-License-Identifier: MIT */
/**
 * A received image, checked and in the form that a driver wants. Relocatable device code comes as
 * several fatbins, one behind the other; a driver wants them in a wrapper, as nvcc makes it.
 */
#ifndef VGPU_WORKER_IMAGE_PARTS_H
#define VGPU_WORKER_IMAGE_PARTS_H

#include <stdbool.h>

#include "image/image.h"
#include "worker/code/image_buffer.h"

struct vgpu_image_parts {
    const void *image; /* for the driver; points into the buffer or to `wrapper` */
    bool prints;       /* there is a call of vprintf in it */
    struct {
        uint32_t magic, version;
        const void *fatbin;
        const void *const *linked;
    } wrapper;
    const void *linked[VGPU_CODE_PARTS + 1];
};

/** The buffer must stay as it is as long as the parts are used. Returns 0, -EINVAL: it is no image,
 *  or a damaged one; -E2BIG, -ENOMEM. */
int vgpu_image_parts_find(struct vgpu_image_parts *parts, const struct vgpu_image_buffer *buffer);

#endif
