/* SPDX-License-Identifier: MIT */
#include "worker/worker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "worker/context.h"
#include "worker/log.h"

int vgpu_worker_create(struct vgpu_worker *worker, const struct vgpu_driver *driver,
                       struct vgpu_worker_page *page, struct vgpu_ledger_page *ledger)
{
    *worker = (struct vgpu_worker){.driver = driver,
                                   .page = page,
                                   .socket = -1,
                                   .doorbell = -1,
                                   .interrupt = -1,
                                   .window = -1};
    vgpu_ledger_init(&worker->ledger, ledger, &page->memory_charged);
    vgpu_console_init(&worker->console);
    worker->images = (struct vgpu_image_cache){.folder = -1, .counters = &page->images};
    int error = vgpu_upcalls_create(&worker->upcalls);
    return error ? error : vgpu_handles_create(&worker->handles);
}

void vgpu_worker_destroy(struct vgpu_worker *worker)
{
    vgpu_upcalls_end(&worker->upcalls);
    vgpu_context_destroy_all(worker);
    vgpu_mappings_destroy(worker);
    vgpu_fences_destroy(&worker->fences);
    vgpu_pools_destroy(&worker->pools);
    vgpu_virtual_destroy(worker);
    vgpu_ledger_destroy(&worker->ledger);
    vgpu_image_buffer_clear(&worker->image);
    vgpu_jit_outbox_clear(&worker->outbox);
    vgpu_console_close(&worker->console);
    vgpu_graph_names_destroy(&worker->graph_names);
    vgpu_handles_destroy(&worker->handles);
    vgpu_upcalls_destroy(&worker->upcalls);
}

void vgpu_worker_wake(struct vgpu_worker *worker)
{
    /* The guest stores guest_sleeps and then reads what it waits for; we wrote that and read
     * guest_sleeps now. The fences on both sides let one of the two see the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&vgpu_worker_channel(worker)->guest_sleeps, __ATOMIC_RELAXED) == 0)
        return;
    uint64_t one = 1;
    if (write(worker->interrupt, &one, sizeof(one)) < 0 && errno != EAGAIN)
        vgpu_log("cannot raise the interrupt: %s", strerror(errno));
}

void vgpu_worker_defer(struct vgpu_worker *worker, CUresult error)
{
    struct vgpu_channel_header *header = vgpu_worker_channel(worker);
    /* Only the worker stores errors, so one that is not there now is not there below either. */
    if (__atomic_load_n(&header->deferred_error, __ATOMIC_ACQUIRE) == 0) {
        __atomic_store_n(&header->deferred_sequence, worker->sequence, __ATOMIC_RELAXED);
        /* pairs with the guest's exchange: the sequence is there when the error is */
        __atomic_store_n(&header->deferred_error, (uint32_t)error, __ATOMIC_RELEASE);
    }
    vgpu_worker_wake(worker);
}

CUresult vgpu_worker_blame(struct vgpu_worker *worker, const char *what)
{
    worker->garbage = what;
    return CUDA_ERROR_INVALID_VALUE;
}

void *vgpu_worker_staging(struct vgpu_worker *worker, uint32_t offset, uint64_t bytes)
{
    uint64_t area = VGPU_STAGING_CHUNKS * VGPU_STAGING_CHUNK_BYTES, end;
    if (bytes > VGPU_STAGING_CHUNK_BYTES || __builtin_add_overflow(offset, bytes, &end) ||
        end > area) {
        vgpu_worker_blame(worker, "data outside the staging area");
        return NULL;
    }
    return worker->extent + VGPU_CHANNEL_STAGING_OFFSET + offset;
}
