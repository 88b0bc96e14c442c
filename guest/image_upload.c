/* SPDX-License-Identifier: MIT */
/* Images on their way to the host, and the compiler's words on their way back. */
#include "guest/code.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/copy.h"
#include "guest/process.h"
#include "image/image.h"
#include "protocol/send.h"

static CUresult send_part(struct vgpu_channel *channel, const struct vgpu_code_part *part,
                          uint32_t *first)
{
    const char *data = part->data;
    CUresult error = CUDA_SUCCESS;
    for (size_t at = 0; at < part->size && error == CUDA_SUCCESS;) {
        struct vgpu_staging staging;
        size_t bytes = part->size - at;
        if (bytes > VGPU_STAGING_CHUNK_BYTES)
            bytes = VGPU_STAGING_CHUNK_BYTES;
        error = vgpu_copy_take_chunk(channel, &staging);
        if (error)
            return error;
        memcpy(staging.memory, data + at, bytes);
        error = vgpu_send_vgpuImageAppend(channel, 0, staging.offset, (uint32_t)bytes, *first);
        vgpu_staging_put(channel, &staging, false);
        *first = 0;
        at += bytes;
    }
    return error;
}

CUresult vgpu_image_send(struct vgpu_channel *channel, const void *image, size_t limit)
{
    struct vgpu_code code;
    uint32_t first = 1;
    CUresult error = CUDA_SUCCESS;
    if (vgpu_code_find(image, limit, &code) != 0)
        return CUDA_ERROR_INVALID_IMAGE;
    for (uint32_t i = 0; i < code.part_count && error == CUDA_SUCCESS; i++)
        error = send_part(channel, &code.parts[i], &first);
    return error;
}

CUresult vgpu_image_read(const char *path, char **data, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    size_t room = 1 << 16, size = 0, got;
    char *buffer = NULL;
    if (file == NULL)
        return CUDA_ERROR_FILE_NOT_FOUND;
    do {
        room *= 2;
        char *grown = realloc(buffer, room + 1);
        if (grown == NULL) {
            free(buffer);
            fclose(file);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        buffer = grown;
        got = fread(buffer + size, 1, room - size, file);
        size += got;
    } while (size == room);
    fclose(file);
    buffer[size] = 0;
    *data = buffer;
    *bytes = size;
    return CUDA_SUCCESS;
}

/* ---- logs ---- */

void vgpu_jit_log_parse(struct vgpu_jit_log *log, unsigned int count, const CUjit_option *options,
                        void **values)
{
    *log = (struct vgpu_jit_log){0};
    for (unsigned int i = 0; i < count; i++) {
        switch (options[i]) {
        case CU_JIT_INFO_LOG_BUFFER:
            log->text[0] = values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER:
            log->text[1] = values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
            log->room[0] = (uint32_t)(uintptr_t)values[i];
            log->used[0] = &values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
            log->room[1] = (uint32_t)(uintptr_t)values[i];
            log->used[1] = &values[i];
            break;
        default: /* how to compile is the host driver's own affair */
            break;
        }
    }
    log->wanted = (log->text[0] && log->room[0]) || (log->text[1] && log->room[1]);
}

void vgpu_jit_log_fill(const struct vgpu_jit_log *log, const char *reply, size_t bytes)
{
    for (int i = 0; i < 2; i++) {
        size_t length = bytes ? strnlen(reply, bytes - 1) : 0, copied = 0;
        if (log->text[i] && log->room[i]) {
            copied = length < log->room[i] ? length : log->room[i] - 1;
            memcpy(log->text[i], reply, copied);
            log->text[i][copied] = 0;
        }
        if (log->used[i])
            *log->used[i] = (void *)(uintptr_t)(copied ? copied + 1 : 0);
        length += bytes > length; /* its NUL */
        reply += length;
        bytes -= length;
    }
}
