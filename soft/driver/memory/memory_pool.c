/* SPDX-License-Identifier: MIT */
#include "soft/driver/memory/memory_pool.h"

#include <stdlib.h>
#include <string.h>

#include "soft/driver/memory/allocation.h"
#include "soft/driver/stream/stream.h"

/* ---- lives ---- */

static void destroy_pool(struct vgpu_object *object)
{
    struct vgpu_memory_pool *pool = (struct vgpu_memory_pool *)object;

    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static struct vgpu_memory_pool *create(struct vgpu_device *device, const CUmemPoolProps *properties)
{
    struct vgpu_memory_pool *pool =
        vgpu_object_create(VGPU_OBJECT_POOL, sizeof(*pool), NULL, destroy_pool);

    if (!pool)
        return NULL;
    pool->device = device;
    pool->properties = *properties;
    pthread_mutex_init(&pool->lock, NULL);
    for (int i = 0; i < 3; i++)
        pool->may_reuse[i] = true;
    vgpu_object_publish(pool);
    return pool;
}

static CUresult open_slot(struct vgpu_device *device, struct vgpu_pool_slot *slot,
                          CUmemAllocationType type)
{
    const CUmemPoolProps properties = {
        .allocType = type,
        .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device->ordinal},
    };

    slot->standard = create(device, &properties);
    if (!slot->standard)
        return CUDA_ERROR_OUT_OF_MEMORY;
    slot->standard->is_default = true;
    slot->current = vgpu_object_share(slot->standard);
    return CUDA_SUCCESS;
}

CUresult vgpu_memory_pool_open_device(struct vgpu_device *device)
{
    CUresult result = open_slot(device, &device->pinned_pools, CU_MEM_ALLOCATION_TYPE_PINNED);

    if (result == CUDA_SUCCESS)
        result = open_slot(device, &device->managed_pools, CU_MEM_ALLOCATION_TYPE_MANAGED);
    return result;
}

CUresult vgpu_memory_pool_take(CUmemoryPool handle, struct vgpu_memory_pool **pool)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    *pool = vgpu_object_take(handle, VGPU_OBJECT_POOL);
    return *pool ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Pools are of a device's memory; there are none of the host's. */
static CUresult slot_of(const CUmemLocation *location, CUmemAllocationType type,
                        struct vgpu_pool_slot **slot)
{
    struct vgpu_device *device = NULL;

    if (!location ||
        (type != CU_MEM_ALLOCATION_TYPE_PINNED && type != CU_MEM_ALLOCATION_TYPE_MANAGED))
        return CUDA_ERROR_INVALID_VALUE;
    switch (location->type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
        device = vgpu_device_get(location->id);
        if (!device)
            return CUDA_ERROR_INVALID_DEVICE;
        break;
    case CU_MEM_LOCATION_TYPE_NONE:
        if (type != CU_MEM_ALLOCATION_TYPE_MANAGED)
            return CUDA_ERROR_INVALID_VALUE;
        device = vgpu_device_get(0);
        break;
    case CU_MEM_LOCATION_TYPE_HOST:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
    case CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    *slot = type == CU_MEM_ALLOCATION_TYPE_PINNED ? &device->pinned_pools : &device->managed_pools;
    return CUDA_SUCCESS;
}

static bool all_zero(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

CUresult cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *poolProps)
{
    struct vgpu_memory_pool *created;
    struct vgpu_pool_slot *slot;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!pool || !poolProps || poolProps->win32SecurityAttributes ||
        !all_zero(poolProps->reserved, sizeof(poolProps->reserved)))
        return CUDA_ERROR_INVALID_VALUE;
    result = slot_of(&poolProps->location, poolProps->allocType, &slot);
    if (result != CUDA_SUCCESS)
        return result == CUDA_ERROR_INVALID_DEVICE ? CUDA_ERROR_INVALID_VALUE : result;
    if (poolProps->handleTypes || poolProps->usage)
        return CUDA_ERROR_NOT_SUPPORTED;
    created = create(slot->standard->device, poolProps);
    if (!created)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *pool = (CUmemoryPool)created;
    return CUDA_SUCCESS;
}

/* Makes `pool` a slot's current one. */
static void make_current(struct vgpu_pool_slot *slot, struct vgpu_memory_pool *pool)
{
    struct vgpu_memory_pool *before;

    pthread_mutex_lock(&vgpu_driver()->lock);
    before = slot->current;
    slot->current = vgpu_object_share(pool);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_put(before);
}

static struct vgpu_memory_pool *take_current(struct vgpu_pool_slot *slot)
{
    struct vgpu_memory_pool *pool;

    pthread_mutex_lock(&vgpu_driver()->lock);
    pool = vgpu_object_share(slot->current);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return pool;
}

struct vgpu_memory_pool *vgpu_memory_pool_current(struct vgpu_device *device)
{
    return take_current(&device->pinned_pools);
}

CUresult cuMemPoolDestroy(CUmemoryPool handle)
{
    struct vgpu_memory_pool *pool, *current;
    struct vgpu_pool_slot *slot;
    CUresult result = vgpu_memory_pool_take(handle, &pool);

    if (result != CUDA_SUCCESS)
        return result;
    if (pool->is_default || !vgpu_object_withdraw(pool, VGPU_OBJECT_POOL)) {
        vgpu_object_put(pool);
        return CUDA_ERROR_INVALID_VALUE;
    }
    slot = pool->properties.allocType == CU_MEM_ALLOCATION_TYPE_PINNED
               ? &pool->device->pinned_pools
               : &pool->device->managed_pools;
    current = take_current(slot);
    if (current == pool)
        make_current(slot, slot->standard);
    vgpu_object_put(current);
    vgpu_object_put(pool); /* the table's reference */
    vgpu_object_put(pool);
    return CUDA_SUCCESS;
}

/* ---- current and default pools ---- */

CUresult cuMemGetDefaultMemPool(CUmemoryPool *pool_out, CUmemLocation *location,
                                CUmemAllocationType type)
{
    struct vgpu_pool_slot *slot;
    CUresult result = vgpu_driver_ready();

    if (result == CUDA_SUCCESS && !pool_out)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = slot_of(location, type, &slot);
    if (result == CUDA_SUCCESS)
        *pool_out = (CUmemoryPool)slot->standard;
    return result;
}

CUresult cuMemGetMemPool(CUmemoryPool *pool, CUmemLocation *location, CUmemAllocationType type)
{
    struct vgpu_memory_pool *current;
    struct vgpu_pool_slot *slot;
    CUresult result = vgpu_driver_ready();

    if (result == CUDA_SUCCESS && !pool)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = slot_of(location, type, &slot);
    if (result != CUDA_SUCCESS)
        return result;
    current = take_current(slot);
    *pool = (CUmemoryPool)current;
    vgpu_object_put(current);
    return CUDA_SUCCESS;
}

CUresult cuMemSetMemPool(CUmemLocation *location, CUmemAllocationType type, CUmemoryPool handle)
{
    struct vgpu_memory_pool *pool;
    struct vgpu_pool_slot *slot;
    CUresult result = vgpu_memory_pool_take(handle, &pool);

    if (result != CUDA_SUCCESS)
        return result;
    result = slot_of(location, type, &slot);
    if (result == CUDA_SUCCESS &&
        (pool->device != slot->standard->device || pool->properties.allocType != type))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        make_current(slot, pool);
    vgpu_object_put(pool);
    return result;
}

static CUmemLocation at_device(CUdevice device)
{
    return (CUmemLocation){.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device};
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool_out, CUdevice dev)
{
    CUmemLocation location = at_device(dev);

    return cuMemGetDefaultMemPool(pool_out, &location, CU_MEM_ALLOCATION_TYPE_PINNED);
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice dev)
{
    CUmemLocation location = at_device(dev);

    return cuMemGetMemPool(pool, &location, CU_MEM_ALLOCATION_TYPE_PINNED);
}

CUresult cuDeviceSetMemPool(CUdevice dev, CUmemoryPool pool)
{
    CUmemLocation location = at_device(dev);

    return cuMemSetMemPool(&location, CU_MEM_ALLOCATION_TYPE_PINNED, pool);
}

/* ---- attributes ---- */

/* Index in may_reuse[], or -1. */
static int reuse_index(CUmemPool_attribute attribute)
{
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
        return 0;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
        return 1;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        return 2;
    default:
        return -1;
    }
}

/* Lock held. A high-water mark may only be set to 0, which means to what is used now. */
static CUresult set(struct vgpu_memory_pool *pool, CUmemPool_attribute attribute, const void *value)
{
    int index = reuse_index(attribute);

    if (index >= 0) {
        pool->may_reuse[index] = *(const int *)value != 0;
        return CUDA_SUCCESS;
    }
    if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) {
        pool->threshold = *(const cuuint64_t *)value;
        return CUDA_SUCCESS;
    }
    if (*(const cuuint64_t *)value)
        return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH)
        pool->used_high = pool->used;
    else if (attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)
        pool->reserved_high = pool->used;
    else
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attr, void *value)
{
    struct vgpu_memory_pool *pool;
    CUresult result = vgpu_memory_pool_take(handle, &pool);

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&pool->lock);
    result = value ? set(pool, attr, value) : CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&pool->lock);
    vgpu_object_put(pool);
    return result;
}

/* Lock held. */
static CUresult get(const struct vgpu_memory_pool *pool, CUmemPool_attribute attribute, void *value)
{
    cuuint64_t *bytes = value;
    int index = reuse_index(attribute);

    if (index >= 0) {
        *(int *)value = pool->may_reuse[index];
        return CUDA_SUCCESS;
    }
    switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        *bytes = pool->threshold;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        *bytes = pool->used;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
        *bytes = pool->reserved_high;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        *bytes = pool->used_high;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attr, void *value)
{
    struct vgpu_memory_pool *pool;
    CUresult result = vgpu_memory_pool_take(handle, &pool);

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&pool->lock);
    result = value ? get(pool, attr, value) : CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&pool->lock);
    vgpu_object_put(pool);
    return result;
}

CUresult cuMemPoolTrimTo(CUmemoryPool handle, size_t minBytesToKeep)
{
    struct vgpu_memory_pool *pool;
    CUresult result = vgpu_memory_pool_take(handle, &pool);

    (void)minBytesToKeep;
    if (result == CUDA_SUCCESS)
        vgpu_object_put(pool);
    return result;
}

/* ---- access: the pool's own device has it for good, no other device can have it ---- */

static CUresult check_access(const struct vgpu_memory_pool *pool, const CUmemAccessDesc *wanted)
{
    const struct vgpu_device *device = vgpu_device_get(wanted->location.id);

    if (wanted->location.type != CU_MEM_LOCATION_TYPE_DEVICE || !device)
        return CUDA_ERROR_INVALID_VALUE;
    if (wanted->flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
        return CUDA_SUCCESS;
    if (wanted->flags == CU_MEM_ACCESS_FLAGS_PROT_NONE && device != pool->device)
        return CUDA_SUCCESS;
    return CUDA_ERROR_INVALID_VALUE;
}

/* For what the pool has allocated; what it will allocate finds the bit. */
static CUresult set_access(struct vgpu_memory_pool *pool, struct vgpu_device *device, bool reached)
{
    uint32_t bit = 1u << device->ordinal;
    struct vgpu_allocation found;
    CUresult result = CUDA_SUCCESS;

    if (!reached) /* kernels find out what they reach when they run */
        vgpu_device_drain(device);
    pthread_mutex_lock(&pool->lock);
    pool->reach = reached ? pool->reach | bit : pool->reach & ~bit;
    pthread_mutex_unlock(&pool->lock);
    for (uint64_t at = 0; vgpu_allocation_next(at, &found); at = found.address + 1) {
        /* It may have been freed since. */
        if (found.pool == pool &&
            vgpu_allocation_reach(found.address, device, reached) == CUDA_ERROR_OUT_OF_MEMORY)
            result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return result;
}

static CUresult let_peers_reach(struct vgpu_memory_pool *pool, uint64_t address)
{
    CUresult result = CUDA_SUCCESS;
    uint32_t reach;

    pthread_mutex_lock(&pool->lock);
    reach = pool->reach;
    pthread_mutex_unlock(&pool->lock);
    for (; reach && result == CUDA_SUCCESS; reach &= reach - 1)
        result = vgpu_allocation_reach(address, vgpu_device_get(__builtin_ctz(reach)), true);
    return result;
}

CUresult cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc *map, size_t count)
{
    struct vgpu_memory_pool *pool;
    CUresult result = vgpu_memory_pool_take(handle, &pool);

    if (result != CUDA_SUCCESS)
        return result;
    if (!map && count)
        result = CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++)
        result = check_access(pool, &map[i]);
    for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++) {
        struct vgpu_device *device = vgpu_device_get(map[i].location.id);

        if (device != pool->device)
            result = set_access(pool, device, map[i].flags != CU_MEM_ACCESS_FLAGS_PROT_NONE);
    }
    vgpu_object_put(pool);
    return result;
}

CUresult cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool handle, CUmemLocation *location)
{
    struct vgpu_memory_pool *pool;
    const struct vgpu_device *device;
    CUresult result = vgpu_memory_pool_take(handle, &pool);

    if (result != CUDA_SUCCESS)
        return result;
    device = location ? vgpu_device_get(location->id) : NULL;
    if (!flags || !device || location->type != CU_MEM_LOCATION_TYPE_DEVICE)
        result = CUDA_ERROR_INVALID_VALUE;
    else
        *flags = device == pool->device || (pool->reach & 1u << device->ordinal) != 0
                     ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                     : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    vgpu_object_put(pool);
    return result;
}

/* ---- allocating ---- */

CUresult vgpu_memory_pool_allocate(struct vgpu_memory_pool *pool, size_t size, uint64_t *address)
{
    bool managed = pool->properties.allocType == CU_MEM_ALLOCATION_TYPE_MANAGED;
    size_t most = pool->properties.maxSize;
    bool fits;

    if (size == 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&pool->lock);
    fits = size <= pool->device->bytes && (!most || size + pool->used <= most);
    if (fits)
        pool->used += size;
    pthread_mutex_unlock(&pool->lock);
    if (!fits)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = vgpu_allocation_create_pooled(pool, pool->device, managed, size, address);
    if (result == CUDA_SUCCESS && let_peers_reach(pool, *address) != CUDA_SUCCESS) {
        vgpu_allocation_free(*address, 1u << VGPU_ALLOCATION_POOL);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result != CUDA_SUCCESS) {
        vgpu_memory_pool_note_free(pool, size);
        return result;
    }
    pthread_mutex_lock(&pool->lock);
    if (pool->used > pool->used_high)
        pool->used_high = pool->used;
    if (pool->used > pool->reserved_high)
        pool->reserved_high = pool->used;
    pthread_mutex_unlock(&pool->lock);
    return CUDA_SUCCESS;
}

void vgpu_memory_pool_note_free(struct vgpu_memory_pool *pool, size_t size)
{
    pthread_mutex_lock(&pool->lock);
    pool->used -= size;
    pthread_mutex_unlock(&pool->lock);
}

/* ---- sharing with other processes: no pool was created for that ---- */

CUresult cuMemPoolExportToShareableHandle(void *handle_out, CUmemoryPool pool,
                                          CUmemAllocationHandleType handleType,
                                          unsigned long long flags)
{
    (void)handle_out, (void)pool, (void)handleType, (void)flags;
    return vgpu_driver_ready() == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : vgpu_driver_ready();
}

CUresult cuMemPoolImportFromShareableHandle(CUmemoryPool *pool_out, void *handle,
                                            CUmemAllocationHandleType handleType,
                                            unsigned long long flags)
{
    (void)pool_out, (void)handle, (void)handleType, (void)flags;
    return vgpu_driver_ready() == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : vgpu_driver_ready();
}

CUresult cuMemPoolExportPointer(CUmemPoolPtrExportData *shareData_out, CUdeviceptr ptr)
{
    (void)shareData_out, (void)ptr;
    return vgpu_driver_ready() == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : vgpu_driver_ready();
}

CUresult cuMemPoolImportPointer(CUdeviceptr *ptr_out, CUmemoryPool pool,
                                CUmemPoolPtrExportData *shareData)
{
    (void)ptr_out, (void)pool, (void)shareData;
    return vgpu_driver_ready() == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : vgpu_driver_ready();
}
