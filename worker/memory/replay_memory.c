/* SPDX-License-Identifier: MIT */
/* Device memory: charged to the VM's account before it is allocated, cleared before it is used. */
#include "worker/context.h"
#include "worker/memory/clear.h"
#include "worker/memory/pool.h"
#include "worker/worker.h"

/* Takes memory whose `bytes` are charged into the table; on failure all is undone. */
static CUresult keep(struct vgpu_worker *worker, CUdeviceptr address, uint64_t bytes)
{
    CUresult error = vgpu_clear(worker, address, bytes);
    if (error == CUDA_SUCCESS &&
        vgpu_ledger_add(&worker->ledger, address, bytes, worker->current) < 0)
        error = CUDA_ERROR_OUT_OF_MEMORY;
    if (error) {
        worker->driver->cuMemFree(address);
        vgpu_ledger_return(&worker->ledger, bytes);
    }
    return error;
}

CUresult vgpu_replay_cuMemAlloc(struct vgpu_worker *worker, struct vgpu_call_cuMemAlloc *call)
{
    CUdeviceptr address = 0;
    if (call->bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    call->address = vgpu_reserve_take(worker, call->bytes);
    if (call->address)
        return CUDA_SUCCESS;
    if (!vgpu_pools_charge(worker, call->bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = worker->driver->cuMemAlloc(&address, call->bytes);
    if (error == CUDA_ERROR_OUT_OF_MEMORY && worker->reserve.count) {
        vgpu_reserve_empty(worker);
        error = worker->driver->cuMemAlloc(&address, call->bytes);
    }
    if (error) {
        vgpu_ledger_return(&worker->ledger, call->bytes);
        return error;
    }
    error = keep(worker, address, call->bytes);
    if (error == CUDA_SUCCESS)
        call->address = address;
    return error;
}

CUresult vgpu_replay_cuMemAllocPitch(struct vgpu_worker *worker,
                                     struct vgpu_call_cuMemAllocPitch *call)
{
    struct vgpu_ledger *ledger = &worker->ledger;
    uint64_t least, bytes;
    CUdeviceptr address = 0;
    size_t pitch = 0;

    if (call->width == 0 || call->height == 0 ||
        __builtin_mul_overflow(call->width, call->height, &least))
        return CUDA_ERROR_INVALID_VALUE;
    /* Only the driver knows the pitch: what can be known is charged first, the rest after. */
    if (!vgpu_pools_charge(worker, least))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error =
        worker->driver->cuMemAllocPitch(&address, &pitch, call->width, call->height, call->element);
    if (error) {
        vgpu_ledger_return(ledger, least);
        return error;
    }
    if (__builtin_mul_overflow(pitch, call->height, &bytes) || bytes < least ||
        !vgpu_pools_charge(worker, bytes - least)) {
        worker->driver->cuMemFree(address);
        vgpu_ledger_return(ledger, least);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    error = keep(worker, address, bytes);
    if (error == CUDA_SUCCESS) {
        call->address = address;
        call->pitch = pitch;
    }
    return error;
}

static CUresult free_memory(struct vgpu_worker *worker, CUdeviceptr address)
{
    if (address == 0)
        return CUDA_SUCCESS;
    if (vgpu_ledger_find(&worker->ledger, address))
        return vgpu_reserve_free(worker, address);
    worker->pools.untidy = true; /* it came from a pool */
    return worker->driver->cuMemFree(address);
}

CUresult vgpu_replay_cuMemFree(struct vgpu_worker *worker, struct vgpu_call_cuMemFree *call)
{
    return free_memory(worker, call->address);
}

CUresult vgpu_replay_vgpuMemFreeUnknown(struct vgpu_worker *worker,
                                        struct vgpu_call_vgpuMemFreeUnknown *call)
{
    return free_memory(worker, call->address);
}

/* The driver is about to judge an address that the guest does not know. */
CUresult vgpu_replay_vgpuReserveCheck(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuReserveCheck *call)
{
    if (vgpu_reserve_holds(&worker->reserve, call->address))
        vgpu_reserve_empty(worker);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_cuMemGetInfo(struct vgpu_worker *worker, struct vgpu_call_cuMemGetInfo *call)
{
    size_t device_free = 0, device_total = 0;
    if (vgpu_contexts_are_done(worker)) { /* else the driver would wait for it */
        vgpu_reserve_empty(worker);
        vgpu_pools_tidy(worker); /* as a synchronisation would have done */
    }
    CUresult error = worker->driver->cuMemGetInfo(&device_free, &device_total);
    if (error)
        return error;
    uint64_t kept = worker->reserve.bytes; /* in the account, but as good as free */
    uint64_t quota = vgpu_ledger_quota(&worker->ledger);
    uint64_t used = vgpu_ledger_used(&worker->ledger) - kept;
    device_free += kept;
    uint64_t left = quota > used ? quota - used : 0;
    call->total = quota < device_total ? quota : device_total;
    call->free = left < device_free ? left : device_free;
    return CUDA_SUCCESS;
}
