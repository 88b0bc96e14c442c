/* SPDX-License-Identifier: MIT */
/** Where the other parts of vgpu lie, seen from the running program: installed or in a build tree.
 */
#ifndef VGPU_MEDIATOR_PATHS_H
#define VGPU_MEDIATOR_PATHS_H

#include <stddef.h>

enum vgpu_part {
    VGPU_PART_MEDIATOR,      /* the daemon */
    VGPU_PART_WORKER,        /* vgpu-worker */
    VGPU_PART_SOFTWARE_GPU,  /* the software GPU's library */
    VGPU_PART_GUEST_LIBRARY, /* the folder that holds our libcuda.so.1 */
};

/**
 * Writes the absolute path of the first place where the part exists; if it is nowhere, the place
 * where it would be installed and -ENOENT. -ENAMETOOLONG, or what readlink says: no path.
 */
int vgpu_path_find(enum vgpu_part part, char *path, size_t size);

#endif
