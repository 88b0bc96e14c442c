/* SPDX-License-Identifier: MIT */
/*
 * Virtual memory management. Addresses, physical memory and mappings are the driver's; what is
 * mapped where is known here, too, so that pointers are recognised and a handle can be had again
 * from an address. Physical memory stays as long as it has a handle or a mapping.
 */
#include "guest/process/caller.h"
#include "guest/process/objects.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/** Behind a CUmemGenericAllocationHandle; with the process's physical_lock. */
struct physical {
    struct vgpu_object object;
    CUmemAllocationProp properties;
    uint32_t references; /* handles that the program has not released */
    uint32_t mappings;
};

static CUresult enter(struct vgpu_caller *caller)
{
    CUresult error = vgpu_caller_begin(caller);
    if (error)
        return error;
    return vgpu_process_attribute(vgpu_process(),
                                  CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)
               ? CUDA_SUCCESS
               : CUDA_ERROR_NOT_SUPPORTED;
}

/* ---- addresses ---- */

CUresult cuMemAddressReserve(CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr hint,
                             unsigned long long flags)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    uint64_t start = 0;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (address == NULL || bytes == 0 || flags)
        return CUDA_ERROR_INVALID_VALUE;
    error =
        vgpu_process_note(process, vgpu_send_cuMemAddressReserve(caller.channel, 0, &start, bytes,
                                                                 alignment, hint, flags));
    if (error)
        return error;
    const struct vgpu_range range = {.start = start, .bytes = bytes, .kind = VGPU_RANGE_MAPPED};
    if (!vgpu_ranges_add(&process->reservations, &range)) {
        vgpu_send_cuMemAddressFree(caller.channel, 0, start, bytes);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *address = start;
    return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr address, size_t bytes)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = enter(&caller);
    if (error)
        return error;
    error =
        vgpu_process_note(process, vgpu_send_cuMemAddressFree(caller.channel, 0, address, bytes));
    if (error == CUDA_SUCCESS)
        vgpu_ranges_remove(&process->reservations, address, VGPU_RANGE_MAPPED, &range);
    return error;
}

/* ---- physical memory ---- */

static CUresult check_location(const CUmemLocation *location)
{
    switch (location->type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return location->id == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* Programs ask for a handle type that they never export, without looking at the attribute: memory
 * is made for them, and the export is refused. */
static CUresult check_properties(const CUmemAllocationProp *properties)
{
    if (properties == NULL || properties->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
        properties->win32HandleMetaData)
        return CUDA_ERROR_INVALID_VALUE;
    if (properties->requestedHandleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return CUDA_ERROR_NOT_SUPPORTED;
    return check_location(&properties->location);
}

CUresult cuMemGetAllocationGranularity(size_t *bytes, const CUmemAllocationProp *properties,
                                       CUmemAllocationGranularity_flags option)
{
    struct vgpu_caller caller;
    uint64_t found = 0;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (bytes == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = check_properties(properties);
    if (error)
        return error;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuMemGetAllocationGranularity(
                                  caller.channel, 0, &found, properties->allocFlags.compressionType,
                                  properties->allocFlags.usage, option));
    if (error == CUDA_SUCCESS)
        *bytes = found;
    return error;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes,
                     const CUmemAllocationProp *properties, unsigned long long flags)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (handle == NULL || bytes == 0 || flags)
        return CUDA_ERROR_INVALID_VALUE;
    error = check_properties(properties);
    if (error)
        return error;
    struct physical *physical = vgpu_object_take(&process->objects, sizeof(*physical), NULL);
    if (physical == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    physical->properties = *properties;
    physical->properties.allocFlags.gpuDirectRDMACapable = 0; /* as the attribute says */
    physical->references = 1;
    error = vgpu_process_note(process,
                              vgpu_send_cuMemCreate(caller.channel, 0, physical->object.id, bytes,
                                                    properties->allocFlags.compressionType,
                                                    properties->allocFlags.usage));
    if (error) {
        vgpu_object_put(&process->objects, &physical->object);
        return error;
    }
    vgpu_object_publish(&physical->object, VGPU_KIND_PHYSICAL);
    *handle = (uintptr_t)vgpu_object_handle(physical);
    return CUDA_SUCCESS;
}

/* What a handle stands for that is not released, or NULL. With the lock. */
static struct physical *find(CUmemGenericAllocationHandle handle)
{
    struct physical *physical = vgpu_object_find(
        &vgpu_process()->objects, (const void *)(uintptr_t)handle, VGPU_KIND_PHYSICAL);
    return physical && physical->references ? physical : NULL;
}

/* Ends what has neither handle nor mapping. With the lock. */
static CUresult end_unused(const struct vgpu_caller *caller, struct physical *physical)
{
    struct vgpu_process *process = vgpu_process();
    if (physical->references || physical->mappings)
        return CUDA_SUCCESS;
    CUresult error = vgpu_send_cuMemRelease(caller->channel, 0, physical->object.id);
    vgpu_object_put(&process->objects, &physical->object);
    return vgpu_process_note(process, error);
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    if (error)
        return error;
    pthread_mutex_lock(&process->physical_lock);
    struct physical *physical = find(handle);
    if (physical)
        physical->references--;
    error = physical ? end_unused(&caller, physical) : CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&process->physical_lock);
    return error;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->physical_lock);
    if (vgpu_ranges_find(&process->ranges, (uintptr_t)address, &range) &&
        range.kind == VGPU_RANGE_MAPPED) {
        struct physical *physical = (struct physical *)range.owner;
        physical->references++;
        *handle = (uintptr_t)vgpu_object_handle(physical);
    } else {
        error = CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_unlock(&process->physical_lock);
    return error;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *properties,
                                                CUmemGenericAllocationHandle handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    if (error)
        return error;
    pthread_mutex_lock(&process->physical_lock);
    const struct physical *physical = find(handle);
    if (properties && physical)
        *properties = physical->properties;
    else
        error = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&process->physical_lock);
    return error;
}

/* A descriptor would say nothing in another process, which has another worker. */
CUresult cuMemExportToShareableHandle(void *shared, CUmemGenericAllocationHandle handle,
                                      CUmemAllocationHandleType type, unsigned long long flags)
{
    CUmemAllocationProp properties;
    CUresult error = cuMemGetAllocationPropertiesFromHandle(&properties, handle);
    if (error)
        return error;
    if (shared == NULL || flags || !(type & properties.requestedHandleTypes))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* ---- mappings ---- */

CUresult cuMemMap(CUdeviceptr address, size_t bytes, size_t offset,
                  CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    if (error)
        return error;
    pthread_mutex_lock(&process->physical_lock);
    struct physical *physical = find(handle);
    if (physical == NULL || flags)
        error = CUDA_ERROR_INVALID_VALUE;
    else
        error = vgpu_process_note(process, vgpu_send_cuMemMap(caller.channel, 0, address, bytes,
                                                              offset, physical->object.id, flags));
    if (error == CUDA_SUCCESS) {
        const struct vgpu_range range = {.start = address,
                                         .bytes = bytes,
                                         .kind = VGPU_RANGE_MAPPED,
                                         .owner = physical,
                                         .id = vgpu_process_new_id(process)};
        if (vgpu_ranges_add(&process->ranges, &range)) {
            physical->mappings++;
        } else {
            vgpu_send_cuMemUnmap(caller.channel, 0, address, bytes);
            error = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    pthread_mutex_unlock(&process->physical_lock);
    return error;
}

/* Forgets what was unmapped, and ends what nobody can map again. With the lock. */
static void forget(const struct vgpu_caller *caller, CUdeviceptr address, size_t bytes)
{
    struct vgpu_range range;
    for (size_t done = 0; done < bytes; done += range.bytes) {
        if (!vgpu_ranges_remove(&vgpu_process()->ranges, address + done, VGPU_RANGE_MAPPED, &range))
            return;
        struct physical *physical = (struct physical *)range.owner;
        physical->mappings--;
        end_unused(caller, physical);
    }
}

CUresult cuMemUnmap(CUdeviceptr address, size_t bytes)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    if (error)
        return error;
    pthread_mutex_lock(&process->physical_lock);
    error = vgpu_process_note(process, vgpu_send_cuMemUnmap(caller.channel, 0, address, bytes));
    if (error == CUDA_SUCCESS)
        forget(&caller, address, bytes);
    pthread_mutex_unlock(&process->physical_lock);
    return error;
}

CUresult cuMemSetAccess(CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access,
                        size_t count)
{
    struct vgpu_caller caller;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (access == NULL || count == 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++) {
        error = check_location(&access[i].location);
        if (error)
            return error;
    }
    /* All are of the one device: the last one counts. */
    return vgpu_process_note(
        vgpu_process(),
        vgpu_send_cuMemSetAccess(caller.channel, 0, address, bytes, access[count - 1].flags));
}

CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location,
                        CUdeviceptr address)
{
    struct vgpu_caller caller;
    uint64_t found = 0;
    CUresult error = enter(&caller);
    if (error)
        return error;
    if (flags == NULL || location == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = check_location(location);
    if (error)
        return error;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuMemGetAccess(caller.channel, 0, &found, address));
    if (error == CUDA_SUCCESS)
        *flags = found;
    return error;
}
