/* SPDX-License-Identifier: MIT */
#include "guest/code/launch.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"

static bool is_answer(const struct vgpu_occupancy *answer, int block_size, size_t dynamic_shared,
                      unsigned int flags)
{
    return answer->block_size == block_size && answer->dynamic_shared == dynamic_shared &&
           answer->flags == flags;
}

/* The remembered answer, or -1. */
static int remembered(struct vgpu_function *function, int block_size, size_t dynamic_shared,
                      unsigned int flags)
{
    struct vgpu_process *process = vgpu_process();
    int blocks = -1;
    pthread_mutex_lock(&process->code_lock);
    for (unsigned int i = 0; i < VGPU_OCCUPANCIES; i++) {
        if (is_answer(&function->occupancy[i], block_size, dynamic_shared, flags))
            blocks = function->occupancy[i].blocks;
    }
    pthread_mutex_unlock(&process->code_lock);
    return blocks;
}

CUresult vgpu_occupancy(const struct vgpu_caller *caller, struct vgpu_function *function,
                        int block_size, size_t dynamic_shared, unsigned int flags, int *blocks)
{
    struct vgpu_process *process = vgpu_process();
    int known = remembered(function, block_size, dynamic_shared, flags);
    if (known >= 0) {
        *blocks = known;
        return CUDA_SUCCESS;
    }
    CUresult error =
        vgpu_process_note(process, vgpu_send_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                                       caller->channel, caller->context, blocks,
                                       function->object.id, block_size, dynamic_shared, flags));
    if (error)
        return error;
    pthread_mutex_lock(&process->code_lock);
    function->occupancy[function->occupancy_next++ % VGPU_OCCUPANCIES] =
        (struct vgpu_occupancy){block_size, dynamic_shared, flags, *blocks};
    pthread_mutex_unlock(&process->code_lock);
    return CUDA_SUCCESS;
}

static CUresult enter(struct vgpu_caller *caller, CUfunction handle,
                      struct vgpu_function **function)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    *function = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_LAUNCHABLE);
    return *function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction handle,
                                                              int block_size, size_t dynamic_shared,
                                                              unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, &function);
    if (error)
        return error;
    if (blocks == NULL || block_size <= 0 ||
        flags & ~(unsigned int)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_occupancy(&caller, function, block_size, dynamic_shared, flags, blocks);
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function,
                                                     int block_size, size_t dynamic_shared)
{
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_size,
                                                                dynamic_shared, 0);
}

/* The largest block among those that keep the most threads on a multiprocessor. */
static CUresult search(const struct vgpu_caller *caller, struct vgpu_function *function,
                       CUoccupancyB2DSize shared_of, size_t dynamic_shared, int most,
                       unsigned int flags, int *best_block, int *best_blocks)
{
    const struct vgpu_process *process = vgpu_process();
    int warp = vgpu_process_attribute(process, CU_DEVICE_ATTRIBUTE_WARP_SIZE);
    int limit = function->info->attribute[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK];
    int full = vgpu_process_attribute(process, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
    int best_threads = 0;
    if (most > 0 && most < limit)
        limit = most;
    if (warp <= 0)
        return CUDA_ERROR_UNKNOWN;
    for (int rounded = (limit + warp - 1) / warp * warp; rounded > 0 && best_threads < full;
         rounded -= warp) {
        int block = rounded < limit ? rounded : limit, blocks = 0;
        size_t shared = shared_of ? shared_of(block) : dynamic_shared;
        CUresult error = vgpu_occupancy(caller, function, block, shared, flags, &blocks);
        if (error)
            return error;
        if (block * blocks > best_threads) {
            best_threads = block * blocks;
            *best_block = block;
            *best_blocks = blocks;
        }
    }
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction handle,
                                                   CUoccupancyB2DSize shared_of,
                                                   size_t dynamic_shared, int most,
                                                   unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    int blocks = 0;
    CUresult error = enter(&caller, handle, &function);
    if (error)
        return error;
    if (grid == NULL || block == NULL || most < 0 ||
        flags & ~(unsigned int)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
        return CUDA_ERROR_INVALID_VALUE;
    *block = 0;
    error = search(&caller, function, shared_of, dynamic_shared, most, flags, block, &blocks);
    *grid =
        blocks * vgpu_process_attribute(vgpu_process(), CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    return error;
}

CUresult cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction function,
                                          CUoccupancyB2DSize shared_of, size_t dynamic_shared,
                                          int most)
{
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, function, shared_of,
                                                     dynamic_shared, most, 0);
}

/* The two questions about clusters, which are asked with a launch's shape. */
typedef CUresult ask_clusters(struct vgpu_channel *channel, uint32_t context, int32_t *answer,
                              uint32_t function, uint32_t grid_x, uint32_t grid_y, uint32_t grid_z,
                              uint32_t block_x, uint32_t block_y, uint32_t block_z,
                              uint32_t shared_bytes, const void *attributes,
                              size_t attributes_bytes);

static CUresult clusters(int *answer, CUfunction handle, const CUlaunchConfig *config,
                         ask_clusters *ask)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, &function);
    if (error)
        return error;
    if (answer == NULL || config == NULL || (config->numAttrs && config->attrs == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_process_note(
        vgpu_process(), ask(caller.channel, caller.context, answer, function->object.id,
                            config->gridDimX, config->gridDimY, config->gridDimZ, config->blockDimX,
                            config->blockDimY, config->blockDimZ, config->sharedMemBytes,
                            config->attrs, config->numAttrs * sizeof(*config->attrs)));
}

CUresult cuOccupancyMaxActiveClusters(int *count, CUfunction function, const CUlaunchConfig *config)
{
    return clusters(count, function, config, vgpu_send_cuOccupancyMaxActiveClusters);
}

CUresult cuOccupancyMaxPotentialClusterSize(int *size, CUfunction function,
                                            const CUlaunchConfig *config)
{
    return clusters(size, function, config, vgpu_send_cuOccupancyMaxPotentialClusterSize);
}
