/* SPDX-License-Identifier: MIT */
#include "guest/memory/mirror.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/code/code.h"
#include "guest/process/process.h"
#include "interop/log.h"
#include "protocol/send.h"

#define PAGE         ((uintptr_t)4096)
#define PUSHED_BYTES 16384u

struct vgpu_mirror {
    struct vgpu_mirror *next;
    char *address;
    size_t bytes;
    char *known; /* what both sides had last */
    bool ended;  /* its pages stay: another variable may come to lie there */
};

static bool holds_page(const struct vgpu_mirrors *mirrors, uintptr_t page)
{
    for (const struct vgpu_mirror *mirror = mirrors->first; mirror; mirror = mirror->next) {
        uintptr_t start = (uintptr_t)mirror->address & ~(PAGE - 1);
        if (page >= start && page < (uintptr_t)mirror->address + mirror->bytes)
            return true;
    }
    return false;
}

static bool map_pages(const struct vgpu_mirrors *mirrors, uint64_t address, size_t bytes)
{
    uintptr_t page = address & ~(PAGE - 1);
    for (; page < address + bytes; page += PAGE) {
        if (holds_page(mirrors, page))
            continue;
        void *wanted = (void *)page;
        void *memory = mmap(wanted, PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (memory == wanted)
            continue;
        if (memory != MAP_FAILED) /* a kernel that takes the address for a hint */
            munmap(memory, PAGE);
        vgpu_log(VGPU_LOG_ERROR, "a managed variable cannot be at %p here: the address is taken",
                 wanted);
        return false;
    }
    return true;
}

/* ---- one mirror, with the lock ---- */

static CUresult pull(struct vgpu_mirror *mirror, struct vgpu_channel *channel)
{
    char data[VGPU_REPLY_PAYLOAD_MAX];
    CUresult error = CUDA_SUCCESS;
    for (size_t at = 0; error == CUDA_SUCCESS && at < mirror->bytes; at += sizeof(data)) {
        size_t left = mirror->bytes - at, part = left < sizeof(data) ? left : sizeof(data), got = 0;
        error = vgpu_send_vgpuManagedRead(channel, 0, (uintptr_t)mirror->address + at,
                                          (uint32_t)part, data, sizeof(data), &got);
        if (error || got != part || memcmp(data, mirror->known + at, part) == 0)
            continue;
        /* Byte by byte: neighbours may be what the program has changed and nobody has been told. */
        for (size_t i = 0; i < part; i++) {
            if (data[i] != mirror->known[at + i])
                mirror->address[at + i] = mirror->known[at + i] = data[i];
        }
    }
    return error;
}

/* Sends the runs of bytes that differ, joined where that is cheaper than another record. */
static void push(struct vgpu_mirror *mirror, struct vgpu_channel *channel)
{
    for (size_t at = 0; at < mirror->bytes; at += PUSHED_BYTES) {
        size_t left = mirror->bytes - at, part = left < PUSHED_BYTES ? left : PUSHED_BYTES;
        char now[PUSHED_BYTES];
        size_t first = 0, last = part;
        memcpy(now, mirror->address + at, part); /* other threads may write to it meanwhile */
        if (memcmp(now, mirror->known + at, part) == 0)
            continue;
        while (now[first] == mirror->known[at + first])
            first++;
        while (now[last - 1] == mirror->known[at + last - 1])
            last--;
        if (vgpu_send_vgpuManagedWrite(channel, 0, (uintptr_t)mirror->address + at + first,
                                       now + first, (uint32_t)(last - first)) == CUDA_SUCCESS)
            memcpy(mirror->known + at + first, now + first, last - first);
    }
}

/* ---- all of them ---- */

CUresult vgpu_mirror_begin(struct vgpu_mirrors *mirrors, struct vgpu_channel *channel,
                           uint64_t address, size_t bytes)
{
    struct vgpu_mirror *mirror;
    CUresult error = CUDA_SUCCESS;
    pthread_mutex_lock(&mirrors->lock);
    for (mirror = mirrors->first; mirror; mirror = mirror->next) {
        if (!mirror->ended && (uintptr_t)mirror->address == address)
            goto unlock; /* somebody has asked for it before */
    }
    mirror = calloc(1, sizeof(*mirror));
    char *known = calloc(1, bytes);
    error = mirror == NULL || known == NULL       ? CUDA_ERROR_OUT_OF_MEMORY
            : !map_pages(mirrors, address, bytes) ? CUDA_ERROR_NOT_SUPPORTED
                                                  : CUDA_SUCCESS;
    if (error == CUDA_SUCCESS) {
        *mirror = (struct vgpu_mirror){
            .next = mirrors->first, .address = (char *)address, .bytes = bytes, .known = known};
        memset(mirror->address, 0, bytes); /* an ended one may have been there */
        mirrors->first = mirror;           /* whatever comes, its pages are ours now */
        error = pull(mirror, channel);
        mirror->ended = error != CUDA_SUCCESS;
        __atomic_add_fetch(&mirrors->count, error == CUDA_SUCCESS, __ATOMIC_RELAXED);
    } else {
        free(known);
        free(mirror);
    }
unlock:
    pthread_mutex_unlock(&mirrors->lock);
    return error;
}

void vgpu_mirror_end(struct vgpu_mirrors *mirrors, uint64_t address)
{
    pthread_mutex_lock(&mirrors->lock);
    for (struct vgpu_mirror *mirror = mirrors->first; mirror; mirror = mirror->next) {
        if (mirror->ended || (uintptr_t)mirror->address != address)
            continue;
        mirror->ended = true;
        free(mirror->known);
        mirror->known = NULL;
        __atomic_sub_fetch(&mirrors->count, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&mirrors->lock);
}

/* relaxed: who has made a variable known to another thread has ordered more than this */
static bool are_none(const struct vgpu_mirrors *mirrors)
{
    return __atomic_load_n(&mirrors->count, __ATOMIC_RELAXED) == 0;
}

void vgpu_mirrors_push(struct vgpu_mirrors *mirrors, struct vgpu_channel *channel)
{
    if (are_none(mirrors))
        return;
    pthread_mutex_lock(&mirrors->lock);
    for (struct vgpu_mirror *mirror = mirrors->first; mirror; mirror = mirror->next) {
        if (!mirror->ended)
            push(mirror, channel);
    }
    pthread_mutex_unlock(&mirrors->lock);
}

void vgpu_mirrors_pull(struct vgpu_mirrors *mirrors, struct vgpu_channel *channel)
{
    if (are_none(mirrors))
        return;
    pthread_mutex_lock(&mirrors->lock);
    for (struct vgpu_mirror *mirror = mirrors->first; mirror; mirror = mirror->next) {
        if (!mirror->ended)
            pull(mirror, channel);
    }
    pthread_mutex_unlock(&mirrors->lock);
}

/* ---- the entry point ---- */

CUresult cuLibraryGetManaged(CUdeviceptr *address, size_t *bytes, CUlibrary handle,
                             const char *name)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    uint64_t start = 0, size = 0;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    struct vgpu_object *library = vgpu_object_find(&process->objects, handle, VGPU_KIND_LIBRARY);
    if (library == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (name == NULL || (address == NULL && bytes == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(process, vgpu_send_cuLibraryGetManaged(caller.channel, 0, &start,
                                                                     &size, library->id, name));
    if (error == CUDA_SUCCESS)
        error = vgpu_mirror_begin(&process->mirrors, caller.channel, start, size);
    struct vgpu_range range = {.start = start,
                               .bytes = size,
                               .kind = VGPU_RANGE_VARIABLE,
                               .mirrored = true,
                               .owner = library,
                               .id = vgpu_process_new_id(process)};
    if (error == CUDA_SUCCESS && !vgpu_ranges_add(&process->ranges, &range))
        error = CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS && address)
        *address = start;
    if (error == CUDA_SUCCESS && bytes)
        *bytes = size;
    return error;
}
