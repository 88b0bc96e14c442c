/* SPDX-License-Identifier: MIT */
/* Tensor maps that are wrong, or that this driver does not have. What copies bring is in
 * tests/driver_api/tensor_copies.c. */
#include "driver_test.h"

static CUresult encode(CUtensorMap *map, CUdeviceptr memory, const cuuint32_t box[2],
                       CUtensorMapSwizzle swizzle)
{
    static const cuuint64_t dimensions[] = {40, 20}, strides[] = {192};
    static const cuuint32_t steps[] = {1, 1};

    return cuTensorMapEncodeTiled(map, CU_TENSOR_MAP_DATA_TYPE_INT32, 2, (void *)memory, dimensions,
                                  strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                  CU_TENSOR_MAP_L2_PROMOTION_NONE,
                                  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

/* One thread brings the first box. */
static const char text[] =
    ".version 8.6\n.target sm_90\n.address_size 64\n"
    ".visible .entry load(.param .align 64 .b8 map[128])\n{\n"
    ".reg .b32 %r<4>;\n.reg .b64 %d<3>;\n"
    ".shared .align 1024 .b8 box[4096];\n.shared .align 8 .b64 barrier;\n"
    "mov.u32 %r1, box;\nmov.u32 %r2, barrier;\nmbarrier.init.shared.b64 [%r2], 1;\n"
    "mov.b64 %d1, map;\ncvta.param.u64 %d2, %d1;\n"
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1], "
    "[%d2, {0, 0}], [%r2];\nret;\n}\n";

static CUresult load(CUtensorMap *map)
{
    void *parameters[] = {map};
    CUfunction function;
    CUmodule module;

    assert_cuda(cuModuleLoadData(&module, text));
    assert_cuda(cuModuleGetFunction(&function, module, "load"));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    return cuCtxSynchronize();
}

static void maps_are_checked_when_they_are_made(void **state)
{
    static const cuuint32_t box[] = {16, 8}, odd[] = {3, 8}, wide[] = {64, 8}, tall[] = {16, 257},
                            ragged[] = {6, 8};
    static CUtensorMap map;
    CUdeviceptr memory;

    (void)state;
    assert_cuda(cuMemAlloc(&memory, 1 << 20));
    assert_cuda(encode(&map, memory, box, CU_TENSOR_MAP_SWIZZLE_NONE));
    assert_cuda(cuTensorMapReplaceAddress(&map, (void *)(memory + 64)));
    assert_cuda_error(cuTensorMapReplaceAddress(&map, (void *)(memory + 4)),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(encode(&map, memory + 4, box, CU_TENSOR_MAP_SWIZZLE_NONE),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(encode(&map, memory, odd, CU_TENSOR_MAP_SWIZZLE_NONE),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(encode(&map, memory, tall, CU_TENSOR_MAP_SWIZZLE_NONE),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(encode(&map, memory, wide, CU_TENSOR_MAP_SWIZZLE_128B),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(encode(&map, memory, box, CU_TENSOR_MAP_SWIZZLE_32B),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(encode(&map, memory, ragged, CU_TENSOR_MAP_SWIZZLE_128B),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(encode(&map, memory, box, CU_TENSOR_MAP_SWIZZLE_64B));
    assert_cuda(encode(&map, memory, box, CU_TENSOR_MAP_SWIZZLE_128B));
    assert_cuda_error(encode(&map, memory, box, CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B),
                      CUDA_ERROR_NOT_SUPPORTED);
}

static void tensors_are_checked_when_they_are_copied(void **state)
{
    static const cuuint32_t box[] = {16, 8};
    static CUtensorMap map;
    CUdeviceptr memory;

    (void)state;
    assert_cuda(cuMemAlloc(&memory, 1 << 20));
    assert_cuda(encode(&map, memory, box, CU_TENSOR_MAP_SWIZZLE_NONE));
    assert_cuda(load(&map));
    assert_cuda(cuTensorMapReplaceAddress(&map, (void *)(memory + (1 << 30))));
    assert_cuda_error(load(&map), CUDA_ERROR_ILLEGAL_ADDRESS);
}

static void what_is_no_map_is_found(void **state)
{
    static CUtensorMap map;

    (void)state;
    memset(&map, 1, sizeof(map));
    assert_cuda_error(load(&map), CUDA_ERROR_ILLEGAL_INSTRUCTION);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(maps_are_checked_when_they_are_made),
        in_context(tensors_are_checked_when_they_are_copied),
        in_context(what_is_no_map_is_found),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
