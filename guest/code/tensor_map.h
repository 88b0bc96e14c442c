/* SPDX-License-Identifier: MIT */
/**
 * Tensor maps that the host's driver has encoded. A map follows from what was asked alone, and
 * programs that encode their maps before each launch (JAX) ask the same again and again.
 */
#ifndef VGPU_GUEST_TENSOR_MAP_H
#define VGPU_GUEST_TENSOR_MAP_H

#include <pthread.h>

#define VGPU_TENSOR_MAPS_KNOWN 512u

struct vgpu_known_tensor_map;

/** One of a process; any thread may ask. What shares a place replaces each other. */
struct vgpu_tensor_maps {
    pthread_mutex_t lock;
    struct vgpu_known_tensor_map *known[VGPU_TENSOR_MAPS_KNOWN];
};

#endif
