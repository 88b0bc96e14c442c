/* SPDX-License-Identifier: MIT */
/** The payload of cuTexObjectCreate: what is read, how, and as what. */
#ifndef VGPU_PROTOCOL_TEXTURE_H
#define VGPU_PROTOCOL_TEXTURE_H

#include <assert.h>
#include <stdint.h>

struct vgpu_texture_description {
    /* the resource */
    uint32_t type;    /* CUresourcetype */
    uint32_t array;   /* handle id of an array or a mipmapped array */
    uint64_t address; /* of what is linear */
    uint64_t width;   /* bytes, if it is linear; elements, if it has a pitch */
    uint64_t height;  /* rows, and bytes from row to row, if it has a pitch */
    uint64_t pitch;
    uint32_t format; /* CUarray_format of what is linear */
    uint32_t channels;
    uint32_t resource_flags;
    /* how it is read */
    uint32_t address_mode[3]; /* CUaddress_mode */
    uint32_t filter_mode;     /* CUfilter_mode */
    uint32_t flags;
    uint32_t anisotropy;
    uint32_t mipmap_filter_mode; /* CUfilter_mode */
    float mipmap_bias;
    float mipmap_least;
    float mipmap_most;
    float border[4];
    /* as what */
    uint32_t has_view;    /* 0: as what it is, and the rest is 0 */
    uint32_t view_format; /* CUresourceViewFormat */
    uint32_t first_level, last_level, first_layer, last_layer;
    uint32_t reserved; /* 0 */
    uint64_t view_width, view_height, view_depth;
};

static_assert(sizeof(struct vgpu_texture_description) == 160, "wire format");

#endif
