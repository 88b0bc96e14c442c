/* SPDX-License-Identifier: MIT */
/** User objects: what a program wants destroyed when the last graph that needs it is gone. */
#ifndef VGPU_SOFT_DRIVER_USER_OBJECT_H
#define VGPU_SOFT_DRIVER_USER_OBJECT_H

#include <stdbool.h>

/** A graph's references to one user object. */
struct vgpu_held_object {
    struct vgpu_held_object *next;
    struct vgpu_user_object *object;
    unsigned int count;
};

/** Gives all of a list back. Any thread, with or without the graphs' lock. */
void vgpu_held_objects_release(struct vgpu_held_object **list);

/** Takes the same references for another graph; false if out of memory. */
bool vgpu_held_objects_copy(struct vgpu_held_object **to, const struct vgpu_held_object *from);

#endif
