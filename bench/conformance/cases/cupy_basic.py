# SPDX-License-Identifier: MIT
"""CuPy: arrays, RawKernel, RawModule, ElementwiseKernel, libraries, pools, streams, graphs."""
import cupy

import conformance

cupy.random.seed(5)
x = cupy.random.standard_normal((200, 200))
conformance.save("matmul", x @ x)
conformance.save("fft", cupy.fft.fft(x))
conformance.save("svd", cupy.linalg.svd(x, compute_uv=False), 1e-12)
conformance.save("norm", cupy.linalg.norm(x), 1e-13)
kernel = cupy.RawKernel(r'''
extern "C" __global__ void scale(const double *in, double *out, double factor, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = in[i] * factor;
}''', "scale")
out = cupy.empty_like(x)
kernel((157,), (256,), (x, out, 2.5, x.size))
conformance.save("raw", out)
module = cupy.RawModule(code=r'''
__device__ float table[4];
template <typename T> __global__ void fill(T *out) { out[threadIdx.x] = table[threadIdx.x % 4]; }
''', options=("-std=c++14",), name_expressions=("fill<float>", "fill<int>"))
get = module.get_function("fill<float>")
pointer = module.get_global("table")
cupy.ndarray(4, cupy.float32, pointer)[:] = cupy.array([1.5, 2.5, 3.5, 4.5], cupy.float32)
filled = cupy.zeros(16, cupy.float32)
get((1,), (16,), (filled,))
conformance.save("template", filled)
conformance.save("elementwise", cupy.ElementwiseKernel("T a, T b", "T c", "c = a * b + 1", "fused")(x, x))
conformance.save("reduction", cupy.ReductionKernel("T a", "T b", "a * a", "a + b", "b = a", "0", "sq")(x),
                 1e-13)
conformance.save("sort", cupy.sort(x.ravel()))
conformance.save("sparse", (cupy.sparse.eye(30).tocsr() if hasattr(cupy, "sparse") else cupy.eye(30)) @
                 cupy.arange(30.0))
stream = cupy.cuda.Stream(non_blocking=True)
with stream:
    y = cupy.arange(1000) ** 2
    stream.synchronize()
conformance.save("stream", y)
with cupy.cuda.Stream(non_blocking=True) as capturing:
    z = cupy.ones(100)
    capturing.begin_capture()
    z += 5
    graph = capturing.end_capture()
    for _ in range(3):
        graph.launch(capturing)
    capturing.synchronize()
conformance.save("graph", z)
cupy.cuda.set_allocator(cupy.cuda.MemoryAsyncPool().malloc)
conformance.save("async_pool", cupy.arange(5000).sum())
cupy.cuda.set_allocator(cupy.cuda.malloc_managed)
conformance.save("managed", cupy.arange(5000).sum() + 1)
pinned = cupy.cuda.alloc_pinned_memory(4096)
conformance.require(pinned.size() >= 4096, "pinned memory is there")
