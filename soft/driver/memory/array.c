/* SPDX-License-Identifier: MIT */
#include "soft/driver/memory/array.h"

#include <stdlib.h>
#include <string.h>

#include "soft/driver/graph/capture.h"
#include "soft/driver/stream/stream.h"

/* ---- formats ---- */

size_t vgpu_format_bytes(CUarray_format format, unsigned int channels)
{
    if (format != CU_AD_FORMAT_UNORM_INT_101010_2 && channels != 1 && channels != 2 &&
        channels != 4)
        return 0;
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
        return channels;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
        return 2 * (size_t)channels;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
        return 4 * (size_t)channels;
    /* These say themselves how many channels they have. */
    case CU_AD_FORMAT_UNORM_INT8X1:
    case CU_AD_FORMAT_SNORM_INT8X1:
        return channels == 1 ? 1 : 0;
    case CU_AD_FORMAT_UNORM_INT8X2:
    case CU_AD_FORMAT_SNORM_INT8X2:
        return channels == 2 ? 2 : 0;
    case CU_AD_FORMAT_UNORM_INT8X4:
    case CU_AD_FORMAT_SNORM_INT8X4:
        return channels == 4 ? 4 : 0;
    case CU_AD_FORMAT_UNORM_INT16X1:
    case CU_AD_FORMAT_SNORM_INT16X1:
        return channels == 1 ? 2 : 0;
    case CU_AD_FORMAT_UNORM_INT16X2:
    case CU_AD_FORMAT_SNORM_INT16X2:
        return channels == 2 ? 4 : 0;
    case CU_AD_FORMAT_UNORM_INT16X4:
    case CU_AD_FORMAT_SNORM_INT16X4:
        return channels == 4 ? 8 : 0;
    case CU_AD_FORMAT_UNORM_INT_101010_2:
        return channels == 4 ? 4 : 0;
    default:
        return 0;
    }
}

CUresult cuDeviceGetTexture1DLinearMaxWidth(size_t *maxWidthInElements, CUarray_format format,
                                            unsigned int numChannels, CUdevice dev)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!maxWidthInElements || vgpu_format_bytes(format, numChannels) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!vgpu_device_get(dev))
        return CUDA_ERROR_INVALID_DEVICE;
    *maxWidthInElements =
        (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH);
    return CUDA_SUCCESS;
}

/* Formats of blocks and planes are known, but there are no arrays of them here. */
static bool is_compound(CUarray_format format)
{
    return (format >= CU_AD_FORMAT_BC1_UNORM && format <= CU_AD_FORMAT_P010) ||
           (format >= CU_AD_FORMAT_P016 && format <= CU_AD_FORMAT_Y410) ||
           (format >= CU_AD_FORMAT_NV12 && format <= CU_AD_FORMAT_YUV444_16bit_SemiPlanar);
}

/* ---- extents ---- */

enum shape { LINE, PLANE, VOLUME, LINE_LAYERS, PLANE_LAYERS, CUBE, CUBE_LAYERS, SHAPES };

/* The device attributes that limit width, height and depth of each shape; 0: no such extent. */
static const CUdevice_attribute limits[SHAPES][3] = {
    [LINE] = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH},
    [PLANE] = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH,
               CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_HEIGHT},
    [VOLUME] = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH},
    [LINE_LAYERS] = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH, 0,
                     CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_LAYERS},
    [PLANE_LAYERS] = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH,
                      CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_HEIGHT,
                      CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS},
    [CUBE] = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH,
              CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH,
              CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH},
    [CUBE_LAYERS] = {CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH,
                     CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH,
                     CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS},
};

static enum shape shape_of(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    bool layered = d->Flags & CUDA_ARRAY3D_LAYERED;

    if (d->Flags & CUDA_ARRAY3D_CUBEMAP)
        return layered ? CUBE_LAYERS : CUBE;
    if (layered)
        return d->Height ? PLANE_LAYERS : LINE_LAYERS;
    if (d->Depth)
        return VOLUME;
    return d->Height ? PLANE : LINE;
}

static CUresult check_extents(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    enum shape shape = shape_of(d);
    const size_t extents[3] = {d->Width, d->Height, d->Depth};

    for (int i = 0; i < 3; i++) {
        if ((extents[i] != 0) != (limits[shape][i] != 0) ||
            (extents[i] && extents[i] > (size_t)vgpu_device_attribute(limits[shape][i])))
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (shape == CUBE && (d->Width != d->Height || d->Depth != 6))
        return CUDA_ERROR_INVALID_VALUE;
    if (shape == CUBE_LAYERS && (d->Width != d->Height || d->Depth % 6))
        return CUDA_ERROR_INVALID_VALUE;
    if ((d->Flags & CUDA_ARRAY3D_TEXTURE_GATHER) &&
        (shape != PLANE ||
         d->Width >
             (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_WIDTH) ||
         d->Height >
             (size_t)vgpu_device_attribute(CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_HEIGHT)))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult check_descriptor(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
    const unsigned int known = CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST |
                               CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_TEXTURE_GATHER |
                               CUDA_ARRAY3D_DEPTH_TEXTURE | CUDA_ARRAY3D_COLOR_ATTACHMENT;
    const unsigned int refused =
        CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING | CUDA_ARRAY3D_VIDEO_ENCODE_DECODE;

    if (d->Flags & ~(known | refused))
        return CUDA_ERROR_INVALID_VALUE;
    if ((d->Flags & refused) || is_compound(d->Format))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (vgpu_format_bytes(d->Format, d->NumChannels) == 0)
        return CUDA_ERROR_INVALID_VALUE;
    return check_extents(d);
}

/* ---- lives ---- */

static void destroy_array(struct vgpu_object *object)
{
    struct vgpu_array *array = (struct vgpu_array *)object;

    if (array->whole)
        vgpu_object_put(array->whole);
    else if (array->address)
        vgpu_memory_free(array->device->memory, array->address);
    free(array);
}

/* Fills in how the elements lie; false if that takes more bytes than there can be. */
static bool lay_out(struct vgpu_array *array)
{
    enum { PITCH_UNIT = 32, PLANE_UNIT = 512 };
    const CUDA_ARRAY3D_DESCRIPTOR *d = &array->descriptor;
    size_t bytes;

    array->element = vgpu_format_bytes(d->Format, d->NumChannels);
    array->row = d->Width * array->element;
    array->rows = d->Height ? d->Height : 1;
    array->planes = d->Depth ? d->Depth : 1;
    array->pitch = (array->row + PITCH_UNIT - 1) / PITCH_UNIT * PITCH_UNIT;
    if (__builtin_mul_overflow(array->pitch, array->rows, &bytes))
        return false;
    array->slice = (bytes + PLANE_UNIT - 1) / PLANE_UNIT * PLANE_UNIT;
    return !__builtin_mul_overflow(array->slice, array->planes, &bytes);
}

static size_t array_bytes(const struct vgpu_array *array)
{
    return array->slice * array->planes;
}

/* An array without memory. */
static struct vgpu_array *create_array(struct vgpu_context *context,
                                       const CUDA_ARRAY3D_DESCRIPTOR *descriptor)
{
    struct vgpu_array *array =
        vgpu_object_create(VGPU_OBJECT_ARRAY, sizeof(*array), context, destroy_array);

    if (!array)
        return NULL;
    array->device = context->device;
    array->descriptor = *descriptor;
    if (!lay_out(array)) {
        vgpu_object_put(array);
        return NULL;
    }
    return array;
}

static bool allocate(struct vgpu_device *device, size_t bytes, uint64_t *address)
{
    if (vgpu_memory_allocate(device->memory, bytes, address) < 0) {
        *address = 0;
        return false;
    }
    vgpu_device_note_range(device, *address, bytes);
    return true;
}

CUresult cuArray3DCreate_v2(CUarray *pHandle, const CUDA_ARRAY3D_DESCRIPTOR *pAllocateArray)
{
    struct vgpu_context *context;
    struct vgpu_array *array;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS && (!pHandle || !pAllocateArray))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = check_descriptor(pAllocateArray);
    if (result == CUDA_SUCCESS)
        result = vgpu_capture_check_unsafe();
    if (result != CUDA_SUCCESS)
        return result;
    array = create_array(context, pAllocateArray);
    if (!array || !allocate(context->device, array_bytes(array), &array->address)) {
        vgpu_object_put(array);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_object_publish(array);
    *pHandle = (CUarray)array;
    return CUDA_SUCCESS;
}

CUresult cuArrayCreate_v2(CUarray *pHandle, const CUDA_ARRAY_DESCRIPTOR *pAllocateArray)
{
    CUDA_ARRAY3D_DESCRIPTOR descriptor;

    if (!pAllocateArray)
        return CUDA_ERROR_INVALID_VALUE;
    descriptor = (CUDA_ARRAY3D_DESCRIPTOR){
        .Width = pAllocateArray->Width,
        .Height = pAllocateArray->Height,
        .Format = pAllocateArray->Format,
        .NumChannels = pAllocateArray->NumChannels,
    };
    return cuArray3DCreate_v2(pHandle, &descriptor);
}

CUresult vgpu_array_take(CUarray handle, struct vgpu_array **array)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    *array = vgpu_object_take(handle, VGPU_OBJECT_ARRAY);
    return *array ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuArrayDestroy(CUarray hArray)
{
    struct vgpu_array *array;
    CUresult result = vgpu_array_take(hArray, &array);

    if (result != CUDA_SUCCESS)
        return result;
    /* A level goes with all others. */
    if (array->whole) {
        vgpu_object_put(array);
        return CUDA_ERROR_INVALID_HANDLE;
    }
    vgpu_device_drain(array->device);
    vgpu_object_put(vgpu_object_withdraw(array, VGPU_OBJECT_ARRAY));
    vgpu_object_put(array);
    return CUDA_SUCCESS;
}

CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *pArrayDescriptor, CUarray hArray)
{
    struct vgpu_array *array;
    CUresult result = vgpu_array_take(hArray, &array);

    if (result != CUDA_SUCCESS)
        return result;
    if (pArrayDescriptor)
        *pArrayDescriptor = array->descriptor;
    vgpu_object_put(array);
    return pArrayDescriptor ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *pArrayDescriptor, CUarray hArray)
{
    CUDA_ARRAY3D_DESCRIPTOR all;
    CUresult result = cuArray3DGetDescriptor_v2(&all, hArray);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pArrayDescriptor)
        return CUDA_ERROR_INVALID_VALUE;
    *pArrayDescriptor = (CUDA_ARRAY_DESCRIPTOR){
        .Width = all.Width,
        .Height = all.Height,
        .Format = all.Format,
        .NumChannels = all.NumChannels,
    };
    return CUDA_SUCCESS;
}

/* ---- levels ---- */

static void destroy_mipmapped(struct vgpu_object *object)
{
    struct vgpu_mipmapped_array *whole = (struct vgpu_mipmapped_array *)object;

    if (whole->address)
        vgpu_memory_free(whole->device->memory, whole->address);
    free(whole);
}

static size_t halve(size_t extent, uint32_t times)
{
    if (extent == 0)
        return 0;
    return extent >> times ? extent >> times : 1;
}

static uint32_t count_levels(const CUDA_ARRAY3D_DESCRIPTOR *d, uint32_t wanted)
{
    bool volume = !(d->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP));
    size_t largest = d->Width > d->Height ? d->Width : d->Height;
    uint32_t most = 1;

    if (volume && d->Depth > largest)
        largest = d->Depth;
    while (largest >>= 1)
        most++;
    if (wanted < 1)
        wanted = 1;
    return wanted < most ? wanted : most;
}

/* Levels hold the whole, and the whole's list of them holds nothing. */
static bool create_levels(struct vgpu_mipmapped_array *whole, struct vgpu_context *context)
{
    bool layers = whole->descriptor.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP);
    size_t bytes = 0;

    for (uint32_t i = 0; i < whole->level_count; i++) {
        CUDA_ARRAY3D_DESCRIPTOR descriptor = whole->descriptor;

        descriptor.Width = halve(descriptor.Width, i);
        descriptor.Height = halve(descriptor.Height, i);
        if (!layers)
            descriptor.Depth = halve(descriptor.Depth, i);
        whole->levels[i] = create_array(context, &descriptor);
        if (!whole->levels[i])
            return false;
        whole->levels[i]->whole = vgpu_object_share(whole);
        whole->levels[i]->address = bytes; /* until there is memory */
        if (__builtin_add_overflow(bytes, array_bytes(whole->levels[i]), &bytes))
            return false;
    }
    if (!allocate(whole->device, bytes, &whole->address))
        return false;
    for (uint32_t i = 0; i < whole->level_count; i++)
        whole->levels[i]->address += whole->address;
    return true;
}

/* Gives back the references to all levels, which are handles or never were. */
static void close_levels(struct vgpu_mipmapped_array *whole, bool published)
{
    for (uint32_t i = 0; i < whole->level_count; i++) {
        struct vgpu_array *level = whole->levels[i];

        whole->levels[i] = NULL;
        vgpu_object_put(published ? vgpu_object_withdraw(level, VGPU_OBJECT_ARRAY) : level);
    }
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray *pHandle,
                                const CUDA_ARRAY3D_DESCRIPTOR *pMipmappedArrayDesc,
                                unsigned int numMipmapLevels)
{
    struct vgpu_mipmapped_array *whole;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS && (!pHandle || !pMipmappedArrayDesc))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = check_descriptor(pMipmappedArrayDesc);
    if (result == CUDA_SUCCESS)
        result = vgpu_capture_check_unsafe();
    if (result != CUDA_SUCCESS)
        return result;
    whole =
        vgpu_object_create(VGPU_OBJECT_MIPMAPPED_ARRAY, sizeof(*whole), context, destroy_mipmapped);
    if (!whole)
        return CUDA_ERROR_OUT_OF_MEMORY;
    whole->device = context->device;
    whole->descriptor = *pMipmappedArrayDesc;
    whole->level_count = count_levels(pMipmappedArrayDesc, numMipmapLevels);
    if (!create_levels(whole, context)) {
        close_levels(whole, false);
        vgpu_object_put(whole);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (uint32_t i = 0; i < whole->level_count; i++)
        vgpu_object_publish(whole->levels[i]);
    vgpu_object_publish(whole);
    *pHandle = (CUmipmappedArray)whole;
    return CUDA_SUCCESS;
}

CUresult vgpu_mipmapped_array_take(CUmipmappedArray handle, struct vgpu_mipmapped_array **array)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    *array = vgpu_object_take(handle, VGPU_OBJECT_MIPMAPPED_ARRAY);
    return *array ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray hMipmappedArray)
{
    struct vgpu_mipmapped_array *whole;
    CUresult result = vgpu_mipmapped_array_take(hMipmappedArray, &whole);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_device_drain(whole->device);
    if (vgpu_object_withdraw(whole, VGPU_OBJECT_MIPMAPPED_ARRAY)) {
        close_levels(whole, true);
        vgpu_object_put(whole);
    }
    vgpu_object_put(whole);
    return CUDA_SUCCESS;
}

CUresult cuMipmappedArrayGetLevel(CUarray *pLevelArray, CUmipmappedArray hMipmappedArray,
                                  unsigned int level)
{
    struct vgpu_mipmapped_array *whole;
    CUresult result = vgpu_mipmapped_array_take(hMipmappedArray, &whole);

    if (result != CUDA_SUCCESS)
        return result;
    if (pLevelArray && level < whole->level_count)
        *pLevelArray = (CUarray)whole->levels[level];
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(whole);
    return result;
}

/* ---- what no array here has: planes, tiles, memory that is mapped later ---- */

static CUresult refuse_array(CUarray handle)
{
    struct vgpu_array *array;
    CUresult result = vgpu_array_take(handle, &array);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_object_put(array);
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult refuse_mipmapped(CUmipmappedArray handle)
{
    struct vgpu_mipmapped_array *whole;
    CUresult result = vgpu_mipmapped_array_take(handle, &whole);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_object_put(whole);
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuArrayGetPlane(CUarray *pPlaneArray, CUarray hArray, unsigned int planeIdx)
{
    (void)pPlaneArray, (void)planeIdx;
    return refuse_array(hArray);
}

CUresult cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties, CUarray array)
{
    (void)sparseProperties;
    return refuse_array(array);
}

CUresult cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *sparseProperties,
                                             CUmipmappedArray mipmap)
{
    (void)sparseProperties;
    return refuse_mipmapped(mipmap);
}

CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements,
                                      CUarray array, CUdevice device)
{
    (void)memoryRequirements, (void)device;
    return refuse_array(array);
}

CUresult cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *memoryRequirements,
                                               CUmipmappedArray mipmap, CUdevice device)
{
    (void)memoryRequirements, (void)device;
    return refuse_mipmapped(mipmap);
}

CUresult cuMemMapArrayAsync(CUarrayMapInfo *mapInfoList, unsigned int count, CUstream hStream)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(hStream, &stream);

    (void)mapInfoList, (void)count;
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_object_put(stream);
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemMapArrayAsync_ptsz(CUarrayMapInfo *mapInfoList, unsigned int count, CUstream hStream)
{
    return cuMemMapArrayAsync(mapInfoList, count, hStream ? hStream : CU_STREAM_PER_THREAD);
}
