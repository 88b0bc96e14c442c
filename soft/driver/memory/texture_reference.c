/* SPDX-License-Identifier: MIT */
/* Texture and surface references: variables of a module that stand for a texture, and how a program
 * says which. The variable holds the handle that kernels use. */
#include "soft/driver/memory/texture_reference.h"

#include <stdlib.h>
#include <string.h>

#include "soft/driver/code/module.h"
#include "soft/driver/memory/allocation.h"
#include "soft/driver/memory/texture.h"
#include "soft/driver/stream/stream.h"

struct vgpu_reference {
    struct vgpu_object object;
    struct vgpu_context *context;
    struct vgpu_module *module;  /* whose variable it is, with a reference; or NULL */
    struct vgpu_reference *next; /* of that module */
    uint64_t variable;           /* address of the handle, or 0 */
    bool is_surface;
    bool is_bound;
    uint64_t handle; /* 0 while nothing is bound */
    void *holder;    /* the array, with a reference, or NULL */
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC how;
    CUarray_format format;
    unsigned int channels;
};

/* Takes a reference out of its module's list, if it is still there. */
static void leave(struct vgpu_reference *reference)
{
    struct vgpu_reference **link = &reference->module->references;

    pthread_mutex_lock(&reference->module->lock);
    while (*link && *link != reference)
        link = &(*link)->next;
    if (*link)
        *link = reference->next;
    pthread_mutex_unlock(&reference->module->lock);
}

static void destroy(struct vgpu_object *object)
{
    struct vgpu_reference *reference = (struct vgpu_reference *)object;

    if (reference->module)
        leave(reference);
    if (reference->handle)
        vgpu_texture_destroy(reference->context->device->memory, reference->handle);
    vgpu_object_put(reference->holder);
    vgpu_object_put(reference->module);
    free(reference);
}

static struct vgpu_reference *create(struct vgpu_context *context)
{
    struct vgpu_reference *reference =
        vgpu_object_create(VGPU_OBJECT_TEXTURE_REFERENCE, sizeof(*reference), context, destroy);

    if (!reference)
        return NULL;
    reference->context = context;
    reference->format = CU_AD_FORMAT_FLOAT;
    reference->channels = 1;
    return reference;
}

/* A reference by its handle, with one more reference to it. */
static CUresult take(const void *handle, bool is_surface, struct vgpu_reference **reference)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    *reference = vgpu_object_take(handle, VGPU_OBJECT_TEXTURE_REFERENCE);
    if (*reference && (*reference)->is_surface == is_surface)
        return CUDA_SUCCESS;
    vgpu_object_put(*reference);
    return CUDA_ERROR_INVALID_VALUE;
}

/* Makes kernels that are launched from now on use what the reference says. */
static CUresult update(struct vgpu_reference *reference)
{
    struct vgpu_memory *memory = reference->context->device->memory;
    struct vgpu_texture texture;
    CUDA_TEXTURE_DESC how = reference->how;
    uint64_t handle, before = reference->handle;
    void *holder, *held = reference->holder;
    CUresult result;

    if (!reference->is_bound)
        return CUDA_SUCCESS;
    /* Levels can only be read so, and a program may say it after it has bound them. */
    if (reference->resource.resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY)
        how.flags |= CU_TRSF_NORMALIZED_COORDINATES;
    result = vgpu_texture_describe(&reference->resource, reference->is_surface ? NULL : &how, NULL,
                                   &texture, &holder);
    if (result != CUDA_SUCCESS)
        return result;
    if (vgpu_texture_create(memory, &texture, NULL, &handle) < 0) {
        vgpu_object_put(holder);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_context_drain(reference->context);
    if (reference->variable)
        memcpy((void *)(uintptr_t)reference->variable, &handle, sizeof(handle));
    reference->handle = handle;
    reference->holder = holder;
    if (before)
        vgpu_texture_destroy(memory, before);
    vgpu_object_put(held);
    return CUDA_SUCCESS;
}

static CUresult bind(struct vgpu_reference *reference, const CUDA_RESOURCE_DESC *resource)
{
    CUDA_RESOURCE_DESC before = reference->resource;
    bool was_bound = reference->is_bound;
    CUresult result;

    reference->resource = *resource;
    reference->is_bound = true;
    result = update(reference);
    if (result != CUDA_SUCCESS) {
        reference->resource = before;
        reference->is_bound = was_bound;
    }
    return result;
}

/* ---- variables of modules ---- */

/* The reference of a variable, with the module's lock. */
static CUresult find_or_create(struct vgpu_module *module, uint64_t variable, bool is_surface,
                               struct vgpu_reference **found)
{
    struct vgpu_reference *reference = module->references;

    while (reference && reference->variable != variable)
        reference = reference->next;
    if (!reference) {
        reference = create(module->context);
        if (!reference)
            return CUDA_ERROR_OUT_OF_MEMORY;
        reference->module = vgpu_object_share(module);
        reference->variable = variable;
        reference->is_surface = is_surface;
        reference->next = module->references;
        module->references = reference;
        vgpu_object_publish(reference);
    }
    *found = reference;
    return CUDA_SUCCESS;
}

static CUresult find_variable(CUmodule handle, const char *name, bool is_surface,
                              struct vgpu_reference **found)
{
    struct vgpu_context *context;
    struct vgpu_module *module;
    uint64_t address;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    module = vgpu_object_take(handle, VGPU_OBJECT_MODULE);
    if (!module)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!name) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else if (!module->image || vgpu_image_opaque(module->image, name, is_surface, &address) < 0) {
        result = CUDA_ERROR_NOT_FOUND;
    } else {
        pthread_mutex_lock(&module->lock);
        result = find_or_create(module, address, is_surface, found);
        pthread_mutex_unlock(&module->lock);
    }
    vgpu_object_put(module);
    return result;
}

void vgpu_texture_references_end(struct vgpu_module *module)
{
    struct vgpu_reference *reference;

    do {
        pthread_mutex_lock(&module->lock);
        reference = module->references;
        if (reference)
            module->references = reference->next;
        pthread_mutex_unlock(&module->lock);
        vgpu_object_put(vgpu_object_withdraw(reference, VGPU_OBJECT_TEXTURE_REFERENCE));
    } while (reference);
}

CUresult cuModuleGetTexRef(CUtexref *pTexRef, CUmodule hmod, const char *name)
{
    struct vgpu_reference *reference;
    CUresult result =
        pTexRef ? find_variable(hmod, name, false, &reference) : CUDA_ERROR_INVALID_VALUE;

    if (result == CUDA_SUCCESS)
        *pTexRef = (CUtexref)reference;
    return result;
}

CUresult cuModuleGetSurfRef(CUsurfref *pSurfRef, CUmodule hmod, const char *name)
{
    struct vgpu_reference *reference;
    CUresult result =
        pSurfRef ? find_variable(hmod, name, true, &reference) : CUDA_ERROR_INVALID_VALUE;

    if (result == CUDA_SUCCESS)
        *pSurfRef = (CUsurfref)reference;
    return result;
}

CUresult cuTexRefCreate(CUtexref *pTexRef)
{
    struct vgpu_reference *reference;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pTexRef)
        return CUDA_ERROR_INVALID_VALUE;
    reference = create(context);
    if (!reference)
        return CUDA_ERROR_OUT_OF_MEMORY;
    vgpu_object_publish(reference);
    *pTexRef = (CUtexref)reference;
    return CUDA_SUCCESS;
}

CUresult cuTexRefDestroy(CUtexref hTexRef)
{
    struct vgpu_reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    /* A module's own goes with it. */
    if (reference->module)
        result = CUDA_ERROR_INVALID_VALUE;
    else
        vgpu_object_put(vgpu_object_withdraw(reference, VGPU_OBJECT_TEXTURE_REFERENCE));
    vgpu_object_put(reference);
    return result;
}

/* ---- what it stands for ---- */

CUresult cuTexRefSetArray(CUtexref hTexRef, CUarray hArray, unsigned int Flags)
{
    const CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY,
                                         .res.array.hArray = hArray};
    CUDA_ARRAY3D_DESCRIPTOR descriptor;
    struct vgpu_reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    result = Flags == CU_TRSA_OVERRIDE_FORMAT ? cuArray3DGetDescriptor_v2(&descriptor, hArray)
                                              : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = bind(reference, &resource);
    if (result == CUDA_SUCCESS) {
        reference->format = descriptor.Format;
        reference->channels = descriptor.NumChannels;
    }
    vgpu_object_put(reference);
    return result;
}

CUresult cuTexRefSetMipmappedArray(CUtexref hTexRef, CUmipmappedArray hMipmappedArray,
                                   unsigned int Flags)
{
    const CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY,
                                         .res.mipmap.hMipmappedArray = hMipmappedArray};
    const struct vgpu_mipmapped_array *whole;
    struct vgpu_reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    /* Levels bring their format in any case. */
    result = Flags & ~(unsigned int)CU_TRSA_OVERRIDE_FORMAT ? CUDA_ERROR_INVALID_VALUE
                                                            : bind(reference, &resource);
    if (result == CUDA_SUCCESS) {
        whole = reference->holder;
        reference->format = whole->descriptor.Format;
        reference->channels = whole->descriptor.NumChannels;
    }
    vgpu_object_put(reference);
    return result;
}

CUresult cuTexRefSetAddress_v2(size_t *ByteOffset, CUtexref hTexRef, CUdeviceptr dptr, size_t bytes)
{
    size_t unit = (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT);
    size_t offset = dptr % unit, size;
    struct vgpu_reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    if ((offset && !ByteOffset) || __builtin_add_overflow(bytes, offset, &size)) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else {
        const CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_LINEAR,
                                             .res.linear = {.devPtr = dptr - offset,
                                                            .format = reference->format,
                                                            .numChannels = reference->channels,
                                                            .sizeInBytes = size}};
        result = bind(reference, &resource);
    }
    if (result == CUDA_SUCCESS && ByteOffset)
        *ByteOffset = offset;
    vgpu_object_put(reference);
    return result;
}

CUresult cuTexRefSetAddress2D_v3(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR *desc,
                                 CUdeviceptr dptr, size_t Pitch)
{
    struct vgpu_reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    if (!desc) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else {
        const CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_PITCH2D,
                                             .res.pitch2D = {.devPtr = dptr,
                                                             .format = desc->Format,
                                                             .numChannels = desc->NumChannels,
                                                             .width = desc->Width,
                                                             .height = desc->Height,
                                                             .pitchInBytes = Pitch}};
        result = bind(reference, &resource);
    }
    if (result == CUDA_SUCCESS) {
        reference->format = desc->Format;
        reference->channels = desc->NumChannels;
    }
    vgpu_object_put(reference);
    return result;
}

CUresult cuTexRefSetAddress2D_v2(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR *desc,
                                 CUdeviceptr dptr, size_t Pitch)
{
    return cuTexRefSetAddress2D_v3(hTexRef, desc, dptr, Pitch);
}

CUresult cuTexRefGetAddress_v2(CUdeviceptr *pdptr, CUtexref hTexRef)
{
    struct vgpu_reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pdptr || !reference->is_bound)
        result = CUDA_ERROR_INVALID_VALUE;
    else if (reference->resource.resType == CU_RESOURCE_TYPE_LINEAR)
        *pdptr = reference->resource.res.linear.devPtr;
    else if (reference->resource.resType == CU_RESOURCE_TYPE_PITCH2D)
        *pdptr = reference->resource.res.pitch2D.devPtr;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(reference);
    return result;
}

static CUresult get_array(const void *handle, bool is_surface, CUarray *array)
{
    struct vgpu_reference *reference;
    CUresult result = take(handle, is_surface, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    if (array && reference->is_bound && reference->resource.resType == CU_RESOURCE_TYPE_ARRAY)
        *array = reference->resource.res.array.hArray;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(reference);
    return result;
}

CUresult cuTexRefGetArray(CUarray *phArray, CUtexref hTexRef)
{
    return get_array(hTexRef, false, phArray);
}

CUresult cuTexRefGetMipmappedArray(CUmipmappedArray *phMipmappedArray, CUtexref hTexRef)
{
    struct vgpu_reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    if (phMipmappedArray && reference->is_bound &&
        reference->resource.resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY)
        *phMipmappedArray = reference->resource.res.mipmap.hMipmappedArray;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(reference);
    return result;
}

CUresult cuSurfRefSetArray(CUsurfref hSurfRef, CUarray hArray, unsigned int Flags)
{
    const CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY,
                                         .res.array.hArray = hArray};
    CUDA_ARRAY3D_DESCRIPTOR descriptor;
    struct vgpu_reference *reference;
    CUresult result = take(hSurfRef, true, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    result = Flags ? CUDA_ERROR_INVALID_VALUE : cuArray3DGetDescriptor_v2(&descriptor, hArray);
    if (result == CUDA_SUCCESS && !(descriptor.Flags & CUDA_ARRAY3D_SURFACE_LDST))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = bind(reference, &resource);
    vgpu_object_put(reference);
    return result;
}

CUresult cuSurfRefGetArray(CUarray *phArray, CUsurfref hSurfRef)
{
    return get_array(hSurfRef, true, phArray);
}

/* ---- how it is read ---- */

/* Changes a description, and what kernels use if that can be read so; else when it is bound. */
#define DEFINE_SETTER(function, parameters, condition, statement)                                  \
    CUresult function parameters                                                                   \
    {                                                                                              \
        struct vgpu_reference *reference;                                                          \
        CUresult result = take(hTexRef, false, &reference);                                        \
        if (result != CUDA_SUCCESS)                                                                \
            return result;                                                                         \
        if (condition) {                                                                           \
            statement;                                                                             \
            update(reference);                                                                     \
        } else {                                                                                   \
            result = CUDA_ERROR_INVALID_VALUE;                                                     \
        }                                                                                          \
        vgpu_object_put(reference);                                                                \
        return result;                                                                             \
    }

#define DEFINE_GETTER(function, parameters, condition, statement)                                  \
    CUresult function parameters                                                                   \
    {                                                                                              \
        struct vgpu_reference *reference;                                                          \
        CUresult result = take(hTexRef, false, &reference);                                        \
        if (result != CUDA_SUCCESS)                                                                \
            return result;                                                                         \
        if (condition) {                                                                           \
            statement;                                                                             \
        } else {                                                                                   \
            result = CUDA_ERROR_INVALID_VALUE;                                                     \
        }                                                                                          \
        vgpu_object_put(reference);                                                                \
        return result;                                                                             \
    }

static void set_format(struct vgpu_reference *reference, CUarray_format format,
                       unsigned int channels)
{
    reference->format = format;
    reference->channels = channels;
    if (reference->resource.resType == CU_RESOURCE_TYPE_LINEAR) {
        reference->resource.res.linear.format = format;
        reference->resource.res.linear.numChannels = channels;
    }
}

DEFINE_SETTER(cuTexRefSetFormat, (CUtexref hTexRef, CUarray_format fmt, int NumPackedComponents),
              NumPackedComponents > 0 &&
                  vgpu_format_bytes(fmt, (unsigned int)NumPackedComponents) > 0,
              set_format(reference, fmt, (unsigned int)NumPackedComponents))
DEFINE_SETTER(cuTexRefSetAddressMode, (CUtexref hTexRef, int dim, CUaddress_mode am),
              dim >= 0 && dim < 3 && (unsigned int)am <= CU_TR_ADDRESS_MODE_BORDER,
              reference->how.addressMode[dim] = am)
DEFINE_SETTER(cuTexRefSetFilterMode, (CUtexref hTexRef, CUfilter_mode fm),
              (unsigned int)fm <= CU_TR_FILTER_MODE_LINEAR, reference->how.filterMode = fm)
DEFINE_SETTER(cuTexRefSetMipmapFilterMode, (CUtexref hTexRef, CUfilter_mode fm),
              (unsigned int)fm <= CU_TR_FILTER_MODE_LINEAR, reference->how.mipmapFilterMode = fm)
DEFINE_SETTER(cuTexRefSetMipmapLevelBias, (CUtexref hTexRef, float bias), true,
              reference->how.mipmapLevelBias = bias)
DEFINE_SETTER(cuTexRefSetMipmapLevelClamp,
              (CUtexref hTexRef, float minMipmapLevelClamp, float maxMipmapLevelClamp), true,
              reference->how.minMipmapLevelClamp = minMipmapLevelClamp;
              reference->how.maxMipmapLevelClamp = maxMipmapLevelClamp)
DEFINE_SETTER(cuTexRefSetMaxAnisotropy, (CUtexref hTexRef, unsigned int maxAniso), true,
              reference->how.maxAnisotropy = maxAniso)
DEFINE_SETTER(cuTexRefSetBorderColor, (CUtexref hTexRef, float *pBorderColor), pBorderColor,
              memcpy(reference->how.borderColor, pBorderColor, sizeof(reference->how.borderColor)))
DEFINE_SETTER(cuTexRefSetFlags, (CUtexref hTexRef, unsigned int Flags),
              !(Flags & ~(CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB |
                          CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION)),
              reference->how.flags = Flags)

DEFINE_GETTER(cuTexRefGetFormat, (CUarray_format * pFormat, int *pNumChannels, CUtexref hTexRef),
              pFormat || pNumChannels, {
                  if (pFormat)
                      *pFormat = reference->format;
                  if (pNumChannels)
                      *pNumChannels = (int)reference->channels;
              })
DEFINE_GETTER(cuTexRefGetAddressMode, (CUaddress_mode * pam, CUtexref hTexRef, int dim),
              pam &&dim >= 0 && dim < 3, *pam = reference->how.addressMode[dim])
DEFINE_GETTER(cuTexRefGetFilterMode, (CUfilter_mode * pfm, CUtexref hTexRef), pfm,
              *pfm = reference->how.filterMode)
DEFINE_GETTER(cuTexRefGetMipmapFilterMode, (CUfilter_mode * pfm, CUtexref hTexRef), pfm,
              *pfm = reference->how.mipmapFilterMode)
DEFINE_GETTER(cuTexRefGetMipmapLevelBias, (float *pbias, CUtexref hTexRef), pbias,
              *pbias = reference->how.mipmapLevelBias)
DEFINE_GETTER(cuTexRefGetMipmapLevelClamp,
              (float *pminMipmapLevelClamp, float *pmaxMipmapLevelClamp, CUtexref hTexRef),
              pminMipmapLevelClamp &&pmaxMipmapLevelClamp, {
                  *pminMipmapLevelClamp = reference->how.minMipmapLevelClamp;
                  *pmaxMipmapLevelClamp = reference->how.maxMipmapLevelClamp;
              })
DEFINE_GETTER(cuTexRefGetMaxAnisotropy, (int *pmaxAniso, CUtexref hTexRef), pmaxAniso,
              *pmaxAniso = (int)reference->how.maxAnisotropy)
DEFINE_GETTER(cuTexRefGetBorderColor, (float *pBorderColor, CUtexref hTexRef), pBorderColor,
              memcpy(pBorderColor, reference->how.borderColor, sizeof(reference->how.borderColor)))
DEFINE_GETTER(cuTexRefGetFlags, (unsigned int *pFlags, CUtexref hTexRef), pFlags,
              *pFlags = reference->how.flags)
