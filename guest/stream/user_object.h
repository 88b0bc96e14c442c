/* SPDX-License-Identifier: MIT */
/** User objects: what a program wants destroyed when the last graph that uses it is gone. The
 *  driver counts the references; the destructor runs here. */
#ifndef VGPU_GUEST_USER_OBJECT_H
#define VGPU_GUEST_USER_OBJECT_H

#include "guest/process/objects.h"

struct vgpu_user_object {
    struct vgpu_object object;
    CUhostFn destroy;
    void *data;
    struct vgpu_user_object *next_gone; /* of those that were destroyed, and the host not told */
};

#endif
