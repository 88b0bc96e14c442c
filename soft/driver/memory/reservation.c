/* SPDX-License-Identifier: MIT */
/* Reserved addresses: ranges of host memory that nothing else gets. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soft/driver/memory/virtual.h"

struct reservation {
    uint64_t start;
    size_t size;
};

/* Sorted by address. */
static struct {
    pthread_rwlock_t lock;
    struct reservation *list;
    size_t count;
    size_t room;
} reserved = {.lock = PTHREAD_RWLOCK_INITIALIZER};

/* The number of reservations that begin below `address`. Lock held. */
static size_t count_below(uint64_t address)
{
    size_t low = 0, high = reserved.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reserved.list[middle].start < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool remember(uint64_t start, size_t size)
{
    bool done = true;
    size_t at;

    pthread_rwlock_wrlock(&reserved.lock);
    if (reserved.count == reserved.room) {
        size_t room = reserved.room ? 2 * reserved.room : 16;
        struct reservation *list = reallocarray(reserved.list, room, sizeof(*list));
        done = list;
        if (list) {
            reserved.list = list;
            reserved.room = room;
        }
    }
    if (done) {
        at = count_below(start);
        memmove(&reserved.list[at + 1], &reserved.list[at],
                (reserved.count - at) * sizeof(*reserved.list));
        reserved.list[at] = (struct reservation){start, size};
        reserved.count++;
    }
    pthread_rwlock_unlock(&reserved.lock);
    return done;
}

static bool forget(uint64_t start, size_t size)
{
    bool found;
    size_t at;

    pthread_rwlock_wrlock(&reserved.lock);
    at = count_below(start);
    found =
        at < reserved.count && reserved.list[at].start == start && reserved.list[at].size == size;
    if (found) {
        reserved.count--;
        memmove(&reserved.list[at], &reserved.list[at + 1],
                (reserved.count - at) * sizeof(*reserved.list));
    }
    pthread_rwlock_unlock(&reserved.lock);
    return found;
}

bool vgpu_reserved(uint64_t address, size_t size)
{
    bool is;
    size_t at;

    pthread_rwlock_rdlock(&reserved.lock);
    at = count_below(address + size);
    is = at > 0 && reserved.list[at - 1].start + reserved.list[at - 1].size > address;
    pthread_rwlock_unlock(&reserved.lock);
    return is;
}

bool vgpu_reservation_find(uint64_t address, uint64_t *start, size_t *size)
{
    bool is;
    size_t at;

    pthread_rwlock_rdlock(&reserved.lock);
    at = count_below(address + 1);
    is = at > 0 && address - reserved.list[at - 1].start < reserved.list[at - 1].size;
    if (is) {
        *start = reserved.list[at - 1].start;
        *size = reserved.list[at - 1].size;
    }
    pthread_rwlock_unlock(&reserved.lock);
    return is;
}

/* Addresses that begin at a multiple of `alignment`, at `hint` if that is free; MAP_FAILED. */
static void *reserve(uint64_t hint, size_t size, size_t alignment)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint64_t got, start;
    size_t bytes;

    if (hint && vgpu_is_whole(hint, alignment)) {
        void *there = mmap((void *)(uintptr_t)hint, size, PROT_READ | PROT_WRITE,
                           flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (there != MAP_FAILED)
            return there;
    }
    if (__builtin_add_overflow(size, alignment, &bytes))
        return MAP_FAILED;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED)
        return memory;
    got = (uintptr_t)memory;
    start = (got + alignment - 1) / alignment * alignment;
    if (start > got)
        munmap(memory, start - got);
    if (start + size < got + bytes)
        munmap((void *)(uintptr_t)(start + size), got + bytes - start - size);
    return (void *)(uintptr_t)start;
}

CUresult cuMemAddressReserve(CUdeviceptr *ptr, size_t size, size_t alignment, CUdeviceptr addr,
                             unsigned long long flags)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    CUresult result = vgpu_driver_ready();
    void *memory;

    if (result != CUDA_SUCCESS)
        return result;
    if (!ptr || size == 0 || !vgpu_is_whole(size, VGPU_GRANULARITY) || !vgpu_is_whole(addr, page) ||
        flags || (alignment & (alignment - 1)))
        return CUDA_ERROR_INVALID_VALUE;
    memory = reserve(addr, size, alignment > VGPU_GRANULARITY ? alignment : VGPU_GRANULARITY);
    if (memory == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (!remember((uintptr_t)memory, size)) {
        munmap(memory, size);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    madvise(memory, size, MADV_DONTDUMP);
    *ptr = (uintptr_t)memory;
    return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr ptr, size_t size)
{
    struct vgpu_allocation mapped;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (size == 0 || (vgpu_allocation_next(ptr, &mapped) && mapped.address - ptr < size) ||
        !forget(ptr, size))
        return CUDA_ERROR_INVALID_VALUE;
    munmap((void *)(uintptr_t)ptr, size);
    return CUDA_SUCCESS;
}
