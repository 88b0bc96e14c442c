/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "guest/code/launch.h"

/* Compilers round the size of a structure up to its alignment, which is at most this. */
#define BLOCK_ALIGNMENT 16u

static CUresult pack_each(const struct vgpu_function_info *info, void *const *parameters,
                          char *block)
{
    for (uint32_t i = 0; i < info->parameter_count; i++) {
        const struct vgpu_parameter *parameter = &info->parameter[i];
        uint32_t end;
        if (parameters[i] == NULL ||
            __builtin_add_overflow(parameter->offset, parameter->size, &end) ||
            end > info->parameter_bytes)
            return CUDA_ERROR_INVALID_VALUE;
        memcpy(block + parameter->offset, parameters[i], parameter->size);
    }
    return CUDA_SUCCESS;
}

static CUresult pack_buffer(const struct vgpu_function_info *info, void *const *extra, char *block)
{
    const void *buffer = NULL;
    size_t bytes = 0, most = (size_t)info->parameter_bytes + BLOCK_ALIGNMENT - 1;
    for (; *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            buffer = extra[1];
        else if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[1])
            bytes = *(const size_t *)extra[1];
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (buffer == NULL && info->parameter_bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > most / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT)
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    if (buffer)
        memcpy(block, buffer, bytes < info->parameter_bytes ? bytes : info->parameter_bytes);
    return CUDA_SUCCESS;
}

CUresult vgpu_launch_pack(const struct vgpu_function_info *info, void *const *parameters,
                          void *const *extra, void *block)
{
    if (parameters && extra)
        return CUDA_ERROR_INVALID_VALUE;
    if (info->parameter_bytes) /* gaps between parameters tell nothing */
        memset(block, 0, info->parameter_bytes);
    if (extra)
        return pack_buffer(info, extra, block);
    if (info->parameter_count == 0)
        return CUDA_SUCCESS;
    return parameters ? pack_each(info, parameters, block) : CUDA_ERROR_INVALID_VALUE;
}
