/* SPDX-License-Identifier: MIT */
/* How many blocks a multiprocessor has room for, by threads, blocks and shared memory. */
#include "soft/driver/code/module.h"

int vgpu_function_blocks(const struct vgpu_function *function,
                         const struct vgpu_kernel_needs *needs, int threads, size_t dynamic_shared)
{
    size_t shared = needs->static_shared_bytes + VGPU_SOFT_BLOCK_SHARED_RESERVED;
    int warps = (threads + VGPU_SOFT_WARP - 1) / VGPU_SOFT_WARP;
    int blocks = VGPU_SOFT_SM_THREADS / VGPU_SOFT_WARP / warps;

    if (threads > VGPU_SOFT_BLOCK_THREADS ||
        dynamic_shared > vgpu_kernel_dynamic_limit(needs, &function->settings))
        return 0;
    shared += dynamic_shared;
    if (blocks > VGPU_SOFT_SM_BLOCKS)
        blocks = VGPU_SOFT_SM_BLOCKS;
    if ((size_t)blocks > VGPU_SOFT_SM_SHARED / shared)
        blocks = (int)(VGPU_SOFT_SM_SHARED / shared);
    return blocks;
}

static CUresult enter(CUfunction handle, struct vgpu_function **function,
                      struct vgpu_kernel_needs *needs)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_function_resolve(context, handle, function);
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_function_prepare(*function, needs);
    if (result != CUDA_SUCCESS)
        vgpu_object_put(*function);
    return result;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *numBlocks, CUfunction func,
                                                              int blockSize, size_t dynamicSMemSize,
                                                              unsigned int flags)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_function *function;
    CUresult result = enter(func, &function, &needs);

    if (result != CUDA_SUCCESS)
        return result;
    if (!numBlocks || blockSize <= 0 ||
        (flags & ~(unsigned int)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE))
        result = CUDA_ERROR_INVALID_VALUE;
    else
        *numBlocks = vgpu_function_blocks(function, &needs, blockSize, dynamicSMemSize);
    vgpu_object_put(function);
    return result;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *numBlocks, CUfunction func, int blockSize,
                                                     size_t dynamicSMemSize)
{
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(numBlocks, func, blockSize,
                                                                dynamicSMemSize, 0);
}

CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamicSmemSize, CUfunction func,
                                                 int numBlocks, int blockSize)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_function *function;
    CUresult result = enter(func, &function, &needs);
    size_t most;

    if (result != CUDA_SUCCESS)
        return result;
    if (!dynamicSmemSize || numBlocks <= 0 || blockSize <= 0 ||
        vgpu_function_blocks(function, &needs, blockSize, 0) < numBlocks) {
        vgpu_object_put(function);
        return CUDA_ERROR_INVALID_VALUE;
    }
    /* As NVIDIA's driver, which does not count what is reserved for each block. */
    *dynamicSmemSize = VGPU_SOFT_SM_SHARED / (size_t)numBlocks - needs.static_shared_bytes;
    most = vgpu_kernel_dynamic_limit(&needs, &function->settings);
    if (*dynamicSmemSize > most)
        *dynamicSmemSize = most;
    vgpu_object_put(function);
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *minGridSize, int *blockSize,
                                                   CUfunction func,
                                                   CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                                   size_t dynamicSMemSize, int blockSizeLimit,
                                                   unsigned int flags)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_function *function;
    CUresult result = enter(func, &function, &needs);
    int most, best_threads = 0, best_blocks = 0;

    if (result != CUDA_SUCCESS)
        return result;
    if (!minGridSize || !blockSize || blockSizeLimit < 0 ||
        (flags & ~(unsigned int)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)) {
        vgpu_object_put(function);
        return CUDA_ERROR_INVALID_VALUE;
    }
    most = (int)function->info.max_threads;
    if (blockSizeLimit && blockSizeLimit < most)
        most = blockSizeLimit;
    /* The largest block that keeps most threads in the air. */
    for (int threads = most; threads > 0;
         threads -= threads % VGPU_SOFT_WARP ? threads % VGPU_SOFT_WARP : VGPU_SOFT_WARP) {
        size_t shared =
            blockSizeToDynamicSMemSize ? blockSizeToDynamicSMemSize(threads) : dynamicSMemSize;
        int blocks = vgpu_function_blocks(function, &needs, threads, shared);
        if (blocks * threads > best_blocks * best_threads) {
            best_blocks = blocks;
            best_threads = threads;
        }
    }
    *blockSize = best_threads;
    *minGridSize = best_blocks * vgpu_driver()->processors;
    vgpu_object_put(function);
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialBlockSize(int *minGridSize, int *blockSize, CUfunction func,
                                          CUoccupancyB2DSize blockSizeToDynamicSMemSize,
                                          size_t dynamicSMemSize, int blockSizeLimit)
{
    return cuOccupancyMaxPotentialBlockSizeWithFlags(minGridSize, blockSize, func,
                                                     blockSizeToDynamicSMemSize, dynamicSMemSize,
                                                     blockSizeLimit, 0);
}

/* ---- clusters: as many blocks as fit on all multiprocessors, whichever these are ---- */

/* The blocks of the largest cluster that a kernel may be launched in. */
static uint32_t most_blocks(const struct vgpu_function *function)
{
    uint32_t most = function->settings.large_clusters ? VGPU_SOFT_CLUSTER_BLOCKS
                                                      : VGPU_SOFT_PORTABLE_CLUSTER_BLOCKS;
    uint32_t own = function->info.max_cluster;

    return own && own < most ? own : most;
}

CUresult vgpu_function_check_cluster(const struct vgpu_function *function,
                                     const uint32_t cluster[3])
{
    uint32_t own[3];
    uint64_t blocks = 1;

    vgpu_function_required_cluster(function, own);
    for (int n = 0; n < 3; n++) {
        if (cluster[n] == 0 || cluster[n] > VGPU_SOFT_CLUSTER_BLOCKS ||
            (own[n] && own[n] != cluster[n]))
            return CUDA_ERROR_INVALID_CLUSTER_SIZE;
        blocks *= cluster[n];
    }
    return blocks > most_blocks(function) ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
}

CUresult cuOccupancyMaxPotentialClusterSize(int *clusterSize, CUfunction func,
                                            const CUlaunchConfig *config)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_function *function;
    CUresult result = enter(func, &function, &needs);

    if (result != CUDA_SUCCESS)
        return result;
    if (clusterSize && config)
        *clusterSize = (int)most_blocks(function);
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(function);
    return result;
}

/* The shape that the launch asks for, or else the kernel; single blocks if neither does. */
static CUresult find_cluster(const struct vgpu_function *function, const CUlaunchConfig *config,
                             uint32_t cluster[3])
{
    vgpu_function_required_cluster(function, cluster);
    if (cluster[0] == 0)
        cluster[0] = cluster[1] = cluster[2] = 1;
    for (unsigned int i = 0; i < config->numAttrs && config->attrs; i++) {
        const CUlaunchAttributeValue *value = &config->attrs[i].value;

        if (config->attrs[i].id != CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            continue;
        cluster[0] = value->clusterDim.x;
        cluster[1] = value->clusterDim.y;
        cluster[2] = value->clusterDim.z;
    }
    return vgpu_function_check_cluster(function, cluster);
}

CUresult cuOccupancyMaxActiveClusters(int *numClusters, CUfunction func,
                                      const CUlaunchConfig *config)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_function *function;
    CUresult result = enter(func, &function, &needs);
    uint32_t cluster[3];
    uint64_t threads;

    if (result != CUDA_SUCCESS)
        return result;
    if (!numClusters || !config) {
        vgpu_object_put(function);
        return CUDA_ERROR_INVALID_VALUE;
    }
    threads = (uint64_t)config->blockDimX * config->blockDimY * config->blockDimZ;
    result = threads == 0 || threads > VGPU_SOFT_BLOCK_THREADS
                 ? CUDA_ERROR_INVALID_VALUE
                 : find_cluster(function, config, cluster);
    if (result == CUDA_SUCCESS)
        *numClusters =
            vgpu_function_blocks(function, &needs, (int)threads, config->sharedMemBytes) *
            vgpu_driver()->processors / (int)(cluster[0] * cluster[1] * cluster[2]);
    vgpu_object_put(function);
    return result;
}
