/* SPDX-License-Identifier: MIT */
#include "soft/driver/code/compiled.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "interop/log.h"
#include "soft/driver/code/jit_log.h"
#include "soft/driver/code/program_cache.h"
#include "soft/driver/code/texts.h"
#include "soft/driver/driver.h"

static CUresult result_of(int error)
{
    return error == 0         ? CUDA_SUCCESS
           : error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
                              : CUDA_ERROR_INVALID_PTX;
}

static bool is_ptx(const struct vgpu_texts *texts)
{
    /* Text, but nothing like PTX? */
    for (uint32_t i = 0; i < texts->count; i++) {
        if (!strstr(texts->list[i].text, ".version"))
            return false;
    }
    return true;
}

/* Whether a container has code for real GPUs, which may be what its program never asks for here. */
static bool has_machine_code(const struct vgpu_code *code)
{
    for (uint32_t i = 0; i < code->part_count; i++) {
        struct vgpu_fatbin_walk walk = {.data = code->parts[i].data, .size = code->parts[i].size};
        struct vgpu_fatbin_entry entry;

        while (vgpu_fatbin_next(&walk, &entry) > 0) {
            if (entry.kind == VGPU_FATBIN_CUBIN)
                return true;
        }
    }
    return false;
}

static CUresult compile(const void *image, char *message, size_t message_size,
                        struct vgpu_program **program)
{
    uint32_t capability = (uint32_t)vgpu_driver()->capability;
    struct vgpu_texts texts = {.list = NULL};
    struct vgpu_code code;
    int error = vgpu_code_find(image, VGPU_CODE_UNBOUNDED, &code);

    if (error == 0)
        error = vgpu_texts_add(&texts, &code, capability);
    if (error == -ENOENT && code.kind == VGPU_CODE_FATBIN && has_machine_code(&code)) {
        vgpu_log(VGPU_LOG_DEBUG, "an image has no PTX for compute capability %u.%u",
                 capability / 10, capability % 10);
        return CUDA_SUCCESS;
    }
    if (error || !is_ptx(&texts)) {
        vgpu_texts_drop(&texts);
        return error == -ENOENT   ? CUDA_ERROR_NO_BINARY_FOR_GPU
               : error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
                                  : CUDA_ERROR_INVALID_IMAGE;
    }
    /* Text may hold mistakes that its author wants to hear of; what a fatbin holds has been through
       a compiler, and of a library's thousands of kernels few are ever used: they are read then. */
    error = vgpu_program_cache_take(texts.list, texts.count, code.kind == VGPU_CODE_PTX, message,
                                    message_size, program);
    vgpu_texts_drop(&texts);
    if (error == -ENOTSUP)
        vgpu_log(VGPU_LOG_ERROR, "PTX is not supported: %s", message);
    return result_of(error);
}

CUresult vgpu_compiled_prepare(const struct vgpu_compiled *compiled, uint32_t index,
                               struct vgpu_kernel_needs *needs)
{
    const struct vgpu_unit *unit;
    struct vgpu_kernel_info info;
    const char *message;
    int error = vgpu_program_prepare(compiled->program, index, &unit, &message);

    if (error == 0) {
        vgpu_unit_needs(unit, needs);
        return CUDA_SUCCESS;
    }
    /* What we cannot run yet is our lack and not the program's: say so where its user sees it. */
    if (message && vgpu_program_kernel_info(compiled->program, index, &info) == 0)
        vgpu_log(VGPU_LOG_ERROR, "kernel %s cannot run: %s", info.name, message);
    return error == -ENOTSUP || error == -ENOLINK ? CUDA_ERROR_NOT_SUPPORTED : result_of(error);
}

CUresult vgpu_compiled_create(const void *image, unsigned int option_count,
                              const CUjit_option *options, void **values,
                              struct vgpu_compiled **out)
{
    struct vgpu_program *program = NULL;
    struct vgpu_jit_log log;
    char message[512] = "";
    CUresult result;

    if (!image)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_jit_log_read(&log, option_count, options, values);
    if (result != CUDA_SUCCESS)
        return result;
    result = compile(image, message, sizeof(message), &program);
    vgpu_jit_log_write(&log, message);
    if (result != CUDA_SUCCESS)
        return result;
    *out = calloc(1, sizeof(**out));
    if (!*out) {
        if (program)
            vgpu_program_cache_put(program);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    atomic_init(&(*out)->references, 1);
    (*out)->program = program;
    return CUDA_SUCCESS;
}

struct vgpu_compiled *vgpu_compiled_share(struct vgpu_compiled *compiled)
{
    atomic_fetch_add_explicit(&compiled->references, 1, memory_order_relaxed);
    return compiled;
}

void vgpu_compiled_put(struct vgpu_compiled *compiled)
{
    if (atomic_fetch_sub_explicit(&compiled->references, 1, memory_order_acq_rel) != 1)
        return;
    if (compiled->program)
        vgpu_program_cache_put(compiled->program);
    free(compiled);
}

CUresult vgpu_compiled_read_bytes(const char *path, void **data, size_t *size)
{
    CUresult result = CUDA_ERROR_FILE_NOT_FOUND;
    char *bytes = NULL;
    FILE *file;
    long end;

    if (!path)
        return CUDA_ERROR_INVALID_VALUE;
    file = fopen(path, "rbe");
    if (!file)
        return CUDA_ERROR_FILE_NOT_FOUND;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 &&
        (size_t)end < VGPU_CODE_MOST_BYTES && fseek(file, 0, SEEK_SET) == 0) {
        bytes = calloc(1, (size_t)end + 1);
        result = bytes ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
        if (bytes && fread(bytes, 1, (size_t)end, file) != (size_t)end)
            result = CUDA_ERROR_INVALID_IMAGE;
        *size = (size_t)end;
    }
    fclose(file);
    if (result != CUDA_SUCCESS)
        free(bytes);
    else
        *data = bytes;
    return result;
}

CUresult vgpu_compiled_read_file(const char *path, void **image)
{
    struct vgpu_code code;
    void *data;
    size_t size;
    CUresult result = vgpu_compiled_read_bytes(path, &data, &size);

    if (result != CUDA_SUCCESS)
        return result;
    /* The size is known here, so an image that claims to be longer is refused. */
    if (vgpu_code_find(data, size + 1, &code) < 0) {
        free(data);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    *image = data;
    return CUDA_SUCCESS;
}
