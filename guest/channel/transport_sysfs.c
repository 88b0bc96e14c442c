/* SPDX-License-Identifier: MIT */
/* The vgpu PCI function without a kernel module: BARs mapped through sysfs, by root, polling. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest/channel/reaper.h"
#include "guest/channel/registers.h"
#include "guest/channel/transport.h"
#include "interop/thread.h"

#define VGPU_PLAIN_VENDOR_ID 0x1af4 /* the same protocol without NVIDIA's ids */
#define VGPU_PLAIN_DEVICE_ID 0x1111
#define SLEEP_LIMIT          200000 /* ns: nobody wakes us before */

struct sysfs_transport {
    struct vgpu_transport transport; /* first: the vtable's functions are given this */
    pthread_mutex_t mailbox_lock;    /* locks of a file do not keep threads apart */
    volatile struct vgpu_registers *registers;
    int resource0;
    int reaper; /* -1 until a channel is owned */
};

static struct sysfs_transport *sysfs_transport(struct vgpu_transport *transport)
{
    return (struct sysfs_transport *)transport;
}

/* ------------------------------------------------------------------------------------------------
 * Operations
 */

/* A channel's lock is taken and dropped in the same hold of the mailbox as its opening and closing,
 * so that nobody finds an open channel without a lock but after its owner was killed. */
static void lock_channel(struct sysfs_transport *self, const void *request, size_t length,
                         const void *response, size_t answered)
{
    struct vgpu_mailbox_request head;
    struct vgpu_mailbox_channel opened;
    struct vgpu_mailbox_channel_close closed;
    struct vgpu_mailbox_response status;
    if (length < sizeof(head) || answered < sizeof(status))
        return;
    memcpy(&head, request, sizeof(head));
    memcpy(&status, response, sizeof(status));
    if (status.status != VGPU_MAILBOX_OK)
        return;
    if (head.op == VGPU_MAILBOX_CHANNEL_OPEN && answered >= sizeof(opened)) {
        memcpy(&opened, response, sizeof(opened));
        if (opened.channel < self->transport.channel_count)
            vgpu_registers_try_lock(self->resource0, VGPU_LOCK_CHANNEL(opened.channel));
    } else if (head.op == VGPU_MAILBOX_CHANNEL_CLOSE && length >= sizeof(closed)) {
        memcpy(&closed, request, sizeof(closed));
        if (closed.channel < self->transport.channel_count)
            vgpu_registers_unlock(self->resource0, VGPU_LOCK_CHANNEL(closed.channel));
    }
}

static int sysfs_mailbox(struct vgpu_transport *transport, const void *request, size_t length,
                         void *response)
{
    struct sysfs_transport *self = sysfs_transport(transport);
    if (transport->forked)
        return -EHOSTDOWN;
    int cancelling = vgpu_thread_keep();
    pthread_mutex_lock(&self->mailbox_lock);
    int result = vgpu_registers_lock_mailbox(self->resource0);
    if (result == 0) {
        result = vgpu_registers_exchange(self->registers, request, length, response);
        if (result > 0)
            lock_channel(self, request, length, response, (size_t)result);
        vgpu_registers_unlock(self->resource0, VGPU_LOCK_MAILBOX);
    }
    pthread_mutex_unlock(&self->mailbox_lock);
    vgpu_thread_let_cancel(cancelling);
    return result;
}

static void sysfs_ring_doorbell(struct vgpu_transport *transport, uint32_t channel)
{
    volatile uint8_t *bar = (volatile uint8_t *)sysfs_transport(transport)->registers;
    if (transport->forked || channel >= transport->channel_count)
        return;
    *(volatile uint32_t *)(bar + VGPU_DOORBELL_OFFSET + channel * sizeof(uint32_t)) = 1;
}

static void sysfs_sleep(struct vgpu_transport *transport, uint64_t nanoseconds, bool listen)
{
    (void)transport, (void)listen;
    struct timespec time = {.tv_nsec = nanoseconds < SLEEP_LIMIT ? (long)nanoseconds : SLEEP_LIMIT};
    nanosleep(&time, NULL);
}

static int sysfs_own_channel(struct vgpu_transport *transport, uint32_t channel, uint32_t key)
{
    struct sysfs_transport *self = sysfs_transport(transport);
    struct vgpu_reaped reaped = {.resource0 = self->resource0,
                                 .registers = self->registers,
                                 .window = transport->window,
                                 .channel = channel,
                                 .key = key};
    int reaper = vgpu_reaper_start(&reaped);
    if (reaper < 0)
        return reaper;
    self->reaper = vgpu_transport_set_aside(reaper);
    return 0;
}

static void sysfs_forked(struct vgpu_transport *transport)
{
    struct sysfs_transport *self = sysfs_transport(transport);
    close(self->resource0);
    if (self->reaper >= 0)
        close(self->reaper); /* without a word: the reaper is our parent's */
    close(transport->window_file);
    self->resource0 = self->reaper = transport->window_file = -1;
}

static void sysfs_close(struct vgpu_transport *transport)
{
    struct sysfs_transport *self = sysfs_transport(transport);
    if (self->reaper >= 0)
        vgpu_reaper_stop(self->reaper);
    if (self->registers)
        munmap((void *)self->registers, VGPU_REGISTERS_SIZE);
    if (transport->window)
        munmap(transport->window, transport->window_size);
    if (transport->window_file >= 0)
        close(transport->window_file);
    if (self->resource0 >= 0)
        close(self->resource0);
    pthread_mutex_destroy(&self->mailbox_lock);
    free(self);
}

static const struct vgpu_transport_operations sysfs_operations = {
    .mailbox = sysfs_mailbox,
    .ring_doorbell = sysfs_ring_doorbell,
    .sleep = sysfs_sleep,
    .close = sysfs_close,
    .forked = sysfs_forked,
    .own_channel = sysfs_own_channel,
};

/* ------------------------------------------------------------------------------------------------
 * Finding the function
 */

static unsigned long read_number(int folder, const char *name)
{
    char text[32] = "";
    int file = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t got = read(file, text, sizeof(text) - 1);
    close(file);
    return got > 0 ? strtoul(text, NULL, 0) : 0;
}

/* A real GPU may have our ids, but not a BAR0 of our size: it is left alone. */
static bool looks_like_vgpu(int folder)
{
    unsigned long vendor = read_number(folder, "vendor"), device = read_number(folder, "device");
    struct stat resource;
    if (!(vendor == VGPU_PCI_VENDOR_ID && device == VGPU_PCI_DEVICE_ID &&
          read_number(folder, "class") >> 8 == VGPU_PCI_CLASS) &&
        !(vendor == VGPU_PLAIN_VENDOR_ID && device == VGPU_PLAIN_DEVICE_ID))
        return false;
    return fstatat(folder, "resource0", &resource, 0) == 0 &&
           resource.st_size == VGPU_REGISTERS_SIZE;
}

static int enable(int folder)
{
    if (read_number(folder, "enable") != 0)
        return 0;
    int file = openat(folder, "enable", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int error = write(file, "1", 1) == 1 ? 0 : -errno;
    close(file);
    return error;
}

static int map_file(int file, size_t bytes, void **out)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED)
        return -errno;
    *out = memory;
    return 0;
}

static int map_window(struct sysfs_transport *self, int folder)
{
    /* Write-combining if the BAR may be; opened first, because the first mapping's type wins. */
    int file = openat(folder, "resource1_wc", O_RDWR | O_CLOEXEC);
    if (file < 0 && errno == ENOENT)
        file = openat(folder, "resource1", O_RDWR | O_CLOEXEC);
    struct stat resource;
    if (file < 0)
        return -errno;
    file = self->transport.window_file = vgpu_transport_set_aside(file);
    if (fstat(file, &resource) < 0)
        return -errno;
    int error = -EPROTO;
    if (resource.st_size >= (off_t)VGPU_WINDOW_MINIMUM_SIZE) {
        error = map_file(file, (size_t)resource.st_size, &self->transport.window);
        if (!error)
            self->transport.window_size = (uint64_t)resource.st_size;
    }
    return error;
}

/* Compares what the mapped device says with what we were built for. */
static int check_device(struct sysfs_transport *self, char *message, size_t size)
{
    volatile struct vgpu_registers *registers = self->registers;
    const struct vgpu_window_header *header = self->transport.window;
    const char *name = self->transport.name;
    uint64_t window = (uint64_t)registers->window_size_high << 32 | registers->window_size_low;
    if (registers->version != VGPU_PROTOCOL_VERSION)
        return vgpu_transport_explain(
            message, size, -EPROTO,
            "the device %s speaks protocol %u, this library %u: install the vgpu guest "
            "package that fits the host",
            name, registers->version, VGPU_PROTOCOL_VERSION);
    self->transport.channel_count = registers->channel_count;
    if (self->transport.channel_count == 0 || self->transport.channel_count > VGPU_DOORBELL_MAX ||
        window != self->transport.window_size || header->magic != VGPU_WINDOW_MAGIC ||
        header->version != VGPU_PROTOCOL_VERSION)
        return vgpu_transport_explain(
            message, size, -EPROTO, "the device %s describes itself wrongly: is its window mapped?",
            name);
    uint32_t status = registers->status;
    if (status & VGPU_STATUS_REFUSED)
        return vgpu_transport_explain(
            message, size, -ECONNREFUSED,
            "the host's mediator refuses this VM (device %s): see its log", name);
    if (!(status & VGPU_STATUS_CONNECTED))
        return vgpu_transport_explain(
            message, size, -EHOSTDOWN,
            "no mediator is connected to the device %s: ask the host's administrator", name);
    return 0;
}

static int map_device(struct sysfs_transport *self, int folder, char *message, size_t size)
{
    const char *name = self->transport.name;
    int error = enable(folder);
    self->resource0 = openat(folder, "resource0", O_RDWR | O_CLOEXEC);
    if (!error && self->resource0 < 0)
        error = -errno;
    self->resource0 = vgpu_transport_set_aside(self->resource0);
    void *registers = NULL;
    if (!error)
        error = map_file(self->resource0, VGPU_REGISTERS_SIZE, &registers);
    self->registers = registers;
    if (error == -EACCES || (error == -EPERM && geteuid() != 0))
        return vgpu_transport_explain(
            message, size, -EACCES,
            "no permission for the device %s: without the vgpu kernel module it is "
            "root's alone",
            name);
    if (error == -EPERM)
        return vgpu_transport_explain(
            message, size, -EACCES,
            "the kernel is locked down and does not let the device %s be mapped: it "
            "needs the vgpu kernel module, or no Secure Boot",
            name);
    if (registers && self->registers->magic != VGPU_MAGIC)
        return vgpu_transport_explain(message, size, -ENODEV, "the device %s is not a vgpu", name);
    if (!error)
        error = map_window(self, folder);
    if (error || !registers)
        return vgpu_transport_explain(message, size, error == -EACCES ? error : -EPROTO,
                                      "cannot map the device %s: %s", name, strerror(-error));
    return check_device(self, message, size);
}

/* Channels of processes that were killed, their reapers too: open, and nobody holds their lock. */
static void reclaim_channels(struct sysfs_transport *self)
{
    uint8_t response[VGPU_MAILBOX_BYTES];
    if (vgpu_registers_lock_mailbox(self->resource0) != 0)
        return;
    for (uint32_t i = 0; i < self->transport.channel_count; i++) {
        struct vgpu_channel_entry *entry = vgpu_window_entry(self->transport.window, i);
        /* acquire: pairs with the mediator's release store */
        if (__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) == VGPU_CHANNEL_FREE ||
            !vgpu_registers_try_lock(self->resource0, VGPU_LOCK_CHANNEL(i)))
            continue;
        struct vgpu_mailbox_channel_close request = {
            .request.op = VGPU_MAILBOX_CHANNEL_CLOSE, .channel = i, .key = entry->key};
        vgpu_registers_exchange(self->registers, &request, sizeof(request), response);
        vgpu_registers_unlock(self->resource0, VGPU_LOCK_CHANNEL(i));
    }
    vgpu_registers_unlock(self->resource0, VGPU_LOCK_MAILBOX);
}

static int open_function(int folder, const char *name, struct vgpu_transport **out, char *message,
                         size_t size)
{
    struct sysfs_transport *self = calloc(1, sizeof(*self));
    if (!self)
        return vgpu_transport_explain(message, size, -ENOMEM, "out of memory");
    self->transport.operations = &sysfs_operations;
    self->resource0 = self->reaper = self->transport.window_file = -1;
    pthread_mutex_init(&self->mailbox_lock, NULL);
    snprintf(self->transport.name, sizeof(self->transport.name), "%.111s", name);
    int error = map_device(self, folder, message, size);
    if (error) {
        sysfs_close(&self->transport);
        return error;
    }
    reclaim_channels(self);
    *out = &self->transport;
    return 0;
}

int vgpu_transport_open_sysfs(const char *functions, struct vgpu_transport **out, char *message,
                              size_t message_size)
{
    struct dirent **names = NULL;
    int count = scandir(functions, &names, NULL, alphasort);
    int root = open(functions, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int result =
        vgpu_transport_explain(message, message_size, -ENODEV, "no vgpu device in this machine");
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        int folder = name[0] == '.' ? -1 : openat(root, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (folder >= 0 && result == -ENODEV && looks_like_vgpu(folder))
            result = open_function(folder, name, out, message, message_size);
        if (folder >= 0)
            close(folder);
        free(names[i]);
    }
    free(names);
    if (root >= 0)
        close(root);
    return result;
}
