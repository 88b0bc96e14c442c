/* SPDX-License-Identifier: MIT */
#include "worker/memory/mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "worker/context.h"
#include "worker/worker.h"

/* ---- the table ---- */

/* Number of the first mapping that starts above `address`. */
static uint32_t first_above(const struct vgpu_mappings *mappings, uint64_t address)
{
    uint32_t low = 0, high = mappings->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((uint64_t)(uintptr_t)mappings->table[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool make_room(struct vgpu_mappings *mappings)
{
    if (mappings->count < mappings->room)
        return true;
    uint32_t room = mappings->room ? mappings->room * 2 : 16;
    struct vgpu_mapping *grown = reallocarray(mappings->table, room, sizeof(*grown));
    if (grown == NULL)
        return false;
    mappings->table = grown;
    mappings->room = room;
    return true;
}

static void insert(struct vgpu_mappings *mappings, const struct vgpu_mapping *mapping)
{
    uint32_t at = first_above(mappings, (uintptr_t)mapping->address);
    memmove(&mappings->table[at + 1], &mappings->table[at],
            (mappings->count - at) * sizeof(*mapping));
    mappings->table[at] = *mapping;
    mappings->count++;
}

bool vgpu_mappings_hold(const struct vgpu_worker *worker, uint64_t address, uint64_t bytes)
{
    const struct vgpu_mappings *mappings = &worker->mappings;
    uint32_t above = first_above(mappings, address);
    if (above == 0)
        return false;
    const struct vgpu_mapping *mapping = &mappings->table[above - 1];
    uint64_t inside = address - (uintptr_t)mapping->address;
    return inside <= mapping->bytes && bytes <= mapping->bytes - inside;
}

/* ---- the driver's side ---- */

static CUresult enlist(struct vgpu_worker *worker, struct vgpu_mapping *mapping,
                       struct vgpu_context *context)
{
    const struct vgpu_driver *driver = worker->driver;
    CUdeviceptr seen = 0;
    if (!driver->cuMemHostRegister || !driver->cuMemHostUnregister ||
        !driver->cuMemHostGetDevicePointer)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult error =
        driver->cuMemHostRegister(mapping->address, mapping->bytes,
                                  CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
    if (error)
        return error;
    error = driver->cuMemHostGetDevicePointer(&seen, mapping->address, 0);
    if (error == CUDA_SUCCESS && seen != (uintptr_t)mapping->address)
        error = CUDA_ERROR_NOT_SUPPORTED; /* the guest could not name it */
    if (error)
        driver->cuMemHostUnregister(mapping->address);
    else
        mapping->owner = context;
    return error;
}

void vgpu_mappings_attach(struct vgpu_worker *worker, struct vgpu_context *context)
{
    for (uint32_t i = 0; i < worker->mappings.count; i++) {
        if (worker->mappings.table[i].owner == NULL)
            enlist(worker, &worker->mappings.table[i], context);
    }
}

void vgpu_mappings_detach(struct vgpu_worker *worker, const struct vgpu_context *context)
{
    for (uint32_t i = 0; i < worker->mappings.count; i++) {
        struct vgpu_mapping *mapping = &worker->mappings.table[i];
        if (mapping->owner == context) {
            worker->driver->cuMemHostUnregister(mapping->address);
            mapping->owner = NULL;
        }
    }
}

/* Whoever still uses the memory has to be done before it goes. */
static void delist(struct vgpu_worker *worker, struct vgpu_mapping *mapping)
{
    const struct vgpu_driver *driver = worker->driver;
    if (mapping->owner == NULL)
        return;
    vgpu_usage_cover(worker);
    for (struct vgpu_context *context = worker->contexts; context; context = context->next) {
        if (driver->cuCtxSetCurrent(context->object) == CUDA_SUCCESS)
            driver->cuCtxSynchronize();
    }
    driver->cuCtxSetCurrent(mapping->owner->object);
    driver->cuMemHostUnregister(mapping->address);
    mapping->owner = NULL;
    worker->current = NULL;
    worker->current_id = 0;
}

/* ---- the window's side ---- */

static CUresult map(const struct vgpu_worker *worker, const struct vgpu_worker_extent *extent,
                    uint64_t wanted, uint8_t **address)
{
    void *hint = (void *)(uintptr_t)wanted;
    void *memory = mmap(hint, extent->bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | (wanted ? MAP_FIXED_NOREPLACE : 0), worker->window,
                        (off_t)extent->offset);
    if (memory == MAP_FAILED)
        return errno == ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_ALREADY_MAPPED;
    if (wanted && memory != hint) { /* a kernel that takes the address for a hint */
        munmap(memory, extent->bytes);
        return CUDA_ERROR_ALREADY_MAPPED;
    }
    *address = memory;
    return CUDA_SUCCESS;
}

static CUresult map_and_enlist(struct vgpu_worker *worker, const struct vgpu_worker_extent *extent,
                               uint32_t number, uint64_t wanted, uint64_t *address)
{
    struct vgpu_mapping mapping = {.bytes = extent->bytes, .extent = number};
    if (!make_room(&worker->mappings))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = map(worker, extent, wanted, &mapping.address);
    if (error)
        return error;
    error = enlist(worker, &mapping, worker->current);
    if (error) {
        munmap(mapping.address, mapping.bytes);
        return error;
    }
    insert(&worker->mappings, &mapping);
    *address = (uintptr_t)mapping.address;
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuHostMap(struct vgpu_worker *worker, struct vgpu_call_vgpuHostMap *call)
{
    uint32_t open = VGPU_EXTENT_OPEN;
    if (call->extent >= VGPU_CHANNEL_EXTENTS_MAX || worker->window < 0)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_worker_extent *shown = &worker->page->extents[call->extent];
    /* acquire: pairs with the mediator's release; from here on the mediator keeps the extent */
    if (!__atomic_compare_exchange_n(&shown->state, &open, VGPU_EXTENT_MAPPED, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult error = map_and_enlist(worker, shown, call->extent, call->wanted, &call->address);
    if (error) /* release: nothing of it is mapped when the mediator sees this */
        __atomic_store_n(&shown->state, VGPU_EXTENT_OPEN, __ATOMIC_RELEASE);
    return error;
}

/* Addresses that a graph may have in it must never be those of memory of our own. */
static void give_up(const struct vgpu_mappings *mappings, const struct vgpu_mapping *mapping)
{
    if (!mappings->in_graphs ||
        mmap(mapping->address, mapping->bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        munmap(mapping->address, mapping->bytes);
}

CUresult vgpu_replay_vgpuHostUnmap(struct vgpu_worker *worker, struct vgpu_call_vgpuHostUnmap *call)
{
    struct vgpu_mappings *mappings = &worker->mappings;
    uint32_t i = 0;
    while (i < mappings->count && mappings->table[i].extent != call->extent)
        i++;
    if (i == mappings->count)
        return CUDA_ERROR_INVALID_VALUE;
    delist(worker, &mappings->table[i]);
    give_up(mappings, &mappings->table[i]);
    mappings->count--;
    memmove(&mappings->table[i], &mappings->table[i + 1],
            (mappings->count - i) * sizeof(mappings->table[0]));
    /* release: nothing of it is mapped when the mediator sees this */
    __atomic_store_n(&worker->page->extents[call->extent].state, VGPU_EXTENT_OPEN,
                     __ATOMIC_RELEASE);
    return CUDA_SUCCESS;
}

void vgpu_mappings_destroy(struct vgpu_worker *worker)
{
    for (uint32_t i = 0; i < worker->mappings.count; i++)
        munmap(worker->mappings.table[i].address, worker->mappings.table[i].bytes);
    free(worker->mappings.table);
    worker->mappings = (struct vgpu_mappings){0};
}
