# SPDX-License-Identifier: MIT
"""CuPy: texture and surface objects on CUDA arrays."""
import cupy
from cupy.cuda import runtime, texture

import conformance

width, height = 24, 16
source = cupy.arange(width * height, dtype=cupy.float32).reshape(height, width)
channel = texture.ChannelFormatDescriptor(32, 0, 0, 0, runtime.cudaChannelFormatKindFloat)
array = texture.CUDAarray(channel, width, height, 0, runtime.cudaArraySurfaceLoadStore)
array.copy_from(source)
resource = texture.ResourceDescriptor(runtime.cudaResourceTypeArray, cuArr=array)
kernel = cupy.RawKernel(r'''
extern "C" __global__ void sample(cudaTextureObject_t t, float *out, int w, int h)
{
    int x = threadIdx.x, y = threadIdx.y;
    if (x < w && y < h)
        out[y * w + x] = tex2D<float>(t, x + 0.75f, y + 0.25f);
}''', "sample")
for name, filtering in (("point", runtime.cudaFilterModePoint), ("linear", runtime.cudaFilterModeLinear)):
    for mode in (runtime.cudaAddressModeClamp, runtime.cudaAddressModeBorder):
        description = texture.TextureDescriptor((mode, mode), filtering, runtime.cudaReadModeElementType)
        out = cupy.zeros((height, width), cupy.float32)
        kernel((1,), (width, height), (texture.TextureObject(resource, description), out, width, height))
        conformance.save(f"{name}{mode}", out)
surface = texture.SurfaceObject(resource)
write = cupy.RawKernel(r'''
extern "C" __global__ void put(cudaSurfaceObject_t s)
{
    surf2Dwrite(threadIdx.x * 10.0f + threadIdx.y, s, threadIdx.x * 4, threadIdx.y);
}''', "put")
write((1,), (width, height), (surface,))
back = cupy.zeros_like(source)
array.copy_to(back)
conformance.save("surface", back)
