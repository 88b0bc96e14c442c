/* SPDX-License-Identifier: MIT */
#include "interop/local_storage.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Its address marks a slot whose key has no value now: NULL is a value that a program may store. */
static char absent_mark;
#define ABSENT ((void *)&absent_mark)

static struct vgpu_local_slot *find(struct vgpu_local_storage *storage, void *key)
{
    struct vgpu_local_chunk *chunk = &storage->first;

    while (chunk) {
        /* Acquire pairs with the release in append(): slots below `used` have their key. */
        unsigned int used = atomic_load_explicit(&chunk->used, memory_order_acquire);
        for (unsigned int i = 0; i < used; i++) {
            if (chunk->slots[i].key == key)
                return &chunk->slots[i];
        }
        chunk = atomic_load_explicit(&chunk->next, memory_order_acquire);
    }
    return NULL;
}

/* Called with the lock held. */
static bool append(struct vgpu_local_storage *storage, void *key, void *value,
                   vgpu_local_destructor destructor)
{
    struct vgpu_local_chunk *chunk = &storage->first;
    struct vgpu_local_slot *slot;

    for (;;) {
        struct vgpu_local_chunk *next;
        if (atomic_load_explicit(&chunk->used, memory_order_relaxed) < VGPU_LOCAL_SLOTS)
            break;
        next = atomic_load_explicit(&chunk->next, memory_order_relaxed);
        if (!next) {
            next = calloc(1, sizeof(*next));
            if (!next)
                return false;
            /* Release: find() sees a chunk only when it is zeroed. */
            atomic_store_explicit(&chunk->next, next, memory_order_release);
        }
        chunk = next;
    }
    slot = &chunk->slots[atomic_load_explicit(&chunk->used, memory_order_relaxed)];
    slot->key = key;
    slot->destructor = destructor;
    atomic_store_explicit(&slot->value, value, memory_order_relaxed);
    atomic_fetch_add_explicit(&chunk->used, 1, memory_order_release);
    return true;
}

bool vgpu_local_storage_put(struct vgpu_local_storage *storage, void *key, void *value,
                            vgpu_local_destructor destructor)
{
    struct vgpu_local_slot *slot;
    bool stored = true;

    pthread_mutex_lock(&storage->lock);
    slot = find(storage, key);
    if (slot) {
        slot->destructor = destructor;
        /* Release pairs with the acquire in get(): what the value points to is complete. */
        atomic_store_explicit(&slot->value, value, memory_order_release);
    } else {
        stored = append(storage, key, value, destructor);
    }
    pthread_mutex_unlock(&storage->lock);
    return stored;
}

bool vgpu_local_storage_get(struct vgpu_local_storage *storage, void *key, void **value)
{
    struct vgpu_local_slot *slot = find(storage, key);
    void *found;

    if (!slot)
        return false;
    found = atomic_load_explicit(&slot->value, memory_order_acquire);
    if (found == ABSENT)
        return false;
    *value = found;
    return true;
}

bool vgpu_local_storage_delete(struct vgpu_local_storage *storage, void *key)
{
    struct vgpu_local_slot *slot;
    bool deleted = false;

    pthread_mutex_lock(&storage->lock);
    slot = find(storage, key);
    if (slot) {
        void *old = atomic_exchange_explicit(&slot->value, ABSENT, memory_order_acq_rel);
        deleted = old != ABSENT;
    }
    pthread_mutex_unlock(&storage->lock);
    return deleted;
}

void vgpu_local_storage_drain(struct vgpu_local_storage *storage, CUcontext context)
{
    struct vgpu_local_chunk *chunk = &storage->first;

    for (; chunk; chunk = atomic_load_explicit(&chunk->next, memory_order_acquire)) {
        /* `used` is read again each time: a destructor may put values for other keys. */
        for (unsigned int i = 0; i < atomic_load_explicit(&chunk->used, memory_order_acquire);
             i++) {
            struct vgpu_local_slot *slot = &chunk->slots[i];
            vgpu_local_destructor destructor;
            void *value;

            pthread_mutex_lock(&storage->lock);
            destructor = slot->destructor;
            value = atomic_exchange_explicit(&slot->value, ABSENT, memory_order_acq_rel);
            pthread_mutex_unlock(&storage->lock);
            if (value != ABSENT && destructor)
                destructor(context, slot->key, value);
        }
    }
}

void vgpu_local_storage_destroy(struct vgpu_local_storage *storage)
{
    struct vgpu_local_chunk *chunk =
        atomic_exchange_explicit(&storage->first.next, NULL, memory_order_acquire);

    while (chunk) {
        struct vgpu_local_chunk *next = atomic_load_explicit(&chunk->next, memory_order_acquire);
        free(chunk);
        chunk = next;
    }
    atomic_store_explicit(&storage->first.used, 0, memory_order_release);
}
