/* SPDX-License-Identifier: MIT */
/**
 * What is behind a handle: a counted object in the table of living handles. A handle is the
 * object's address, and is looked up before it is followed, so a freed or wild one is an error of
 * the caller and never a crash.
 *
 * Any thread may call these. The table holds one reference of a published object.
 */
#ifndef VGPU_SOFT_DRIVER_OBJECT_H
#define VGPU_SOFT_DRIVER_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

struct vgpu_context;

enum vgpu_object_kind {
    VGPU_OBJECT_CONTEXT = 1,
    VGPU_OBJECT_STREAM,
    VGPU_OBJECT_EVENT,
    VGPU_OBJECT_MODULE,
    VGPU_OBJECT_FUNCTION,
    VGPU_OBJECT_LIBRARY,
    VGPU_OBJECT_ENTRY,
    VGPU_OBJECT_POOL,
    VGPU_OBJECT_PHYSICAL,
    VGPU_OBJECT_GRAPH,
    VGPU_OBJECT_NODE,
    VGPU_OBJECT_EXECUTABLE,
    VGPU_OBJECT_USER_OBJECT,
    VGPU_OBJECT_ARRAY,
    VGPU_OBJECT_MIPMAPPED_ARRAY,
    VGPU_OBJECT_LINKER,
    VGPU_OBJECT_TEXTURE,
    VGPU_OBJECT_TEXTURE_REFERENCE,
};

/** First member of every such object. */
struct vgpu_object {
    enum vgpu_object_kind kind;
    _Atomic unsigned int references;
    struct vgpu_context *owner; /* the context it dies with, or NULL */
    void (*destroy)(struct vgpu_object *object);
    struct vgpu_object *next; /* in the table */
};

/** Allocates `size` zeroed bytes that begin with a vgpu_object of one reference; NULL if out of
 * memory. */
void *vgpu_object_create(enum vgpu_object_kind kind, size_t size, struct vgpu_context *owner,
                         void (*destroy)(struct vgpu_object *object));

/** Makes the object's address a handle; the caller's reference becomes the table's. */
void vgpu_object_publish(void *object);

/** The object of a handle with one more reference, or NULL if it is no handle of that kind. */
void *vgpu_object_take(const void *handle, enum vgpu_object_kind kind);

/** One more reference to an object that the caller has one of. */
void *vgpu_object_share(void *object);

/** Gives a reference back; the last one destroys. NULL does nothing. */
void vgpu_object_put(void *object);

/** Ends a handle: the table's reference becomes the caller's. NULL if it is no handle of that kind.
 */
void *vgpu_object_withdraw(const void *handle, enum vgpu_object_kind kind);

/** Ends the handles of all objects that die with `owner`. */
void vgpu_object_withdraw_owned(const struct vgpu_context *owner);

#endif
