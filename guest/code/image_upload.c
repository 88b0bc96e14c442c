/* SPDX-License-Identifier: MIT */
/* Images on their way to the host: what the GPU can use of them, and only if the host has it not.
 */
#include "guest/code/image_upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/channel/channel.h"
#include "guest/memory/copy.h"
#include "guest/process/process.h"
#include "image/select.h"
#include "protocol/jit.h"
#include "protocol/send.h"

/* Below this, asking whether the host has it costs more than sending it. */
#define WORTH_ASKING 16384u

/* Pieces fill whole chunks, however many there are. */
static CUresult send_pieces(struct vgpu_channel *channel, const struct vgpu_code_part *pieces,
                            uint32_t count)
{
    CUresult error = CUDA_SUCCESS;
    struct vgpu_staging staging;
    uint32_t piece = 0, first = 1;
    size_t at = 0;
    while (piece < count && error == CUDA_SUCCESS) {
        size_t filled = 0;
        error = vgpu_copy_take_chunk(channel, NULL, VGPU_STAGING_WAIT, &staging);
        if (error)
            return error;
        while (piece < count && filled < VGPU_STAGING_CHUNK_BYTES) {
            size_t bytes = pieces[piece].size - at;
            if (bytes > VGPU_STAGING_CHUNK_BYTES - filled)
                bytes = VGPU_STAGING_CHUNK_BYTES - filled;
            memcpy((char *)staging.memory + filled, (const char *)pieces[piece].data + at, bytes);
            filled += bytes;
            at += bytes;
            if (at == pieces[piece].size) {
                piece++;
                at = 0;
            }
        }
        error = vgpu_send_vgpuImageAppend(channel, 0, staging.offset, (uint32_t)filled, first);
        vgpu_staging_put(channel, &staging, false);
        first = 0;
    }
    return error;
}

CUresult vgpu_image_send(struct vgpu_channel *channel, const void *data, size_t bytes)
{
    return send_pieces(channel, &(struct vgpu_code_part){data, bytes}, 1);
}

static uint32_t compute_capability(const struct vgpu_process *process)
{
    return (
        uint32_t)(vgpu_process_attribute(process, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) *
                      10 +
                  vgpu_process_attribute(process, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
}

/* Looks at the image; the selection is large, and so not on the stack. */
static CUresult look(const void *image, size_t limit, struct vgpu_code_selection **out)
{
    struct vgpu_code code;
    struct vgpu_code_selection *selection = malloc(sizeof(*selection));
    if (selection == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (vgpu_code_find(image, limit, &code) != 0 ||
        vgpu_code_select(&code, compute_capability(vgpu_process()), selection) != 0) {
        free(selection);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    *out = selection;
    return CUDA_SUCCESS;
}

CUresult vgpu_image_load(const struct vgpu_image_source *source, struct vgpu_channel *channel,
                         vgpu_image_loader *load, void *data)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_code_selection *selection;
    struct vgpu_image_hash hash;
    CUresult error = look(source->image, source->limit, &selection);
    if (error)
        return error;
    bool ask = process->info.image_cache && selection->size >= WORTH_ASKING;
    if (ask)
        vgpu_code_selection_hash(selection, &hash);
    pthread_mutex_lock(&process->image_lock);
    if (ask)
        error = load(channel, &hash, sizeof(hash), data);
    if (!ask || error == (CUresult)VGPU_IMAGE_MISSING) {
        error = send_pieces(channel, selection->pieces, selection->count);
        if (error == CUDA_SUCCESS)
            error = load(channel, &hash, ask ? sizeof(hash) : 0, data);
    }
    pthread_mutex_unlock(&process->image_lock);
    free(selection);
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
