/* SPDX-License-Identifier: MIT */
#include "guest/code/jit.h"

#include <stdlib.h>
#include <string.h>

#include "guest/channel/channel.h"
#include "guest/memory/copy.h"
#include "protocol/jit.h"
#include "protocol/send.h"

/* ---- options ---- */

/* Symbols that a program gives addresses to. */
struct symbols {
    uint32_t count;
    char *const *names;
    void *const *addresses;
};

struct request {
    struct vgpu_jit_request head;
    struct vgpu_jit_option option[VGPU_JIT_OPTIONS_MAX];
    struct symbols symbols;
};

static CUresult add(struct request *request, CUjit_option option, const void *value)
{
    if (request->head.option_count == VGPU_JIT_OPTIONS_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    request->option[request->head.option_count++] =
        (struct vgpu_jit_option){.option = option, .value = (uintptr_t)value};
    return CUDA_SUCCESS;
}

static CUresult parse_option(struct request *request, struct vgpu_jit_outputs *outputs,
                             CUjit_option option, void **value)
{
    switch (option) {
    case CU_JIT_INFO_LOG_BUFFER:
        outputs->text[0] = *value;
        return CUDA_SUCCESS;
    case CU_JIT_ERROR_LOG_BUFFER:
        outputs->text[1] = *value;
        return CUDA_SUCCESS;
    case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
    case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES: {
        int which = option == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;
        outputs->room[which] = (uint32_t)(uintptr_t)*value;
        outputs->used[which] = value;
        return CUDA_SUCCESS;
    }
    case CU_JIT_WALL_TIME:
        outputs->time = value;
        return CUDA_SUCCESS;
    case CU_JIT_THREADS_PER_BLOCK:
        outputs->threads = value;
        return add(request, option, *value);
    case CU_JIT_GLOBAL_SYMBOL_NAMES:
        request->symbols.names = *value;
        return CUDA_SUCCESS;
    case CU_JIT_GLOBAL_SYMBOL_ADDRESSES:
        request->symbols.addresses = *value;
        return CUDA_SUCCESS;
    case CU_JIT_GLOBAL_SYMBOL_COUNT:
        request->symbols.count = (uint32_t)(uintptr_t)*value;
        return CUDA_SUCCESS;
    case CU_JIT_REFERENCED_KERNEL_NAMES:
    case CU_JIT_REFERENCED_KERNEL_COUNT:
    case CU_JIT_REFERENCED_VARIABLE_NAMES:
    case CU_JIT_REFERENCED_VARIABLE_COUNT:
        return CUDA_SUCCESS; /* deprecated; what they do is leave out what is not named */
    case CU_JIT_NEW_SM3X_OPT:
        return CUDA_SUCCESS; /* internal; nothing to a GPU of today */
    default:
        return (unsigned int)option < CU_JIT_NUM_OPTIONS ? add(request, option, *value)
                                                         : CUDA_ERROR_INVALID_VALUE;
    }
}

static size_t symbol_bytes(const struct symbols *symbols)
{
    size_t bytes = symbols->count * sizeof(uint64_t);
    for (uint32_t i = 0; i < symbols->count; i++)
        bytes += strlen(symbols->names[i]) + 1;
    return bytes;
}

static void put_symbols(const struct symbols *symbols, uint8_t *at)
{
    memcpy(at, symbols->addresses, symbols->count * sizeof(uint64_t));
    at += symbols->count * sizeof(uint64_t);
    for (uint32_t i = 0; i < symbols->count; i++) {
        size_t length = strlen(symbols->names[i]) + 1;
        memcpy(at, symbols->names[i], length);
        at += length;
    }
}

/* Puts the parts of a request one behind the other. */
static CUresult pack(struct vgpu_jit_options *jit, const struct request *request)
{
    size_t options = request->head.option_count * sizeof(request->option[0]);
    const struct symbols *symbols = &request->symbols;
    if (symbols->count && (symbols->names == NULL || symbols->addresses == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    if (symbols->count > VGPU_JIT_SYMBOLS_MAX)
        return CUDA_ERROR_NOT_SUPPORTED;
    jit->bytes = sizeof(request->head) + options + symbol_bytes(symbols);
    jit->request = malloc(jit->bytes);
    if (jit->request == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(jit->request, &request->head, sizeof(request->head));
    memcpy(jit->request + sizeof(request->head), request->option, options);
    if (symbols->count)
        put_symbols(symbols, jit->request + sizeof(request->head) + options);
    return CUDA_SUCCESS;
}

CUresult vgpu_jit_options_parse(struct vgpu_jit_options *jit, unsigned int count,
                                const CUjit_option *options, void **values)
{
    struct request request = {0};
    struct vgpu_jit_outputs *outputs = &jit->outputs;
    memset(jit, 0, sizeof(*jit));
    if (count && (options == NULL || values == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    if (count == 0)
        return CUDA_SUCCESS;
    for (unsigned int i = 0; i < count; i++) {
        CUresult error = parse_option(&request, outputs, options[i], &values[i]);
        if (error)
            return error;
    }
    for (int i = 0; i < 2; i++)
        request.head.log_room[i] = outputs->text[i] ? (uint32_t)outputs->room[i] : 0;
    request.head.wants_time = outputs->time != NULL;
    request.head.symbol_count = request.symbols.count;
    return pack(jit, &request);
}

void vgpu_jit_options_end(struct vgpu_jit_options *jit)
{
    free(jit->request);
    jit->request = NULL;
}

/* ---- answers ---- */

CUresult vgpu_jit_read(struct vgpu_channel *channel, uint32_t text, char *to, size_t bytes)
{
    CUresult error = CUDA_SUCCESS;
    for (size_t at = 0; at < bytes && error == CUDA_SUCCESS;) {
        struct vgpu_staging staging;
        size_t piece = bytes - at;
        if (piece > VGPU_STAGING_CHUNK_BYTES)
            piece = VGPU_STAGING_CHUNK_BYTES;
        error = vgpu_copy_take_chunk(channel, NULL, VGPU_STAGING_WAIT, &staging);
        if (error)
            return error;
        error = vgpu_send_vgpuJitRead(channel, 0, text, at, (uint32_t)piece, staging.offset);
        if (error == CUDA_SUCCESS)
            memcpy(to + at, staging.memory, piece);
        vgpu_staging_put(channel, &staging, false);
        at += piece;
    }
    return error;
}

/* Fills one log buffer; `text` is NULL where the host still has it. */
static void fill(struct vgpu_channel *channel, const struct vgpu_jit_outputs *outputs, int which,
                 const uint8_t *text, size_t length)
{
    size_t room = outputs->room[which];
    char *buffer = outputs->text[which];
    if (buffer && room) {
        if (length > room - 1)
            length = room - 1;
        if (text)
            memcpy(buffer, text, length);
        else if (vgpu_jit_read(channel, (uint32_t)which, buffer, length) != CUDA_SUCCESS)
            length = 0;
        buffer[length] = 0;
    } else {
        length = 0;
    }
    if (outputs->used[which])
        *outputs->used[which] = (void *)(uintptr_t)(length ? length + 1 : 0);
}

void vgpu_jit_answered(struct vgpu_channel *channel, const struct vgpu_jit_outputs *outputs,
                       const uint8_t *reply, size_t bytes)
{
    struct vgpu_jit_answer head = {0};
    size_t at = sizeof(head);
    if (bytes >= sizeof(head))
        memcpy(&head, reply, sizeof(head));
    else
        bytes = 0;
    for (int i = 0; i < 2; i++) {
        size_t length = head.log_bytes[i];
        bool here = bytes > at && length < bytes - at;
        fill(channel, outputs, i, here ? reply + at : NULL, length);
        if (here)
            at += length + 1;
    }
    if (bytes && outputs->time)
        memcpy(outputs->time, &head.milliseconds, sizeof(head.milliseconds));
    if (bytes && outputs->threads && head.threads)
        *outputs->threads = (void *)(uintptr_t)head.threads;
}
