/* SPDX-License-Identifier: MIT */
/*
 * Primary contexts. The handle is there from cuInit on, because the runtime makes it current before
 * it retains it; the host's context is made when it is first retained.
 */
#include "guest/process/caller.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "interop/context_flags.h"
#include "interop/export_tables.h"
#include "protocol/send.h"

CUresult vgpu_context_create_primary(struct vgpu_process *process)
{
    struct vgpu_context *context = vgpu_object_take(&process->objects, sizeof(*context), NULL);
    if (context == NULL || !vgpu_context_init(process, context))
        return CUDA_ERROR_OUT_OF_MEMORY;
    context->primary = true;
    vgpu_object_publish(&context->object, VGPU_KIND_CONTEXT);
    process->primary = context;
    return CUDA_SUCCESS;
}

static CUresult enter(CUdevice device)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

static CUresult enter_to_change(CUdevice device)
{
    CUresult error = vgpu_caller_may_wait();
    return error ? error : enter(device);
}

CUresult vgpu_interop_primary_context(CUdevice device, CUcontext *handle)
{
    CUresult error = enter(device);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(vgpu_process()->primary);
    return error;
}

static void set_active(struct vgpu_context *context, bool active)
{
    /* release: pairs with vgpu_context_usable */
    __atomic_store_n(&context->active, active, __ATOMIC_RELEASE);
}

/* Called with the context lock. */
static CUresult activate(struct vgpu_process *process, struct vgpu_context *context)
{
    CUresult error;
    if (context->active)
        return CUDA_SUCCESS;
    if (context->flags) {
        error = vgpu_send_cuDevicePrimaryCtxSetFlags(process->channel, 0, 0, context->flags);
        if (error)
            return error;
    }
    error = vgpu_send_cuDevicePrimaryCtxRetain(process->channel, 0, context->object.id, 0);
    if (error == CUDA_SUCCESS)
        set_active(context, true);
    return error;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *handle, CUdevice device)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_context *context = process->primary;
    CUresult error = enter_to_change(device);
    if (error == CUDA_SUCCESS)
        error = vgpu_process_collect(process);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->context_lock);
    error = activate(process, context);
    if (error == CUDA_SUCCESS)
        context->retained++;
    pthread_mutex_unlock(&process->context_lock);
    *handle = vgpu_object_handle(context);
    return vgpu_process_note(process, error);
}

/* Ends the host's context; `send` tells it how. Called with the context lock, and gives it up
 * meanwhile to the destructors of what NVIDIA's libraries keep in the context. */
static CUresult deactivate(struct vgpu_process *process, struct vgpu_context *context,
                           CUresult (*send)(struct vgpu_channel *, uint32_t, uint32_t, int32_t))
{
    pthread_mutex_unlock(&process->context_lock);
    vgpu_local_storage_drain(&context->storage, vgpu_object_handle(context));
    pthread_mutex_lock(&process->context_lock);
    if (!context->active)
        return CUDA_SUCCESS;
    CUresult error = send(process->channel, 0, context->object.id, 0);
    vgpu_channel_flush_console(process->channel);
    set_active(context, false);
    vgpu_context_clear(process, context);
    context->marker = (struct vgpu_marker){.lock = PTHREAD_MUTEX_INITIALIZER};
    context->work = context->done = 0;
    vgpu_stream_begin(context->legacy);
    context->limits_known = 0;
    /* What is made in it after this is in another context, but for the handle. */
    context->unique = vgpu_process_new_id(process);
    return error;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_context *context = process->primary;
    CUresult error = enter_to_change(device);
    if (error)
        return error;
    pthread_mutex_lock(&process->context_lock);
    if (context->retained == 0)
        error = CUDA_ERROR_INVALID_CONTEXT;
    else if (--context->retained == 0 && context->active)
        error = deactivate(process, context, vgpu_send_cuDevicePrimaryCtxRelease);
    pthread_mutex_unlock(&process->context_lock);
    return error;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device)
{
    struct vgpu_process *process = vgpu_process();
    CUresult error = enter_to_change(device);
    if (error)
        return error;
    pthread_mutex_lock(&process->context_lock);
    if (process->primary->active)
        error = deactivate(process, process->primary, vgpu_send_cuDevicePrimaryCtxReset);
    pthread_mutex_unlock(&process->context_lock);
    return error;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active)
{
    const struct vgpu_context *context = vgpu_process()->primary;
    CUresult error = enter(device);
    if (error)
        return error;
    if (flags == NULL || active == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = context->flags;
    *active = __atomic_load_n(&context->active, __ATOMIC_RELAXED);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned int flags)
{
    struct vgpu_process *process = vgpu_process();
    CUresult error = enter_to_change(device);
    if (error)
        return error;
    if (!vgpu_context_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->context_lock);
    if (process->primary->active)
        error = vgpu_send_cuDevicePrimaryCtxSetFlags(process->channel, 0, 0, flags);
    if (error == CUDA_SUCCESS)
        process->primary->flags = flags;
    pthread_mutex_unlock(&process->context_lock);
    return error;
}

extern __typeof__(cuDevicePrimaryCtxRelease_v2) cuDevicePrimaryCtxRelease
    __attribute__((alias("cuDevicePrimaryCtxRelease_v2")));
extern __typeof__(cuDevicePrimaryCtxReset_v2) cuDevicePrimaryCtxReset
    __attribute__((alias("cuDevicePrimaryCtxReset_v2")));
extern __typeof__(cuDevicePrimaryCtxSetFlags_v2) cuDevicePrimaryCtxSetFlags
    __attribute__((alias("cuDevicePrimaryCtxSetFlags_v2")));
