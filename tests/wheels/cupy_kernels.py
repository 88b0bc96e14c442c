# SPDX-License-Identifier: MIT
"""CuPy with CUPY_COMPILE_WITH_PTX=1: RawKernels and its own, compiled by NVRTC to PTX."""
import cupy
import numpy
from probe import step

SOURCE = r'''
extern "C" __global__ void scale(const float *a, float *b, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        b[i] = a[i] * 2 + 1;
}
template <typename T> __global__ void sum(const T *a, T *total, int n)
{
    __shared__ T part[128];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    part[threadIdx.x] = i < n ? a[i] : T(0);
    for (int k = 64; k > 0; k /= 2) {
        __syncthreads();
        if (threadIdx.x < k)
            part[threadIdx.x] += part[threadIdx.x + k];
    }
    if (threadIdx.x == 0)
        atomicAdd(total, part[0]);
}
'''
N = 1000
A = numpy.arange(N, dtype=numpy.float32)


def raw_kernel():
    a, b = cupy.asarray(A), cupy.empty(N, dtype=cupy.float32)
    cupy.RawKernel(SOURCE, 'scale', options=('-std=c++17',))((8,), (128,), (a, b, numpy.int32(N)))
    return numpy.array_equal(b.get(), A * 2 + 1)


def raw_module():
    module = cupy.RawModule(code=SOURCE, options=('-std=c++17',), name_expressions=('sum<int>',))
    total = cupy.zeros(1, dtype=cupy.int32)
    module.get_function('sum<int>')((8,), (128,), (cupy.asarray(A.astype(numpy.int32)), total,
                                                   numpy.int32(N)))
    return total.get()[0] == N * (N - 1) // 2


step('raw_kernel', raw_kernel)
step('raw_module_template', raw_module)
step('elementwise', lambda: numpy.allclose((cupy.asarray(A) ** 2 + 1).get(), A ** 2 + 1))
step('reduction', lambda: float(cupy.asarray(A).sum()) == A.sum())
step('sort', lambda: numpy.array_equal(cupy.sort(cupy.asarray(A[::-1].copy())).get(), A))
step('matmul', lambda: numpy.allclose((cupy.eye(8) @ cupy.ones((8, 8))).get(), 1))
step('fft', lambda: numpy.allclose(cupy.fft.fft(cupy.asarray(A)).get(), numpy.fft.fft(A),
                                   rtol=1e-3))
