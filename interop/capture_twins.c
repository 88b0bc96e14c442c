/* SPDX-License-Identifier: MIT */
/* The capture functions for programs whose default stream is their thread's own. */
#include "interop/per_thread.h"

VGPU_PTSZ(cuStreamBeginCapture, (CUstream handle), (vgpu_per_thread(handle)))
VGPU_PTSZ(cuStreamBeginCapture_v2, (CUstream handle, CUstreamCaptureMode mode),
          (vgpu_per_thread(handle), mode))
VGPU_PTSZ(cuStreamBeginCaptureToGraph,
          (CUstream handle, CUgraph graph, const CUgraphNode *dependencies,
           const CUgraphEdgeData *data, size_t count, CUstreamCaptureMode mode),
          (vgpu_per_thread(handle), graph, dependencies, data, count, mode))
VGPU_PTSZ(cuStreamEndCapture, (CUstream handle, CUgraph *graph), (vgpu_per_thread(handle), graph))
VGPU_PTSZ(cuStreamIsCapturing, (CUstream handle, CUstreamCaptureStatus *status),
          (vgpu_per_thread(handle), status))
VGPU_PTSZ(cuStreamGetCaptureInfo, (CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id),
          (vgpu_per_thread(handle), status, id))
VGPU_PTSZ(cuStreamGetCaptureInfo_v2,
          (CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
           const CUgraphNode **dependencies, size_t *count),
          (vgpu_per_thread(handle), status, id, graph, dependencies, count))
VGPU_PTSZ(cuStreamGetCaptureInfo_v3,
          (CUstream handle, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
           const CUgraphNode **dependencies, const CUgraphEdgeData **data, size_t *count),
          (vgpu_per_thread(handle), status, id, graph, dependencies, data, count))
VGPU_PTSZ(cuStreamUpdateCaptureDependencies,
          (CUstream handle, CUgraphNode *dependencies, size_t count, unsigned int flags),
          (vgpu_per_thread(handle), dependencies, count, flags))
VGPU_PTSZ(cuStreamUpdateCaptureDependencies_v2,
          (CUstream handle, CUgraphNode *dependencies, const CUgraphEdgeData *data, size_t count,
           unsigned int flags),
          (vgpu_per_thread(handle), dependencies, data, count, flags))
