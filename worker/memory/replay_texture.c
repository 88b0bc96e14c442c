/* SPDX-License-Identifier: MIT */
/* Texture and surface objects, which kernels get by the driver's own values, and references. */
#include <string.h>

#include "protocol/texture.h"
#include "worker/worker.h"

static CUresult find_resource(struct vgpu_worker *worker,
                              const struct vgpu_texture_description *from, CUDA_RESOURCE_DESC *to)
{
    CUresult error = CUDA_SUCCESS;
    to->resType = (CUresourcetype)from->type;
    to->flags = from->resource_flags;
    switch (to->resType) {
    case CU_RESOURCE_TYPE_ARRAY:
        error =
            vgpu_handles_find(worker, VGPU_KIND_ARRAY, from->array, (void **)&to->res.array.hArray);
        break;
    case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
        error = vgpu_handles_find(worker, VGPU_KIND_MIPMAP, from->array,
                                  (void **)&to->res.mipmap.hMipmappedArray);
        break;
    case CU_RESOURCE_TYPE_LINEAR:
        to->res.linear.devPtr = from->address;
        to->res.linear.format = (CUarray_format)from->format;
        to->res.linear.numChannels = from->channels;
        to->res.linear.sizeInBytes = from->width;
        break;
    case CU_RESOURCE_TYPE_PITCH2D:
        to->res.pitch2D.devPtr = from->address;
        to->res.pitch2D.format = (CUarray_format)from->format;
        to->res.pitch2D.numChannels = from->channels;
        to->res.pitch2D.width = from->width;
        to->res.pitch2D.height = from->height;
        to->res.pitch2D.pitchInBytes = from->pitch;
        break;
    default:
        error = CUDA_ERROR_INVALID_VALUE;
    }
    worker->handles.named = 0; /* an array does not own what reads it */
    return error;
}

static void describe(const struct vgpu_texture_description *from, CUDA_TEXTURE_DESC *to)
{
    for (int i = 0; i < 3; i++)
        to->addressMode[i] = (CUaddress_mode)from->address_mode[i];
    to->filterMode = (CUfilter_mode)from->filter_mode;
    to->flags = from->flags;
    to->maxAnisotropy = from->anisotropy;
    to->mipmapFilterMode = (CUfilter_mode)from->mipmap_filter_mode;
    to->mipmapLevelBias = from->mipmap_bias;
    to->minMipmapLevelClamp = from->mipmap_least;
    to->maxMipmapLevelClamp = from->mipmap_most;
    memcpy(to->borderColor, from->border, sizeof(to->borderColor));
}

CUresult vgpu_replay_cuTexObjectCreate(struct vgpu_worker *worker,
                                       struct vgpu_call_cuTexObjectCreate *call)
{
    struct vgpu_texture_description from;
    CUDA_RESOURCE_DESC resource = {0};
    CUDA_TEXTURE_DESC texture = {0};
    CUtexObject object = 0;
    if (call->description_bytes != sizeof(from))
        return vgpu_worker_blame(worker, "a texture of another shape");
    memcpy(&from, call->description, sizeof(from));
    CUresult error = find_resource(worker, &from, &resource);
    if (error)
        return error;
    describe(&from, &texture);
    const CUDA_RESOURCE_VIEW_DESC view = {.format = (CUresourceViewFormat)from.view_format,
                                          .width = from.view_width,
                                          .height = from.view_height,
                                          .depth = from.view_depth,
                                          .firstMipmapLevel = from.first_level,
                                          .lastMipmapLevel = from.last_level,
                                          .firstLayer = from.first_layer,
                                          .lastLayer = from.last_layer};
    error = worker->driver->cuTexObjectCreate(&object, &resource, &texture,
                                              from.has_view ? &view : NULL);
    call->value = object;
    call->texture = (void *)(uintptr_t)object;
    return error;
}

/* A value may be 0, which the dispatcher takes for none: the id is given up here. */
CUresult vgpu_replay_cuTexObjectDestroy(struct vgpu_worker *worker,
                                        struct vgpu_call_cuTexObjectDestroy *call)
{
    vgpu_handles_remove(worker, call->texture_id);
    return worker->driver->cuTexObjectDestroy((CUtexObject)(uintptr_t)call->texture);
}

CUresult vgpu_replay_cuSurfObjectCreate(struct vgpu_worker *worker,
                                        struct vgpu_call_cuSurfObjectCreate *call)
{
    const CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY,
                                         .res.array.hArray = call->array};
    CUsurfObject object = 0;
    CUresult error = worker->driver->cuSurfObjectCreate(&object, &resource);
    worker->handles.named = 0;
    call->value = object;
    call->surface = (void *)(uintptr_t)object;
    return error;
}

CUresult vgpu_replay_cuSurfObjectDestroy(struct vgpu_worker *worker,
                                         struct vgpu_call_cuSurfObjectDestroy *call)
{
    vgpu_handles_remove(worker, call->surface_id);
    return worker->driver->cuSurfObjectDestroy((CUsurfObject)(uintptr_t)call->surface);
}

/* ---- references ---- */

CUresult vgpu_replay_cuTexRefDestroy(struct vgpu_worker *worker,
                                     struct vgpu_call_cuTexRefDestroy *call)
{
    CUtexref texture = call->texture;
    if (worker->handles.table[call->texture_id].owner) {
        call->texture = NULL; /* the id goes with the module */
        return CUDA_ERROR_INVALID_VALUE;
    }
    return worker->driver->cuTexRefDestroy(texture);
}

CUresult vgpu_replay_cuTexRefSetAddress2D(struct vgpu_worker *worker,
                                          struct vgpu_call_cuTexRefSetAddress2D *call)
{
    const CUDA_ARRAY_DESCRIPTOR is = {.Width = call->width,
                                      .Height = call->height,
                                      .Format = (CUarray_format)call->format,
                                      .NumChannels = call->channels};
    return worker->driver->cuTexRefSetAddress2D(call->texture, &is, call->address, call->pitch);
}

CUresult vgpu_replay_cuTexRefSetBorderColor(struct vgpu_worker *worker,
                                            struct vgpu_call_cuTexRefSetBorderColor *call)
{
    float color[4] = {call->red, call->green, call->blue, call->alpha};
    return worker->driver->cuTexRefSetBorderColor(call->texture, color);
}

CUresult vgpu_replay_cuTexRefGetBorderColor(struct vgpu_worker *worker,
                                            struct vgpu_call_cuTexRefGetBorderColor *call)
{
    float color[4] = {0};
    CUresult error = worker->driver->cuTexRefGetBorderColor(color, call->texture);
    call->red = color[0];
    call->green = color[1];
    call->blue = color[2];
    call->alpha = color[3];
    return error;
}
