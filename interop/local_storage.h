/* SPDX-License-Identifier: MIT */
/**
 * Context-local storage: values that NVIDIA's libraries keep per context, by key, with a destructor
 * that runs when the context dies. A context object embeds one, zero-initialised.
 *
 * vgpu_local_storage_get() takes no lock: the runtime calls it before nearly every call of a
 * program. The others serialise per storage and may run at any time with it. A key keeps its slot
 * until vgpu_local_storage_destroy(), even when deleted, which is what makes reading without a lock
 * safe; there are as many keys as copies of the runtime in a process.
 */
#ifndef VGPU_INTEROP_LOCAL_STORAGE_H
#define VGPU_INTEROP_LOCAL_STORAGE_H

#include <pthread.h>
#include <stdbool.h>

#include "interop/driver_api.h"

typedef void (*vgpu_local_destructor)(CUcontext context, void *key, void *value);

struct vgpu_local_slot {
    void *key;
    void *_Atomic value;
    vgpu_local_destructor destructor;
};

enum { VGPU_LOCAL_SLOTS = 12 };

struct vgpu_local_chunk {
    struct vgpu_local_slot slots[VGPU_LOCAL_SLOTS];
    _Atomic unsigned int used;
    struct vgpu_local_chunk *_Atomic next;
};

/** Zero-initialise; PTHREAD_MUTEX_INITIALIZER is all zeroes on the platforms we run on. */
struct vgpu_local_storage {
    pthread_mutex_t lock;
    struct vgpu_local_chunk first;
};

/** Sets `key`, replacing what it had (whose destructor is not run). False if there is no memory. */
bool vgpu_local_storage_put(struct vgpu_local_storage *storage, void *key, void *value,
                            vgpu_local_destructor destructor);

/** False if `key` has no value. */
bool vgpu_local_storage_get(struct vgpu_local_storage *storage, void *key, void **value);

/** Forgets `key` without running its destructor. False if it had no value. */
bool vgpu_local_storage_delete(struct vgpu_local_storage *storage, void *key);

/** The context dies: takes out every value and runs its destructor, without the lock. */
void vgpu_local_storage_drain(struct vgpu_local_storage *storage, CUcontext context);

/** Frees the memory of a drained storage that nobody uses any more. */
void vgpu_local_storage_destroy(struct vgpu_local_storage *storage);

#endif
