/* SPDX-License-Identifier: MIT */
/* Mathematical functions and short floating-point formats. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void functions32(const float *in, float *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
    float x = in[i];
    out[i] = sinf(x);
    out[i + n] = expf(x * 0.1f);
    out[i + 2 * n] = logf(fabsf(x) + 0.5f);
    out[i + 3 * n] = sqrtf(fabsf(x)) / (1 + x * x);
    out[i + 4 * n] = powf(fabsf(x) + 0.1f, 1.7f);
    out[i + 5 * n] = tanhf(x);
}

extern "C" __global__ void functions64(const double *in, double *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
    double x = in[i];
    out[i] = sin(x);
    out[i + n] = cbrt(x);
    out[i + 2 * n] = exp(x * 0.1);
    out[i + 3 * n] = log(fabs(x) + 0.5);
    out[i + 4 * n] = sqrt(fabs(x)) / (1 + x * x);
}

extern "C" __global__ void halves(const float *in, float *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
    __half h = __float2half(in[i]);
    __half2 p = __halves2half2(h, __float2half(1.5f));
    out[i] = __half2float(__hfma(h, h, __float2half(0.25f)));
    out[i + n] = __low2float(__hadd2(p, p)) + __high2float(__hmul2(p, p));
    out[i + 2 * n] = __bfloat162float(__float2bfloat16(in[i]));
    out[i + 3 * n] = __hgt(h, __float2half(0.0f)) ? 1.0f : 0.0f;
}
