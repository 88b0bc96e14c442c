/* SPDX-License-Identifier: MIT */
#include "soft/simt/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "soft/simt/memory_state.h"
#include "soft/simt/texture.h"

#define PAGE_SIZE  ((size_t)1 << VGPU_PAGE_BITS)
#define LARGE_PAGE ((uint64_t)2 << 20)
#define SMALL_UNIT ((size_t)512)

static void free_list_add(struct vgpu_memory *m, struct vgpu_range *r)
{
    r->previous_free = NULL;
    r->next_free = m->first_free;
    if (m->first_free != NULL)
        m->first_free->previous_free = r;
    m->first_free = r;
}

static void free_list_remove(struct vgpu_memory *m, struct vgpu_range *r)
{
    if (r->previous_free != NULL)
        r->previous_free->next_free = r->next_free;
    else
        m->first_free = r->next_free;
    if (r->next_free != NULL)
        r->next_free->previous_free = r->previous_free;
}

int vgpu_memory_create(size_t size, struct vgpu_memory **out)
{
    struct vgpu_memory *m;

    if (size == 0 || __builtin_add_overflow(size, PAGE_SIZE - 1, &size))
        return -EINVAL;
    size &= ~(PAGE_SIZE - 1);
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return -ENOMEM;
    pthread_mutex_init(&m->lock, NULL);
    m->size = m->free_bytes = size;
    m->arena = vgpu_memory_reserve(size);
    m->pages = vgpu_memory_reserve(VGPU_MAP_BYTES);
    m->last_stale = &m->first_stale;
    m->first = calloc(1, sizeof(*m->first));
    if (m->arena == NULL || m->pages == NULL || m->first == NULL ||
        vgpu_texture_table_create(&m->textures) < 0) {
        vgpu_memory_destroy(m);
        return -ENOMEM;
    }
    m->first->start = (uint64_t)(uintptr_t)m->arena;
    m->first->size = size;
    free_list_add(m, m->first);
    *out = m;
    return 0;
}

void vgpu_memory_destroy(struct vgpu_memory *m)
{
    if (m == NULL)
        return;
    if (m->arena != NULL)
        munmap(m->arena, m->size);
    if (m->pages != NULL)
        munmap(m->pages, VGPU_MAP_BYTES);
    if (m->no_pages != NULL)
        munmap(m->no_pages, VGPU_MAP_BYTES);
    while (m->first != NULL) {
        struct vgpu_range *next = m->first->next;

        free(m->first);
        m->first = next;
    }
    vgpu_texture_table_destroy(m->textures);
    free(m->used);
    free(m->hosts);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

const uint8_t *vgpu_memory_pages(const struct vgpu_memory *m)
{
    return m->pages;
}

const uint8_t *vgpu_memory_kernel_pages(const struct vgpu_memory *m)
{
    return m->no_pages != NULL ? m->no_pages : m->pages;
}

struct vgpu_texture_table *vgpu_memory_textures(const struct vgpu_memory *m)
{
    return m->textures;
}

/* ---- validity of pages ---- */

static bool pages_add(struct vgpu_memory *m, uint64_t start, size_t size)
{
    uint64_t first = start >> VGPU_PAGE_BITS, last = (start + size - 1) >> VGPU_PAGE_BITS;

    for (uint64_t page = first; page <= last; page++) {
        if (m->pages[page] == UINT8_MAX)
            return false;
    }
    for (uint64_t page = first; page <= last; page++)
        __atomic_store_n(&m->pages[page], (uint8_t)(m->pages[page] + 1), __ATOMIC_RELAXED);
    return true;
}

static void pages_remove(struct vgpu_memory *m, uint64_t start, size_t size)
{
    uint64_t first = start >> VGPU_PAGE_BITS, last = (start + size - 1) >> VGPU_PAGE_BITS;

    for (uint64_t page = first; page <= last; page++)
        __atomic_store_n(&m->pages[page], (uint8_t)(m->pages[page] - 1), __ATOMIC_RELAXED);
}

bool vgpu_memory_accessible(const struct vgpu_memory *m, uint64_t address, size_t size)
{
    uint64_t last;

    if (size == 0)
        return true;
    if (__builtin_add_overflow(address, size - 1, &last) || last >> VGPU_ADDRESS_BITS != 0)
        return false;
    for (uint64_t page = address >> VGPU_PAGE_BITS; page <= last >> VGPU_PAGE_BITS; page++) {
        if (__atomic_load_n(&m->pages[page], __ATOMIC_RELAXED) == 0)
            return false;
    }
    return true;
}

/* ---- allocations ---- */

static bool used_insert(struct vgpu_memory *m, struct vgpu_range *r)
{
    size_t at;

    if (m->used_count == m->used_capacity) {
        size_t capacity = m->used_capacity == 0 ? 64 : m->used_capacity * 2;
        struct vgpu_range **grown = reallocarray(m->used, capacity, sizeof(*grown));

        if (grown == NULL)
            return false;
        m->used = grown;
        m->used_capacity = capacity;
    }
    at = vgpu_memory_used_after(m, r->start);
    memmove(&m->used[at + 1], &m->used[at], (m->used_count - at) * sizeof(*m->used));
    m->used[at] = r;
    m->used_count++;
    return true;
}

/* Splits `r` so that it ends at `size`; what is left becomes a free range. */
static bool split(struct vgpu_memory *m, struct vgpu_range *r, size_t size)
{
    struct vgpu_range *rest;

    if (r->size == size)
        return true;
    rest = calloc(1, sizeof(*rest));
    if (rest == NULL)
        return false;
    rest->start = r->start + size;
    rest->size = r->size - size;
    rest->previous = r;
    rest->next = r->next;
    if (r->next != NULL)
        r->next->previous = rest;
    r->next = rest;
    r->size = size;
    free_list_add(m, rest);
    return true;
}

static struct vgpu_range *find_room(struct vgpu_memory *m, size_t size, uint64_t *start)
{
    /* From a page up, whole pages: then a page is either all one allocation's or free. */
    size_t align = size >= PAGE_SIZE ? PAGE_SIZE : SMALL_UNIT;

    for (struct vgpu_range *r = m->first_free; r != NULL; r = r->next_free) {
        uint64_t at = (r->start + align - 1) & ~(uint64_t)(align - 1);

        if (at - r->start <= r->size && size <= r->size - (at - r->start)) {
            *start = at;
            return r;
        }
    }
    return NULL;
}

static void merge_with_next(struct vgpu_memory *m, struct vgpu_range *r)
{
    struct vgpu_range *next = r->next;

    free_list_remove(m, next);
    r->size += next->size;
    r->next = next->next;
    if (next->next != NULL)
        next->next->previous = r;
    free(next);
}

/* Makes a range free that is in no list. */
static void add_free(struct vgpu_memory *m, struct vgpu_range *r)
{
    r->wanted = 0;
    free_list_add(m, r);
    if (r->next != NULL && r->next->wanted == 0)
        merge_with_next(m, r);
    if (r->previous != NULL && r->previous->wanted == 0)
        merge_with_next(m, r->previous);
}

/* Lets ranges that were freed first be used again, until no more than `most` bytes are kept. */
static void release_stale(struct vgpu_memory *m, size_t most)
{
    while (m->stale_bytes > most && m->first_stale != NULL) {
        struct vgpu_range *r = m->first_stale;

        m->first_stale = r->next_stale;
        if (m->first_stale == NULL)
            m->last_stale = &m->first_stale;
        m->stale_bytes -= r->size;
        r->stale = false;
        r->next_stale = NULL;
        add_free(m, r);
    }
}

static void add_stale(struct vgpu_memory *m, struct vgpu_range *r)
{
    r->stale = true;
    *m->last_stale = r;
    m->last_stale = &r->next_stale;
    m->stale_bytes += r->size;
    release_stale(m, m->size / 2);
}

static int allocate(struct vgpu_memory *m, size_t wanted, size_t size, uint64_t *address)
{
    uint64_t start;
    /* Room in the arena is not enough: other memory of the device's may have been charged. */
    struct vgpu_range *r = size <= m->free_bytes ? find_room(m, size, &start) : NULL;

    if (r == NULL && m->stale_bytes > 0 && size <= m->free_bytes) {
        release_stale(m, 0);
        r = find_room(m, size, &start);
    }
    if (r == NULL)
        return -ENOMEM;
    if (start != r->start) {
        if (!split(m, r, start - r->start))
            return -ENOMEM;
        r = r->next;
    }
    if (!split(m, r, size) || !used_insert(m, r))
        return -ENOMEM;
    if (!pages_add(m, start, size)) {
        size_t at = vgpu_memory_used_after(m, start) - 1;

        memmove(&m->used[at], &m->used[at + 1], (m->used_count - at - 1) * sizeof(*m->used));
        m->used_count--;
        return -ENOMEM;
    }
    free_list_remove(m, r);
    r->wanted = wanted;
    m->free_bytes -= size;
    *address = start;
    return 0;
}

/* Kernels step through large arrays by more than a page at a time: with pages of 2 MiB the
   processor knows where they are. Only those that lie in the range as a whole. */
static void prefer_large_pages(uint64_t start, size_t size)
{
    uint64_t first = (start + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
    uint64_t end = (start + size) & ~(LARGE_PAGE - 1);

    if (first < end)
        (void)madvise((void *)(uintptr_t)first, end - first, MADV_HUGEPAGE);
}

int vgpu_memory_allocate(struct vgpu_memory *m, size_t wanted, uint64_t *address)
{
    size_t unit = wanted >= PAGE_SIZE ? PAGE_SIZE : SMALL_UNIT, size;
    int error;

    if (wanted == 0)
        return -EINVAL;
    if (__builtin_add_overflow(wanted, unit - 1, &size))
        return -ENOMEM;
    size &= ~(unit - 1);
    /* What comes behind the end is nobody else's. */
    if (m->no_pages != NULL && __builtin_add_overflow(size, unit, &size))
        return -ENOMEM;
    pthread_mutex_lock(&m->lock);
    error = allocate(m, wanted, size, address);
    pthread_mutex_unlock(&m->lock);
    if (error == 0)
        prefer_large_pages(*address, size);
    return error;
}

/* Pages go back to the system, and are zero when they come again; small ranges are wiped. */
static void wipe(uint64_t start, size_t size)
{
    if (size >= PAGE_SIZE && madvise((void *)(uintptr_t)start, size, MADV_DONTNEED) == 0)
        return;
    memset((void *)(uintptr_t)start, 0, size);
}

int vgpu_memory_free(struct vgpu_memory *m, uint64_t address)
{
    struct vgpu_range *r;
    size_t at;

    pthread_mutex_lock(&m->lock);
    at = vgpu_memory_used_after(m, address);
    if (at == 0 || m->used[at - 1]->start != address) {
        pthread_mutex_unlock(&m->lock);
        return -EINVAL;
    }
    r = m->used[--at];
    memmove(&m->used[at], &m->used[at + 1], (m->used_count - at - 1) * sizeof(*m->used));
    m->used_count--;
    pages_remove(m, r->start, r->size);
    wipe(r->start, r->size);
    m->free_bytes += r->size;
    if (m->no_pages != NULL)
        add_stale(m, r);
    else
        add_free(m, r);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

int vgpu_memory_find(struct vgpu_memory *m, uint64_t address, uint64_t *base, size_t *size)
{
    const struct vgpu_range *r;
    size_t at;
    int error = -ENOENT;

    pthread_mutex_lock(&m->lock);
    at = vgpu_memory_used_after(m, address);
    if (at > 0) {
        r = m->used[at - 1];
        if (address - r->start < r->wanted) {
            if (base != NULL)
                *base = r->start;
            if (size != NULL)
                *size = r->wanted;
            error = 0;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return error;
}

void vgpu_memory_info(struct vgpu_memory *m, size_t *free_bytes, size_t *total_bytes)
{
    pthread_mutex_lock(&m->lock);
    *free_bytes = m->free_bytes;
    *total_bytes = m->size;
    pthread_mutex_unlock(&m->lock);
}

/* ---- memory outside of the arena ---- */

int vgpu_memory_charge(struct vgpu_memory *m, size_t size)
{
    int error = -ENOMEM;

    pthread_mutex_lock(&m->lock);
    if (size <= m->free_bytes) {
        m->free_bytes -= size;
        error = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return error;
}

void vgpu_memory_discharge(struct vgpu_memory *m, size_t size)
{
    pthread_mutex_lock(&m->lock);
    m->free_bytes += size;
    pthread_mutex_unlock(&m->lock);
}

static int map_host(struct vgpu_memory *m, uint64_t address, size_t size)
{
    size_t at = vgpu_memory_host_from(m, address);

    if (at < m->host_count && m->hosts[at].start == address)
        return -EEXIST;
    if (m->host_count == m->host_capacity) {
        size_t capacity = m->host_capacity == 0 ? 16 : m->host_capacity * 2;
        struct vgpu_host_range *grown = reallocarray(m->hosts, capacity, sizeof(*grown));

        if (grown == NULL)
            return -ENOMEM;
        m->hosts = grown;
        m->host_capacity = capacity;
    }
    if (!pages_add(m, address, size))
        return -ENOMEM;
    memmove(&m->hosts[at + 1], &m->hosts[at], (m->host_count - at) * sizeof(*m->hosts));
    m->hosts[at] = (struct vgpu_host_range){address, size};
    m->host_count++;
    return 0;
}

int vgpu_memory_map_host(struct vgpu_memory *m, uint64_t address, size_t size)
{
    uint64_t last;
    int error;

    if (address == 0 || size == 0 || __builtin_add_overflow(address, size - 1, &last) ||
        last >> VGPU_ADDRESS_BITS != 0)
        return -EINVAL;
    pthread_mutex_lock(&m->lock);
    error = map_host(m, address, size);
    pthread_mutex_unlock(&m->lock);
    return error;
}

int vgpu_memory_unmap_host(struct vgpu_memory *m, uint64_t address)
{
    int error = -EINVAL;
    size_t at;

    pthread_mutex_lock(&m->lock);
    at = vgpu_memory_host_from(m, address);
    if (at < m->host_count && m->hosts[at].start == address) {
        pages_remove(m, address, m->hosts[at].size);
        m->host_count--;
        memmove(&m->hosts[at], &m->hosts[at + 1], (m->host_count - at) * sizeof(*m->hosts));
        error = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return error;
}
