/* SPDX-License-Identifier: MIT */
#include "soft/driver/context.h"
#include "interop/context_flags.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "interop/export_tables.h"
#include "soft/driver/code/library.h"
#include "soft/driver/memory/allocation.h"
#include "soft/driver/memory/leaks.h"
#include "soft/driver/peer.h"
#include "soft/driver/stream/stream.h"

/* ---- threads ---- */

static _Thread_local struct vgpu_thread *this_thread;

static void thread_ends(void *data)
{
    struct vgpu_thread *thread = data;

    this_thread = NULL;
    vgpu_thread_close_streams(thread);
    free(thread->stack);
    free(thread);
}

static pthread_key_t thread_key;

static void make_thread_key(void)
{
    if (pthread_key_create(&thread_key, thread_ends) != 0)
        abort();
}

struct vgpu_thread *vgpu_thread_self(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (this_thread)
        return this_thread;
    pthread_once(&once, make_thread_key);
    this_thread = calloc(1, sizeof(*this_thread));
    if (this_thread)
        pthread_setspecific(thread_key, this_thread);
    return this_thread;
}

bool vgpu_thread_in_callback(void)
{
    return this_thread && this_thread->in_callback;
}

static CUcontext current_handle(void)
{
    const struct vgpu_thread *thread = this_thread;

    return thread && thread->depth ? thread->stack[thread->depth - 1] : NULL;
}

static CUresult push(CUcontext handle)
{
    struct vgpu_thread *thread = vgpu_thread_self();

    if (!thread)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (thread->depth == thread->room) {
        size_t room = thread->room ? 2 * thread->room : 8;
        CUcontext *stack = reallocarray(thread->stack, room, sizeof(*stack));
        if (!stack)
            return CUDA_ERROR_OUT_OF_MEMORY;
        thread->stack = stack;
        thread->room = room;
    }
    thread->stack[thread->depth++] = handle;
    return CUDA_SUCCESS;
}

/* ---- lives ---- */

static void never_destroyed(struct vgpu_object *object)
{
    (void)object;
}

static struct vgpu_context *create(struct vgpu_device *device, bool primary, unsigned int flags)
{
    struct vgpu_context *context =
        vgpu_object_create(VGPU_OBJECT_CONTEXT, sizeof(*context), NULL, never_destroyed);

    if (!context)
        return NULL;
    context->device = device;
    context->primary = primary;
    context->flags = flags;
    context->api_version = 3020;
    pthread_mutex_init(&context->storage.lock, NULL);
    pthread_mutex_lock(&vgpu_driver()->lock);
    context->next = vgpu_driver()->contexts;
    vgpu_driver()->contexts = context;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_publish(context);
    return context;
}

struct vgpu_context *vgpu_context_create_primary(struct vgpu_device *device)
{
    return create(device, true, 0);
}

/* Gives the context what it has only while it lives. */
static CUresult bring_to_life(struct vgpu_context *context)
{
    context->limits[CU_LIMIT_STACK_SIZE] = 1024;
    context->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20;
    context->limits[CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20;
    context->limits[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
    context->limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
    __atomic_store_n(&context->cancel, 0, __ATOMIC_RELAXED);
    context->failed = CUDA_SUCCESS;
    context->cache_config = CU_FUNC_CACHE_PREFER_NONE;
    context->id = vgpu_driver_new_id();
    context->legacy = vgpu_stream_create(context, CU_STREAM_DEFAULT, 0);
    if (!context->legacy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_store(&context->alive, true);
    return CUDA_SUCCESS;
}

/* Serialises the lives of contexts; the driver's lock is for short sections only. */
static pthread_mutex_t lives = PTHREAD_MUTEX_INITIALIZER;

static void tear_down(struct vgpu_context *context)
{
    /* The runtime's destructors come first and unlocked: they may still use the context. */
    vgpu_local_storage_drain(&context->storage, (CUcontext)context);
    pthread_mutex_lock(&lives);
    if (!context->alive || (context->primary && context->retained)) {
        /* Another thread was faster, or has retained it again. */
        pthread_mutex_unlock(&lives);
        return;
    }
    atomic_store(&context->alive, false);
    /* Pairs with vgpu_context_cancelled() and with the engine's look at it; it orders nothing. */
    __atomic_store_n(&context->cancel, 1, __ATOMIC_RELAXED);
    vgpu_context_close_streams(context);
    context->legacy = NULL;
    vgpu_peer_forget(context);
    vgpu_library_forget_context(context);
    vgpu_object_withdraw_owned(context);
    if (vgpu_driver()->memcheck)
        vgpu_leaks_report(context);
    vgpu_allocation_free_all(context);
    pthread_mutex_unlock(&lives);
}

CUresult vgpu_context_usable(const struct vgpu_context *context)
{
    if (!atomic_load_explicit(&context->alive, memory_order_acquire))
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return (CUresult)atomic_load_explicit(&context->failed, memory_order_acquire);
}

void vgpu_context_fail(struct vgpu_context *context, CUresult result)
{
    int none = CUDA_SUCCESS;

    atomic_compare_exchange_strong(&context->failed, &none, (int)result);
}

CUresult vgpu_context_enter(struct vgpu_context **context)
{
    return vgpu_context_named(NULL, context);
}

CUresult vgpu_context_named(CUcontext handle, struct vgpu_context **context)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!handle) {
        handle = current_handle();
        if (!handle)
            return CUDA_ERROR_INVALID_CONTEXT;
    }
    *context = vgpu_object_take(handle, VGPU_OBJECT_CONTEXT);
    if (!*context)
        return handle == current_handle() ? CUDA_ERROR_CONTEXT_IS_DESTROYED
                                          : CUDA_ERROR_INVALID_CONTEXT;
    vgpu_object_put(*context); /* its structure stays */
    return vgpu_context_usable(*context);
}

CUresult vgpu_context_find(CUcontext handle, struct vgpu_context **context)
{
    CUresult result = vgpu_context_named(handle, context);

    if (result == CUDA_ERROR_NOT_INITIALIZED || result == CUDA_ERROR_INVALID_CONTEXT)
        return result;
    *context = vgpu_object_take(handle ? handle : current_handle(), VGPU_OBJECT_CONTEXT);
    if (!*context)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    vgpu_object_put(*context);
    return CUDA_SUCCESS;
}

/* ---- what interop/ asks ---- */

CUresult vgpu_interop_primary_context(CUdevice device, CUcontext *context)
{
    struct vgpu_device *found = vgpu_device_get(device);

    if (vgpu_driver_ready() != CUDA_SUCCESS)
        return vgpu_driver_ready();
    if (!found)
        return CUDA_ERROR_INVALID_DEVICE;
    *context = (CUcontext)found->primary;
    return CUDA_SUCCESS;
}

struct vgpu_local_storage *vgpu_interop_local_storage(CUcontext handle)
{
    struct vgpu_context *context = vgpu_object_take(handle, VGPU_OBJECT_CONTEXT);

    vgpu_object_put(context);
    return context ? &context->storage : NULL;
}

/* ---- primary contexts ---- */

static CUresult primary_of(CUdevice ordinal, struct vgpu_context **context)
{
    struct vgpu_device *device = vgpu_device_get(ordinal);
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    *context = device->primary;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
    struct vgpu_context *context;
    CUresult result = primary_of(dev, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lives);
    if (!context->alive)
        result = bring_to_life(context);
    if (result == CUDA_SUCCESS) {
        context->retained++;
        *pctx = (CUcontext)context;
    }
    pthread_mutex_unlock(&lives);
    return result;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    struct vgpu_context *context;
    CUresult result = primary_of(dev, &context);
    bool last = false;

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&lives);
    if (context->retained == 0)
        result = CUDA_ERROR_INVALID_CONTEXT;
    else
        last = --context->retained == 0;
    pthread_mutex_unlock(&lives);
    if (last)
        tear_down(context);
    return result;
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    struct vgpu_context *context;
    CUresult result = primary_of(dev, &context);

    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&lives);
    context->retained = 0;
    pthread_mutex_unlock(&lives);
    if (context->alive)
        tear_down(context);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
    struct vgpu_context *context;
    CUresult result = primary_of(dev, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!flags || !active)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = context->flags;
    *active = context->alive;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags)
{
    struct vgpu_context *context;
    CUresult result = primary_of(dev, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!vgpu_context_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    context->flags = flags;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice dev)
{
    return cuDevicePrimaryCtxRelease_v2(dev);
}

CUresult cuDevicePrimaryCtxReset(CUdevice dev)
{
    return cuDevicePrimaryCtxReset_v2(dev);
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags)
{
    return cuDevicePrimaryCtxSetFlags_v2(dev, flags);
}

/* ---- contexts of a program's own ---- */

CUresult cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *ctxCreateParams, unsigned int flags,
                        CUdevice dev)
{
    struct vgpu_device *device = vgpu_device_get(dev);
    CUresult result = vgpu_driver_ready();
    struct vgpu_context *context;

    if (result != CUDA_SUCCESS)
        return result;
    if (!pctx || !vgpu_context_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    if (ctxCreateParams && ctxCreateParams->numExecAffinityParams)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    if (ctxCreateParams && ctxCreateParams->cigParams)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!device)
        return CUDA_ERROR_INVALID_DEVICE;
    context = create(device, false, flags);
    if (!context)
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = bring_to_life(context);
    if (result == CUDA_SUCCESS)
        result = push((CUcontext)context);
    if (result == CUDA_SUCCESS)
        *pctx = (CUcontext)context;
    return result;
}

CUresult cuCtxCreate_v3(CUcontext *pctx, CUexecAffinityParam *paramsArray, int numParams,
                        unsigned int flags, CUdevice dev)
{
    if (paramsArray && numParams)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return cuCtxCreate_v4(pctx, NULL, flags, dev);
}

CUresult cuCtxCreate_v2(CUcontext *pctx, unsigned int flags, CUdevice dev)
{
    return cuCtxCreate_v4(pctx, NULL, flags, dev);
}

CUresult cuCtxDestroy_v2(CUcontext ctx)
{
    struct vgpu_thread *thread = vgpu_thread_self();
    CUresult result = vgpu_driver_ready();
    struct vgpu_context *context;

    if (result != CUDA_SUCCESS)
        return result;
    if (!ctx)
        return CUDA_ERROR_INVALID_VALUE;
    context = vgpu_object_take(ctx, VGPU_OBJECT_CONTEXT);
    vgpu_object_put(context);
    if (!context || context->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    tear_down(context);
    if (!vgpu_object_withdraw(context, VGPU_OBJECT_CONTEXT))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (thread && current_handle() == ctx)
        thread->depth--;
    return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext ctx)
{
    return cuCtxDestroy_v2(ctx);
}

/* ---- the current context ---- */

CUresult cuCtxPushCurrent_v2(CUcontext ctx)
{
    struct vgpu_context *context;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!ctx)
        return CUDA_ERROR_INVALID_VALUE;
    context = vgpu_object_take(ctx, VGPU_OBJECT_CONTEXT);
    if (!context)
        return CUDA_ERROR_INVALID_CONTEXT;
    vgpu_object_put(context);
    return push(ctx);
}

CUresult cuCtxPopCurrent_v2(CUcontext *pctx)
{
    CUresult result = vgpu_driver_ready();
    CUcontext handle = current_handle();

    if (result != CUDA_SUCCESS)
        return result;
    if (!handle)
        return CUDA_ERROR_INVALID_CONTEXT;
    this_thread->depth--;
    if (pctx)
        *pctx = handle;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext ctx)
{
    struct vgpu_context *context;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!ctx) {
        if (current_handle())
            this_thread->depth--;
        return CUDA_SUCCESS;
    }
    context = vgpu_object_take(ctx, VGPU_OBJECT_CONTEXT);
    if (!context)
        return CUDA_ERROR_INVALID_CONTEXT;
    vgpu_object_put(context);
    if (!current_handle())
        return push(ctx);
    this_thread->stack[this_thread->depth - 1] = ctx;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *pctx)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!pctx)
        return CUDA_ERROR_INVALID_VALUE;
    *pctx = current_handle();
    return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext ctx)
{
    return cuCtxPushCurrent_v2(ctx);
}

CUresult cuCtxPopCurrent(CUcontext *pctx)
{
    return cuCtxPopCurrent_v2(pctx);
}
