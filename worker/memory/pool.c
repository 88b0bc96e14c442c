/* SPDX-License-Identifier: MIT */
#include "worker/memory/pool.h"

#include <stdlib.h>
#include <time.h>

#include "worker/context.h"
#include "worker/memory/clear.h"
#include "worker/worker.h"

/* A driver that has no room for so much may have some once we have given back what we keep. */
#define LARGE_BYTES ((uint64_t)1 << 20)

static uint64_t ask(const struct vgpu_worker *worker, const struct vgpu_pool *pool,
                    CUmemPool_attribute attribute)
{
    cuuint64_t value = 0;
    if (worker->driver->cuMemPoolGetAttribute(pool->object, attribute, &value) != CUDA_SUCCESS)
        return 0;
    return value;
}

/* Makes the charge what the pool has reserved. False: that is more than the VM may have. */
static bool settle(struct vgpu_worker *worker, struct vgpu_pool *pool)
{
    uint64_t reserved = ask(worker, pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
    if (reserved < pool->charged)
        vgpu_ledger_return(&worker->ledger, pool->charged - reserved);
    else if (reserved > pool->charged &&
             !vgpu_ledger_charge(&worker->ledger, reserved - pool->charged))
        return false;
    pool->charged = reserved;
    return true;
}

CUresult vgpu_pool_take(struct vgpu_worker *worker, CUmemoryPool object, bool device,
                        struct vgpu_pool **pool)
{
    cuuint64_t all = UINT64_MAX;
    struct vgpu_pool *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    made->object = object;
    made->device = device;
    made->next = worker->pools.first;
    worker->pools.first = made;
    worker->driver->cuMemPoolSetAttribute(object, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &all);
    settle(worker, made);
    *pool = made;
    return CUDA_SUCCESS;
}

CUresult vgpu_pool_trim(struct vgpu_worker *worker, struct vgpu_pool *pool, uint64_t keep)
{
    CUresult error = worker->driver->cuMemPoolTrimTo(pool->object, keep);
    uint64_t before = pool->charged;
    settle(worker, pool);
    /* Addresses whose memory was given back can get another's. */
    if (pool->charged != before)
        vgpu_spans_clear(&pool->clean);
    return error;
}

static void end(struct vgpu_worker *worker, struct vgpu_pool *pool)
{
    struct vgpu_pool **link = &worker->pools.first;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    worker->driver->cuMemPoolDestroy(pool->object);
    vgpu_ledger_return(&worker->ledger, pool->charged);
    vgpu_spans_clear(&pool->clean);
    free(pool);
}

void vgpu_pool_leave(struct vgpu_worker *worker, struct vgpu_pool *pool)
{
    pool->leaving = true;
    pool->threshold = 0;
    worker->pools.untidy = true;
    /* Else in a quiet moment: nobody waits for work that uses its memory. */
    if (vgpu_contexts_are_done(worker))
        vgpu_pools_tidy(worker);
}

void vgpu_pools_tidy(struct vgpu_worker *worker)
{
    struct vgpu_pool *next;
    if (!worker->pools.untidy)
        return;
    worker->pools.untidy = false;
    if (worker->pools.graphs) {
        worker->driver->cuDeviceGraphMemTrim(0);
        vgpu_ledger_return(&worker->ledger, worker->pools.graphs);
        worker->pools.graphs = 0;
    }
    for (struct vgpu_pool *pool = worker->pools.first; pool; pool = next) {
        next = pool->next;
        if (pool->leaving && ask(worker, pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0)
            end(worker, pool);
        else if (pool->charged > pool->threshold)
            vgpu_pool_trim(worker, pool, pool->threshold);
    }
}

/* Whether other processes of the VM have memory, of which some may be on its way back. */
static bool others_have_some(const struct vgpu_worker *worker)
{
    return vgpu_ledger_used(&worker->ledger) >
           __atomic_load_n(worker->ledger.charged, __ATOMIC_RELAXED);
}

bool vgpu_pools_charge(struct vgpu_worker *worker, uint64_t bytes)
{
    /* Not while there is work, for which the driver would wait. */
    if (bytes >= LARGE_BYTES && worker->reserve.count && vgpu_contexts_are_done(worker))
        vgpu_reserve_empty(worker);
    if (vgpu_ledger_charge(&worker->ledger, bytes))
        return true;
    vgpu_reserve_empty(worker);
    vgpu_pools_tidy(worker);
    if (vgpu_ledger_charge(&worker->ledger, bytes))
        return true;
    if (bytes > vgpu_ledger_quota(&worker->ledger) || !others_have_some(worker))
        return false;
    const struct timespec time = {.tv_nsec = 2 * VGPU_RESERVE_NANOSECONDS};
    nanosleep(&time, NULL);
    return vgpu_ledger_charge(&worker->ledger, bytes);
}

/* Charges what an allocation makes the pool grow by at least. */
static bool charge_growth(struct vgpu_worker *worker, struct vgpu_pool *pool, uint64_t bytes)
{
    uint64_t used = ask(worker, pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT), wanted;
    if (!settle(worker, pool) || __builtin_add_overflow(used, bytes, &wanted))
        return false;
    if (wanted <= pool->charged)
        return true;
    uint64_t growth = wanted - pool->charged;
    if (!vgpu_pools_charge(worker, growth))
        return false;
    pool->charged += growth;
    return true;
}

/**
 * Memory that comes to the process may be another VM's that was freed: it is cleared in the stream,
 * before anything that the guest does with it. What this pool hands out again is left as it is.
 */
static CUresult clear(struct vgpu_worker *worker, struct vgpu_pool *pool, CUdeviceptr address,
                      uint64_t bytes, CUstream stream)
{
    if (worker->driver->is_software || vgpu_spans_hold(&pool->clean, address, address + bytes))
        return CUDA_SUCCESS;
    CUresult error = vgpu_clear_in(worker, address, bytes, stream);
    if (error == CUDA_SUCCESS)
        vgpu_spans_add(&pool->clean, address, address + bytes); /* else it is cleared again */
    return error;
}

static CUresult allocate_now(struct vgpu_worker *worker, struct vgpu_pool *pool, uint64_t bytes,
                             CUstream stream, CUdeviceptr *address)
{
    const struct vgpu_driver *driver = worker->driver;
    if (!charge_growth(worker, pool, bytes)) {
        settle(worker, pool);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    CUresult error = driver->cuMemAllocFromPoolAsync(address, bytes, pool->object, stream);
    bool affordable = settle(worker, pool);
    if (error)
        return error;
    error = affordable ? clear(worker, pool, *address, bytes, stream) : CUDA_ERROR_OUT_OF_MEMORY;
    if (error) {
        driver->cuMemFreeAsync(*address, stream);
        driver->cuStreamSynchronize(stream); /* so that the driver knows that it is free */
        vgpu_pool_trim(worker, pool, 0);
    }
    return error;
}

CUresult vgpu_pool_allocate(struct vgpu_worker *worker, struct vgpu_pool *pool, uint64_t bytes,
                            CUstream stream, CUdeviceptr *address)
{
    CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult error = worker->driver->cuStreamIsCapturing(stream, &capturing);
    if (error)
        return error;
    if (capturing == CU_STREAM_CAPTURE_STATUS_NONE)
        return allocate_now(worker, pool, bytes, stream, address);
    /* It becomes a node, and the memory is the graph's. */
    return worker->driver->cuMemAllocFromPoolAsync(address, bytes, pool->object, stream);
}

void vgpu_pools_destroy(struct vgpu_pools *pools)
{
    while (pools->first) {
        struct vgpu_pool *pool = pools->first;
        pools->first = pool->next;
        vgpu_spans_clear(&pool->clean);
        free(pool);
    }
}
