/* SPDX-License-Identifier: MIT */
/* Texture and surface references, which are deprecated. The driver has them; what is bound to them
 * is remembered here, where its handles mean something. */
#include "guest/process/context.h"
#include "guest/process/objects.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/** Behind a CUtexref or a CUsurfref. */
struct reference {
    struct vgpu_object object;
    CUdeviceptr address; /* one of these three is bound, or none */
    CUarray array;
    CUmipmappedArray mipmap;
};

static void *find(const void *handle, enum vgpu_kind kind)
{
    return vgpu_object_find(&vgpu_process()->objects, handle, kind);
}

static CUresult enter(struct vgpu_caller *caller, const void *handle, enum vgpu_kind kind,
                      struct reference **reference)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    *reference = find(handle, kind);
    if (*reference == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_caller_follow(caller, &(*reference)->object);
    return CUDA_SUCCESS;
}

static CUresult finish(struct reference *reference, enum vgpu_kind kind, CUresult error)
{
    if (error)
        vgpu_object_put(&vgpu_process()->objects, &reference->object);
    else
        vgpu_object_publish(&reference->object, kind);
    return vgpu_process_note(vgpu_process(), error);
}

/* ---- where they come from ---- */

CUresult cuTexRefCreate(CUtexref *handle)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct reference *reference =
        vgpu_object_take(&vgpu_process()->objects, sizeof(*reference), caller.current);
    if (reference == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = vgpu_send_cuTexRefCreate(caller.channel, caller.context, reference->object.id);
    error = finish(reference, VGPU_KIND_TEXREF, error);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(reference);
    return error;
}

/* Asks a module for what it calls `name`. */
static CUresult get(void **handle, CUmodule module_handle, const char *name, enum vgpu_kind kind)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    const struct vgpu_object *module = find(module_handle, VGPU_KIND_MODULE);
    if (module == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (handle == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_caller_follow(&caller, module);
    struct reference *reference =
        vgpu_object_take(&vgpu_process()->objects, sizeof(*reference), caller.current);
    if (reference == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (kind == VGPU_KIND_TEXREF)
        error = vgpu_send_cuModuleGetTexRef(caller.channel, caller.context, reference->object.id,
                                            module->id, name);
    else
        error = vgpu_send_cuModuleGetSurfRef(caller.channel, caller.context, reference->object.id,
                                             module->id, name);
    error = finish(reference, kind, error);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(reference);
    return error;
}

CUresult cuModuleGetTexRef(CUtexref *handle, CUmodule module, const char *name)
{
    return get((void **)handle, module, name, VGPU_KIND_TEXREF);
}

CUresult cuModuleGetSurfRef(CUsurfref *handle, CUmodule module, const char *name)
{
    return get((void **)handle, module, name, VGPU_KIND_SURFREF);
}

/* ---- what is bound to them ---- */

static CUresult bind(struct reference *reference, CUresult error, CUdeviceptr address,
                     CUarray array, CUmipmappedArray mipmap)
{
    if (error == CUDA_SUCCESS) {
        reference->address = address;
        reference->array = array;
        reference->mipmap = mipmap;
    }
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuTexRefSetArray(CUtexref handle, CUarray array_handle, unsigned int flags)
{
    struct vgpu_caller caller;
    struct reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    const struct vgpu_object *array = find(array_handle, VGPU_KIND_ARRAY);
    if (array == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuTexRefSetArray(caller.channel, caller.context, texture->object.id,
                                       array->id, flags);
    return bind(texture, error, 0, array_handle, NULL);
}

CUresult cuTexRefSetMipmappedArray(CUtexref handle, CUmipmappedArray mipmap_handle,
                                   unsigned int flags)
{
    struct vgpu_caller caller;
    struct reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    const struct vgpu_object *mipmap = find(mipmap_handle, VGPU_KIND_MIPMAP);
    if (mipmap == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuTexRefSetMipmappedArray(caller.channel, caller.context, texture->object.id,
                                                mipmap->id, flags);
    return bind(texture, error, 0, NULL, mipmap_handle);
}

CUresult cuTexRefSetAddress_v2(size_t *offset, CUtexref handle, CUdeviceptr address, size_t bytes)
{
    struct vgpu_caller caller;
    struct reference *texture;
    uint64_t found = 0;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    error = vgpu_send_cuTexRefSetAddress(caller.channel, caller.context, &found, texture->object.id,
                                         address, bytes);
    if (error == CUDA_SUCCESS && offset)
        *offset = found;
    return bind(texture, error, address, NULL, NULL);
}

CUresult cuTexRefSetAddress2D_v3(CUtexref handle, const CUDA_ARRAY_DESCRIPTOR *is,
                                 CUdeviceptr address, size_t pitch)
{
    struct vgpu_caller caller;
    struct reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    if (is == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuTexRefSetAddress2D(caller.channel, caller.context, texture->object.id,
                                           is->Width, is->Height, is->Format, is->NumChannels,
                                           address, pitch);
    return bind(texture, error, address, NULL, NULL);
}

CUresult cuTexRefSetAddress2D_v2(CUtexref handle, const CUDA_ARRAY_DESCRIPTOR *is,
                                 CUdeviceptr address, size_t pitch)
{
    return cuTexRefSetAddress2D_v3(handle, is, address, pitch);
}

CUresult cuSurfRefSetArray(CUsurfref handle, CUarray array_handle, unsigned int flags)
{
    struct vgpu_caller caller;
    struct reference *surface;
    CUresult error = enter(&caller, handle, VGPU_KIND_SURFREF, &surface);
    if (error)
        return error;
    const struct vgpu_object *array = find(array_handle, VGPU_KIND_ARRAY);
    if (array == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuSurfRefSetArray(caller.channel, caller.context, surface->object.id,
                                        array->id, flags);
    return bind(surface, error, 0, array_handle, NULL);
}

/* CUDA_ERROR_INVALID_VALUE: nothing of the kind that is asked for is bound. */
#define BOUND(out, kind, field)                                                                    \
    struct vgpu_caller caller;                                                                     \
    struct reference *reference;                                                                   \
    CUresult error = enter(&caller, handle, kind, &reference);                                     \
    if (error)                                                                                     \
        return error;                                                                              \
    if ((out) == NULL || !reference->field)                                                        \
        return CUDA_ERROR_INVALID_VALUE;                                                           \
    *(out) = reference->field;                                                                     \
    return CUDA_SUCCESS;

CUresult cuTexRefGetAddress_v2(CUdeviceptr *address,
                               CUtexref handle){BOUND(address, VGPU_KIND_TEXREF, address)}

CUresult cuTexRefGetArray(CUarray *array, CUtexref handle){BOUND(array, VGPU_KIND_TEXREF, array)}

CUresult cuTexRefGetMipmappedArray(CUmipmappedArray *mipmap,
                                   CUtexref handle){BOUND(mipmap, VGPU_KIND_TEXREF, mipmap)}

CUresult cuSurfRefGetArray(CUarray *array, CUsurfref handle){BOUND(array, VGPU_KIND_SURFREF, array)}

/* ---- the border, which is an array ---- */

CUresult cuTexRefSetBorderColor(CUtexref handle, float *color)
{
    struct vgpu_caller caller;
    struct reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    if (color == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_process_note(vgpu_process(), vgpu_send_cuTexRefSetBorderColor(
                                                 caller.channel, caller.context, texture->object.id,
                                                 color[0], color[1], color[2], color[3]));
}

CUresult cuTexRefGetBorderColor(float *color, CUtexref handle)
{
    struct vgpu_caller caller;
    struct reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    if (color == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_process_note(vgpu_process(),
                             vgpu_send_cuTexRefGetBorderColor(caller.channel, caller.context,
                                                              &color[0], &color[1], &color[2],
                                                              &color[3], texture->object.id));
}
