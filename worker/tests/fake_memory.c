/* SPDX-License-Identifier: MIT */
/* The fake driver's memory pools and virtual memory management. */
#include <stdlib.h>
#include <string.h>

#include "worker/tests/fake_objects.h"

static struct fake_object *find_address(enum fake_kind kind, CUdeviceptr address)
{
    struct fake_object *object = machine.objects;
    while (object && (object->kind != kind || object->address != address))
        object = object->next;
    return object;
}

/* ---- pools: they reserve in steps, and give back when they are trimmed ---- */

static size_t in_steps(size_t bytes)
{
    return (bytes + FAKE_POOL_STEP - 1) / FAKE_POOL_STEP * FAKE_POOL_STEP;
}

static CUresult f_pool(CUmemoryPool *pool, const CUmemPoolProps *properties)
{
    if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE || properties->location.id ||
        properties->handleTypes)
        fake_die("a pool that others can reach");
    *pool = (CUmemoryPool)fake_make(POOL, NULL);
    return CUDA_SUCCESS;
}

static CUresult f_default_pool(CUmemoryPool *pool, CUdevice device)
{
    (void)device;
    if (machine.pool == NULL)
        machine.pool = fake_make(POOL, NULL);
    *pool = (CUmemoryPool)machine.pool;
    return CUDA_SUCCESS;
}

static CUresult f_pool_destroy(CUmemoryPool pool)
{
    struct fake_object *gone = fake_need(pool, POOL);
    if (gone == machine.pool || gone->used)
        fake_die("a pool ends that is in use");
    fake_forget(gone);
    return CUDA_SUCCESS;
}

static CUresult f_pool_trim(CUmemoryPool pool, size_t keep)
{
    struct fake_object *trimmed = fake_need(pool, POOL);
    size_t least = trimmed->used > keep ? trimmed->used : keep;
    if (in_steps(least) < trimmed->reserved)
        trimmed->reserved = in_steps(least);
    return CUDA_SUCCESS;
}

static CUresult f_pool_set(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    fake_need(pool, POOL);
    (void)value;
    return attribute >= 1 && attribute <= CU_MEMPOOL_ATTR_USED_MEM_HIGH ? CUDA_SUCCESS
                                                                        : CUDA_ERROR_INVALID_VALUE;
}

static CUresult f_pool_get(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    const struct fake_object *asked = fake_need(pool, POOL);
    switch (attribute) {
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
        *(cuuint64_t *)value = asked->reserved;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        *(cuuint64_t *)value = asked->used;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
        *(int *)value = 1;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult f_pool_allocate(CUdeviceptr *address, size_t bytes, CUmemoryPool pool,
                                CUstream stream)
{
    struct fake_object *owner = fake_need(pool, POOL);
    CUresult error = fake_fail_once();
    fake_need_stream(stream);
    if (error)
        return error;
    if (bytes > FAKE_ALLOCATION_MOST)
        return CUDA_ERROR_OUT_OF_MEMORY;
    struct fake_object *memory = fake_make(MEMORY, NULL);
    memory->memory = malloc(bytes);
    memset(memory->memory, 0xdd, bytes);
    memory->address = (CUdeviceptr)(uintptr_t)memory->memory;
    memory->bytes = bytes;
    memory->pool = owner;
    fake.memory += bytes;
    owner->used += bytes;
    if (owner->used > owner->reserved)
        owner->reserved = in_steps(owner->used);
    *address = memory->address;
    return CUDA_SUCCESS;
}

static CUresult f_free_async(CUdeviceptr address, CUstream stream)
{
    struct fake_object *memory = find_address(MEMORY, address);
    fake_need_stream(stream);
    if (memory == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    fake_synchronise();
    fake_forget(memory);
    return CUDA_SUCCESS;
}

static CUresult f_capturing(CUstream stream, CUstreamCaptureStatus *status)
{
    fake_need_stream(stream);
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

/* ---- virtual memory: addresses from a counter, behind which mappings put physical memory ---- */

static bool overlaps(const struct fake_object *object, CUdeviceptr address, size_t bytes)
{
    return address < object->address + object->bytes && object->address < address + bytes;
}

static bool in_steps_of_pages(uint64_t value)
{
    return value % FAKE_PAGE == 0;
}

static CUresult f_reserve(CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr hint,
                          unsigned long long flags)
{
    (void)hint;
    if (bytes == 0 || !in_steps_of_pages(bytes) || flags || alignment & (alignment - 1))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > (size_t)1 << 40)
        return CUDA_ERROR_OUT_OF_MEMORY;
    struct fake_object *range = fake_make(RESERVATION, NULL);
    range->address = (CUdeviceptr)0x7000000000000000 + machine.reserved;
    range->bytes = bytes;
    machine.reserved += bytes + FAKE_PAGE;
    *address = range->address;
    return CUDA_SUCCESS;
}

static struct fake_object *mapping_in(CUdeviceptr address, size_t bytes)
{
    struct fake_object *object = machine.objects;
    while (object && (object->kind != MAPPING || !overlaps(object, address, bytes)))
        object = object->next;
    return object;
}

static CUresult f_address_free(CUdeviceptr address, size_t bytes)
{
    struct fake_object *range = find_address(RESERVATION, address);
    if (range == NULL || range->bytes != bytes || mapping_in(address, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    fake_forget(range);
    return CUDA_SUCCESS;
}

static CUresult f_physical(CUmemGenericAllocationHandle *handle, size_t bytes,
                           const CUmemAllocationProp *properties, unsigned long long flags)
{
    CUresult error = fake.fail_next;
    fake.fail_next = CUDA_SUCCESS;
    if (error)
        return error;
    if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
        properties->requestedHandleTypes || flags)
        fake_die("physical memory that others can reach");
    if (bytes == 0 || !in_steps_of_pages(bytes))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > FAKE_ALLOCATION_MOST)
        return CUDA_ERROR_OUT_OF_MEMORY;
    struct fake_object *made = fake_make(PHYSICAL, NULL);
    made->memory = malloc(bytes);
    memset(made->memory, 0xdd, bytes);
    made->bytes = bytes;
    *handle = (CUmemGenericAllocationHandle)(uintptr_t)made;
    return CUDA_SUCCESS;
}

static struct fake_object *need_physical(CUmemGenericAllocationHandle handle)
{
    return fake_need((const void *)(uintptr_t)handle, PHYSICAL);
}

static CUresult f_physical_release(CUmemGenericAllocationHandle handle)
{
    struct fake_object *gone = need_physical(handle);
    for (struct fake_object *object = machine.objects; object; object = object->next) {
        if (object->kind == MAPPING && object->owner == gone)
            fake_die("physical memory is released while it is mapped");
    }
    fake_forget(gone);
    return CUDA_SUCCESS;
}

static CUresult f_map(CUdeviceptr address, size_t bytes, size_t offset,
                      CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    struct fake_object *physical = need_physical(handle), *range = machine.objects;
    if (offset || flags || bytes == 0 || bytes > physical->bytes || !in_steps_of_pages(bytes) ||
        !in_steps_of_pages(address))
        return CUDA_ERROR_INVALID_VALUE;
    while (range && (range->kind != RESERVATION || address < range->address ||
                     address - range->address > range->bytes ||
                     bytes > range->bytes - (address - range->address)))
        range = range->next;
    if (range == NULL || mapping_in(address, bytes))
        return CUDA_ERROR_INVALID_VALUE;
    struct fake_object *mapping = fake_make(MAPPING, NULL);
    mapping->address = address;
    mapping->bytes = bytes;
    mapping->owner = physical;
    return CUDA_SUCCESS;
}

static CUresult f_unmap(CUdeviceptr address, size_t bytes)
{
    while (bytes) {
        struct fake_object *mapping = find_address(MAPPING, address);
        if (mapping == NULL || mapping->bytes > bytes) {
            fake_die("what is unmapped is no whole mapping");
            return CUDA_ERROR_UNKNOWN;
        }
        address += mapping->bytes;
        bytes -= mapping->bytes;
        fake_forget(mapping);
    }
    return CUDA_SUCCESS;
}

static CUresult f_set_access(CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access,
                             size_t count)
{
    if (count != 1 || access->location.type != CU_MEM_LOCATION_TYPE_DEVICE || access->location.id)
        fake_die("access for another device");
    if (bytes == 0 || address + bytes < address)
        return CUDA_ERROR_INVALID_VALUE;
    while (bytes) {
        struct fake_object *mapping = find_address(MAPPING, address);
        if (mapping == NULL || mapping->bytes > bytes)
            return CUDA_ERROR_INVALID_VALUE;
        mapping->flags = access->flags;
        address += mapping->bytes;
        bytes -= mapping->bytes;
    }
    return CUDA_SUCCESS;
}

static CUresult f_get_access(unsigned long long *flags, const CUmemLocation *location,
                             CUdeviceptr address)
{
    const struct fake_object *mapping = mapping_in(address, 1);
    (void)location;
    if (mapping == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = mapping->flags;
    return CUDA_SUCCESS;
}

static CUresult f_granularity(size_t *bytes, const CUmemAllocationProp *properties,
                              CUmemAllocationGranularity_flags option)
{
    (void)properties;
    *bytes = FAKE_PAGE;
    return option <= CU_MEM_ALLOC_GRANULARITY_RECOMMENDED ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

void fake_memory_add(struct vgpu_driver *table)
{
    table->cuMemPoolCreate = f_pool;
    table->cuDeviceGetDefaultMemPool = f_default_pool;
    table->cuMemPoolDestroy = f_pool_destroy;
    table->cuMemPoolTrimTo = f_pool_trim;
    table->cuMemPoolSetAttribute = f_pool_set;
    table->cuMemPoolGetAttribute = f_pool_get;
    table->cuMemAllocFromPoolAsync = f_pool_allocate;
    table->cuMemFreeAsync = f_free_async;
    table->cuStreamIsCapturing = f_capturing;
    table->cuMemAddressReserve = f_reserve;
    table->cuMemAddressFree = f_address_free;
    table->cuMemCreate = f_physical;
    table->cuMemRelease = f_physical_release;
    table->cuMemMap = f_map;
    table->cuMemUnmap = f_unmap;
    table->cuMemSetAccess = f_set_access;
    table->cuMemGetAccess = f_get_access;
    table->cuMemGetAllocationGranularity = f_granularity;
}
