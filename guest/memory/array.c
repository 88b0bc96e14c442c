/* SPDX-License-Identifier: MIT */
/* Arrays and mipmapped arrays. The driver makes them and judges their descriptions; these are
 * remembered. Parts are asked for once. */
#include "guest/memory/array.h"

#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/* Memory for these is brought by others, later: the device says that it has no such arrays. */
#define WITHOUT_MEMORY (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)

static void *find(const void *handle, enum vgpu_kind kind)
{
    return vgpu_object_find(&vgpu_process()->objects, handle, kind);
}

/* The caller works in the array's context, whichever is current. */
static CUresult enter(struct vgpu_caller *caller, const void *handle, enum vgpu_kind kind,
                      void **found)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    *found = find(handle, kind);
    if (*found == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    vgpu_caller_follow(caller, *found);
    return CUDA_SUCCESS;
}

static struct vgpu_array *take_array(const struct vgpu_caller *caller,
                                     const CUDA_ARRAY3D_DESCRIPTOR *is, bool part)
{
    struct vgpu_array *array =
        vgpu_object_take(&vgpu_process()->objects, sizeof(*array), caller->current);
    if (array) {
        array->is = *is;
        array->part = part;
    }
    return array;
}

/* Publishes what the host has made, or gives it up. */
static CUresult finish(struct vgpu_object *object, enum vgpu_kind kind, CUresult error)
{
    if (error)
        vgpu_object_put(&vgpu_process()->objects, object);
    else
        vgpu_object_publish(object, kind);
    return vgpu_process_note(vgpu_process(), error);
}

/* ---- arrays ---- */

CUresult cuArray3DCreate_v2(CUarray *handle, const CUDA_ARRAY3D_DESCRIPTOR *wanted)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (handle == NULL || wanted == NULL || wanted->Width == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (wanted->Flags & WITHOUT_MEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    struct vgpu_array *array = take_array(&caller, wanted, false);
    if (array == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = vgpu_send_cuArray3DCreate(caller.channel, caller.context, array->object.id,
                                      wanted->Width, wanted->Height, wanted->Depth, wanted->Format,
                                      wanted->NumChannels, wanted->Flags, &array->block_side,
                                      &array->block_bytes);
    error = finish(&array->object, VGPU_KIND_ARRAY, error);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(array);
    return error;
}

CUresult cuArrayCreate_v2(CUarray *handle, const CUDA_ARRAY_DESCRIPTOR *wanted)
{
    if (wanted == NULL)
        return cuArray3DCreate_v2(handle, NULL);
    const CUDA_ARRAY3D_DESCRIPTOR deep = {.Width = wanted->Width,
                                          .Height = wanted->Height,
                                          .Format = wanted->Format,
                                          .NumChannels = wanted->NumChannels};
    return cuArray3DCreate_v2(handle, &deep);
}

/* Ends the objects of parts; on the host they go with the whole. */
static void end_parts(struct vgpu_array *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (parts[i])
            vgpu_object_put(&vgpu_process()->objects, &parts[i]->object);
    }
}

CUresult cuArrayDestroy(CUarray handle)
{
    struct vgpu_caller caller;
    struct vgpu_array *array;
    CUresult error = enter(&caller, handle, VGPU_KIND_ARRAY, (void **)&array);
    if (error)
        return error;
    if (array->part)
        return CUDA_ERROR_INVALID_HANDLE;
    error = vgpu_send_cuArrayDestroy(caller.channel, caller.context, array->object.id);
    end_parts(array->planes, VGPU_ARRAY_PLANES);
    vgpu_object_put(&vgpu_process()->objects, &array->object);
    return vgpu_process_note(vgpu_process(), error);
}

static CUresult add_plane(const struct vgpu_caller *caller, struct vgpu_array *array,
                          unsigned int index)
{
    uint64_t width = 0, height = 0;
    uint32_t format = 0, channels = 0;
    struct vgpu_array *plane = take_array(caller, &array->is, true);
    if (plane == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error =
        vgpu_send_cuArrayGetPlane(caller->channel, caller->context, plane->object.id,
                                  array->object.id, index, &width, &height, &format, &channels);
    plane->is.Width = width;
    plane->is.Height = height;
    plane->is.Format = (CUarray_format)format;
    plane->is.NumChannels = channels;
    error = finish(&plane->object, VGPU_KIND_ARRAY, error);
    if (error == CUDA_SUCCESS)
        array->planes[index] = plane;
    return error;
}

CUresult cuArrayGetPlane(CUarray *handle, CUarray whole, unsigned int index)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_array *array;
    CUresult error = enter(&caller, whole, VGPU_KIND_ARRAY, (void **)&array);
    if (error)
        return error;
    if (handle == NULL || index >= VGPU_ARRAY_PLANES)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->array_lock);
    if (array->planes[index] == NULL)
        error = add_plane(&caller, array, index);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(array->planes[index]);
    pthread_mutex_unlock(&process->array_lock);
    return error;
}

/* ---- mipmapped arrays ---- */

CUresult cuMipmappedArrayCreate(CUmipmappedArray *handle, const CUDA_ARRAY3D_DESCRIPTOR *wanted,
                                unsigned int levels)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (handle == NULL || wanted == NULL || wanted->Width == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (wanted->Flags & WITHOUT_MEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    struct vgpu_mipmap *mipmap =
        vgpu_object_take(&vgpu_process()->objects, sizeof(*mipmap), caller.current);
    if (mipmap == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    mipmap->is = *wanted;
    error = vgpu_send_cuMipmappedArrayCreate(caller.channel, caller.context, mipmap->object.id,
                                             wanted->Width, wanted->Height, wanted->Depth,
                                             wanted->Format, wanted->NumChannels, wanted->Flags,
                                             levels, &mipmap->block_side, &mipmap->block_bytes);
    error = finish(&mipmap->object, VGPU_KIND_MIPMAP, error);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(mipmap);
    return error;
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray handle)
{
    struct vgpu_caller caller;
    struct vgpu_mipmap *mipmap;
    CUresult error = enter(&caller, handle, VGPU_KIND_MIPMAP, (void **)&mipmap);
    if (error)
        return error;
    error = vgpu_send_cuMipmappedArrayDestroy(caller.channel, caller.context, mipmap->object.id);
    end_parts(mipmap->levels, VGPU_ARRAY_LEVELS);
    vgpu_object_put(&vgpu_process()->objects, &mipmap->object);
    return vgpu_process_note(vgpu_process(), error);
}

static size_t halved(size_t extent, unsigned int times)
{
    return extent == 0 ? 0 : extent >> times ? extent >> times : 1;
}

static CUresult add_level(const struct vgpu_caller *caller, struct vgpu_mipmap *mipmap,
                          unsigned int index)
{
    CUDA_ARRAY3D_DESCRIPTOR is = mipmap->is;
    is.Width = halved(is.Width, index);
    is.Height = halved(is.Height, index);
    if (!(is.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)))
        is.Depth = halved(is.Depth, index);
    struct vgpu_array *level = take_array(caller, &is, true);
    if (level == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    level->block_side = mipmap->block_side;
    level->block_bytes = mipmap->block_bytes;
    CUresult error = vgpu_send_cuMipmappedArrayGetLevel(caller->channel, caller->context,
                                                        level->object.id, mipmap->object.id, index);
    error = finish(&level->object, VGPU_KIND_ARRAY, error);
    if (error == CUDA_SUCCESS)
        mipmap->levels[index] = level;
    return error;
}

CUresult cuMipmappedArrayGetLevel(CUarray *handle, CUmipmappedArray whole, unsigned int index)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_mipmap *mipmap;
    CUresult error = enter(&caller, whole, VGPU_KIND_MIPMAP, (void **)&mipmap);
    if (error)
        return error;
    if (handle == NULL || index >= VGPU_ARRAY_LEVELS)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->array_lock);
    if (mipmap->levels[index] == NULL)
        error = add_level(&caller, mipmap, index);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(mipmap->levels[index]);
    pthread_mutex_unlock(&process->array_lock);
    return error;
}

/* ---- what they are ---- */

static bool holds(size_t whole, size_t start, size_t count)
{
    return start <= whole && count <= whole - start;
}

bool vgpu_array_holds(const struct vgpu_array *array, const struct vgpu_array_box *box)
{
    size_t side = array->block_side, bytes = array->block_bytes;
    if (bytes == 0 || side == 0 || box->x % bytes || box->width % bytes)
        return false;
    size_t rows = array->is.Height ? (array->is.Height + side - 1) / side : 1;
    return holds((array->is.Width + side - 1) / side * bytes, box->x, box->width) &&
           holds(rows, box->y, box->height) &&
           holds(array->is.Depth ? array->is.Depth : 1, box->z, box->depth);
}

CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR *is, CUarray handle)
{
    struct vgpu_caller caller;
    struct vgpu_array *array;
    CUresult error = enter(&caller, handle, VGPU_KIND_ARRAY, (void **)&array);
    if (error)
        return error;
    if (is == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *is = array->is;
    return CUDA_SUCCESS;
}

CUresult cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR *is, CUarray handle)
{
    CUDA_ARRAY3D_DESCRIPTOR deep;
    CUresult error = cuArray3DGetDescriptor_v2(is ? &deep : NULL, handle);
    if (error == CUDA_SUCCESS)
        *is = (CUDA_ARRAY_DESCRIPTOR){deep.Width, deep.Height, deep.Format, deep.NumChannels};
    return error;
}

/* These are asked of arrays that others bring the memory for, and of no others. */
static CUresult refuse(const void *handle, enum vgpu_kind kind)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    return find(handle, kind) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties, CUarray array)
{
    (void)properties;
    return refuse(array, VGPU_KIND_ARRAY);
}

CUresult cuMipmappedArrayGetSparseProperties(CUDA_ARRAY_SPARSE_PROPERTIES *properties,
                                             CUmipmappedArray mipmap)
{
    (void)properties;
    return refuse(mipmap, VGPU_KIND_MIPMAP);
}

CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements, CUarray array,
                                      CUdevice device)
{
    (void)requirements, (void)device;
    return refuse(array, VGPU_KIND_ARRAY);
}

CUresult cuMipmappedArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS *requirements,
                                               CUmipmappedArray mipmap, CUdevice device)
{
    (void)requirements, (void)device;
    return refuse(mipmap, VGPU_KIND_MIPMAP);
}
