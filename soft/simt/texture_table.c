/* SPDX-License-Identifier: MIT */
/* Handles of textures: slots in a table, with how often each was used in the upper bits. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "soft/simt/memory_pages.h"
#include "soft/simt/texture.h"

enum { SLOTS = 1 << 16, SLOT_BITS = 20 };

struct slot {
    uint64_t handle; /* atomic; 0 while there is no texture */
    uint32_t uses;
    uint32_t next_free; /* index + 1 */
    void *owner;
    struct vgpu_texture texture;
};

struct vgpu_texture_table {
    pthread_mutex_t lock;
    struct slot *slots; /* sparse */
    uint32_t used;      /* slots that ever were */
    uint32_t first_free;
};

int vgpu_texture_table_create(struct vgpu_texture_table **out)
{
    struct vgpu_texture_table *table = calloc(1, sizeof(*table));

    if (table == NULL)
        return -ENOMEM;
    table->slots = mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table->slots == MAP_FAILED) {
        free(table);
        return -ENOMEM;
    }
    pthread_mutex_init(&table->lock, NULL);
    *out = table;
    return 0;
}

void vgpu_texture_table_destroy(struct vgpu_texture_table *table)
{
    if (table == NULL)
        return;
    munmap(table->slots, SLOTS * sizeof(struct slot));
    pthread_mutex_destroy(&table->lock);
    free(table);
}

/* The slot of a handle that is in use, or NULL. */
static struct slot *find(const struct vgpu_texture_table *table, uint64_t handle)
{
    uint64_t index = (handle & ((1u << SLOT_BITS) - 1)) - 1;
    struct slot *slot;

    if (handle == 0 || index >= SLOTS)
        return NULL;
    slot = &table->slots[index];
    /* Acquire pairs with the release in vgpu_texture_create(): the texture is complete. */
    return __atomic_load_n(&slot->handle, __ATOMIC_ACQUIRE) == handle ? slot : NULL;
}

int vgpu_texture_create(struct vgpu_memory *memory, const struct vgpu_texture *texture, void *owner,
                        uint64_t *handle)
{
    struct vgpu_texture_table *table = vgpu_memory_textures(memory);
    struct slot *slot = NULL;

    pthread_mutex_lock(&table->lock);
    if (table->first_free != 0) {
        slot = &table->slots[table->first_free - 1];
        table->first_free = slot->next_free;
    } else if (table->used < SLOTS) {
        slot = &table->slots[table->used++];
    }
    if (slot != NULL) {
        slot->uses++;
        slot->owner = owner;
        slot->texture = *texture;
        *handle = (uint64_t)slot->uses << SLOT_BITS | (uint64_t)(slot - table->slots + 1);
        __atomic_store_n(&slot->handle, *handle, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&table->lock);
    return slot != NULL ? 0 : -ENOMEM;
}

void vgpu_texture_destroy(struct vgpu_memory *memory, uint64_t handle)
{
    struct vgpu_texture_table *table = vgpu_memory_textures(memory);
    struct slot *slot;

    pthread_mutex_lock(&table->lock);
    slot = find(table, handle);
    if (slot != NULL) {
        __atomic_store_n(&slot->handle, 0, __ATOMIC_RELAXED);
        slot->next_free = table->first_free;
        table->first_free = (uint32_t)(slot - table->slots) + 1;
    }
    pthread_mutex_unlock(&table->lock);
}

void *vgpu_texture_owner(struct vgpu_memory *memory, uint64_t handle)
{
    struct vgpu_texture_table *table = vgpu_memory_textures(memory);
    struct slot *slot;
    void *owner;

    pthread_mutex_lock(&table->lock);
    slot = find(table, handle);
    owner = slot != NULL ? slot->owner : NULL;
    pthread_mutex_unlock(&table->lock);
    return owner;
}

const struct vgpu_texture *vgpu_texture_find(const struct vgpu_memory *memory, uint64_t handle)
{
    const struct slot *slot = find(vgpu_memory_textures(memory), handle);

    return slot != NULL ? &slot->texture : NULL;
}
