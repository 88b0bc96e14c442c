/* SPDX-License-Identifier: MIT */
#include "mediator/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/** From the folder of the running program: installed (<prefix>/bin), or in a build tree. */
static const char *const vgpu_places[][2] = {
    [VGPU_PART_MEDIATOR] = {"vgpu-mediator", "vgpu-mediator"},
    [VGPU_PART_WORKER] = {"vgpu-worker", "../worker/vgpu-worker"},
    [VGPU_PART_SOFTWARE_GPU] = {"../" VGPU_LIBDIR "/libvgpu-soft.so",
                                "../soft/driver/libvgpu-soft.so"},
    [VGPU_PART_GUEST_LIBRARY] = {"../lib/vgpu", "../guest/lib"},
};

int vgpu_path_find(enum vgpu_part part, char *path, size_t size)
{
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof(folder) - 1);

    if (length < 0)
        return -errno;
    folder[length] = '\0';
    *strrchr(folder, '/') = '\0';
    /* A build tree is known by its folder's name, so that an older installation is not mixed in. */
    const char *name = strrchr(folder, '/');
    int place = name && strcmp(name, "/mediator") == 0;

    char found[PATH_MAX], clean[PATH_MAX];
    if ((size_t)snprintf(found, sizeof(found), "%s/%s", folder, vgpu_places[part][place]) >=
        sizeof(found))
        return -ENAMETOOLONG;
    bool exists = realpath(found, clean) != NULL;
    if ((size_t)snprintf(path, size, "%s", exists ? clean : found) >= size)
        return -ENAMETOOLONG;
    return exists ? 0 : -ENOENT;
}
