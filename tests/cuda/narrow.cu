/* SPDX-License-Identifier: MIT */
/* Conversions with 8-bit floats and tf32, which the header does in software on the host. */
#include "cases.h"

#include <cmath>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

enum { N = 1 << 16 };

__global__ void from_halves(unsigned short *out)
{
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    __half_raw h;
    h.x = (unsigned short)i;
    out[i] = __nv_cvt_halfraw_to_fp8(h, __NV_SATFINITE, __NV_E4M3) |
             __nv_cvt_halfraw_to_fp8(h, __NV_SATFINITE, __NV_E5M2) << 8;
}

static bool same(unsigned char got, unsigned char want, __nv_fp8_interpretation_t kind)
{
    /* What is no number has more than one form. */
    unsigned limit = kind == __NV_E4M3 ? 0x7f : 0x7d;
    return got == want || ((got & 0x7f) >= limit && (want & 0x7f) >= limit);
}

static void halves()
{
    array<unsigned short> out(N);
    from_halves<<<N / 256, 256>>>(out.device);
    out.fetch();
    for (int i = 0; i < N; i++) {
        __half_raw h;
        h.x = (unsigned short)i;
        EXPECT(same(out[i] & 0xff, __nv_cvt_halfraw_to_fp8(h, __NV_SATFINITE, __NV_E4M3), __NV_E4M3));
        EXPECT(same(out[i] >> 8, __nv_cvt_halfraw_to_fp8(h, __NV_SATFINITE, __NV_E5M2), __NV_E5M2));
    }
}

static float sample(unsigned i)
{
    return ldexpf((float)(int)(i * 2654435761u >> 8) / 8388608.0f - 1.0f, (int)(i % 40) - 22);
}

__global__ void from_singles(const float *in, unsigned short *out)
{
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    float2 both = {in[i], -in[i]};
    out[2 * i] = __nv_cvt_float2_to_fp8x2(both, __NV_SATFINITE, __NV_E4M3);
    out[2 * i + 1] = __nv_cvt_float2_to_fp8x2(both, __NV_SATFINITE, __NV_E5M2);
}

static void singles()
{
    array<float> in(N);
    array<unsigned short> out(2 * N);
    for (int i = 0; i < N; i++)
        in[i] = sample(i);
    in.send();
    from_singles<<<N / 256, 256>>>(in.device, out.device);
    out.fetch();
    for (int i = 0; i < N; i++) {
        float2 both = {in[i], -in[i]};
        EXPECT(out[2 * i] == __nv_cvt_float2_to_fp8x2(both, __NV_SATFINITE, __NV_E4M3));
        EXPECT(out[2 * i + 1] == __nv_cvt_float2_to_fp8x2(both, __NV_SATFINITE, __NV_E5M2));
    }
}

__global__ void to_halves(unsigned short *out)
{
    out[2 * threadIdx.x] = __nv_cvt_fp8_to_halfraw(threadIdx.x, __NV_E4M3).x;
    out[2 * threadIdx.x + 1] = __nv_cvt_fp8_to_halfraw(threadIdx.x, __NV_E5M2).x;
}

static void back()
{
    array<unsigned short> out(512);
    to_halves<<<1, 256>>>(out.device);
    out.fetch();
    for (int i = 0; i < 256; i++) {
        unsigned want[2] = {__nv_cvt_fp8_to_halfraw(i, __NV_E4M3).x,
                            __nv_cvt_fp8_to_halfraw(i, __NV_E5M2).x};
        for (int k = 0; k < 2; k++)
            EXPECT(out[2 * i + k] == want[k] ||
                   ((out[2 * i + k] & 0x7fff) > 0x7c00 && (want[k] & 0x7fff) > 0x7c00));
    }
}

__global__ void to_tf32(const float *in, unsigned *out)
{
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out[i]) : "f"(in[i]));
}

static void tf32()
{
    array<float> in(N);
    array<unsigned> out(N);
    for (int i = 0; i < N; i++)
        in[i] = sample(i);
    in.send();
    to_tf32<<<N / 256, 256>>>(in.device, out.device);
    out.fetch();
    for (int i = 0; i < N; i++) {
        unsigned bits;
        memcpy(&bits, &in[i], sizeof(bits));
        EXPECT((out[i] & 0xffffe000) == ((bits + 0x1000) & 0xffffe000));
    }
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {CASE(halves), CASE(singles), CASE(back), CASE(tf32)};
    return run_cases(argc, argv, cases);
}
