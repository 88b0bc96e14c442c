/* SPDX-License-Identifier: MIT */
/**
 * The driver that calls are replayed on: NVIDIA's libcuda.so.1 or the software GPU, loaded at run
 * time. A table of its functions, each under the name that cuda.h gives it; tests fill one by hand.
 */
#ifndef VGPU_WORKER_DRIVER_H
#define VGPU_WORKER_DRIVER_H

#include <cuda.h>
#include <stdbool.h>

#include "protocol/info.h"

/* cuda.h declares only the newest one, which drivers before 12.5 do not have. */
CUresult CUDAAPI cuCtxCreate_v2(CUcontext *context, unsigned int flags, CUdevice device);

/** Functions that every driver has that can replay at all (CUDA 12.8 or newer). */
#define VGPU_DRIVER_REQUIRED(X)                                                                    \
    X(cuInit)                                                                                      \
    X(cuDriverGetVersion)                                                                          \
    X(cuDeviceGetCount)                                                                            \
    X(cuDeviceGetName)                                                                             \
    X(cuDeviceGetUuid)                                                                             \
    X(cuDeviceTotalMem)                                                                            \
    X(cuDeviceGetAttribute)                                                                        \
    X(cuDevicePrimaryCtxRetain)                                                                    \
    X(cuDevicePrimaryCtxRelease)                                                                   \
    X(cuDevicePrimaryCtxReset)                                                                     \
    X(cuDevicePrimaryCtxSetFlags)                                                                  \
    X(cuCtxCreate_v2)                                                                              \
    X(cuCtxDestroy)                                                                                \
    X(cuCtxSetCurrent)                                                                             \
    X(cuCtxSynchronize)                                                                            \
    X(cuCtxGetLimit)                                                                               \
    X(cuCtxSetLimit)                                                                               \
    X(cuCtxGetStreamPriorityRange)                                                                 \
    X(cuMemAlloc)                                                                                  \
    X(cuMemAllocPitch)                                                                             \
    X(cuMemFree)                                                                                   \
    X(cuMemGetInfo)                                                                                \
    X(cuMemcpyHtoDAsync)                                                                           \
    X(cuMemcpyDtoHAsync)                                                                           \
    X(cuMemcpyDtoDAsync)                                                                           \
    X(cuMemcpy3DAsync)                                                                             \
    X(cuMemcpy2DAsync)                                                                             \
    X(cuMemsetD8Async)                                                                             \
    X(cuMemsetD16Async)                                                                            \
    X(cuMemsetD32Async)                                                                            \
    X(cuMemsetD2D8Async)                                                                           \
    X(cuMemsetD2D16Async)                                                                          \
    X(cuMemsetD2D32Async)                                                                          \
    X(cuModuleLoadDataEx)                                                                          \
    X(cuModuleUnload)                                                                              \
    X(cuModuleGetFunction)                                                                         \
    X(cuModuleGetGlobal)                                                                           \
    X(cuModuleGetFunctionCount)                                                                    \
    X(cuModuleEnumerateFunctions)                                                                  \
    X(cuLinkCreate)                                                                                \
    X(cuLinkAddData)                                                                               \
    X(cuLinkComplete)                                                                              \
    X(cuLinkDestroy)                                                                               \
    X(cuLibraryLoadData)                                                                           \
    X(cuLibraryUnload)                                                                             \
    X(cuLibraryGetKernel)                                                                          \
    X(cuLibraryGetModule)                                                                          \
    X(cuLibraryGetGlobal)                                                                          \
    X(cuLibraryGetManaged)                                                                         \
    X(cuLibraryGetKernelCount)                                                                     \
    X(cuLibraryEnumerateKernels)                                                                   \
    X(cuKernelGetFunction)                                                                         \
    X(cuKernelGetAttribute)                                                                        \
    X(cuKernelSetAttribute)                                                                        \
    X(cuKernelGetParamInfo)                                                                        \
    X(cuKernelGetName)                                                                             \
    X(cuFuncGetAttribute)                                                                          \
    X(cuFuncSetAttribute)                                                                          \
    X(cuFuncSetCacheConfig)                                                                        \
    X(cuFuncGetParamInfo)                                                                          \
    X(cuFuncGetName)                                                                               \
    X(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)                                        \
    X(cuOccupancyAvailableDynamicSMemPerBlock)                                                     \
    X(cuOccupancyMaxActiveClusters)                                                                \
    X(cuOccupancyMaxPotentialClusterSize)                                                          \
    X(cuLaunchKernelEx)                                                                            \
    X(cuStreamCreateWithPriority)                                                                  \
    X(cuStreamDestroy)                                                                             \
    X(cuStreamGetFlags)                                                                            \
    X(cuStreamGetPriority)                                                                         \
    X(cuStreamQuery)                                                                               \
    X(cuStreamSynchronize)                                                                         \
    X(cuStreamWaitEvent)                                                                           \
    X(cuEventCreate)                                                                               \
    X(cuEventDestroy)                                                                              \
    X(cuEventQuery)                                                                                \
    X(cuEventSynchronize)                                                                          \
    X(cuEventRecord)                                                                               \
    X(cuEventRecordWithFlags)                                                                      \
    X(cuEventElapsedTime)                                                                          \
    X(cuArray3DCreate)                                                                             \
    X(cuArray3DGetDescriptor)                                                                      \
    X(cuArrayDestroy)                                                                              \
    X(cuArrayGetPlane)                                                                             \
    X(cuMipmappedArrayCreate)                                                                      \
    X(cuMipmappedArrayDestroy)                                                                     \
    X(cuMipmappedArrayGetLevel)                                                                    \
    X(cuTexObjectCreate)                                                                           \
    X(cuTexObjectDestroy)                                                                          \
    X(cuSurfObjectCreate)                                                                          \
    X(cuSurfObjectDestroy)                                                                         \
    X(cuDeviceGetTexture1DLinearMaxWidth)                                                          \
    X(cuMemPoolCreate)                                                                             \
    X(cuMemPoolDestroy)                                                                            \
    X(cuMemPoolTrimTo)                                                                             \
    X(cuMemPoolSetAttribute)                                                                       \
    X(cuMemPoolGetAttribute)                                                                       \
    X(cuDeviceGetDefaultMemPool)                                                                   \
    X(cuMemAllocFromPoolAsync)                                                                     \
    X(cuMemFreeAsync)                                                                              \
    X(cuMemAddressReserve)                                                                         \
    X(cuMemAddressFree)                                                                            \
    X(cuMemCreate)                                                                                 \
    X(cuMemRelease)                                                                                \
    X(cuMemMap)                                                                                    \
    X(cuMemUnmap)                                                                                  \
    X(cuMemSetAccess)                                                                              \
    X(cuMemGetAccess)                                                                              \
    X(cuMemGetAllocationGranularity)                                                               \
    X(cuLaunchHostFunc)                                                                            \
    X(cuStreamAddCallback)                                                                         \
    X(cuCtxRecordEvent)                                                                            \
    X(cuCtxWaitEvent)                                                                              \
    X(cuStreamWaitValue32)                                                                         \
    X(cuStreamWaitValue64)                                                                         \
    X(cuStreamWriteValue64)                                                                        \
    X(cuStreamBatchMemOp)                                                                          \
    X(cuStreamGetAttribute)                                                                        \
    X(cuStreamSetAttribute)                                                                        \
    X(cuStreamCopyAttributes)                                                                      \
    X(cuTensorMapEncodeTiled)                                                                      \
    X(cuTensorMapEncodeIm2col)                                                                     \
    X(cuTensorMapReplaceAddress)                                                                   \
    X(cuUserObjectCreate)                                                                          \
    X(cuUserObjectRetain)                                                                          \
    X(cuUserObjectRelease)

/** Without these, fences are written by the CPU, copies from the window are pageable ones, and some
 *  calls are not supported. */
#define VGPU_DRIVER_OPTIONAL(X)                                                                    \
    X(cuStreamWriteValue32)                                                                        \
    X(cuMemHostRegister)                                                                           \
    X(cuMemHostUnregister)                                                                         \
    X(cuMemHostGetDevicePointer)                                                                   \
    X(cuPointerGetAttribute)                                                                       \
    X(cuDeviceGetHostAtomicCapabilities)                                                           \
    X(cuTensorMapEncodeIm2colWide)

/** Where a driver has none of these, what stands here returns CUDA_ERROR_NOT_SUPPORTED. */
#define VGPU_DRIVER_REFUSABLE(X)                                                                   \
    X(cuThreadExchangeStreamCaptureMode)                                                           \
    X(cuStreamBeginCapture)                                                                        \
    X(cuStreamBeginCaptureToGraph)                                                                 \
    X(cuStreamEndCapture)                                                                          \
    X(cuStreamIsCapturing)                                                                         \
    X(cuStreamGetCaptureInfo)                                                                      \
    X(cuStreamUpdateCaptureDependencies)                                                           \
    X(cuGraphCreate)                                                                               \
    X(cuGraphDestroy)                                                                              \
    X(cuGraphClone)                                                                                \
    X(cuGraphAddNode)                                                                              \
    X(cuGraphDestroyNode)                                                                          \
    X(cuGraphNodeSetParams)                                                                        \
    X(cuGraphNodeGetType)                                                                          \
    X(cuGraphNodeFindInClone)                                                                      \
    X(cuGraphGetNodes)                                                                             \
    X(cuGraphGetRootNodes)                                                                         \
    X(cuGraphGetEdges)                                                                             \
    X(cuGraphNodeGetDependencies)                                                                  \
    X(cuGraphNodeGetDependentNodes)                                                                \
    X(cuGraphAddDependencies)                                                                      \
    X(cuGraphRemoveDependencies)                                                                   \
    X(cuGraphChildGraphNodeGetGraph)                                                               \
    X(cuGraphKernelNodeGetParams)                                                                  \
    X(cuGraphMemcpyNodeGetParams)                                                                  \
    X(cuGraphMemsetNodeGetParams)                                                                  \
    X(cuGraphHostNodeGetParams)                                                                    \
    X(cuGraphEventRecordNodeGetEvent)                                                              \
    X(cuGraphEventWaitNodeGetEvent)                                                                \
    X(cuGraphMemAllocNodeGetParams)                                                                \
    X(cuGraphMemFreeNodeGetParams)                                                                 \
    X(cuGraphBatchMemOpNodeGetParams)                                                              \
    X(cuGraphKernelNodeCopyAttributes)                                                             \
    X(cuGraphKernelNodeGetAttribute)                                                               \
    X(cuGraphKernelNodeSetAttribute)                                                               \
    X(cuGraphConditionalHandleCreate)                                                              \
    X(cuGraphRetainUserObject)                                                                     \
    X(cuGraphReleaseUserObject)                                                                    \
    X(cuGraphInstantiateWithParams)                                                                \
    X(cuGraphExecDestroy)                                                                          \
    X(cuGraphUpload)                                                                               \
    X(cuGraphLaunch)                                                                               \
    X(cuGraphExecUpdate)                                                                           \
    X(cuGraphExecNodeSetParams)                                                                    \
    X(cuGraphNodeSetEnabled)                                                                       \
    X(cuGraphNodeGetEnabled)                                                                       \
    X(cuDeviceGraphMemTrim)                                                                        \
    X(cuDeviceGetGraphMemAttribute)                                                                \
    X(cuDeviceSetGraphMemAttribute)                                                                \
    X(cuTexRefCreate)                                                                              \
    X(cuTexRefDestroy)                                                                             \
    X(cuModuleGetTexRef)                                                                           \
    X(cuModuleGetSurfRef)                                                                          \
    X(cuTexRefSetArray)                                                                            \
    X(cuTexRefSetMipmappedArray)                                                                   \
    X(cuTexRefSetAddress)                                                                          \
    X(cuTexRefSetAddress2D)                                                                        \
    X(cuTexRefSetFormat)                                                                           \
    X(cuTexRefSetAddressMode)                                                                      \
    X(cuTexRefSetFilterMode)                                                                       \
    X(cuTexRefSetMipmapFilterMode)                                                                 \
    X(cuTexRefSetMipmapLevelBias)                                                                  \
    X(cuTexRefSetMipmapLevelClamp)                                                                 \
    X(cuTexRefSetMaxAnisotropy)                                                                    \
    X(cuTexRefSetBorderColor)                                                                      \
    X(cuTexRefSetFlags)                                                                            \
    X(cuSurfRefSetArray)                                                                           \
    X(cuTexRefGetAddress)                                                                          \
    X(cuTexRefGetAddressMode)                                                                      \
    X(cuTexRefGetFilterMode)                                                                       \
    X(cuTexRefGetFormat)                                                                           \
    X(cuTexRefGetMipmapFilterMode)                                                                 \
    X(cuTexRefGetMipmapLevelBias)                                                                  \
    X(cuTexRefGetMipmapLevelClamp)                                                                 \
    X(cuTexRefGetMaxAnisotropy)                                                                    \
    X(cuTexRefGetBorderColor)                                                                      \
    X(cuTexRefGetFlags)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* of texture references */
#define VGPU_DRIVER_FIELD(name) __typeof__(name) *name;
struct vgpu_driver {
    VGPU_DRIVER_REQUIRED(VGPU_DRIVER_FIELD)
    VGPU_DRIVER_OPTIONAL(VGPU_DRIVER_FIELD) /* NULL where the driver has none */
    VGPU_DRIVER_REFUSABLE(VGPU_DRIVER_FIELD)
    bool is_software;             /* its memory is zeroed when it is allocated */
    struct vgpu_device_info info; /* of device 0, priorities and what is not the driver's left out;
                                     no name: nobody has asked yet */
};
#undef VGPU_DRIVER_FIELD
#pragma GCC diagnostic pop

/**
 * Loads the driver at `path` (or soname) for the rest of the process's life. Returns 0, or -ENOENT
 * after one line in the log: it cannot be loaded, or lacks a required function.
 */
int vgpu_driver_open(struct vgpu_driver *driver, const char *path);

/** Describes a device, as far as the driver can tell without a context. */
CUresult vgpu_driver_describe(const struct vgpu_driver *driver, CUdevice device,
                              struct vgpu_device_info *info);

/** Initialises it and finds out what it is, and all that it can tell of device 0: of a worker that
 *  waits to be of use nobody waits for that. Returns the driver's error, after a line in the log,
 * or CUDA_ERROR_NO_DEVICE. */
CUresult vgpu_driver_start(struct vgpu_driver *driver);

#endif
