/* SPDX-License-Identifier: MIT */
/* The driver's linker. What it is given was assembled as images are. */
#include <stdlib.h>
#include <string.h>

#include "worker/code/image_parts.h"
#include "worker/code/linker.h"
#include "worker/context.h"
#include "worker/worker.h"

CUresult vgpu_replay_cuLinkCreate(struct vgpu_worker *worker, struct vgpu_call_cuLinkCreate *call)
{
    struct vgpu_linker *linker = calloc(1, sizeof(*linker));
    if (linker == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_jit_create(&linker->jit, call->options, call->options_bytes);
    if (error) {
        free(linker);
        return error;
    }
    error = worker->driver->cuLinkCreate(linker->jit.count, linker->jit.option, linker->jit.value,
                                         &linker->state);
    if (error) {
        vgpu_jit_destroy(&linker->jit);
        free(linker);
        return error;
    }
    linker->context = worker->current;
    linker->next = worker->linkers;
    worker->linkers = linker;
    call->linker = linker;
    return CUDA_SUCCESS;
}

/* Whole inputs only. Objects and archives are the driver's to read, within the size it is told. */
static CUresult check_input(struct vgpu_worker *worker, CUjitInputType type)
{
    struct vgpu_image_parts parts;
    int error = 0;
    if (worker->image.size == 0)
        return CUDA_ERROR_INVALID_VALUE;
    switch (type) {
    case CU_JIT_INPUT_CUBIN:
    case CU_JIT_INPUT_PTX:
    case CU_JIT_INPUT_FATBINARY:
        error = vgpu_image_parts_find(&parts, &worker->image);
        if (error == 0 && parts.image != worker->image.bytes)
            return CUDA_ERROR_INVALID_IMAGE; /* one input at a time */
        if (error == 0)
            worker->prints |= parts.prints;
        break;
    case CU_JIT_INPUT_OBJECT:
    case CU_JIT_INPUT_LIBRARY:
        worker->prints = true; /* whatever is in there */
        break;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    return error ? CUDA_ERROR_INVALID_IMAGE : CUDA_SUCCESS;
}

CUresult vgpu_replay_cuLinkAddData(struct vgpu_worker *worker, struct vgpu_call_cuLinkAddData *call)
{
    struct vgpu_linker *linker = call->linker;
    CUjitInputType type = (CUjitInputType)call->type;
    struct vgpu_jit jit;
    if (call->name_bytes == 0 || call->name[call->name_bytes - 1] != 0)
        return vgpu_worker_blame(worker, "a name without an end");
    CUresult error = check_input(worker, type);
    if (error == CUDA_SUCCESS)
        error = vgpu_jit_create(&jit, call->options, call->options_bytes);
    vgpu_jit_outbox_clear(&worker->outbox);
    if (error == CUDA_SUCCESS) {
        /* The text's own NUL, and the one behind the image, are no part of a program. */
        size_t size = worker->image.size;
        if (type == CU_JIT_INPUT_PTX)
            size = strlen((char *)worker->image.bytes) + 1;
        error = worker->driver->cuLinkAddData(linker->state, type, worker->image.bytes, size,
                                              (const char *)call->name, jit.count, jit.option,
                                              jit.value);
        vgpu_jit_destroy(&jit);
    }
    call->log_bytes = vgpu_jit_answer(&linker->jit, &worker->outbox, call->log, call->log_capacity);
    vgpu_image_buffer_clear(&worker->image);
    return error;
}

CUresult vgpu_replay_cuLinkComplete(struct vgpu_worker *worker,
                                    struct vgpu_call_cuLinkComplete *call)
{
    struct vgpu_linker *linker = call->linker;
    void *cubin = NULL;
    size_t bytes = 0;
    vgpu_jit_outbox_clear(&worker->outbox);
    CUresult error = worker->driver->cuLinkComplete(linker->state, &cubin, &bytes);
    if (error == CUDA_SUCCESS) {
        worker->outbox.result = cubin;
        worker->outbox.result_bytes = bytes;
    }
    call->log_bytes = vgpu_jit_answer(&linker->jit, &worker->outbox, call->log, call->log_capacity);
    return error;
}

static CUresult end(struct vgpu_worker *worker, struct vgpu_linker *linker)
{
    struct vgpu_linker **link = &worker->linkers;
    while (*link != linker)
        link = &(*link)->next;
    *link = linker->next;
    vgpu_jit_outbox_clear(&worker->outbox); /* the result may be this one's */
    CUresult error = worker->driver->cuLinkDestroy(linker->state);
    vgpu_jit_destroy(&linker->jit);
    free(linker);
    return error;
}

CUresult vgpu_replay_cuLinkDestroy(struct vgpu_worker *worker, struct vgpu_call_cuLinkDestroy *call)
{
    return end(worker, call->linker);
}

void vgpu_linkers_end(struct vgpu_worker *worker, const struct vgpu_context *context)
{
    for (struct vgpu_linker *linker = worker->linkers, *next; linker; linker = next) {
        next = linker->next;
        if (linker->context == context)
            end(worker, linker);
    }
}

CUresult vgpu_replay_vgpuJitRead(struct vgpu_worker *worker, struct vgpu_call_vgpuJitRead *call)
{
    const struct vgpu_jit_outbox *outbox = &worker->outbox;
    const uint8_t *text = outbox->result;
    uint64_t bytes = outbox->result_bytes, end_of_piece;
    void *piece = vgpu_worker_staging(worker, call->staging, call->count);
    if (piece == NULL || call->text > VGPU_JIT_RESULT)
        return CUDA_ERROR_INVALID_VALUE;
    if (call->text != VGPU_JIT_RESULT) {
        text = (const uint8_t *)outbox->log[call->text];
        bytes = outbox->log_bytes[call->text];
    }
    if (text == NULL || __builtin_add_overflow(call->offset, call->count, &end_of_piece) ||
        end_of_piece > bytes)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(piece, text + call->offset, call->count);
    return CUDA_SUCCESS;
}
