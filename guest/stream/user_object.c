/* SPDX-License-Identifier: MIT */
#include "interop/driver_api.h"

#include <limits.h>

#include "guest/process/caller.h"
#include "guest/process/process.h"
#include "guest/stream/upcall.h"
#include "guest/stream/user_object.h"
#include "protocol/send.h"

/* Runs in the upcall thread, which must not wait for room in the ring: the worker may be waiting
 * for this very function. So the host is told of the free id by the next who makes an object. */
static void run_destructor(void *argument)
{
    struct vgpu_user_object *object = argument;
    struct vgpu_user_object **gone = &vgpu_process()->gone_user_objects;
    object->destroy(object->data);
    object->next_gone = __atomic_load_n(gone, __ATOMIC_RELAXED);
    /* release: pairs with the acquire of who takes the list */
    while (!__atomic_compare_exchange_n(gone, &object->next_gone, object, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        ;
}

static void clear_gone(struct vgpu_process *process)
{
    struct vgpu_user_object *object =
        __atomic_exchange_n(&process->gone_user_objects, NULL, __ATOMIC_ACQUIRE);
    while (object) {
        struct vgpu_user_object *next = object->next_gone;
        vgpu_send_vgpuUserObjectForget(process->channel, 0, object->object.id);
        vgpu_object_put(&process->objects, &object->object);
        object = next;
    }
}

CUresult cuUserObjectCreate(CUuserObject *handle, void *data, CUhostFn destroy,
                            unsigned int references, unsigned int flags)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    uint32_t id;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    if (handle == NULL || destroy == NULL || references == 0 || references > INT_MAX ||
        flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
        return CUDA_ERROR_INVALID_VALUE;
    clear_gone(process);
    struct vgpu_user_object *object = vgpu_object_take(&process->objects, sizeof(*object), NULL);
    if (object == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    object->destroy = destroy;
    object->data = data;
    error = vgpu_upcall_register(
        &(struct vgpu_upcall){.host = run_destructor, .data = object, .use = VGPU_UPCALL_SOME_DAY},
        &id);
    if (error == CUDA_SUCCESS) {
        error =
            vgpu_send_vgpuUserObjectCreate(caller.channel, 0, object->object.id, id, references);
        if (error)
            vgpu_upcall_forget(id);
    }
    if (error) {
        vgpu_object_put(&process->objects, &object->object);
        return error;
    }
    vgpu_object_publish(&object->object, VGPU_KIND_USER_OBJECT);
    *handle = vgpu_object_handle(object);
    return CUDA_SUCCESS;
}

typedef CUresult send_count(struct vgpu_channel *channel, uint32_t current, uint32_t object,
                            uint32_t count);

static CUresult change_count(CUuserObject handle, unsigned int count, send_count *send)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    const struct vgpu_user_object *object =
        vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_USER_OBJECT);
    if (object == NULL || count == 0 || count > INT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    error = send(caller.channel, 0, object->object.id, count);
    vgpu_upcall_hurry();
    return error;
}

CUresult cuUserObjectRetain(CUuserObject object, unsigned int count)
{
    return change_count(object, count, vgpu_send_vgpuUserObjectRetain);
}

CUresult cuUserObjectRelease(CUuserObject object, unsigned int count)
{
    return change_count(object, count, vgpu_send_vgpuUserObjectRelease);
}
