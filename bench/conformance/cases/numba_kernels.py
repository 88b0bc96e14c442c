# SPDX-License-Identifier: MIT
"""Numba: kernels, shared memory, atomics, streams, pinned and mapped arrays."""
import numpy

if not hasattr(numpy, "row_stack"):  # Numba 0.68 asks for it, NumPy 2.5 has it no more
    numpy.row_stack = numpy.vstack
from numba import cuda, float32

import conformance


@cuda.jit
def saxpy(a, x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] += a * x[i]


@cuda.jit
def reduce(x, out):
    tile = cuda.shared.array(128, float32)
    t = cuda.threadIdx.x
    i = cuda.grid(1)
    tile[t] = x[i] if i < x.size else 0.0
    cuda.syncthreads()
    step = 64
    while step:
        if t < step:
            tile[t] += tile[t + step]
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = tile[0]


@cuda.jit
def histogram(x, bins):
    i = cuda.grid(1)
    if i < x.size:
        cuda.atomic.add(bins, x[i] % bins.size, 1)


x = numpy.arange(5000, dtype=numpy.float32) / 7
y = numpy.ones(5000, numpy.float32)
stream = cuda.stream()
device_x, device_y = cuda.to_device(x, stream), cuda.to_device(y, stream)
saxpy[40, 128, stream](numpy.float32(1.5), device_x, device_y)
conformance.save("saxpy", device_y.copy_to_host(stream=stream))
sums = cuda.device_array(40, numpy.float32)
reduce[40, 128](device_x, sums)
conformance.save("sums", sums.copy_to_host())
bins = cuda.to_device(numpy.zeros(13, numpy.int32))
histogram[40, 128](cuda.to_device(numpy.arange(5000, dtype=numpy.int32)), bins)
conformance.save("bins", bins.copy_to_host())
mapped = cuda.mapped_array(5000, numpy.float32)
mapped[:] = 1
saxpy[40, 128](numpy.float32(2.0), device_x, mapped)
cuda.synchronize()
conformance.save("mapped", numpy.array(mapped))
managed = cuda.managed_array(5000, numpy.float32)
managed[:] = 3
saxpy[40, 128](numpy.float32(2.0), device_x, managed)
cuda.synchronize()
conformance.save("managed", numpy.array(managed))
free, total = cuda.current_context().get_memory_info()
conformance.require(0 < free <= total, "free memory is part of the total")
