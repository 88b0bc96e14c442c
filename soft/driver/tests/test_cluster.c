/* SPDX-License-Identifier: MIT */
/* Launches of clusters: by an attribute, or because the kernel is one of them. */
#include "driver_test.h"

static const char text[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    ".visible .entry any(.param .u64 to)\n{\n.reg .b64 %d;\n.reg .b32 %r<3>;\n.reg .pred %p;\n"
    "ld.param.u64 %d, [to];\nmov.u32 %r1, %cluster_nctarank;\nmov.pred %p, %is_explicit_cluster;\n"
    "selp.u32 %r2, 1, 0, %p;\nst.global.v2.u32 [%d], {%r1, %r2};\nret;\n}\n"
    ".visible .entry pairs(.param .u64 to)\n.explicitcluster\n.reqnctapercluster 2\n"
    "{\n.reg .b64 %d;\n.reg .b32 %r;\nld.param.u64 %d, [to];\nmov.u32 %r, %cluster_nctarank;\n"
    "st.global.u32 [%d], %r;\nret;\n}\n"
    ".visible .entry few(.param .u64 to)\n.maxclusterrank 4\n{\nret;\n}\n";

struct launch {
    CUmodule module;
    CUdeviceptr to;
    CUlaunchAttribute attribute;
    CUlaunchConfig config;
};

static struct launch prepare(unsigned int blocks, unsigned int x, unsigned int y)
{
    struct launch launch = {
        .attribute = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = {x, y, 1}},
        .config = {.gridDimX = blocks,
                   .gridDimY = 4,
                   .gridDimZ = 1,
                   .blockDimX = 32,
                   .blockDimY = 1,
                   .blockDimZ = 1,
                   .numAttrs = 1}};

    assert_cuda(cuModuleLoadData(&launch.module, text));
    assert_cuda(cuMemAlloc(&launch.to, 8));
    return launch;
}

static CUresult start(struct launch *launch, const char *kernel)
{
    void *parameters[] = {&launch->to};
    CUfunction function;

    launch->config.attrs = &launch->attribute;
    assert_cuda(cuModuleGetFunction(&function, launch->module, kernel));
    return cuLaunchKernelEx(&launch->config, function, parameters, NULL);
}

static void launches_ask_for_clusters(void **state)
{
    struct launch launch = prepare(8, 4, 2);
    unsigned int got[2];
    int value = -1;

    (void)state;
    assert_cuda(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 0));
    assert_int_equal(value, 1);
    assert_cuda(start(&launch, "any"));
    assert_cuda(cuMemcpyDtoH(got, launch.to, sizeof(got)));
    assert_int_equal(got[0], 8);
    assert_int_equal(got[1], 1);
    launch.config.numAttrs = 0;
    assert_cuda(start(&launch, "any"));
    assert_cuda(cuMemcpyDtoH(got, launch.to, sizeof(got)));
    assert_int_equal(got[0], 1);
    assert_int_equal(got[1], 0);
}

static void kernels_ask_for_clusters(void **state)
{
    struct launch launch = prepare(8, 2, 1);
    CUfunction function;
    unsigned int got;
    int value = -1;

    (void)state;
    assert_cuda(cuModuleGetFunction(&function, launch.module, "pairs"));
    assert_cuda(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, function));
    assert_int_equal(value, 2);
    assert_cuda(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, function));
    assert_int_equal(value, 1);
    assert_cuda(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, function));
    assert_int_equal(value, 1);
    launch.config.numAttrs = 0;
    assert_cuda(start(&launch, "pairs"));
    assert_cuda(cuMemcpyDtoH(&got, launch.to, sizeof(got)));
    assert_int_equal(got, 2);
    launch.config.numAttrs = 1;
    assert_cuda(start(&launch, "pairs"));
    launch.attribute.value.clusterDim.x = 4;
    assert_cuda_error(start(&launch, "pairs"), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    assert_cuda_error(start(&launch, "few"), CUDA_SUCCESS);
    launch.attribute.value.clusterDim.x = 8;
    assert_cuda_error(start(&launch, "few"), CUDA_ERROR_INVALID_CLUSTER_SIZE);
}

static void clusters_have_limits(void **state)
{
    struct launch launch = prepare(12, 8, 1);
    CUfunction function;
    int value = -1;

    (void)state;
    assert_cuda_error(start(&launch, "any"), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    launch.attribute.value.clusterDim.x = 0;
    assert_cuda_error(start(&launch, "any"), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    launch.attribute.value.clusterDim.x = 4;
    launch.attribute.value.clusterDim.y = 4;
    assert_cuda_error(start(&launch, "any"), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    assert_cuda(cuModuleGetFunction(&function, launch.module, "any"));
    assert_cuda(cuOccupancyMaxPotentialClusterSize(&value, function, &launch.config));
    assert_int_equal(value, 8);
    assert_cuda(
        cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
    assert_cuda(start(&launch, "any"));
    assert_cuda(cuOccupancyMaxPotentialClusterSize(&value, function, &launch.config));
    assert_int_equal(value, 16);
    assert_cuda(cuOccupancyMaxActiveClusters(&value, function, &launch.config));
    assert_true(value > 0);
    launch.attribute.value.clusterDim.x = 12;
    assert_cuda_error(start(&launch, "any"), CUDA_ERROR_INVALID_CLUSTER_SIZE);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(launches_ask_for_clusters),
        in_context(kernels_ask_for_clusters),
        in_context(clusters_have_limits),
    };
    setenv("VGPU_SOFT_MEMORY", "64M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
