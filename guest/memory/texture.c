/* SPDX-License-Identifier: MIT */
/*
 * Texture and surface objects. Kernels get them as parameters, so programs get the driver's own
 * values; what is behind each is found by its value.
 */
#include <string.h>

#include "guest/memory/array.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"
#include "protocol/texture.h"

/** Behind a CUtexObject or a CUsurfObject. */
struct texture {
    struct vgpu_object object;
    uint64_t value;
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC how;
    CUDA_RESOURCE_VIEW_DESC view;
};

static_assert(sizeof(struct texture) <= VGPU_SLOT_PRIVATE, "fits a slot");

static struct vgpu_ranges *table_of(enum vgpu_kind kind)
{
    struct vgpu_process *process = vgpu_process();
    return kind == VGPU_KIND_TEXTURE ? &process->textures : &process->surfaces;
}

/* An entry may be of an object that has died with its context. */
static struct texture *find(enum vgpu_kind kind, uint64_t value)
{
    struct vgpu_range range;
    if (!vgpu_ranges_find(table_of(kind), value, &range))
        return NULL;
    struct texture *texture =
        vgpu_object_find(&vgpu_process()->objects, vgpu_object_handle(range.owner), kind);
    return texture && texture->value == value ? texture : NULL;
}

static CUresult send_destroy(const struct vgpu_caller *caller, const struct texture *texture,
                             enum vgpu_kind kind)
{
    return kind == VGPU_KIND_TEXTURE
               ? vgpu_send_cuTexObjectDestroy(caller->channel, caller->context, texture->object.id)
               : vgpu_send_cuSurfObjectDestroy(caller->channel, caller->context,
                                               texture->object.id);
}

static CUresult publish(const struct vgpu_caller *caller, struct texture *texture,
                        enum vgpu_kind kind, uint64_t value)
{
    const struct vgpu_range entry = {
        .start = value, .bytes = 1, .kind = VGPU_RANGE_DEVICE, .owner = texture};
    texture->value = value;
    if (!vgpu_ranges_add(table_of(kind), &entry)) {
        send_destroy(caller, texture, kind);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_object_publish(&texture->object, kind);
    return CUDA_SUCCESS;
}

/* The host has answered with `error`, or made what has this value. */
static CUresult settle(const struct vgpu_caller *caller, struct texture *texture,
                       enum vgpu_kind kind, uint64_t value, CUresult error)
{
    struct vgpu_process *process = vgpu_process();
    error = vgpu_process_note(process, error);
    if (error == CUDA_SUCCESS)
        error = publish(caller, texture, kind, value);
    if (error)
        vgpu_object_put(&process->objects, &texture->object);
    return error;
}

/* `unknown`: the answer if there is no such thing. */
static CUresult destroy(enum vgpu_kind kind, uint64_t value, CUresult unknown)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct texture *texture = find(kind, value);
    if (texture == NULL)
        return unknown;
    vgpu_caller_follow(&caller, &texture->object);
    vgpu_ranges_remove(table_of(kind), value, VGPU_RANGE_DEVICE, &range);
    error = send_destroy(&caller, texture, kind);
    vgpu_object_put(&process->objects, &texture->object);
    return vgpu_process_note(process, error);
}

/* ---- textures ---- */

static CUresult describe_resource(struct vgpu_texture_description *to,
                                  const CUDA_RESOURCE_DESC *from)
{
    struct vgpu_objects *objects = &vgpu_process()->objects;
    const struct vgpu_object *array = NULL;
    to->type = from->resType;
    to->resource_flags = from->flags;
    switch (from->resType) {
    case CU_RESOURCE_TYPE_ARRAY:
        array = vgpu_object_find(objects, from->res.array.hArray, VGPU_KIND_ARRAY);
        break;
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        array = vgpu_object_find(objects, from->res.mipmap.hMipmappedArray, VGPU_KIND_MIPMAP);
        break;
    case CU_RESOURCE_TYPE_LINEAR:
        to->address = from->res.linear.devPtr;
        to->format = from->res.linear.format;
        to->channels = from->res.linear.numChannels;
        to->width = from->res.linear.sizeInBytes;
        return CUDA_SUCCESS;
    case CU_RESOURCE_TYPE_PITCH2D:
        to->address = from->res.pitch2D.devPtr;
        to->format = from->res.pitch2D.format;
        to->channels = from->res.pitch2D.numChannels;
        to->width = from->res.pitch2D.width;
        to->height = from->res.pitch2D.height;
        to->pitch = from->res.pitch2D.pitchInBytes;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    to->array = array->id;
    return CUDA_SUCCESS;
}

static void describe(struct vgpu_texture_description *to, const CUDA_TEXTURE_DESC *how,
                     const CUDA_RESOURCE_VIEW_DESC *view)
{
    for (int i = 0; i < 3; i++)
        to->address_mode[i] = how->addressMode[i];
    to->filter_mode = how->filterMode;
    to->flags = how->flags;
    to->anisotropy = how->maxAnisotropy;
    to->mipmap_filter_mode = how->mipmapFilterMode;
    to->mipmap_bias = how->mipmapLevelBias;
    to->mipmap_least = how->minMipmapLevelClamp;
    to->mipmap_most = how->maxMipmapLevelClamp;
    memcpy(to->border, how->borderColor, sizeof(to->border));
    if (view == NULL)
        return;
    to->has_view = 1;
    to->view_format = view->format;
    to->view_width = view->width;
    to->view_height = view->height;
    to->view_depth = view->depth;
    to->first_level = view->firstMipmapLevel;
    to->last_level = view->lastMipmapLevel;
    to->first_layer = view->firstLayer;
    to->last_layer = view->lastLayer;
}

CUresult cuTexObjectCreate(CUtexObject *value, const CUDA_RESOURCE_DESC *resource,
                           const CUDA_TEXTURE_DESC *how, const CUDA_RESOURCE_VIEW_DESC *view)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_texture_description description = {0};
    struct vgpu_caller caller;
    uint64_t made = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (value == NULL || resource == NULL || how == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = describe_resource(&description, resource);
    if (error)
        return error;
    describe(&description, how, view);
    struct texture *texture = vgpu_object_take(&process->objects, sizeof(*texture), caller.current);
    if (texture == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    texture->resource = *resource;
    texture->how = *how;
    if (view)
        texture->view = *view;
    error = vgpu_send_cuTexObjectCreate(caller.channel, caller.context, &made, texture->object.id,
                                        &description, sizeof(description));
    error = settle(&caller, texture, VGPU_KIND_TEXTURE, made, error);
    if (error == CUDA_SUCCESS)
        *value = made;
    return error;
}

CUresult cuTexObjectDestroy(CUtexObject value)
{
    return destroy(VGPU_KIND_TEXTURE, value, CUDA_SUCCESS); /* also of what never was one */
}

/* Enters, and finds what is behind a value; `out` is where the answer goes. */
static CUresult enter_value(enum vgpu_kind kind, uint64_t value, const void *out,
                            struct texture **texture)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    *texture = find(kind, value);
    return *texture && out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUtexObject value)
{
    struct texture *texture;
    CUresult error = enter_value(VGPU_KIND_TEXTURE, value, resource, &texture);
    if (error == CUDA_SUCCESS)
        *resource = texture->resource;
    return error;
}

CUresult cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *how, CUtexObject value)
{
    struct texture *texture;
    CUresult error = enter_value(VGPU_KIND_TEXTURE, value, how, &texture);
    if (error == CUDA_SUCCESS)
        *how = texture->how;
    return error;
}

CUresult cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *view, CUtexObject value)
{
    struct texture *texture;
    CUresult error = enter_value(VGPU_KIND_TEXTURE, value, view, &texture);
    if (error == CUDA_SUCCESS)
        *view = texture->view;
    return error;
}

/* ---- surfaces ---- */

CUresult cuSurfObjectCreate(CUsurfObject *value, const CUDA_RESOURCE_DESC *resource)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    uint64_t made = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (value == NULL || resource == NULL || resource->resType != CU_RESOURCE_TYPE_ARRAY ||
        resource->flags)
        return CUDA_ERROR_INVALID_VALUE;
    const struct vgpu_object *array =
        vgpu_object_find(&process->objects, resource->res.array.hArray, VGPU_KIND_ARRAY);
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    struct texture *surface = vgpu_object_take(&process->objects, sizeof(*surface), caller.current);
    if (surface == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    surface->resource = *resource;
    error = vgpu_send_cuSurfObjectCreate(caller.channel, caller.context, &made, surface->object.id,
                                         array->id);
    error = settle(&caller, surface, VGPU_KIND_SURFACE, made, error);
    if (error == CUDA_SUCCESS)
        *value = made;
    return error;
}

CUresult cuSurfObjectDestroy(CUsurfObject value)
{
    return destroy(VGPU_KIND_SURFACE, value, CUDA_ERROR_INVALID_VALUE);
}

CUresult cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *resource, CUsurfObject value)
{
    struct texture *surface;
    CUresult error = enter_value(VGPU_KIND_SURFACE, value, resource, &surface);
    if (error == CUDA_SUCCESS)
        *resource = surface->resource;
    return error;
}
