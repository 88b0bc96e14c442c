/* SPDX-License-Identifier: MIT */
#include "worker/memory/reserve.h"

#include <string.h>

#include "worker/worker.h"

static void take_out(struct vgpu_reserve *reserve, uint32_t place)
{
    reserve->bytes -= reserve->blocks[place].bytes;
    reserve->count--;
    memmove(&reserve->blocks[place], &reserve->blocks[place + 1],
            (reserve->count - place) * sizeof(*reserve->blocks));
}

static void free_oldest(struct vgpu_worker *worker)
{
    struct vgpu_reserve *reserve = &worker->reserve;
    CUdeviceptr address = reserve->blocks[0].address;
    take_out(reserve, 0);
    /* The ledger's first: nobody else can have got the address before the driver has it back. */
    vgpu_ledger_remove(&worker->ledger, address);
    worker->driver->cuMemFree(address);
}

bool vgpu_reserve_holds(const struct vgpu_reserve *reserve, CUdeviceptr address)
{
    for (uint32_t i = 0; i < reserve->count; i++) {
        if (address - reserve->blocks[i].address < reserve->blocks[i].bytes)
            return true;
    }
    return false;
}

CUresult vgpu_reserve_free(struct vgpu_worker *worker, CUdeviceptr address)
{
    struct vgpu_reserve *reserve = &worker->reserve;
    const struct vgpu_allocation *known = vgpu_ledger_find(&worker->ledger, address);
    if (known == NULL || vgpu_reserve_holds(reserve, address))
        return CUDA_ERROR_INVALID_VALUE;
    /* In a capture the guest has not waited for the work that may use it; the driver does. */
    if (known->bytes > VGPU_RESERVE_BYTES || worker->captures) {
        CUresult error = worker->driver->cuMemFree(address);
        if (error == CUDA_SUCCESS)
            vgpu_ledger_remove(&worker->ledger, address);
        return error;
    }
    const struct vgpu_reserve_block block = {address, known->bytes, known->context};
    while (reserve->count == VGPU_RESERVE_BLOCKS ||
           reserve->bytes + block.bytes > VGPU_RESERVE_BYTES)
        free_oldest(worker);
    reserve->blocks[reserve->count++] = block;
    reserve->bytes += block.bytes;
    return CUDA_SUCCESS;
}

CUdeviceptr vgpu_reserve_take(struct vgpu_worker *worker, uint64_t bytes)
{
    struct vgpu_reserve *reserve = &worker->reserve;
    for (uint32_t i = reserve->count; i-- > 0;) { /* the newest is in the caches */
        const struct vgpu_reserve_block block = reserve->blocks[i];
        if (block.bytes == bytes && block.context == worker->current) {
            take_out(reserve, i);
            return block.address;
        }
    }
    return 0;
}

void vgpu_reserve_empty(struct vgpu_worker *worker)
{
    while (worker->reserve.count)
        free_oldest(worker);
}

void vgpu_reserve_forget(struct vgpu_reserve *reserve, const struct vgpu_context *context)
{
    for (uint32_t i = reserve->count; i-- > 0;) {
        if (reserve->blocks[i].context == context)
            take_out(reserve, i);
    }
}
