/* SPDX-License-Identifier: MIT */
/**
 * Functions that use the default stream come in two: the plain one means the legacy stream by
 * stream 0, its twin means the calling thread's own stream. These macros define the twin, so that
 * there is one body.
 */
#ifndef VGPU_INTEROP_PER_THREAD_H
#define VGPU_INTEROP_PER_THREAD_H

#include "interop/driver_api.h"

/** What a stream argument means in a _ptsz function. */
static inline CUstream vgpu_per_thread(CUstream stream)
{
    return stream ? stream : CU_STREAM_PER_THREAD;
}

/**
 * Defines FUNCTION_ptsz, which takes a stream, through FUNCTION:
 * VGPU_PTSZ(cuStreamQuery, (CUstream stream), (vgpu_per_thread(stream)))
 */
#define VGPU_PTSZ(function, parameters, arguments)                                                 \
    CUresult function##_ptsz parameters                                                            \
    {                                                                                              \
        return function arguments;                                                                 \
    }

/**
 * Defines FUNCTION and FUNCTION_ptds, which take no stream, through BODY, whose last argument is
 * the stream to use: VGPU_PTDS(cuMemcpy, copy_now, (CUdeviceptr to, CUdeviceptr from, size_t n),
 * to, from, n)
 */
#define VGPU_PTDS(function, body, parameters, ...)                                                 \
    CUresult function parameters                                                                   \
    {                                                                                              \
        return body(__VA_ARGS__, CU_STREAM_LEGACY);                                                \
    }                                                                                              \
    CUresult function##_ptds parameters                                                            \
    {                                                                                              \
        return body(__VA_ARGS__, CU_STREAM_PER_THREAD);                                            \
    }

#endif
