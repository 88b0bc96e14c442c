/* SPDX-License-Identifier: MIT */
/* Texture and surface objects. A CUtexObject or CUsurfObject is what kernels find it by. */
#include <stdlib.h>

#include "soft/driver/memory/texture.h"
#include "soft/driver/stream/stream.h"

struct texture_object {
    struct vgpu_object object;
    struct vgpu_device *device;
    uint64_t handle;
    bool is_surface;
    void *holder; /* the array, with a reference, or NULL */
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC how;
    CUDA_RESOURCE_VIEW_DESC view;
};

static void destroy(struct vgpu_object *object)
{
    struct texture_object *texture = (struct texture_object *)object;

    if (texture->handle)
        vgpu_texture_destroy(texture->device->memory, texture->handle);
    vgpu_object_put(texture->holder);
    free(texture);
}

static CUresult create(const CUDA_RESOURCE_DESC *resource, const CUDA_TEXTURE_DESC *how,
                       const CUDA_RESOURCE_VIEW_DESC *view, uint64_t *handle)
{
    struct texture_object *object;
    struct vgpu_texture texture;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);
    void *holder;

    if (result == CUDA_SUCCESS && (!handle || !resource))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_texture_describe(resource, how, view, &texture, &holder);
    if (result != CUDA_SUCCESS)
        return result;
    object = vgpu_object_create(VGPU_OBJECT_TEXTURE, sizeof(*object), context, destroy);
    if (!object) {
        vgpu_object_put(holder);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    object->device = context->device;
    object->is_surface = !how;
    object->holder = holder;
    object->resource = *resource;
    if (how)
        object->how = *how;
    if (view)
        object->view = *view;
    if (vgpu_texture_create(context->device->memory, &texture, object, &object->handle) < 0) {
        object->handle = 0;
        vgpu_object_put(object);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *handle = object->handle;
    vgpu_object_publish(object);
    return CUDA_SUCCESS;
}

/* The object of a handle, with a reference. */
static CUresult take(uint64_t handle, bool is_surface, struct texture_object **object)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    *object =
        vgpu_object_take(vgpu_texture_owner(context->device->memory, handle), VGPU_OBJECT_TEXTURE);
    if (*object && (*object)->is_surface == is_surface)
        return CUDA_SUCCESS;
    vgpu_object_put(*object);
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult end(uint64_t handle, bool is_surface)
{
    struct texture_object *object;
    CUresult result = take(handle, is_surface, &object);

    if (result != CUDA_SUCCESS)
        return result;
    /* Kernels that were launched may still read it. */
    vgpu_context_keep(object->object.owner, object);
    vgpu_object_put(vgpu_object_withdraw(object, VGPU_OBJECT_TEXTURE));
    vgpu_object_put(object);
    return CUDA_SUCCESS;
}

CUresult cuTexObjectCreate(CUtexObject *pTexObject, const CUDA_RESOURCE_DESC *pResDesc,
                           const CUDA_TEXTURE_DESC *pTexDesc,
                           const CUDA_RESOURCE_VIEW_DESC *pResViewDesc)
{
    uint64_t handle;
    CUresult result = vgpu_driver_ready();

    if (result == CUDA_SUCCESS && (!pTexObject || !pTexDesc))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = create(pResDesc, pTexDesc, pResViewDesc, &handle);
    if (result == CUDA_SUCCESS)
        *pTexObject = handle;
    return result;
}

CUresult cuTexObjectDestroy(CUtexObject texObject)
{
    CUresult result = end(texObject, false);

    /* It does not matter whether there was one. */
    return result == CUDA_ERROR_INVALID_VALUE ? CUDA_SUCCESS : result;
}

CUresult cuTexObjectGetResourceDesc(CUDA_RESOURCE_DESC *pResDesc, CUtexObject texObject)
{
    struct texture_object *object;
    CUresult result = take(texObject, false, &object);

    if (result != CUDA_SUCCESS)
        return result;
    if (pResDesc)
        *pResDesc = object->resource;
    vgpu_object_put(object);
    return pResDesc ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTexObjectGetTextureDesc(CUDA_TEXTURE_DESC *pTexDesc, CUtexObject texObject)
{
    struct texture_object *object;
    CUresult result = take(texObject, false, &object);

    if (result != CUDA_SUCCESS)
        return result;
    if (pTexDesc)
        *pTexDesc = object->how;
    vgpu_object_put(object);
    return pTexDesc ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTexObjectGetResourceViewDesc(CUDA_RESOURCE_VIEW_DESC *pResViewDesc,
                                        CUtexObject texObject)
{
    struct texture_object *object;
    CUresult result = take(texObject, false, &object);

    if (result != CUDA_SUCCESS)
        return result;
    if (pResViewDesc)
        *pResViewDesc = object->view;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(object);
    return result;
}

/* An array says when it is created that kernels may write it. */
static CUresult check_surface(CUarray handle)
{
    struct vgpu_array *array = vgpu_object_take(handle, VGPU_OBJECT_ARRAY);
    bool is = array && (array->descriptor.Flags & CUDA_ARRAY3D_SURFACE_LDST);

    vgpu_object_put(array);
    return is ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuSurfObjectCreate(CUsurfObject *pSurfObject, const CUDA_RESOURCE_DESC *pResDesc)
{
    uint64_t handle;
    CUresult result = vgpu_driver_ready();

    /* Surfaces are arrays, of which no level is chosen. */
    if (result == CUDA_SUCCESS &&
        (!pSurfObject || !pResDesc || pResDesc->resType != CU_RESOURCE_TYPE_ARRAY))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = check_surface(pResDesc->res.array.hArray);
    if (result == CUDA_SUCCESS)
        result = create(pResDesc, NULL, NULL, &handle);
    if (result == CUDA_SUCCESS)
        *pSurfObject = handle;
    return result;
}

CUresult cuSurfObjectDestroy(CUsurfObject surfObject)
{
    return end(surfObject, true);
}

CUresult cuSurfObjectGetResourceDesc(CUDA_RESOURCE_DESC *pResDesc, CUsurfObject surfObject)
{
    struct texture_object *object;
    CUresult result = take(surfObject, true, &object);

    if (result != CUDA_SUCCESS)
        return result;
    if (pResDesc)
        *pResDesc = object->resource;
    vgpu_object_put(object);
    return pResDesc ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
