/* SPDX-License-Identifier: MIT */
#include "worker/code/image_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/log.h"

static void count(uint64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* The whole of a file, privately: what is checked must be what is used. */
static int read_file(int file, struct vgpu_image_buffer *buffer)
{
    uint8_t piece[1 << 16];
    struct stat status;
    if (fstat(file, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    for (;;) {
        ssize_t got = read(file, piece, sizeof(piece));
        if (got == 0)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        int error = vgpu_image_buffer_append(buffer, piece, (size_t)got);
        if (error)
            return error;
    }
}

static bool is_what_it_is_called(const struct vgpu_image_buffer *buffer,
                                 const struct vgpu_image_hash *hash)
{
    struct vgpu_image_hash found;
    vgpu_image_hash(buffer->bytes, buffer->size, &found);
    return memcmp(&found, hash, sizeof(found)) == 0;
}

bool vgpu_image_cache_load(const struct vgpu_image_cache *cache, const struct vgpu_image_hash *hash,
                           struct vgpu_image_buffer *buffer)
{
    char name[VGPU_IMAGE_HASH_TEXT];
    vgpu_image_buffer_clear(buffer);
    if (cache->folder < 0)
        return false;
    vgpu_image_hash_text(hash, name);
    /* O_NONBLOCK: whoever put a pipe there shall not make us wait. */
    int file = openat(cache->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) {
        count(&cache->counters->missed);
        return false;
    }
    int error = read_file(file, buffer);
    bool good = error == 0 && is_what_it_is_called(buffer, hash);
    if (good) {
        futimens(file, NULL); /* the mediator removes what was not used for longest */
        count(&cache->counters->found);
    } else {
        vgpu_image_buffer_clear(buffer);
        count(&cache->counters->missed);
        if (error != -ENOMEM) {
            vgpu_log("image cache: %s is not what it is called, and was deleted", name);
            count(&cache->counters->poisoned);
            unlinkat(cache->folder, name, 0);
        }
    }
    close(file);
    return good;
}

/* Takes `bytes` off what this worker may store. */
static bool take_room(struct vgpu_worker_images *counters, uint64_t bytes)
{
    uint64_t room = __atomic_load_n(&counters->room, __ATOMIC_RELAXED);
    /* Relaxed: it is a number that the mediator sets anew now and then, and orders nothing. */
    do {
        if (room < bytes)
            return false;
    } while (!__atomic_compare_exchange_n(&counters->room, &room, room - bytes, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

static bool write_file(int file, const struct vgpu_image_buffer *buffer)
{
    for (size_t done = 0; done < buffer->size;) {
        ssize_t put = write(file, buffer->bytes + done, buffer->size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

void vgpu_image_cache_store(const struct vgpu_image_cache *cache,
                            const struct vgpu_image_hash *hash,
                            const struct vgpu_image_buffer *buffer)
{
    char name[VGPU_IMAGE_HASH_TEXT], temporary[32];
    if (cache->folder < 0 || !take_room(cache->counters, buffer->size))
        return;
    vgpu_image_hash_text(hash, name);
    snprintf(temporary, sizeof(temporary), "new-%d", (int)getpid());
    unlinkat(cache->folder, temporary, 0); /* of a dead worker that had our number */
    int file = openat(cache->folder, temporary,
                      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        vgpu_log("image cache: cannot write: %s; see image-cache= in mediator.conf(5)",
                 strerror(errno));
        return;
    }
    bool good = write_file(file, buffer);
    if (close(file) < 0 || !good || renameat(cache->folder, temporary, cache->folder, name) < 0) {
        vgpu_log("image cache: cannot write: %s; see image-cache= in mediator.conf(5)",
                 strerror(errno));
        unlinkat(cache->folder, temporary, 0);
        return;
    }
    count(&cache->counters->stored);
}
