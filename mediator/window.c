/* SPDX-License-Identifier: MIT */
#include "mediator/window.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

const char *vgpu_window_map(int fd, uint64_t size, void **head)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);

    if (size < VGPU_WINDOW_MINIMUM_SIZE)
        return "the window is smaller than 16 MiB";
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || seals < 0)
        return "the window is not a memfd";
    if ((uint64_t)status.st_size != size)
        return "the window's size is not what HELLO says";
    if (!(seals & F_SEAL_SHRINK))
        return "the window is not sealed against shrinking (F_SEAL_SHRINK)";
    *head = mmap(NULL, VGPU_WINDOW_EXTENTS_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*head == MAP_FAILED)
        return "the window cannot be mapped for writing";
    return NULL;
}

void vgpu_window_unmap(void *head)
{
    munmap(head, VGPU_WINDOW_EXTENTS_OFFSET);
}

void vgpu_window_clear_table(void *head)
{
    const struct vgpu_channel_entry free_entry = {.state = VGPU_CHANNEL_FREE};

    for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++)
        vgpu_window_publish(head, i, &free_entry);
}

void vgpu_window_publish(void *head, uint32_t index, const struct vgpu_channel_entry *entry)
{
    struct vgpu_channel_entry *place = vgpu_window_entry(head, index);

    place->error = entry->error;
    place->cause = entry->cause;
    place->key = entry->key;
    place->process = entry->process;
    place->offset = entry->offset;
    place->size = entry->size;
    /* Pairs with the acquire load of guests. */
    __atomic_store_n(&place->state, entry->state, __ATOMIC_RELEASE);
}

int vgpu_window_punch(int fd, uint64_t offset, uint64_t size)
{
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) < 0)
        return -errno;
    return 0;
}

int vgpu_window_is_eventfd(int fd)
{
    static const char wanted[] = "anon_inode:[eventfd]";
    char link[32], text[64];

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, text, sizeof(text));
    return length == sizeof(wanted) - 1 && memcmp(text, wanted, sizeof(wanted) - 1) == 0;
}

void vgpu_window_signal(int eventfd)
{
    const struct itimerval soon = {.it_interval.tv_usec = 2000, .it_value.tv_usec = 2000};
    const struct itimerval never = {0};
    struct pollfd writable = {.fd = eventfd, .events = POLLOUT};
    uint64_t one = 1;

    if (poll(&writable, 1, 0) <= 0 || !(writable.revents & POLLOUT))
        return; /* full: nobody who waits for it can be asleep */
    setitimer(ITIMER_REAL, &soon, NULL);
    if (write(eventfd, &one, sizeof(one)) < 0 && errno != EINTR && errno != EAGAIN)
        errno = 0; /* a client that broke its own eventfd sleeps until its own timeout */
    setitimer(ITIMER_REAL, &never, NULL);
}
