/* SPDX-License-Identifier: MIT */
/* Launches and occupancy. */
#include <stdint.h>

#include "tests/driver_api/cases.h"

static CUresult launch(const unsigned int grid[3], const unsigned int block[3], unsigned int shared)
{
    CUresult error = cuLaunchKernel(test_kernel("count_threads"), grid[0], grid[1], grid[2],
                                    block[0], block[1], block[2], shared, NULL, NULL, NULL);
    return error ? error : cuCtxSynchronize();
}

#define LAUNCH(gx, gy, gz, bx, by, bz, shared)                                                     \
    launch((const unsigned int[]){gx, gy, gz}, (const unsigned int[]){bx, by, bz}, shared)

CASE(launch_right)
{
    return LAUNCH(2, 2, 2, 32, 2, 2, 0);
}

CASE(launch_null)
{
    return cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

CASE(launch_unloaded)
{
    CUmodule module = test_module();
    CUfunction function;
    NEED(cuModuleGetFunction(&function, module, "count_threads"));
    NEED(cuModuleUnload(module));
    return cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

CASE(launch_no_grid)
{
    return LAUNCH(0, 1, 1, 1, 1, 1, 0);
}

CASE(launch_no_block)
{
    return LAUNCH(1, 1, 1, 1, 0, 1, 0);
}

CASE(launch_grid_y)
{
    return LAUNCH(1, 65536, 1, 1, 1, 1, 0);
}

CASE(launch_grid_x)
{
    return LAUNCH(0x80000000u, 1, 1, 1, 1, 1, 0);
}

CASE(launch_threads)
{
    return LAUNCH(1, 1, 1, 1025, 1, 1, 0);
}

CASE(launch_threads_product)
{
    return LAUNCH(1, 1, 1, 64, 32, 1, 0);
}

CASE(launch_threads_wrap)
{
    return LAUNCH(1, 1, 1, 65536, 65536, 1, 0);
}

CASE(launch_block_z)
{
    return LAUNCH(1, 1, 1, 1, 1, 65, 0);
}

CASE(launch_shared)
{
    return LAUNCH(1, 1, 1, 1, 1, 1, 1 << 20);
}

CASE(launch_shared_over_default)
{
    return LAUNCH(1, 1, 1, 1, 1, 1, 50000);
}

CASE(launch_parameters_null)
{
    return cuLaunchKernel(test_kernel("fill"), 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

CASE(launch_parameters_unused)
{
    CUdeviceptr address = test_memory(16);
    unsigned int value = 1;
    int count = 1;
    void *parameters[] = {&address, &value, &count};
    return cuLaunchKernel(test_kernel("count_threads"), 1, 1, 1, 1, 1, 1, 0, NULL, parameters,
                          NULL);
}

static struct {
    CUdeviceptr address;
    unsigned int value;
    int count;
} packed;

static CUresult launch_packed(size_t size)
{
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    CUresult error;
    packed.address = test_memory(16);
    packed.count = 4;
    error = cuLaunchKernel(test_kernel("fill"), 1, 1, 1, 4, 1, 1, 0, NULL, NULL, extra);
    return error ? error : cuCtxSynchronize();
}

CASE(launch_extra)
{
    return launch_packed(sizeof(packed));
}

CASE(launch_extra_long)
{
    return launch_packed(4096);
}

CASE(launch_extra_bad)
{
    void *extra[] = {(void *)77, &packed, CU_LAUNCH_PARAM_END};
    return cuLaunchKernel(test_kernel("fill"), 1, 1, 1, 4, 1, 1, 0, NULL, NULL, extra);
}

CASE(launch_both)
{
    size_t size = sizeof(packed);
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    void *parameters[] = {&packed.address, &packed.value, &packed.count};
    return cuLaunchKernel(test_kernel("fill"), 1, 1, 1, 4, 1, 1, 0, NULL, parameters, extra);
}

CASE(launch_stream_destroyed)
{
    CUfunction function = test_kernel("count_threads");
    CUstream stream;
    NEED(cuStreamCreate(&stream, 0));
    NEED(cuStreamDestroy(stream));
    return cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL);
}

CASE(launch_other_context)
{
    CUfunction function = test_kernel("count_threads");
    CUcontext context;
    NEED(cuCtxCreate(&context, NULL, 0, 0));
    return cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL);
}

static CUresult launch_ex(CUlaunchAttribute *attributes, unsigned int count)
{
    CUlaunchConfig config = {.gridDimX = 1,
                             .gridDimY = 1,
                             .gridDimZ = 1,
                             .blockDimX = 1,
                             .blockDimY = 1,
                             .blockDimZ = 1,
                             .attrs = attributes,
                             .numAttrs = count};
    CUresult error = cuLaunchKernelEx(&config, test_kernel("count_threads"), NULL, NULL);
    return error ? error : cuCtxSynchronize();
}

CASE(launch_ex_right)
{
    return launch_ex(NULL, 0);
}

CASE(launch_ex_attribute)
{
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_PRIORITY, .value.priority = 0};
    return launch_ex(&attribute, 1);
}

CASE(launch_ex_null)
{
    return cuLaunchKernelEx(NULL, test_kernel("count_threads"), NULL, NULL);
}

CASE(launch_cooperative)
{
    CUresult error =
        cuLaunchCooperativeKernel(test_kernel("count_threads"), 1, 1, 1, 32, 1, 1, 0, NULL, NULL);
    return error ? error : cuCtxSynchronize();
}

CASE(launch_cooperative_large)
{
    return cuLaunchCooperativeKernel(test_kernel("count_threads"), 1 << 20, 1, 1, 1024, 1, 1, 0,
                                     NULL, NULL);
}

CASE(occupancy_right)
{
    int blocks = 0;
    NEED(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, test_kernel("fill"), 256, 0));
    return blocks > 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(occupancy_no_block)
{
    int blocks;
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, test_kernel("fill"), 0, 0);
}

CASE(occupancy_large_block)
{
    int blocks = 77;
    NEED(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, test_kernel("fill"), 2000, 0));
    return blocks == 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CASE(occupancy_null)
{
    int blocks;
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, NULL, 256, 0);
}

CASE(occupancy_potential)
{
    int grid = 0, block = 0;
    NEED(cuOccupancyMaxPotentialBlockSize(&grid, &block, test_kernel("fill"), NULL, 0, 0));
    return block >= 512 && block % 32 == 0 && grid > 0 ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

const struct test_case launch_cases[] = {
    {"launch_right", launch_right, CUDA_SUCCESS, READY},
    {"launch_null", launch_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"launch_unloaded", launch_unloaded, CUDA_ERROR_INVALID_HANDLE, READY},
    {"launch_no_grid", launch_no_grid, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_no_block", launch_no_block, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_grid_y", launch_grid_y, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_grid_x", launch_grid_x, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_threads", launch_threads, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_threads_product", launch_threads_product, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_threads_wrap", launch_threads_wrap, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_block_z", launch_block_z, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_shared", launch_shared, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_shared_over_default", launch_shared_over_default, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_parameters_null", launch_parameters_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_parameters_unused", launch_parameters_unused, CUDA_SUCCESS, READY},
    {"launch_extra", launch_extra, CUDA_SUCCESS, READY},
    {"launch_extra_long", launch_extra_long, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, READY},
    {"launch_extra_bad", launch_extra_bad, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_both", launch_both, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_stream_destroyed", launch_stream_destroyed, CUDA_ERROR_INVALID_HANDLE, FATAL},
    {"launch_other_context", launch_other_context, CUDA_ERROR_INVALID_HANDLE, READY},
    {"launch_ex_right", launch_ex_right, CUDA_SUCCESS, READY},
    {"launch_ex_attribute", launch_ex_attribute, CUDA_SUCCESS, READY},
    {"launch_ex_null", launch_ex_null, CUDA_ERROR_INVALID_VALUE, READY},
    {"launch_cooperative", launch_cooperative, CUDA_SUCCESS, READY},
    {"launch_cooperative_large", launch_cooperative_large, CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
     READY},
    {"occupancy_right", occupancy_right, CUDA_SUCCESS, READY},
    {"occupancy_no_block", occupancy_no_block, CUDA_ERROR_INVALID_VALUE, READY},
    {"occupancy_large_block", occupancy_large_block, CUDA_SUCCESS, READY},
    {"occupancy_null", occupancy_null, CUDA_ERROR_INVALID_HANDLE, READY},
    {"occupancy_potential", occupancy_potential, CUDA_SUCCESS, READY},
    {0},
};
