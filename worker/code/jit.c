/* SPDX-License-Identifier: MIT */
#include "worker/code/jit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Options that are numbers. Those that are addresses in the program are made here, or refused. */
static bool is_number(uint32_t option)
{
    switch (option) {
    case CU_JIT_MAX_REGISTERS:
    case CU_JIT_THREADS_PER_BLOCK:
    case CU_JIT_OPTIMIZATION_LEVEL:
    case CU_JIT_TARGET_FROM_CUCONTEXT:
    case CU_JIT_TARGET:
    case CU_JIT_FALLBACK_STRATEGY:
    case CU_JIT_GENERATE_DEBUG_INFO:
    case CU_JIT_LOG_VERBOSE:
    case CU_JIT_GENERATE_LINE_INFO:
    case CU_JIT_CACHE_MODE:
    case CU_JIT_FAST_COMPILE:
    case CU_JIT_LTO:
    case CU_JIT_FTZ:
    case CU_JIT_PREC_DIV:
    case CU_JIT_PREC_SQRT:
    case CU_JIT_FMA:
    case CU_JIT_OPTIMIZE_UNUSED_DEVICE_VARIABLES:
    case CU_JIT_POSITION_INDEPENDENT_CODE:
    case CU_JIT_MIN_CTA_PER_SM:
    case CU_JIT_MAX_THREADS_PER_BLOCK:
    case CU_JIT_OVERRIDE_DIRECTIVE_VALUES:
    case CU_JIT_SPLIT_COMPILE:
        return true;
    default:
        return false;
    }
}

static unsigned int add(struct vgpu_jit *jit, CUjit_option option, uint64_t value)
{
    jit->option[jit->count] = option;
    jit->value[jit->count] = (void *)(uintptr_t)value;
    return jit->count++;
}

static CUresult add_options(struct vgpu_jit *jit, const uint8_t *request, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct vgpu_jit_option option;
        memcpy(&option, request + i * sizeof(option), sizeof(option));
        if (!is_number(option.option))
            return CUDA_ERROR_NOT_SUPPORTED;
        unsigned int place = add(jit, (CUjit_option)option.option, option.value);
        if (option.option == CU_JIT_THREADS_PER_BLOCK)
            jit->threads_at = (int)place;
    }
    return CUDA_SUCCESS;
}

static CUresult add_logs(struct vgpu_jit *jit, const struct vgpu_jit_request *head)
{
    static const CUjit_option buffer[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER};
    static const CUjit_option size[] = {CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                                        CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    for (int i = 0; i < 2; i++) {
        size_t room = head->log_room[i] < VGPU_JIT_LOG_MAX ? head->log_room[i] : VGPU_JIT_LOG_MAX;
        if (room == 0)
            continue;
        jit->log[i] = calloc(1, room + 1);
        if (jit->log[i] == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        add(jit, buffer[i], (uintptr_t)jit->log[i]);
        jit->size_at[i] = (int)add(jit, size[i], room);
    }
    if (head->wants_time)
        jit->time_at = (int)add(jit, CU_JIT_WALL_TIME, 0);
    return CUDA_SUCCESS;
}

/* `at`: the addresses, then the names. */
static CUresult add_symbols(struct vgpu_jit *jit, const uint8_t *at, size_t bytes, uint32_t count)
{
    size_t table = (size_t)count * sizeof(uint64_t);
    if (count == 0)
        return bytes ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    if (count > VGPU_JIT_SYMBOLS_MAX || bytes <= table || at[bytes - 1] != 0)
        return CUDA_ERROR_INVALID_VALUE;
    jit->names = calloc(count, sizeof(*jit->names));
    jit->addresses = malloc(table);
    jit->text = malloc(bytes - table);
    if (jit->names == NULL || jit->addresses == NULL || jit->text == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(jit->addresses, at, table);
    memcpy(jit->text, at + table, bytes - table);
    size_t place = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (place >= bytes - table)
            return CUDA_ERROR_INVALID_VALUE;
        jit->names[i] = jit->text + place;
        place += strlen(jit->text + place) + 1;
    }
    add(jit, CU_JIT_GLOBAL_SYMBOL_NAMES, (uintptr_t)jit->names);
    add(jit, CU_JIT_GLOBAL_SYMBOL_ADDRESSES, (uintptr_t)jit->addresses);
    add(jit, CU_JIT_GLOBAL_SYMBOL_COUNT, count);
    return CUDA_SUCCESS;
}

CUresult vgpu_jit_create(struct vgpu_jit *jit, const uint8_t *request, size_t bytes)
{
    struct vgpu_jit_request head;
    memset(jit, 0, sizeof(*jit));
    jit->size_at[0] = jit->size_at[1] = jit->time_at = jit->threads_at = -1;
    if (bytes == 0)
        return CUDA_SUCCESS;
    if (bytes < sizeof(head))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&head, request, sizeof(head));
    size_t options = (size_t)head.option_count * sizeof(struct vgpu_jit_option);
    if (head.option_count > VGPU_JIT_OPTIONS_MAX || options > bytes - sizeof(head))
        return CUDA_ERROR_INVALID_VALUE;
    request += sizeof(head);
    CUresult error = add_options(jit, request, head.option_count);
    if (error == CUDA_SUCCESS)
        error = add_logs(jit, &head);
    if (error == CUDA_SUCCESS)
        error =
            add_symbols(jit, request + options, bytes - sizeof(head) - options, head.symbol_count);
    if (error)
        vgpu_jit_destroy(jit);
    return error;
}

void vgpu_jit_destroy(struct vgpu_jit *jit)
{
    free(jit->log[0]);
    free(jit->log[1]);
    free(jit->names);
    free(jit->addresses);
    free(jit->text);
    memset(jit, 0, sizeof(*jit));
}

/* ---- what they say ---- */

void vgpu_jit_outbox_clear(struct vgpu_jit_outbox *outbox)
{
    free(outbox->log[0]);
    free(outbox->log[1]);
    memset(outbox, 0, sizeof(*outbox));
}

/* The log's length: what the driver says it wrote, but never more than is there. */
static size_t log_length(const struct vgpu_jit *jit, int which)
{
    if (jit->log[which] == NULL)
        return 0;
    return strlen(jit->log[which]); /* the buffer has a NUL more than the driver knows of */
}

uint32_t vgpu_jit_answer(const struct vgpu_jit *jit, struct vgpu_jit_outbox *outbox, uint8_t *reply,
                         uint32_t room)
{
    struct vgpu_jit_answer head = {.result_bytes = outbox->result_bytes};
    size_t texts = 0, at = sizeof(head);
    for (int i = 0; i < 2; i++) {
        size_t length = log_length(jit, i);
        head.log_bytes[i] = (uint32_t)length;
        texts += length + 1;
    }
    if (jit->time_at >= 0)
        memcpy(&head.milliseconds, &jit->value[jit->time_at], sizeof(head.milliseconds));
    if (jit->threads_at >= 0)
        head.threads = (uint32_t)(uintptr_t)jit->value[jit->threads_at];
    memcpy(reply, &head, sizeof(head));
    bool fits = texts <= room - sizeof(head);
    for (int i = 0; i < 2; i++) {
        size_t length = head.log_bytes[i];
        free(outbox->log[i]);
        outbox->log[i] = NULL;
        outbox->log_bytes[i] = 0;
        if (fits) {
            if (length)
                memcpy(reply + at, jit->log[i], length);
            reply[at + length] = 0;
            at += length + 1;
        } else if (length && (outbox->log[i] = malloc(length))) {
            memcpy(outbox->log[i], jit->log[i], length);
            outbox->log_bytes[i] = length;
        }
    }
    return (uint32_t)at;
}
