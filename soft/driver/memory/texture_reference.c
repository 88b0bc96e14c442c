/* SPDX-License-Identifier: MIT */
/*
 * Texture and surface references: variables of a module that stand for a texture, and how a program
 * says which. The variable holds the handle that kernels use, and behind it the reference, which is
 * looked up before it is followed because kernels may write there.
 */
#include <stdlib.h>
#include <string.h>

#include "soft/driver/code/module.h"
#include "soft/driver/memory/allocation.h"
#include "soft/driver/memory/texture.h"
#include "soft/driver/stream/stream.h"

struct reference {
    struct vgpu_object object;
    struct vgpu_context *context;
    struct vgpu_module *module; /* whose variable it is, with a reference; or NULL */
    uint64_t variable;          /* address of the two words, or 0 */
    bool is_surface;
    bool is_bound;
    uint64_t handle; /* 0 while nothing is bound */
    void *holder;    /* the array, with a reference, or NULL */
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC how;
    CUarray_format format;
    unsigned int channels;
};

static void destroy(struct vgpu_object *object)
{
    struct reference *reference = (struct reference *)object;

    if (reference->handle)
        vgpu_texture_destroy(reference->context->device->memory, reference->handle);
    vgpu_object_put(reference->holder);
    vgpu_object_put(reference->module);
    free(reference);
}

static struct reference *create(struct vgpu_context *context)
{
    struct reference *reference =
        vgpu_object_create(VGPU_OBJECT_TEXTURE_REFERENCE, sizeof(*reference), context, destroy);

    if (!reference)
        return NULL;
    reference->context = context;
    reference->format = CU_AD_FORMAT_FLOAT;
    reference->channels = 1;
    return reference;
}

/* A reference by its handle, with one more reference to it. */
static CUresult take(const void *handle, bool is_surface, struct reference **reference)
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
static CUresult update(struct reference *reference)
{
    struct vgpu_memory *memory = reference->context->device->memory;
    struct vgpu_texture texture;
    uint64_t handle, before = reference->handle;
    void *holder, *held = reference->holder;
    CUresult result;

    if (!reference->is_bound)
        return CUDA_SUCCESS;
    result =
        vgpu_texture_describe(&reference->resource, reference->is_surface ? NULL : &reference->how,
                              NULL, &texture, &holder);
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

static CUresult bind(struct reference *reference, const CUDA_RESOURCE_DESC *resource)
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

static CUresult find_variable(CUmodule handle, const char *name, bool is_surface,
                              struct reference **found)
{
    struct vgpu_context *context;
    struct vgpu_module *module;
    struct reference *reference;
    uint64_t address;
    void *known;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    module = vgpu_object_take(handle, VGPU_OBJECT_MODULE);
    if (!module)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!name || !module->image ||
        vgpu_image_opaque(module->image, name, is_surface, &address) < 0) {
        vgpu_object_put(module);
        return name ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
    }
    memcpy(&known, (const char *)(uintptr_t)address + sizeof(uint64_t), sizeof(known));
    reference = vgpu_object_take(known, VGPU_OBJECT_TEXTURE_REFERENCE);
    if (reference) {
        vgpu_object_put(reference);
        vgpu_object_put(module);
        *found = reference;
        return CUDA_SUCCESS;
    }
    reference = create(module->context);
    if (!reference) {
        vgpu_object_put(module);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    reference->module = module;
    reference->variable = address;
    reference->is_surface = is_surface;
    memcpy((char *)(uintptr_t)address + sizeof(uint64_t), &reference, sizeof(reference));
    vgpu_object_publish(reference);
    *found = reference;
    return CUDA_SUCCESS;
}

CUresult cuModuleGetTexRef(CUtexref *pTexRef, CUmodule hmod, const char *name)
{
    struct reference *reference;
    CUresult result =
        pTexRef ? find_variable(hmod, name, false, &reference) : CUDA_ERROR_INVALID_VALUE;

    if (result == CUDA_SUCCESS)
        *pTexRef = (CUtexref)reference;
    return result;
}

CUresult cuModuleGetSurfRef(CUsurfref *pSurfRef, CUmodule hmod, const char *name)
{
    struct reference *reference;
    CUresult result =
        pSurfRef ? find_variable(hmod, name, true, &reference) : CUDA_ERROR_INVALID_VALUE;

    if (result == CUDA_SUCCESS)
        *pSurfRef = (CUsurfref)reference;
    return result;
}

CUresult cuTexRefCreate(CUtexref *pTexRef)
{
    struct reference *reference;
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
    struct reference *reference;
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
    struct reference *reference;
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
    struct reference *reference;
    CUresult result = take(hTexRef, false, &reference);

    if (result != CUDA_SUCCESS)
        return result;
    result =
        Flags == CU_TRSA_OVERRIDE_FORMAT ? bind(reference, &resource) : CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(reference);
    return result;
}

CUresult cuTexRefSetAddress_v2(size_t *ByteOffset, CUtexref hTexRef, CUdeviceptr dptr, size_t bytes)
{
    size_t unit = (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT);
    size_t offset = dptr % unit, size;
    struct reference *reference;
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
    struct reference *reference;
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
    struct reference *reference;
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
    struct reference *reference;
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
    struct reference *reference;
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
    struct reference *reference;
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
        struct reference *reference;                                                               \
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
        struct reference *reference;                                                               \
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

static void set_format(struct reference *reference, CUarray_format format, unsigned int channels)
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
