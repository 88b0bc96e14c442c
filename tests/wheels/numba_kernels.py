# SPDX-License-Identifier: MIT
"""Kernels that Numba compiles: as PTX they run; as machine code made of it they do not."""
import ctypes
import math

import numpy
from numba import cuda, float32, types
from probe import step

N = 1000
A = numpy.arange(N, dtype=numpy.float32)
FLOATS = types.CPointer(types.float32)


def waves(a, b, n):
    i = cuda.grid(1)
    if i < n:
        b[i] = a[i] + math.sin(a[i])


def sums(a, b, n):
    part = cuda.shared.array(128, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    part[t] = a[i] if i < n else 0
    cuda.syncthreads()
    k = 64
    while k > 0:
        if t < k:
            part[t] += part[t + k]
        cuda.syncthreads()
        k //= 2
    if t == 0:
        b[cuda.blockIdx.x] = part[0]


def run_as_ptx(function, results):
    """Loads the PTX with the Driver API, and launches 8 blocks of 128 threads."""
    driver = ctypes.CDLL('libcuda.so.1')

    def call(name, *arguments):
        error = getattr(driver, name)(*arguments)
        if error:
            raise RuntimeError(f'{name}: {error}')

    text, _ = cuda.compile_ptx(function, types.void(FLOATS, FLOATS, types.int32), cc=(12, 1))
    name = next(line for line in text.splitlines() if '.visible .entry' in line)
    name = name.split('(')[0].split()[-1]
    context, module, kernel = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    call('cuInit', 0)
    call('cuDevicePrimaryCtxRetain', ctypes.byref(context), 0)
    call('cuCtxSetCurrent', context)
    call('cuModuleLoadData', ctypes.byref(module), text.encode())
    call('cuModuleGetFunction', ctypes.byref(kernel), module, name.encode())
    arguments = [ctypes.c_uint64(), ctypes.c_uint64(), ctypes.c_int(N)]
    for argument, array in zip(arguments, (A, results)):
        call('cuMemAlloc_v2', ctypes.byref(argument), ctypes.c_size_t(array.nbytes))
        call('cuMemcpyHtoD_v2', argument, ctypes.c_void_p(array.ctypes.data),
             ctypes.c_size_t(array.nbytes))
    pointers = (ctypes.c_void_p * 3)(*[ctypes.addressof(a) for a in arguments])
    call('cuLaunchKernel', kernel, 8, 1, 1, 128, 1, 1, 0, None, pointers, None)
    call('cuMemcpyDtoH_v2', ctypes.c_void_p(results.ctypes.data), arguments[1],
         ctypes.c_size_t(results.nbytes))
    return results


def run_with_numba():
    results = numpy.zeros_like(A)
    cuda.jit(waves)[8, 128](A, results, N)
    return numpy.allclose(results, A + numpy.sin(A), atol=1e-3)


step('ptx_of_a_kernel', lambda: numpy.allclose(run_as_ptx(waves, numpy.zeros_like(A)),
                                               A + numpy.sin(A), atol=1e-3))
step('ptx_with_shared_memory',
     lambda: run_as_ptx(sums, numpy.zeros(8, numpy.float32)).sum() == A.sum())
step('launch_by_numba', run_with_numba)
