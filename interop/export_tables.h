/* SPDX-License-Identifier: MIT */
/**
 * cuGetExportTable for NVIDIA's unmodified user libraries: defined here for every libcuda of ours.
 *
 * The tables are served from the library's own Driver API (cuCtxGetCurrent, cuCtxGetId,
 * cuStreamGetId, cuDriverGetVersion, cuDeviceGetCount, cuDeviceGetUuid_v2, cuDeviceGetAttribute,
 * cuModuleLoadData, cuModuleGetFunctionCount, cuModuleEnumerateFunctions), and from the two
 * functions below, which every library that links this room must define.
 */
#ifndef VGPU_INTEROP_EXPORT_TABLES_H
#define VGPU_INTEROP_EXPORT_TABLES_H

#include "interop/driver_api.h"
#include "interop/local_storage.h"

/**
 * The handle of `device`'s primary context, which neither retains nor activates it and is the same
 * for the life of the process. Any thread; CUDA_ERROR_INVALID_DEVICE for a wrong ordinal.
 */
CUresult vgpu_interop_primary_context(CUdevice device, CUcontext *context);

/**
 * The local storage of a context (primary contexts have one even while inactive), or NULL if the
 * handle is not that of a living context. Any thread; must be cheap. The library calls
 * vgpu_local_storage_drain() when the context dies or is reset.
 */
struct vgpu_local_storage *vgpu_interop_local_storage(CUcontext context);

#endif
