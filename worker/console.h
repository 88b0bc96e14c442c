/* SPDX-License-Identifier: MIT */
/**
 * What kernels print. A driver writes it to the standard output of its process, which in a worker
 * is a file in memory; the guest fetches it from there. For the worker's one thread.
 */
#ifndef VGPU_WORKER_CONSOLE_H
#define VGPU_WORKER_CONSOLE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** More than this is not kept for a guest that does not fetch it. */
#define VGPU_CONSOLE_MOST_BYTES (16u << 20)

struct vgpu_channel_header;

struct vgpu_console {
    int file;    /* -1: there is none */
    off_t taken; /* the guest has got this far */
};

void vgpu_console_init(struct vgpu_console *console);

/** Makes the file the process's standard output. Returns 0 or negative errno. */
int vgpu_console_open(struct vgpu_console *console);
void vgpu_console_close(struct vgpu_console *console);

/** Tells the guest how much there is. Do so before the fence that it synchronises with. */
void vgpu_console_publish(struct vgpu_console *console, struct vgpu_channel_header *header);

/** Takes out at most `room` bytes. Returns their number. */
size_t vgpu_console_take(struct vgpu_console *console, void *text, size_t room);

#endif
