/* SPDX-License-Identifier: MIT */
#include "soft/driver/stream/user_object.h"

#include <limits.h>
#include <stdlib.h>

#include "interop/thread.h"
#include "soft/driver/graph/graph.h"
#include "soft/driver/stream/host_function.h"

struct vgpu_user_object {
    struct vgpu_object object;
    CUhostFn destroy;
    void *data;
    uint64_t references; /* guarded by the lock below */
};

/* Destructors run in a thread of their own, one after the other: who gives the last reference back
 * may hold locks, and a program may not expect its function in that thread. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool has_thread;
    struct vgpu_object *first, **last;
} destructors = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .work = PTHREAD_COND_INITIALIZER,
    .last = &destructors.first,
};

static void *destructors_main(void *argument)
{
    (void)argument;
    pthread_mutex_lock(&destructors.lock);
    for (;;) {
        struct vgpu_user_object *object = (struct vgpu_user_object *)destructors.first;
        if (!object) {
            pthread_cond_wait(&destructors.work, &destructors.lock);
            continue;
        }
        destructors.first = object->object.next;
        if (!destructors.first)
            destructors.last = &destructors.first;
        pthread_mutex_unlock(&destructors.lock);
        vgpu_call_host(object->destroy, object->data);
        vgpu_object_put(object);
        pthread_mutex_lock(&destructors.lock);
    }
    return NULL;
}

static void destroy_object(struct vgpu_object *object)
{
    free(object);
}

/* Lock held. The object has left the handle table, whose link is free for the queue. */
static void queue_destructor(struct vgpu_user_object *object)
{
    pthread_attr_t attributes;
    pthread_t thread;

    object->object.next = NULL;
    *destructors.last = &object->object;
    destructors.last = &object->object.next;
    pthread_cond_signal(&destructors.work);
    if (destructors.has_thread)
        return;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    destructors.has_thread = vgpu_thread_create(&thread, &attributes, destructors_main, NULL) == 0;
    pthread_attr_destroy(&attributes);
}

/* Errors: INVALID_VALUE if there are not as many. */
static CUresult release(struct vgpu_user_object *object, unsigned int count)
{
    CUresult result = CUDA_SUCCESS;

    pthread_mutex_lock(&destructors.lock);
    if (count > object->references) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else {
        object->references -= count;
        if (object->references == 0 && vgpu_object_withdraw(object, VGPU_OBJECT_USER_OBJECT))
            queue_destructor(object);
    }
    pthread_mutex_unlock(&destructors.lock);
    return result;
}

static void retain(struct vgpu_user_object *object, unsigned int count)
{
    pthread_mutex_lock(&destructors.lock);
    object->references += count;
    pthread_mutex_unlock(&destructors.lock);
}

/* ---- graphs' references ---- */

/* The graph's entry for the object, made if `create`. */
static struct vgpu_held_object *held(struct vgpu_held_object **list,
                                     struct vgpu_user_object *object, bool create)
{
    struct vgpu_held_object *entry = *list;

    while (entry && entry->object != object)
        entry = entry->next;
    if (entry || !create)
        return entry;
    entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    entry->object = object;
    entry->next = *list;
    *list = entry;
    return entry;
}

void vgpu_held_objects_release(struct vgpu_held_object **list)
{
    while (*list) {
        struct vgpu_held_object *entry = *list;
        *list = entry->next;
        release(entry->object, entry->count);
        free(entry);
    }
}

bool vgpu_held_objects_copy(struct vgpu_held_object **to, const struct vgpu_held_object *from)
{
    for (; from; from = from->next) {
        struct vgpu_held_object *entry = held(to, from->object, true);
        if (!entry)
            return false;
        retain(from->object, from->count);
        entry->count += from->count;
    }
    return true;
}

/* ---- calls ---- */

CUresult cuUserObjectCreate(CUuserObject *object_out, void *ptr, CUhostFn destroy,
                            unsigned int initialRefcount, unsigned int flags)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_user_object *object;

    if (result != CUDA_SUCCESS)
        return result;
    if (!object_out || !destroy || initialRefcount == 0 || initialRefcount > INT_MAX ||
        flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
        return CUDA_ERROR_INVALID_VALUE;
    object = vgpu_object_create(VGPU_OBJECT_USER_OBJECT, sizeof(*object), NULL, destroy_object);
    if (!object)
        return CUDA_ERROR_OUT_OF_MEMORY;
    object->destroy = destroy;
    object->data = ptr;
    object->references = initialRefcount;
    vgpu_object_publish(object);
    *object_out = (CUuserObject)object;
    return CUDA_SUCCESS;
}

static CUresult take(CUuserObject handle, unsigned int count, struct vgpu_user_object **object)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (count == 0 || count > INT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    *object = vgpu_object_take(handle, VGPU_OBJECT_USER_OBJECT);
    return *object ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuUserObjectRetain(CUuserObject object, unsigned int count)
{
    struct vgpu_user_object *found;
    CUresult result = take(object, count, &found);

    if (result != CUDA_SUCCESS)
        return result;
    retain(found, count);
    vgpu_object_put(found);
    return CUDA_SUCCESS;
}

CUresult cuUserObjectRelease(CUuserObject object, unsigned int count)
{
    struct vgpu_user_object *found;
    CUresult result = take(object, count, &found);

    if (result != CUDA_SUCCESS)
        return result;
    result = release(found, count);
    vgpu_object_put(found);
    return result;
}

CUresult cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned int count,
                                 unsigned int flags)
{
    struct vgpu_held_object *entry = NULL;
    struct vgpu_user_object *found;
    struct vgpu_graph *holder;
    CUresult result = take(object, count, &found);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    holder = vgpu_graph_find(graph);
    if (!holder || (flags & ~(unsigned int)CU_GRAPH_USER_OBJECT_MOVE))
        result = CUDA_ERROR_INVALID_VALUE;
    else if (!(entry = held(&holder->held, found, true)))
        result = CUDA_ERROR_OUT_OF_MEMORY;
    if (entry && !(flags & CU_GRAPH_USER_OBJECT_MOVE))
        retain(found, count);
    if (entry)
        entry->count += count;
    vgpu_graphs_unlock();
    vgpu_object_put(found);
    return result;
}

CUresult cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned int count)
{
    struct vgpu_held_object *entry = NULL;
    struct vgpu_user_object *found;
    struct vgpu_graph *holder;
    CUresult result = take(object, count, &found);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_graphs_lock();
    holder = vgpu_graph_find(graph);
    if (holder)
        entry = held(&holder->held, found, false);
    if (entry && entry->count >= count) {
        entry->count -= count;
        result = release(found, count);
    } else {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    if (entry && entry->count == 0) {
        struct vgpu_held_object **link = &holder->held;
        while (*link != entry)
            link = &(*link)->next;
        *link = entry->next;
        free(entry);
    }
    vgpu_graphs_unlock();
    vgpu_object_put(found);
    return result;
}
