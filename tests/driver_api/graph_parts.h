/* SPDX-License-Identifier: MIT */
/** Parts of graphs, for the programs that build them: arrays of GRAPH_COUNT words and what is done
 * with them. All of it checks itself. */
#ifndef VGPU_TESTS_DRIVER_API_GRAPH_PARTS_H
#define VGPU_TESTS_DRIVER_API_GRAPH_PARTS_H

#include "tests/driver_api/check.h"

#define GRAPH_COUNT 1000

struct graph_setup {
    CUcontext context;
    CUmodule module;
    CUfunction fill, add;
    CUdeviceptr first, second;
    CUstream stream; /* does not block */
};

/** Arguments of a kernel node, and where its parameters point to. */
struct graph_kernel {
    CUdeviceptr out, in;
    unsigned int value;
    int count;
    void *parameters[3];
    CUDA_KERNEL_NODE_PARAMS node;
};

struct graph_setup graph_open(void);

/** out[i] = value + i */
CUDA_KERNEL_NODE_PARAMS *graph_fill(const struct graph_setup *setup, struct graph_kernel *kernel,
                                    CUdeviceptr out, unsigned int value);
/** out += 3 * in */
CUDA_KERNEL_NODE_PARAMS *graph_add(const struct graph_setup *setup, struct graph_kernel *kernel,
                                   CUdeviceptr out, CUdeviceptr in);
/** One thread; the arguments are the caller's. */
CUDA_KERNEL_NODE_PARAMS graph_single(CUfunction function, void **arguments);
CUDA_MEMSET_NODE_PARAMS graph_memset(CUdeviceptr memory, unsigned int value);
CUDA_MEMCPY3D graph_copy(CUdeviceptr to, CUdeviceptr from);
/** From the device to memory of the program. */
CUDA_MEMCPY3D graph_download(void *to, CUdeviceptr from);

/** Set second to 5, fill first with 10 behind nothing, then first += 3 * second: nodes[0] to [2].
 */
CUgraph graph_diamond(const struct graph_setup *setup, CUgraphNode *nodes);

CUgraph graph_make(void);
CUgraphExec graph_instantiate(CUgraph graph);
/** Launches and waits. */
void graph_launch(const struct graph_setup *setup, CUgraphExec exec);
/** Instantiates, launches, waits and destroys. */
void graph_run(const struct graph_setup *setup, CUgraph graph);
/** memory[i] is first + i * step */
void graph_expect(CUdeviceptr memory, unsigned int first, unsigned int step);

#endif
