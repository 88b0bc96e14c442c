/* SPDX-License-Identifier: MIT */
/* What kernels may reach where a map of pages does not say so, and how that is told. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "soft/simt/memory_state.h"

void *vgpu_memory_reserve(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    /* Sparse: a core file with all of it would be of no use to anybody. */
    madvise(at, size, MADV_DONTDUMP);
    return at;
}

/* ---- searching ---- */

size_t vgpu_memory_used_after(const struct vgpu_memory *m, uint64_t address)
{
    size_t low = 0, high = m->used_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (m->used[middle]->start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t vgpu_memory_host_from(const struct vgpu_memory *m, uint64_t address)
{
    size_t low = 0, high = m->host_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (m->hosts[middle].start < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- checks to the byte ---- */

int vgpu_memory_be_exact(struct vgpu_memory *m)
{
    if (m->no_pages == NULL)
        m->no_pages = vgpu_memory_reserve(VGPU_MAP_BYTES);
    return m->no_pages != NULL ? 0 : -ENOMEM;
}

/* The first byte from `address` on that is in no allocation or mapping, or `address`. */
static uint64_t end_of_reach(const struct vgpu_memory *m, uint64_t address)
{
    size_t at = vgpu_memory_used_after(m, address);

    if (at > 0 && address - m->used[at - 1]->start < m->used[at - 1]->wanted)
        return m->used[at - 1]->start + m->used[at - 1]->wanted;
    at = vgpu_memory_host_from(m, address + 1);
    if (at > 0 && address - m->hosts[at - 1].start < m->hosts[at - 1].size)
        return m->hosts[at - 1].start + m->hosts[at - 1].size;
    return address;
}

static bool reaches_exactly(struct vgpu_memory *m, uint64_t address, size_t size)
{
    uint64_t end, reach = address;

    if (__builtin_add_overflow(address, size, &end))
        return false;
    pthread_mutex_lock(&m->lock);
    while (reach < end) {
        uint64_t next = end_of_reach(m, reach);

        if (next == reach)
            break;
        reach = next;
    }
    pthread_mutex_unlock(&m->lock);
    return reach >= end;
}

/* What a peer has in its arena; what is mapped for its own kernels is theirs alone. */
static bool reaches_peer(struct vgpu_memory *peer, uint64_t address, size_t size)
{
    uint64_t offset = address - (uint64_t)(uintptr_t)peer->arena;

    if (offset >= peer->size || size > peer->size - offset)
        return false;
    return peer->no_pages != NULL ? reaches_exactly(peer, address, size)
                                  : vgpu_memory_accessible(peer, address, size);
}

bool vgpu_memory_reaches(struct vgpu_memory *m, uint64_t address, size_t size)
{
    if (m->no_pages != NULL && reaches_exactly(m, address, size))
        return true;
    for (unsigned n = 0; n < VGPU_MEMORY_PEERS; n++) {
        struct vgpu_memory *peer = atomic_load_explicit(&m->peers[n], memory_order_relaxed);

        if (peer != NULL && reaches_peer(peer, address, size))
            return true;
    }
    return false;
}

/* ---- peers ---- */

int vgpu_memory_set_peer(struct vgpu_memory *m, struct vgpu_memory *peer, bool reached)
{
    int error = reached ? -ENOSPC : 0;

    pthread_mutex_lock(&m->lock);
    for (unsigned n = 0; n < VGPU_MEMORY_PEERS; n++) {
        if (atomic_load_explicit(&m->peers[n], memory_order_relaxed) == peer)
            atomic_store_explicit(&m->peers[n], NULL, memory_order_relaxed);
    }
    for (unsigned n = 0; n < VGPU_MEMORY_PEERS && error != 0; n++) {
        if (atomic_load_explicit(&m->peers[n], memory_order_relaxed) == NULL) {
            atomic_store_explicit(&m->peers[n], peer, memory_order_relaxed);
            error = 0;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return error;
}

/* ---- where an address is ---- */

/* Of what is in use, and what was: the range that ends last before the address, or holds it. */
static const struct vgpu_range *range_before(const struct vgpu_memory *m, uint64_t address)
{
    const struct vgpu_range *found = NULL;

    for (const struct vgpu_range *r = m->first; r != NULL && r->start <= address; r = r->next)
        found = r->wanted != 0 ? r : found;
    return found;
}

void vgpu_memory_describe(struct vgpu_memory *m, uint64_t address, char *text, size_t size)
{
    const struct vgpu_range *r;
    size_t at;

    pthread_mutex_lock(&m->lock);
    r = range_before(m, address);
    at = vgpu_memory_used_after(m, address);
    if (address - (uint64_t)(uintptr_t)m->arena >= m->size)
        snprintf(text, size, "not in device memory");
    else if (r != NULL && address - r->start < r->wanted)
        snprintf(text, size, "in %s%zu bytes at 0x%llx", r->stale ? "freed " : "", r->wanted,
                 (unsigned long long)r->start);
    else if (at < m->used_count &&
             (r == NULL || m->used[at]->start - address < address - r->start - r->wanted))
        snprintf(text, size, "%llu before %zu bytes at 0x%llx",
                 (unsigned long long)(m->used[at]->start - address), m->used[at]->wanted,
                 (unsigned long long)m->used[at]->start);
    else if (r != NULL)
        snprintf(text, size, "%llu behind the end of %s%zu bytes at 0x%llx",
                 (unsigned long long)(address - r->start - r->wanted), r->stale ? "freed " : "",
                 r->wanted, (unsigned long long)r->start);
    else
        snprintf(text, size, "nothing is allocated");
    pthread_mutex_unlock(&m->lock);
}
