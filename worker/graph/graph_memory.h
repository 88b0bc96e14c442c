/* SPDX-License-Identifier: MIT */
/**
 * Memory that graphs allocate, in the VM's account: an executable graph is charged for all that its
 * nodes allocate, from instantiation to its end. For the worker's one thread.
 */
#ifndef VGPU_WORKER_GRAPH_MEMORY_H
#define VGPU_WORKER_GRAPH_MEMORY_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

struct vgpu_worker;

/** Charges what the nodes of a graph, and of graphs in it, allocate; *units is to be returned, and
 *  *moves says whether they allocate or free anything. CUDA_ERROR_OUT_OF_MEMORY: it is more than
 *  the quota leaves. */
CUresult vgpu_graph_memory_charge(struct vgpu_worker *worker, CUgraph graph, uint32_t *units,
                                  bool *moves);

/** Returns a charge when the driver has given up what no graph uses: at once if nothing runs. */
void vgpu_graph_memory_return(struct vgpu_worker *worker, uint32_t units);

#endif
