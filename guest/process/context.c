/* SPDX-License-Identifier: MIT */
/* The contexts that programs make, and what is current. */
#include "guest/process/context.h"

#include <stdlib.h>

#include "guest/graph/capture.h"
#include "guest/process/caller.h"
#include "guest/process/process.h"
#include "interop/context_flags.h"
#include "interop/export_tables.h"
#include "protocol/send.h"

#define API_VERSION 3020u /* what drivers say of contexts made by cuCtxCreate_v2 and newer */

CUresult vgpu_context_settle(const struct vgpu_caller *caller)
{
    struct vgpu_context *context = caller->current;
    /* acquire: pairs with vgpu_copy_arrive; the copies counted there are in the ring */
    uint64_t uploads = __atomic_load_n(&context->uploads, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&context->settled, __ATOMIC_RELAXED) >= uploads)
        return CUDA_SUCCESS;
    CUresult error = vgpu_stream_wait(caller, context->legacy);
    if (error == CUDA_SUCCESS) /* a smaller number from another thread only makes one more wait */
        __atomic_store_n(&context->settled, uploads, __ATOMIC_RELAXED);
    return error;
}

struct vgpu_context *vgpu_context_find(CUcontext handle)
{
    struct vgpu_context *context = vgpu_thread_current();
    if (handle)
        return vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_CONTEXT);
    return context && vgpu_object_lives(&context->object) ? context : NULL;
}

struct vgpu_local_storage *vgpu_interop_local_storage(CUcontext handle)
{
    struct vgpu_context *context =
        vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_CONTEXT);
    return context ? &context->storage : NULL;
}

bool vgpu_context_init(struct vgpu_process *process, struct vgpu_context *context)
{
    struct vgpu_stream *legacy = calloc(1, sizeof(*legacy));
    if (legacy == NULL)
        return false;
    context->legacy = legacy;
    context->version = API_VERSION;
    context->unique = vgpu_process_new_id(process);
    pthread_mutex_init(&context->marker.lock, NULL);
    legacy->object.context = context;
    legacy->unique = vgpu_process_new_id(process);
    /* It waits for the context's other streams, so their work is its work. */
    legacy->watched = &context->work;
    vgpu_stream_begin(legacy);
    return true;
}

void vgpu_context_clear(struct vgpu_process *process, struct vgpu_context *context)
{
    vgpu_objects_put_context(&process->objects, context);
    context->waiter_count = 0; /* they were among them */
    vgpu_ranges_forget(&process->ranges, context, NULL);
    vgpu_marker_end(&context->marker);
    vgpu_stream_end(context->legacy);
}

/* ---- life ---- */

static void end_context(struct vgpu_object *object)
{
    struct vgpu_context *context = (struct vgpu_context *)object;
    vgpu_local_storage_destroy(&context->storage);
    free(context->legacy);
}

static CUresult create(struct vgpu_process *process, unsigned int flags, struct vgpu_context **out)
{
    struct vgpu_context *context = vgpu_object_take(&process->objects, sizeof(*context), NULL);
    if (context == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    context->object.end = end_context;
    context->flags = flags;
    CUresult error = CUDA_ERROR_OUT_OF_MEMORY;
    if (vgpu_context_init(process, context))
        error = vgpu_send_cuCtxCreate(process->channel, 0, context->object.id, flags, 0);
    if (error) {
        vgpu_object_put(&process->objects, &context->object);
        return vgpu_process_note(process, error);
    }
    vgpu_object_publish(&context->object, VGPU_KIND_CONTEXT);
    *out = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *handle, unsigned int flags, CUdevice device)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_context *context = NULL;
    CUresult error = vgpu_caller_may_wait();
    if (error == CUDA_SUCCESS)
        error = vgpu_process_collect(process);
    if (error)
        return error;
    if (handle == NULL || !vgpu_context_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    if (device != 0)
        return CUDA_ERROR_INVALID_DEVICE;
    error = create(process, flags, &context);
    if (error == CUDA_SUCCESS)
        error = vgpu_thread_push(context);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(context);
    return error;
}

CUresult cuCtxCreate_v3(CUcontext *handle, CUexecAffinityParam *affinity, int count,
                        unsigned int flags, CUdevice device)
{
    if (affinity || count)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    return cuCtxCreate_v2(handle, flags, device);
}

CUresult cuCtxCreate_v4(CUcontext *handle, CUctxCreateParams *parameters, unsigned int flags,
                        CUdevice device)
{
    if (parameters && parameters->numExecAffinityParams)
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    if (parameters && parameters->cigParams)
        return CUDA_ERROR_NOT_SUPPORTED;
    return cuCtxCreate_v2(handle, flags, device);
}

CUresult cuCtxDestroy_v2(CUcontext handle)
{
    struct vgpu_process *process = vgpu_process();
    CUresult error = vgpu_caller_may_wait();
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_context *context = vgpu_object_find(&process->objects, handle, VGPU_KIND_CONTEXT);
    if (context == NULL || context->primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    vgpu_local_storage_drain(&context->storage, handle);
    error = vgpu_send_cuCtxDestroy(process->channel, 0, context->object.id);
    vgpu_channel_flush_console(process->channel);
    vgpu_context_clear(process, context);
    vgpu_object_put(&process->objects, &context->object);
    if (vgpu_thread_current() == context)
        vgpu_thread_set(NULL);
    return error;
}

extern __typeof__(cuCtxDestroy_v2) cuCtxDestroy __attribute__((alias("cuCtxDestroy_v2")));

/* ---- what is current ---- */

CUresult cuCtxGetCurrent(CUcontext *handle)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_context *context = vgpu_thread_current();
    *handle = context ? vgpu_object_handle(context) : NULL;
    return CUDA_SUCCESS;
}

/* A destroyed context may still be made current, as with NVIDIA's driver; using it then fails. */
CUresult cuCtxSetCurrent(CUcontext handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_context *context = NULL;
    CUresult error = vgpu_process_ready(process);
    if (error)
        return error;
    if (handle) {
        context = vgpu_object_recognise(&process->objects, handle, VGPU_KIND_CONTEXT);
        if (context == NULL)
            return CUDA_ERROR_INVALID_CONTEXT;
    }
    return vgpu_thread_set(context);
}

CUresult cuCtxPushCurrent_v2(CUcontext handle)
{
    struct vgpu_process *process = vgpu_process();
    CUresult error = vgpu_process_ready(process);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_context *context =
        vgpu_object_recognise(&process->objects, handle, VGPU_KIND_CONTEXT);
    return context ? vgpu_thread_push(context) : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuCtxPopCurrent_v2(CUcontext *handle)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    struct vgpu_context *context = vgpu_thread_current();
    if (context == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (handle)
        *handle = vgpu_object_handle(context);
    return vgpu_thread_set(NULL);
}

extern __typeof__(cuCtxPushCurrent_v2) cuCtxPushCurrent
    __attribute__((alias("cuCtxPushCurrent_v2")));
extern __typeof__(cuCtxPopCurrent_v2) cuCtxPopCurrent __attribute__((alias("cuCtxPopCurrent_v2")));

/* ---- what a context says of itself ---- */

/* The context of a query that works in failed contexts, too. */
static CUresult queried(CUcontext handle, const void *out, struct vgpu_context **context)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    if (error)
        return error;
    *context = vgpu_context_find(handle);
    if (*context == NULL)
        return handle || !vgpu_thread_current() ? CUDA_ERROR_INVALID_CONTEXT
                                                : CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

#define CONTEXT_QUERY(handle, out, statement)                                                      \
    struct vgpu_context *context = NULL;                                                           \
    CUresult error = queried(handle, out, &context);                                               \
    if (error == CUDA_SUCCESS) {                                                                   \
        statement;                                                                                 \
    }                                                                                              \
    return error;

CUresult cuCtxGetDevice_v2(CUdevice *device,
                           CUcontext handle){CONTEXT_QUERY(handle, device, *device = 0)}

CUresult cuCtxGetDevice(CUdevice *device)
{
    return cuCtxGetDevice_v2(device, NULL);
}

CUresult cuCtxGetId(CUcontext handle,
                    unsigned long long *id){CONTEXT_QUERY(handle, id, *id = context->unique)}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned int *version){
    CONTEXT_QUERY(handle, version, *version = context->version)}

CUresult cuCtxGetFlags(unsigned int *flags){CONTEXT_QUERY(NULL, flags, *flags = context->flags)}

CUresult cuCtxSetFlags(unsigned int flags)
{
    if (!vgpu_context_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    CONTEXT_QUERY(NULL, &flags, context->flags = flags)
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *config){
    CONTEXT_QUERY(NULL, config, *config = context->cache)}

/* A preference between caches that GPUs of today do not have apart. */
CUresult cuCtxSetCacheConfig(CUfunc_cache config)
{
    if (config > CU_FUNC_CACHE_PREFER_EQUAL)
        return CUDA_ERROR_INVALID_VALUE;
    CONTEXT_QUERY(NULL, &config, context->cache = config)
}

CUresult cuCtxGetSharedMemConfig(CUsharedconfig *config){
    CONTEXT_QUERY(NULL, config, *config = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE)}

CUresult cuCtxSetSharedMemConfig(CUsharedconfig config)
{
    if (config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE)
        return CUDA_ERROR_INVALID_VALUE;
    CONTEXT_QUERY(NULL, &config, (void)context)
}

CUresult cuCtxResetPersistingL2Cache(void)
{
    struct vgpu_caller caller;
    return vgpu_caller_enter(&caller);
}

/* ---- waiting ---- */

static CUresult post_fence(const struct vgpu_caller *caller, void *argument, uint32_t fence,
                           uint32_t value)
{
    (void)argument;
    return vgpu_send_vgpuFenceContext(caller->channel, caller->context, fence, value);
}

static struct vgpu_marked marked(struct vgpu_context *context)
{
    return (struct vgpu_marked){
        .marker = &context->marker, .work = &context->work, .post = post_fence};
}

uint64_t vgpu_context_begin_wait(struct vgpu_context *context)
{
    /* seq_cst, as the count of work before and the look at this number in vgpu_stream_submitted,
     * and as the look at the count that follows here: either the work is counted when the wait
     * looks, so that it waits for it, or it is noted with this wait's number. */
    return __atomic_add_fetch(&context->waits, 1, __ATOMIC_SEQ_CST);
}

CUresult vgpu_context_wait(const struct vgpu_caller *caller)
{
    struct vgpu_context *context = caller->current;
    struct vgpu_marked what = marked(context);
    CUresult error = CUDA_SUCCESS;
    uint32_t value = 0;
    vgpu_freed_tell(caller->channel);
    uint64_t wait = vgpu_context_begin_wait(context);
    /* Acquire, and in this order: what comes meanwhile makes them differ. */
    uint64_t done = __atomic_load_n(&context->done, __ATOMIC_ACQUIRE);
    bool idle = done == __atomic_load_n(&context->work, __ATOMIC_SEQ_CST);
    if (!idle)
        error = vgpu_marker_place(&what, caller, &idle, &value);
    if (error == CUDA_SUCCESS)
        error = vgpu_caller_finish(caller, what.marker, idle, value);
    if (error == CUDA_SUCCESS)
        vgpu_raise(&context->waits_over, wait);
    return error;
}

bool vgpu_context_await(struct vgpu_channel *channel)
{
    struct vgpu_context *context = vgpu_thread_current();
    bool idle;
    uint32_t value;
    if (context == NULL || !vgpu_context_usable(context) || vgpu_capture_any())
        return false;
    const struct vgpu_caller caller = {channel, context->object.id, context};
    struct vgpu_marked what = marked(context);
    if (vgpu_marker_place(&what, &caller, &idle, &value))
        return false;
    return idle || vgpu_fence_wait(channel, what.marker->fence, value) == CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error == CUDA_SUCCESS)
        error = vgpu_capture_wait_context(caller.current);
    return error ? error : vgpu_context_wait(&caller);
}

CUresult cuCtxSynchronize_v2(CUcontext handle)
{
    CUresult error;
    if (handle == NULL)
        return cuCtxSynchronize();
    error = cuCtxPushCurrent_v2(handle);
    if (error)
        return error;
    error = cuCtxSynchronize();
    cuCtxPopCurrent_v2(NULL);
    return error;
}

/* ---- limits: asked often, and changed by nobody else ---- */

CUresult cuCtxGetLimit(size_t *value, CUlimit limit)
{
    struct vgpu_caller caller;
    uint64_t answer = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (value == NULL || (unsigned int)limit >= CU_LIMIT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    struct vgpu_context *current = caller.current;
    uint32_t bit = 1u << limit;
    /* acquire: pairs with the release below */
    if (!(__atomic_load_n(&current->limits_known, __ATOMIC_ACQUIRE) & bit)) {
        error = vgpu_process_note(
            vgpu_process(),
            vgpu_send_cuCtxGetLimit(caller.channel, caller.context, &answer, limit));
        if (error)
            return error;
        current->limits[limit] = answer;
        __atomic_fetch_or(&current->limits_known, bit, __ATOMIC_RELEASE);
    }
    *value = current->limits[limit];
    return CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if ((unsigned int)limit >= CU_LIMIT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_send_cuCtxSetLimit(caller.channel, caller.context, limit, value);
    /* The driver may round: it is asked again. */
    __atomic_fetch_and(&caller.current->limits_known, ~(1u << limit), __ATOMIC_RELAXED);
    return vgpu_process_note(vgpu_process(), error);
}
