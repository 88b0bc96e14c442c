/* SPDX-License-Identifier: MIT */
#include "guest/memory/share.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/process/process.h"
#include "interop/log.h"
#include "protocol/send.h"

/* Places to propose to the worker where the one it chose is taken here. */
#define PROPOSALS 4
#define PAGE      ((size_t)4096)

static CUresult in_worker(const struct vgpu_caller *caller, const struct vgpu_window_extent *extent,
                          uintptr_t wanted, uintptr_t *address)
{
    uint64_t mapped = 0;
    CUresult error =
        vgpu_process_note(vgpu_process(), vgpu_send_vgpuHostMap(caller->channel, caller->context,
                                                                &mapped, wanted, extent->number));
    *address = (uintptr_t)mapped;
    switch (error) {
    case CUDA_ERROR_INVALID_VALUE: /* what drivers say of memory that they do not pin */
    case CUDA_ERROR_NOT_PERMITTED:
    case CUDA_ERROR_OPERATING_SYSTEM:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return error;
    }
}

/* Where the worker's kernel finds room: in its layout that is where this process has nothing. */
static CUresult where_worker_likes(const struct vgpu_caller *caller, struct vgpu_share *share)
{
    uintptr_t address;
    CUresult error = in_worker(caller, &share->extent, 0, &address);
    if (error)
        return error;
    share->address = (void *)address;
    if (vgpu_channel_map_extent(caller->channel, &share->extent, share->address, false) == 0)
        return CUDA_SUCCESS;
    vgpu_send_vgpuHostUnmap(caller->channel, 0, share->extent.number);
    return CUDA_ERROR_ALREADY_MAPPED;
}

/* Where this process has room. Places are held while the worker is asked, so that each is another.
 */
static CUresult where_we_like(const struct vgpu_caller *caller, struct vgpu_share *share)
{
    void *held[PROPOSALS];
    int count = 0;
    CUresult error = CUDA_ERROR_ALREADY_MAPPED;
    while (error == CUDA_ERROR_ALREADY_MAPPED && count < PROPOSALS) {
        uintptr_t address;
        held[count] = mmap(NULL, share->extent.bytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (held[count] == MAP_FAILED)
            break;
        error = in_worker(caller, &share->extent, (uintptr_t)held[count++], &address);
    }
    if (error == CUDA_SUCCESS) {
        share->address = held[--count];
        if (vgpu_channel_map_extent(caller->channel, &share->extent, share->address, true) < 0) {
            vgpu_send_vgpuHostUnmap(caller->channel, 0, share->extent.number);
            munmap(share->address, share->extent.bytes);
            error = CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    while (count > 0)
        munmap(held[--count], share->extent.bytes);
    return error;
}

CUresult vgpu_share_anywhere(const struct vgpu_caller *caller, size_t bytes,
                             struct vgpu_share *share)
{
    CUresult error = vgpu_channel_open_extent(caller->channel, bytes, &share->extent);
    if (error)
        return error;
    error = where_worker_likes(caller, share);
    if (error == CUDA_ERROR_ALREADY_MAPPED)
        error = where_we_like(caller, share);
    if (error)
        vgpu_channel_close_extent(caller->channel, &share->extent);
    if (error != CUDA_ERROR_ALREADY_MAPPED && error != CUDA_ERROR_NOT_SUPPORTED)
        return error;
    vgpu_log(
        VGPU_LOG_ERROR, "pinned memory is ordinary memory here, and the device cannot reach it: %s",
        error == CUDA_ERROR_ALREADY_MAPPED ? "no address is free in this process and on the host"
                                           : "the host's driver does not map it");
    return CUDA_ERROR_NOT_SUPPORTED;
}

/* No sanitizer may look, and no memcpy of one may be called: the program may not touch all of it.
 */
__attribute__((no_sanitize("address"))) static void copy_words(char *to, const char *from,
                                                               size_t bytes)
{
    volatile uint64_t *word = (volatile uint64_t *)(void *)to;
    const volatile uint64_t *source = (const volatile uint64_t *)(const void *)from;
    for (size_t i = 0; i < bytes / sizeof(*word); i++)
        word[i] = source[i];
}

void vgpu_share_copy_pages(void *to, const void *from, size_t bytes)
{
    copy_words(to, from, bytes);
    copy_words((char *)to + bytes - PAGE, (const char *)from + bytes - PAGE, PAGE);
    copy_words(to, from, PAGE);
}

/* Not everything can be replaced page by page: huge pages of their own kind are whole. */
static CUresult replace(struct vgpu_channel *channel, const struct vgpu_share *share, size_t bytes)
{
    char *shared = vgpu_channel_extent_memory(channel, &share->extent);
    if (shared == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    vgpu_share_copy_pages(shared, share->address, bytes);
    int error = vgpu_channel_map_extent(channel, &share->extent, share->address, true);
    return error == 0         ? CUDA_SUCCESS
           : error == -EINVAL ? CUDA_ERROR_NOT_SUPPORTED
                              : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult vgpu_share_over(const struct vgpu_caller *caller, void *address, size_t bytes,
                         struct vgpu_share *share)
{
    uintptr_t mapped;
    CUresult error = vgpu_channel_open_extent(caller->channel, bytes, &share->extent);
    if (error)
        return error;
    share->address = address;
    error = in_worker(caller, &share->extent, (uintptr_t)address, &mapped);
    if (error == CUDA_SUCCESS) {
        error = replace(caller->channel, share, bytes);
        if (error == CUDA_SUCCESS)
            return error;
        vgpu_send_vgpuHostUnmap(caller->channel, 0, share->extent.number);
    }
    vgpu_channel_close_extent(caller->channel, &share->extent);
    return error == CUDA_ERROR_ALREADY_MAPPED ? CUDA_ERROR_NOT_SUPPORTED : error;
}

void vgpu_share_abandon(struct vgpu_channel *channel, const struct vgpu_share *share)
{
    if (vgpu_send_vgpuHostUnmap(channel, 0, share->extent.number) == CUDA_SUCCESS)
        vgpu_channel_close_extent(channel, &share->extent);
}

void vgpu_share_end(struct vgpu_channel *channel, const struct vgpu_share *share)
{
    munmap(share->address, share->extent.bytes);
    vgpu_share_abandon(channel, share);
}
