/* SPDX-License-Identifier: MIT */
#include "mediator/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mediator/log.h"
#include "mediator/session.h"
#include "mediator/thread.h"

#define SWEEP_MILLISECONDS 10000
#define NAME_BYTES         64u /* SHA-256 in hexadecimal digits */
#define UNFINISHED_SECONDS 60  /* a file that is being written is renamed long before */
#define ROOM_SHARE         8u  /* of the limit, for one worker until the next sweep */

struct vgpu_image_file {
    char name[NAME_BYTES + 1];
    struct timespec used;
    uint64_t bytes;
};

struct vgpu_image_files {
    struct vgpu_image_file *file;
    size_t count, room;
    uint64_t bytes; /* of all */
};

static bool vgpu_images_is_name(const char *name)
{
    return strlen(name) == NAME_BYTES && strspn(name, "0123456789abcdef") == NAME_BYTES;
}

static void vgpu_images_add(struct vgpu_image_files *files, const char *name,
                            const struct stat *status)
{
    if (files->count == files->room) {
        size_t room = files->room ? files->room * 2 : 256;
        struct vgpu_image_file *grown = realloc(files->file, room * sizeof(*grown));

        if (!grown)
            return; /* the next sweep may find more */
        files->file = grown;
        files->room = room;
    }
    struct vgpu_image_file *file = &files->file[files->count++];
    memcpy(file->name, name, sizeof(file->name));
    file->used = status->st_mtim;
    file->bytes = (uint64_t)status->st_size;
    files->bytes += file->bytes;
}

static void vgpu_images_look(int folder, const char *name, time_t now,
                             struct vgpu_image_files *files)
{
    struct stat status;

    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (S_ISREG(status.st_mode) && vgpu_images_is_name(name))
        vgpu_images_add(files, name, &status);
    else if (S_ISREG(status.st_mode) && strncmp(name, "new-", 4) == 0 &&
             status.st_mtim.tv_sec + UNFINISHED_SECONDS < now)
        unlinkat(folder, name, 0);
}

static int vgpu_images_older(const void *left, const void *right)
{
    const struct timespec *a = &((const struct vgpu_image_file *)left)->used;
    const struct timespec *b = &((const struct vgpu_image_file *)right)->used;

    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

uint64_t vgpu_images_sweep(int folder, uint64_t limit)
{
    struct vgpu_image_files files = {0};
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;

    if (!listing) {
        if (copy >= 0)
            close(copy);
        return 0;
    }
    while ((entry = readdir(listing)))
        vgpu_images_look(folder, entry->d_name, time(NULL), &files);
    closedir(listing);
    if (files.bytes > limit)
        qsort(files.file, files.count, sizeof(*files.file), vgpu_images_older);
    for (size_t i = 0; i < files.count && files.bytes > limit; i++) {
        if (unlinkat(folder, files.file[i].name, 0) == 0 || errno == ENOENT)
            files.bytes -= files.file[i].bytes;
    }
    free(files.file);
    return files.bytes;
}

uint64_t vgpu_images_room(const struct vgpu_images *images)
{
    return images->limit / ROOM_SHARE;
}

/* Workers may store again what they could after the last sweep. */
static void vgpu_images_refill(struct vgpu_images *images)
{
    for (struct vgpu_session *session = images->mediator->sessions; session;
         session = session->next) {
        for (uint32_t i = 0; i < VGPU_DOORBELL_MAX; i++) {
            struct vgpu_channel *channel = session->channels[i];

            if (channel && channel->worker.page)
                __atomic_store_n(&channel->worker.page->images.room, vgpu_images_room(images),
                                 __ATOMIC_RELAXED);
        }
    }
}

static void *vgpu_images_run(void *user)
{
    struct vgpu_images *images = user;
    const uint64_t one = 1;

    images->sweep_left = vgpu_images_sweep(images->folder, images->sweep_limit);
    (void)!write(images->swept.fd, &one, sizeof(one));
    return NULL;
}

/** If there can be no thread, there may be one the next time. */
static void vgpu_images_expired(struct vgpu_timer *timer)
{
    struct vgpu_images *images = vgpu_container(timer, struct vgpu_images, timer);

    images->sweep_limit = images->limit;
    images->is_sweeping = vgpu_thread_start(&images->thread, vgpu_images_run, images) == 0;
    if (!images->is_sweeping)
        vgpu_timer_start(images->mediator->loop, timer, SWEEP_MILLISECONDS);
}

static void vgpu_images_join(struct vgpu_images *images)
{
    if (images->is_sweeping)
        pthread_join(images->thread, NULL);
    images->is_sweeping = false;
}

static void vgpu_images_swept(struct vgpu_source *source, uint32_t events)
{
    struct vgpu_images *images = vgpu_container(source, struct vgpu_images, swept);
    uint64_t times;

    (void)events;
    (void)!read(source->fd, &times, sizeof(times));
    vgpu_images_join(images);
    images->bytes = images->sweep_left;
    vgpu_images_refill(images);
    vgpu_timer_start(images->mediator->loop, &images->timer, SWEEP_MILLISECONDS);
}

/** The folder and those above it that are missing. */
static void vgpu_images_make(const char *path)
{
    char part[PATH_MAX];

    snprintf(part, sizeof(part), "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0755);
        *slash = '/';
    }
    mkdir(part, 0700);
}

/** Nobody else may write there: images are checked, but files could be taken away. */
static int vgpu_images_check(int folder)
{
    struct stat status;

    if (fstat(folder, &status) < 0)
        return -errno;
    return status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH)) ? 0 : -EPERM;
}

/** For the ends of sweeps. */
static int vgpu_images_watch(struct vgpu_images *images)
{
    images->swept.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return images->swept.fd < 0 ? -errno
                                : vgpu_loop_add(images->mediator->loop, &images->swept, EPOLLIN);
}

void vgpu_images_open(struct vgpu_images *images, struct vgpu_mediator *mediator)
{
    const char *path = mediator->config.image_cache;
    int error = 0;

    images->mediator = mediator;
    images->folder = -1;
    images->limit = mediator->config.image_cache_size;
    images->timer = (struct vgpu_timer){.source.fd = -1, .expired = vgpu_images_expired};
    images->swept = (struct vgpu_source){.fd = -1, .ready = vgpu_images_swept};
    if (!*path)
        return;
    vgpu_images_make(path);
    images->folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (images->folder < 0)
        error = -errno;
    if (!error)
        error = vgpu_images_check(images->folder);
    if (!error)
        error = vgpu_images_watch(images);
    if (error) {
        vgpu_images_close(images);
        vgpu_log(VGPU_LOG_INFO, "no image cache: %s: %s", path,
                 error == -EPERM ? "others may write to it" : strerror(-error));
        return;
    }
    images->bytes = vgpu_images_sweep(images->folder, images->limit);
    vgpu_log(VGPU_LOG_INFO, "image cache: %s, %llu of %llu MiB", path,
             (unsigned long long)(images->bytes >> 20), (unsigned long long)(images->limit >> 20));
    vgpu_timer_start(mediator->loop, &images->timer, SWEEP_MILLISECONDS);
}

void vgpu_images_close(struct vgpu_images *images)
{
    if (images->folder < 0)
        return;
    vgpu_timer_stop(images->mediator->loop, &images->timer);
    vgpu_images_join(images);
    vgpu_loop_remove(images->mediator->loop, &images->swept);
    close(images->folder);
    images->folder = -1;
}
