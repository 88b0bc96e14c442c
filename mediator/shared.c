/* SPDX-License-Identifier: MIT */
#include "mediator/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int vgpu_shared_create(const char *name, size_t size, int *fd, void **address)
{
    int memory = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int error;

    if (memory < 0)
        return -errno;
    if (ftruncate(memory, (off_t)size) < 0 ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        goto fail;
    *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (*address == MAP_FAILED)
        goto fail;
    *fd = memory;
    return 0;
fail:
    error = -errno;
    close(memory);
    return error;
}
