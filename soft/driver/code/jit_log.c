/* SPDX-License-Identifier: MIT */
#include "soft/driver/code/jit_log.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

CUresult vgpu_jit_log_read(struct vgpu_jit_log *log, unsigned int count,
                           const CUjit_option *options, void **values)
{
    *log = (struct vgpu_jit_log){.error = NULL};
    if (count && (!options || !values))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < count; i++) {
        switch (options[i]) {
        case CU_JIT_ERROR_LOG_BUFFER:
            log->error = values[i];
            break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
            log->error_size = (unsigned int)(uintptr_t)values[i];
            log->error_used = &values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER:
            log->info = values[i];
            break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
            log->info_size = (unsigned int)(uintptr_t)values[i];
            log->info_used = &values[i];
            break;
        default:
            /* The others tune a compiler that is not here. */
            if ((unsigned int)options[i] >= CU_JIT_NUM_OPTIONS)
                return CUDA_ERROR_INVALID_VALUE;
        }
    }
    return CUDA_SUCCESS;
}

void vgpu_jit_log_write(const struct vgpu_jit_log *log, const char *message)
{
    size_t used = 0;

    if (log->error && log->error_size) {
        snprintf(log->error, log->error_size, "%s", message);
        used = strlen(log->error);
    }
    if (log->error_used)
        *log->error_used = (void *)used;
    if (log->info && log->info_size)
        log->info[0] = '\0';
    if (log->info_used)
        *log->info_used = NULL;
}
