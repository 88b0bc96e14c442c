/* SPDX-License-Identifier: MIT */
/**
 * What is behind the handles that programs hold. A handle is the address of a slot of 2 KiB in one
 * reserved range: 0x500 bytes of zeros, because some old libraries look into handles, and behind
 * them the object. The slot's number gives the id that the object has on the wire. A slot is used
 * again as late as can be, so that a freed handle is recognised as such and never followed.
 *
 * Any thread may call these. Who frees an object while another thread uses it gets an error or a
 * stale object, but no fault: slots are never unmapped.
 */
#ifndef VGPU_GUEST_OBJECTS_H
#define VGPU_GUEST_OBJECTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/calls.h"

#define VGPU_SLOT_BYTES   2048u
#define VGPU_SLOT_PUBLIC  0x500u
#define VGPU_SLOT_PRIVATE (VGPU_SLOT_BYTES - VGPU_SLOT_PUBLIC)
/** So many slots are free before the first of them is used again. */
#define VGPU_SLOTS_RESTING 1024u

struct vgpu_context;

/** The first member of every object. */
struct vgpu_object {
    uint32_t tag;       /* atomic: enum vgpu_kind while it lives, with VGPU_OBJECT_ENDED after */
    uint32_t id;        /* on the wire */
    uint32_t next_free; /* slot; of the queue of free ones */
    struct vgpu_context *context; /* the context it dies with, or NULL */
    /** Releases what the object holds in this process; called once, by vgpu_object_put. */
    void (*end)(struct vgpu_object *object);
};

#define VGPU_OBJECT_ENDED 0x80000000u

struct vgpu_objects {
    pthread_mutex_t lock;
    char *base;          /* NULL until the first object; atomic */
    uint32_t used;       /* slots that were ever used; atomic */
    uint32_t accessible; /* slots whose memory may be touched */
    uint32_t free_first, free_last, free_count;
};

/** Initialises; memory is reserved with the first object. */
void vgpu_objects_init(struct vgpu_objects *objects);
void vgpu_objects_destroy(struct vgpu_objects *objects);

/** A new object, zero but for its base, of which `bytes` (at most VGPU_SLOT_PRIVATE) are used. It
 *  cannot be found before vgpu_object_publish. NULL: no memory, or no free slot. */
void *vgpu_object_take(struct vgpu_objects *objects, size_t bytes, struct vgpu_context *context);
void vgpu_object_publish(struct vgpu_object *object, enum vgpu_kind kind);

/** Ends an object and frees its slot. False if somebody else has done so. An object that was not
 *  published yet may be put, too. */
bool vgpu_object_put(struct vgpu_objects *objects, struct vgpu_object *object);

/* What follows is inline because every launch does it twice. */

static inline struct vgpu_object *vgpu_object_in_slot(char *slot)
{
    return (struct vgpu_object *)(slot + VGPU_SLOT_PUBLIC);
}

static inline bool vgpu_object_is_kind(uint32_t tag, enum vgpu_kind kind)
{
    if (kind == VGPU_KIND_LAUNCHABLE)
        return tag == VGPU_KIND_FUNCTION || tag == VGPU_KIND_KERNEL;
    return tag == (uint32_t)kind;
}

static inline uint32_t vgpu_object_tag(const struct vgpu_object *object)
{
    /* acquire: pairs with vgpu_object_publish */
    return __atomic_load_n(&object->tag, __ATOMIC_ACQUIRE);
}

static inline bool vgpu_object_lives(const struct vgpu_object *object)
{
    uint32_t tag = vgpu_object_tag(object);
    return tag != VGPU_KIND_NONE && !(tag & VGPU_OBJECT_ENDED);
}

/** The slot behind a handle, whatever is in it, or NULL if no handle of ours can be that. */
static inline struct vgpu_object *vgpu_object_behind(struct vgpu_objects *objects,
                                                     const void *handle)
{
    /* acquire: pair with the release stores when they were set */
    char *base = __atomic_load_n(&objects->base, __ATOMIC_ACQUIRE);
    uint32_t used = __atomic_load_n(&objects->used, __ATOMIC_ACQUIRE);
    uintptr_t offset = (uintptr_t)handle - (uintptr_t)base;
    if (base == NULL || offset % VGPU_SLOT_BYTES != 0 || offset / VGPU_SLOT_BYTES >= used)
        return NULL;
    return vgpu_object_in_slot(base + offset);
}

/** The living object of a kind (or of VGPU_KIND_LAUNCHABLE) behind a handle, or NULL. */
static inline void *vgpu_object_find(struct vgpu_objects *objects, const void *handle,
                                     enum vgpu_kind kind)
{
    struct vgpu_object *object = vgpu_object_behind(objects, handle);
    return object && vgpu_object_is_kind(vgpu_object_tag(object), kind) ? object : NULL;
}

/** The object behind a handle that is or was of this kind, or NULL. */
void *vgpu_object_recognise(struct vgpu_objects *objects, const void *handle, enum vgpu_kind kind);

/** The living object of a kind with this id, or NULL. */
void *vgpu_object_with_id(struct vgpu_objects *objects, uint32_t id, enum vgpu_kind kind);

/** Puts all objects that die with `context`. */
void vgpu_objects_put_context(struct vgpu_objects *objects, const struct vgpu_context *context);

static inline void *vgpu_object_handle(const void *object)
{
    return (char *)object - VGPU_SLOT_PUBLIC;
}

#endif
