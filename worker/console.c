/* SPDX-License-Identifier: MIT */
#include "worker/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/worker.h"

void vgpu_console_init(struct vgpu_console *console)
{
    *console = (struct vgpu_console){.file = -1};
}

int vgpu_console_open(struct vgpu_console *console)
{
    int file = memfd_create("vgpu-console", MFD_CLOEXEC);
    if (file < 0)
        return -errno;
    /* Appending, so that a writer goes on at the end after the file was cut to nothing. */
    if (fcntl(file, F_SETFL, O_APPEND) < 0 || dup2(file, STDOUT_FILENO) < 0) {
        int error = -errno;
        close(file);
        return error;
    }
    setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
    console->file = file;
    return 0;
}

void vgpu_console_close(struct vgpu_console *console)
{
    if (console->file >= 0)
        close(console->file);
    console->file = -1;
}

static off_t waiting(struct vgpu_console *console)
{
    struct stat status;
    fflush(stdout);
    if (fstat(console->file, &status) < 0 || status.st_size < console->taken)
        return 0;
    if (status.st_size > VGPU_CONSOLE_MOST_BYTES &&
        ftruncate(console->file, VGPU_CONSOLE_MOST_BYTES) == 0)
        status.st_size = VGPU_CONSOLE_MOST_BYTES;
    return status.st_size - console->taken;
}

void vgpu_console_publish(struct vgpu_console *console, struct vgpu_channel_header *header)
{
    if (console->file >= 0)
        /* pairs with the guest's load after it has seen the fence or reply that follows */
        __atomic_store_n(&header->console_pending, (uint32_t)waiting(console), __ATOMIC_RELEASE);
}

size_t vgpu_console_take(struct vgpu_console *console, void *text, size_t room)
{
    if (console->file < 0 || waiting(console) == 0)
        return 0;
    ssize_t got = pread(console->file, text, room, console->taken);
    if (got <= 0)
        return 0;
    console->taken += got;
    if (waiting(console) == 0 && ftruncate(console->file, 0) == 0)
        console->taken = 0;
    return (size_t)got;
}

CUresult vgpu_replay_vgpuConsoleRead(struct vgpu_worker *worker,
                                     struct vgpu_call_vgpuConsoleRead *call)
{
    call->text_bytes =
        (uint32_t)vgpu_console_take(&worker->console, call->text, call->text_capacity);
    vgpu_console_publish(&worker->console, vgpu_worker_channel(worker));
    return CUDA_SUCCESS;
}
