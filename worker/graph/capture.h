/* SPDX-License-Identifier: MIT */
/**
 * Streams that capture: what the worker places in streams for itself (fences, timing events, joins)
 * must not go into one, or it becomes part of the program's graph. For the worker's one thread.
 */
#ifndef VGPU_WORKER_CAPTURE_H
#define VGPU_WORKER_CAPTURE_H

#include <cuda.h>
#include <stdbool.h>

struct vgpu_worker;

/** True if the stream of the current context captures, or is the legacy stream and may not be used
 *  because another does. Costs nothing while there is no capture. */
bool vgpu_capture_holds(const struct vgpu_worker *worker, CUstream stream);

/** The graph that the stream captures into; NULL if it does not capture. */
CUresult vgpu_capture_graph(const struct vgpu_worker *worker, CUstream stream, CUgraph *graph);

#endif
