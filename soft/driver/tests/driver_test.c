/* SPDX-License-Identifier: MIT */
#include "driver_test.h"

int context_opens(void **state)
{
    CUcontext context;

    (void)state;
    assert_cuda(cuInit(0));
    assert_cuda(cuDevicePrimaryCtxRetain(&context, 0));
    assert_cuda(cuCtxSetCurrent(context));
    return 0;
}

int context_closes(void **state)
{
    (void)state;
    /* Whatever a test has left, a failure of the context included, ends here. */
    assert_cuda(cuDevicePrimaryCtxReset(0));
    assert_cuda(cuCtxSetCurrent(NULL));
    return 0;
}

const char test_ptx[] =
    ".version 8.0\n"
    ".target sm_80\n"
    ".address_size 64\n"
    ".visible .global .align 4 .u32 counter = 7;\n"
    ".visible .global .align 4 .b32 table[4] = {10, 20, 30, 40};\n"
    ".extern .shared .align 4 .b8 scratch[];\n"
    ".visible .entry vector_add(.param .u64 p_sum, .param .u64 p_a, .param .u64 p_b,\n"
    "                           .param .u32 p_n)\n"
    "{\n"
    "    .reg .pred %p<2>;\n"
    "    .reg .b32 %r<6>;\n"
    "    .reg .f32 %f<4>;\n"
    "    .reg .b64 %rd<12>;\n"
    "    ld.param.u64 %rd1, [p_sum];\n"
    "    ld.param.u64 %rd2, [p_a];\n"
    "    ld.param.u64 %rd3, [p_b];\n"
    "    ld.param.u32 %r1, [p_n];\n"
    "    mov.u32 %r2, %ctaid.x;\n"
    "    mov.u32 %r3, %ntid.x;\n"
    "    mov.u32 %r4, %tid.x;\n"
    "    mad.lo.s32 %r5, %r2, %r3, %r4;\n"
    "    setp.ge.u32 %p1, %r5, %r1;\n"
    "    @%p1 bra DONE;\n"
    "    cvta.to.global.u64 %rd4, %rd1;\n"
    "    cvta.to.global.u64 %rd5, %rd2;\n"
    "    cvta.to.global.u64 %rd6, %rd3;\n"
    "    mul.wide.u32 %rd7, %r5, 4;\n"
    "    add.s64 %rd8, %rd5, %rd7;\n"
    "    add.s64 %rd9, %rd6, %rd7;\n"
    "    add.s64 %rd10, %rd4, %rd7;\n"
    "    ld.global.f32 %f1, [%rd8];\n"
    "    ld.global.f32 %f2, [%rd9];\n"
    "    add.f32 %f3, %f1, %f2;\n"
    "    st.global.f32 [%rd10], %f3;\n"
    "DONE:\n"
    "    ret;\n"
    "}\n"
    ".visible .entry poke(.param .u64 p_where, .param .u32 p_value)\n"
    "{\n"
    "    .reg .b32 %r<2>;\n"
    "    .reg .b64 %rd<2>;\n"
    "    ld.param.u64 %rd1, [p_where];\n"
    "    ld.param.u32 %r1, [p_value];\n"
    "    st.global.u32 [%rd1], %r1;\n"
    "    ret;\n"
    "}\n"
    ".visible .entry spin(.param .u64 p_flag)\n"
    "{\n"
    "    .reg .pred %p<2>;\n"
    "    .reg .b32 %r<2>;\n"
    "    .reg .b64 %rd<2>;\n"
    "    ld.param.u64 %rd1, [p_flag];\n"
    "AGAIN:\n"
    "    ld.volatile.global.u32 %r1, [%rd1];\n"
    "    setp.eq.u32 %p1, %r1, 0;\n"
    "    @%p1 bra AGAIN;\n"
    "    ret;\n"
    "}\n"
    ".visible .entry mixed(.param .u64 p_out, .param .u8 p_c, .param .u64 p_l,\n"
    "                      .param .align 4 .b8 p_s[12], .param .u16 p_h)\n"
    "{\n"
    "    .reg .b16 %rs<2>;\n"
    "    .reg .b32 %r<5>;\n"
    "    .reg .b64 %rd<9>;\n"
    "    ld.param.u64 %rd1, [p_out];\n"
    "    ld.param.u8 %r1, [p_c];\n"
    "    ld.param.u64 %rd2, [p_l];\n"
    "    ld.param.u32 %r2, [p_s];\n"
    "    ld.param.u32 %r3, [p_s+4];\n"
    "    ld.param.u32 %r4, [p_s+8];\n"
    "    ld.param.u16 %rs1, [p_h];\n"
    "    cvt.u64.u32 %rd3, %r1;\n"
    "    cvt.u64.u32 %rd4, %r2;\n"
    "    cvt.u64.u32 %rd5, %r3;\n"
    "    cvt.u64.u32 %rd6, %r4;\n"
    "    cvt.u64.u16 %rd7, %rs1;\n"
    "    add.s64 %rd2, %rd2, %rd3;\n"
    "    add.s64 %rd2, %rd2, %rd4;\n"
    "    add.s64 %rd2, %rd2, %rd5;\n"
    "    add.s64 %rd2, %rd2, %rd6;\n"
    "    add.s64 %rd2, %rd2, %rd7;\n"
    "    st.global.u64 [%rd1], %rd2;\n"
    "    ret;\n"
    "}\n"
    ".visible .entry limited()\n"
    ".maxntid 64, 1, 1\n"
    "{\n"
    "    ret;\n"
    "}\n"
    ".visible .entry shared_words(.param .u64 p_out)\n"
    "{\n"
    "    .reg .b32 %r<2>;\n"
    "    .reg .b64 %rd<2>;\n"
    "    ld.param.u64 %rd1, [p_out];\n"
    "    mov.u32 %r1, %dynamic_smem_size;\n"
    "    st.global.u32 [%rd1], %r1;\n"
    "    ret;\n"
    "}\n";
