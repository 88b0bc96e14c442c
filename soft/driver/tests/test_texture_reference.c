/* SPDX-License-Identifier: MIT */
/* Texture and surface references: deprecated, and there. */
#include "driver_test.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* Of 1, 2, 3 and 4. */
static CUarray create(unsigned int flags)
{
    static const float line[4] = {1, 2, 3, 4};
    const CUDA_ARRAY3D_DESCRIPTOR descriptor = {
        .Width = 4, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1, .Flags = flags};
    CUarray array;

    assert_cuda(cuArray3DCreate(&array, &descriptor));
    assert_cuda(cuMemcpyHtoA(array, 0, line, sizeof(line)));
    return array;
}

static void references_stand_for_what_they_are_bound_to(void **state)
{
    static const char ptx[] =
        ".version 8.0\n.target sm_90\n.address_size 64\n"
        ".visible .global .texref t;\n.visible .global .surfref s;\n.visible .global .u32 v;\n"
        ".visible .entry k(.param .u64 p_out)\n{\n.reg .f32 %f<4>;\n.reg .b32 %r<8>;\n"
        ".reg .b64 %rd<2>;\nld.param.u64 %rd1, [p_out];\nmov.u32 %r0, 2;\n"
        "tex.1d.v4.f32.s32 {%f0, %f1, %f2, %f3}, [t, {%r0}];\n"
        "mov.u32 %r2, 4;\nsuld.b.1d.b32.trap {%r1}, [s, {%r2}];\n"
        "mov.b32 %f1, %r1;\nadd.f32 %f0, %f0, %f1;\n"
        "st.global.f32 [%rd1], %f0;\nret;\n}\n";
    CUarray array = create(CUDA_ARRAY3D_SURFACE_LDST), bound;
    CUdeviceptr out, memory;
    void *arguments[] = {&out};
    CUsurfref surface;
    CUtexref texture, same;
    CUfunction function;
    CUmodule module;
    CUfilter_mode filter = CU_TR_FILTER_MODE_POINT;
    size_t offset = 7;
    float value = 0;

    (void)state;
    assert_cuda(cuModuleLoadData(&module, ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "k"));
    assert_cuda(cuModuleGetTexRef(&texture, module, "t"));
    assert_cuda(cuModuleGetTexRef(&same, module, "t"));
    assert_ptr_equal(texture, same);
    assert_cuda_error(cuModuleGetTexRef(&same, module, "v"), CUDA_ERROR_NOT_FOUND);
    assert_cuda(cuModuleGetSurfRef(&surface, module, "s"));
    assert_cuda_error(cuTexRefGetArray(&bound, texture), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    assert_cuda(cuSurfRefSetArray(surface, array, 0));
    assert_cuda(cuTexRefGetArray(&bound, texture));
    assert_ptr_equal(bound, array);
    assert_cuda(cuTexRefSetFilterMode(texture, CU_TR_FILTER_MODE_LINEAR));
    assert_cuda(cuTexRefGetFilterMode(&filter, texture));
    assert_int_equal(filter, CU_TR_FILTER_MODE_LINEAR);
    assert_cuda_error(cuTexRefSetAddressMode(texture, 3, CU_TR_ADDRESS_MODE_CLAMP),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemAlloc(&out, 4));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
    assert_cuda(cuMemcpyDtoH(&value, out, 4));
    assert_true(value == 3 + 2);
    assert_cuda_error(cuTexRefDestroy(texture), CUDA_ERROR_INVALID_VALUE);

    assert_cuda(cuTexRefCreate(&texture));
    assert_cuda(cuMemAlloc(&memory, 1024));
    assert_cuda(cuTexRefSetAddress(&offset, texture, memory + 512, 512));
    assert_int_equal(offset, 0);
    assert_cuda(cuTexRefSetAddress(&offset, texture, memory + 16, 512));
    assert_int_equal(offset, 16);
    assert_cuda_error(cuTexRefSetAddress(NULL, texture, memory + 16, 512),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuTexRefDestroy(texture));
    assert_cuda_error(cuTexRefGetFilterMode(&filter, texture), CUDA_ERROR_INVALID_VALUE);
}

static const char references[] = ".version 8.0\n.target sm_90\n.address_size 64\n"
                                 ".visible .global .texref t;\n.visible .global .surfref s;\n";

static void what_is_refused_leaves_a_reference_as_it_was(void **state)
{
    const CUDA_ARRAY_DESCRIPTOR plane = {
        .Width = 4, .Height = 1, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    const CUDA_ARRAY3D_DESCRIPTOR levels = {
        .Width = 4, .Height = 4, .Format = CU_AD_FORMAT_HALF, .NumChannels = 2};
    CUarray array = create(0), bound = NULL;
    CUmipmappedArray whole, said = NULL;
    CUdeviceptr memory;
    CUtexref texture;

    (void)state;
    assert_cuda(cuMemAlloc(&memory, 1024));
    assert_cuda(cuMipmappedArrayCreate(&whole, &levels, 2));
    assert_cuda(cuTexRefCreate(&texture));
    assert_cuda(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    assert_cuda_error(cuTexRefSetAddress2D(texture, &plane, memory + 4, 512),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuTexRefSetAddress2D(texture, &plane, memory, 513), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuTexRefSetAddress2D(texture, &plane, memory + (1 << 30), 512),
                      CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuTexRefGetArray(&bound, texture));
    assert_ptr_equal(bound, array);
    assert_cuda(cuTexRefSetMipmappedArray(texture, whole, 0));
    /* That coordinates go from 0 to 1 may be said afterwards. */
    assert_cuda(cuTexRefSetMipmappedArray(texture, whole, CU_TRSA_OVERRIDE_FORMAT));
    assert_cuda(cuTexRefGetMipmappedArray(&said, texture));
    assert_ptr_equal(said, whole);
    assert_cuda(cuTexRefDestroy(texture));
    assert_cuda(cuMipmappedArrayDestroy(whole));
}

static void references_end_with_their_module(void **state)
{
    CUarray array = create(CUDA_ARRAY3D_SURFACE_LDST);
    size_t before, after, total;
    CUsurfref surface;
    CUtexref texture;
    CUmodule module;
    unsigned int flags;

    (void)state;
    assert_cuda(cuMemGetInfo(&before, &total));
    assert_cuda(cuModuleLoadData(&module, references));
    assert_cuda(cuModuleGetTexRef(&texture, module, "t"));
    assert_cuda(cuModuleGetSurfRef(&surface, module, "s"));
    assert_cuda(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    assert_cuda(cuSurfRefSetArray(surface, array, 0));
    assert_cuda(cuModuleUnload(module));
    assert_cuda_error(cuTexRefGetFlags(&flags, texture), CUDA_ERROR_INVALID_VALUE);
    assert_cuda_error(cuSurfRefGetArray(&array, surface), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuMemGetInfo(&after, &total));
    assert_int_equal(before, after);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(references_stand_for_what_they_are_bound_to),
        in_context(what_is_refused_leaves_a_reference_as_it_was),
        in_context(references_end_with_their_module),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
