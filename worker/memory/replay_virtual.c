/* SPDX-License-Identifier: MIT */
/* Physical memory: made, mapped, made accessible. Address ranges by themselves cost nothing and are
 * the driver's business alone. */
#include <stdlib.h>
#include <string.h>

#include "worker/memory/clear.h"
#include "worker/memory/pool.h"
#include "worker/memory/virtual.h"
#include "worker/worker.h"

static CUmemAllocationProp properties(uint32_t compression, uint32_t usage)
{
    return (CUmemAllocationProp){.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                 .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
                                 .allocFlags = {.compressionType = (unsigned char)compression,
                                                .usage = (unsigned short)usage}};
}

CUresult
vgpu_replay_cuMemGetAllocationGranularity(struct vgpu_worker *worker,
                                          struct vgpu_call_cuMemGetAllocationGranularity *call)
{
    const CUmemAllocationProp wanted = properties(call->compression, call->usage);
    size_t bytes = 0;
    CUresult error = worker->driver->cuMemGetAllocationGranularity(
        &bytes, &wanted, (CUmemAllocationGranularity_flags)call->option);
    call->bytes = bytes;
    return error;
}

static CUresult make(struct vgpu_worker *worker, const CUmemAllocationProp *wanted,
                     struct vgpu_physical *physical)
{
    const struct vgpu_driver *driver = worker->driver;
    CUresult error = driver->cuMemCreate(&physical->object, physical->bytes, wanted, 0);
    if (error)
        return error;
    error = vgpu_clear_physical(worker, physical->object, physical->bytes);
    if (error)
        driver->cuMemRelease(physical->object);
    return error;
}

CUresult vgpu_replay_cuMemCreate(struct vgpu_worker *worker, struct vgpu_call_cuMemCreate *call)
{
    const CUmemAllocationProp wanted = properties(call->compression, call->usage);
    if (call->bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_physical *physical = calloc(1, sizeof(*physical));
    if (physical == NULL || !vgpu_pools_charge(worker, call->bytes)) {
        free(physical);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    physical->bytes = call->bytes;
    CUresult error = make(worker, &wanted, physical);
    if (error) {
        vgpu_ledger_return(&worker->ledger, call->bytes);
        free(physical);
        return error;
    }
    call->physical = physical;
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_cuMemRelease(struct vgpu_worker *worker, struct vgpu_call_cuMemRelease *call)
{
    struct vgpu_physical *physical = call->physical;
    if (physical->mappings) {
        call->physical = NULL; /* the id stays */
        return vgpu_worker_blame(worker, "memory is released while it is mapped");
    }
    CUresult error = worker->driver->cuMemRelease(physical->object);
    if (error) {
        call->physical = NULL;
        return error;
    }
    vgpu_ledger_return(&worker->ledger, physical->bytes);
    free(physical);
    return CUDA_SUCCESS;
}

/* Number of the first mapping at `address` or above. */
static size_t first_from(const struct vgpu_virtual *mappings, CUdeviceptr address)
{
    size_t low = 0, high = mappings->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mappings->table[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool make_room(struct vgpu_virtual *mappings)
{
    if (mappings->count < mappings->room)
        return true;
    size_t room = mappings->room ? mappings->room * 2 : 64;
    struct vgpu_virtual_mapping *grown = reallocarray(mappings->table, room, sizeof(*grown));
    if (grown == NULL)
        return false;
    mappings->table = grown;
    mappings->room = room;
    return true;
}

CUresult vgpu_replay_cuMemMap(struct vgpu_worker *worker, struct vgpu_call_cuMemMap *call)
{
    struct vgpu_virtual *mappings = &worker->virtual;
    struct vgpu_physical *physical = call->physical;
    if (!make_room(mappings))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = worker->driver->cuMemMap(call->address, call->bytes, call->offset,
                                              physical->object, call->flags);
    if (error)
        return error;
    size_t place = first_from(mappings, call->address);
    memmove(&mappings->table[place + 1], &mappings->table[place],
            (mappings->count - place) * sizeof(mappings->table[0]));
    mappings->table[place] = (struct vgpu_virtual_mapping){call->address, call->bytes, physical};
    mappings->count++;
    physical->mappings++;
    return CUDA_SUCCESS;
}

/* How many mappings, from number `first` on, are exactly the range; 0 if none are. */
static size_t count_mappings(const struct vgpu_virtual *mappings, size_t first, CUdeviceptr address,
                             uint64_t bytes)
{
    size_t count = 0;
    while (bytes) {
        if (first + count == mappings->count)
            return 0;
        const struct vgpu_virtual_mapping *mapping = &mappings->table[first + count++];
        if (mapping->address != address || mapping->bytes > bytes)
            return 0;
        address += mapping->bytes;
        bytes -= mapping->bytes;
    }
    return count;
}

CUresult vgpu_replay_cuMemUnmap(struct vgpu_worker *worker, struct vgpu_call_cuMemUnmap *call)
{
    struct vgpu_virtual *mappings = &worker->virtual;
    size_t first = first_from(mappings, call->address);
    size_t count = count_mappings(mappings, first, call->address, call->bytes);
    if (count == 0)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult error = worker->driver->cuMemUnmap(call->address, call->bytes);
    if (error)
        return error;
    for (size_t i = first; i < first + count; i++)
        mappings->table[i].physical->mappings--;
    mappings->count -= count;
    memmove(&mappings->table[first], &mappings->table[first + count],
            (mappings->count - first) * sizeof(mappings->table[0]));
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_cuMemSetAccess(struct vgpu_worker *worker,
                                    struct vgpu_call_cuMemSetAccess *call)
{
    const CUmemAccessDesc access = {.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE},
                                    .flags = (CUmemAccess_flags)call->flags};
    return worker->driver->cuMemSetAccess(call->address, call->bytes, &access, 1);
}

CUresult vgpu_replay_cuMemGetAccess(struct vgpu_worker *worker,
                                    struct vgpu_call_cuMemGetAccess *call)
{
    const CUmemLocation device = {.type = CU_MEM_LOCATION_TYPE_DEVICE};
    unsigned long long flags = 0;
    CUresult error = worker->driver->cuMemGetAccess(&flags, &device, call->address);
    call->flags = flags;
    return error;
}

void vgpu_virtual_destroy(struct vgpu_worker *worker)
{
    struct vgpu_handles *handles = &worker->handles;
    for (uint32_t id = VGPU_HANDLE_FIRST; id < handles->end; id++) {
        if (handles->table[id].kind == VGPU_KIND_PHYSICAL)
            free(handles->table[id].object);
    }
    free(worker->virtual.table);
    worker->virtual = (struct vgpu_virtual){0};
}
