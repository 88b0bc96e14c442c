/* SPDX-License-Identifier: MIT */
/**
 * Preloaded: a disk that takes nothing as long as there is a file named by $STUCK_DISK, and that
 * fails if there is something in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int fdatasync(int fd);

int fdatasync(int fd)
{
    const char *stuck = getenv("STUCK_DISK");

    struct stat file;

    while (stuck && stat(stuck, &file) == 0) {
        if (file.st_size) {
            errno = EIO;
            return -1;
        }
        usleep(10000);
    }
    return (int)syscall(SYS_fdatasync, fd);
}
