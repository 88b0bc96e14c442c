/* SPDX-License-Identifier: MIT */
#include "soft/driver/memory/virtual.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soft/driver/stream/stream.h"

/* ---- physical memory ---- */

struct vgpu_physical {
    struct vgpu_object object;
    struct vgpu_device *device;
    CUmemAllocationProp properties;
    size_t size;
    size_t charged; /* to the device: 0 if another process created it */
    uint64_t id;
    int file;
    unsigned int handles; /* cuMemRelease calls that are due; guarded by the driver's lock */
};

CUmemAllocationHandleType vgpu_physical_handle_types(const struct vgpu_physical *physical)
{
    return physical->properties.requestedHandleTypes;
}

uint64_t vgpu_physical_id(const struct vgpu_physical *physical)
{
    return physical->id;
}

static void destroy_physical(struct vgpu_object *object)
{
    struct vgpu_physical *physical = (struct vgpu_physical *)object;

    vgpu_memory_discharge(physical->device->memory, physical->charged);
    if (physical->file >= 0)
        close(physical->file);
    free(physical);
}

/* One handle, published, to the memory in `file`, which it takes over also on failure. */
static struct vgpu_physical *create_physical(struct vgpu_device *device, int file, size_t size,
                                             const CUmemAllocationProp *properties)
{
    struct vgpu_physical *physical =
        vgpu_object_create(VGPU_OBJECT_PHYSICAL, sizeof(*physical), NULL, destroy_physical);

    if (!physical) {
        close(file);
        return NULL;
    }
    physical->device = device;
    physical->properties = *properties;
    physical->size = size;
    physical->id = vgpu_driver_new_id();
    physical->file = file;
    physical->handles = 1;
    vgpu_object_publish(physical);
    return physical;
}

static CUresult check_properties(const CUmemAllocationProp *properties)
{
    const unsigned int known_handles = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR |
                                       CU_MEM_HANDLE_TYPE_WIN32 | CU_MEM_HANDLE_TYPE_WIN32_KMT |
                                       CU_MEM_HANDLE_TYPE_FABRIC;

    if (!properties || properties->win32HandleMetaData ||
        (properties->requestedHandleTypes & ~known_handles))
        return CUDA_ERROR_INVALID_VALUE;
    if (properties->type == CU_MEM_ALLOCATION_TYPE_MANAGED)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (properties->type != CU_MEM_ALLOCATION_TYPE_PINNED)
        return CUDA_ERROR_INVALID_VALUE;
    switch (properties->location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        return vgpu_device_get(properties->location.id) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

/* A hint may be ignored; what a program relies on may not. */
static bool is_supported(const CUmemAllocationProp *properties)
{
    return !(properties->requestedHandleTypes &
             ~(unsigned int)CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) &&
           !properties->allocFlags.gpuDirectRDMACapable && !properties->allocFlags.usage;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size,
                     const CUmemAllocationProp *prop, unsigned long long flags)
{
    struct vgpu_physical *physical = NULL;
    CUresult result = vgpu_driver_ready();
    CUmemAllocationProp properties;
    struct vgpu_device *device;
    int file;

    if (result == CUDA_SUCCESS)
        result = check_properties(prop);
    if (result == CUDA_SUCCESS &&
        (!handle || size == 0 || !vgpu_is_whole(size, VGPU_GRANULARITY) || flags))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS && !is_supported(prop))
        result = CUDA_ERROR_NOT_SUPPORTED;
    if (result != CUDA_SUCCESS)
        return result;
    device = vgpu_device_get(prop->location.id);
    if (vgpu_memory_charge(device->memory, size) < 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    properties = *prop;
    properties.allocFlags.compressionType = CU_MEM_ALLOCATION_COMP_NONE;
    file = memfd_create("vgpu-soft", MFD_CLOEXEC);
    if (file >= 0 && ftruncate(file, (off_t)size) == 0) {
        physical = create_physical(device, file, size, &properties);
        file = -1;
    }
    if (!physical) {
        if (file >= 0)
            close(file);
        vgpu_memory_discharge(device->memory, size);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    physical->charged = size;
    *handle = (uintptr_t)physical;
    return CUDA_SUCCESS;
}

static CUresult take_physical(CUmemGenericAllocationHandle handle, struct vgpu_physical **physical)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    *physical = vgpu_object_take((const void *)(uintptr_t)handle, VGPU_OBJECT_PHYSICAL);
    return *physical ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    struct vgpu_physical *physical;
    CUresult result = take_physical(handle, &physical);

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (physical->handles > 0 && --physical->handles == 0) {
        /* The caller's reference is left, so that nothing is destroyed with the lock held. */
        vgpu_object_put(vgpu_object_withdraw(physical, VGPU_OBJECT_PHYSICAL));
    }
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_put(physical);
    return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *addr)
{
    struct vgpu_allocation mapping;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!handle || !vgpu_allocation_find((uintptr_t)addr, &mapping) || !mapping.physical)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&vgpu_driver()->lock);
    /* The handle may have been released; it is the same one that comes back. */
    if (mapping.physical->handles++ == 0)
        vgpu_object_publish(vgpu_object_share(mapping.physical));
    pthread_mutex_unlock(&vgpu_driver()->lock);
    *handle = (uintptr_t)mapping.physical;
    return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationGranularity(size_t *out, const CUmemAllocationProp *prop,
                                       CUmemAllocationGranularity_flags option)
{
    CUresult result = vgpu_driver_ready();

    if (result == CUDA_SUCCESS)
        result = check_properties(prop);
    if (result == CUDA_SUCCESS && (!out || (option != CU_MEM_ALLOC_GRANULARITY_MINIMUM &&
                                            option != CU_MEM_ALLOC_GRANULARITY_RECOMMENDED)))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *out = VGPU_GRANULARITY;
    return result;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
                                                CUmemGenericAllocationHandle handle)
{
    struct vgpu_physical *physical;
    CUresult result = take_physical(handle, &physical);

    if (result != CUDA_SUCCESS)
        return result;
    if (prop)
        *prop = physical->properties;
    vgpu_object_put(physical);
    return prop ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- sharing with other processes ---- */

CUresult cuMemExportToShareableHandle(void *shareableHandle, CUmemGenericAllocationHandle handle,
                                      CUmemAllocationHandleType handleType,
                                      unsigned long long flags)
{
    struct vgpu_physical *physical;
    CUresult result = take_physical(handle, &physical);

    if (result != CUDA_SUCCESS)
        return result;
    if (!shareableHandle || flags || handleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
        !(physical->properties.requestedHandleTypes & handleType)) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else {
        int file = dup(physical->file);
        *(int *)shareableHandle = file;
        result = file < 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
    }
    vgpu_object_put(physical);
    return result;
}

/* The memory is taken to be the first device's: a file does not say. */
CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *osHandle,
                                        CUmemAllocationHandleType shHandleType)
{
    const CUmemAllocationProp properties = {
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
        .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
    };
    struct vgpu_physical *physical;
    CUresult result = vgpu_driver_ready();
    off_t size;
    int file;

    if (result != CUDA_SUCCESS)
        return result;
    if (!handle)
        return CUDA_ERROR_INVALID_VALUE;
    if (shHandleType != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
        return CUDA_ERROR_NOT_SUPPORTED;
    file = dup((int)(intptr_t)osHandle);
    size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    if (size <= 0 || !vgpu_is_whole((uint64_t)size, VGPU_GRANULARITY)) {
        if (file >= 0)
            close(file);
        return CUDA_ERROR_INVALID_VALUE;
    }
    physical = create_physical(vgpu_device_get(0), file, (size_t)size, &properties);
    if (!physical)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *handle = (uintptr_t)physical;
    return CUDA_SUCCESS;
}

CUresult cuMemGetHandleForAddressRange(void *handle, CUdeviceptr dptr, size_t size,
                                       CUmemRangeHandleType handleType, unsigned long long flags)
{
    CUresult result = vgpu_driver_ready();

    (void)dptr, (void)size, (void)flags;
    if (result != CUDA_SUCCESS)
        return result;
    return handle && handleType == CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD ? CUDA_ERROR_NOT_SUPPORTED
                                                                       : CUDA_ERROR_INVALID_VALUE;
}

/* ---- mapping ---- */

/* Makes the addresses again what they were before anything was mapped. */
static void clear(uint64_t address, size_t size)
{
    void *start = (void *)(uintptr_t)address;

    if (mmap(start, size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == start)
        madvise(start, size, MADV_DONTDUMP);
}

void vgpu_mapping_release(const struct vgpu_allocation *mapping)
{
    if (mapping->access)
        vgpu_memory_unmap_host(mapping->device->memory, mapping->address);
    clear(mapping->address, mapping->size);
    vgpu_object_put(mapping->physical);
}

static bool is_in_reservation(uint64_t address, size_t size)
{
    uint64_t start;
    size_t bytes;

    return vgpu_reservation_find(address, &start, &bytes) && size <= bytes - (address - start);
}

static CUresult map(struct vgpu_physical *physical, uint64_t address, size_t size, size_t offset)
{
    void *start = (void *)(uintptr_t)address;
    CUresult result;

    /* First, so that nobody else maps the same addresses. */
    result =
        vgpu_allocation_add_mapping(physical->device, address, size, vgpu_object_share(physical));
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(physical);
        return result == CUDA_ERROR_OUT_OF_MEMORY ? result : CUDA_ERROR_INVALID_VALUE;
    }
    if (mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
             physical->file, (off_t)offset) != start) {
        vgpu_allocation_free(address, 1u << VGPU_ALLOCATION_VIRTUAL);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    madvise(start, size, MADV_DONTDUMP);
    return CUDA_SUCCESS;
}

CUresult cuMemMap(CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags)
{
    struct vgpu_physical *physical;
    CUresult result = take_physical(handle, &physical);

    if (result != CUDA_SUCCESS)
        return result;
    if (flags || size == 0 || !vgpu_is_whole(ptr | size | offset, VGPU_GRANULARITY) ||
        !is_in_reservation(ptr, size))
        result = CUDA_ERROR_INVALID_VALUE;
    else if (offset || size != physical->size) /* drivers map whole handles only */
        result = CUDA_ERROR_NOT_SUPPORTED;
    else
        result = map(physical, ptr, size, offset);
    vgpu_object_put(physical);
    return result;
}

/* Whether whole mappings, side by side, make up a range; the first one of them. */
static bool is_mapped(uint64_t address, size_t size, struct vgpu_allocation *first)
{
    struct vgpu_allocation mapping;
    uint64_t at = address, end;

    if (size == 0 || __builtin_add_overflow(address, size, &end))
        return false;
    do {
        if (!vgpu_allocation_find(at, &mapping) || mapping.address != at || !mapping.physical)
            return false;
        if (at == address)
            *first = mapping;
        at += mapping.size;
    } while (at < end);
    return at == end;
}

CUresult cuMemUnmap(CUdeviceptr ptr, size_t size)
{
    struct vgpu_allocation mapping;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!is_mapped(ptr, size, &mapping))
        return CUDA_ERROR_INVALID_VALUE;
    for (uint64_t at = ptr; at < ptr + size; at += mapping.size) {
        if (!vgpu_allocation_find(at, &mapping))
            return CUDA_ERROR_INVALID_VALUE;
        vgpu_device_drain(mapping.device);
        vgpu_allocation_free(at, 1u << VGPU_ALLOCATION_VIRTUAL);
    }
    return CUDA_SUCCESS;
}

/* ---- access ---- */

static CUresult check_access(const CUmemAccessDesc *wanted)
{
    if (wanted->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        (wanted->flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
         wanted->flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
         wanted->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE))
        return CUDA_ERROR_INVALID_VALUE;
    if (!vgpu_device_get(wanted->location.id))
        return CUDA_ERROR_INVALID_DEVICE;
    /* Kernels' accesses are checked for being allowed, not for what they are. */
    return wanted->flags == CU_MEM_ACCESS_FLAGS_PROT_READ ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

static CUresult set_access(const struct vgpu_allocation *mapping, struct vgpu_device *device,
                           CUmemAccess_flags access)
{
    if (!access) /* kernels find out what they reach when they run */
        vgpu_device_drain(device);
    if (device != mapping->device)
        return vgpu_allocation_reach(mapping->address, device, access != 0);
    if (access == mapping->access)
        return CUDA_SUCCESS;
    if (access &&
        vgpu_memory_map_host(mapping->device->memory, mapping->address, mapping->size) < 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!access)
        vgpu_memory_unmap_host(mapping->device->memory, mapping->address);
    vgpu_allocation_set_access(mapping->address, access);
    return CUDA_SUCCESS;
}

CUresult cuMemSetAccess(CUdeviceptr ptr, size_t size, const CUmemAccessDesc *desc, size_t count)
{
    struct vgpu_allocation mapping;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!desc || count == 0 || !is_mapped(ptr, size, &mapping))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++)
        result = check_access(&desc[i]);
    for (uint64_t at = ptr; result == CUDA_SUCCESS && at < ptr + size; at += mapping.size) {
        if (!vgpu_allocation_find(at, &mapping))
            return CUDA_ERROR_INVALID_VALUE;
        for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++) {
            struct vgpu_device *device = vgpu_device_get(desc[i].location.id);

            result = set_access(&mapping, device, desc[i].flags);
            if (device == mapping.device)
                mapping.access = desc[i].flags;
        }
    }
    return result;
}

CUresult cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location, CUdeviceptr ptr)
{
    struct vgpu_allocation mapping;
    const struct vgpu_device *device;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!flags || !location || location->type != CU_MEM_LOCATION_TYPE_DEVICE ||
        !vgpu_allocation_find(ptr, &mapping) || !mapping.physical)
        return CUDA_ERROR_INVALID_VALUE;
    device = vgpu_device_get(location->id);
    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    *flags = device == mapping.device                ? mapping.access
             : mapping.reach & 1u << device->ordinal ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                                                     : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    return CUDA_SUCCESS;
}
