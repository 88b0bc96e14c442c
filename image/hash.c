/* SPDX-License-Identifier: MIT */
#include "image/hash.h"

void vgpu_image_hasher_start(struct vgpu_image_hasher *hasher)
{
    sha256_init(&hasher->state);
}

void vgpu_image_hasher_add(struct vgpu_image_hasher *hasher, const void *data, size_t size)
{
    sha256_update(&hasher->state, size, data);
}

void vgpu_image_hasher_finish(struct vgpu_image_hasher *hasher, struct vgpu_image_hash *hash)
{
    sha256_digest(&hasher->state, sizeof(hash->bytes), hash->bytes);
}

void vgpu_image_hash(const void *data, size_t size, struct vgpu_image_hash *hash)
{
    struct vgpu_image_hasher hasher;

    vgpu_image_hasher_start(&hasher);
    vgpu_image_hasher_add(&hasher, data, size);
    vgpu_image_hasher_finish(&hasher, hash);
}

void vgpu_image_hash_text(const struct vgpu_image_hash *hash, char text[VGPU_IMAGE_HASH_TEXT])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(hash->bytes); i++) {
        text[2 * i] = digits[hash->bytes[i] >> 4];
        text[2 * i + 1] = digits[hash->bytes[i] & 15];
    }
    text[2 * sizeof(hash->bytes)] = 0;
}
