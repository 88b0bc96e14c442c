/* SPDX-License-Identifier: MIT */
#include "guest/process/objects.h"

#include <string.h>
#include <sys/mman.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#define SLOTS       (VGPU_HANDLE_MAX - VGPU_HANDLE_FIRST)
#define SLOTS_GROWN 512u /* made accessible at a time */
#define NO_SLOT     UINT32_MAX

void vgpu_objects_init(struct vgpu_objects *objects)
{
    *objects = (struct vgpu_objects){.free_first = NO_SLOT, .free_last = NO_SLOT};
    pthread_mutex_init(&objects->lock, NULL);
}

void vgpu_objects_destroy(struct vgpu_objects *objects)
{
    if (objects->base) {
#ifdef __SANITIZE_ADDRESS__
        __lsan_unregister_root_region(objects->base, (size_t)SLOTS * VGPU_SLOT_BYTES);
#endif
        munmap(objects->base, (size_t)SLOTS * VGPU_SLOT_BYTES);
    }
    pthread_mutex_destroy(&objects->lock);
}

static struct vgpu_object *object_in(char *base, uint32_t slot)
{
    return vgpu_object_in_slot(base + (size_t)slot * VGPU_SLOT_BYTES);
}

/* Address space costs nothing; memory is taken as slots are used. */
static bool reserve(struct vgpu_objects *objects)
{
    if (objects->base)
        return true;
    char *base = mmap(NULL, (size_t)SLOTS * VGPU_SLOT_BYTES, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
#ifdef __SANITIZE_ADDRESS__
    /* What only objects point to is not lost. */
    __lsan_register_root_region(base, (size_t)SLOTS * VGPU_SLOT_BYTES);
#endif
    /* release: pairs with the acquire load in vgpu_object_behind */
    __atomic_store_n(&objects->base, base, __ATOMIC_RELEASE);
    return true;
}

static bool grow(struct vgpu_objects *objects)
{
    size_t offset = (size_t)objects->accessible * VGPU_SLOT_BYTES;
    uint32_t slots = SLOTS - objects->accessible;
    if (slots > SLOTS_GROWN)
        slots = SLOTS_GROWN;
    if (slots == 0 || mprotect(objects->base + offset, (size_t)slots * VGPU_SLOT_BYTES,
                               PROT_READ | PROT_WRITE) != 0)
        return false;
    objects->accessible += slots;
    return true;
}

static uint32_t oldest_free(struct vgpu_objects *objects)
{
    uint32_t slot = objects->free_first;
    if (slot == NO_SLOT)
        return NO_SLOT;
    objects->free_first = object_in(objects->base, slot)->next_free;
    if (objects->free_first == NO_SLOT)
        objects->free_last = NO_SLOT;
    objects->free_count--;
    return slot;
}

static uint32_t choose_slot(struct vgpu_objects *objects)
{
    if (!reserve(objects))
        return NO_SLOT;
    if (objects->free_count > VGPU_SLOTS_RESTING)
        return oldest_free(objects);
    if (objects->used == objects->accessible && !grow(objects))
        return oldest_free(objects);
    return objects->used;
}

void *vgpu_object_take(struct vgpu_objects *objects, size_t bytes, struct vgpu_context *context)
{
    struct vgpu_object *object = NULL;
    if (bytes > VGPU_SLOT_PRIVATE)
        return NULL;
    pthread_mutex_lock(&objects->lock);
    uint32_t slot = choose_slot(objects);
    if (slot != NO_SLOT) {
        object = object_in(objects->base, slot);
        memset(object, 0, bytes);
        object->id = slot + VGPU_HANDLE_FIRST;
        object->context = context;
        /* release: who sees the number finds the slot accessible */
        if (slot == objects->used)
            __atomic_store_n(&objects->used, slot + 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&objects->lock);
    return object;
}

void vgpu_object_publish(struct vgpu_object *object, enum vgpu_kind kind)
{
    /* release: who finds the tag finds the object filled in */
    __atomic_store_n(&object->tag, kind, __ATOMIC_RELEASE);
}

static void queue_slot(struct vgpu_objects *objects, struct vgpu_object *object)
{
    uint32_t slot = object->id - VGPU_HANDLE_FIRST;
    object->next_free = NO_SLOT;
    pthread_mutex_lock(&objects->lock);
    if (objects->free_last == NO_SLOT)
        objects->free_first = slot;
    else
        object_in(objects->base, objects->free_last)->next_free = slot;
    objects->free_last = slot;
    objects->free_count++;
    pthread_mutex_unlock(&objects->lock);
}

bool vgpu_object_put(struct vgpu_objects *objects, struct vgpu_object *object)
{
    /* acquire and release: one thread wins, and sees what the others have written */
    uint32_t tag = __atomic_fetch_or(&object->tag, VGPU_OBJECT_ENDED, __ATOMIC_ACQ_REL);
    if (tag & VGPU_OBJECT_ENDED)
        return false;
    if (object->end)
        object->end(object);
    queue_slot(objects, object);
    return true;
}

void *vgpu_object_recognise(struct vgpu_objects *objects, const void *handle, enum vgpu_kind kind)
{
    struct vgpu_object *object = vgpu_object_behind(objects, handle);
    return object && vgpu_object_is_kind(vgpu_object_tag(object) & ~VGPU_OBJECT_ENDED, kind)
               ? object
               : NULL;
}

void *vgpu_object_with_id(struct vgpu_objects *objects, uint32_t id, enum vgpu_kind kind)
{
    /* acquire: pair with the release stores when they were set */
    char *base = __atomic_load_n(&objects->base, __ATOMIC_ACQUIRE);
    uint32_t used = __atomic_load_n(&objects->used, __ATOMIC_ACQUIRE);
    if (base == NULL || id < VGPU_HANDLE_FIRST || id - VGPU_HANDLE_FIRST >= used)
        return NULL;
    struct vgpu_object *object = object_in(base, id - VGPU_HANDLE_FIRST);
    return vgpu_object_is_kind(vgpu_object_tag(object), kind) ? object : NULL;
}

void vgpu_objects_put_context(struct vgpu_objects *objects, const struct vgpu_context *context)
{
    uint32_t used = __atomic_load_n(&objects->used, __ATOMIC_ACQUIRE);
    for (uint32_t slot = 0; slot < used; slot++) {
        struct vgpu_object *object = object_in(objects->base, slot);
        if (vgpu_object_lives(object) && object->context == context)
            vgpu_object_put(objects, object);
    }
}
