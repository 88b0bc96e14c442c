/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>

#include "driver_test.h"

/* What a kernel gets: registers %f0 to %f7 and %r0 to %r7. */
struct input {
    float f[8];
    int r[8];
};

/* And what it leaves in %r20 to %r23. */
union output {
    float f[4];
    int r[4];
    unsigned int u[4];
};

/* Runs one thread that has the handle in %rd1. */
static CUresult run_text(const char *text, uint64_t handle, const struct input *input,
                         union output *output)
{
    static const char head[] = ".version 8.0\n.target sm_90\n.address_size 64\n"
                               ".visible .entry k(.param .u64 p_t, .param .u64 p_in,\n"
                               "                  .param .u64 p_out)\n{\n"
                               ".reg .f32 %f<16>;\n.reg .b32 %r<32>;\n.reg .b64 %rd<8>;\n"
                               ".reg .b16 %rs<8>;\n"
                               "ld.param.u64 %rd1, [p_t];\nld.param.u64 %rd2, [p_in];\n"
                               "ld.param.u64 %rd3, [p_out];\n"
                               "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%rd2];\n"
                               "ld.global.v4.f32 {%f4, %f5, %f6, %f7}, [%rd2+16];\n"
                               "ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%rd2+32];\n"
                               "ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd2+48];\n"
                               "mov.u32 %r20, 0;\nmov.u32 %r21, 0;\nmov.u32 %r22, 0;\n"
                               "mov.u32 %r23, 0;\n";
    static const char tail[] = "\nst.global.v4.u32 [%rd3], {%r20, %r21, %r22, %r23};\nret;\n}\n";
    char ptx[2048];
    CUdeviceptr in, out;
    void *arguments[] = {&handle, &in, &out};
    CUfunction function;
    CUmodule module;
    CUresult result;

    snprintf(ptx, sizeof(ptx), "%s%s%s", head, text, tail);
    assert_cuda(cuModuleLoadData(&module, ptx));
    assert_cuda(cuModuleGetFunction(&function, module, "k"));
    assert_cuda(cuMemAlloc(&in, sizeof(*input)));
    assert_cuda(cuMemAlloc(&out, sizeof(*output)));
    assert_cuda(cuMemcpyHtoD(in, input, sizeof(*input)));
    assert_cuda(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL));
    result = cuCtxSynchronize();
    if (result != CUDA_SUCCESS)
        return result;
    assert_cuda(cuMemcpyDtoH(output, out, sizeof(*output)));
    assert_cuda(cuMemFree(in));
    assert_cuda(cuMemFree(out));
    assert_cuda(cuModuleUnload(module));
    return CUDA_SUCCESS;
}

static union output run(const char *text, uint64_t handle, struct input input)
{
    union output output;

    assert_cuda(run_text(text, handle, &input, &output));
    return output;
}

#define FLOATS(...)                                                                                \
    (struct input)                                                                                 \
    {                                                                                              \
        .f = { __VA_ARGS__ }                                                                       \
    }
#define INTEGERS(...)                                                                              \
    (struct input)                                                                                 \
    {                                                                                              \
        .r = { __VA_ARGS__ }                                                                       \
    }

static CUarray create(size_t width, size_t height, size_t depth, CUarray_format format,
                      unsigned int channels, unsigned int flags, const void *data)
{
    CUDA_ARRAY3D_DESCRIPTOR descriptor = {.Width = width,
                                          .Height = height,
                                          .Depth = depth,
                                          .Format = format,
                                          .NumChannels = channels,
                                          .Flags = flags};
    size_t element =
        channels *
        (format == CU_AD_FORMAT_FLOAT || (format & 3) == 3 || format == CU_AD_FORMAT_SIGNED_INT32
             ? 4
         : format == CU_AD_FORMAT_HALF || (format & 3) == 2 || format == CU_AD_FORMAT_SIGNED_INT16
             ? 2
             : 1);
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                          .srcHost = data,
                          .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                          .WidthInBytes = width * element,
                          .Height = height ? height : 1,
                          .Depth = depth ? depth : 1};

    assert_cuda(cuArray3DCreate(&copy.dstArray, &descriptor));
    if (data)
        assert_cuda(cuMemcpy3D(&copy));
    return copy.dstArray;
}

static CUtexObject texture_of(CUarray array, CUfilter_mode filter, CUaddress_mode mode,
                              unsigned int flags)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = array};
    CUDA_TEXTURE_DESC how = {.addressMode = {mode, mode, mode},
                             .filterMode = filter,
                             .flags = flags,
                             .borderColor = {9, 9, 9, 9}};
    CUtexObject texture;

    assert_cuda(cuTexObjectCreate(&texture, &resource, &how, NULL));
    return texture;
}

#define assert_close(value, expected) assert_true(fabsf((value) - (expected)) < 1e-5f)

static void coordinates_outside_go_by_the_address_mode(void **state)
{
    static const float line[4] = {10, 11, 12, 13};
    static const char tex[] = "tex.1d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0}];";
    static const struct {
        CUaddress_mode mode;
        float at, expected;
    } normalized[] = {
        {CU_TR_ADDRESS_MODE_WRAP, 1.375f, 11},  {CU_TR_ADDRESS_MODE_WRAP, -0.1f, 13},
        {CU_TR_ADDRESS_MODE_CLAMP, 7, 13},      {CU_TR_ADDRESS_MODE_CLAMP, -7, 10},
        {CU_TR_ADDRESS_MODE_MIRROR, 1.1f, 13},  {CU_TR_ADDRESS_MODE_MIRROR, -0.3f, 11},
        {CU_TR_ADDRESS_MODE_MIRROR, 2.3f, 11},  {CU_TR_ADDRESS_MODE_BORDER, 1.1f, 9},
        {CU_TR_ADDRESS_MODE_BORDER, 0.99f, 13},
    };
    CUarray array = create(4, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0, line);
    CUtexObject texture;

    (void)state;
    for (size_t i = 0; i < sizeof(normalized) / sizeof(normalized[0]); i++) {
        texture = texture_of(array, CU_TR_FILTER_MODE_POINT, normalized[i].mode,
                             CU_TRSF_NORMALIZED_COORDINATES);
        assert_close(run(tex, texture, FLOATS(normalized[i].at)).f[0], normalized[i].expected);
        assert_cuda(cuTexObjectDestroy(texture));
    }
    texture = texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
    assert_close(run(tex, texture, FLOATS(2.9f)).f[0], 12);
    assert_close(run(tex, texture, FLOATS(-3)).f[0], 10);
    assert_close(run(tex, texture, FLOATS(1)).f[3], 1); /* a channel that is not there */
}

static void filtering_has_weights_of_eight_bits(void **state)
{
    static const float plane[2][2] = {{0, 256}, {512, 1024}};
    static const char tex[] = "tex.2d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0, %f1}];";
    CUarray array = create(2, 2, 0, CU_AD_FORMAT_FLOAT, 1, 0, plane);
    CUtexObject texture = texture_of(array, CU_TR_FILTER_MODE_LINEAR, CU_TR_ADDRESS_MODE_CLAMP, 0);

    (void)state;
    assert_close(run(tex, texture, FLOATS(0.5f, 0.5f)).f[0], 0);
    assert_close(run(tex, texture, FLOATS(1.0f, 0.5f)).f[0], 128);
    assert_close(run(tex, texture, FLOATS(1.0f, 1.0f)).f[0], 448);
    assert_close(run(tex, texture, FLOATS(0.5f + 1 / 256.0f, 0.5f)).f[0], 1);
    assert_close(run(tex, texture, FLOATS(0.5f + 1.4f / 256.0f, 0.5f)).f[0], 1);
    assert_close(run(tex, texture, FLOATS(-5, 0.5f)).f[0], 0);
    assert_close(run("tld4.r.2d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0, %f1}];", texture,
                     FLOATS(1, 1))
                     .f[0],
                 512);
}

static void integers_are_read_as_such_or_as_fractions(void **state)
{
    static const unsigned char bytes[4] = {255, 0, 51, 128};
    static const signed char signs[2] = {-128, 127};
    static const unsigned short half[1] = {0x3e00}; /* 1.5 */
    static const char tex[] = "tex.1d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0}];";
    CUarray array = create(1, 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0, bytes);
    union output out;

    (void)state;
    out = run(tex, texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0),
              FLOATS(0.5f));
    assert_close(out.f[0], 1);
    assert_close(out.f[2], 0.2f);
    out = run(tex,
              texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP,
                         CU_TRSF_READ_AS_INTEGER),
              FLOATS(0.5f));
    assert_int_equal(out.r[0], 255);
    assert_int_equal(out.r[3], 128);
    array = create(2, 0, 0, CU_AD_FORMAT_SIGNED_INT8, 1, 0, signs);
    out = run(tex, texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0),
              FLOATS(0.5f));
    assert_close(out.f[0], -1);
    out = run("tex.1d.v4.s32.s32 {%r20, %r21, %r22, %r23}, [%rd1, {%r0}];",
              texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP,
                         CU_TRSF_READ_AS_INTEGER),
              INTEGERS(0));
    assert_int_equal(out.r[0], -128);
    array = create(1, 0, 0, CU_AD_FORMAT_HALF, 1, 0, half);
    out = run(tex, texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0),
              FLOATS(0));
    assert_close(out.f[0], 1.5f);
}

static void layers_faces_and_depth_are_chosen(void **state)
{
    float cells[12][2][2];
    CUarray array;
    CUtexObject texture;

    (void)state;
    for (int i = 0; i < 48; i++)
        cells[i / 4][i / 2 % 2][i % 2] = (float)i;
    array = create(2, 2, 3, CU_AD_FORMAT_FLOAT, 1, 0, cells);
    texture = texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
    assert_close(run("tex.3d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0, %f1, %f2, %f2}];",
                     texture, FLOATS(1, 0, 2))
                     .f[0],
                 9);
    array = create(2, 2, 3, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED, cells);
    texture = texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
    static const char a2d[] =
        "tex.a2d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%r0, %f0, %f1, %f1}];";
    struct input input = {.f = {0, 1}, .r = {1}};
    assert_close(run(a2d, texture, input).f[0], 6);
    input.r[0] = 77;
    assert_close(run(a2d, texture, input).f[0], 10);
    array =
        create(2, 2, 12, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP, cells);
    texture = texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP,
                         CU_TRSF_NORMALIZED_COORDINATES);
    input = (struct input){.f = {0.1f, -2, 0.1f}, .r = {1}};
    /* -y is face 3; s = x, t = -z */
    assert_close(run("tex.acube.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%r0, %f0, %f1, %f2}];",
                     texture, input)
                     .f[0],
                 (6 + 3) * 4 + 1);
}

static void levels_are_chosen_and_mixed(void **state)
{
    CUDA_ARRAY3D_DESCRIPTOR descriptor = {
        .Width = 4, .Height = 4, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY};
    CUDA_TEXTURE_DESC how = {.flags = CU_TRSF_NORMALIZED_COORDINATES,
                             .mipmapFilterMode = CU_TR_FILTER_MODE_LINEAR,
                             .maxMipmapLevelClamp = 10};
    static const char level[] =
        "tex.level.2d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0, %f1}], %f2;";
    CUmipmappedArray whole;
    CUtexObject texture;

    (void)state;
    assert_cuda(cuMipmappedArrayCreate(&whole, &descriptor, 3));
    for (unsigned int i = 0; i < 3; i++) {
        float data[16];
        CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                              .srcHost = data,
                              .dstMemoryType = CU_MEMORYTYPE_ARRAY,
                              .WidthInBytes = (4u >> i) * 4,
                              .Height = 4u >> i};
        for (int k = 0; k < 16; k++)
            data[k] = (float)(10 * (i + 1));
        assert_cuda(cuMipmappedArrayGetLevel(&copy.dstArray, whole, i));
        assert_cuda(cuMemcpy2D(&copy));
    }
    resource.res.mipmap.hMipmappedArray = whole;
    assert_cuda(cuTexObjectCreate(&texture, &resource, &how, NULL));
    assert_close(run(level, texture, FLOATS(0.5f, 0.5f, 0)).f[0], 10);
    assert_close(run(level, texture, FLOATS(0.5f, 0.5f, 1.5f)).f[0], 25);
    assert_close(run(level, texture, FLOATS(0.5f, 0.5f, 99)).f[0], 30);
    /* One step is half of the width: two of its elements. */
    assert_close(run("tex.grad.2d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0, %f1}],"
                     " {%f2, %f3}, {%f3, %f3};",
                     texture, FLOATS(0.5f, 0.5f, 0.5f, 0))
                     .f[0],
                 20);
    union output size = run("txq.width.b32 %r20, [%rd1];\ntxq.num_mipmap_levels.b32 %r21, [%rd1];\n"
                            "txq.level.height.b32 %r22, [%rd1], 1;",
                            texture, FLOATS(0));
    assert_int_equal(size.r[0], 4);
    assert_int_equal(size.r[1], 3);
    assert_int_equal(size.r[2], 2);
    how.flags = 0;
    assert_cuda_error(cuTexObjectCreate(&texture, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void plain_memory_is_read_by_index(void **state)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_LINEAR};
    CUDA_TEXTURE_DESC how = {.flags = CU_TRSF_READ_AS_INTEGER};
    static const char fetch[] = "tex.1d.v4.s32.s32 {%r20, %r21, %r22, %r23}, [%rd1, {%r0}];";
    CUDA_RESOURCE_DESC back;
    CUtexObject texture;
    CUdeviceptr memory;

    (void)state;
    assert_cuda(cuMemAlloc(&memory, 4096));
    assert_cuda(cuMemsetD32(memory, 5, 8));
    assert_cuda(cuMemsetD32(memory + 12, 7, 1));
    resource.res.linear.devPtr = memory;
    resource.res.linear.format = CU_AD_FORMAT_SIGNED_INT32;
    resource.res.linear.numChannels = 1;
    resource.res.linear.sizeInBytes = 32;
    assert_cuda(cuTexObjectCreate(&texture, &resource, &how, NULL));
    assert_int_equal(run(fetch, texture, INTEGERS(3)).r[0], 7);
    assert_int_equal(run(fetch, texture, INTEGERS(7)).r[0], 5);
    assert_int_equal(run(fetch, texture, INTEGERS(8)).r[0], 0);
    assert_int_equal(run(fetch, texture, INTEGERS(-1)).r[0], 0);
    assert_cuda(cuTexObjectGetResourceDesc(&back, texture));
    assert_int_equal(back.res.linear.devPtr, memory);
    assert_cuda_error(cuSurfObjectDestroy(texture), CUDA_ERROR_INVALID_VALUE);
    assert_cuda(cuTexObjectDestroy(texture));
    assert_cuda(cuTexObjectDestroy(texture));
    assert_cuda_error(cuTexObjectGetResourceDesc(&back, texture), CUDA_ERROR_INVALID_VALUE);
    resource.res.linear.devPtr = memory + 4;
    assert_cuda_error(cuTexObjectCreate(&texture, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
    resource.res.linear.devPtr = memory;
    resource.res.linear.sizeInBytes = 8192;
    assert_cuda_error(cuTexObjectCreate(&texture, &resource, &how, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void a_texture_that_is_gone_faults(void **state)
{
    CUarray array = create(4, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0, NULL);
    CUtexObject texture = texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
    struct input input = {{0}, {0}};
    union output output;

    (void)state;
    assert_cuda(cuTexObjectDestroy(texture));
    assert_cuda_error(run_text("tex.1d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0}];",
                               texture, &input, &output),
                      CUDA_ERROR_ILLEGAL_ADDRESS);
}

static CUsurfObject surface_of(CUarray array)
{
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = array};
    CUsurfObject surface;

    assert_cuda(cuSurfObjectCreate(&surface, &resource));
    return surface;
}

static void surfaces_are_written_and_read_by_byte(void **state)
{
    static const unsigned int plane[3][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}};
    CUarray array =
        create(4, 3, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_SURFACE_LDST, plane);
    CUsurfObject surface = surface_of(array);
    struct input outside = {{0}, {16, 1}};
    union output out;

    (void)state;
    out = run("suld.b.2d.b32.trap {%r20}, [%rd1, {%r0, %r1}];\n"
              "suld.b.2d.v2.b32.zero {%r21, %r22}, [%rd1, {%r2, %r1}];",
              surface, INTEGERS(4, 2, 8));
    assert_int_equal(out.r[0], 10);
    assert_int_equal(out.r[1], 11);
    assert_int_equal(out.r[2], 12);
    out = run("suld.b.2d.b32.clamp {%r20}, [%rd1, {%r0, %r1}];\n"
              "suld.b.2d.b32.zero {%r21}, [%rd1, {%r0, %r1}];\n"
              "suld.b.2d.b8.trap {%rs1}, [%rd1, {%r2, %r3}];\ncvt.u32.u16 %r22, %rs1;",
              surface, INTEGERS(-4, 99, 12, 0));
    assert_int_equal(out.r[0], 9);
    assert_int_equal(out.r[1], 0);
    assert_int_equal(out.r[2], 4);
    out = run("sust.b.2d.b32.trap [%rd1, {%r0, %r1}], {%r2};\n"
              "sust.b.2d.b32.zero [%rd1, {%r3, %r1}], {%r2};\n"
              "suld.b.2d.b32.trap {%r20}, [%rd1, {%r0, %r1}];\n"
              "suq.width.b32 %r21, [%rd1];",
              surface, INTEGERS(8, 1, 77, 400));
    assert_int_equal(out.r[0], 77);
    assert_int_equal(out.r[1], 4);
    assert_cuda_error(
        run_text("suld.b.2d.b32.trap {%r20}, [%rd1, {%r0, %r1}];", surface, &outside, &out),
        CUDA_ERROR_LAUNCH_FAILED);
}

static void surfaces_are_reduced_into(void **state)
{
    static const int plane[2][4] = {{1, -2, 3, 4}, {5, 6, 7, 8}};
    CUarray array = create(4, 2, 0, CU_AD_FORMAT_SIGNED_INT32, 1, CUDA_ARRAY3D_SURFACE_LDST, plane);
    CUsurfObject surface = surface_of(array);
    struct input outside = {{0}, {16, 1, 5}};
    union output out;

    (void)state;
    /* Signed and unsigned differ; the surface says which it is for .p, which counts elements. */
    out = run("sured.b.add.2d.u32.trap [%rd1, {%r0, %r1}], %r2;\n"
              "sured.b.min.2d.u32.trap [%rd1, {%r3, %r1}], %r2;\n"
              "suld.b.2d.b32.trap {%r20}, [%rd1, {%r0, %r1}];\n"
              "suld.b.2d.b32.trap {%r21}, [%rd1, {%r3, %r1}];\n"
              "sured.b.max.2d.s32.trap [%rd1, {%r3, %r1}], -9;\n"
              "suld.b.2d.b32.trap {%r22}, [%rd1, {%r3, %r1}];\n"
              "sured.p.min.2d.b32.trap [%rd1, {%r4, %r4}], -3;\n"
              "suld.b.2d.b32.trap {%r23}, [%rd1, {%r3, %r4}];\n",
              surface, INTEGERS(8, 0, 100, 4, 1));
    assert_int_equal(out.r[0], 103);
    assert_int_equal(out.r[1], 100);
    assert_int_equal(out.r[2], 100);
    assert_int_equal(out.r[3], -3);
    out =
        run("sured.b.or.2d.b32.zero [%rd1, {%r0, %r1}], 64;\n"
            "sured.b.and.2d.b32.clamp [%rd1, {%r2, %r1}], 5;\n"
            "suld.b.2d.b32.trap {%r20}, [%rd1, {%r3, %r1}];\n"
            "suld.b.2d.b32.trap {%r21}, [%rd1, {%r4, %r1}];\n"
            "{ .reg .b64 %w; mov.u64 %w, 0x100000001; sured.b.add.2d.u64.trap [%rd1, {%r4, %r1}], "
            "%w;\n}\nsuld.b.2d.v2.b32.trap {%r22, %r23}, [%rd1, {%r4, %r1}];\n",
            surface, INTEGERS(100, 1, -48, 0, 8));
    assert_int_equal(out.r[0], 5 & 5);
    assert_int_equal(out.r[1], 7);
    assert_int_equal(out.r[2], 8);
    assert_int_equal(out.r[3], 9);
    assert_cuda_error(
        run_text("sured.b.add.2d.u32.trap [%rd1, {%r0, %r1}], %r2;", surface, &outside, &out),
        CUDA_ERROR_LAUNCH_FAILED);
}

/* Pairs of halves, whether all is in memory, and what is beside the place. */
static void textures_have_rarer_forms(void **state)
{
    static const float plane[2][2][4] = {{{1, 2, 3, 4}, {5, 6, 7, 8}},
                                         {{9, 10, 11, 12}, {13, 14, 15, 0.1f}}};
    CUarray array = create(2, 2, 0, CU_AD_FORMAT_FLOAT, 4, 0, plane);
    CUtexObject texture = texture_of(array, CU_TR_FILTER_MODE_POINT, CU_TR_ADDRESS_MODE_CLAMP, 0);
    union output out;

    (void)state;
    out = run("{ .reg .pred %p;\n"
              "tex.2d.v2.f16x2.f32 {%r20, %r21}|%p, [%rd1, {%f0, %f0}];\n"
              "selp.u32 %r22, 1, 2, %p;\n"
              "tex.2d.v2.f16x2.s32 {%r4, %r23}, [%rd1, {%r0, %r0}];\n}\n",
              texture, ((struct input){.f = {0.5f}, .r = {1}}));
    assert_int_equal(out.u[0], 0x40003c00);
    assert_int_equal(out.u[1], 0x44004200);
    assert_int_equal(out.u[2], 1);
    assert_int_equal(out.u[3], 0x2e664b80);
    out = run("tld4.g.2d.v4.f32.f32 {%r20, %r21, %r22, %r23}, [%rd1, {%f0, %f0}], {%r0, %r1};",
              texture, ((struct input){.f = {1}, .r = {1, 0}}));
    assert_close(out.f[0], 14);
    assert_close(out.f[1], 14);
    assert_close(out.f[2], 6);
    assert_close(out.f[3], 6);
}

static void formatted_stores_convert(void **state)
{
    CUarray array = create(4, 0, 2, CU_AD_FORMAT_HALF, 2,
                           CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_LAYERED, NULL);
    struct input input = {.f = {1.5f, -2}, .r = {2, 1}};
    CUarray plain = create(4, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0, NULL);
    CUDA_RESOURCE_DESC resource = {.resType = CU_RESOURCE_TYPE_ARRAY, .res.array.hArray = plain};
    unsigned short back[2];
    CUsurfObject surface;
    CUDA_MEMCPY3D copy = {.srcMemoryType = CU_MEMORYTYPE_ARRAY,
                          .srcArray = array,
                          .srcXInBytes = 8,
                          .srcZ = 1,
                          .dstMemoryType = CU_MEMORYTYPE_HOST,
                          .dstHost = back,
                          .WidthInBytes = 4,
                          .Height = 1,
                          .Depth = 1};

    (void)state;
    run("sust.p.a1d.v2.b32.trap [%rd1, {%r1, %r0}], {%f0, %f1};", surface_of(array), input);
    assert_cuda(cuMemcpy3D(&copy));
    assert_int_equal(back[0], 0x3e00);
    assert_int_equal(back[1], 0xc000);
    assert_cuda_error(cuSurfObjectCreate(&surface, &resource), CUDA_ERROR_INVALID_VALUE);
}

#define in_context(test) cmocka_unit_test_setup_teardown(test, context_opens, context_closes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_context(coordinates_outside_go_by_the_address_mode),
        in_context(filtering_has_weights_of_eight_bits),
        in_context(integers_are_read_as_such_or_as_fractions),
        in_context(layers_faces_and_depth_are_chosen),
        in_context(levels_are_chosen_and_mixed),
        in_context(plain_memory_is_read_by_index),
        in_context(a_texture_that_is_gone_faults),
        in_context(surfaces_are_written_and_read_by_byte),
        in_context(surfaces_are_reduced_into),
        in_context(textures_have_rarer_forms),
        in_context(formatted_stores_convert),
    };
    setenv("VGPU_SOFT_MEMORY", "256M", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
