/* SPDX-License-Identifier: MIT */
/* The fake driver's arrays, of bytes and words only, and what reads them. */
#include <stdlib.h>
#include <string.h>

#include "worker/tests/fake_objects.h"

static size_t element_bytes(CUarray_format format, unsigned int channels)
{
    return (format == CU_AD_FORMAT_UNSIGNED_INT8 ? 1u : 4u) * channels;
}

static struct fake_object *make(CUarray_format format, unsigned int channels, size_t width,
                                size_t height, size_t depth)
{
    struct fake_object *array = fake_make(ARRAY, machine.current);
    array->used = width * element_bytes(format, channels);
    array->reserved = height ? height : 1;
    array->bytes = array->used * array->reserved * (depth ? depth : 1);
    array->memory = malloc(array->bytes);
    memset(array->memory, 0xdd, array->bytes);
    array->array = (CUDA_ARRAY3D_DESCRIPTOR){.Width = width,
                                             .Height = height,
                                             .Depth = depth,
                                             .Format = format,
                                             .NumChannels = channels};
    return array;
}

static CUresult check(const CUDA_ARRAY3D_DESCRIPTOR *wanted)
{
    size_t bytes;
    CUresult error = fake_fail_once();
    if (error)
        return error;
    if (wanted->Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING))
        fake_die("an array without memory");
    if ((wanted->Format != CU_AD_FORMAT_UNSIGNED_INT8 && wanted->Format != CU_AD_FORMAT_FLOAT &&
         wanted->Format != CU_AD_FORMAT_NV12) ||
        wanted->NumChannels == 0 || wanted->NumChannels > 4 || wanted->Width == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(wanted->Width, wanted->Height ? wanted->Height : 1, &bytes) ||
        __builtin_mul_overflow(bytes, wanted->Depth ? wanted->Depth : 1, &bytes) ||
        bytes > FAKE_ALLOCATION_MOST)
        return CUDA_ERROR_OUT_OF_MEMORY;
    return CUDA_SUCCESS;
}

/* What is a part of an array of two planes, or of levels. */
static void add_part(struct fake_object *whole, struct fake_object *part, size_t number)
{
    part->owner = whole;
    part->recorded = number;
}

static struct fake_object *find_part(const struct fake_object *whole, size_t number)
{
    struct fake_object *part = machine.objects;
    while (part && (part->owner != whole || part->recorded != number))
        part = part->next;
    return part;
}

static CUresult f_create(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *wanted)
{
    CUresult error = check(wanted);
    if (error)
        return error;
    struct fake_object *made =
        make(wanted->Format, wanted->NumChannels, wanted->Width, wanted->Height, wanted->Depth);
    if (wanted->Format == CU_AD_FORMAT_NV12) {
        add_part(made, make(CU_AD_FORMAT_UNSIGNED_INT8, 1, wanted->Width, wanted->Height, 0), 0);
        add_part(made,
                 make(CU_AD_FORMAT_UNSIGNED_INT8, 2, wanted->Width / 2, wanted->Height / 2, 0), 1);
    }
    *array = (CUarray)made;
    return CUDA_SUCCESS;
}

static CUresult f_descriptor(CUDA_ARRAY3D_DESCRIPTOR *is, CUarray array)
{
    *is = fake_need(array, ARRAY)->array;
    return fake_check();
}

static CUresult f_destroy(CUarray array)
{
    struct fake_object *gone = fake_need(array, ARRAY);
    if (gone->owner)
        fake_die("a part of an array is destroyed by itself");
    fake_synchronise();
    fake_forget_owned(gone);
    fake_forget(gone);
    return CUDA_SUCCESS;
}

static CUresult f_plane(CUarray *plane, CUarray array, unsigned int number)
{
    struct fake_object *part = find_part(fake_need(array, ARRAY), number);
    *plane = (CUarray)part;
    return part ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult f_mipmap(CUmipmappedArray *mipmap, const CUDA_ARRAY3D_DESCRIPTOR *wanted,
                         unsigned int levels)
{
    CUresult error = check(wanted);
    if (error)
        return error;
    struct fake_object *made = fake_make(MIPMAP, machine.current);
    for (size_t i = 0; i < levels && wanted->Width >> i; i++)
        add_part(made,
                 make(wanted->Format, wanted->NumChannels, wanted->Width >> i, wanted->Height >> i,
                      wanted->Depth >> i),
                 i);
    *mipmap = (CUmipmappedArray)made;
    return CUDA_SUCCESS;
}

static CUresult f_mipmap_destroy(CUmipmappedArray mipmap)
{
    fake_synchronise();
    fake_forget_owned(fake_need(mipmap, MIPMAP));
    fake_forget(fake_need(mipmap, MIPMAP));
    return CUDA_SUCCESS;
}

static CUresult f_level(CUarray *level, CUmipmappedArray mipmap, unsigned int number)
{
    struct fake_object *part = find_part(fake_need(mipmap, MIPMAP), number);
    *level = (CUarray)part;
    return part ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- texture and surface objects ---- */

static void need_resource(const CUDA_RESOURCE_DESC *resource)
{
    if (resource->resType == CU_RESOURCE_TYPE_ARRAY)
        fake_need(resource->res.array.hArray, ARRAY);
    if (resource->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY)
        fake_need(resource->res.mipmap.hMipmappedArray, MIPMAP);
}

static CUresult f_texture(CUtexObject *texture, const CUDA_RESOURCE_DESC *resource,
                          const CUDA_TEXTURE_DESC *how, const CUDA_RESOURCE_VIEW_DESC *view)
{
    need_resource(resource);
    fake.texture = *how;
    fake.texture_view = view != NULL;
    *texture = (CUtexObject)(uintptr_t)fake_make(TEXTURE, machine.current);
    return fake_check();
}

static CUresult f_texture_destroy(CUtexObject texture)
{
    fake_forget(fake_need((const void *)(uintptr_t)texture, TEXTURE));
    return CUDA_SUCCESS;
}

static CUresult f_surface(CUsurfObject *surface, const CUDA_RESOURCE_DESC *resource)
{
    need_resource(resource);
    *surface = (CUsurfObject)(uintptr_t)fake_make(SURFACE, machine.current);
    return fake_check();
}

static CUresult f_surface_destroy(CUsurfObject surface)
{
    fake_forget(fake_need((const void *)(uintptr_t)surface, SURFACE));
    return CUDA_SUCCESS;
}

void fake_array_add(struct vgpu_driver *table)
{
    table->cuArray3DCreate = f_create;
    table->cuArray3DGetDescriptor = f_descriptor;
    table->cuArrayDestroy = f_destroy;
    table->cuArrayGetPlane = f_plane;
    table->cuMipmappedArrayCreate = f_mipmap;
    table->cuMipmappedArrayDestroy = f_mipmap_destroy;
    table->cuMipmappedArrayGetLevel = f_level;
    table->cuTexObjectCreate = f_texture;
    table->cuTexObjectDestroy = f_texture_destroy;
    table->cuSurfObjectCreate = f_surface;
    table->cuSurfObjectDestroy = f_surface_destroy;
}
