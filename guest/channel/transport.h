/* SPDX-License-Identifier: MIT */
/**
 * How a process reaches its window and the mediator. One vtable, two ways: the PCI device through
 * sysfs (root in a guest, polling) and a Unix socket (processes on the host; interrupts by
 * eventfd). Used by the CUDA library and by vgpu-mailbox; knows nothing of CUDA.
 *
 * Threads: mailbox() serialises inside; the rest may run in any thread at any time. Calls work only
 * in the process that opened the transport, not in its forked children.
 */
#ifndef VGPU_GUEST_TRANSPORT_H
#define VGPU_GUEST_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/mailbox.h"
#include "protocol/window.h"

struct vgpu_transport;

struct vgpu_transport_operations {
    /**
     * One exchange. Returns the response's length, at most VGPU_MAILBOX_BYTES, or -EHOSTDOWN (no
     * mediator, or it went away), -EBUSY (the mailbox stayed busy), -EMSGSIZE (bad length), -EIO.
     */
    int (*mailbox)(struct vgpu_transport *transport, const void *request, size_t length,
                   void *response);
    void (*ring_doorbell)(struct vgpu_transport *transport, uint32_t channel);
    /** Sleeps until `nanoseconds` have passed or, if it is to `listen`, the host raises an
     * interrupt; may wake early. An interrupt wakes one sleeper: with `interrupts`, one thread at a
     * time listens. */
    void (*sleep)(struct vgpu_transport *transport, uint64_t nanoseconds, bool listen);
    /** Frees all; in a forked child it only frees the child's copies. */
    void (*close)(struct vgpu_transport *transport);
    /** In a forked child: closes its copies of the descriptors, so that they keep nothing alive. */
    void (*forked)(struct vgpu_transport *transport);
    /** Called once a channel is open, so that it is closed for us should this process be killed. */
    int (*own_channel)(struct vgpu_transport *transport, uint32_t channel, uint32_t key);
};

struct vgpu_transport {
    const struct vgpu_transport_operations *operations;
    void *window; /* struct vgpu_window_header first; see vgpu_transport_use for the rest */
    uint64_t window_size;
    int window_file;                      /* for mapping parts of it elsewhere; -1: closed */
    uint64_t window_device, window_inode; /* of it, by which its mappings are known */
    uint32_t channel_count;
    bool interrupts;             /* sleep() is woken by the host: set guest_sleeps before it */
    bool forked;                 /* this process is a child of the one that opened the transport */
    struct vgpu_transport *next; /* transports of this process, kept by transport.c for fork */
    char name[112];              /* for messages: the PCI address, or the socket's path */
};

/** Where the mediator listens for host processes when VGPU_SOCKET is not set. */
#define VGPU_DEFAULT_SOCKET "/run/vgpu/process.sock"

/**
 * Opens the transport that the environment asks for: VGPU_SOCKET=path a socket; else the first vgpu
 * PCI device, else the default socket if there is one. Returns 0, -ENODEV (neither), -EACCES,
 * -EHOSTDOWN (socket: nobody listens), -EPROTO, -ECONNREFUSED (the mediator refused us). A line for
 * the user ("what happened, to what, what to do") goes into `message` on failure.
 */
int vgpu_transport_open(struct vgpu_transport **out, char *message, size_t message_size);

/** `functions` is the folder of PCI functions, VGPU_PCI_FUNCTIONS but in tests. */
#define VGPU_PCI_FUNCTIONS "/sys/bus/pci/devices"
int vgpu_transport_open_sysfs(const char *functions, struct vgpu_transport **out, char *message,
                              size_t message_size);
int vgpu_transport_open_socket(const char *path, struct vgpu_transport **out, char *message,
                               size_t message_size);

/** Writes the line for the user; returns `error`, so that a failing function can end with it. */
__attribute__((format(printf, 4, 5))) int
vgpu_transport_explain(char *message, size_t size, int error, const char *format, ...);

void vgpu_transport_close(struct vgpu_transport *transport);

/**
 * Moves a descriptor, which may be -1, to a high number, and returns that. What a program does with
 * low numbers it does not ask whose they are: it closes those that it has inherited, and writes to
 * 1 and 2 even where they were closed before we got them.
 */
int vgpu_transport_set_aside(int descriptor);

/**
 * Maps a part of the window at an address of this process, over what is there if `over`. Returns 0,
 * -EEXIST (something else is there) or another negative errno.
 */
int vgpu_transport_map(const struct vgpu_transport *transport, void *address, uint64_t offset,
                       size_t bytes, bool over);

/**
 * Lets this process read and write a part of the window where it is mapped as a whole; its header
 * and table may be used at once. A program that locks all of its memory (mlockall) has the kernel
 * provide what it may touch, and the window is larger than what there is. Returns 0, -EINVAL or
 * -ENOMEM.
 */
int vgpu_transport_use(const struct vgpu_transport *transport, uint64_t offset, size_t bytes);

/** Where in the guest the device is; false for a host process, whose device is the host's GPU. */
struct vgpu_pci_place {
    unsigned int domain, bus, device;
};
bool vgpu_transport_place(const struct vgpu_transport *transport, struct vgpu_pci_place *place);

/** True when the mediator that was connected when the transport was opened has gone. */
bool vgpu_transport_lost(const struct vgpu_transport *transport, uint32_t generation);

#endif
