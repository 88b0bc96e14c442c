/* SPDX-License-Identifier: MIT */
/**
 * The name of an image: SHA-256 of its bytes. Cryptographic, because virtual machines that do not
 * trust each other share a cache under these names. Any thread.
 */
#ifndef VGPU_IMAGE_HASH_H
#define VGPU_IMAGE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include <nettle/sha2.h>

enum { VGPU_IMAGE_HASH_BYTES = 32, VGPU_IMAGE_HASH_TEXT = 2 * VGPU_IMAGE_HASH_BYTES + 1 };

struct vgpu_image_hash {
    uint8_t bytes[VGPU_IMAGE_HASH_BYTES];
};

struct vgpu_image_hasher {
    struct sha256_ctx state;
};

void vgpu_image_hasher_start(struct vgpu_image_hasher *hasher);
void vgpu_image_hasher_add(struct vgpu_image_hasher *hasher, const void *data, size_t size);
void vgpu_image_hasher_finish(struct vgpu_image_hasher *hasher, struct vgpu_image_hash *hash);

void vgpu_image_hash(const void *data, size_t size, struct vgpu_image_hash *hash);

/** Lower-case hexadecimal digits and a NUL, as files are named. */
void vgpu_image_hash_text(const struct vgpu_image_hash *hash, char text[VGPU_IMAGE_HASH_TEXT]);

#endif
