#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""NVIDIA's NVRTC through vgpu: what it finds in our compile cache is what it compiles without. Skips
(77) where there is no NVRTC."""
import ctypes
import ctypes.util
import glob
import hashlib
import os
import subprocess
import sys
import tempfile

from harness import Mediator, for_other_programs

SOURCE = b'extern "C" __global__ void scale(float *x, float a) { x[threadIdx.x] *= a; }'


def find_nvrtc():
    places = [p for folder in sys.path for p in glob.glob(folder + "/nvidia/*/lib/libnvrtc.so.1[23]")]
    places += glob.glob("/usr/local/cuda/lib64/libnvrtc.so.1[23]")
    return places[0] if places else ctypes.util.find_library("nvrtc")


def compile_once(*options):
    """The cubin's hash."""
    nvrtc = ctypes.CDLL(find_nvrtc())
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    options = (b"--gpu-architecture=sm_90", *options)
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), SOURCE, b"scale.cu", 0, None, None) == 0
    assert nvrtc.nvrtcCompileProgram(program, len(options),
                                     (ctypes.c_char_p * len(options))(*options)) == 0
    assert nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
    cubin = ctypes.create_string_buffer(size.value)
    assert nvrtc.nvrtcGetCUBIN(program, cubin) == 0
    assert cubin.raw.startswith(b"\x7fELF")
    return hashlib.sha256(cubin.raw).hexdigest()


def check(mediator):
    with tempfile.TemporaryDirectory() as cache:
        environment = for_other_programs(
            dict(mediator.environment(), CUDA_CACHE_PATH=cache))
        files = os.path.join(cache, "vgpu")

        def run(**more):
            return subprocess.run([sys.executable, __file__, "compile"], check=True, text=True,
                                  stdout=subprocess.PIPE, env=dict(environment, **more)).stdout

        without = run(CUDA_CACHE_DISABLE="1")
        assert not os.path.exists(files)
        assert run() == without  # filled
        kept = len(os.listdir(files))
        assert kept >= 2, kept
        assert run() == without  # found
        assert len(os.listdir(files)) == kept
        for name in os.listdir(files):
            with open(os.path.join(files, name), "r+b") as file:
                file.seek(40)
                file.write(b"damage")
        assert run() == without  # made anew
        assert len(os.listdir(files)) == kept


def main():
    if find_nvrtc() is None:
        return 77
    if sys.argv[1:] == ["compile"]:
        print(compile_once(), compile_once(), compile_once(b"--fmad=false"))
        return 0
    mediator = Mediator().start()
    try:
        check(mediator)
    finally:
        mediator.stop()
    return 0


sys.exit(main())
