/* SPDX-License-Identifier: MIT */
#include "soft/driver/compiled.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "interop/log.h"
#include "soft/driver/driver.h"

/* More PTX than this in one module is not decoded. */
#define MOST_PTX_BYTES ((size_t)512 << 20)

/* The buffers for messages that the options name. */
struct logs {
    char *error;
    size_t error_size;
    void **error_used; /* where the option wants to know how much was written */
    char *info;
    size_t info_size;
    void **info_used;
};

static CUresult read_options(unsigned int count, const CUjit_option *options, void **values,
                             struct logs *logs)
{
    if (count && (!options || !values))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < count; i++) {
        switch (options[i]) {
        case CU_JIT_ERROR_LOG_BUFFER:
            logs->error = values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
            logs->error_size = (unsigned int)(uintptr_t)values[i];
            logs->error_used = &values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER:
            logs->info = values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
            logs->info_size = (unsigned int)(uintptr_t)values[i];
            logs->info_used = &values[i];
            break;
        default:
            /* The others tune a compiler that is not here. */
            if ((unsigned int)options[i] >= CU_JIT_NUM_OPTIONS)
                return CUDA_ERROR_INVALID_VALUE;
        }
    }
    return CUDA_SUCCESS;
}

static void write_logs(const struct logs *logs, const char *message)
{
    size_t used = 0;

    if (logs->error && logs->error_size) {
        snprintf(logs->error, logs->error_size, "%s", message);
        used = strlen(logs->error);
    }
    if (logs->error_used)
        *logs->error_used = (void *)used;
    if (logs->info && logs->info_size)
        logs->info[0] = '\0';
    if (logs->info_used)
        *logs->info_used = NULL;
}

static CUresult result_of(int error)
{
    return error == 0         ? CUDA_SUCCESS
           : error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
                              : CUDA_ERROR_INVALID_PTX;
}

static CUresult compile(const void *image, char *message, size_t message_size,
                        struct vgpu_program **program)
{
    uint32_t capability = (uint32_t)vgpu_driver()->capability;
    struct vgpu_code code;
    size_t length;
    char *text;
    int error = vgpu_code_find(image, VGPU_CODE_UNBOUNDED, &code);

    if (error == 0)
        error = vgpu_code_best_ptx(&code, capability, MOST_PTX_BYTES, &text, &length);
    if (error == -ENOENT && code.kind == VGPU_CODE_FATBIN) {
        vgpu_log(VGPU_LOG_DEBUG, "an image has no PTX for compute capability %u.%u",
                 capability / 10, capability % 10);
        return CUDA_SUCCESS;
    }
    if (error)
        return error == -ENOENT   ? CUDA_ERROR_NO_BINARY_FOR_GPU
               : error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY
                                  : CUDA_ERROR_INVALID_IMAGE;
    if (!strstr(text, ".version")) {
        /* Text, but nothing like PTX. */
        free(text);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    error = vgpu_program_create(text, length, message, message_size, program);
    free(text);
    /* Text may hold mistakes that its author wants to hear of; what a fatbin holds has been through
       a compiler, and of a library's thousands of kernels few are ever used. */
    if (error == 0 && code.kind == VGPU_CODE_PTX)
        error = vgpu_program_check(*program, message, message_size);
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
    return error == -ENOTSUP ? CUDA_ERROR_NOT_SUPPORTED : result_of(error);
}

CUresult vgpu_compiled_create(const void *image, unsigned int option_count,
                              const CUjit_option *options, void **values,
                              struct vgpu_compiled **out)
{
    struct vgpu_program *program = NULL;
    struct logs logs = {.error = NULL};
    char message[512] = "";
    CUresult result;

    if (!image)
        return CUDA_ERROR_INVALID_VALUE;
    result = read_options(option_count, options, values, &logs);
    if (result != CUDA_SUCCESS)
        return result;
    result = compile(image, message, sizeof(message), &program);
    write_logs(&logs, message);
    if (result != CUDA_SUCCESS) {
        vgpu_program_destroy(program);
        return result;
    }
    *out = calloc(1, sizeof(**out));
    if (!*out) {
        vgpu_program_destroy(program);
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
        vgpu_program_destroy(compiled->program);
    free(compiled);
}

CUresult vgpu_compiled_read_file(const char *path, void **image)
{
    CUresult result = CUDA_ERROR_FILE_NOT_FOUND;
    char *data = NULL;
    FILE *file;
    long size;

    if (!path)
        return CUDA_ERROR_INVALID_VALUE;
    file = fopen(path, "rbe");
    if (!file)
        return CUDA_ERROR_FILE_NOT_FOUND;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0 &&
        (size_t)size < VGPU_CODE_MOST_BYTES && fseek(file, 0, SEEK_SET) == 0) {
        data = calloc(1, (size_t)size + 1);
        result = data ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
        if (data && fread(data, 1, (size_t)size, file) != (size_t)size)
            result = CUDA_ERROR_INVALID_IMAGE;
        /* The size is known here, so an image that claims to be longer is refused. */
        struct vgpu_code code;
        if (result == CUDA_SUCCESS && vgpu_code_find(data, (size_t)size + 1, &code) < 0)
            result = CUDA_ERROR_INVALID_IMAGE;
    }
    fclose(file);
    if (result != CUDA_SUCCESS)
        free(data);
    else
        *image = data;
    return result;
}
