/* SPDX-License-Identifier: MIT */
#include "soft/driver/memory/allocation.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "interop/advice.h"
#include "soft/driver/graph/capture.h"
#include "soft/driver/memory/memory_pool.h"
#include "soft/driver/memory/virtual.h"
#include "soft/driver/stream/stream.h"

/* All allocations of the process, by address: ranges never overlap. */
static struct {
    pthread_rwlock_t lock;
    struct vgpu_allocation *list;
    size_t count;
    size_t room;
} all = {.lock = PTHREAD_RWLOCK_INITIALIZER};

/* The number of allocations that begin at or below `address`. Lock held. */
static size_t count_up_to(uint64_t address)
{
    size_t low = 0, high = all.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all.list[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static CUresult insert(const struct vgpu_allocation *allocation)
{
    uint64_t last = allocation->address + allocation->size - 1;
    CUresult result = CUDA_SUCCESS;
    size_t at;

    pthread_rwlock_wrlock(&all.lock);
    at = count_up_to(last);
    if (at > 0 && all.list[at - 1].address + all.list[at - 1].size > allocation->address) {
        result = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    } else if (all.count == all.room) {
        size_t room = all.room ? 2 * all.room : 64;
        struct vgpu_allocation *list = reallocarray(all.list, room, sizeof(*list));
        if (list) {
            all.list = list;
            all.room = room;
        } else {
            result = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    if (result == CUDA_SUCCESS) {
        memmove(&all.list[at + 1], &all.list[at], (all.count - at) * sizeof(*all.list));
        all.list[at] = *allocation;
        all.count++;
    }
    pthread_rwlock_unlock(&all.lock);
    return result;
}

static struct vgpu_allocation describe(struct vgpu_context *context, enum vgpu_allocation_kind kind,
                                       uint64_t address, size_t size, unsigned int flags)
{
    return (struct vgpu_allocation){
        .address = address,
        .size = size,
        .kind = kind,
        .managed = kind == VGPU_ALLOCATION_MANAGED,
        .flags = flags,
        .context = context,
        .device = context->device,
        .id = vgpu_driver_new_id(),
        .access = CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    };
}

static bool in_arena(enum vgpu_allocation_kind kind)
{
    return kind == VGPU_ALLOCATION_DEVICE || kind == VGPU_ALLOCATION_MANAGED ||
           kind == VGPU_ALLOCATION_POOL || kind == VGPU_ALLOCATION_GRAPH;
}

static void unmap_everywhere(uint64_t address, const struct vgpu_device *except)
{
    for (int i = 0; i < vgpu_driver()->device_count; i++) {
        struct vgpu_device *device = &vgpu_driver()->devices[i];
        if (device != except)
            vgpu_memory_unmap_host(device->memory, address);
    }
}

/* Every device reaches host memory, as with unified addressing, and managed memory, which is of the
 * arena of one of them: `except`. */
static CUresult map_everywhere(uint64_t address, size_t size, const struct vgpu_device *except)
{
    for (int i = 0; i < vgpu_driver()->device_count; i++) {
        struct vgpu_device *device = &vgpu_driver()->devices[i];
        if (device == except || vgpu_memory_map_host(device->memory, address, size) == 0)
            continue;
        while (i-- > 0) {
            if (&vgpu_driver()->devices[i] != except)
                vgpu_memory_unmap_host(vgpu_driver()->devices[i].memory, address);
        }
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    return CUDA_SUCCESS;
}

/* Gives `allocation` memory of its device's arena and makes it known. */
static CUresult insert_in_arena(struct vgpu_allocation *allocation)
{
    struct vgpu_device *device = allocation->device;
    size_t bytes = allocation->size;
    CUresult result;

    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    /* Advice is given to whole pages, which are then not shared. */
    if (allocation->managed && bytes < VGPU_ADVICE_PAGE)
        bytes = VGPU_ADVICE_PAGE;
    if (vgpu_memory_allocate(device->memory, bytes, &allocation->address) < 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    vgpu_device_note_range(device, allocation->address, bytes);
    result =
        allocation->managed ? map_everywhere(allocation->address, bytes, device) : CUDA_SUCCESS;
    if (result == CUDA_SUCCESS) {
        result = insert(allocation);
        if (result != CUDA_SUCCESS && allocation->managed)
            unmap_everywhere(allocation->address, device);
    }
    if (result != CUDA_SUCCESS)
        vgpu_memory_free(device->memory, allocation->address);
    return result;
}

CUresult vgpu_allocation_create(struct vgpu_context *context, enum vgpu_allocation_kind kind,
                                size_t size, unsigned int flags, uint64_t *address)
{
    struct vgpu_allocation allocation = describe(context, kind, 0, size, flags);
    CUresult result = insert_in_arena(&allocation);

    if (result == CUDA_SUCCESS)
        *address = allocation.address;
    return result;
}

CUresult vgpu_allocation_create_pooled(struct vgpu_memory_pool *pool, struct vgpu_device *device,
                                       bool managed, size_t size, uint64_t *address)
{
    struct vgpu_allocation allocation = {
        .size = size,
        .kind = VGPU_ALLOCATION_POOL,
        .managed = managed,
        .device = device,
        .id = vgpu_driver_new_id(),
        .pool = vgpu_object_share(pool),
        .access = CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    };
    CUresult result = insert_in_arena(&allocation);

    if (result == CUDA_SUCCESS)
        *address = allocation.address;
    else
        vgpu_object_put(pool);
    return result;
}

CUresult vgpu_allocation_add_variable(struct vgpu_context *context, uint64_t address, size_t size)
{
    struct vgpu_allocation allocation =
        describe(context, VGPU_ALLOCATION_VARIABLE, address, size, CU_MEM_ATTACH_GLOBAL);
    CUresult result = map_everywhere(address, size, context->device);

    if (result != CUDA_SUCCESS)
        return result;
    allocation.managed = true;
    vgpu_device_note_range(context->device, address, size);
    result = insert(&allocation);
    if (result != CUDA_SUCCESS)
        unmap_everywhere(address, context->device);
    return result;
}

CUresult vgpu_allocation_add_mapping(struct vgpu_device *device, uint64_t address, size_t size,
                                     struct vgpu_physical *physical)
{
    struct vgpu_allocation allocation = {
        .address = address,
        .size = size,
        .kind = VGPU_ALLOCATION_VIRTUAL,
        .device = device,
        .id = vgpu_driver_new_id(),
        .physical = physical,
        .access = CU_MEM_ACCESS_FLAGS_PROT_NONE,
    };

    return insert(&allocation);
}

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return size > SIZE_MAX - page ? 0 : (size + page - 1) / page * page;
}

CUresult vgpu_allocation_create_host(struct vgpu_context *context, size_t size, unsigned int flags,
                                     void **address)
{
    size_t bytes = whole_pages(size);
    CUresult result = CUDA_ERROR_OUT_OF_MEMORY;
    struct vgpu_allocation allocation;
    void *memory;

    if (size == 0)
        return CUDA_ERROR_INVALID_VALUE;
    memory = bytes ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                   : MAP_FAILED;
    if (memory == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    allocation = describe(context, VGPU_ALLOCATION_HOST, (uintptr_t)memory, size, flags);
    result = map_everywhere(allocation.address, size, NULL);
    if (result == CUDA_SUCCESS) {
        result = insert(&allocation);
        if (result == CUDA_SUCCESS) {
            *address = memory;
            return CUDA_SUCCESS;
        }
        unmap_everywhere(allocation.address, NULL);
    }
    munmap(memory, bytes);
    return result;
}

CUresult vgpu_allocation_register(struct vgpu_context *context, void *address, size_t size,
                                  unsigned int flags)
{
    struct vgpu_allocation allocation =
        describe(context, VGPU_ALLOCATION_REGISTERED, (uintptr_t)address, size, flags);
    uint64_t end;
    CUresult result;

    if (!address || size == 0 || __builtin_add_overflow(allocation.address, size, &end))
        return CUDA_ERROR_INVALID_VALUE;
    result = insert(&allocation);
    if (result != CUDA_SUCCESS)
        return result;
    if (map_everywhere(allocation.address, size, NULL) == CUDA_SUCCESS)
        return CUDA_SUCCESS;
    vgpu_allocation_free(allocation.address, 1u << VGPU_ALLOCATION_REGISTERED);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

/* Gives the memory back of what is no longer in the list. */
static void release(const struct vgpu_allocation *allocation)
{
    for (uint32_t left = allocation->reach; left; left &= left - 1)
        vgpu_memory_unmap_host(vgpu_driver()->devices[__builtin_ctz(left)].memory,
                               allocation->address);
    if (allocation->managed) {
        vgpu_advice_forget(allocation->address, allocation->size);
        unmap_everywhere(allocation->address, allocation->device);
    }
    if (in_arena(allocation->kind)) {
        vgpu_memory_free(allocation->device->memory, allocation->address);
        if (allocation->pool)
            vgpu_memory_pool_note_free(allocation->pool, allocation->size);
        vgpu_object_put(allocation->pool);
    } else if (allocation->kind == VGPU_ALLOCATION_VIRTUAL) {
        vgpu_mapping_release(allocation);
    } else if (allocation->kind != VGPU_ALLOCATION_VARIABLE) {
        unmap_everywhere(allocation->address, NULL);
        if (allocation->kind == VGPU_ALLOCATION_HOST)
            munmap((void *)(uintptr_t)allocation->address, whole_pages(allocation->size));
    }
}

/* Lock held. */
static struct vgpu_allocation remove_at(size_t index)
{
    struct vgpu_allocation removed = all.list[index];

    all.count--;
    memmove(&all.list[index], &all.list[index + 1], (all.count - index) * sizeof(*all.list));
    return removed;
}

CUresult vgpu_allocation_free(uint64_t address, unsigned int kinds)
{
    struct vgpu_allocation removed;
    bool found = false;
    size_t after;

    pthread_rwlock_wrlock(&all.lock);
    after = count_up_to(address);
    if (after > 0 && all.list[after - 1].address == address &&
        (kinds & 1u << all.list[after - 1].kind)) {
        removed = remove_at(after - 1);
        found = true;
    }
    pthread_rwlock_unlock(&all.lock);
    if (!found)
        return CUDA_ERROR_INVALID_VALUE;
    release(&removed);
    return CUDA_SUCCESS;
}

/* Waits for all work that may use an allocation. */
static void drain(const struct vgpu_allocation *allocation)
{
    if (!allocation->context) {
        vgpu_device_drain(allocation->device);
    } else if (in_arena(allocation->kind)) {
        vgpu_context_drain(allocation->context);
    } else { /* of the host: every context reaches it */
        for (int i = 0; i < vgpu_driver()->device_count; i++)
            vgpu_device_drain(&vgpu_driver()->devices[i]);
    }
}

CUresult vgpu_allocation_free_when_idle(uint64_t address, unsigned int kinds, CUresult not_found)
{
    struct vgpu_allocation found;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!vgpu_allocation_find(address, &found) || found.address != address ||
        !(kinds & 1u << found.kind) || found.freed)
        return not_found;
    result = vgpu_capture_check_unsafe();
    if (result != CUDA_SUCCESS)
        return result;
    /* A failed context keeps its memory until it is destroyed, and says why. */
    if (found.context)
        result = vgpu_context_usable(found.context);
    if (result != CUDA_SUCCESS)
        return result;
    drain(&found);
    return vgpu_allocation_free(address, kinds) == CUDA_SUCCESS ? CUDA_SUCCESS : not_found;
}

void vgpu_allocation_free_all(struct vgpu_context *context)
{
    for (;;) {
        struct vgpu_allocation removed = {.context = NULL};

        pthread_rwlock_wrlock(&all.lock);
        for (size_t i = all.count; i-- > 0 && !removed.context;) {
            if (all.list[i].context == context)
                removed = remove_at(i);
        }
        pthread_rwlock_unlock(&all.lock);
        if (!removed.context)
            return;
        release(&removed);
    }
}

static bool find_variable(uint64_t address, struct vgpu_allocation *found)
{
    for (int i = 0; i < vgpu_driver()->device_count; i++) {
        struct vgpu_device *device = &vgpu_driver()->devices[i];
        uint64_t base;
        size_t size;

        if (vgpu_memory_find(device->memory, address, &base, &size) == 0) {
            *found = (struct vgpu_allocation){
                .address = base,
                .size = size,
                .kind = VGPU_ALLOCATION_VARIABLE,
                .device = device,
                .access = CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
            };
            return true;
        }
    }
    return false;
}

bool vgpu_allocation_find(uint64_t address, struct vgpu_allocation *found)
{
    bool is = false;
    size_t after;

    pthread_rwlock_rdlock(&all.lock);
    after = count_up_to(address);
    if (after > 0 && address - all.list[after - 1].address < all.list[after - 1].size) {
        *found = all.list[after - 1];
        is = true;
    }
    pthread_rwlock_unlock(&all.lock);
    return is || find_variable(address, found);
}

bool vgpu_allocation_next(uint64_t address, struct vgpu_allocation *found)
{
    bool is;
    size_t at;

    pthread_rwlock_rdlock(&all.lock);
    at = address ? count_up_to(address - 1) : 0;
    is = at < all.count;
    if (is)
        *found = all.list[at];
    pthread_rwlock_unlock(&all.lock);
    return is;
}

/* The allocation that begins at `address`, or NULL. Lock held. */
static struct vgpu_allocation *beginning_at(uint64_t address)
{
    size_t after = count_up_to(address);

    return after > 0 && all.list[after - 1].address == address ? &all.list[after - 1] : NULL;
}

CUresult vgpu_allocation_set_freed(uint64_t address, unsigned int kinds, bool freed)
{
    struct vgpu_allocation *allocation;
    CUresult result = CUDA_ERROR_INVALID_VALUE;

    pthread_rwlock_wrlock(&all.lock);
    allocation = beginning_at(address);
    if (allocation && (kinds & 1u << allocation->kind) && allocation->freed != freed) {
        allocation->freed = freed;
        result = CUDA_SUCCESS;
    }
    pthread_rwlock_unlock(&all.lock);
    return result;
}

void vgpu_allocation_set_access(uint64_t address, CUmemAccess_flags access)
{
    struct vgpu_allocation *allocation;

    pthread_rwlock_wrlock(&all.lock);
    allocation = beginning_at(address);
    if (allocation)
        allocation->access = access;
    pthread_rwlock_unlock(&all.lock);
}

/* Lock held. */
static CUresult reach(struct vgpu_allocation *allocation, struct vgpu_device *device, bool reached)
{
    uint32_t bit = 1u << device->ordinal;

    /* Managed memory is every device's. */
    if (((allocation->reach & bit) != 0) == reached || allocation->managed)
        return CUDA_SUCCESS;
    if (!reached)
        vgpu_memory_unmap_host(device->memory, allocation->address);
    else if (vgpu_memory_map_host(device->memory, allocation->address, allocation->size) < 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    allocation->reach ^= bit;
    return CUDA_SUCCESS;
}

CUresult vgpu_allocation_reach(uint64_t address, struct vgpu_device *device, bool reached)
{
    struct vgpu_allocation *allocation;
    CUresult result = CUDA_ERROR_INVALID_VALUE;

    pthread_rwlock_wrlock(&all.lock);
    allocation = beginning_at(address);
    if (allocation)
        result = reach(allocation, device, reached);
    pthread_rwlock_unlock(&all.lock);
    return result;
}

void vgpu_allocation_set_sync_memops(uint64_t address, bool sync_memops)
{
    struct vgpu_allocation *allocation;

    pthread_rwlock_wrlock(&all.lock);
    allocation = beginning_at(address);
    if (allocation)
        allocation->sync_memops = sync_memops;
    pthread_rwlock_unlock(&all.lock);
}

/* Whether a device can have had any of these addresses: then they are not the program's own. */
static bool touches_arena(uint64_t address, size_t size)
{
    for (int i = 0; i < vgpu_driver()->device_count; i++) {
        struct vgpu_device *device = &vgpu_driver()->devices[i];
        if (address < atomic_load(&device->highest) &&
            address + size > atomic_load(&device->lowest))
            return true;
    }
    return false;
}

/* What is mapped side by side may be used as one; anything else is for itself. */
static CUresult check_mapped(struct vgpu_allocation found, uint64_t end)
{
    while (found.kind == VGPU_ALLOCATION_VIRTUAL && (found.access || found.reach)) {
        uint64_t next = found.address + found.size;

        if (end <= next)
            return CUDA_SUCCESS;
        if (!vgpu_allocation_find(next, &found))
            break;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult vgpu_allocation_check(uint64_t address, size_t size, enum vgpu_side side)
{
    struct vgpu_allocation found;
    uint64_t end;

    if (size == 0)
        return CUDA_SUCCESS;
    if (address == 0 || __builtin_add_overflow(address, size, &end))
        return CUDA_ERROR_INVALID_VALUE;
    if (vgpu_allocation_find(address, &found)) {
        if (found.kind == VGPU_ALLOCATION_VIRTUAL)
            return check_mapped(found, end);
        if (end <= found.address + found.size)
            return CUDA_SUCCESS;
        /* Host memory may go on where what was registered ends. */
        if (found.kind != VGPU_ALLOCATION_REGISTERED || side != VGPU_SIDE_HOST)
            return CUDA_ERROR_INVALID_VALUE;
    }
    return side == VGPU_SIDE_HOST && !touches_arena(address, size) && !vgpu_reserved(address, size)
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
}

bool vgpu_allocation_is_pageable(uint64_t address)
{
    struct vgpu_allocation found;

    return !vgpu_allocation_find(address, &found);
}
