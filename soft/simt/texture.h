/* SPDX-License-Identifier: MIT */
/**
 * Textures and surfaces as kernels see them: elements in memory, and how they are read.
 *
 * A handle is a number that stays wrong once its texture is destroyed. All that a texture names is
 * checked when it is used, so a stale one gives a fault or stale data and never a crash.
 *
 * Threads: creating and destroying serialise on a lock; finding is lock-free.
 */
#ifndef VGPU_SOFT_TEXTURE_H
#define VGPU_SOFT_TEXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "soft/simt/memory.h"

enum { VGPU_TEXTURE_LEVELS = 17 };

/** What the bits of a channel mean. */
enum vgpu_texel_kind {
    VGPU_TEXEL_UINT,
    VGPU_TEXEL_SINT,
    VGPU_TEXEL_FLOAT,
    VGPU_TEXEL_UNORM,      /* 0 to 1 */
    VGPU_TEXEL_SNORM,      /* -1 to 1 */
    VGPU_TEXEL_UNORM_10_2, /* three channels of 10 bits and one of 2, from 0 to 1 */
};

enum vgpu_address_mode {
    VGPU_ADDRESS_WRAP,
    VGPU_ADDRESS_CLAMP,
    VGPU_ADDRESS_MIRROR,
    VGPU_ADDRESS_BORDER,
};

struct vgpu_texture_level {
    uint64_t address;
    uint64_t pitch;  /* bytes from row to row */
    uint64_t slice;  /* bytes from plane to plane */
    uint32_t width;  /* elements */
    uint32_t height; /* at least 1 */
    uint32_t planes; /* depth, layers or faces; at least 1 */
};

struct vgpu_texture {
    uint8_t kind;       /* enum vgpu_texel_kind */
    uint8_t bits;       /* of a channel: 8, 16 or 32 */
    uint8_t channels;   /* 1, 2 or 4 */
    uint8_t element;    /* bytes */
    bool buffer;        /* plain memory: read by index, and zero beyond it */
    bool srgb;          /* color channels are decoded from sRGB */
    bool linear;        /* filtering between elements */
    bool level_linear;  /* and between levels */
    bool normalized;    /* coordinates from 0 to 1 */
    uint8_t address[3]; /* enum vgpu_address_mode */
    float border[4];
    float bias;        /* of levels that are computed */
    float least, most; /* levels that are used */
    uint32_t level_count;
    struct vgpu_texture_level levels[VGPU_TEXTURE_LEVELS];
};

/** -ENOMEM when there are too many. `owner` is what vgpu_texture_owner() returns. */
int vgpu_texture_create(struct vgpu_memory *memory, const struct vgpu_texture *texture, void *owner,
                        uint64_t *handle);
void vgpu_texture_destroy(struct vgpu_memory *memory, uint64_t handle);
/** NULL if there is no such texture. */
void *vgpu_texture_owner(struct vgpu_memory *memory, uint64_t handle);

/* ---- what instructions do; internal to soft/simt ---- */

enum vgpu_geometry {
    VGPU_GEOMETRY_1D,
    VGPU_GEOMETRY_2D,
    VGPU_GEOMETRY_3D,
    VGPU_GEOMETRY_1D_LAYERS,
    VGPU_GEOMETRY_2D_LAYERS,
    VGPU_GEOMETRY_CUBE,
    VGPU_GEOMETRY_CUBE_LAYERS,
};

enum vgpu_sample_form {
    VGPU_SAMPLE_BASE,     /* the first level */
    VGPU_SAMPLE_LEVEL,    /* a level that is given */
    VGPU_SAMPLE_GRADIENT, /* a level from how coordinates change */
    VGPU_SAMPLE_GATHER,   /* one channel of the four elements that would be filtered */
};

struct vgpu_sample {
    enum vgpu_geometry geometry;
    enum vgpu_sample_form form;
    bool integers;    /* coordinates are indices of elements, in `index` */
    uint32_t channel; /* to gather */
    uint32_t layer;
    float at[3];
    int32_t index[3];
    float level;
    float dx[3], dy[3];
    int32_t offset[3]; /* elements */
};

struct vgpu_texture_table;
int vgpu_texture_table_create(struct vgpu_texture_table **out);
void vgpu_texture_table_destroy(struct vgpu_texture_table *table);

const struct vgpu_texture *vgpu_texture_find(const struct vgpu_memory *memory, uint64_t handle);

/** The four channels, as bits; false and the address in *fault where memory may not be read. */
bool vgpu_texture_sample(const struct vgpu_texture *texture, const struct vgpu_sample *sample,
                         const uint8_t *pages, uint32_t out[4], uint64_t *fault);

/** Turns channels as sust.p has them into an element; returns its bytes. */
uint32_t vgpu_texture_encode(const struct vgpu_texture *texture, const uint32_t channels[4],
                             uint8_t element[16]);

#endif
