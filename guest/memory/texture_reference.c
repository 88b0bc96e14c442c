/* SPDX-License-Identifier: MIT */
/* Texture and surface references, which are deprecated. The driver has them; what is bound to them
 * is remembered here, where its handles mean something. */
#include "guest/memory/texture_reference.h"

#include <stdlib.h>
#include <string.h>

#include "guest/code/code.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/** Behind a CUtexref or a CUsurfref. */
struct vgpu_reference {
    struct vgpu_object object;
    struct vgpu_reference **list; /* of the module that names it; NULL: none, or none any more */
    struct vgpu_reference *next;  /* there */
    char *name;                   /* there */
    enum vgpu_kind kind;
    bool is_address; /* memory is bound, and the driver says where; or one of the next, or none */
    CUarray array;
    CUmipmappedArray mipmap;
};

static void *find(const void *handle, enum vgpu_kind kind)
{
    return vgpu_object_find(&vgpu_process()->objects, handle, kind);
}

static CUresult enter(struct vgpu_caller *caller, const void *handle, enum vgpu_kind kind,
                      struct vgpu_reference **reference)
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

static void unlink_reference(struct vgpu_reference *reference)
{
    struct vgpu_process *process = vgpu_process();
    pthread_mutex_lock(&process->code_lock);
    for (struct vgpu_reference **link = reference->list; link && *link; link = &(*link)->next) {
        if (*link == reference) {
            *link = reference->next;
            break;
        }
    }
    reference->list = NULL;
    pthread_mutex_unlock(&process->code_lock);
}

static void end_reference(struct vgpu_object *object)
{
    struct vgpu_reference *reference = (struct vgpu_reference *)object;
    unlink_reference(reference);
    free(reference->name);
}

void vgpu_references_end(struct vgpu_reference **list)
{
    struct vgpu_process *process = vgpu_process();
    for (;;) {
        pthread_mutex_lock(&process->code_lock);
        struct vgpu_reference *reference = *list;
        if (reference) {
            *list = reference->next;
            reference->list = NULL;
        }
        pthread_mutex_unlock(&process->code_lock);
        if (reference == NULL)
            return;
        vgpu_object_put(&process->objects, &reference->object);
    }
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
    struct vgpu_reference *reference =
        vgpu_object_take(&vgpu_process()->objects, sizeof(*reference), caller.current);
    if (reference == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = vgpu_send_cuTexRefCreate(caller.channel, caller.context, reference->object.id);
    if (error) {
        vgpu_object_put(&vgpu_process()->objects, &reference->object);
        return vgpu_process_note(vgpu_process(), error);
    }
    vgpu_object_publish(&reference->object, VGPU_KIND_TEXREF);
    *handle = vgpu_object_handle(reference);
    return CUDA_SUCCESS;
}

CUresult cuTexRefDestroy(CUtexref handle)
{
    struct vgpu_caller caller;
    struct vgpu_reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    if (texture->name) /* it goes with its module */
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuTexRefDestroy(caller.channel, caller.context, texture->object.id);
    vgpu_channel_flush_console(caller.channel);
    vgpu_object_put(&vgpu_process()->objects, &texture->object);
    return vgpu_process_note(vgpu_process(), error);
}

/* What a module is known to call `name`, or NULL; with the lock of code. */
static struct vgpu_reference *find_named(const struct vgpu_module *module, const char *name,
                                         enum vgpu_kind kind)
{
    struct vgpu_reference *reference = module->references;
    while (reference && (reference->kind != kind || strcmp(reference->name, name) != 0))
        reference = reference->next;
    return reference;
}

/* Puts a reference that the host has been told of into the module's list, unless another thread was
 * faster: then it is given up for that thread's. */
static struct vgpu_reference *keep(struct vgpu_reference *reference, struct vgpu_module *module)
{
    struct vgpu_process *process = vgpu_process();
    pthread_mutex_lock(&process->code_lock);
    struct vgpu_reference *first = find_named(module, reference->name, reference->kind);
    if (first == NULL) {
        reference->list = &module->references;
        reference->next = module->references;
        module->references = reference;
        vgpu_object_publish(&reference->object, reference->kind);
    }
    pthread_mutex_unlock(&process->code_lock);
    if (first == NULL)
        return reference;
    vgpu_object_put(&process->objects, &reference->object);
    return first;
}

static CUresult ask_module(const struct vgpu_caller *caller, struct vgpu_module *module,
                           const char *name, enum vgpu_kind kind, struct vgpu_reference **found)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_reference *reference =
        vgpu_object_take(&process->objects, sizeof(*reference), module->object.context);
    if (reference == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = CUDA_ERROR_OUT_OF_MEMORY;
    reference->object.end = end_reference;
    reference->kind = kind;
    reference->name = strdup(name);
    if (reference->name && kind == VGPU_KIND_TEXREF)
        error = vgpu_send_cuModuleGetTexRef(caller->channel, caller->context, reference->object.id,
                                            module->object.id, name);
    else if (reference->name)
        error = vgpu_send_cuModuleGetSurfRef(caller->channel, caller->context, reference->object.id,
                                             module->object.id, name);
    if (error) {
        vgpu_object_put(&process->objects, &reference->object);
        return vgpu_process_note(process, error);
    }
    *found = keep(reference, module);
    return CUDA_SUCCESS;
}

/* What a module calls `name`: the same for all who ask, with what is bound to it. */
static CUresult get(void **handle, CUmodule module_handle, const char *name, enum vgpu_kind kind)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct vgpu_module *module = find(module_handle, VGPU_KIND_MODULE);
    if (module == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (handle == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_caller_follow(&caller, &module->object);
    pthread_mutex_lock(&process->code_lock);
    struct vgpu_reference *reference = find_named(module, name, kind);
    pthread_mutex_unlock(&process->code_lock);
    if (reference == NULL)
        error = ask_module(&caller, module, name, kind, &reference);
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

static CUresult bind(struct vgpu_reference *reference, CUresult error, bool is_address,
                     CUarray array, CUmipmappedArray mipmap)
{
    if (error == CUDA_SUCCESS) {
        reference->is_address = is_address;
        reference->array = array;
        reference->mipmap = mipmap;
    }
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuTexRefSetArray(CUtexref handle, CUarray array_handle, unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    const struct vgpu_object *array = find(array_handle, VGPU_KIND_ARRAY);
    if (array == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuTexRefSetArray(caller.channel, caller.context, texture->object.id,
                                       array->id, flags);
    return bind(texture, error, false, array_handle, NULL);
}

CUresult cuTexRefSetMipmappedArray(CUtexref handle, CUmipmappedArray mipmap_handle,
                                   unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    const struct vgpu_object *mipmap = find(mipmap_handle, VGPU_KIND_MIPMAP);
    if (mipmap == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuTexRefSetMipmappedArray(caller.channel, caller.context, texture->object.id,
                                                mipmap->id, flags);
    return bind(texture, error, false, NULL, mipmap_handle);
}

CUresult cuTexRefSetAddress_v2(size_t *offset, CUtexref handle, CUdeviceptr address, size_t bytes)
{
    struct vgpu_caller caller;
    struct vgpu_reference *texture;
    uint64_t found = 0;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    error = vgpu_send_cuTexRefSetAddress(caller.channel, caller.context, &found, texture->object.id,
                                         address, bytes);
    if (error == CUDA_SUCCESS && offset)
        *offset = found;
    return bind(texture, error, true, NULL, NULL);
}

CUresult cuTexRefSetAddress2D_v3(CUtexref handle, const CUDA_ARRAY_DESCRIPTOR *is,
                                 CUdeviceptr address, size_t pitch)
{
    struct vgpu_caller caller;
    struct vgpu_reference *texture;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    if (is == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuTexRefSetAddress2D(caller.channel, caller.context, texture->object.id,
                                           is->Width, is->Height, is->Format, is->NumChannels,
                                           address, pitch);
    return bind(texture, error, true, NULL, NULL);
}

CUresult cuTexRefSetAddress2D_v2(CUtexref handle, const CUDA_ARRAY_DESCRIPTOR *is,
                                 CUdeviceptr address, size_t pitch)
{
    return cuTexRefSetAddress2D_v3(handle, is, address, pitch);
}

CUresult cuSurfRefSetArray(CUsurfref handle, CUarray array_handle, unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_reference *surface;
    CUresult error = enter(&caller, handle, VGPU_KIND_SURFREF, &surface);
    if (error)
        return error;
    const struct vgpu_object *array = find(array_handle, VGPU_KIND_ARRAY);
    if (array == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuSurfRefSetArray(caller.channel, caller.context, surface->object.id,
                                        array->id, flags);
    return bind(surface, error, false, array_handle, NULL);
}

/* CUDA_ERROR_INVALID_VALUE: nothing of the kind that is asked for is bound. */
#define BOUND(out, kind, field)                                                                    \
    struct vgpu_caller caller;                                                                     \
    struct vgpu_reference *reference;                                                              \
    CUresult error = enter(&caller, handle, kind, &reference);                                     \
    if (error)                                                                                     \
        return error;                                                                              \
    if ((out) == NULL || !reference->field)                                                        \
        return CUDA_ERROR_INVALID_VALUE;                                                           \
    *(out) = reference->field;                                                                     \
    return CUDA_SUCCESS;

CUresult cuTexRefGetAddress_v2(CUdeviceptr *address, CUtexref handle)
{
    struct vgpu_caller caller;
    struct vgpu_reference *texture;
    uint64_t bound = 0;
    CUresult error = enter(&caller, handle, VGPU_KIND_TEXREF, &texture);
    if (error)
        return error;
    if (address == NULL || !texture->is_address)
        return CUDA_ERROR_INVALID_VALUE;
    error =
        vgpu_send_cuTexRefGetAddress(caller.channel, caller.context, &bound, texture->object.id);
    if (error == CUDA_SUCCESS)
        *address = bound;
    return vgpu_process_note(vgpu_process(), error);
}

CUresult cuTexRefGetArray(CUarray *array, CUtexref handle){BOUND(array, VGPU_KIND_TEXREF, array)}

CUresult cuTexRefGetMipmappedArray(CUmipmappedArray *mipmap,
                                   CUtexref handle){BOUND(mipmap, VGPU_KIND_TEXREF, mipmap)}

CUresult cuSurfRefGetArray(CUarray *array, CUsurfref handle){BOUND(array, VGPU_KIND_SURFREF, array)}

/* ---- the border, which is an array ---- */

CUresult cuTexRefSetBorderColor(CUtexref handle, float *color)
{
    struct vgpu_caller caller;
    struct vgpu_reference *texture;
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
    struct vgpu_reference *texture;
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
