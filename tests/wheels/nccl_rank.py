# SPDX-License-Identifier: MIT
"""NCCL with one rank: what its kernels for one device compute."""
import ctypes
import importlib.util
from pathlib import Path

from probe import step

COUNT, FLOAT, SUM, AVERAGE, HOST = 1000, 7, 0, 4, 1
TO_DEVICE, FROM_DEVICE = 1, 2


def library(package, name):
    folder = importlib.util.find_spec(package).submodule_search_locations[0]
    return ctypes.CDLL(str(next(Path(folder).glob(f'lib/{name}*'))))


runtime, nccl = library('nvidia.cu13', 'libcudart.so'), library('nvidia.nccl', 'libnccl.so')
nccl.ncclGetErrorString.restype = ctypes.c_char_p
Floats = ctypes.c_float * COUNT
source, target, communicator = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
values = Floats(*range(COUNT))


def check(error):
    if error:
        raise RuntimeError(nccl.ncclGetErrorString(error).decode())
    return True


def collective(name, factor, *arguments):
    """Runs one from source to target, and compares."""
    result = Floats()
    runtime.cudaMemset(target, 0, ctypes.sizeof(result))
    check(getattr(nccl, name)(source, target, ctypes.c_size_t(COUNT), FLOAT, *arguments,
                              communicator, None))
    check(runtime.cudaDeviceSynchronize())
    runtime.cudaMemcpy(result, target, ctypes.sizeof(result), FROM_DEVICE)
    return list(result) == [factor * v for v in values]


def scaled():
    operation, factor = ctypes.c_int(), ctypes.c_float(2.5)
    check(nccl.ncclRedOpCreatePreMulSum(ctypes.byref(operation), ctypes.byref(factor), FLOAT, HOST,
                                        communicator))
    return collective('ncclAllReduce', 2.5, operation)


runtime.cudaMalloc(ctypes.byref(source), ctypes.sizeof(values))
runtime.cudaMalloc(ctypes.byref(target), ctypes.sizeof(values))
runtime.cudaMemcpy(source, values, ctypes.sizeof(values), TO_DEVICE)
step('init', lambda: check(nccl.ncclCommInitAll(ctypes.byref(communicator), 1,
                                                (ctypes.c_int * 1)(0))))
step('all_reduce', lambda: collective('ncclAllReduce', 1, SUM))
step('average', lambda: collective('ncclAllReduce', 1, AVERAGE))
step('scaled_sum', scaled)
step('broadcast', lambda: collective('ncclBroadcast', 1, 0))
step('reduce_scatter', lambda: collective('ncclReduceScatter', 1, SUM))
step('destroy', lambda: check(nccl.ncclCommDestroy(communicator)))
