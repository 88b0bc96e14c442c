/* SPDX-License-Identifier: MIT */
#include "worker/memory/extent.h"

#include "worker/context.h"
#include "worker/log.h"
#include "worker/worker.h"

static bool is_registered(const struct vgpu_worker *worker)
{
    for (const struct vgpu_context *other = worker->contexts; other; other = other->next) {
        if (other->owns_extent)
            return true;
    }
    return false;
}

static bool owns_mapping(const struct vgpu_worker *worker, const struct vgpu_context *context)
{
    for (uint32_t i = 0; i < worker->mappings.count; i++) {
        if (worker->mappings.table[i].owner == context)
            return true;
    }
    return false;
}

static CUresult attach(struct vgpu_worker *worker, struct vgpu_context *context)
{
    const struct vgpu_driver *driver = worker->driver;
    if (!driver->cuMemHostRegister || !driver->cuMemHostUnregister ||
        !driver->cuMemHostGetDevicePointer || !driver->cuStreamWriteValue32)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!is_registered(worker)) {
        CUresult error =
            driver->cuMemHostRegister(worker->extent, VGPU_CHANNEL_BYTES,
                                      CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
        if (error)
            return error;
        context->owns_extent = true;
    }
    return driver->cuMemHostGetDevicePointer(&context->extent, worker->extent, 0);
}

void vgpu_extent_attach(struct vgpu_worker *worker, struct vgpu_context *context)
{
    vgpu_mappings_attach(worker, context);
    CUresult error = attach(worker, context);
    if (error == CUDA_SUCCESS)
        return;
    context->extent = 0;
    if (!worker->fences.by_cpu)
        vgpu_log("the driver does not map the window (error %d): fences are written by the worker",
                 (int)error);
    worker->fences.by_cpu = true;
}

void vgpu_extent_detach(struct vgpu_worker *worker, struct vgpu_context *context)
{
    const struct vgpu_driver *driver = worker->driver;
    context->extent = 0;
    if (!context->owns_extent && !owns_mapping(worker, context))
        return;
    for (struct vgpu_context *other = worker->contexts; other; other = other->next) {
        if (other != context && driver->cuCtxSetCurrent(other->object) == CUDA_SUCCESS)
            driver->cuCtxSynchronize(); /* nobody may use the memory while it is not mapped */
    }
    driver->cuCtxSetCurrent(context->object);
    vgpu_mappings_detach(worker, context);
    if (context->owns_extent)
        driver->cuMemHostUnregister(worker->extent);
    context->owns_extent = false;
    for (struct vgpu_context *other = worker->contexts; other; other = other->next) {
        if (other != context && driver->cuCtxSetCurrent(other->object) == CUDA_SUCCESS)
            vgpu_extent_attach(worker, other);
    }
    driver->cuCtxSetCurrent(context->object);
}
