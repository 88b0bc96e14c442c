/* SPDX-License-Identifier: MIT */
#include "interop/compile_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "image/hash.h"
#include "interop/cache_folder.h"

/* In memory: what one program compiles again and again is little. */
#define MEMORY_BYTES ((size_t)64 << 20)

struct vgpu_compile_key {
    struct vgpu_image_hash hash;
};

struct entry {
    struct entry *next; /* the one that was used last is first */
    struct vgpu_image_hash name;
    size_t bytes;
    uint8_t data[];
};

static struct {
    pthread_mutex_t lock;
    struct entry *entries;
    size_t bytes;
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- names ---- */

static void add_text(struct vgpu_image_hasher *hasher, const char *text)
{
    if (text)
        vgpu_image_hasher_add(hasher, text, strlen(text));
    vgpu_image_hasher_add(hasher, "", 1);
}

struct vgpu_compile_key *vgpu_compile_key_create(const struct vgpu_compile_inputs *inputs)
{
    const uint64_t numbers[] = {inputs->kind, inputs->architecture, inputs->source_bytes};
    struct vgpu_compile_key *key = malloc(sizeof(*key));
    struct vgpu_image_hasher hasher;

    if (!key)
        return NULL;
    vgpu_image_hasher_start(&hasher);
    vgpu_image_hasher_add(&hasher, numbers, sizeof(numbers));
    add_text(&hasher, inputs->options);
    add_text(&hasher, inputs->platform);
    add_text(&hasher, inputs->compiler);
    vgpu_image_hasher_add(&hasher, inputs->source, inputs->source_bytes);
    vgpu_image_hasher_finish(&hasher, &key->hash);
    return key;
}

void vgpu_compile_key_destroy(struct vgpu_compile_key *key)
{
    free(key);
}

/* ---- memory ---- */

static void *copy_of(const void *data, size_t bytes)
{
    void *copy = malloc(bytes ? bytes : 1);

    return copy ? memcpy(copy, data, bytes) : NULL;
}

static bool find_in_memory(const struct vgpu_image_hash *name, void **data, size_t *bytes)
{
    struct entry **link = &memory.entries;
    bool found = false;

    pthread_mutex_lock(&memory.lock);
    while (*link && memcmp(&(*link)->name, name, sizeof(*name)) != 0)
        link = &(*link)->next;
    if (*link) {
        struct entry *entry = *link;

        *link = entry->next;
        entry->next = memory.entries;
        memory.entries = entry;
        *data = copy_of(entry->data, entry->bytes);
        *bytes = entry->bytes;
        found = *data != NULL;
    }
    pthread_mutex_unlock(&memory.lock);
    return found;
}

/* Drops what was not used for longest until the rest fits. */
static void make_room(void)
{
    while (memory.bytes > MEMORY_BYTES && memory.entries) {
        struct entry **last = &memory.entries;

        while ((*last)->next)
            last = &(*last)->next;
        memory.bytes -= (*last)->bytes;
        free(*last);
        *last = NULL;
    }
}

static void keep_in_memory(const struct vgpu_image_hash *name, const void *data, size_t bytes)
{
    struct entry *entry = bytes <= MEMORY_BYTES ? malloc(sizeof(*entry) + bytes) : NULL;

    if (!entry)
        return;
    entry->name = *name;
    entry->bytes = bytes;
    memcpy(entry->data, data, bytes);
    pthread_mutex_lock(&memory.lock);
    entry->next = memory.entries;
    memory.entries = entry;
    memory.bytes += bytes;
    make_room();
    pthread_mutex_unlock(&memory.lock);
}

/* ---- both ---- */

static bool is_disabled(void)
{
    const char *text = getenv("CUDA_CACHE_DISABLE");

    return text && strtol(text, NULL, 10) != 0;
}

bool vgpu_compile_cache_find(const struct vgpu_compile_key *key, void **data, size_t *bytes)
{
    if (is_disabled())
        return false;
    if (find_in_memory(&key->hash, data, bytes))
        return true;
    if (!vgpu_cache_folder_read(&key->hash, data, bytes))
        return false;
    keep_in_memory(&key->hash, *data, *bytes);
    return true;
}

void vgpu_compile_cache_keep(const struct vgpu_compile_key *key, const void *data, size_t bytes)
{
    if (is_disabled())
        return;
    keep_in_memory(&key->hash, data, bytes);
    vgpu_cache_folder_write(&key->hash, data, bytes);
}
