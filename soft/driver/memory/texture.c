/* SPDX-License-Identifier: MIT */
#include "soft/driver/memory/texture.h"

#include <string.h>

#include "soft/driver/memory/allocation.h"

/* ---- formats ---- */

static const struct {
    CUarray_format format;
    uint8_t kind; /* enum vgpu_texel_kind */
    uint8_t bits;
} formats[] = {
    {CU_AD_FORMAT_UNSIGNED_INT8, VGPU_TEXEL_UINT, 8},
    {CU_AD_FORMAT_UNSIGNED_INT16, VGPU_TEXEL_UINT, 16},
    {CU_AD_FORMAT_UNSIGNED_INT32, VGPU_TEXEL_UINT, 32},
    {CU_AD_FORMAT_SIGNED_INT8, VGPU_TEXEL_SINT, 8},
    {CU_AD_FORMAT_SIGNED_INT16, VGPU_TEXEL_SINT, 16},
    {CU_AD_FORMAT_SIGNED_INT32, VGPU_TEXEL_SINT, 32},
    {CU_AD_FORMAT_HALF, VGPU_TEXEL_FLOAT, 16},
    {CU_AD_FORMAT_FLOAT, VGPU_TEXEL_FLOAT, 32},
    {CU_AD_FORMAT_UNORM_INT8X1, VGPU_TEXEL_UNORM, 8},
    {CU_AD_FORMAT_UNORM_INT8X2, VGPU_TEXEL_UNORM, 8},
    {CU_AD_FORMAT_UNORM_INT8X4, VGPU_TEXEL_UNORM, 8},
    {CU_AD_FORMAT_UNORM_INT16X1, VGPU_TEXEL_UNORM, 16},
    {CU_AD_FORMAT_UNORM_INT16X2, VGPU_TEXEL_UNORM, 16},
    {CU_AD_FORMAT_UNORM_INT16X4, VGPU_TEXEL_UNORM, 16},
    {CU_AD_FORMAT_SNORM_INT8X1, VGPU_TEXEL_SNORM, 8},
    {CU_AD_FORMAT_SNORM_INT8X2, VGPU_TEXEL_SNORM, 8},
    {CU_AD_FORMAT_SNORM_INT8X4, VGPU_TEXEL_SNORM, 8},
    {CU_AD_FORMAT_SNORM_INT16X1, VGPU_TEXEL_SNORM, 16},
    {CU_AD_FORMAT_SNORM_INT16X2, VGPU_TEXEL_SNORM, 16},
    {CU_AD_FORMAT_SNORM_INT16X4, VGPU_TEXEL_SNORM, 16},
    {CU_AD_FORMAT_UNORM_INT_101010_2, VGPU_TEXEL_UNORM_10_2, 32},
};

static CUresult set_format(struct vgpu_texture *texture, CUarray_format format,
                           unsigned int channels)
{
    texture->element = (uint8_t)vgpu_format_bytes(format, channels);
    if (texture->element == 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (formats[i].format != format)
            continue;
        texture->kind = formats[i].kind;
        texture->bits = formats[i].bits;
        texture->channels = (uint8_t)channels;
    }
    return CUDA_SUCCESS;
}

/* Views say how to read elements that have the same size. */
static CUresult set_view_format(struct vgpu_texture *texture, CUresourceViewFormat format)
{
    static const CUarray_format bases[] = {CU_AD_FORMAT_UNSIGNED_INT8,  CU_AD_FORMAT_SIGNED_INT8,
                                           CU_AD_FORMAT_UNSIGNED_INT16, CU_AD_FORMAT_SIGNED_INT16,
                                           CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32,
                                           CU_AD_FORMAT_HALF,           CU_AD_FORMAT_FLOAT};
    static const unsigned int channels[] = {1, 2, 4};
    unsigned int index = (unsigned int)format - CU_RES_VIEW_FORMAT_UINT_1X8;
    uint8_t element = texture->element;

    if (format == CU_RES_VIEW_FORMAT_NONE)
        return CUDA_SUCCESS;
    if ((unsigned int)format > CU_RES_VIEW_FORMAT_UNSIGNED_BC7)
        return CUDA_ERROR_INVALID_VALUE;
    if (format >= CU_RES_VIEW_FORMAT_UNSIGNED_BC1)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult result = set_format(texture, bases[index / 3], channels[index % 3]);
    if (result == CUDA_SUCCESS && texture->element != element)
        result = CUDA_ERROR_INVALID_VALUE;
    return result;
}

/* ---- resources ---- */

static void set_level(struct vgpu_texture *texture, uint32_t index, const struct vgpu_array *array)
{
    texture->levels[index] = (struct vgpu_texture_level){
        .address = array->address,
        .pitch = array->pitch,
        .slice = array->slice,
        .width = (uint32_t)array->descriptor.Width,
        .height = (uint32_t)array->rows,
        .planes = (uint32_t)array->planes,
    };
}

static CUresult set_array(struct vgpu_texture *texture, CUarray handle, void **holder)
{
    struct vgpu_array *array = vgpu_object_take(handle, VGPU_OBJECT_ARRAY);

    if (!array)
        return CUDA_ERROR_INVALID_VALUE;
    *holder = array;
    texture->level_count = 1;
    set_level(texture, 0, array);
    return set_format(texture, array->descriptor.Format, array->descriptor.NumChannels);
}

static CUresult set_mipmapped(struct vgpu_texture *texture, CUmipmappedArray handle, void **holder)
{
    struct vgpu_mipmapped_array *whole = vgpu_object_take(handle, VGPU_OBJECT_MIPMAPPED_ARRAY);

    if (!whole)
        return CUDA_ERROR_INVALID_VALUE;
    *holder = whole;
    texture->level_count = whole->level_count;
    for (uint32_t i = 0; i < whole->level_count; i++)
        set_level(texture, i, whole->levels[i]);
    return set_format(texture, whole->descriptor.Format, whole->descriptor.NumChannels);
}

static bool is_aligned(CUdeviceptr address)
{
    return address % (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT) == 0;
}

static CUresult set_linear(struct vgpu_texture *texture, const CUDA_RESOURCE_DESC *resource)
{
    CUresult result =
        set_format(texture, resource->res.linear.format, resource->res.linear.numChannels);
    CUdeviceptr address = resource->res.linear.devPtr;
    size_t bytes = resource->res.linear.sizeInBytes;
    size_t most = (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH);

    if (result == CUDA_SUCCESS && (bytes < texture->element || bytes / texture->element > most ||
                                   !address || !is_aligned(address)))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_allocation_check(address, bytes, VGPU_SIDE_DEVICE);
    if (result != CUDA_SUCCESS)
        return result;
    texture->buffer = true;
    texture->level_count = 1;
    texture->levels[0] = (struct vgpu_texture_level){
        .address = address,
        .width = (uint32_t)(bytes / texture->element),
        .height = 1,
        .planes = 1,
    };
    return CUDA_SUCCESS;
}

static CUresult set_pitched(struct vgpu_texture *texture, const CUDA_RESOURCE_DESC *resource)
{
    CUresult result =
        set_format(texture, resource->res.pitch2D.format, resource->res.pitch2D.numChannels);
    CUdeviceptr address = resource->res.pitch2D.devPtr;
    size_t width = resource->res.pitch2D.width, height = resource->res.pitch2D.height;
    size_t pitch = resource->res.pitch2D.pitchInBytes;

    if (result != CUDA_SUCCESS)
        return result;
    if (!address || !is_aligned(address) || width == 0 || height == 0 ||
        width > (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH) ||
        height >
            (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT) ||
        pitch > (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH) ||
        pitch < width * texture->element ||
        pitch % (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT))
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_allocation_check(address, pitch * (height - 1) + width * texture->element,
                                   VGPU_SIDE_DEVICE);
    if (result != CUDA_SUCCESS)
        return result;
    texture->level_count = 1;
    texture->levels[0] = (struct vgpu_texture_level){
        .address = address,
        .pitch = pitch,
        .width = (uint32_t)width,
        .height = (uint32_t)height,
        .planes = 1,
    };
    return CUDA_SUCCESS;
}

static CUresult set_resource(struct vgpu_texture *texture, const CUDA_RESOURCE_DESC *resource,
                             void **holder)
{
    if (resource->flags)
        return CUDA_ERROR_INVALID_VALUE;
    switch (resource->resType) {
    case CU_RESOURCE_TYPE_ARRAY:
        return set_array(texture, resource->res.array.hArray, holder);
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        return set_mipmapped(texture, resource->res.mipmap.hMipmappedArray, holder);
    case CU_RESOURCE_TYPE_LINEAR:
        return set_linear(texture, resource);
    case CU_RESOURCE_TYPE_PITCH2D:
        return set_pitched(texture, resource);
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* ---- how it is read ---- */

static CUresult set_reading(struct vgpu_texture *texture, const CUDA_TEXTURE_DESC *how,
                            CUresourcetype type)
{
    const unsigned int known = CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES |
                               CU_TRSF_SRGB | CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION |
                               CU_TRSF_SEAMLESS_CUBEMAP;

    if ((how->flags & ~known) || (unsigned int)how->filterMode > CU_TR_FILTER_MODE_LINEAR ||
        (unsigned int)how->mipmapFilterMode > CU_TR_FILTER_MODE_LINEAR)
        return CUDA_ERROR_INVALID_VALUE;
    texture->normalized = how->flags & CU_TRSF_NORMALIZED_COORDINATES;
    if (type == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY && !texture->normalized)
        return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; i < 3; i++) {
        if ((unsigned int)how->addressMode[i] > CU_TR_ADDRESS_MODE_BORDER)
            return CUDA_ERROR_INVALID_VALUE;
        texture->address[i] = (uint8_t)how->addressMode[i];
        /* Without a whole there is nothing to repeat. */
        if (!texture->normalized && (how->addressMode[i] == CU_TR_ADDRESS_MODE_WRAP ||
                                     how->addressMode[i] == CU_TR_ADDRESS_MODE_MIRROR))
            texture->address[i] = VGPU_ADDRESS_CLAMP;
    }
    if (!(how->flags & CU_TRSF_READ_AS_INTEGER) && texture->bits < 32) {
        if (texture->kind == VGPU_TEXEL_UINT)
            texture->kind = VGPU_TEXEL_UNORM;
        else if (texture->kind == VGPU_TEXEL_SINT)
            texture->kind = VGPU_TEXEL_SNORM;
    }
    texture->srgb = (how->flags & CU_TRSF_SRGB) && texture->kind == VGPU_TEXEL_UNORM;
    texture->linear = how->filterMode == CU_TR_FILTER_MODE_LINEAR;
    texture->level_linear = how->mipmapFilterMode == CU_TR_FILTER_MODE_LINEAR;
    memcpy(texture->border, how->borderColor, sizeof(texture->border));
    texture->bias = how->mipmapLevelBias;
    texture->least = how->minMipmapLevelClamp;
    texture->most = how->maxMipmapLevelClamp;
    return CUDA_SUCCESS;
}

/* Narrows a texture to some of its levels and layers. */
static CUresult set_view(struct vgpu_texture *texture, const CUDA_RESOURCE_VIEW_DESC *view)
{
    const struct vgpu_texture_level *base = &texture->levels[0];
    uint32_t layers = view->lastLayer - view->firstLayer + 1, levels;
    CUresult result = set_view_format(texture, view->format);

    if (result != CUDA_SUCCESS)
        return result;
    if (view->width != base->width || (view->height ? view->height : 1) != base->height ||
        view->firstMipmapLevel > view->lastMipmapLevel ||
        view->lastMipmapLevel >= texture->level_count || view->firstLayer > view->lastLayer ||
        view->lastLayer >= base->planes)
        return CUDA_ERROR_INVALID_VALUE;
    levels = view->lastMipmapLevel - view->firstMipmapLevel + 1;
    memmove(&texture->levels[0], &texture->levels[view->firstMipmapLevel],
            levels * sizeof(texture->levels[0]));
    texture->level_count = levels;
    /* Without layers both numbers are 0, and nothing is narrowed. */
    for (uint32_t i = 0; view->lastLayer > 0 && i < levels; i++) {
        texture->levels[i].address += view->firstLayer * texture->levels[i].slice;
        texture->levels[i].planes = layers;
    }
    return CUDA_SUCCESS;
}

CUresult vgpu_texture_describe(const CUDA_RESOURCE_DESC *resource, const CUDA_TEXTURE_DESC *how,
                               const CUDA_RESOURCE_VIEW_DESC *view, struct vgpu_texture *texture,
                               void **holder)
{
    CUresult result;

    *holder = NULL;
    memset(texture, 0, sizeof(*texture));
    result = set_resource(texture, resource, holder);
    if (result == CUDA_SUCCESS && view) {
        bool array = resource->resType == CU_RESOURCE_TYPE_ARRAY ||
                     resource->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
        result = array ? set_view(texture, view) : CUDA_ERROR_INVALID_VALUE;
    }
    if (result == CUDA_SUCCESS && how)
        result = set_reading(texture, how, resource->resType);
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(*holder);
        *holder = NULL;
    }
    return result;
}
