/* SPDX-License-Identifier: MIT */
/* How many blocks, and clusters of them, fit: what one function says holds for the others. */
#include <stdint.h>

#include "tests/driver_api/check.h"

/* Kernels that ask for clusters, or leave it to the launch. */
static const char cluster_kernels[] =
    ".version 7.8\n.target sm_90\n.address_size 64\n"
    ".visible .entry any()\n{\nret;\n}\n"
    ".visible .entry pairs()\n.explicitcluster\n.reqnctapercluster 2\n{\nret;\n}\n";

static int attribute(CUdevice_attribute which)
{
    int value = 0;
    CHECK(cuDeviceGetAttribute(&value, which, 0));
    return value;
}

static int blocks_of(CUfunction function, int threads, size_t shared)
{
    int plain = -1, flagged = -2;
    CHECK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&plain, function, threads, shared));
    CHECK(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&flagged, function, threads, shared,
                                                               CU_OCCUPANCY_DEFAULT));
    EXPECT(plain == flagged);
    CHECK(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        &flagged, function, threads, shared, CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE));
    EXPECT(flagged <= plain);
    return plain;
}

static void test_blocks(CUfunction function)
{
    int threads_most = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
    int blocks_most = attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
    int value, before = blocks_most;
    for (int threads = 32; threads <= 1024; threads *= 2) {
        int blocks = blocks_of(function, threads, 0);
        EXPECT(blocks > 0 && blocks <= before && blocks * threads <= threads_most);
        EXPECT(blocks_of(function, threads, 40000) <= blocks);
        before = blocks;
    }
    EXPECT(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&value, function, 64, 0, 0x100) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(NULL, function, 64, 0, 0) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&value, function, 0, 0, 0) ==
           CUDA_ERROR_INVALID_VALUE);
}

/* So much shared memory leaves room for so many blocks, but for what is reserved for each. */
static void test_shared_memory(CUfunction function)
{
    const size_t reserved = (size_t)attribute(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
    const int too_many = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR) / 128 + 1;
    size_t before = SIZE_MAX, bytes;
    int limit = 0;
    CHECK(cuFuncGetAttribute(&limit, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function));
    for (int blocks = 1; blocks <= 8; blocks *= 2) {
        bytes = SIZE_MAX;
        CHECK(cuOccupancyAvailableDynamicSMemPerBlock(&bytes, function, blocks, 128));
        EXPECT(bytes > reserved && bytes <= before && bytes <= (size_t)limit);
        EXPECT(blocks_of(function, 128, bytes - reserved) >= blocks);
        before = bytes;
    }
    EXPECT(cuOccupancyAvailableDynamicSMemPerBlock(&bytes, function, 0, 128) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuOccupancyAvailableDynamicSMemPerBlock(&bytes, function, too_many, 128) ==
           CUDA_ERROR_INVALID_VALUE);
}

static size_t shared_of_threads(int threads)
{
    return (size_t)threads * 64;
}

static void test_block_size(CUfunction function)
{
    const int processors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    int grid = -1, block = -1, plain_grid, plain_block;
    CHECK(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, function, NULL, 0, 0,
                                                    CU_OCCUPANCY_DEFAULT));
    CHECK(cuOccupancyMaxPotentialBlockSize(&plain_grid, &plain_block, function, NULL, 0, 0));
    EXPECT(grid == plain_grid && block == plain_block);
    EXPECT(block > 0 && grid == blocks_of(function, block, 0) * processors);
    for (int threads = 32; threads <= 1024; threads += 32)
        EXPECT(threads * blocks_of(function, threads, 0) <= block * (grid / processors));
    CHECK(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, function, NULL, 0, 100,
                                                    CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE));
    EXPECT(block > 0 && block <= 100);
    CHECK(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, function, shared_of_threads, 0,
                                                    512, CU_OCCUPANCY_DEFAULT));
    EXPECT(block > 0 && block <= 512);
    EXPECT(grid == blocks_of(function, block, shared_of_threads(block)) * processors);
    EXPECT(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, function, NULL, 0, 0, 0x100) ==
           CUDA_ERROR_INVALID_VALUE);
}

/* A kernel of a library is asked about like the function that it is in the current context. */
static void test_kernels(void)
{
    CUlibrary library;
    CUkernel kernel;
    CUfunction function;
    size_t of_function = 1, of_kernel = 2;
    int grid, block, other_grid, other_block;
    CHECK(cuLibraryLoadData(&library, kernels_ptx, NULL, NULL, 0, NULL, NULL, 0));
    CHECK(cuLibraryGetKernel(&kernel, library, "dynamic_shared"));
    CHECK(cuKernelGetFunction(&function, kernel));
    for (int threads = 32; threads <= 1024; threads *= 2)
        EXPECT(blocks_of(function, threads, 20000) ==
               blocks_of((CUfunction)kernel, threads, 20000));
    CHECK(cuOccupancyAvailableDynamicSMemPerBlock(&of_function, function, 2, 128));
    CHECK(cuOccupancyAvailableDynamicSMemPerBlock(&of_kernel, (CUfunction)kernel, 2, 128));
    EXPECT(of_function == of_kernel);
    CHECK(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, function, NULL, 1024, 0,
                                                    CU_OCCUPANCY_DEFAULT));
    CHECK(cuOccupancyMaxPotentialBlockSizeWithFlags(&other_grid, &other_block, (CUfunction)kernel,
                                                    NULL, 1024, 0, CU_OCCUPANCY_DEFAULT));
    EXPECT(grid == other_grid && block == other_block);
    CHECK(cuLibraryUnload(library));
}

static void test_clusters(void)
{
    CUlaunchAttribute wanted = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                                .value.clusterDim = {2, 1, 1}};
    CUlaunchConfig config = {.gridDimX = 64,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = 128,
                             .blockDimY = 1,
                             .blockDimZ = 1};
    CUmodule module;
    int none = -1, pairs = -1, fours = -1, own = -1, size = -1, wider = -1;
    CHECK(cuModuleLoadData(&module, cluster_kernels));
    CUfunction any = check_function(module, "any"), paired = check_function(module, "pairs");
    CHECK(cuOccupancyMaxActiveClusters(&none, any, &config)); /* of what size? */
    config.attrs = &wanted;
    config.numAttrs = 1;
    CHECK(cuOccupancyMaxActiveClusters(&pairs, any, &config));
    wanted.value.clusterDim.x = 4;
    CHECK(cuOccupancyMaxActiveClusters(&fours, any, &config));
    EXPECT(fours > 0 && pairs >= fours);
    EXPECT(2 * pairs <=
           blocks_of(any, 128, 0) * attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
    EXPECT(cuOccupancyMaxActiveClusters(&own, paired, &config) != CUDA_SUCCESS); /* asks for 2 */
    CHECK(cuOccupancyMaxPotentialClusterSize(&size, any, &config));
    EXPECT(size >= 4);
    config.numAttrs = 0;
    CHECK(cuOccupancyMaxActiveClusters(&own, paired, &config));
    EXPECT(own == pairs);
    CHECK(cuOccupancyMaxPotentialClusterSize(&own, paired, &config));
    EXPECT(own >= 2);
    CHECK(cuFuncSetAttribute(any, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
    CHECK(cuOccupancyMaxPotentialClusterSize(&wider, any, &config));
    EXPECT(wider >= size);
    CHECK(cuModuleUnload(module));
}

int main(void)
{
    check_context();
    CUmodule module = check_module();
    test_blocks(check_function(module, "fill"));
    test_shared_memory(check_function(module, "dynamic_shared"));
    test_block_size(check_function(module, "fill"));
    test_kernels();
    if (attribute(CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH))
        test_clusters();
    printf("occupancy: all is well\n");
    return 0;
}
