/* SPDX-License-Identifier: MIT */
#include "soft/driver/object.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { BUCKETS = 4096 };

static struct {
    pthread_rwlock_t lock;
    struct vgpu_object *buckets[BUCKETS];
} table = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static struct vgpu_object **bucket_of(const void *handle)
{
    /* Multiplication spreads addresses that differ in few bits over the upper ones. */
    uint64_t mixed = (uint64_t)(uintptr_t)handle * 0x9e3779b97f4a7c15u;

    return &table.buckets[mixed >> 52];
}

void *vgpu_object_create(enum vgpu_object_kind kind, size_t size, struct vgpu_context *owner,
                         void (*destroy)(struct vgpu_object *object))
{
    struct vgpu_object *object = calloc(1, size);

    if (!object)
        return NULL;
    object->kind = kind;
    object->owner = owner;
    object->destroy = destroy;
    atomic_init(&object->references, 1);
    return object;
}

void vgpu_object_publish(void *published)
{
    struct vgpu_object *object = published;
    struct vgpu_object **bucket = bucket_of(object);

    pthread_rwlock_wrlock(&table.lock);
    object->next = *bucket;
    *bucket = object;
    pthread_rwlock_unlock(&table.lock);
}

/* Called with the lock held: the link that points to the object, or NULL. */
static struct vgpu_object **link_to(const void *handle, enum vgpu_object_kind kind)
{
    struct vgpu_object **link = bucket_of(handle);

    while (*link && *link != handle)
        link = &(*link)->next;
    return *link && (*link)->kind == kind ? link : NULL;
}

void *vgpu_object_take(const void *handle, enum vgpu_object_kind kind)
{
    struct vgpu_object *object = NULL;
    struct vgpu_object **link;

    pthread_rwlock_rdlock(&table.lock);
    link = link_to(handle, kind);
    if (link)
        object = vgpu_object_share(*link);
    pthread_rwlock_unlock(&table.lock);
    return object;
}

void *vgpu_object_share(void *shared)
{
    struct vgpu_object *object = shared;

    /* Relaxed: whoever shares has a reference already. */
    atomic_fetch_add_explicit(&object->references, 1, memory_order_relaxed);
    return object;
}

void vgpu_object_put(void *returned)
{
    struct vgpu_object *object = returned;

    /* Acquire and release: the last holder sees what the others did to the object. */
    if (object && atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) == 1)
        object->destroy(object);
}

void *vgpu_object_withdraw(const void *handle, enum vgpu_object_kind kind)
{
    struct vgpu_object *object = NULL;
    struct vgpu_object **link;

    pthread_rwlock_wrlock(&table.lock);
    link = link_to(handle, kind);
    if (link) {
        object = *link;
        *link = object->next;
    }
    pthread_rwlock_unlock(&table.lock);
    return object;
}

void vgpu_object_withdraw_owned(const struct vgpu_context *owner)
{
    struct vgpu_object *withdrawn = NULL;

    pthread_rwlock_wrlock(&table.lock);
    for (size_t i = 0; i < BUCKETS; i++) {
        struct vgpu_object **link = &table.buckets[i];
        while (*link) {
            struct vgpu_object *object = *link;
            if (object->owner != owner) {
                link = &object->next;
                continue;
            }
            *link = object->next;
            object->next = withdrawn;
            withdrawn = object;
        }
    }
    pthread_rwlock_unlock(&table.lock);
    /* Destroying may use the table. */
    while (withdrawn) {
        struct vgpu_object *object = withdrawn;
        withdrawn = object->next;
        vgpu_object_put(object);
    }
}
