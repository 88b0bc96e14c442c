/* SPDX-License-Identifier: MIT */
#include "interop/cache_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES = VGPU_IMAGE_HASH_TEXT - 1 };

#define DEFAULT_BYTES (1ull << 30)
#define MOST_BYTES    ((uint64_t)256 << 20) /* of one file */

/* ---- the folder ---- */

static bool find_path(char *path, size_t size)
{
    const char *own = getenv("CUDA_CACHE_PATH"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int length = -1;

    if (own && *own)
        length = snprintf(path, size, "%s/vgpu", own);
    else if (cache && *cache == '/')
        length = snprintf(path, size, "%s/vgpu/compiled", cache);
    else if (home && *home == '/')
        length = snprintf(path, size, "%s/.cache/vgpu/compiled", home);
    return length > 0 && (size_t)length < size;
}

/* A descriptor of the folder; with `make`, it and those above it are made. -1: there is none. */
static int open_folder(bool make)
{
    char path[PATH_MAX];

    if (!find_path(path, sizeof(path)))
        return -1;
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0 || !make)
        return folder;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static uint64_t most_bytes(void)
{
    const char *text = getenv("CUDA_CACHE_MAXSIZE");
    char *end;

    if (!text || *text < '0' || *text > '9')
        return DEFAULT_BYTES;
    errno = 0;
    uint64_t bytes = strtoull(text, &end, 10);
    return errno || *end ? DEFAULT_BYTES : bytes;
}

/* ---- files: the hash of the content, then the content ---- */

static bool read_all(int file, void *to, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(file, (char *)to + done, bytes - done);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static bool write_all(int file, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t put = write(file, (const char *)data + done, bytes - done);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

/* New memory with the content, or NULL if the file is not whole. */
static void *read_file(int file, size_t *bytes)
{
    struct vgpu_image_hash said, found;
    struct stat status;
    void *data;

    if (fstat(file, &status) < 0 || !S_ISREG(status.st_mode) ||
        status.st_size <= (off_t)sizeof(said) || (uint64_t)status.st_size > MOST_BYTES)
        return NULL;
    *bytes = (size_t)status.st_size - sizeof(said);
    data = malloc(*bytes);
    if (data && read_all(file, &said, sizeof(said)) && read_all(file, data, *bytes)) {
        vgpu_image_hash(data, *bytes, &found);
        if (memcmp(&said, &found, sizeof(said)) == 0)
            return data;
    }
    free(data);
    return NULL;
}

bool vgpu_cache_folder_read(const struct vgpu_image_hash *name, void **data, size_t *bytes)
{
    char text[VGPU_IMAGE_HASH_TEXT];
    int folder = open_folder(false);
    int file;

    if (folder < 0)
        return false;
    vgpu_image_hash_text(name, text);
    file = openat(folder, text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *data = file < 0 ? NULL : read_file(file, bytes);
    if (*data)
        futimens(file, NULL); /* used just now */
    else if (file >= 0)
        unlinkat(folder, text, 0);
    if (file >= 0)
        close(file);
    close(folder);
    return *data != NULL;
}

/* ---- what was not used for longest ---- */

struct oldest {
    char name[NAME_BYTES + 1];
    struct timespec used;
    uint64_t bytes;
};

/* The bytes of all files, and the one that was not used for longest. */
static uint64_t measure(int folder, struct oldest *oldest)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    uint64_t bytes = 0;

    oldest->name[0] = '\0';
    if (!listing) {
        if (copy >= 0)
            close(copy);
        return 0;
    }
    while ((entry = readdir(listing))) {
        struct stat status;

        if (strlen(entry->d_name) != NAME_BYTES ||
            fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(status.st_mode))
            continue;
        bytes += (uint64_t)status.st_size;
        if (oldest->name[0] == '\0' || status.st_mtim.tv_sec < oldest->used.tv_sec ||
            (status.st_mtim.tv_sec == oldest->used.tv_sec &&
             status.st_mtim.tv_nsec < oldest->used.tv_nsec)) {
            memcpy(oldest->name, entry->d_name, sizeof(oldest->name));
            oldest->used = status.st_mtim;
            oldest->bytes = (uint64_t)status.st_size;
        }
    }
    closedir(listing);
    return bytes;
}

static void sweep(int folder)
{
    uint64_t limit = most_bytes();
    struct oldest oldest;

    /* A compilation takes longer than a look at the folder, and adds one file. */
    while (measure(folder, &oldest) > limit && oldest.name[0]) {
        if (unlinkat(folder, oldest.name, 0) < 0)
            return;
    }
}

void vgpu_cache_folder_write(const struct vgpu_image_hash *name, const void *data, size_t bytes)
{
    char text[VGPU_IMAGE_HASH_TEXT], temporary[48];
    struct vgpu_image_hash content;
    int folder, file;

    if (bytes == 0 || bytes + sizeof(content) > MOST_BYTES ||
        bytes + sizeof(content) > most_bytes() || (folder = open_folder(true)) < 0)
        return;
    vgpu_image_hash(data, bytes, &content);
    vgpu_image_hash_text(name, text);
    snprintf(temporary, sizeof(temporary), "new-%d-%.16s", (int)getpid(), text);
    file = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file >= 0) {
        bool good = write_all(file, &content, sizeof(content)) && write_all(file, data, bytes);

        if (close(file) < 0 || !good || renameat(folder, temporary, folder, text) < 0)
            unlinkat(folder, temporary, 0);
        sweep(folder);
    }
    close(folder);
}
