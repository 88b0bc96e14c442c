/* SPDX-License-Identifier: MIT */
/* Contexts: made, entered and ended; and what a device says of itself. */
#include <stdlib.h>
#include <string.h>

#include "protocol/info.h"
#include "worker/code/linker.h"
#include "worker/context.h"
#include "worker/memory/extent.h"
#include "worker/worker.h"

static struct vgpu_context *find_context(const struct vgpu_worker *worker, CUcontext object)
{
    struct vgpu_context *context = worker->contexts;
    while (context && context->object != object)
        context = context->next;
    return context;
}

static CUresult make_current(struct vgpu_worker *worker, struct vgpu_context *context)
{
    if (worker->current == context)
        return CUDA_SUCCESS;
    CUresult error = worker->driver->cuCtxSetCurrent(context->object);
    worker->current = error ? NULL : context;
    worker->current_id = 0; /* which of its ids is meant is not known here */
    return error;
}

CUresult vgpu_worker_change_context(struct vgpu_worker *worker, uint32_t id)
{
    CUcontext object;
    CUresult error = vgpu_handles_find(worker, VGPU_KIND_CONTEXT, id, (void **)&object);
    if (error)
        return error;
    struct vgpu_context *context = find_context(worker, object);
    if (context == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    vgpu_usage_cover(worker);
    error = make_current(worker, context);
    if (error == CUDA_SUCCESS)
        worker->current_id = id;
    return error;
}

/* Takes a driver's context into our list, or counts one more id of one that is there. */
static CUresult take_context(struct vgpu_worker *worker, CUcontext object, CUdevice device,
                             bool primary)
{
    struct vgpu_context *context = find_context(worker, object);
    if (context == NULL) {
        context = calloc(1, sizeof(*context));
        if (context == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        context->object = object;
        context->device = device;
        context->primary = primary;
    }
    vgpu_usage_cover(worker);
    worker->current_id = 0;
    CUresult error = make_current(worker, context);
    if (error) {
        if (context->references == 0)
            free(context);
        return error;
    }
    if (context->references++ == 0) {
        vgpu_extent_attach(worker, context);
        context->next = worker->contexts;
        worker->contexts = context;
    }
    return CUDA_SUCCESS;
}

bool vgpu_contexts_are_done(struct vgpu_worker *worker)
{
    struct vgpu_context *before = worker->current;
    vgpu_usage_cover(worker);
    vgpu_fence_poll(worker, true);
    bool done = worker->fences.count == 0;
    for (struct vgpu_context *context = worker->contexts; context && done; context = context->next)
        done = make_current(worker, context) == CUDA_SUCCESS && vgpu_context_is_done(worker, true);
    if (before)
        make_current(worker, before);
    return done;
}

CUresult vgpu_context_borrow(struct vgpu_worker *worker, bool *borrowed)
{
    CUcontext object;
    *borrowed = false;
    if (worker->current)
        return CUDA_SUCCESS;
    if (worker->contexts)
        return make_current(worker, worker->contexts);
    CUresult error = worker->driver->cuDevicePrimaryCtxRetain(&object, 0);
    if (error)
        return error;
    *borrowed = true;
    return worker->driver->cuCtxSetCurrent(object);
}

void vgpu_context_give_back(struct vgpu_worker *worker)
{
    worker->driver->cuCtxSetCurrent(NULL);
    worker->driver->cuDevicePrimaryCtxRelease(0);
}

static void unlink_context(struct vgpu_worker *worker, struct vgpu_context *context)
{
    struct vgpu_context **link = &worker->contexts;
    while (*link != context)
        link = &(*link)->next;
    *link = context->next;
}

/* Ends what we have in a context, so that the driver may end the context itself. */
static void end_context(struct vgpu_worker *worker, struct vgpu_context *context)
{
    const struct vgpu_driver *driver = worker->driver;
    driver->cuCtxSetCurrent(context->object);
    worker->current = context;
    vgpu_usage_cover(worker);
    vgpu_fence_finish(worker, context);
    vgpu_usage_destroy(worker, context);
    vgpu_context_let_go(worker, context, true);
    vgpu_launch_chain_forget_context(worker, context);
    vgpu_linkers_end(worker, context);
    if (context->scrub)
        driver->cuStreamDestroy(context->scrub);
    if (context->gather)
        driver->cuStreamDestroy(context->gather);
    if (context->join)
        driver->cuEventDestroy(context->join);
    vgpu_extent_detach(worker, context);
    vgpu_handles_remove_context(worker, context);
    vgpu_reserve_forget(&worker->reserve, context);
    vgpu_ledger_remove_context(&worker->ledger, context);
    unlink_context(worker, context);
    driver->cuCtxSetCurrent(NULL);
    worker->current = NULL;
    worker->current_id = 0;
    free(context->streams);
    free(context->leaving);
    free(context);
}

void vgpu_context_destroy_all(struct vgpu_worker *worker)
{
    while (worker->contexts)
        end_context(worker, worker->contexts);
}

CUresult vgpu_replay_cuDevicePrimaryCtxRetain(struct vgpu_worker *worker,
                                              struct vgpu_call_cuDevicePrimaryCtxRetain *call)
{
    CUresult error = worker->driver->cuDevicePrimaryCtxRetain(&call->context, call->device);
    if (error)
        return error;
    error = take_context(worker, call->context, call->device, true);
    if (error)
        worker->driver->cuDevicePrimaryCtxRelease(call->device);
    return error;
}

CUresult vgpu_replay_cuDevicePrimaryCtxRelease(struct vgpu_worker *worker,
                                               struct vgpu_call_cuDevicePrimaryCtxRelease *call)
{
    struct vgpu_context *context = find_context(worker, call->context);
    if (context == NULL || !context->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    CUdevice device = context->device;
    if (--context->references == 0)
        end_context(worker, context);
    return worker->driver->cuDevicePrimaryCtxRelease(device);
}

/* All that was made in the context goes, whoever else has retained it: other ids of it are dead. */
CUresult vgpu_replay_cuDevicePrimaryCtxReset(struct vgpu_worker *worker,
                                             struct vgpu_call_cuDevicePrimaryCtxReset *call)
{
    struct vgpu_context *context = find_context(worker, call->context);
    if (context == NULL || !context->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    CUdevice device = context->device;
    uint32_t references = context->references;
    end_context(worker, context);
    CUresult error = worker->driver->cuDevicePrimaryCtxReset(device);
    while (references--)
        worker->driver->cuDevicePrimaryCtxRelease(device);
    return error;
}

CUresult vgpu_replay_cuCtxCreate(struct vgpu_worker *worker, struct vgpu_call_cuCtxCreate *call)
{
    vgpu_usage_cover(worker);
    CUresult error = worker->driver->cuCtxCreate_v2(&call->context, call->flags, call->device);
    worker->current = NULL; /* the driver has made the new one current */
    worker->current_id = 0;
    if (error)
        return error;
    error = take_context(worker, call->context, call->device, false);
    if (error)
        worker->driver->cuCtxDestroy(call->context);
    return error;
}

CUresult vgpu_replay_cuCtxDestroy(struct vgpu_worker *worker, struct vgpu_call_cuCtxDestroy *call)
{
    struct vgpu_context *context = find_context(worker, call->context);
    if (context == NULL || context->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    end_context(worker, context);
    return worker->driver->cuCtxDestroy(call->context);
}

/* Drivers tell the range of priorities only in a context: it is 0 to 0 as long as there is none. */
static void get_priorities(struct vgpu_worker *worker, struct vgpu_device_info *info)
{
    int least = 0, greatest = 0;
    if (worker->current == NULL && worker->contexts)
        make_current(worker, worker->contexts);
    if (worker->driver->cuCtxGetStreamPriorityRange(&least, &greatest) == CUDA_SUCCESS) {
        info->priority_least = least;
        info->priority_greatest = greatest;
    }
}

CUresult vgpu_replay_vgpuDeviceInfo(struct vgpu_worker *worker,
                                    struct vgpu_call_vgpuDeviceInfo *call)
{
    struct vgpu_device_info info = worker->driver->info;
    if (call->device != 0 || info.name[0] == '\0') {
        CUresult error = vgpu_driver_describe(worker->driver, (CUdevice)call->device, &info);
        if (error)
            return error;
    }
    uint64_t quota = vgpu_ledger_quota(&worker->ledger);
    info.memory_total = info.memory_total < quota ? info.memory_total : quota;
    info.image_cache = worker->images.folder >= 0;
    get_priorities(worker, &info);
    memcpy(call->info, &info, sizeof(info));
    call->info_bytes = sizeof(info);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_cuDeviceGetHostAtomicCapabilities(
    struct vgpu_worker *worker, struct vgpu_call_cuDeviceGetHostAtomicCapabilities *call)
{
    CUatomicOperation operations[VGPU_REPLY_PAYLOAD_MAX / sizeof(unsigned int)];
    unsigned int capabilities[sizeof(operations) / sizeof(*operations)];
    if (worker->driver->cuDeviceGetHostAtomicCapabilities == NULL)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (call->operations_bytes % sizeof(*operations) || call->operations_bytes > sizeof(operations))
        return CUDA_ERROR_INVALID_VALUE;
    unsigned int count = call->operations_bytes / sizeof(*operations);
    memcpy(operations, call->operations, call->operations_bytes);
    CUresult error =
        worker->driver->cuDeviceGetHostAtomicCapabilities(capabilities, operations, count, 0);
    if (error == CUDA_SUCCESS) {
        memcpy(call->capabilities, capabilities, count * sizeof(*capabilities));
        call->capabilities_bytes = (uint32_t)(count * sizeof(*capabilities));
    }
    return error;
}
