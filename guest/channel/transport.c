/* SPDX-License-Identifier: MIT */
#include "guest/channel/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_END 2048u /* the kernel's table grows with the highest one */
#define DESCRIPTORS     16u   /* that we have at most */

/* fork() is the process's business, so what must hear of it is found from the process. */
static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    struct vgpu_transport *first;
} transports = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void before_fork(void)
{
    pthread_mutex_lock(&transports.lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&transports.lock);
}

static void after_fork_in_child(void)
{
    for (struct vgpu_transport *transport = transports.first; transport;
         transport = transport->next) {
        if (!transport->forked)
            transport->operations->forked(transport);
        transport->forked = true;
    }
    pthread_mutex_unlock(&transports.lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int vgpu_transport_explain(char *message, size_t size, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, size, format, arguments);
    va_end(arguments);
    return error;
}

int vgpu_transport_set_aside(int descriptor)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t end = limit.rlim_cur < DESCRIPTORS_END ? limit.rlim_cur : DESCRIPTORS_END;
    int lowest = end > 2u * DESCRIPTORS ? (int)(end - DESCRIPTORS) : STDERR_FILENO + 1;
    int high = fcntl(descriptor, F_DUPFD_CLOEXEC, lowest);
    if (high < 0) /* others have those */
        high = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (high < 0)
        return descriptor;
    close(descriptor);
    return high;
}

static int open_any(struct vgpu_transport **out, char *message, size_t message_size)
{
    const char *path = getenv("VGPU_SOCKET");
    if (path && *path)
        return vgpu_transport_open_socket(path, out, message, message_size);
    int error = vgpu_transport_open_sysfs(VGPU_PCI_FUNCTIONS, out, message, message_size);
    if (error != -ENODEV || access(VGPU_DEFAULT_SOCKET, F_OK) != 0)
        return error;
    return vgpu_transport_open_socket(VGPU_DEFAULT_SOCKET, out, message, message_size);
}

int vgpu_transport_open(struct vgpu_transport **out, char *message, size_t message_size)
{
    struct stat window;
    int error = open_any(out, message, message_size);
    if (error)
        return error;
    if (fstat((*out)->window_file, &window) == 0) {
        (*out)->window_device = window.st_dev;
        (*out)->window_inode = window.st_ino;
    }
    pthread_once(&transports.once, watch_forks);
    pthread_mutex_lock(&transports.lock);
    (*out)->next = transports.first;
    transports.first = *out;
    pthread_mutex_unlock(&transports.lock);
    return 0;
}

void vgpu_transport_close(struct vgpu_transport *transport)
{
    pthread_mutex_lock(&transports.lock);
    for (struct vgpu_transport **link = &transports.first; *link; link = &(*link)->next) {
        if (*link == transport) {
            *link = transport->next;
            break;
        }
    }
    pthread_mutex_unlock(&transports.lock);
    transport->operations->close(transport);
}

int vgpu_transport_map(const struct vgpu_transport *transport, void *address, uint64_t offset,
                       size_t bytes, bool over)
{
    uint64_t end;
    if (transport->forked || __builtin_add_overflow(offset, bytes, &end) ||
        end > transport->window_size)
        return -EINVAL;
    void *memory = mmap(address, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | (over ? MAP_FIXED : MAP_FIXED_NOREPLACE),
                        transport->window_file, (off_t)offset);
    if (memory == MAP_FAILED)
        return -errno;
    if (memory == address)
        return 0;
    munmap(memory, bytes); /* a kernel that takes the address for a hint */
    return -EEXIST;
}

int vgpu_transport_use(const struct vgpu_transport *transport, uint64_t offset, size_t bytes)
{
    uint64_t end;
    if (__builtin_add_overflow(offset, bytes, &end) || end > transport->window_size)
        return -EINVAL;
    return mprotect((char *)transport->window + offset, bytes, PROT_READ | PROT_WRITE) < 0 ? -errno
                                                                                           : 0;
}

bool vgpu_transport_lost(const struct vgpu_transport *transport, uint32_t generation)
{
    const struct vgpu_window_header *header = transport->window;
    /* pairs with the release store by the window's maker */
    return __atomic_load_n(&header->connected, __ATOMIC_ACQUIRE) == 0 ||
           __atomic_load_n(&header->generation, __ATOMIC_RELAXED) != generation;
}

bool vgpu_transport_place(const struct vgpu_transport *transport, struct vgpu_pci_place *place)
{
    return sscanf(transport->name, "%x:%x:%x.", &place->domain, &place->bus, &place->device) == 3;
}
